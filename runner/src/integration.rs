//! The integration of a plan, in three containers of one pod.
//!
//! Gates run code that agents wrote, so they never share a container or a volume with a credential:
//!
//! | step | has access to | writes |
//! | --- | --- | --- |
//! | [`merge`] | the credential of the tasks, the token | the candidate branch, the tree, the candidate's ID in the handover volume |
//! | [`gate`] | the working tree | its report |
//! | [`publish`] | the integration credential, the token, the handover volume, its own scratch space | the target branch, the result |
//!
//! `publish` only starts when `gate` has exited with 0. It fetches the candidate from the repository by the ID that `merge` wrote.

use std::fs;

use enact_domain::assignment::{Gate, GateResult, GitWork, IntegrationWork, Reason, Report};

use crate::agent::{Environment, run_gates};
use crate::clone_cache::CloneCache;
use crate::failure::Failure;
use crate::git::{Git, Identity, PLAN_FIELDS};
use crate::log::log;
use crate::process::Supervisor;
use crate::refs::is_commit_id;
use crate::report::Evidence;
use crate::repository;
use crate::settings::Settings;
use crate::workspace::WorkspaceLayout;

/// File in the handover volume that holds the ID of the candidate commit.
const HANDOVER_FILE: &str = "commit";

/// Merges the branches of the tasks in order onto the target branch and pushes the candidate. While the target branch does not exist, it
/// merges onto the revision of the plan.
pub(crate) fn merge(
    supervisor: &mut Supervisor,
    settings: &Settings,
    work: &GitWork,
    integration: &IntegrationWork,
) -> Result<Report, Failure> {
    WorkspaceLayout::new(settings).clear()?;
    let mut git = Git::new(supervisor, settings, &work.url, &PLAN_FIELDS)?;
    log(&format!("merging {} branch(es) for {} in {}", work.merge.len(), integration.target, work.url));
    // The base of this checkout is the head after all merges, so it is the candidate.
    let cache = CloneCache::of(settings, work);
    let mut checkout = repository::prepare(&mut git, work, Some(&integration.target), cache.as_ref())?;
    let candidate = checkout.base.clone();
    let pushed = repository::push_work(&mut git, work, &mut checkout, candidate)?;
    log(&format!("pushed the candidate {pushed} to {}", work.branch));
    // After the push, so that `publish` finds the commit in the repository. The container of `gate` has no access to this volume.
    fs::write(settings.handover_dir.join(HANDOVER_FILE), &pushed)
        .map_err(|error| Failure::volume(&settings.handover_dir, &error))?;
    Ok(Report { commit: Some(pushed), ..Report::new(Reason::Succeeded, "") })
}

/// Runs the plan's gates on the merged tree.
pub(crate) fn gate(
    supervisor: &mut Supervisor,
    settings: &Settings,
    integration: &IntegrationWork,
    evidence: &mut Evidence,
) -> Result<Report, Failure> {
    let layout = WorkspaceLayout::new(settings);
    layout.create_home().map_err(|error| Failure::volume(&layout.root, &error))?;
    let environment = Environment::new(&layout, &Identity::enact());
    run_gates(supervisor, &integration.gates, &layout.tree, &environment, &mut evidence.gates)?;
    Ok(Report::new(Reason::Succeeded, ""))
}

/// Moves the target branch forward to the candidate that passed the gates, and to no other commit.
pub(crate) fn publish(
    supervisor: &mut Supervisor,
    settings: &Settings,
    work: &GitWork,
    integration: &IntegrationWork,
    evidence: &mut Evidence,
) -> Result<Report, Failure> {
    // The kubelet starts this step only after `gate` has exited with 0. The gates ran in another container, so their output is not here.
    evidence.gates = integration.gates.iter().map(passed).collect();
    let handed_over = settings.handover_dir.join(HANDOVER_FILE);
    let candidate = fs::read_to_string(&handed_over).map_err(|error| Failure::volume(&handed_over, &error))?;
    if !is_commit_id(&candidate) {
        let message = format!("{} does not hold the ID of a commit", handed_over.display());
        return Err(Failure::new(Reason::InvalidAssignment, message));
    }
    WorkspaceLayout::new(settings).clear()?;
    let mut git = Git::new(supervisor, settings, &work.url, &PLAN_FIELDS)?;
    // The branch may have changed since `merge`. Only the commit that passed the gates may be published.
    let found = repository::fetch_branch(&mut git, &work.url, &work.branch)?;
    if found != candidate {
        return Err(Failure::new(
            Reason::PushRejected,
            format!(
                "branch `{}` is at {found}, but {candidate} passed the gates; find out who else pushes to this branch",
                work.branch
            ),
        ));
    }
    // Without a lease, the push must be a fast-forward: it never drops commits that others pushed to the target branch meanwhile.
    repository::push(&mut git, &work.url, &candidate, &integration.target, None)
        .map_err(|failure| target_moved(failure, integration))?;
    log(&format!("published {candidate} as {}", integration.target));
    Ok(Report { commit: Some(candidate), ..Report::new(Reason::Succeeded, "") })
}

/// Explains a rejected push: the target branch has commits that are not in the candidate, or it is protected.
fn target_moved(failure: Failure, integration: &IntegrationWork) -> Failure {
    if failure.reason != Reason::PushRejected {
        return failure;
    }
    let target = &integration.target;
    Failure::new(
        Reason::PushRejected,
        format!(
            "branch `{target}` moved while the gates ran, or it is protected; the next attempt merges onto the new state. {}",
            failure.message
        ),
    )
}

fn passed(gate: &Gate) -> GateResult {
    GateResult { name: gate.name.clone(), exit_code: Some(0), output: String::new() }
}
