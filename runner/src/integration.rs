//! The integration of a plan, in three containers of one pod.
//!
//! Gates run code that agents wrote, so they never share a container or a volume with a credential:
//!
//! | step | holds | writes |
//! | --- | --- | --- |
//! | [`merge`] | the tasks' credential, the token | the candidate branch, the working tree, the candidate's id in the handover volume |
//! | [`gate`] | nothing but the working tree | its report |
//! | [`publish`] | the integration credential, the token, the handover volume, a scratch space of its own | the target branch, the result |
//!
//! `publish` starts only when `gate` has exited with 0, and takes the candidate from the repository by the id that `merge` handed over.

use std::fs;

use enact_domain::assignment::{Gate, GateResult, GitWork, IntegrationWork, Reason, Report};

use crate::agent::{Environment, run_gates};
use crate::desk::Desk;
use crate::failure::Failure;
use crate::git::{Git, Identity, WORKSPACE};
use crate::process::Supervisor;
use crate::settings::Settings;
use crate::{Evidence, repository, say};

/// Name of the file in the handover volume that holds the candidate's commit.
const HANDOVER_FILE: &str = "commit";

/// Merges the tasks' branches in their order onto the target branch (onto the plan's revision, as long as there is no target branch),
/// and pushes the candidate.
pub(crate) fn merge(
    supervisor: &mut Supervisor,
    settings: &Settings,
    work: &GitWork,
    integration: &IntegrationWork,
) -> Result<Report, Failure> {
    Desk::of(settings).clear()?;
    let mut git = Git::new(supervisor, settings, &work.url, &WORKSPACE)?;
    say(&format!("merging {} branch(es) for {} in {}", work.merge.len(), integration.target, work.url));
    let checkout = repository::prepare(&mut git, work, Some(&integration.target))?;
    let candidate = checkout.base.clone();
    let pushed = repository::push_work(&mut git, work, &checkout, candidate)?;
    say(&format!("pushed the candidate {pushed} to {}", work.branch));
    fs::write(settings.handover_dir.join(HANDOVER_FILE), &pushed)
        .map_err(|error| Failure::volume(&settings.handover_dir, &error))?;
    let mut report = Report::new(Reason::Succeeded, "");
    report.commit = Some(pushed);
    Ok(report)
}

/// Runs the plan's gates on the merged tree.
pub(crate) fn gate(
    supervisor: &mut Supervisor,
    settings: &Settings,
    integration: &IntegrationWork,
    evidence: &mut Evidence,
) -> Result<Report, Failure> {
    let desk = Desk::of(settings);
    desk.make_home().map_err(|error| Failure::volume(&desk.root, &error))?;
    let environment = Environment::new(&desk, &Identity::enact());
    run_gates(supervisor, &integration.gates, &desk.tree, &environment, &mut evidence.gates)?;
    Ok(Report::new(Reason::Succeeded, ""))
}

/// Moves the target branch forward to the candidate that passed the gates, and to nothing else.
pub(crate) fn publish(
    supervisor: &mut Supervisor,
    settings: &Settings,
    work: &GitWork,
    integration: &IntegrationWork,
    evidence: &mut Evidence,
) -> Result<Report, Failure> {
    // This step runs only after the gates have passed.
    evidence.gates = integration.gates.iter().map(passed).collect();
    let handed_over = settings.handover_dir.join(HANDOVER_FILE);
    let candidate = fs::read_to_string(&handed_over).map_err(|error| Failure::volume(&handed_over, &error))?;
    if !repository::is_commit_id(&candidate) {
        return Err(Failure::new(Reason::InvalidAssignment, format!("{} holds no commit", handed_over.display())));
    }
    Desk::of(settings).clear()?;
    let mut git = Git::new(supervisor, settings, &work.url, &WORKSPACE)?;
    let found = repository::fetch_branch(&mut git, &work.url, &work.branch)?;
    if found != candidate {
        return Err(Failure::new(
            Reason::PushRejected,
            format!(
                "branch `{}` holds {found}, but {candidate} passed the gates; somebody else pushed to it",
                work.branch
            ),
        ));
    }
    repository::push(&mut git, &work.url, &candidate, &integration.target, None)
        .map_err(|failure| moved(failure, integration))?;
    say(&format!("published {candidate} as {}", integration.target));
    let mut report = Report::new(Reason::Succeeded, "");
    report.commit = Some(candidate);
    Ok(report)
}

/// A push that only goes forward is refused when the target went elsewhere since the merge.
fn moved(failure: Failure, integration: &IntegrationWork) -> Failure {
    if failure.reason != Reason::PushRejected {
        return failure;
    }
    let target = &integration.target;
    Failure::new(
        Reason::PushRejected,
        format!(
            "`{target}` moved while the gates ran, or is protected; the next attempt merges onto it as it is then. {}",
            failure.message
        ),
    )
}

fn passed(gate: &Gate) -> GateResult {
    GateResult { name: gate.name.clone(), exit_code: Some(0), output: String::new() }
}
