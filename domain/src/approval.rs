//! Approvals: the decisions that count for a content, and their evaluation against a policy.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::analysis::Severity;
use crate::digest::Digest;
use crate::time::Millis;

/// Prefixes of the user names of service accounts and nodes, which are not people.
const MACHINES: [&str; 2] = ["system:serviceaccount:", "system:node:"];

/// The approvals that a subject requires before anything that depends on it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Number of different people who must approve; 0 requires no approval.
    pub required: u32,
    /// Only members of one of these groups count; empty means anybody whom RBAC lets create an Approval.
    pub groups: Vec<String>,
    /// Whether the author of the subject's content may not approve it.
    pub four_eyes: bool,
    /// Further requirements while findings of a severity are open.
    pub with_findings: Vec<WithFindings>,
    /// Seconds after which an approval expires.
    pub expires_after: Option<u32>,
    /// Machines that count as people, by the API server's names for them.
    pub machines: Vec<String>,
}

/// A further requirement while findings of a severity are open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithFindings {
    /// Severity of an open finding, or a worse one, that activates the requirement.
    pub at_least: Severity,
    /// Number of different people who must approve.
    pub required: u32,
    /// Only members of these groups count towards `required`, also if they are in none of the policy's groups. Empty means the policy's
    /// groups.
    pub groups: Vec<String>,
}

/// The content that people decide on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub digest: Digest,
    /// The user who wrote it, as the webhook stamped it.
    pub author: Option<String>,
    /// The severity of its worst open finding.
    pub worst: Option<Severity>,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choice {
    Approve,
    Reject,
}

/// One person's decision, as the webhook stamped it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Name of the Approval.
    pub name: String,
    pub user: String,
    /// The user's groups at the time of the decision, as the API server reported them.
    pub groups: Vec<String>,
    /// Digest of the content that was decided on.
    pub digest: Digest,
    pub choice: Choice,
    pub comment: String,
    /// Creation time of the Approval; none during its admission.
    pub at: Option<Millis>,
}

/// Reason why a decision does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// The content changed after the decision.
    #[error("the content has changed since; approve the new digest")]
    ContentChanged,
    /// The approver is a service account or a node.
    #[error("the approver is a machine that the policy does not name in spec.approval.machines; a person must decide")]
    Machine,
    /// The approver is in none of the groups that may decide.
    #[error("the approver is in none of the groups that the policy names; ask a member of one")]
    NotInGroup,
    /// The approver wrote the content, and the policy requires four eyes.
    #[error("the approver is the author, and the policy requires four eyes; ask somebody else")]
    SelfApproval,
    /// The approval is older than the policy allows.
    #[error("the approval has expired; review the content and approve it again")]
    Expired,
}

impl Void {
    /// Returns the reason for conditions.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ContentChanged => "ContentChanged",
            Self::Machine => "NotAPerson",
            Self::NotInGroup => "NotInGroup",
            Self::SelfApproval => "SelfApproval",
            Self::Expired => "ApprovalExpired",
        }
    }
}

/// The result of all decisions about a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There are enough approvals of this content, or none is required.
    Approved {
        /// The approvers' names, sorted.
        people: Vec<String>,
        /// Time at which the first of the approvals expires.
        until: Option<Millis>,
    },
    /// A user who may decide rejected this digest.
    Rejected { user: String, comment: String },
    /// A requirement is not met yet.
    Waiting(Requirement),
}

/// A number of approvals that is required.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Approvals that count towards it.
    pub have: u32,
    /// Approvals that are required.
    pub need: u32,
    /// Groups whose members count; empty means everybody.
    pub groups: Vec<String>,
    /// The severity of open findings that causes the requirement; none for the policy's own.
    pub because: Option<Severity>,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} approvals", self.have, self.need)?;
        if !self.groups.is_empty() {
            write!(f, " by members of {}", self.groups.join(", "))?;
        }
        match self.because {
            Some(severity) => write!(f, ", required while findings of severity {severity} or worse are open"),
            None => Ok(()),
        }
    }
}

impl Policy {
    /// Returns whether it requires approvals, in any state of the content.
    pub fn requires_people(&self) -> bool {
        self.required > 0 || !self.with_findings.is_empty()
    }

    /// Returns the names of the groups whose members may decide while `worst` is the worst open finding.
    pub fn groups_for(&self, worst: Option<Severity>) -> Vec<&str> {
        let further = self.active_rules(worst).flat_map(|rule| &rule.groups);
        let groups: BTreeSet<&str> = self.groups.iter().chain(further).map(String::as_str).collect();
        groups.into_iter().collect()
    }

