//! Labels, annotations and other shared names, and names of child objects that are derived from their parents.

use crate::digest::Digest;

/// API group of every kind.
pub const GROUP: &str = "enact.dev";
/// Label on a namespace and on every object in it: the tenant that owns it.
pub const LABEL_TENANT: &str = "enact.dev/tenant";
/// Annotation on a namespace: the tenant that may own it, or `*` for any. The operator sets it on the namespaces that it creates; on another
/// namespace, it is the consent of someone who may change the namespace.
pub const ANNOTATION_ALLOW_TENANT: &str = "enact.dev/allow-tenant";
/// Annotation on a Tenant: the UID of the earlier Tenant with the same name whose record it keeps. Without it, that record is erased.
pub const ANNOTATION_KEEP_RECORD_OF: &str = "enact.dev/keep-record-of";
/// Label on Tasks and Pods: the Plan they belong to.
pub const LABEL_PLAN: &str = "enact.dev/plan";
/// Label on Pods: the UID of the Plan, so that the children of another Plan with the same name are not taken for its own.
pub const LABEL_PLAN_UID: &str = "enact.dev/plan-uid";
/// Label on Pods: the Task object's name, or [`INTEGRATION`] for the plan's integration pods.
pub const LABEL_TASK: &str = "enact.dev/task";
/// Label on Pods: the number of the attempt, from 1.
pub const LABEL_ATTEMPT: &str = "enact.dev/attempt";
/// Label on Pods: `task`, [`INTEGRATION`], [`ROLE_FETCH`], [`ROLE_DRAFT`], [`ROLE_PROBE`] or [`ROLE_WAITING`].
pub const LABEL_ROLE: &str = "enact.dev/role";
/// Label on Pods of probes: the beginning of the digest of what is probed, so that a pod for an earlier state of its Agent is known.
pub const LABEL_PROBE: &str = "enact.dev/probe";
/// Annotation on Specifications, Plans, Constitutions and Agents: the user who last changed the spec. The webhook sets it; clients cannot.
pub const ANNOTATION_AUTHOR: &str = "enact.dev/author";
/// Annotation on Specifications, Plans and Constitutions: the other users who changed the content since it was last approved, as a JSON list, in
/// the form of [`crate::approval::authors::Authors`]. The webhook sets it; clients cannot.
pub const ANNOTATION_CO_AUTHORS: &str = "enact.dev/co-authors";
/// Annotation on Tenants, Constitutions, Specifications, Plans and Tasks: who changed each of their controls last, such as the approval policy
/// or the request for another attempt, and when, in the form of [`crate::stamps::Changes`]. The webhook sets it; clients cannot.
pub const ANNOTATION_CHANGES: &str = "enact.dev/changes";
/// Label on a ConfigMap in the namespace of the installation: it is a note of the webhook about a deletion, [`crate::deletion::Deletion`].
pub const LABEL_DELETION: &str = "enact.dev/deletion";
/// Annotation on a Specification: author and date of each answer, in the form of [`crate::stamps`]. The webhook sets it; clients cannot.
pub const ANNOTATION_ANSWERS: &str = "enact.dev/answers";
/// Annotation on Constitutions, Specifications and Plans: author and date of each entry of `spec.accepted`, in the form of
/// [`crate::stamps`]. The webhook sets it; clients cannot.
pub const ANNOTATION_ACCEPTED: &str = "enact.dev/accepted";
/// Annotation on a Plan: who chose the proposal in `spec.generate.chosen`, and when, as [`crate::stamps::Stamps`].
pub const ANNOTATION_CHOSEN: &str = "enact.dev/chosen";
/// Annotation on Specifications and Constitutions: the reason for the change of the document, in the form of
/// [`crate::record::format_reason`].
pub const ANNOTATION_REASON: &str = "enact.dev/reason";
/// Annotation on a Task: the request of a person for another attempt after a failure, as a number that only increases.
pub const ANNOTATION_RERUN: &str = "enact.dev/rerun";
/// Annotation on a Task: messages of people to its agent, in the form of [`crate::agents::message`]. The operator copies it to the pod of
/// the running attempt.
pub const ANNOTATION_MESSAGES: &str = "enact.dev/messages";
/// Annotation on a Plan: the decision of a person to redo the work that a newer revision of the specification made stale, as the digest of
/// that revision.
pub const ANNOTATION_REDO: &str = "enact.dev/redo";
/// Annotation on a Plan: the decision of a person to keep the work for a newer revision of the specification, as the digest of that
/// revision.
pub const ANNOTATION_KEEP: &str = "enact.dev/keep";
/// Annotation on a Plan with `execution.pauseAfter`: the number of the phase after which a person resumed it last, counted from 1.
pub const ANNOTATION_RESUMED_AFTER: &str = "enact.dev/resumed-after";
/// Annotation on Constitutions, Specifications and Plans: a request to poll the source of the document now. Every new value is a request.
pub const ANNOTATION_RECONCILE_AT: &str = "enact.dev/reconcile-at";
/// Largest number in [`ANNOTATION_RERUN`]. A larger one would leave no number for the next request.
const MAX_RERUN: u64 = 1_000_000_000_000;
/// The value of [`LABEL_ROLE`] on pods that fetch a document from Git.
pub const ROLE_FETCH: &str = "fetch";
/// The value of [`LABEL_ROLE`] on pods whose agent drafts a document.
pub const ROLE_DRAFT: &str = "draft";
/// The value of [`LABEL_ROLE`] on pods that probe an agent.
pub const ROLE_PROBE: &str = "probe";
/// The value of [`LABEL_ROLE`] on pods of a warm pool that no attempt was assigned to yet.
pub const ROLE_WAITING: &str = "waiting";
/// Annotation on Pods of a warm pool: the digest of everything in which the pod of an attempt must equal this one, to be replaced by it.
pub const ANNOTATION_TEMPLATE: &str = "enact.dev/pod-template";
/// Annotation on a Pod of a warm pool that was assigned to an attempt: the assignment as JSON. The runner gets it from the server.
pub const ANNOTATION_ASSIGNMENT: &str = "enact.dev/assignment";
/// Annotation on such a Pod: the time of the assignment, in milliseconds since 1970.
pub const ANNOTATION_ASSIGNED_AT: &str = "enact.dev/assigned-at";
/// Annotation on Pods of attempts: the key by which the operator recognises a pod that it created when it did not see the answer. Only the
/// record knows it before the Pod exists, and it means nothing once the UID of the Pod is recorded.
pub const ANNOTATION_START_KEY: &str = "enact.dev/start-key";
/// The value of [`LABEL_TASK`] on integration pods. Not a possible Task name, which starts with its plan's.
pub const INTEGRATION: &str = "integration";
/// Annotation on Pods of tasks, drafts and probes whose agent uses models: the Agent, as `<name>`, or `<namespace>/<name>` for one of another namespace.
pub const ANNOTATION_AGENT: &str = "enact.dev/agent";
/// Annotation on such a Pod, if an approval covers its Agent: the digest of the approved models, and of the endpoints that serve them. The gateway
/// sends no request when they have changed.
pub const ANNOTATION_MODELS: &str = "enact.dev/models";
/// Annotation on Pods that may use the clone cache: [`crate::clone_cache::repository`].
pub const ANNOTATION_REPOSITORY: &str = "enact.dev/repository";
/// Audience of the token with which a pod uses the clone cache.
pub const CACHE_AUDIENCE: &str = "enact-cache";
/// Audience of the token with which a pod delivers its result.
pub const RESULT_AUDIENCE: &str = "enact-server";
/// Audience of the token with which an agent uses the model gateway.
pub const GATEWAY_AUDIENCE: &str = "enact-gateway";
/// Name of the Secret in a namespace that contains the keys of its model providers. Only the model gateway reads it.
pub const MODEL_KEYS_SECRET: &str = "enact-model-keys";
/// Name of the Secret in a namespace that authenticates the push webhooks of a Git host.
pub const PUSH_SECRET: &str = "enact-push";
/// Name of the ServiceAccount, and of its Role, in the namespaces of a tenant. People read the record with tokens of this account.
pub const READER_SERVICE_ACCOUNT: &str = "enact-reader";
/// Annotation on that ServiceAccount: the server's Service, as `<namespace>/<service>`.
pub const ANNOTATION_SERVER: &str = "enact.dev/server";
/// Name of the port of the server's Service that serves the clients of people.
pub const READ_PORT: &str = "read";
/// Tenant of the namespaces in the configuration of an installation without Tenants.
pub const DEFAULT_TENANT: &str = "default";
/// Maximum length of the name of a Kubernetes object that is also used as a label value (RFC 1123 label).
pub const MAX_LABEL: usize = 63;
/// Maximum length of the name of a Kubernetes object that is only referred to (RFC 1123 subdomain).
pub const MAX_SUBDOMAIN: usize = 253;

