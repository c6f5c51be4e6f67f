//! `message`: sends a message to the agent of a task. It is an annotation of the Task: the webhook writes the author, and the operator records
//! it and passes it to the pod.

use anyhow::{Result, anyhow, bail};
use enact_crds::Task;
use enact_crds::task::Phase;
use enact_domain::agents::message;
use enact_domain::names::ANNOTATION_MESSAGES;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::args::SendMessage;
use crate::cluster::{Cluster, api_error};
use crate::control::{Target, task_of};
use crate::status::phase_of;
use crate::terminal;

/// Most attempts to add the message while others change the Task.
const TRIES: u32 = 5;

/// Sends a message.
pub async fn send(cluster: &Cluster, options: &SendMessage) -> Result<()> {
    let target = Target::parse(&options.task);
    // Before any request, so that a text that is too long is named at once.
    message::with_next(Vec::new(), &options.text).map_err(|problem| anyhow!(problem))?;
    let api: Api<Task> = cluster.api();
    for _ in 0..TRIES {
        let task = match &target {
            Target::TaskOfPlan(plan, id) => task_of(cluster, plan, id).await?,
            Target::Name(name) => {
                let found = api.get_opt(name).await.map_err(api_error)?;
                let Some(task) = found else { bail!("there is no Task {name}; name it PLAN/TASKID or by its name") };
                task
            }
        };
        let (id, plan, phase) = (&task.spec.work.id, &task.spec.plan_ref.name, phase_of(&task));
        if phase == Phase::Succeeded {
            bail!("{id} of Plan {plan} has succeeded, so no agent works on it; a message would reach nobody");
        }
        let annotation = task.annotations().get(ANNOTATION_MESSAGES).map(String::as_str).unwrap_or_default();
        let sent = message::parse(annotation)
            .and_then(|sent| message::with_next(sent, &options.text))
            .map_err(|problem| anyhow!("the messages of Task {} cannot be read: {problem}", task.name_any()))?;
        let patch = json!({ "metadata": {
            "resourceVersion": task.resource_version(),
            "annotations": { ANNOTATION_MESSAGES: message::format(&sent) },
        }});
        // A conflict means that another message may have been sent: read the Task again.
        match api.patch_metadata(&task.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {
                let number = message::last_id(&sent);
                return terminal::print_line(&format!(
                    "{id} of Plan {plan}: message {number} is sent; {}",
                    recipient(phase, &format!("{plan}/{id}"))
                ));
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(api_error(error)),
        }
    }
    bail!("Task {} was changed {TRIES} times in the meantime; try again", options.task)
}

/// Returns who gets a message to a task in this phase. `task` names it for another command.
fn recipient(phase: Phase, task: &str) -> String {
    match phase {
        Phase::Running => {
            "the running agent gets it within about a minute, or the next attempt if the agent cannot be interrupted"
                .into()
        }
        Phase::Pending => "the next attempt gets it".into(),
        Phase::Succeeded | Phase::Failed | Phase::Cancelled | Phase::Unknown => {
            format!("the next attempt gets it; `kubectl enact retry {task}` starts one")
        }
    }
}
