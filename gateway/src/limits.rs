//! Limits on requests and tokens per minute, and on requests in progress: of tenants, of agents, of attempts, and of the keys of providers. Each
//! replica of the gateway applies its part of them.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use enact_crds::provider::RateLimits;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Part of a minute's limit that may be used at once, after a pause.
const BURST: f64 = 0.25;
const MINUTE: f64 = 60.0;
/// Most debt of a bucket, in minutes of its limit: a provider can report any usage.
const MINUTES_OF_DEBT: f64 = 60.0;
/// Time without requests after which a tenant gets no share of a key.
const ACTIVE: Duration = Duration::from_mins(1);
/// Time after which a request is repeated that found too many in progress.
const BUSY: Duration = Duration::from_secs(1);
/// Most buckets; those that are full are removed when there are more.
const CAPACITY: usize = 16_384;

/// What a bucket belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    Tenant(String),
    /// Namespace and name.
    Agent(String, String),
    /// UID of what it works on, and its number.
    Attempt(String, u32),
    /// `namespace/name` of a provider.
    Key(String),
    /// A tenant's share of a provider's key.
    Share(String, String),
}

impl Holder {
    /// Returns how far its bucket may be below zero, in minutes of its limit. The excess of a tenant is in its own share of a key, and does
    /// not keep the other tenants waiting.
    fn most_debt(&self) -> f64 {
        if matches!(self, Self::Key(_)) { 0.0 } else { MINUTES_OF_DEBT }
    }
}

/// A holder and its limits.
pub type Limited = (Holder, RateLimits);

/// The state of all limits.
pub struct Limiter {
    state: Mutex<State>,
    /// Number of replicas that share the limits.
    replicas: u32,
}

#[derive(Default)]
struct State {
    buckets: HashMap<(Holder, Unit), Bucket>,
    /// Number of requests in progress.
    running: HashMap<Holder, u32>,
    /// Last request of each tenant that uses a key.
    active: HashMap<String, HashMap<String, Instant>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display)]
enum Unit {
    #[strum(serialize = "requests per minute")]
    Requests,
    #[strum(serialize = "tokens per minute")]
    Tokens,
    #[strum(serialize = "concurrent requests")]
    Concurrent,
}

/// A limit that is reached; of several, the one with the longest wait.
#[derive(Debug)]
pub struct Reached {
    /// Time until it allows the request.
    pub wait: Duration,
    holder: Holder,
    unit: Unit,
}

/// Writes which limit it is, for the agent.
impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit;
        match &self.holder {
            Holder::Tenant(_) => write!(f, "the tenant's limit of {unit} is reached"),
            Holder::Agent(namespace, name) => {
                write!(f, "the limit of {unit} of the Agent {namespace}/{name} is reached")
            }
            Holder::Attempt(..) => write!(f, "the installation's limit of {unit} of one attempt is reached"),
            Holder::Key(key) => write!(f, "the limit of {unit} of the ModelProvider {key} is reached"),
            Holder::Share(key, _) => {
                write!(f, "the tenant's share of the {unit} of the ModelProvider {key} is used up")
            }
        }
    }
}

/// Returns the limits of a tenant: its own, or else those of the installation.
pub fn or_default(own: &RateLimits, default: &RateLimits) -> RateLimits {
    RateLimits {
        requests_per_minute: own.requests_per_minute.or(default.requests_per_minute),
        tokens_per_minute: own.tokens_per_minute.or(default.tokens_per_minute),
        concurrent_requests: own.concurrent_requests.or(default.concurrent_requests),
    }
}

/// Returns the limits of an agent: the lower of its own and those of the installation, since a tenant writes its own.
pub fn lower(own: &RateLimits, most: &RateLimits) -> RateLimits {
    fn least<T: Ord + Copy>(a: Option<T>, b: Option<T>) -> Option<T> {
        a.into_iter().chain(b).min()
    }
    RateLimits {
        requests_per_minute: least(own.requests_per_minute, most.requests_per_minute),
        tokens_per_minute: least(own.tokens_per_minute, most.tokens_per_minute),
        concurrent_requests: least(own.concurrent_requests, most.concurrent_requests),
    }
}