    /// Returns the further requirements that apply while `worst` is the worst open finding.
    fn active_rules(&self, worst: Option<Severity>) -> impl Iterator<Item = &WithFindings> {
        // Severities are ordered with the worst first.
        self.with_findings.iter().filter(move |rule| worst.is_some_and(|worst| worst <= rule.at_least))
    }

    fn is_machine(&self, user: &str) -> bool {
        MACHINES.iter().any(|prefix| user.starts_with(prefix)) && !self.machines.iter().any(|named| named == user)
    }

    /// Returns the time at which a decision expires. A rejection never expires; it counts until the content changes.
    fn expiry(&self, decision: &Decision) -> Option<Millis> {
        let seconds = self.expires_after.filter(|_| decision.choice == Choice::Approve)?;
        Some(decision.at?.plus_seconds(seconds))
    }
}

/// Checks that one decision counts for `content` at the time `now`.
///
/// # Errors
/// The reason why it does not count.
pub fn check_decision(policy: &Policy, content: &Content, decision: &Decision, now: Millis) -> Result<(), Void> {
    // The digest comes first: for a decision on other content, the other reasons would mislead.
    if decision.digest != content.digest {
        return Err(Void::ContentChanged);
    }
    if policy.is_machine(&decision.user) {
        return Err(Void::Machine);
    }
    // An active rule with its own groups admits their members, even if they are in none of the policy's groups.
    let is_invited =
        policy.active_rules(content.worst).any(|rule| !rule.groups.is_empty() && is_in(decision, &rule.groups));
    if !policy.groups.is_empty() && !is_in(decision, &policy.groups) && !is_invited {
        return Err(Void::NotInGroup);
    }
    if policy.four_eyes && content.author.as_deref() == Some(decision.user.as_str()) {
        return Err(Void::SelfApproval);
    }
    if policy.expiry(decision).is_some_and(|expiry| expiry <= now) {
        return Err(Void::Expired);
    }
    Ok(())
}

/// Evaluates all decisions. A person counts once; one rejection that counts outweighs every approval.
pub fn evaluate(policy: &Policy, content: &Content, decisions: &[Decision], now: Millis) -> Verdict {
    let valid: Vec<&Decision> = decisions.iter().filter(|d| check_decision(policy, content, d, now).is_ok()).collect();
    // Only valid rejections are considered, so a machine or a person outside of the groups cannot block the content.
    if let Some(no) = valid.iter().find(|d| d.choice == Choice::Reject) {
        return Verdict::Rejected { user: no.user.clone(), comment: no.comment.clone() };
    }
    let base = Requirement { have: 0, need: policy.required, groups: policy.groups.clone(), because: None };
    let further = policy.active_rules(content.worst).map(|rule| {
        let groups = if rule.groups.is_empty() { &policy.groups } else { &rule.groups };
        Requirement { have: 0, need: rule.required, groups: groups.clone(), because: Some(rule.at_least) }
    });
    // Every requirement must be met by itself; one approval can count towards several.
    for requirement in std::iter::once(base).chain(further) {
        let of_group = |d: &&&Decision| requirement.groups.is_empty() || is_in(d, &requirement.groups);
        // A set, since one person can have several Approvals.
        let people: BTreeSet<&str> = valid.iter().filter(of_group).map(|d| d.user.as_str()).collect();
        let have = u32::try_from(people.len()).unwrap_or(u32::MAX);
        if have < requirement.need {
            return Verdict::Waiting(Requirement { have, ..requirement });
        }
    }
    let people: BTreeSet<&str> = valid.iter().map(|d| d.user.as_str()).collect();
    // When the first approval expires, the decisions must be evaluated again.
    let until = valid.iter().filter_map(|d| policy.expiry(d)).min();
    Verdict::Approved { people: people.into_iter().map(str::to_owned).collect(), until }
}

