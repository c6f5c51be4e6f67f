//! Estimates of plans as text for people.

use enact_crds::plan::{EstimateBasis, NumberRange, PlanEstimate, PlanStatus};
use enact_domain::usage::MIN_SAMPLES;
use jiff::SignedDuration;

use crate::text::{elapsed, one_line};

/// Describes an estimate: `1.20 USD (0.90 to 1.60), 10m00s (8m00s to 14m00s), from 42 finished tasks of the same agents`.
pub fn describe(estimate: &PlanEstimate) -> String {
    let from = match estimate.basis {
        EstimateBasis::Agent => "of the same agents",
        EstimateBasis::Model => "of agents with the same model",
        EstimateBasis::Tenant => "of all agents of the tenant",
        EstimateBasis::Unknown => {
            return format!(
                "unknown: the record has {} finished tasks of agents that use models, and an estimate needs {MIN_SAMPLES}",
                estimate.samples
            );
        }
    };
    let cost = estimate.usd.as_ref().map_or_else(
        || "cost unknown, because the price of a model is not known".to_owned(),
        |usd| range(&[one_line(&usd.low), format!("{} USD", one_line(&usd.expected)), one_line(&usd.high)]),
    );
    let tokens =
        estimate.tokens.as_ref().map(|tokens| format!("{} tokens", range(&texts(tokens, |tokens| tokens.to_string()))));
    let time = |seconds: u64| elapsed(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)));
    let duration = estimate
        .duration_seconds
        .as_ref()
        .map_or_else(|| "duration unknown".to_owned(), |seconds| range(&texts(seconds, time)));
    let parts: Vec<String> = [cost].into_iter().chain(tokens).chain([duration]).collect();
    format!("{}, from {} finished tasks {from}", parts.join(", "), estimate.samples)
}

fn texts(range: &NumberRange, text: impl Fn(u64) -> String) -> [String; 3] {
    [range.low, range.expected, range.high].map(text)
}

/// Returns the expected value with its bounds, unless both are equal to it.
fn range([low, expected, high]: &[String; 3]) -> String {
    if low == high { expected.clone() } else { format!("{expected} ({low} to {high})") }
}

/// Describes how far an estimate was from the use of models; none before the plan has succeeded.
pub fn error(estimate: &PlanEstimate) -> Option<String> {
    Some(match estimate.error_percent? {
        0 => "as much as expected".to_owned(),
        more @ 1.. => format!("{more} % more than expected"),
        less => format!("{} % less than expected", less.unsigned_abs()),
    })
}

/// Compares the estimate of a plan with what it has spent; none without an estimate, and if that is unknown.
pub fn compare(status: &PlanStatus) -> Option<String> {
    let estimate = status.estimate.as_ref().filter(|estimate| estimate.basis != EstimateBasis::Unknown)?;
    let spent = status.usage.as_ref().map_or_else(
        || "nothing spent".to_owned(),
        |usage| format!("spent {} USD and {} tokens", one_line(&usage.usd), usage.tokens),
    );
    let error = error(estimate).map_or_else(String::new, |error| format!(", {error}"));
    Some(format!("estimated {}; {spent}{error}", describe(estimate)))
}

#[cfg(test)]
mod tests {
    use enact_crds::plan::{PlanUsage, UsdRange};

    use super::*;

    fn estimate() -> PlanEstimate {
        PlanEstimate {
            usd: Some(UsdRange { low: "0.90".into(), expected: "1.20".into(), high: "1.60".into() }),
            tokens: Some(NumberRange { low: 900, expected: 1000, high: 1100 }),
            duration_seconds: Some(NumberRange { low: 600, expected: 600, high: 600 }),
            samples: 42,
            basis: EstimateBasis::Model,
            error_percent: None,
        }
    }

    #[test]
    fn an_estimate_shows_its_error() {
        let text = "1.20 USD (0.90 to 1.60), 1000 (900 to 1100) tokens, 10m00s, from 42 finished tasks of agents with the same model";
        assert_eq!(describe(&estimate()), text);
        let unpriced = describe(&PlanEstimate { usd: None, duration_seconds: None, ..estimate() });
        assert!(unpriced.starts_with("cost unknown, because the price of a model is not known, 1000"), "{unpriced}");
        assert!(unpriced.contains("duration unknown"), "{unpriced}");
    }

    #[test]
    fn too_few_tasks_are_stated() {
        let unknown = PlanEstimate { samples: 3, basis: EstimateBasis::Unknown, ..PlanEstimate::default() };
        let text = "unknown: the record has 3 finished tasks of agents that use models, and an estimate needs 5";
        assert_eq!(describe(&unknown), text);
    }

    #[test]
    fn the_end_is_compared() {
        let usage = PlanUsage { tokens: 1200, usd: "1.80".into(), ..PlanUsage::default() };
        let with = |error_percent| PlanEstimate { error_percent, ..estimate() };
        let status = PlanStatus { estimate: Some(with(Some(50))), usage: Some(usage), ..PlanStatus::default() };
        let text = compare(&status).unwrap();
        assert!(text.ends_with("; spent 1.80 USD and 1200 tokens, 50 % more than expected"), "{text}");
        assert_eq!(error(&with(Some(-20))).as_deref(), Some("20 % less than expected"));
        assert_eq!((error(&with(Some(0))).as_deref(), error(&with(None))), (Some("as much as expected"), None));
        let unknown = PlanEstimate { basis: EstimateBasis::Unknown, ..PlanEstimate::default() };
        assert_eq!(compare(&PlanStatus { estimate: Some(unknown), ..PlanStatus::default() }), None);
        assert_eq!(compare(&PlanStatus::default()), None);
    }
}
