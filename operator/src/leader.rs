//! Leader election: one process runs the controllers, the others wait.
//!
//! A process acquires and renews a `Lease` by replacing it with its `resourceVersion`, so that of two processes that try at the same time
//! only one succeeds. A leader that cannot renew in time stops before another process may take over (ADR 0001).

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

const LEASE: &str = "enact-operator";

/// A candidate for leadership.
pub struct Candidate {
    leases: Api<Lease>,
    identity: String,
    seconds: u16,
    /// The last observed resource version, and when it was first observed by the clock of this process. Other clocks are not trusted.
    seen: Option<(String, Instant)>,
    /// Time just before the last successful request. The API server wrote the lease after that, so that no other process may take over
    /// within one period from then, however late the response came.
    granted: Instant,
}

/// The owner of the lease after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// This process owns it for another period.
    Leader,
    /// Another process owns it.
    Follower,
}

impl Candidate {
    /// Returns a candidate; `identity` must be unique among the processes.
    pub fn new(client: Client, namespace: &str, identity: String, seconds: u16) -> Self {
        Self { leases: Api::namespaced(client, namespace), identity, seconds, seen: None, granted: Instant::now() }
    }

    fn period(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }

    /// Returns when the leader stops without another renewal: well before another process may acquire the lease.
    fn expires_at(&self) -> Instant {
        self.granted + self.period() * 2 / 3
    }

    /// Waits until this process owns the lease.
    pub async fn elected(&mut self) {
        loop {
            // Taken before the request: the API server writes the lease later than this, never earlier.
            let asked = Instant::now();
            // A lease that is written after its own period is expired already.
            match timeout(self.period() / 2, self.attempt()).await {
                Ok(Ok(LeaseState::Leader)) => {
                    self.granted = asked;
                    return;
                }
                Ok(Ok(LeaseState::Follower)) => {}
                Ok(Err(e)) => tracing::warn!(error = %e, "cannot read or write the leader lease"),
                Err(_) => tracing::warn!("the API server does not respond to the request for the leader lease"),
            }
            sleep(self.period() / 5).await;
        }
    }

    /// Renews the lease until it is lost or may be lost. The call can be cancelled and repeated.
    pub async fn lost(&mut self) {
        // A cancelled call leaves `granted` as it was: a repeated call continues with the same expiry.
        let mut asked = self.granted;
        loop {
            sleep_until(self.expires_at().min(asked + self.period() / 5)).await;
            asked = Instant::now();
            // A request without a response must not outlive the lease: the timeout counts as a loss.
            match timeout_at(self.expires_at(), self.attempt()).await {
                Ok(Ok(LeaseState::Leader)) => self.granted = asked,
                // The lease may still be valid: retry until it expires.
                Ok(Err(e)) => tracing::warn!(error = %e, "cannot renew the leader lease"),
                Ok(Ok(LeaseState::Follower)) | Err(_) => return,
            }
            if Instant::now() >= self.expires_at() {
                return;
            }
        }
    }

    /// Releases the lease, so that the next process does not wait for its expiry.
    pub async fn resign(&mut self) {
        let Ok(mut lease) = self.leases.get(LEASE).await else { return };
        if let Some(spec) = lease.spec.as_mut().filter(|s| s.holder_identity.as_ref() == Some(&self.identity)) {
            // The write contains the resource version of the read: it fails if another process acquired the lease meanwhile.
            spec.holder_identity = None;
            if let Err(e) = self.leases.replace(LEASE, &PostParams::default(), &lease).await {
                tracing::warn!(error = %e, "cannot release the leader lease; it expires by itself");
            }
        }
    }

    async fn attempt(&mut self) -> Result<LeaseState, kube::Error> {
        let written = match self.leases.get_opt(LEASE).await? {
            None => {
                let lease = Lease {
                    metadata: ObjectMeta { name: Some(LEASE.into()), ..ObjectMeta::default() },
                    spec: Some(self.claim(None)),
                };
                self.leases.create(&PostParams::default(), &lease).await
            }
            Some(mut lease) => {
                if !self.may_acquire(&lease) {
                    return Ok(LeaseState::Follower);
                }
                // The resource version stays in `lease`: of several candidates that replace it, the API server accepts one.
                lease.spec = Some(self.claim(lease.spec.take()));
                self.leases.replace(LEASE, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(_) => Ok(LeaseState::Leader),
            // Another process created or replaced the lease between the read and the write.
            Err(kube::Error::Api(e)) if e.code == 409 => Ok(LeaseState::Follower),
            Err(e) => Err(e),
        }
    }

    /// Returns whether the lease is owned by this process, free, or unchanged for a whole period by the clock of this process.
    fn may_acquire(&mut self, lease: &Lease) -> bool {
        let holder = lease.spec.as_ref().and_then(|s| s.holder_identity.as_deref()).unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed() > self.period(),
            _ => {
                // The holder renewed the lease since the last attempt, or this is the first attempt: its period starts again.
                self.seen = Some((version, Instant::now()));
                false
            }
        }
    }

    fn claim(&self, old: Option<LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let old = old.unwrap_or_default();
        let ours = old.holder_identity.as_ref() == Some(&self.identity);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::from(self.seconds)),
            acquire_time: if ours { old.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!ours)),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::FakeApi;