/// A request that uses no tokens. It is settled when this is dropped.
pub struct SettledOnDrop<'a> {
    limiter: &'a Limiter,
    tenant: &'a str,
    all: &'a [Limited],
    taken: u64,
}

impl<'a> SettledOnDrop<'a> {
    /// Takes over a request for which `taken` tokens were taken.
    pub fn new(limiter: &'a Limiter, tenant: &'a str, all: &'a [Limited], taken: u64) -> Self {
        Self { limiter, tenant, all, taken }
    }
}

impl Drop for SettledOnDrop<'_> {
    fn drop(&mut self) {
        self.limiter.settle(self.tenant, self.all, self.taken, 0);
    }
}

/// A token bucket. Its level may be negative: a request that is larger than the bucket passes when the bucket is full.
struct Bucket {
    level: f64,
    /// The limit at the last request.
    per_minute: f64,
    at: Instant,
}

impl Limiter {
    pub fn new(replicas: u32) -> Self {
        Self { state: Mutex::default(), replicas: replicas.max(1) }
    }

    /// Takes one request with this estimate from all limits, or from none. It is in progress until it is settled.
    ///
    /// # Errors
    /// When a limit is reached.
    pub fn take(&self, tenant: &str, limited: &[Limited], tokens: u64) -> Result<(), Reached> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let (mut rates, mut slots) = (Vec::new(), Vec::new());
        for (holder, limits) in limited {
            rates.extend(self.rates(holder, limits, 1));
            slots.push((holder.clone(), self.slots(limits, 1)));
            if let Holder::Key(key) = holder {
                // Tenants that use a key at the same time get equal shares, so that none of them takes all of it.
                let active = state.active.entry(key.clone()).or_default();
                active.retain(|_, at| now.duration_since(*at) < ACTIVE);
                active.insert(tenant.to_owned(), now);
                let tenants = u32::try_from(active.len()).unwrap_or(u32::MAX);
                let share = Holder::Share(key.clone(), tenant.to_owned());
                rates.extend(self.rates(&share, limits, tenants));
                slots.push((share, self.slots(limits, tenants)));
            }
        }
        let running = |holder: &Holder| state.running.get(holder).copied().unwrap_or_default();
        if let Some((holder, _)) = slots.iter().find(|(holder, most)| most.is_some_and(|most| running(holder) >= most))
        {
            return Err(Reached { wait: BUSY, holder: holder.clone(), unit: Unit::Concurrent });
        }
        if state.buckets.len() >= CAPACITY {
            state.buckets.retain(|_, bucket| now.duration_since(bucket.at).as_secs_f64() < MINUTE);
        }
        let (mut wait, mut reached) = (0.0_f64, None);
        for ((holder, unit), per_minute) in &rates {
            let full = Bucket { level: f64::MAX, per_minute: *per_minute, at: now };
            let bucket = state.buckets.entry((holder.clone(), *unit)).or_insert(full);
            bucket.refill(*per_minute, now);
            let wanted = amount(*unit, tokens).min(capacity(*per_minute));
            let needed = (wanted - bucket.level) * MINUTE / per_minute;
            if needed > wait {
                (wait, reached) = (needed, Some((holder, *unit)));
            }
        }
        if let Some((holder, unit)) = reached {
            let wait = Duration::from_secs_f64(wait.min(MINUTE * 60.0));
            return Err(Reached { wait, holder: holder.clone(), unit });
        }
        for ((holder, unit), _) in rates {
            let most_debt = holder.most_debt();
            if let Some(bucket) = state.buckets.get_mut(&(holder, unit)) {
                bucket.take(amount(unit, tokens), most_debt);
            }
        }
        // All are counted, also those without a limit: one can be set while the request runs.
        for (holder, _) in slots {
            *state.running.entry(holder).or_default() += 1;
        }
        Ok(())
    }

    /// Ends a request: replaces the tokens that were taken for it by those that it used. What it used in excess delays later requests.
    pub fn settle(&self, tenant: &str, limited: &[Limited], taken: u64, used: u64) {
        let excess = amount(Unit::Tokens, used) - amount(Unit::Tokens, taken);
        let mut state = self.state.lock();
        let mut add = |holder: Holder| {
            let most_debt = holder.most_debt();
            if let Some(running) = state.running.get_mut(&holder) {
                *running = running.saturating_sub(1);
                if *running == 0 {
                    state.running.remove(&holder);
                }
            }
            if let Some(bucket) = state.buckets.get_mut(&(holder, Unit::Tokens)) {
                bucket.take(excess, most_debt);
            }
        };
        for (holder, _) in limited {
            if let Holder::Key(key) = holder {
                add(Holder::Share(key.clone(), tenant.to_owned()));
            }
            add(holder.clone());
        }
    }

    /// Returns whether a holder has requests in progress at this replica.
    pub fn is_running(&self, holder: &Holder) -> bool {
        self.state.lock().running.contains_key(holder)
    }

    /// Returns how many requests may be in progress at this replica, of one of `sharers`.
    fn slots(&self, limits: &RateLimits, sharers: u32) -> Option<u32> {
        let part = self.replicas.saturating_mul(sharers.max(1));
        limits.concurrent_requests.map(|limit| limit.div_ceil(part).max(1))
    }

    /// Returns the rates of this replica for one holder, divided among `sharers`.
    fn rates(&self, holder: &Holder, limits: &RateLimits, sharers: u32) -> Vec<((Holder, Unit), f64)> {
        let part = f64::from(self.replicas) * f64::from(sharers.max(1));
        let requests = limits.requests_per_minute.map(|limit| (Unit::Requests, f64::from(limit)));
        let tokens = limits.tokens_per_minute.map(|limit| (Unit::Tokens, amount(Unit::Tokens, limit)));
        let rates = requests.into_iter().chain(tokens);
        rates.map(|(unit, limit)| ((holder.clone(), unit), (limit / part).max(f64::MIN_POSITIVE))).collect()
    }
}

