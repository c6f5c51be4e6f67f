//! Names, labels and annotations: the vocabulary that every part shares, and names of children derived from their parents.

use crate::digest::Digest;

/// API group of every kind.
pub const GROUP: &str = "enact.dev";
/// Label on a namespace and on every object in it: the tenant that owns it.
pub const LABEL_TENANT: &str = "enact.dev/tenant";
/// Label on Tasks and Pods: the Plan they belong to.
pub const LABEL_PLAN: &str = "enact.dev/plan";
/// Label on Pods: the UID of the Plan, so that a namesake's children are never taken for ours.
pub const LABEL_PLAN_UID: &str = "enact.dev/plan-uid";
/// Label on Pods: the Task object's name, or [`INTEGRATION`] for the plan's integration pods.
pub const LABEL_TASK: &str = "enact.dev/task";
/// Label on Pods: the number of the attempt, from 1.
pub const LABEL_ATTEMPT: &str = "enact.dev/attempt";
/// Label on Pods: `task` or `integration`.
pub const LABEL_ROLE: &str = "enact.dev/role";
/// Annotation on Specifications, Plans and Constitutions: who last changed the spec. Stamped by the webhook, never by clients.
pub const ANNOTATION_AUTHOR: &str = "enact.dev/author";
/// Annotation on a Task: a person's request for another attempt after a failure; a number that only grows.
pub const ANNOTATION_RERUN: &str = "enact.dev/rerun";
/// The value of [`LABEL_TASK`] on integration pods. Not a possible Task name, which starts with its plan's.
pub const INTEGRATION: &str = "integration";
/// Audience of the only token that an agent pod holds.
pub const RESULT_AUDIENCE: &str = "enact-server";
/// Tenant of the namespaces that an installation without Tenants is configured with.
pub const DEFAULT_TENANT: &str = "default";
/// Largest name of a Kubernetes object that is also used as a label value (RFC 1123 label).
pub const MAX_LABEL: usize = 63;

/// Longest name of a Task, which leaves room for `-<attempt>` in a Pod's name.
const MAX_TASK_NAME: usize = 56;
/// Hex digits of a digest that keep a shortened name unique.
const HASH_LEN: usize = 8;

/// The name of a Task: `<plan>-<id>`, in lower case, with every run of other characters as one `-`, at most 56 characters.
///
/// A name that had to be shortened, or whose id lost characters, ends in a digest of the whole, so that two ids of one plan never
/// share a name (`T001.1` and `T001-1`, say).
pub fn task_name(plan: &str, id: &str) -> String {
    let slug = slug(id);
    let lossless = slug == id.to_ascii_lowercase() && !id.is_empty() && id.is_ascii();
    let upper_only = !id.chars().any(|c| c.is_ascii_lowercase()) || !id.chars().any(|c| c.is_ascii_uppercase());
    let name = format!("{plan}-{slug}");
    if lossless && upper_only && name.len() <= MAX_TASK_NAME {
        return name;
    }
    shortened(&name, &format!("{plan}/{id}"), MAX_TASK_NAME)
}

/// The name of an attempt's Pod: `<task>-<attempt>`; the same for the same attempt, so that creating it twice is harmless.
pub fn pod_name(task: &str, attempt: u32) -> String {
    format!("{task}-{attempt}")
}

/// The name of a plan's integration Pod: `<plan>-integration-<attempt>`, at most 63 characters.
pub fn integration_pod_name(plan: &str, attempt: u32) -> String {
    let name = format!("{plan}-{INTEGRATION}-{attempt}");
    if name.len() <= MAX_LABEL { name } else { shortened(&name, &name, MAX_LABEL) }
}

/// The branch that an attempt's work is pushed to. Every attempt has its own, so that a late push of an earlier one spoils nothing.
pub fn task_branch(plan: &str, task_id: &str, attempt: u32) -> String {
    format!("enact/{plan}/{}-{attempt}", slug(task_id))
}

/// The branch that holds the merged work of a plan before its gates have passed.
pub fn candidate_branch(plan: &str, attempt: u32) -> String {
    format!("enact/{plan}/candidate-{attempt}")
}

/// The branch that receives the plan's work when its workspace names none.
pub fn integration_branch(plan: &str) -> String {
    format!("plan/{plan}")
}

/// Whether `name` is an RFC 1123 label: what Kubernetes takes as the name of a namespace and as a label value.
pub fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= MAX_LABEL && name.chars().all(inner) && edge(name.chars().next()) && edge(name.chars().last())
}

/// Lower case ASCII letters and digits, every run of other characters as one `-`, none at the ends.
pub fn slug(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(out.trim_end_matches('-').len());
    out
}

fn shortened(name: &str, whole: &str, max: usize) -> String {
    let digest = Digest::of_bytes(whole.as_bytes());
    let keep = name.len().min(max - HASH_LEN - 1);
    let head = name.get(..keep).unwrap_or_default().trim_end_matches('-');
    format!("{head}-{}", digest.short().get(..HASH_LEN).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_ids_stay_readable() {
        assert_eq!(task_name("shop", "T001"), "shop-t001");
        assert_eq!(pod_name("shop-t001", 2), "shop-t001-2");
        assert_eq!(task_branch("shop", "T001", 1), "enact/shop/t001-1");
    }

    #[test]
    fn look_alikes_differ() {
        let names: std::collections::BTreeSet<_> =
            ["T001.1", "T001-1", "T001_1", "t001-1", "T001-1 "].map(|id| task_name("p", id)).into();
        // "T001-1" and "t001-1" differ only in case, which ids of one plan may not.
        assert_eq!(names.len(), 4);
    }

    proptest! {
        #[test]
        fn names_are_labels(plan in "[a-z]([a-z0-9-]{0,50}[a-z0-9])?", id in "\\PC{0,80}", attempt in 1u32..9999) {
            let task = task_name(&plan, &id);
            prop_assert!(is_label(&task), "{task}");
            prop_assert!(is_label(&pod_name(&task, attempt)));
            prop_assert!(is_label(&integration_pod_name(&plan, attempt)));
        }
    }
}
