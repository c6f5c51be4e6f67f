//! What a changed document would affect: as JSON, and as lines for a person.

use std::collections::BTreeSet;

use enact_crds::approval::Choice;
use enact_crds::constitution::{Amendment, Impact};
use enact_crds::document::Finding;
use enact_crds::documents::findings::Findings;
use enact_crds::{plan, task};
use enact_domain::revisions::staleness::{Changes, ItemChange, Renumbered};
use serde::Serialize;

use crate::history::short;
use crate::text::one_line;

/// What a changed document would affect.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The object of the document: `specification/cart`.
    pub subject: String,
    pub namespace: String,
    /// Digest of the present content.
    pub digest: String,
    /// Digest of the content with the changed document.
    pub new_digest: String,
    /// Why the changed content could not be approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// The items of a Specification that differ from the present content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// The difference of a Constitution from the content that was approved before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amendment: Option<Amendment>,
    /// What a Constitution governs, from its status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affects: Option<Impact>,
    /// The affected plans of a Specification.
    pub plans: Vec<PlanImpact>,
    pub approvals: Decisions,
    pub findings: FindingChanges,
    /// The Specifications that a Constitution governs and whose findings would change.
    pub specifications: Vec<SpecificationImpact>,
}

/// The effect on a plan, once the changed content is approved.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanImpact {
    pub name: String,
    pub phase: plan::Phase,
    /// Whether it was started for a revision. Another one starts for the revision that is approved then.
    pub started: bool,
    /// Digest of the revision that it was started for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub specification_digest: Option<String>,
    /// The stale tasks and everything that depends on them, in the order of the plan.
    pub tasks: Vec<AffectedTask>,
    /// Added requirements and stories that no task serves.
    pub uncovered: Vec<ItemChange>,
    /// Tasks that name an identifier which their item no longer has.
    pub renumbered: Vec<Renumbered>,
    /// Why its tasks are unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A task that is stale, or depends on one that is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AffectedTask {
    pub id: String,
    pub title: String,
    pub phase: task::Phase,
    pub stale: bool,
    /// Whether it is finished work that `redo` repeats.
    pub repeated: bool,
    /// Why it is stale.
    pub reasons: Vec<String>,
    /// Number of further reasons.
    pub more: usize,
}

/// The decisions of people.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decisions {
    /// Decisions that count now and would no longer count.
    pub lost: Vec<LostDecision>,
    /// What the approval policy of the object would then require.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<String>,
}

/// A decision that would no longer count.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LostDecision {
    /// Name of the Approval.
    pub name: String,
    pub user: String,
    pub decision: Choice,
    pub reason: String,
}

/// The open findings that differ.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingChanges {
    pub appear: Vec<Finding>,
    pub disappear: Vec<Finding>,
}

/// The effect on a Specification that a Constitution governs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecificationImpact {
    pub name: String,
    /// Why it could no longer be approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    pub findings: FindingChanges,
}

impl FindingChanges {
    /// Compares the open findings of two texts by their ids.
    pub fn between(before: &Findings, after: &Findings) -> Self {
        let only = |one: &Findings, other: &Findings| -> Vec<Finding> {
            let known: BTreeSet<&str> = other.all.iter().map(|finding| finding.id.as_str()).collect();
            one.all.iter().filter(|finding| !known.contains(finding.id.as_str())).cloned().collect()
        };
        Self { appear: only(after, before), disappear: only(before, after) }
    }

    pub fn is_empty(&self) -> bool {
        self.appear.is_empty() && self.disappear.is_empty()
    }

    /// Returns a line for each finding: `+` for one that appears, `-` for one that disappears.
    fn lines(&self) -> Vec<String> {
        let line = |sign: char, finding: &Finding| {
            let Finding { id, severity, line, location, message, remedy, .. } = finding;
            let place = if location.is_empty() { String::new() } else { format!(" {location}") };
            let rest = if sign == '+' { format!("; {remedy}") } else { String::new() };
            format!("  {sign} {}", one_line(&format!("line {line}: {severity:?} {id}{place}: {message}{rest}")))
        };
        let appear = self.appear.iter().map(|finding| line('+', finding));
        appear.chain(self.disappear.iter().map(|finding| line('-', finding))).collect()
    }
}