fn is_in(decision: &Decision, groups: &[String]) -> bool {
    decision.groups.iter().any(|group| groups.contains(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_000_000);

    fn decision(user: &str, group: &str, content: &str, choice: Choice) -> Decision {
        Decision {
            name: format!("{user}-1"),
            user: user.into(),
            groups: vec![group.into()],
            digest: Digest::of_bytes(content.as_bytes()),
            choice,
            comment: "because".into(),
            at: Some(Millis(900_000)),
        }
    }

    fn yes(user: &str, group: &str) -> Decision {
        decision(user, group, "v2", Choice::Approve)
    }

    fn content(author: &str, worst: Option<Severity>) -> Content {
        Content { digest: Digest::of_bytes(b"v2"), author: Some(author.into()), worst }
    }

    fn leads(required: u32) -> Policy {
        Policy { required, groups: vec!["leads".into()], four_eyes: true, ..Policy::default() }
    }

    fn approved(people: &[&str]) -> Verdict {
        Verdict::Approved { people: people.iter().map(ToString::to_string).collect(), until: None }
    }

    fn missing(verdict: &Verdict) -> (u32, u32, Option<Severity>) {
        match verdict {
            Verdict::Waiting(requirement) => (requirement.have, requirement.need, requirement.because),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn people_count_once_and_only_for_this_content() {
        let policy = leads(2);
        let mut all = vec![
            yes("ann", "leads"),
            yes("ann", "leads"),
            decision("bob", "leads", "v1", Choice::Approve),
            yes("cem", "guests"),
            yes("dot", "leads"),
        ];
        assert_eq!(missing(&evaluate(&policy, &content("dot", None), &all, NOW)), (1, 2, None));
        assert_eq!(check_decision(&policy, &content("dot", None), &all[4], NOW), Err(Void::SelfApproval));
        assert_eq!(evaluate(&policy, &content("eve", None), &all, NOW), approved(&["ann", "dot"]));
        all.push(decision("fay", "leads", "v2", Choice::Reject));
        assert_eq!(
            evaluate(&policy, &content("eve", None), &all, NOW),
            Verdict::Rejected { user: "fay".into(), comment: "because".into() }
        );
    }

    #[test]
    fn no_policy_needs_nobody() {
        assert_eq!(evaluate(&Policy::default(), &content("ann", Some(Severity::Critical)), &[], NOW), approved(&[]));
    }

    #[test]
    fn a_machine_counts_only_where_it_is_named() {
        let flux = "system:serviceaccount:flux-system:kustomize-controller";
        let mut policy = Policy { required: 1, ..Policy::default() };
        let all = [yes(flux, "system:serviceaccounts")];
        assert_eq!(check_decision(&policy, &content("ann", None), &all[0], NOW), Err(Void::Machine));
        assert_eq!(missing(&evaluate(&policy, &content("ann", None), &all, NOW)), (0, 1, None));
        policy.machines = vec![flux.into()];
        assert_eq!(evaluate(&policy, &content("ann", None), &all, NOW), approved(&[flux]));
    }

    #[test]
    fn open_findings_ask_for_more_people_and_for_others() {
        let security = WithFindings { at_least: Severity::High, required: 1, groups: vec!["security".into()] };
        let more = WithFindings { at_least: Severity::Critical, required: 2, groups: vec![] };
        let policy = Policy { with_findings: vec![security, more], ..leads(1) };
        let mut all = vec![yes("ann", "leads")];
        let verdict = |worst, all: &[Decision]| evaluate(&policy, &content("eve", worst), all, NOW);
        assert_eq!(verdict(Some(Severity::Medium), &all), approved(&["ann"]));
        assert_eq!(missing(&verdict(Some(Severity::High), &all)), (0, 1, Some(Severity::High)));
        assert_eq!(check_decision(&policy, &content("eve", None), &yes("sue", "security"), NOW), Err(Void::NotInGroup));
        all.push(yes("sue", "security"));
        assert_eq!(verdict(Some(Severity::High), &all), approved(&["ann", "sue"]));
        assert_eq!(missing(&verdict(Some(Severity::Critical), &all)), (1, 2, Some(Severity::Critical)));
        all.push(yes("bob", "leads"));
        assert_eq!(verdict(Some(Severity::Critical), &all), approved(&["ann", "bob", "sue"]));
    }

    #[test]
    fn an_approval_expires() {
        let policy = Policy { expires_after: Some(60), ..leads(1) };
        let all = [yes("ann", "leads"), Decision { at: Some(Millis(950_000)), ..yes("bob", "leads") }];
        let at = |now| evaluate(&policy, &content("eve", None), &all, Millis(now));
        let until = |verdict| match verdict {
            Verdict::Approved { people, until } => (people.len(), until),
            other => panic!("{other:?}"),
        };
        assert_eq!(until(at(959_999)), (2, Some(Millis(960_000))));
        assert_eq!(check_decision(&policy, &content("eve", None), &all[0], Millis(960_000)), Err(Void::Expired));
        assert_eq!(until(at(960_000)), (1, Some(Millis(1_010_000))));
        assert_eq!(missing(&at(1_010_000)), (0, 1, None));
        let no = Decision { choice: Choice::Reject, ..yes("ann", "leads") };
        assert_eq!(check_decision(&policy, &content("eve", None), &no, Millis(i64::MAX)), Ok(()), "a rejection stands");
        let now = Decision { at: None, ..yes("ann", "leads") };
        assert_eq!(
            check_decision(&policy, &content("eve", None), &now, Millis(i64::MAX)),
            Ok(()),
            "while it is being made"
        );
    }
}
