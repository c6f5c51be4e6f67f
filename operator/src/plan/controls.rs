//! Controls: records who suspended, resumed or cancelled a plan, changed its execution or policy, requested another attempt, or decided about
//! stale work.

use enact_domain::names::{
    ANNOTATION_CHANGES, ANNOTATION_KEEP, ANNOTATION_REDO, ANNOTATION_RERUN, ANNOTATION_RESUMED_AFTER,
};
use enact_domain::record::{Kind, Subject};
use serde_json::{Value, json};

use super::context::Context;
use super::observed::Observed;
use crate::control_changes;
use crate::error::Error;

/// Records the last change of each control of a plan and of its tasks. A repetition has no effect.
///
/// # Errors
/// When the record cannot be written.
pub async fn record(ctx: &Context, observed: &Observed, tenant: &str) -> Result<(), Error> {
    let plan_uid = Some(observed.uid.as_str());
    let changes = observed.annotation(ANNOTATION_CHANGES).map(String::as_str);
    let value = |control: &str| control_of_plan(observed, control);
    control_changes::record(ctx, tenant, &observed.subject(), plan_uid, changes, value).await?;
    for (name, task) in observed.children.tasks.iter().filter(|(_, task)| task.changes.is_some()) {
        let subject = Subject {
            kind: Kind::Task,
            namespace: observed.namespace.clone(),
            name: name.clone(),
            uid: task.uid.clone(),
        };
        // The only control of a Task.
        let value = |_: &str| json!(task.rerun);
        control_changes::record(ctx, tenant, &subject, plan_uid, task.changes.as_deref(), value).await?;
    }
    Ok(())
}

/// Returns the present value of a control of a plan, by the name that the webhook gives it.
fn control_of_plan(observed: &Observed, control: &str) -> Value {
    let spec = &observed.plan.spec;
    match control {
        "suspend" => json!(spec.suspend),
        "cancel" => json!(spec.cancel),
        "execution" => json!(spec.execution),
        "approval" => json!(spec.approval),
        "rerun" => json!(observed.annotation(ANNOTATION_RERUN)),
        "redo" => json!(observed.annotation(ANNOTATION_REDO)),
        "keep" => json!(observed.annotation(ANNOTATION_KEEP)),
        "resumed-after" => json!(observed.annotation(ANNOTATION_RESUMED_AFTER)),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests;
