//! Leader election: one process acts, the others wait.
//!
//! A `Lease` is taken and renewed by replacing it with its `resourceVersion`, so that of two processes that believe themselves entitled
//! only one succeeds. A leader that cannot renew in time gives up before another may take over (ADR 0001).

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// Name of the lease.
const LEASE: &str = "enact-operator";

/// A candidate for leadership.
pub struct Candidate {
    leases: Api<Lease>,
    identity: String,
    seconds: u16,
    /// The lease as it was last seen to change, by our own clock: other clocks are not trusted.
    seen: Option<(String, Instant)>,
    /// When the API server was asked the last time that it granted the lease. It wrote it later than that, so that nobody may take over
    /// before a period from then; how late it answered makes no difference.
    granted: Instant,
}

/// Whether the lease is ours now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Ours for another period.
    Leader,
    /// Somebody else's.
    Follower,
}

impl Candidate {
    /// A candidate under `identity`, which must be unique among the processes.
    pub fn new(client: Client, namespace: &str, identity: String, seconds: u16) -> Self {
        Self { leases: Api::namespaced(client, namespace), identity, seconds, seen: None, granted: Instant::now() }
    }

    fn period(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }

    /// When the leader gives up unless the lease is granted again: well before anybody else may take it.
    fn end(&self) -> Instant {
        self.granted + self.period() * 2 / 3
    }

    /// Returns when the lease is ours.
    pub async fn elected(&mut self) {
        loop {
            let asked = Instant::now();
            // A lease that is written after its own period would be worth nothing.
            match timeout(self.period() / 2, self.attempt()).await {
                Ok(Ok(Standing::Leader)) => {
                    self.granted = asked;
                    return;
                }
                Ok(Ok(Standing::Follower)) => {}
                Ok(Err(e)) => tracing::warn!(error = %e, "cannot read or write the leader lease"),
                Err(_) => tracing::warn!("the API server does not answer for the leader lease"),
            }
            sleep(self.period() / 5).await;
        }
    }

    /// Renews the lease; returns when it is lost or can no longer be known to be ours. A call that is given up can be followed by another.
    pub async fn lost(&mut self) {
        let mut asked = self.granted;
        loop {
            sleep_until(self.end().min(asked + self.period() / 5)).await;
            asked = Instant::now();
            match timeout_at(self.end(), self.attempt()).await {
                Ok(Ok(Standing::Leader)) => self.granted = asked,
                Ok(Err(e)) => tracing::warn!(error = %e, "cannot renew the leader lease"),
                Ok(Ok(Standing::Follower)) | Err(_) => return,
            }
            if Instant::now() >= self.end() {
                return;
            }
        }
    }

    /// Gives the lease back, so that the next process need not wait for its end.
    pub async fn resign(&mut self) {
        let Ok(mut lease) = self.leases.get(LEASE).await else { return };
        if let Some(spec) = lease.spec.as_mut().filter(|s| s.holder_identity.as_ref() == Some(&self.identity)) {
            spec.holder_identity = None;
            if let Err(e) = self.leases.replace(LEASE, &PostParams::default(), &lease).await {
                tracing::warn!(error = %e, "cannot give the leader lease back; it ends by itself");
            }
        }
    }

    async fn attempt(&mut self) -> Result<Standing, kube::Error> {
        let written = match self.leases.get_opt(LEASE).await? {
            None => {
                let lease = Lease {
                    metadata: ObjectMeta { name: Some(LEASE.into()), ..ObjectMeta::default() },
                    spec: Some(self.claim(None)),
                };
                self.leases.create(&PostParams::default(), &lease).await
            }
            Some(mut lease) => {
                if !self.may_take(&lease) {
                    return Ok(Standing::Follower);
                }
                lease.spec = Some(self.claim(lease.spec.take()));
                self.leases.replace(LEASE, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(_) => Ok(Standing::Leader),
            Err(kube::Error::Api(e)) if e.code == 409 => Ok(Standing::Follower),
            Err(e) => Err(e),
        }
    }

    /// Ours, free, or unchanged for a whole period as measured here.
    fn may_take(&mut self, lease: &Lease) -> bool {
        let holder = lease.spec.as_ref().and_then(|s| s.holder_identity.as_deref()).unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed() > self.period(),
            _ => {
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
    async fn one_leads_and_the_next_takes_over_when_it_is_silent_for_a_period() {
        let api = FakeApi::default();
        let (mut a, mut b) = (candidate(&api, "a"), candidate(&api, "b"));
        a.elected().await;
        assert_eq!(b.attempt().await.unwrap(), Standing::Follower);
        sleep(Duration::from_secs(14)).await;
        assert_eq!(a.attempt().await.unwrap(), Standing::Leader, "renewed");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(b.attempt().await.unwrap(), Standing::Follower, "it was renewed two seconds ago");
        let silent = Instant::now();
        b.elected().await;
        assert!(silent.elapsed() > Duration::from_secs(SECONDS.into()), "{:?}", silent.elapsed());
        assert_eq!(holder(&api).as_deref(), Some("b"));
        assert_eq!(api.get(KEY)["spec"]["leaseTransitions"], 2);
        a.lost().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_renew_gives_up_before_another_may_begin() {
        let api = FakeApi::default();
        let mut a = candidate(&api, "a");
        a.elected().await;
        api.refuse("PUT leases", 500, "etcd has no quorum");
        let renewed = Instant::now();
        a.lost().await;
        assert!(renewed.elapsed() < Duration::from_secs(SECONDS.into()), "{:?}", renewed.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_to_the_election_does_not_stretch_the_leaders_time() {
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
    async fn a_late_answer_to_a_renewal_does_not_stretch_the_leaders_time() {
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
    async fn of_two_that_write_at_once_one_leads() {
        let api = FakeApi::default();
        api.put(KEY, json!({"metadata": {"name": "enact-operator"}, "spec": {}}));
        let (mut a, mut b) = (candidate(&api, "a"), candidate(&api, "b"));
        let (a, b) = tokio::join!(a.attempt(), b.attempt());
        let leaders = [a.unwrap(), b.unwrap()].iter().filter(|s| **s == Standing::Leader).count();
        assert_eq!(leaders, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_given_back_is_free_at_once() {
        let api = FakeApi::default();
        let (mut a, mut b) = (candidate(&api, "a"), candidate(&api, "b"));
        a.elected().await;
        b.resign().await;
        assert_eq!(holder(&api).as_deref(), Some("a"), "it was not b's to give back");
        a.resign().await;
        assert_eq!(b.attempt().await.unwrap(), Standing::Leader);
    }
}
