//! What an error of a provider means: another provider may answer, the quota is used up, or the request itself is wrong.

use std::time::Duration;

use enact_domain::time::Millis;
use http::{HeaderMap, StatusCode, header};
use jiff::fmt::rfc2822::DateTimeParser;
use serde::Deserialize;

use crate::denial::{Denial, DenialKind};

/// Pause after which a provider's limit counts as a used-up quota: an agent does not wait so long.
const QUOTA: Duration = Duration::from_mins(5);
/// Longest time after which a quota counts as renewed. A provider can name any, also one that no database can store.
const RESET: Duration = Duration::from_hours(31 * 24);
/// Pause after a 429 that names none.
const DEFAULT_PAUSE: Duration = Duration::from_secs(5);
/// Header of Anthropic with the end of a limit of several hours, in seconds since the epoch.
const UNIFIED_RESET: &str = "anthropic-ratelimit-unified-reset";

/// What follows from the error of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request is wrong: the client gets the provider's answer.
    Client,
    /// Another provider may answer. The provider gets no request for this model during the pause.
    Other { denial: Denial, pause: Option<Duration>, is_failure: bool },
}

/// The parts of an error that matter: OpenAI's `type` and `code`, Google's `details`.
#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    error: Option<Error>,
}

#[derive(Default, Deserialize)]
struct Error {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    code: Option<serde_json::Value>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(default)]
    retry_delay: Option<String>,
    #[serde(default)]
    violations: Vec<Violation>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Violation {
    #[serde(default)]
    quota_id: Option<String>,
}

/// Interprets the error of a provider. `id` is the provider's `namespace/name`.
pub fn judge(id: &str, status: StatusCode, headers: &HeaderMap, body: &[u8], now: Millis) -> Verdict {
    let error = serde_json::from_slice::<Body>(body).unwrap_or_default().error.unwrap_or_default();
    let pause = pause(headers, &error, now);
    let is_quota = is_quota(status, &error) || (status == StatusCode::TOO_MANY_REQUESTS && pause > Some(QUOTA));
    match status.as_u16() {
        _ if is_quota => {
            let denial = Denial::quota_used_up(id, pause.map(|pause| later(now, pause.min(RESET))));
            Verdict::Other { denial, pause: Some(pause.unwrap_or(QUOTA)), is_failure: false }
        }
        401 | 403 => {
            let why =
                format!("the model provider {id} does not accept its key; an owner of the provider must replace it");
            Verdict::Other { denial: Denial::new(DenialKind::CredentialRejected, why), pause: None, is_failure: false }
        }
        429 => {
            let pause = pause.unwrap_or(DEFAULT_PAUSE);
            let denial = Denial::new(DenialKind::RateLimited, format!("the model provider {id} limits its requests"))
                .retry_after(seconds(pause));
            Verdict::Other { denial, pause: Some(pause), is_failure: false }
        }
        500.. => {
            let denial =
                Denial::new(DenialKind::ProviderUnavailable, format!("the model provider {id} answered {status}"));
            let denial = match pause {
                Some(pause) => denial.retry_after(seconds(pause)),
                None => denial,
            };
            Verdict::Other { denial, pause, is_failure: true }
        }
        _ => Verdict::Client,
    }
}

fn is_quota(status: StatusCode, error: &Error) -> bool {
    let code = error.code.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    let kind = error.kind.as_deref().unwrap_or_default();
    let per_day = error
        .details
        .iter()
        .flat_map(|detail| &detail.violations)
        .any(|violation| violation.quota_id.as_deref().is_some_and(|quota| quota.contains("PerDay")));
    // The beginning: an error can repeat what the request had.
    let no_credit =
        error.message.as_deref().is_some_and(|message| message.starts_with("Your credit balance is too low"));
    match status.as_u16() {
        402 => true,
        429 => [code, kind].contains(&"insufficient_quota") || code.starts_with("billing_") || per_day,
        400 => no_credit,
        _ => false,
    }
}

/// Returns the time until the provider wants the next request.
fn pause(headers: &HeaderMap, error: &Error, now: Millis) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let after = text(header::RETRY_AFTER.as_str()).and_then(|value| match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => until(DateTimeParser::new().parse_timestamp(value).ok()?.as_millisecond(), now),
    });
    let reset = || {
        let seconds = text(UNIFIED_RESET)?.parse::<i64>().ok()?;
        until(seconds.checked_mul(1000)?, now)
    };
    let delay = || {
        let delay = error.details.iter().find_map(|detail| detail.retry_delay.as_deref())?;
        Duration::try_from_secs_f64(delay.strip_suffix('s')?.parse().ok()?).ok()
    };
    after.or_else(reset).or_else(delay)
}

fn until(millis: i64, now: Millis) -> Option<Duration> {
    Some(Duration::from_millis(Millis(millis).since(now))).filter(|pause| !pause.is_zero())
}

fn later(now: Millis, pause: Duration) -> Millis {
    Millis(now.0.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)))
}

