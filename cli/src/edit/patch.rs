//! Changes of a document that is kept in Git, which people bring there themselves.

use std::process::ExitCode;

use anyhow::{Result, bail};
use enact_crds::document::GitSource;
use similar::TextDiff;

use crate::terminal::{self, note};

/// Prints a change of the file that `git` names, for `git apply`.
///
/// # Errors
/// When the path cannot stand in a patch.
pub fn print(git: &GitSource, before: &str, after: &str) -> Result<ExitCode> {
    terminal::print(&unified(&git.path, before, after)?)?;
    note(&format!(
        "the document is kept in Git ({} {}): bring it there with `git apply`, and commit",
        git.url, git.revision
    ));
    Ok(ExitCode::SUCCESS)
}

/// How a file changes, as `git apply` takes it; nothing when it does not.
///
/// # Errors
/// When the path holds what Git would have to quote.
fn unified(path: &str, before: &str, after: &str) -> Result<String> {
    if path.contains(|c: char| c.is_control() || matches!(c, '"' | '\\')) {
        bail!("the path {path:?} cannot stand in a patch; change the file in its repository");
    }
    if before == after {
        return Ok(String::new());
    }
    // Git ends a name with a tab where it holds spaces.
    let end = if path.contains(' ') { "\t" } else { "" };
    // A carriage return alone ends no line for Git.
    let (before, after): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let diff = TextDiff::configure().newline_terminated(true).diff_slices(&before, &after);
    let hunks = diff.unified_diff().header(&format!("a/{path}{end}"), &format!("b/{path}{end}")).to_string();
    Ok(format!("diff --git a/{path} b/{path}\n{hunks}"))
}
