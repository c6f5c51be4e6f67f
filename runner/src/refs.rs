//! Names of commits, branches and tags.

/// Returns whether `name` is a full commit ID.
pub(crate) fn is_commit_id(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(crate) fn branch_ref(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

pub(crate) fn tag_ref(tag: &str) -> String {
    format!("refs/tags/{tag}")
}
