//! `import`: converts a Spec Kit project to manifests.

mod check;
mod manifest;
mod names;
pub mod project;
pub mod reopen;
mod yaml;

use anyhow::{Context as _, Result, bail};
use enact_crds::plan::UnreadTasks;

use self::project::Wanted;
use crate::args::Import;
use crate::terminal;

/// Client-side apply copies the object into an annotation, which is limited to this many bytes.
const CLIENT_SIDE_LIMIT: usize = 262_144;

/// Returns what the Plan does with lines of its tasks.md that look like tasks and cannot be read.
fn unread_tasks(options: &Import) -> UnreadTasks {
    if options.allow_unread { UnreadTasks::Warn } else { UnreadTasks::Refuse }
}

/// Reads and checks the project and prints its manifests.
pub fn run(options: &Import, namespace: Option<&str>) -> Result<()> {
    if let (Some(agents), Some(own)) = (&options.git.credentials_secret, &options.git.integration_secret)
        && agents == own
    {
        bail!(
            "--credentials-secret and --integration-secret both name {own}, and agents can read the Secret of the tasks; give the integration a Secret of its own"
        );
    }
    let wanted = match &options.constitution {
        Some(file) => Wanted::File(file),
        None if options.no_constitution => Wanted::None,
        None => Wanted::Nearest,
    };
    let mut project = project::find(&options.path, wanted)?;
    if let Some(name) = &options.name {
        project.name.clone_from(name);
    }
    for missing in &project.missing {
        terminal::note(&format!("note: {missing}"));
    }
    // Before the check, which decides by the boxes whether any task is open.
    if options.include_done {
        project.reopen();
    }
    let script = options.script.as_deref().map(project::script).transpose()?;
    let check::Verdict { unusable, all_done } = check::report(&project, unread_tasks(options));
    if unusable > 0 {
        bail!(
            "{unusable} document(s) have errors, so no manifest was printed; correct them (or omit a constitution with --no-constitution)"
        );
    }
    if all_done {
        project.tasks = None;
    }
    let manifests = manifest::render(&project, script.as_deref(), options, namespace)?;
    let largest = manifests.iter().map(String::len).max().unwrap_or_default();
    if largest > CLIENT_SIDE_LIMIT {
        terminal::note(&format!(
            "note: the largest object has {largest} bytes, and client-side apply is limited to {CLIENT_SIDE_LIMIT}; use `kubectl apply --server-side`"
        ));
    }
    let text = manifests.join("---\n");
    match &options.out {
        Some(file) => std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display())),
        None => terminal::print_untrusted(&text),
    }
}