/// Maximum length of the name of a Task; a Pod's name adds `-<attempt>` to it.
const MAX_TASK_NAME: usize = 56;
/// Number of hex digits of a digest that make a shortened name unique, and of a plan's UID that separate its branches from others.
const HASH_LEN: usize = 8;
/// First component of all branches that pods push to before anything is published.
const WORK: &str = "enact";

/// Returns the name of a Task: `<plan>-<id>`, in lower case, with every run of other characters as one `-`, at most 56 characters. An id with
/// a `-` follows on `--`, so that plan `a` with the id `b-c` does not share a name with plan `a-b` and the id `c`.
///
/// A name that had to be shortened, or whose id lost characters, ends in a digest of the whole, so that two ids of one plan never
/// share a name (`T001.1` and `T001-1`, say). So does one that would end in `-integration`: pods of integrations are named like that; one of a
/// plan that has `--` in its name itself; and one whose end would look like a digest.
pub fn task_name(plan: &str, id: &str) -> String {
    let slug = slug(id);
    let lossless = slug == id.to_ascii_lowercase() && !id.is_empty() && id.is_ascii();
    let upper_only = !id.chars().any(|c| c.is_ascii_lowercase()) || !id.chars().any(|c| c.is_ascii_uppercase());
    let end = slug.rsplit('-').next().unwrap_or_default();
    let is_like_digest = end.len() == HASH_LEN && end.bytes().all(|c| c.is_ascii_hexdigit());
    let free = end != INTEGRATION && !is_like_digest && !plan.contains("--");
    let name = format!("{plan}{}{slug}", if slug.contains('-') { "--" } else { "-" });
    if lossless && upper_only && free && name.len() <= MAX_TASK_NAME {
        return name;
    }
    shortened(&format!("{plan}-{slug}"), &format!("{plan}/{id}"), MAX_TASK_NAME)
}

