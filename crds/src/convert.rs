//! Between the API's types and the domain's.

use enact_domain::contest::{self, Achievement, Criterion};
use enact_domain::stamps::Stamps;
use enact_domain::text::unix_lines;
use enact_domain::usage::{Balance, Basis, Estimate, Limit, Range, deviation_percent};
use enact_domain::waiting::Waiting;
use enact_domain::{analysis, approval, assignment, attempt, condition, plan as scheduling, rules};
use k8s_openapi::jiff::Timestamp;

use crate::common::{
    ApprovalPolicy, Budget, Condition, Gate, MonthlyUsage, RetryFrom, RetryPolicy, Time, WaitingStatus,
};
use crate::task::{Attempts, Better, ContestantStatus, Measurement};
use crate::{approval as api, document, plan, task};

pub use enact_domain::time::Millis;

/// Returns a Kubernetes time as milliseconds.
pub fn millis(time: &Time) -> Millis {
    Millis(time.0.as_millisecond())
}

/// Returns the milliseconds as a Kubernetes time, truncated to whole seconds as in the API server.
pub fn time(millis: Millis) -> Time {
    Time(Timestamp::from_second(millis.0.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Returns `millis` as a Kubernetes time, rounded up to whole seconds, so that a wait until then is never too short.
pub fn time_not_before(millis: Millis) -> Time {
    time(Millis(millis.0.saturating_add(999)))
}

/// Millionths in one.
const MICRO: u64 = 1_000_000;

/// Reads an amount of US dollars, such as `12.50`, as micro-USD; none if it is not a decimal number with at most six decimal places, or is
/// too large.
pub fn micro_usd(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(MICRO)?.checked_add(fraction)
}

/// Returns micro-USD as an amount of US dollars with at least two decimal places: `12.50`.
pub fn usd(micro_usd: u64) -> String {
    let mut text = format!("{}.{:06}", micro_usd / MICRO, micro_usd % MICRO);
    let zeros = text.len() - text.trim_end_matches('0').len();
    text.truncate(text.len() - zeros.min(4));
    text
}

/// Converts a budget. An amount that cannot be read, which the schema refuses, is a limit of zero: a damaged budget must not allow
/// everything.
pub fn limit(budget: &Budget) -> Limit {
    Limit { tokens: budget.tokens, cost_micro_usd: budget.usd.as_deref().map(|usd| micro_usd(usd).unwrap_or_default()) }
}

/// Returns what remained of the budgets of a task; none if nothing was limited.
pub fn remaining(limit: &Limit) -> Option<task::RemainingBudget> {
    budget(limit).map(|Budget { tokens, usd }| task::RemainingBudget { tokens, usd })
}

/// Reads what remained of the budgets of a task.
pub fn remaining_limit(remaining: &task::RemainingBudget) -> Limit {
    limit(&Budget { tokens: remaining.tokens, usd: remaining.usd.clone() })
}

/// Returns the budget with these limits; none if there are none.
pub fn budget(limit: &Limit) -> Option<Budget> {
    (!limit.is_unlimited()).then(|| Budget { tokens: limit.tokens, usd: limit.cost_micro_usd.map(usd) })
}

/// Returns what is reserved in a balance; none if nothing is.
pub fn reserved(balance: &Balance) -> Option<Budget> {
    budget(&Limit {
        tokens: Some(balance.reserved.tokens.total()).filter(|tokens| *tokens > 0),
        cost_micro_usd: Some(balance.reserved.known_cost()).filter(|cost| *cost > 0),
    })
}

/// Returns what is left of the limits of a balance; none without limits.
pub fn left(balance: &Balance) -> Option<Budget> {
    budget(&Limit { tokens: balance.remaining_tokens(), cost_micro_usd: balance.remaining_cost() })
}

/// Returns the use of models in a month, of which `budget` is the limit. The limit of the balance may still be the one before the last change
/// of the spec.
pub fn monthly_usage(month: String, budget: &Budget, balance: &Balance) -> MonthlyUsage {
    MonthlyUsage {
        month,
        tokens: balance.spent.tokens.total(),
        usd: usd(balance.spent.known_cost()),
        reserved: reserved(balance),
        remaining: left(&Balance { limit: limit(budget), ..*balance }),
        budget: budget.clone(),
    }
}

/// Returns the upper bound of an estimate as a budget: of its cost, or of its tokens if no cost is expected. None if neither is known.
pub fn cap(estimate: &plan::PlanEstimate) -> Option<Budget> {
    let usd = estimate.usd.as_ref().map(|range| &range.high).filter(|usd| micro_usd(usd).is_some_and(|usd| usd > 0));
    if let Some(usd) = usd {
        return Some(Budget { tokens: None, usd: Some(usd.clone()) });
    }
    // A budget of zero would stop the first request.
    let tokens = estimate.tokens.as_ref().map(|range| range.high).filter(|tokens| *tokens > 0)?;
    Some(Budget { tokens: Some(tokens), usd: None })
}

/// Returns by how many percent the use of models was above the expected cost, or the expected tokens if no cost was expected.
pub fn error_percent(estimate: &plan::PlanEstimate, usage: &plan::PlanUsage) -> Option<i64> {
    let cost = estimate.usd.as_ref().and_then(|range| micro_usd(&range.expected)).filter(|cost| *cost > 0);
    match cost {
        Some(expected) => deviation_percent(expected, micro_usd(&usage.usd)?),
        None => deviation_percent(estimate.tokens.as_ref()?.expected, usage.tokens),
    }
}

impl From<&Estimate> for plan::PlanEstimate {
    fn from(estimate: &Estimate) -> Self {
        let number = |range: Range| plan::NumberRange { low: range.low, expected: range.expected, high: range.high };
        let amount =
            |range: Range| plan::UsdRange { low: usd(range.low), expected: usd(range.expected), high: usd(range.high) };
        Self {
            usd: estimate.cost_micro_usd.map(amount),
            tokens: estimate.tokens.map(number),
            duration_seconds: estimate.seconds.map(number),
            samples: u32::try_from(estimate.samples).unwrap_or(u32::MAX),
            basis: match estimate.basis {
                Basis::Agent => plan::EstimateBasis::Agent,
                Basis::Model => plan::EstimateBasis::Model,
                Basis::Tenant => plan::EstimateBasis::Tenant,
                Basis::Unknown => plan::EstimateBasis::Unknown,
            },
            error_percent: None,
        }
    }
}

impl From<&ApprovalPolicy> for approval::Policy {
    fn from(policy: &ApprovalPolicy) -> Self {
        let with_findings = policy.with_findings.iter().map(|rule| approval::WithFindings {
            at_least: rule.at_least.into(),
            required: rule.required,
            groups: rule.groups.clone(),
        });
        Self {
            required: policy.required,
            groups: policy.groups.clone(),
            four_eyes: policy.four_eyes,
            with_findings: with_findings.collect(),
            expires_after: policy.expires_after_seconds,
            machines: policy.machines.clone(),
            minimum: None,
        }
    }
}

impl From<document::Severity> for analysis::Severity {
    fn from(severity: document::Severity) -> Self {
        match severity {
            document::Severity::Critical => Self::Critical,
            document::Severity::High => Self::High,
            document::Severity::Medium => Self::Medium,
            document::Severity::Low => Self::Low,
        }
    }
}

impl From<analysis::Severity> for document::Severity {
    fn from(severity: analysis::Severity) -> Self {
        match severity {
            analysis::Severity::Critical => Self::Critical,
            analysis::Severity::High => Self::High,
            analysis::Severity::Medium => Self::Medium,
            analysis::Severity::Low => Self::Low,
        }
    }
}

/// Returns the worst severity with at least one finding.
pub fn worst(counts: &document::FindingCounts) -> Option<analysis::Severity> {
    use analysis::Severity::{Critical, High, Low, Medium};
    let all = [(counts.critical, Critical), (counts.high, High), (counts.medium, Medium), (counts.low, Low)];
    all.into_iter().find(|(number, _)| *number > 0).map(|(_, severity)| severity)
}

/// Returns the decision of an Approval. Returns none when the webhook has not set `spec.by`.
pub fn decision(approval: &api::Approval) -> Option<approval::Decision> {
    let at = approval.metadata.creation_timestamp.as_ref().map(millis);
    decided(approval.metadata.name.as_deref().unwrap_or_default(), &approval.spec, at)
}

/// Returns the decision of a person; `at` is none while the Approval is being created.
pub fn decided(name: &str, spec: &api::ApprovalSpec, at: Option<Millis>) -> Option<approval::Decision> {
    let by = spec.by.as_ref()?;
    Some(approval::Decision {
        name: name.to_owned(),
        at,
        user: by.user.clone(),
        groups: by.groups.clone(),
        digest: spec.digest.clone().into(),
        choice: match spec.decision {
            api::Choice::Approve => approval::Choice::Approve,
            api::Choice::Reject => approval::Choice::Reject,
        },
        comment: spec.comment.clone(),
    })
}

/// Returns the worst severity of findings.
pub fn worst_of(findings: &[document::Finding]) -> Option<analysis::Severity> {
    findings.iter().map(|f| f.severity.into()).min()
}

/// Converts what an object accepts, with the stamps of the list.
pub fn acceptances(accepted: &[document::AcceptedFinding], stamps: &Stamps) -> Vec<analysis::Acceptance> {
    let one = |a: &document::AcceptedFinding| {
        analysis::Acceptance::named(&a.code, &a.at, &a.reason, a.by(stamps).map(str::to_owned))
    };
    accepted.iter().map(one).collect()
}

/// Converts a rule of a constitution.
pub fn rule(rule: &document::ConstitutionRule) -> rules::Rule {
    rules::Rule {
        name: rule.name.clone(),
        scope: match rule.applies_to {
            document::AppliesTo::Specification => rules::Scope::Specification,
            document::AppliesTo::Plan => rules::Scope::Plan,
            document::AppliesTo::Task => rules::Scope::Task,
            document::AppliesTo::Constitution => rules::Scope::Constitution,
        },
        expression: rule.expression.clone(),
        message: rule.message.clone(),
        strength: match rule.severity {
            document::Strength::Must => rules::Strength::Must,
            document::Strength::Should => rules::Strength::Should,
        },
        principle: rule.principle.clone(),
    }
}

/// Rules for further attempts: the task's where it says so, then the plan's, then the defaults.
pub fn retry(own: Option<&RetryPolicy>, fallback: &RetryPolicy) -> scheduling::Retry {
    let default = scheduling::Retry::default();
    let pick =
        |field: fn(&RetryPolicy) -> Option<u32>, last| own.and_then(field).or_else(|| field(fallback)).unwrap_or(last);
    scheduling::Retry {
        limit: pick(|r| r.limit, default.limit),
        infrastructure_limit: pick(|r| r.infrastructure_limit, default.infrastructure_limit),
        backoff_seconds: pick(|r| r.backoff_seconds, default.backoff_seconds),
        max_backoff_seconds: pick(|r| r.max_backoff_seconds, default.max_backoff_seconds),
    }
}

/// Returns what further attempts start from: as the task says, then the plan; none for the default of the adapter.
pub fn retry_from(own: Option<&RetryPolicy>, fallback: &RetryPolicy) -> Option<assignment::RetryFrom> {
    let from = own.and_then(|retry| retry.from).or(fallback.from)?;
    Some(match from {
        RetryFrom::Scratch => assignment::RetryFrom::Scratch,
        RetryFrom::Work => assignment::RetryFrom::Work,
    })
}

impl From<plan::OnFailure> for scheduling::OnFailure {
    fn from(value: plan::OnFailure) -> Self {
        match value {
            plan::OnFailure::Halt => Self::Halt,
            plan::OnFailure::Continue => Self::Continue,
            plan::OnFailure::Stop => Self::Stop,
        }
    }
}

impl From<task::Phase> for scheduling::TaskPhase {
    fn from(phase: task::Phase) -> Self {
        match phase {
            task::Phase::Pending => Self::Pending,
            task::Phase::Running => Self::Running,
            task::Phase::Succeeded => Self::Succeeded,
            task::Phase::Failed => Self::Failed,
            task::Phase::Cancelled => Self::Cancelled,
            task::Phase::Unknown => Self::Unknown,
        }
    }
}

impl From<scheduling::TaskPhase> for task::Phase {
    fn from(phase: scheduling::TaskPhase) -> Self {
        match phase {
            scheduling::TaskPhase::Pending => Self::Pending,
            scheduling::TaskPhase::Running => Self::Running,
            scheduling::TaskPhase::Succeeded => Self::Succeeded,
            scheduling::TaskPhase::Failed => Self::Failed,
            scheduling::TaskPhase::Cancelled => Self::Cancelled,
            scheduling::TaskPhase::Unknown => Self::Unknown,
        }
    }
}

impl From<scheduling::Counts> for plan::TaskCounts {
    fn from(c: scheduling::Counts) -> Self {
        Self {
            total: c.total,
            pending: c.pending,
            running: c.running,
            succeeded: c.succeeded,
            failed: c.failed,
            cancelled: c.cancelled,
            retries: c.retries,
        }
    }
}

/// Converts gates for an assignment.
pub fn gates(gates: &[Gate]) -> Vec<assignment::Gate> {
    gates.iter().map(|g| assignment::Gate { name: g.name.clone(), script: unix_lines(&g.script) }).collect()
}

/// Converts the scripts of measurements.
pub fn measurements(attempts: &Attempts) -> Vec<assignment::Gate> {
    let gate = |m: &Measurement| assignment::Gate { name: m.name.clone(), script: unix_lines(&m.script) };
    attempts.measurements.iter().map(gate).collect()
}

/// Converts the measurements by which contestants are compared.
pub fn criteria(attempts: &Attempts) -> Vec<Criterion> {
    let criterion = |m: &Measurement| Criterion {
        name: m.name.clone(),
        better: match m.better {
            Better::Lower => contest::Better::Lower,
            Better::Higher => contest::Better::Higher,
        },
    };
    attempts.measurements.iter().map(criterion).collect()
}

/// Returns what a contestant achieved; none unless it has passed its gates.
pub fn achievement(contestant: &ContestantStatus) -> Option<Achievement> {
    let measurements =
        contestant.measurements.iter().filter_map(|(name, text)| Some((name.clone(), text.parse().ok()?)));
    (contestant.phase == task::Phase::Succeeded).then(|| Achievement {
        measurements: measurements.collect(),
        // Without tokens it has used no model, which costs nothing.
        cost_micro_usd: contestant.usd.as_deref().map_or(contestant.tokens.is_none().then_some(0), micro_usd),
        tokens: contestant.tokens.unwrap_or_default(),
    })
}

/// Merges new conditions into old ones; see [`condition::merge`].
pub fn conditions(
    old: &[Condition],
    new: Vec<condition::Condition>,
    generation: Option<i64>,
    now: Millis,
) -> Vec<Condition> {
    let old: Vec<condition::Dated> = old.iter().map(dated).collect();
    condition::merge(&old, new, now)
        .into_iter()
        .map(|d| Condition {
            type_: d.condition.type_,
            status: d.condition.status.as_str().to_owned(),
            reason: d.condition.reason,
            message: d.condition.message,
            observed_generation: generation,
            last_transition_time: time(d.since),
        })
        .collect()
}

fn dated(c: &Condition) -> condition::Dated {
    let status = match c.status.as_str() {
        "True" => condition::Truth::True,
        "False" => condition::Truth::False,
        _ => condition::Truth::Unknown,
    };
    condition::Dated {
        condition: condition::Condition::new(&c.type_, status, &c.reason, c.message.clone()),
        since: millis(&c.last_transition_time),
    }
}

/// Converts a wait in a status.
pub fn waiting(status: &WaitingStatus) -> Waiting {
    Waiting {
        reason: status.reason.clone().into(),
        message: status.message.clone(),
        since: millis(&status.since),
        task: status.task.clone(),
    }
}

/// Converts a wait to that of a status.
pub fn waiting_status(waiting: Waiting) -> WaitingStatus {
    WaitingStatus {
        reason: waiting.reason.into_owned(),
        message: waiting.message,
        since: time(waiting.since),
        task: waiting.task,
    }
}

/// What a pod shows of an attempt, for [`attempt::classify`].
pub use attempt::PodView;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (text, micro) in
            [("0", 0), ("12.50", 12_500_000), ("0.000001", 1), ("3", 3_000_000), ("18446744073709.551615", u64::MAX)]
        {
            assert_eq!(micro_usd(text), Some(micro), "{text}");
            assert_eq!(micro_usd(&usd(micro)), Some(micro), "{}", usd(micro));
        }
        for wrong in [
            "",
            ".5",
            "5.",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "0.0000001",
            "18446744073709.551616",
            "99999999999999999999",
            "1.+5",
        ] {
            assert_eq!(micro_usd(wrong), None, "{wrong}");
        }
        assert_eq!([0, 1, 12_500_000, 1_230_000, 10_000_000].map(usd), ["0.00", "0.000001", "12.50", "1.23", "10.00"]);
    }

    #[test]
    fn a_budget_keeps_its_limits() {
        let all = Budget { tokens: Some(5), usd: Some("12.50".into()) };
        assert_eq!(budget(&limit(&all)), Some(all));
        assert_eq!(limit(&Budget { tokens: None, usd: Some("much".into()) }).cost_micro_usd, Some(0));
        assert_eq!(budget(&Limit::default()), None);
    }

    #[test]
    fn the_upper_bound_of_an_estimate_is_a_cap() {
        let range = |high| Some(Range { low: 0, expected: high / 2, high });
        let estimate = |cost_micro_usd, tokens| {
            plan::PlanEstimate::from(&Estimate { cost_micro_usd, tokens, ..Estimate::default() })
        };
        let budget = |tokens, usd: Option<&str>| Some(Budget { tokens, usd: usd.map(str::to_owned) });
        assert_eq!(cap(&estimate(range(2_500_000), range(700))), budget(None, Some("2.50")));
        assert_eq!(cap(&estimate(None, range(700))), budget(Some(700), None));
        assert_eq!(cap(&estimate(range(0), range(700))), budget(Some(700), None), "a budget of zero allows nothing");
        assert_eq!(cap(&estimate(None, None)), None);
    }

    #[test]
    fn the_error_is_that_of_the_cost() {
        let range = |expected| Some(Range { low: 0, expected, high: expected });
        let estimate = |cost_micro_usd, tokens| {
            plan::PlanEstimate::from(&Estimate { cost_micro_usd, tokens, ..Estimate::default() })
        };
        let usage = plan::PlanUsage { tokens: 150, usd: "1.10".into(), ..plan::PlanUsage::default() };
        assert_eq!(error_percent(&estimate(range(1_000_000), range(100)), &usage), Some(10));
        assert_eq!(error_percent(&estimate(None, range(100)), &usage), Some(50));
        assert_eq!(error_percent(&estimate(None, None), &usage), None);
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        for at in [0, 1, 999, 1000, 1001, 1_764_000_000_001] {
            let kept = millis(&time_not_before(Millis(at))).0;
            assert!((at..at + 1000).contains(&kept), "{at} became {kept}");
        }
    }
}