    const SECONDS: u16 = 15;
    const KEY: &str = "leases/enact-operator";

    fn candidate(api: &FakeApi, name: &str) -> Candidate {
        Candidate::new(api.client(), "enact-system", name.into(), SECONDS)
    }

    fn holder(api: &FakeApi) -> Option<String> {
        api.get(KEY)["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    #[tokio::test(start_paused = true)]
    async fn another_takes_over_after_a_period_without_renewal() {
        let api = FakeApi::default();
        let (mut a, mut b) = (candidate(&api, "a"), candidate(&api, "b"));
        a.elected().await;
        assert_eq!(b.attempt().await.unwrap(), LeaseState::Follower);
        sleep(Duration::from_secs(14)).await;
        assert_eq!(a.attempt().await.unwrap(), LeaseState::Leader, "renewed");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(b.attempt().await.unwrap(), LeaseState::Follower, "it was renewed two seconds ago");
        let silent = Instant::now();
        b.elected().await;
        assert!(silent.elapsed() > Duration::from_secs(SECONDS.into()), "{:?}", silent.elapsed());
        assert_eq!(holder(&api).as_deref(), Some("b"));
        assert_eq!(api.get(KEY)["spec"]["leaseTransitions"], 2);
        a.lost().await;
    }

    #[tokio::test(start_paused = true)]
    async fn stops_before_another_may_take_over() {
        let api = FakeApi::default();
        let mut a = candidate(&api, "a");
        a.elected().await;
        api.refuse("PUT leases", 500, "etcd has no quorum");
        let renewed = Instant::now();
        a.lost().await;
        assert!(renewed.elapsed() < Duration::from_secs(SECONDS.into()), "{:?}", renewed.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn late_election_response_does_not_extend_the_lease() {
        let api = FakeApi::default();
        let mut a = candidate(&api, "a");
        api.answer_late("POST leases", Duration::from_secs(7));
        let written = Instant::now();
        a.elected().await;
        assert_eq!(written.elapsed(), Duration::from_secs(7));
        api.refuse("PUT leases", 500, "etcd has no quorum");
        a.lost().await;
        assert!(written.elapsed() < Duration::from_secs(SECONDS.into()), "{:?}", written.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn late_renewal_response_does_not_extend_the_lease() {
        let api = FakeApi::default();
        let mut a = candidate(&api, "a");
        a.elected().await;
        api.answer_late("PUT leases", Duration::from_millis(6500));
        let mut written = None;
        let meanwhile = async {
            let before = api.get(KEY)["metadata"]["resourceVersion"].clone();
            while api.get(KEY)["metadata"]["resourceVersion"] == before {
                sleep(Duration::from_millis(10)).await;
            }
            // Another may take the lease a period after this moment.
            written = Some(Instant::now());
            api.refuse("PUT leases", 500, "etcd has no quorum");
        };
        tokio::join!(a.lost(), meanwhile);
        let written = written.unwrap();
        assert!(written.elapsed() < Duration::from_secs(SECONDS.into()), "{:?}", written.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn elects_one_of_two_concurrent_candidates() {
        let api = FakeApi::default();
        api.put(KEY, json!({"metadata": {"name": "enact-operator"}, "spec": {}}));
        let (mut a, mut b) = (candidate(&api, "a"), candidate(&api, "b"));
        let (a, b) = tokio::join!(a.attempt(), b.attempt());
        let leaders = [a.unwrap(), b.unwrap()].iter().filter(|s| **s == LeaseState::Leader).count();
        assert_eq!(leaders, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn released_lease_is_free_at_once() {
        let api = FakeApi::default();
        let (mut a, mut b) = (candidate(&api, "a"), candidate(&api, "b"));
        a.elected().await;
        b.resign().await;
        assert_eq!(holder(&api).as_deref(), Some("a"), "it was not b's to give back");
        a.resign().await;
        assert_eq!(b.attempt().await.unwrap(), LeaseState::Leader);
    }
}
