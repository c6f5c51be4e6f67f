//! How far the budgets of a request are from their limits, so that most requests need not wait for Postgres before they are sent.

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
/// Most budgets that are cached.
const CAPACITY: usize = 65_536;

/// Returns the scopes whose budgets limit an attempt.
pub fn scopes(pod: &AgentPod, at: Millis) -> Vec<Scope> {
    let AttemptPod { subject_uid, attempt, plan_uid, .. } = &pod.attempt;
    Scope::of_request(subject_uid, *attempt, plan_uid, &pod.agent_id(), at)
}

/// Cached distances of budgets from their limits, which all requests of this replica share. Clones share them too.
#[derive(Clone)]
pub struct Budgets(Arc<Inner>);

/// A tenant and one of its budgets.
type Key = (String, Scope);

struct Inner {
    ledger: Arc<dyn Ledger>,
    cache: Mutex<HashMap<Key, Entry>>,
}

/// Tokens and cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amounts {
    tokens: u64,
    cost_micro_usd: u64,
}

impl Amounts {
    fn of(estimate: &Charge) -> Self {
        Self { tokens: estimate.tokens.total(), cost_micro_usd: estimate.cost_micro_usd.unwrap_or_default() }
    }

    fn add(&mut self, other: Self) {
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(other.cost_micro_usd);
    }

    fn subtract(&mut self, other: Self) {
        self.tokens = self.tokens.saturating_sub(other.tokens);
        self.cost_micro_usd = self.cost_micro_usd.saturating_sub(other.cost_micro_usd);
    }
}

/// What is left of a budget; none without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Remaining {
    tokens: Option<u64>,
    cost_micro_usd: Option<u64>,
}

impl Remaining {
    fn of(balance: &Balance) -> Self {
        Self { tokens: balance.remaining_tokens(), cost_micro_usd: balance.remaining_cost() }
    }

    /// Returns whether the limits stay far after the requests `claimed` and one more.
    fn is_far_from(self, claimed: Amounts, estimate: Amounts) -> bool {
        let far = |remaining: Option<u64>, claimed: u64, more: u64| {
            remaining.is_none_or(|left| left.saturating_sub(claimed) >= more.saturating_mul(MARGIN))
        };
        far(self.tokens, claimed.tokens, estimate.tokens)
            && far(self.cost_micro_usd, claimed.cost_micro_usd, estimate.cost_micro_usd)
    }
}

/// What is known of one budget.
#[derive(Debug, Default)]
struct Entry {
    /// What was left, and when its reading began; none before the first reading.
    balance: Option<(Remaining, Instant)>,
    /// Estimates of requests that `balance` may not contain.
    claimed: Amounts,
    /// The part of `claimed` whose reservations are not committed.
    uncommitted: Amounts,
    /// While a reading runs: estimates of requests that its result may not contain.
    claimed_in_reading: Amounts,
    is_reading: bool,
}

impl Entry {
    fn age(&self) -> Duration {
        self.balance.map_or(Duration::MAX, |(_, at)| at.elapsed())
    }

    fn is_far_from(&self, estimate: Amounts) -> bool {
        self.age() < EXPIRED && self.balance.is_some_and(|(remaining, _)| remaining.is_far_from(self.claimed, estimate))
    }

    fn claim(&mut self, estimate: Amounts) {
        self.claimed.add(estimate);
        self.uncommitted.add(estimate);
        self.claimed_in_reading.add(estimate);
    }

    /// Begins a reading if one is due, and returns whether it is.
    fn begin_reading(&mut self) -> bool {
        if self.is_reading || self.age() < FRESH {
            return false;
        }
        self.is_reading = true;
        self.claimed_in_reading = self.uncommitted;
        true
    }

    /// Notes the result of a reading that began at `begun`; none if it has failed.
    fn end_reading(&mut self, remaining: Option<Remaining>, begun: Instant) {
        self.is_reading = false;
        if let Some(remaining) = remaining {
            self.balance = Some((remaining, begun));
            self.claimed = self.claimed_in_reading;
        }
    }
}

/// The estimate of a request in its budgets. Drop it when the reservation is committed or will not be made.
pub struct Claim {
    budgets: Budgets,
    keys: Vec<Key>,
    estimate: Amounts,
    /// Whether the request is certainly within all budgets, so that it can be sent while its reservation is made. If not, it is reserved
    /// first. Wrong only when other replicas or a lowered limit use up a budget within seconds; then its answer is discarded.
    pub is_far: bool,
}

