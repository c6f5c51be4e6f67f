//! Approvals: which decisions of people count for a subject at a digest.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::analysis::Severity;
use crate::digest::Digest;
use crate::time::Millis;

/// How the API server names who is no person: service accounts and nodes.
const MACHINES: [&str; 2] = ["system:serviceaccount:", "system:node:"];

/// What a subject asks before anything downstream of it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How many different people must approve; 0 means that none is asked.
    pub required: u32,
    /// Only members of one of these groups count; empty means anybody whom RBAC lets create an Approval.
    pub groups: Vec<String>,
    /// Whether the author of the subject's content may not approve it.
    pub four_eyes: bool,
    /// What is asked besides while findings of a severity are open.
    pub with_findings: Vec<WithFindings>,
    /// Seconds after which an approval counts no more.
    pub expires_after: Option<u32>,
    /// Machines that count as people, by the API server's names for them.
    pub machines: Vec<String>,
}

/// What is asked besides while findings of a severity are open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithFindings {
    /// It holds while a finding of this severity or a worse one is open.
    pub at_least: Severity,
    /// How many different people must approve.
    pub required: u32,
    /// Only members of these groups count towards that, whatever the policy's own groups; empty means those who count anyhow.
    pub groups: Vec<String>,
}

/// What is decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its digest.
    pub digest: Digest,
    /// Who wrote it.
    pub author: Option<String>,
    /// The worst of its open findings.
    pub worst: Option<Severity>,
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
    /// When; none while it is being made.
    pub at: Option<Millis>,
}

/// Why a decision does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// The content changed after the decision.
    #[error("the content has changed since; approve the new digest")]
    ContentChanged,
    /// Who decided is no person.
    #[error("the approver is a machine, which the policy does not name in machines; a person has to decide")]
    Machine,
    /// The person is in none of the groups that may decide.
    #[error("the approver is in none of the groups that the policy names")]
    NotInGroup,
    /// The person wrote the content, and the policy wants four eyes.
    #[error("the approver is the author, and the policy wants four eyes")]
    SelfApproval,
    /// It was too long ago.
    #[error("the approval has expired; look at the content and approve it again")]
    Expired,
}

impl Void {
    /// The reason, as conditions have it.
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

/// Where a subject stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Enough approvals of this content, or none needed.
    Approved {
        /// The approvers' names, sorted.
        people: Vec<String>,
        /// When the first of the approvals expires.
        until: Option<Millis>,
    },
    /// Somebody who may decide rejected this digest.
    Rejected {
        /// Who.
        user: String,
        /// Why.
        comment: String,
    },
    /// What is not met yet.
    Waiting(Demand),
}

/// So many approvals are there, so many are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Approvals that count.
    pub have: u32,
    /// Approvals that are needed.
    pub need: u32,
    /// Groups whose members count; empty means everybody.
    pub groups: Vec<String>,
    /// The severity of open findings that asks for it; none for what is asked in any case.
    pub because: Option<Severity>,
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} approvals", self.have, self.need)?;
        if !self.groups.is_empty() {
            write!(f, " by members of {}", self.groups.join(", "))?;
        }
        match self.because {
            Some(severity) => write!(f, ", which findings of severity {severity} or worse ask for"),
            None => Ok(()),
        }
    }
}

impl Policy {
    /// What is asked while `worst` is the worst open finding.
    fn demands(&self, worst: Option<Severity>) -> impl Iterator<Item = &WithFindings> {
        // Severities are ordered with the worst first.
        self.with_findings.iter().filter(move |rule| worst.is_some_and(|worst| worst <= rule.at_least))
    }

    fn is_machine(&self, user: &str) -> bool {
        MACHINES.iter().any(|prefix| user.starts_with(prefix)) && !self.machines.iter().any(|named| named == user)
    }

    /// When a decision expires. A rejection stands until the content changes.
    fn end(&self, decision: &Decision) -> Option<Millis> {
        let seconds = self.expires_after.filter(|_| decision.choice == Choice::Approve)?;
        Some(decision.at?.plus_seconds(seconds))
    }
}

/// Whether one decision counts for `content` at the time `now`, towards whatever the policy asks.
///
/// # Errors
/// Why it does not.
pub fn counts(policy: &Policy, content: &Content, decision: &Decision, now: Millis) -> Result<(), Void> {
    if decision.digest != content.digest {
        return Err(Void::ContentChanged);
    }
    if policy.is_machine(&decision.user) {
        return Err(Void::Machine);
    }
    let invited = policy.demands(content.worst).any(|rule| !rule.groups.is_empty() && is_in(decision, &rule.groups));
    if !policy.groups.is_empty() && !is_in(decision, &policy.groups) && !invited {
        return Err(Void::NotInGroup);
    }
    if policy.four_eyes && content.author.as_deref() == Some(decision.user.as_str()) {
        return Err(Void::SelfApproval);
    }
    if policy.end(decision).is_some_and(|end| end <= now) {
        return Err(Void::Expired);
    }
    Ok(())
}

/// The verdict of all decisions. A person counts once; one rejection that counts outweighs every approval.
pub fn evaluate(policy: &Policy, content: &Content, decisions: &[Decision], now: Millis) -> Verdict {
    let valid: Vec<&Decision> = decisions.iter().filter(|d| counts(policy, content, d, now).is_ok()).collect();
    if let Some(no) = valid.iter().find(|d| d.choice == Choice::Reject) {
        return Verdict::Rejected { user: no.user.clone(), comment: no.comment.clone() };
    }
    let base = Demand { have: 0, need: policy.required, groups: policy.groups.clone(), because: None };
    let besides = policy.demands(content.worst).map(|rule| {
        let groups = if rule.groups.is_empty() { &policy.groups } else { &rule.groups };
        Demand { have: 0, need: rule.required, groups: groups.clone(), because: Some(rule.at_least) }
    });
    for demand in std::iter::once(base).chain(besides) {
        let of_group = |d: &&&Decision| demand.groups.is_empty() || is_in(d, &demand.groups);
        let people: BTreeSet<&str> = valid.iter().filter(of_group).map(|d| d.user.as_str()).collect();
        let have = u32::try_from(people.len()).unwrap_or(u32::MAX);
        if have < demand.need {
            return Verdict::Waiting(Demand { have, ..demand });
        }
    }
    let people: BTreeSet<&str> = valid.iter().map(|d| d.user.as_str()).collect();
    let until = valid.iter().filter_map(|d| policy.end(d)).min();
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
            Verdict::Waiting(demand) => (demand.have, demand.need, demand.because),
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
        assert_eq!(counts(&policy, &content("dot", None), &all[4], NOW), Err(Void::SelfApproval));
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
        assert_eq!(counts(&policy, &content("ann", None), &all[0], NOW), Err(Void::Machine));
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
        assert_eq!(counts(&policy, &content("eve", None), &yes("sue", "security"), NOW), Err(Void::NotInGroup));
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
        assert_eq!(counts(&policy, &content("eve", None), &all[0], Millis(960_000)), Err(Void::Expired));
        assert_eq!(until(at(960_000)), (1, Some(Millis(1_010_000))));
        assert_eq!(missing(&at(1_010_000)), (0, 1, None));
        let no = Decision { choice: Choice::Reject, ..yes("ann", "leads") };
        assert_eq!(counts(&policy, &content("eve", None), &no, Millis(i64::MAX)), Ok(()), "a rejection stands");
        let now = Decision { at: None, ..yes("ann", "leads") };
        assert_eq!(counts(&policy, &content("eve", None), &now, Millis(i64::MAX)), Ok(()), "while it is being made");
    }
}
