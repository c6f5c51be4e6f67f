//! Approvals: which decisions of people count for a subject at a digest.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What a subject asks before anything downstream of it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How many different people must approve; 0 means that none is asked.
    pub required: u32,
    /// Only members of one of these groups count; empty means anybody whom RBAC lets create an Approval.
    pub groups: Vec<String>,
    /// Whether the author of the subject's content may not approve it.
    pub four_eyes: bool,
}

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choice {
    /// Go on.
    Approve,
    /// Send it back.
    Reject,
}

/// One person's decision, as the webhook stamped it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Name of the Approval.
    pub name: String,
    /// Who decided.
    pub user: String,
    /// The groups that the API server gave that user at that time.
    pub groups: Vec<String>,
    /// The content that was decided on.
    pub digest: Digest,
    /// The decision.
    pub choice: Choice,
    /// Free text.
    pub comment: String,
}

/// Why a decision does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// The content changed after the decision.
    #[error("the content has changed since; approve the new digest")]
    ContentChanged,
    /// The person is in none of the groups that may decide.
    #[error("the approver is in none of the groups that the policy names")]
    NotInGroup,
    /// The person wrote the content, and the policy wants four eyes.
    #[error("the approver is the author, and the policy wants four eyes")]
    OwnWork,
}

/// Where a subject stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Enough approvals of this digest (or none needed); the approvers' names, sorted.
    Approved(Vec<String>),
    /// Somebody who may decide rejected this digest.
    Rejected {
        /// Who.
        user: String,
        /// Why.
        comment: String,
    },
    /// So many approvals are there, so many are needed.
    Waiting {
        /// Approvals that count.
        have: u32,
        /// Approvals that are needed.
        need: u32,
    },
}

/// Whether one decision counts for content `digest` by `author`.
///
/// # Errors
/// Why it does not.
pub fn counts(policy: &Policy, digest: &Digest, author: Option<&str>, decision: &Decision) -> Result<(), Void> {
    if decision.digest != *digest {
        return Err(Void::ContentChanged);
    }
    if !policy.groups.is_empty() && !decision.groups.iter().any(|g| policy.groups.contains(g)) {
        return Err(Void::NotInGroup);
    }
    if policy.four_eyes && author == Some(decision.user.as_str()) {
        return Err(Void::OwnWork);
    }
    Ok(())
}

/// The verdict of all decisions. A person counts once; one rejection that counts outweighs every approval.
pub fn evaluate(policy: &Policy, digest: &Digest, author: Option<&str>, decisions: &[Decision]) -> Verdict {
    let valid = || decisions.iter().filter(|d| counts(policy, digest, author, d).is_ok());
    if let Some(no) = valid().find(|d| d.choice == Choice::Reject) {
        return Verdict::Rejected { user: no.user.clone(), comment: no.comment.clone() };
    }
    let people: BTreeSet<&str> = valid().map(|d| d.user.as_str()).collect();
    let have = u32::try_from(people.len()).unwrap_or(u32::MAX);
    if have >= policy.required {
        Verdict::Approved(people.into_iter().map(str::to_owned).collect())
    } else {
        Verdict::Waiting { have, need: policy.required }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(user: &str, group: &str, content: &str, choice: Choice) -> Decision {
        Decision {
            name: format!("{user}-1"),
            user: user.into(),
            groups: vec![group.into()],
            digest: Digest::of_bytes(content.as_bytes()),
            choice,
            comment: "because".into(),
        }
    }

    #[test]
    fn people_count_once_and_only_for_this_content() {
        let policy = Policy { required: 2, groups: vec!["leads".into()], four_eyes: true };
        let now = Digest::of_bytes(b"v2");
        let mut all = vec![
            decision("ann", "leads", "v2", Choice::Approve),
            decision("ann", "leads", "v2", Choice::Approve),
            decision("bob", "leads", "v1", Choice::Approve),
            decision("cem", "guests", "v2", Choice::Approve),
            decision("dot", "leads", "v2", Choice::Approve),
        ];
        assert_eq!(evaluate(&policy, &now, Some("dot"), &all), Verdict::Waiting { have: 1, need: 2 });
        assert_eq!(counts(&policy, &now, Some("dot"), &all[4]), Err(Void::OwnWork));
        assert_eq!(evaluate(&policy, &now, Some("eve"), &all), Verdict::Approved(vec!["ann".into(), "dot".into()]));
        all.push(decision("fay", "leads", "v2", Choice::Reject));
        assert_eq!(
            evaluate(&policy, &now, Some("eve"), &all),
            Verdict::Rejected { user: "fay".into(), comment: "because".into() }
        );
    }

    #[test]
    fn no_policy_needs_nobody() {
        let verdict = evaluate(&Policy::default(), &Digest::of_bytes(b"x"), None, &[]);
        assert_eq!(verdict, Verdict::Approved(vec![]));
    }
}