impl Report {
    /// Returns the report for a person.
    pub fn lines(&self) -> Vec<String> {
        let (digest, new) = (short(&self.digest), short(&self.new_digest));
        if self.digest == self.new_digest {
            return vec![format!("{} already has this content ({digest})", self.subject)];
        }
        let mut lines = vec![format!("{} in namespace {}: {digest} → {new}", self.subject, self.namespace)];
        if let Some(blocked) = &self.blocked {
            lines.push(format!("it could not be approved: {}", one_line(blocked)));
        }
        lines.extend(self.changes.iter().flat_map(items));
        lines.extend(self.amendment.iter().flat_map(amendment));
        lines.extend(self.affects.iter().flat_map(affected));
        lines.extend(self.plans.iter().flat_map(PlanImpact::lines));
        if self.changes.is_some() && self.plans.is_empty() {
            lines.push("plans: no task is affected".into());
        }
        lines.extend(self.approvals.lines());
        if self.findings.is_empty() {
            lines.push("findings: none appears or disappears".into());
        } else {
            lines.push("findings:".into());
            lines.extend(self.findings.lines());
        }
        for SpecificationImpact { name, blocked, findings } in &self.specifications {
            lines.push(format!("findings of Specification {}:", one_line(name)));
            lines.extend(blocked.iter().map(|why| format!("  it could no longer be approved: {}", one_line(why))));
            lines.extend(findings.lines());
        }
        lines
    }
}

impl PlanImpact {
    fn lines(&self) -> Vec<String> {
        let name = &self.name;
        if let Some(problem) = &self.problem {
            return vec![format!("Plan {name} has not started, and its tasks are not known: {}", one_line(problem))];
        }
        let (stale_tasks, repeated) = (count(&self.tasks, |task| task.stale), count(&self.tasks, |task| task.repeated));
        let state = match &self.specification_digest {
            Some(digest) => format!("{:?}, started for {}", self.phase, short(digest)),
            None => "not started: it starts for the revision that is approved then".to_owned(),
        };
        let mut lines = vec![format!(
            "Plan {name} ({state}): {stale_tasks} stale tasks, {repeated} finished tasks that `kubectl enact redo {name}` repeats"
        )];
        lines.extend(self.tasks.iter().map(|task| format!("  {}", one_line(&task.line()))));
        lines.extend(
            self.uncovered.iter().map(|item| format!("  {}, and no task serves it", one_line(&item.to_string()))),
        );
        lines.extend(self.renumbered.iter().map(|Renumbered { task, from, to }| {
            format!("  {}", one_line(&format!("{task} names {from}, which is then {to}")))
        }));
        lines
    }
}

impl AffectedTask {
    fn line(&self) -> String {
        let Self { id, phase, stale, repeated, reasons, more, .. } = self;
        let what = match (stale, repeated) {
            (true, true) => "is stale and would run again",
            (true, false) => "is stale",
            (false, true) => "depends on stale tasks and would run again",
            (false, false) => "depends on stale tasks",
        };
        let more = if *more > 0 { format!(", and {more} more") } else { String::new() };
        let why = if reasons.is_empty() { String::new() } else { format!(": {}{more}", reasons.join(", ")) };
        format!("{id} ({phase:?}) {what}{why}")
    }
}

impl Decisions {
    /// Returns the lines for a person.
    pub fn lines(&self) -> Vec<String> {
        let lost = self.lost.iter().map(|LostDecision { name, user, decision, reason }| {
            let what = if *decision == Choice::Approve { "approval" } else { "rejection" };
            format!("approvals: {}", one_line(&format!("the {what} by {user} ({name}) would not count: {reason}")))
        });
        let needed = self.needed.iter().map(|needed| format!("approvals then: {}", one_line(needed)));
        lost.chain(needed).collect()
    }
}

fn count(tasks: &[AffectedTask], is: impl Fn(&AffectedTask) -> bool) -> usize {
    tasks.iter().filter(|task| is(task)).count()
}

/// Returns the items that differ.
fn items(changes: &Changes) -> Vec<String> {
    let Changes { requirements, stories, scenarios, criteria, entities, clarifications } = changes;
    let all = [requirements, stories, scenarios, criteria, entities, clarifications];
    let lines: Vec<String> =
        all.into_iter().flatten().map(|item| format!("  {}", one_line(&item.to_string()))).collect();
    let title = if lines.is_empty() { "changes: no requirement, story or criterion" } else { "changes:" };
    [title.to_owned()].into_iter().chain(lines).collect()
}

/// Returns the lines about an amendment.
pub fn amendment(amendment: &Amendment) -> Vec<String> {
    let Amendment { from, level, changes, .. } = amendment;
    let from = from.as_ref().map_or_else(String::new, |from| format!(" from version {}", one_line(from)));
    let mut lines = vec![format!("amendment{from}; it needs a {} version", one_line(level))];
    lines.extend(
        changes.iter().map(|c| format!("  {}", one_line(&format!("{} {}: {}", c.kind, c.principle, c.explanation)))),
    );
    lines
}

/// Returns the lines about the objects that a Constitution affects.
pub fn affected(impact: &Impact) -> Vec<String> {
    let Impact { specifications, plans, tasks, some } = impact;
    let mut lines =
        vec![format!("it affects {specifications} Specifications, {plans} unfinished Plans and {tasks} open Tasks")];
    lines.extend(some.iter().map(|object| format!("  {}", one_line(object))));
    lines
}
