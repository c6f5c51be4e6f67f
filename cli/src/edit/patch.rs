//! Patches for documents that are stored in Git.

use anyhow::{Result, bail};
use enact_crds::document::GitSource;
use similar::TextDiff;

use crate::terminal::{self, note};

/// Prints a patch of the file that `git` names, for `git apply`.
pub fn print(git: &GitSource, before: &str, after: &str) -> Result<()> {
    terminal::print_untrusted(&unified(&git.path, before, after)?)?;
    note(&format!(
        "the document is stored in Git ({} {}); apply this patch there with `git apply`, and commit",
        git.url, git.revision
    ));
    Ok(())
}

/// Returns a patch as `git apply` accepts it; nothing if the texts are equal.
///
/// # Errors
/// When the path has characters that Git quotes.
fn unified(path: &str, before: &str, after: &str) -> Result<String> {
    if path.contains(|c: char| c.is_control() || matches!(c, '"' | '\\')) {
        bail!("a patch cannot contain the path {path:?}; change the file in its repository");
    }
    if before == after {
        return Ok(String::new());
    }
    // Git ends a path that contains spaces with a tab.
    let end = if path.contains(' ') { "\t" } else { "" };
    // For Git, a carriage return alone does not end a line.
    let (before, after): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let diff = TextDiff::configure().newline_terminated(true).diff_slices(&before, &after);
    let hunks = diff.unified_diff().header(&format!("a/{path}{end}"), &format!("b/{path}{end}")).to_string();
    Ok(format!("diff --git a/{path} b/{path}\n{hunks}"))
}
