//! How far the budgets of an attempt are from their limits, so that most requests need not wait for Postgres before they are sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use enact_crds::identity::{AgentPod, AttemptPod};
use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Charge, Scope};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ledger::Ledger;

/// Age after which balances are read again, beside the requests.
const FRESH: Duration = Duration::from_secs(3);
/// Age after which balances are unknown.
const EXPIRED: Duration = Duration::from_secs(30);
/// Estimates of a request that must be left of every budget, so that the request need not wait.
const MARGIN: u64 = 20;
/// Most attempts whose balances are cached.
const CAPACITY: usize = 16_384;

/// Returns the scopes whose budgets limit an attempt.
pub fn scopes(pod: &AgentPod, at: Millis) -> Vec<Scope> {
    let AttemptPod { subject_uid, attempt, plan_uid, .. } = &pod.attempt;
    Scope::of_request(subject_uid, *attempt, plan_uid, &pod.agent_id(), at)
}

/// Cached distances of attempts from their limits. Clones share them.
#[derive(Clone)]
pub struct Budgets(Arc<Inner>);

struct Inner {
    ledger: Arc<dyn Ledger>,
    cache: Mutex<HashMap<(String, u32), Entry>>,
}

struct Entry {
    remaining: Remaining,
    at: Instant,
    refreshing: bool,
}

/// What is left of the budgets with the least; none without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Remaining {
    tokens: Option<u64>,
    cost_micro_usd: Option<u64>,
}

impl Remaining {
    fn of(balances: &[(Scope, Balance)]) -> Self {
        Self {
            tokens: balances.iter().filter_map(|(_, balance)| balance.remaining_tokens()).min(),
            cost_micro_usd: balances.iter().filter_map(|(_, balance)| balance.remaining_cost()).min(),
        }
    }

    fn is_far_from(self, estimate: &Charge) -> bool {
        let far = |remaining: Option<u64>, more: u64| remaining.is_none_or(|left| left >= more.saturating_mul(MARGIN));
        far(self.tokens, estimate.tokens.total())
            && far(self.cost_micro_usd, estimate.cost_micro_usd.unwrap_or_default())
    }
}

impl Budgets {
    pub fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self(Arc::new(Inner { ledger, cache: Mutex::default() }))
    }

    /// Returns whether a request with this estimate is certainly within all budgets, so that it can be sent while its reservation is made.
    /// If not, it is reserved first. Wrong only when other requests use up a budget within seconds; then its answer is discarded.
    pub fn are_far(&self, pod: &Arc<AgentPod>, estimate: &Charge, at: Millis) -> bool {
        let key = (pod.attempt.subject_uid.clone(), pod.attempt.attempt);
        let mut cache = self.0.cache.lock();
        if cache.len() >= CAPACITY {
            cache.retain(|_, entry| entry.at.elapsed() < EXPIRED);
        }
        // The first request of an attempt creates an entry that is expired from the start.
        let entry = cache.entry(key.clone()).or_insert_with(|| Entry {
            remaining: Remaining { tokens: Some(0), cost_micro_usd: None },
            at: Instant::now(),
            refreshing: false,
        });
        let (age, remaining) = (entry.at.elapsed(), entry.remaining);
        let is_new = remaining.tokens == Some(0);
        if (age >= FRESH || is_new) && !entry.refreshing {
            entry.refreshing = true;
            tokio::spawn(self.clone().refresh(key, Arc::clone(pod), at));
        }
        age < EXPIRED && remaining.is_far_from(estimate)
    }

    async fn refresh(self, key: (String, u32), pod: Arc<AgentPod>, at: Millis) {
        let balances = self.0.ledger.balances(&pod.attempt.tenant, &scopes(&pod, at)).await;
        let mut cache = self.0.cache.lock();
        let Some(entry) = cache.get_mut(&key) else { return };
        entry.refreshing = false;
        match balances {
            Ok(balances) => {
                entry.remaining = Remaining::of(&balances);
                entry.at = Instant::now();
            }
            // The entry expires, and requests are reserved before they are sent.
            Err(error) => tracing::warn!(%error, "cannot read the balances of an attempt"),
        }
    }
}

#[cfg(test)]
mod tests {
    use enact_domain::usage::{Limit, Tokens};

    use super::*;

    #[test]
    fn the_nearest_limit_counts() {
        let balance =
            |tokens, cost_micro_usd| Balance { limit: Limit { tokens, cost_micro_usd }, ..Balance::default() };
        let scope = || Scope::Plan { uid: "p".into() };
        let remaining = Remaining::of(&[
            (scope(), balance(None, Some(500))),
            (scope(), balance(Some(1000), None)),
            (scope(), balance(Some(400), None)),
        ]);
        assert_eq!(remaining, Remaining { tokens: Some(400), cost_micro_usd: Some(500) });
        let charge =
            |tokens, cost| Charge { tokens: Tokens { output: tokens, ..Tokens::default() }, cost_micro_usd: cost };
        assert!(remaining.is_far_from(&charge(20, Some(25))));
        assert!(!remaining.is_far_from(&charge(21, Some(25))));
        assert!(!remaining.is_far_from(&charge(20, Some(26))));
        assert!(remaining.is_far_from(&charge(20, None)));
        assert!(Remaining::default().is_far_from(&charge(u64::MAX, Some(u64::MAX))));
    }
}