/// Returns the name of an attempt's Pod: `<task>-<attempt>`; the same for the same attempt, so that creating it twice is harmless.
pub fn pod_name(task: &str, attempt: u32) -> String {
    format!("{task}-{attempt}")
}

/// Returns the name of a plan's integration Pod: `<plan>-integration-<attempt>`, at most 63 characters, and never that of a task's Pod. The
/// plan's name is shortened where it is too long.
pub fn integration_pod_name(plan: &str, attempt: u32) -> String {
    let room = MAX_TASK_NAME - INTEGRATION.len() - 1;
    let plan = if plan.len() <= room { plan } else { &shortened(plan, plan, room) };
    pod_name(&format!("{plan}-{INTEGRATION}"), attempt)
}

/// Returns the name of the pod of a document job or of the probe of an Agent: `<object>-<role>-<eight digits of the digest>`, at most 63
/// characters. The digest covers the whole job and the UID of the object, so that the same job always has the same pod name; for a probe,
/// only the UID.
pub fn document_pod_name(document: &str, role: &str, digest: &Digest) -> String {
    let digits = digest.short().get(..HASH_LEN).unwrap_or_default();
    let room = MAX_LABEL - role.len() - digits.len() - 2;
    let document = slug(document);
    let document = if document.len() <= room { document } else { shortened(&document, &document, room) };
    format!("{document}-{role}-{digits}")
}

/// Returns the name of a pod of an Agent's warm pool: `<agent>-w<eight digits>`, at most 63 characters. The letter makes it different from
/// the names of all other pods. `number` is random: the name of a pod is not used again, whatever becomes of the pod.
pub fn waiting_pod_name(agent: &str, number: u32) -> String {
    let room = MAX_LABEL - HASH_LEN - 2;
    let agent = slug(agent);
    let agent = if agent.len() <= room { agent } else { shortened(&agent, &agent, room) };
    format!("{agent}-w{number:08x}")
}

/// Returns the branch for the work of an attempt: `enact/<plan>-<eight digits of its UID>/<task>-<attempt>`, where `<task>` is the name
/// of the Task without the prefix of its plan. Every attempt has its own branch, so that a late push of an earlier attempt cannot
/// overwrite it. The UID separates Plans of the same name, in other namespaces or created again.
pub fn task_branch(plan: &str, plan_uid: &str, task: &str, attempt: u32) -> String {
    let rest = task.strip_prefix(plan).and_then(|rest| rest.strip_prefix("--").or_else(|| rest.strip_prefix('-')));
    let task = rest.unwrap_or(task);
    format!("{}/{task}-{attempt}", branches(plan, plan_uid))
}