impl Bucket {
    fn refill(&mut self, per_minute: f64, now: Instant) {
        let elapsed = now.duration_since(self.at).as_secs_f64();
        self.level = (self.level + elapsed * per_minute / MINUTE).min(capacity(per_minute));
        (self.per_minute, self.at) = (per_minute, now);
    }

    /// Takes an amount; a negative one is put back.
    fn take(&mut self, amount: f64, most_debt: f64) {
        self.level = (self.level - amount).max(-most_debt * self.per_minute);
    }
}

/// Returns the size of a bucket; at least one request fits.
fn capacity(per_minute: f64) -> f64 {
    (per_minute * BURST).max(1.0)
}

#[allow(clippy::cast_precision_loss, reason = "a limit need not be exact")]
fn amount(unit: Unit, tokens: u64) -> f64 {
    match unit {
        Unit::Requests | Unit::Concurrent => 1.0,
        Unit::Tokens => tokens as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests: Option<u32>, tokens: Option<u64>) -> RateLimits {
        RateLimits { requests_per_minute: requests, tokens_per_minute: tokens, concurrent_requests: None }
    }

    fn key(requests: Option<u32>, tokens: Option<u64>) -> Vec<Limited> {
        vec![(Holder::Key("team/p".into()), limits(requests, tokens))]
    }

    /// Takes requests until the limit refuses one.
    fn burst(limiter: &Limiter, tenant: &str, holders: &[Limited]) -> usize {
        (0..1000).take_while(|_| limiter.take(tenant, holders, 10).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_allows_its_limit() {
        let (limiter, holders) = (Limiter::new(1), key(Some(120), None));
        let mut passed = burst(&limiter, "a", &holders);
        assert_eq!(passed, 30, "a quarter at once");
        let reached = limiter.take("a", &holders, 10).unwrap_err();
        assert!(reached.wait <= Duration::from_millis(500), "{reached:?}");
        assert_eq!(reached.to_string(), "the limit of requests per minute of the ModelProvider team/p is reached");
        for _ in 0..60 {
            tokio::time::advance(Duration::from_secs(1)).await;
            passed += burst(&limiter, "a", &holders);
        }
        assert!((140..=152).contains(&passed), "{passed}");
    }

    #[tokio::test(start_paused = true)]
    async fn tenants_share_a_key() {
        let (limiter, holders) = (Limiter::new(1), key(Some(400), None));
        assert_eq!(burst(&limiter, "a", &holders), 100, "alone, a tenant gets all");
        let (mut a, mut b) = (0, 0);
        for _ in 0..60 {
            tokio::time::advance(Duration::from_secs(1)).await;
            a += burst(&limiter, "a", &holders);
            b += burst(&limiter, "b", &holders);
        }
        assert!(b >= 150 && a >= 150, "{a} {b}");
    }

    #[test]
    fn own_limits_and_those_of_the_installation() {
        let (own, installation) = (limits(Some(9), None), limits(Some(5), Some(100)));
        assert_eq!(or_default(&own, &installation), limits(Some(9), Some(100)));
        assert_eq!(lower(&own, &installation), limits(Some(5), Some(100)));
        assert_eq!(lower(&limits(Some(2), Some(7)), &limits(None, None)), limits(Some(2), Some(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_share_a_limit() {
        assert_eq!(burst(&Limiter::new(2), "a", &key(Some(400), None)), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn unused_tokens_are_put_back() {
        let (limiter, holders) = (Limiter::new(1), key(None, Some(4000)));
        limiter.take("a", &holders, 5000).unwrap();
        assert!(limiter.take("a", &holders, 10).is_err(), "a large request passes once");
        limiter.settle("a", &holders, 5000, 100);
        limiter.take("a", &holders, 900).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_used_in_excess_of_the_estimate_counts() {
        let (limiter, holders) = (Limiter::new(1), key(None, Some(4000)));
        limiter.take("a", &holders, 10).unwrap();
        limiter.settle("a", &holders, 10, 8000);
        let reached = limiter.take("a", &holders, 10).unwrap_err();
        assert!((Duration::from_secs(105)..Duration::from_secs(106)).contains(&reached.wait), "{reached:?}");
        limiter.settle("a", &holders, 0, 1_000_000_000);
        tokio::time::advance(Duration::from_secs(3610)).await;
        limiter.take("a", &holders, 10).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_request_keeps_only_its_own_tenant_waiting() {
        let (limiter, holders) = (Limiter::new(1), key(None, Some(4000)));
        limiter.take("a", &holders, 2_000_000).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        limiter.take("b", &holders, 10).unwrap();
        limiter.settle("a", &holders, 0, 2_000_000);
        tokio::time::advance(Duration::from_secs(1)).await;
        limiter.take("b", &holders, 10).unwrap();
        assert!(limiter.take("a", &holders, 10).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_request_takes_nothing() {
        let limiter = Limiter::new(1);
        let both = vec![
            (Holder::Tenant("a".into()), limits(Some(400), None)),
            (Holder::Key("team/p".into()), limits(Some(4), None)),
        ];
        limiter.take("a", &both, 1).unwrap();
        for _ in 0..200 {
            assert!(limiter.take("a", &both, 1).is_err());
        }
        assert_eq!(burst(&limiter, "a", &both[..1]), 99);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_in_progress_end_with_their_settlement() {
        let limiter = Limiter::new(2);
        let most = RateLimits { concurrent_requests: Some(4), ..RateLimits::default() };
        let holders = vec![(Holder::Attempt("uid".into(), 1), most.clone()), (Holder::Key("team/p".into()), most)];
        assert_eq!(burst(&limiter, "a", &holders), 2, "a replica has half of the limit");
        let reached = limiter.take("a", &holders, 10).unwrap_err();
        assert_eq!(reached.to_string(), "the installation's limit of concurrent requests of one attempt is reached");
        assert_eq!(reached.wait, BUSY);
        limiter.settle("a", &holders, 10, 10);
        limiter.take("a", &holders, 10).unwrap();
        for _ in 0..3 {
            limiter.settle("a", &holders, 10, 10);
        }
        assert!(limiter.state.lock().running.is_empty());
    }
}