/// Returns whole seconds, rounded up.
pub fn seconds(pause: Duration) -> u32 {
    u32::try_from(pause.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

/// Returns the denial of a request that no provider answered, from the denials of all of them.
pub fn conclude(denials: Vec<Denial>) -> Denial {
    // What ends soon comes first: as long as one provider may answer soon, the agent should try again.
    let rank = |denial: &Denial| match denial.kind {
        DenialKind::RateLimited => 0,
        kind if kind.is_temporary() => 1,
        DenialKind::ProviderQuota => 2,
        _ => 3,
    };
    let retry_after = denials.iter().filter(|denial| denial.kind.is_temporary()).filter_map(|d| d.retry_after).min();
    let reset_at = denials.iter().filter_map(|denial| denial.reset_at).min();
    let found = denials.into_iter().min_by_key(rank);
    let found =
        found.unwrap_or_else(|| Denial::new(DenialKind::ProviderUnavailable, "the Agent has no model provider"));
    Denial { retry_after, reset_at, ..found }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    const NOW: Millis = Millis(1_796_000_000_000);

    fn verdict(status: u16, headers: &[(&'static str, &'static str)], body: &serde_json::Value) -> Verdict {
        let headers = headers.iter().map(|(k, v)| (k.parse().unwrap(), HeaderValue::from_static(v))).collect();
        judge("team/p", StatusCode::from_u16(status).unwrap(), &headers, body.to_string().as_bytes(), NOW)
    }

    fn kind(verdict: &Verdict) -> Option<DenialKind> {
        match verdict {
            Verdict::Client => None,
            Verdict::Other { denial, .. } => Some(denial.kind),
        }
    }

    #[test]
    fn a_short_limit_is_not_a_quota() {
        for (headers, body, seconds) in [
            (&[("retry-after", "7")][..], json!({}), 7),
            (&[], json!("not an object"), 5),
            (
                &[],
                json!({"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"x"},{"retryDelay":"12.5s"}]}}),
                13,
            ),
            (&[("retry-after", "Sat, 01 Jan 2000 00:00:00 GMT")], json!({"error":{"type":"rate_limit_error"}}), 5),
        ] {
            let Verdict::Other { denial, pause, is_failure } = verdict(429, headers, &body) else { panic!("{body}") };
            assert_eq!((denial.kind, denial.retry_after, is_failure), (DenialKind::RateLimited, Some(seconds), false));
            assert!(pause.is_some());
        }
    }

    #[test]
    fn finds_used_up_quotas() {
        for (status, headers, body, reset) in [
            (402, &[][..], json!({}), None),
            (429, &[], json!({"error":{"code":"insufficient_quota","message":"x"}}), None),
            (429, &[], json!({"error":{"type":"insufficient_quota"}}), None),
            (429, &[("retry-after", "3600")], json!({}), Some(3600)),
            (429, &[("retry-after", "18446744073709551615")], json!({}), Some(31 * 86_400)),
            (
                429,
                &[("anthropic-ratelimit-unified-reset", "1796007200")],
                json!({"error":{"type":"rate_limit_error"}}),
                Some(7200),
            ),
            (
                429,
                &[],
                json!({"error":{"details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProject"}]}]}}),
                None,
            ),
            (400, &[], json!({"error":{"message":"Your credit balance is too low to access the API."}}), None),
        ] {
            let found = verdict(status, headers, &body);
            assert_eq!(kind(&found), Some(DenialKind::ProviderQuota), "{body}");
            let Verdict::Other { denial, .. } = found else { panic!() };
            assert_eq!(denial.reset_at, reset.map(|seconds: i64| Millis(NOW.0 + seconds * 1000)), "{body}");
        }
    }

    #[test]
    fn other_errors_are_the_providers_or_the_clients() {
        assert_eq!(kind(&verdict(401, &[], &json!({}))), Some(DenialKind::CredentialRejected));
        assert_eq!(kind(&verdict(529, &[], &json!({}))), Some(DenialKind::ProviderUnavailable));
        let repeated = json!({"error":{"message":"Invalid value: 'Your credit balance is too low'."}});
        assert_eq!(verdict(400, &[], &repeated), Verdict::Client);
        for status in [400, 404, 413, 422] {
            assert_eq!(verdict(status, &[], &json!({"error":{"message":"prompt is too long"}})), Verdict::Client);
        }
    }

    #[test]
    fn one_provider_that_may_answer_soon_is_enough() {
        let denial = |kind, retry_after, reset_at: Option<i64>| Denial {
            retry_after,
            reset_at: reset_at.map(Millis),
            ..Denial::new(kind, "x")
        };
        let quota = |at| denial(DenialKind::ProviderQuota, None, Some(at));
        let both = conclude(vec![quota(9), quota(5), denial(DenialKind::CredentialRejected, None, None)]);
        assert_eq!((both.kind, both.reset_at), (DenialKind::ProviderQuota, Some(Millis(5))));
        let limited = conclude(vec![quota(9), denial(DenialKind::RateLimited, Some(3), None)]);
        assert_eq!((limited.kind, limited.retry_after), (DenialKind::RateLimited, Some(3)));
        assert_eq!(conclude(vec![]).kind, DenialKind::ProviderUnavailable);
    }
}