/// Returns the branch of the merged work of a plan before its gates have passed: `…/candidate/<attempt>`, which no task's branch can be.
pub fn candidate_branch(plan: &str, plan_uid: &str, attempt: u32) -> String {
    format!("{}/candidate/{attempt}", branches(plan, plan_uid))
}

/// Returns the prefix of the branches of one plan. The first digits of a UID are random.
fn branches(plan: &str, plan_uid: &str) -> String {
    let uid: String = plan_uid.chars().filter(char::is_ascii_hexdigit).take(HASH_LEN).collect();
    format!("{WORK}/{plan}-{uid}")
}

/// Returns whether a branch has the prefix of the branches that pods push to. Such a branch cannot be the target of an integration.
pub fn is_work_branch(branch: &str) -> bool {
    branch.strip_prefix(WORK).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the branch that receives the plan's work if its workspace does not name one.
pub fn integration_branch(plan: &str) -> String {
    format!("plan/{plan}")
}

/// Returns whether `name` is an RFC 1123 label, a valid name of a namespace and a valid label value.
pub fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= MAX_LABEL && name.chars().all(inner) && edge(name.chars().next()) && edge(name.chars().last())
}

/// Returns whether `name` is an RFC 1123 subdomain, a valid name of a Secret or ConfigMap.
pub fn is_subdomain(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let part =
        |part: &str| !part.is_empty() && part.chars().all(inner) && !part.starts_with('-') && !part.ends_with('-');
    name.len() <= MAX_SUBDOMAIN && name.split('.').all(part)
}

/// Returns the text in lower case, with each run of characters other than ASCII letters and digits replaced by `-`, without `-` at the
/// ends.
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

