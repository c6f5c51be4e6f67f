//! Approvals: the decisions that count for a content, and their evaluation against a policy.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::analysis::Severity;
use crate::digest::Digest;
use crate::time::Millis;

pub mod authors;

use authors::Authors;

/// Prefixes of the user names of service accounts and nodes, which are not people.
const MACHINES: [&str; 2] = ["system:serviceaccount:", "system:node:"];

/// The approvals that a subject requires before anything that depends on it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Number of different people who must approve; 0 requires no approval.
    pub required: u32,
    /// Only members of one of these groups count; empty means anybody whom RBAC lets create an Approval.
    pub groups: Vec<String>,
    /// Whether the authors of the subject's content may not approve it.
    pub four_eyes: bool,
    /// Further requirements while findings of a severity are open.
    pub with_findings: Vec<WithFindings>,
    /// Seconds after which an approval expires.
    pub expires_after: Option<u32>,
    /// Machines that count as people, by the API server's names for them.
    pub machines: Vec<String>,
    /// A policy that must be satisfied too.
    pub minimum: Option<Box<Policy>>,
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
    /// The users who wrote it, as the webhook stamped them.
    pub authors: Authors,
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
    /// The approver wrote some of the content, and the policy requires four eyes.
    #[error("the approver is an author of the content, and the policy requires four eyes; ask somebody else")]
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
        let minimum = self.minimum.as_ref().is_some_and(|minimum| minimum.requires_people());
        minimum || self.required > 0 || !self.with_findings.is_empty()
    }

    /// Returns the number of people who must approve whatever is found.
    pub fn least_approvals(&self) -> u32 {
        self.minimum.as_ref().map_or(0, |minimum| minimum.least_approvals()).max(self.required)
    }

    /// Returns the machines that count for the policy or for its minimum.
    pub fn all_machines(&self) -> BTreeSet<&str> {
        let of_minimum = self.minimum.iter().flat_map(|minimum| minimum.all_machines());
        self.machines.iter().map(String::as_str).chain(of_minimum).collect()
    }

    /// Returns the requirements while findings are open, of the policy and of its minimum.
    pub fn all_with_findings(&self) -> impl Iterator<Item = &WithFindings> {
        self.with_findings.iter().chain(self.minimum.iter().flat_map(|minimum| &minimum.with_findings))
    }

    /// Returns the seconds after which an approval does not satisfy both the policy and its minimum any more; none if it does not expire.
    pub fn shortest_validity(&self) -> Option<u32> {
        let of_minimum = self.minimum.as_ref().and_then(|minimum| minimum.expires_after);
        self.expires_after.into_iter().chain(of_minimum).min()
    }

    /// Returns the policy of an object whose Tenant has a minimum: both must be satisfied, whatever the object says.
    #[must_use]
    pub fn with_minimum(self, minimum: Option<Self>) -> Self {
        let Some(minimum) = minimum else { return self };
        if !self.requires_people() {
            return minimum;
        }
        // An author that one of them excludes must not count for the other.
        let four_eyes = self.four_eyes || minimum.four_eyes;
        // A minimum that requires nobody lets nobody decide either.
        let minimum = Some(minimum).filter(Self::requires_people);
        Self { four_eyes, minimum: minimum.map(|minimum| Box::new(Self { four_eyes, ..minimum })), ..self }
    }

    /// Returns the requirements of `before` that this policy lowers, each as a policy by which somebody may approve now: who lowers them must
    /// count for each. Other groups lower a requirement, because people of the former ones need not decide any more.
    pub fn lowered(&self, before: &Self) -> Vec<Self> {
        if !before.requires_people() {
            return Vec::new();
        }
        let expires = match (self.expires_after, before.expires_after) {
            (_, None) => true,
            (new, Some(before)) => new.is_some_and(|new| new <= before),
        };
        // Each requirement depends on these.
        let keeps_approvers = (self.four_eyes || !before.four_eyes)
            && self.machines.iter().all(|machine| before.machines.contains(machine))
            && expires;
        let keeps_own = keeps_approvers && self.required >= before.required && is_within(&self.groups, &before.groups);
        let own = Self { with_findings: Vec::new(), minimum: None, ..before.clone() };
        let of_rule = |rule: &WithFindings| {
            let groups = if rule.groups.is_empty() { &before.groups } else { &rule.groups };
            Self { groups: groups.clone(), ..own.clone() }
        };
        let rules = before.with_findings.iter().filter(|rule| !(keeps_approvers && self.keeps(rule))).map(of_rule);
        (!keeps_own).then(|| own.clone()).into_iter().chain(rules).collect()
    }

    /// Returns whether one of its rules requires at least what `rule` does.
    fn keeps(&self, rule: &WithFindings) -> bool {
        self.with_findings.iter().any(|new| {
            // Severities are ordered with the worst first.
            new.at_least >= rule.at_least
                && new.required >= rule.required
                && new.groups.is_empty() == rule.groups.is_empty()
                && is_within(&new.groups, &rule.groups)
        })
    }

    /// Returns the names of the groups whose members may decide while `worst` is the worst open finding.
    pub fn groups_for(&self, worst: Option<Severity>) -> Vec<&str> {
        let further = self.active_rules(worst).flat_map(|rule| &rule.groups);
        let mut groups: BTreeSet<&str> = self.groups.iter().chain(further).map(String::as_str).collect();
        groups.extend(self.minimum.iter().flat_map(|minimum| minimum.groups_for(worst)));
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

/// Checks that one decision counts for `content` at the time `now`, for the policy itself or for its minimum. A rejection counts as it did when
/// it was made: only its author can replace it.
///
/// # Errors
/// The reason why it does not count.
pub fn check_decision(policy: &Policy, content: &Content, decision: &Decision, now: Millis) -> Result<(), Void> {
    let own = check_own(policy, content, decision, now);
    match &policy.minimum {
        Some(minimum) if own.is_err() => check_own(minimum, content, decision, now).or(own),
        _ => own,
    }
}

/// Checks a decision without regard to the minimum of the policy.
fn check_own(policy: &Policy, content: &Content, decision: &Decision, now: Millis) -> Result<(), Void> {
    // The digest comes first: for a decision on other content, the other reasons would mislead.
    if decision.digest != content.digest {
        return Err(Void::ContentChanged);
    }
    // Its admission checked the rest. A stricter policy must not release what somebody rejected.
    if decision.choice == Choice::Reject && decision.at.is_some() {
        return Ok(());
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
    if policy.four_eyes && content.authors.contains(&decision.user) {
        return Err(Void::SelfApproval);
    }
    if policy.expiry(decision).is_some_and(|expiry| expiry <= now) {
        return Err(Void::Expired);
    }
    Ok(())
}

/// Returns the decisions on `before` that count and would no longer count if the content became `after`, each with the reason.
pub fn lost<'d>(
    policy: &Policy,
    before: &Content,
    after: &Content,
    decisions: &'d [Decision],
    now: Millis,
) -> Vec<(&'d Decision, Void)> {
    let counts = |d: &&Decision| check_decision(policy, before, d, now).is_ok() && !is_superseded(d, decisions);
    let lost = |d: &'d Decision| Some((d, check_decision(policy, after, d, now).err()?));
    decisions.iter().filter(counts).filter_map(lost).collect()
}

/// Evaluates all decisions. Of each person the latest decision on the content counts; one rejection that counts outweighs every approval.
pub fn evaluate(policy: &Policy, content: &Content, decisions: &[Decision], now: Millis) -> Verdict {
    let own = evaluate_own(policy, content, decisions, now);
    let Some(minimum) = &policy.minimum else { return own };
    match (own, evaluate_own(minimum, content, decisions, now)) {
        (rejected @ Verdict::Rejected { .. }, _) | (_, rejected @ Verdict::Rejected { .. }) => rejected,
        (waiting @ Verdict::Waiting(_), _) | (_, waiting @ Verdict::Waiting(_)) => waiting,
        (Verdict::Approved { people, until }, Verdict::Approved { people: more, until: other }) => {
            let people: BTreeSet<String> = people.into_iter().chain(more).collect();
            let until = until.into_iter().chain(other).min();
            Verdict::Approved { people: people.into_iter().collect(), until }
        }
    }
}

/// Evaluates all decisions without regard to the minimum of the policy.
fn evaluate_own(policy: &Policy, content: &Content, decisions: &[Decision], now: Millis) -> Verdict {
    let valid: Vec<&Decision> = decisions
        .iter()
        .filter(|d| check_own(policy, content, d, now).is_ok() && !is_superseded(d, decisions))
        .collect();
    // The webhook admits only rejections that count, so a machine or a person outside of the groups cannot block the content.
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

/// Returns whether the same person decided again on the same content later. A later approval replaces a rejection for good: after it has
/// expired, the rejection does not count again. Of decisions at the same time each counts, so that a rejection wins.
fn is_superseded(decision: &Decision, decisions: &[Decision]) -> bool {
    let replaces = |other: &Decision| other.user == decision.user && other.digest == decision.digest;
    decisions.iter().any(|other| replaces(other) && other.at > decision.at)
}

/// Returns whether `groups` admits nobody whom `outer` does not. An empty list admits everybody.
fn is_within(groups: &[String], outer: &[String]) -> bool {
    outer.is_empty() || (!groups.is_empty() && groups.iter().all(|group| outer.contains(group)))
}

fn is_in(decision: &Decision, groups: &[String]) -> bool {
    decision.groups.iter().any(|group| groups.contains(group))
}

#[cfg(test)]
mod tests;