impl Claim {
    /// Notes that the reservation was refused, or could not be made: the next requests are reserved before they are sent.
    pub fn failed(&self) {
        let mut cache = self.budgets.0.cache.lock();
        for key in &self.keys {
            if let Some(entry) = cache.get_mut(key) {
                entry.balance = None;
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut cache = self.budgets.0.cache.lock();
        for key in &self.keys {
            if let Some(entry) = cache.get_mut(key) {
                entry.uncommitted.subtract(self.estimate);
            }
        }
    }
}

impl Budgets {
    pub fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self(Arc::new(Inner { ledger, cache: Mutex::default() }))
    }

    /// Claims the estimate of a request that begins, so that requests which begin together cannot all be far from the same limit.
    pub fn claim(&self, pod: &AgentPod, estimate: &Charge, at: Millis) -> Claim {
        let (tenant, estimate) = (&pod.attempt.tenant, Amounts::of(estimate));
        let keys: Vec<Key> = scopes(pod, at).into_iter().map(|scope| (tenant.clone(), scope)).collect();
        let (mut is_far, mut due) = (true, Vec::new());
        let mut cache = self.0.cache.lock();
        if cache.len() >= CAPACITY {
            cache.retain(|_, entry| entry.age() < EXPIRED || entry.uncommitted != Amounts::default());
        }
        for key in &keys {
            let entry = cache.entry(key.clone()).or_default();
            is_far &= entry.is_far_from(estimate);
            if entry.begin_reading() {
                due.push(key.1.clone());
            }
            entry.claim(estimate);
        }
        drop(cache);
        if !due.is_empty() {
            tokio::spawn(self.clone().read(tenant.clone(), due));
        }
        Claim { budgets: self.clone(), keys, estimate, is_far }
    }

    async fn read(self, tenant: String, scopes: Vec<Scope>) {
        let begun = Instant::now();
        let balances = self.0.ledger.balances(&tenant, &scopes).await;
        let remaining: HashMap<Scope, Remaining> = match balances {
            Ok(balances) => balances.into_iter().map(|(scope, balance)| (scope, Remaining::of(&balance))).collect(),
            // The entries expire, and requests are reserved before they are sent.
            Err(error) => {
                tracing::warn!(%error, "cannot read the balances of budgets");
                HashMap::new()
            }
        };
        let mut cache = self.0.cache.lock();
        for scope in scopes {
            let remaining = remaining.get(&scope).copied();
            if let Some(entry) = cache.get_mut(&(tenant.clone(), scope)) {
                entry.end_reading(remaining, begun);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTIMATE: Amounts = Amounts { tokens: 10, cost_micro_usd: 0 };

    fn tokens(tokens: u64) -> Remaining {
        Remaining { tokens: Some(tokens), cost_micro_usd: None }
    }

    /// Claims requests until one is not far, and returns how many were.
    fn burst(entry: &mut Entry) -> usize {
        (0..1000)
            .take_while(|_| {
                let is_far = entry.is_far_from(ESTIMATE);
                entry.claim(ESTIMATE);
                is_far
            })
            .count()
    }

    #[test]
    fn every_limit_counts() {
        let remaining = Remaining { tokens: Some(400), cost_micro_usd: Some(500) };
        let amounts = |tokens, cost_micro_usd| Amounts { tokens, cost_micro_usd };
        let none = Amounts::default();
        assert!(remaining.is_far_from(none, amounts(20, 25)));
        assert!(!remaining.is_far_from(none, amounts(21, 25)));
        assert!(!remaining.is_far_from(none, amounts(20, 26)));
        assert!(!remaining.is_far_from(amounts(1, 0), amounts(20, 25)), "another request has begun");
        assert!(Remaining::default().is_far_from(none, amounts(u64::MAX, u64::MAX)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_ends_before_the_limit() {
        let mut entry = Entry::default();
        assert!(!entry.is_far_from(ESTIMATE), "the balance is not known");
        assert!(entry.begin_reading());
        assert!(!entry.begin_reading(), "one reading at a time");
        entry.end_reading(Some(tokens(1000)), Instant::now());
        assert_eq!(burst(&mut entry), 81);
        tokio::time::advance(EXPIRED).await;
        entry.claimed = Amounts::default();
        assert!(!entry.is_far_from(ESTIMATE), "the balance is too old");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_keeps_what_it_may_not_contain() {
        let mut entry = Entry::default();
        entry.claim(ESTIMATE);
        entry.claim(ESTIMATE);
        entry.uncommitted.subtract(ESTIMATE);
        assert!(entry.begin_reading());
        let begun = Instant::now();
        entry.claim(ESTIMATE);
        entry.end_reading(Some(tokens(1000)), begun);
        assert_eq!(entry.claimed.tokens, 20, "one was not committed, and one began during the reading");
        tokio::time::advance(FRESH).await;
        assert!(entry.begin_reading());
        entry.end_reading(None, Instant::now());
        assert_eq!((entry.claimed.tokens, entry.balance.unwrap().0), (20, tokens(1000)), "the reading has failed");
    }
}