/// Returns the number in an annotation [`ANNOTATION_RERUN`]; none if it is not a number that another one can follow.
pub fn rerun_number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| *number <= MAX_RERUN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d";

    #[test]
    fn plain_ids_stay_readable() {
        assert_eq!(task_name("shop", "T001"), "shop-t001");
        assert_eq!(pod_name("shop-t001", 2), "shop-t001-2");
        assert_eq!(task_branch("shop", UID, "shop-t001", 1), "enact/shop-5f0c1a2b/t001-1");
        assert_eq!(candidate_branch("shop", UID, 1), "enact/shop-5f0c1a2b/candidate/1");
        assert_eq!(integration_pod_name("shop", 1), "shop-integration-1");
    }

    #[test]
    fn plan_and_id_are_told_apart() {
        assert_eq!((task_name("na", "b-c"), task_name("na-b", "c")), ("na--b-c".into(), "na-b-c".into()));
        assert_eq!(task_branch("na", UID, "na--b-c", 1), "enact/na-5f0c1a2b/b-c-1");
        // A digest follows where the two forms do not suffice.
        for (plan, id) in [("na--b", "c"), ("na", "deadbeef"), ("na", "x-20261201")] {
            let name = task_name(plan, id);
            assert_eq!(name.len(), format!("{plan}-{id}").len() + HASH_LEN + 1, "{name}");
        }
    }

    #[test]
    fn look_alikes_differ() {
        let names: std::collections::BTreeSet<_> =
            ["T001.1", "T001-1", "T001_1", "t001-1", "T001-1 "].map(|id| task_name("p", id)).into();
        // "T001-1" and "t001-1" differ only in case, which ids of one plan may not.
        assert_eq!(names.len(), 4);
        let branches: std::collections::BTreeSet<_> = names.iter().map(|task| task_branch("p", UID, task, 1)).collect();
        assert_eq!(branches.len(), 4, "{branches:?}");
    }

    #[test]
    fn published_branches_are_not_where_pods_push() {
        for plan in ["shop", "enact"] {
            assert!(!is_work_branch(&integration_branch(plan)));
            assert!(is_work_branch(&candidate_branch(plan, UID, 1)) && is_work_branch(&task_branch(plan, UID, "a", 1)));
        }
        assert!(is_work_branch("enact") && !is_work_branch("enactor/shop"));
    }

    #[test]
    fn names_that_are_only_referred_to_may_be_dotted() {
        for name in ["git", "git.shop-1.example", "0", &"a".repeat(253)] {
            assert!(is_subdomain(name), "{name}");
        }
        for name in ["", "Git", "git_agent", "a..b", ".a", "a.", "-a", "a.b-", "a/b", &"a".repeat(254)] {
            assert!(!is_subdomain(name), "{name}");
        }
    }

    /// Strategy for ids that the API accepts, including ids that resemble other parts of names.
    fn id() -> impl Strategy<Value = String> {
        prop_oneof![
            "[A-Za-z0-9]([-A-Za-z0-9._]{0,61}[A-Za-z0-9])?",
            "[Tt]0?1[-._]1",
            "([A-Za-z]-)?([Ii]ntegration|candidate|Candidate/1)([-.]1)?",
            "\\PC{0,80}",
        ]
    }

    proptest! {
        #[test]
        fn names_are_labels(plan in "[a-z]([a-z0-9-]{0,50}[a-z0-9])?", id in id(), attempt in 1u32..9999) {
            let task = task_name(&plan, &id);
            prop_assert!(is_label(&task), "{task}");
            prop_assert!(is_label(&pod_name(&task, attempt)));
            prop_assert!(is_label(&integration_pod_name(&plan, attempt)));
            prop_assert!(task != INTEGRATION);
        }

        #[test]
        fn names_of_document_pods_are_labels(document in "[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", job in "\\PC{0,20}") {
            for role in [ROLE_FETCH, ROLE_DRAFT, ROLE_PROBE] {
                let name = document_pod_name(&document, role, &Digest::of_bytes(job.as_bytes()));
                prop_assert!(is_label(&name), "{name}");
            }
        }

        #[test]
        fn names_of_waiting_pods_are_labels_and_no_others(
            agent in "[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", number in any::<u32>(), id in id(), attempt in 1u32..9999,
        ) {
            let name = waiting_pod_name(&agent, number);
            prop_assert!(is_label(&name), "{name}");
            prop_assert_ne!(&name, &pod_name(&task_name(&agent, &id), attempt));
            let document = document_pod_name(&agent, ROLE_FETCH, &Digest::of_bytes(id.as_bytes()));
            prop_assert_ne!(&name, &document);
        }

        /// Attempts of one plan: two of the same Task or of two Tasks, and one of the integration.
        #[test]
        fn attempts_share_neither_pods_nor_branches(
            plan in "[a-z]([a-z0-9-]{0,50}[a-z0-9])?", ids in (id(), id()), attempts in (1u32..12, 1u32..12),
        ) {
            let tasks = [task_name(&plan, &ids.0), task_name(&plan, &ids.1)];
            let attempts: [u32; 2] = attempts.into();
            let same = tasks[0] == tasks[1] && attempts[0] == attempts[1];
            let pods = [0, 1].map(|n| pod_name(&tasks[n], attempts[n]));
            let branches = [0, 1].map(|n| task_branch(&plan, UID, &tasks[n], attempts[n]));
            prop_assert_eq!(pods[0] == pods[1], same, "{:?}", pods);
            prop_assert_eq!(branches[0] == branches[1], same, "{:?}", branches);
            for n in 1..12 {
                prop_assert!(!pods.contains(&integration_pod_name(&plan, n)), "{pods:?}");
                prop_assert!(!branches.contains(&candidate_branch(&plan, UID, n)), "{branches:?}");
            }
            // Git stores a branch as a file, so no branch may have the name of another branch's folder.
            let folder = format!("{}/", branches[0]);
            prop_assert!(!branches[1].starts_with(&folder) && !candidate_branch(&plan, UID, 1).starts_with(&folder));
        }

        /// Plans of one namespace: no Task has the name of another plan's Task.
        #[test]
        fn plans_share_no_task(
            plans in ("[ab](-{1,2}[ab]){0,3}", "[ab](-{1,2}[ab]){0,3}"),
            ids in (prop_oneof!["[ab](-[ab]){0,3}", id()], prop_oneof!["[ab](-[ab]){0,3}", id()]),
        ) {
            prop_assume!(plans.0 != plans.1);
            prop_assert_ne!(task_name(&plans.0, &ids.0), task_name(&plans.1, &ids.1));
        }

        /// Plans with the same name in two namespaces, or created again after a deletion.
        #[test]
        fn plans_of_one_name_share_no_branch(
            plan in "[a-z]([a-z0-9-]{0,50}[a-z0-9])?", id in id(), uids in ("[0-9a-f]{8}", "[0-9a-f]{8}"),
        ) {
            prop_assume!(uids.0 != uids.1);
            let [one, other] = [uids.0, uids.1].map(|uid| format!("{uid}-7d3e-4b8a-9c6d-0e1f2a3b4c5d"));
            let task = task_name(&plan, &id);
            prop_assert_ne!(task_branch(&plan, &one, &task, 1), task_branch(&plan, &other, &task, 1));
            prop_assert_ne!(candidate_branch(&plan, &one, 1), candidate_branch(&plan, &other, 1));
        }
    }
}
