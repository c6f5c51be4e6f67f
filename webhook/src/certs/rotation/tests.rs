use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::stream;
use k8s_openapi::jiff::SignedDuration;
use serde_json::json;
use tokio::sync::{Barrier, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::testing::https::{Connection, Hands, Listening, hosts, lifetimes};
use crate::testing::{create, object};

/// The timeout of every wait. Only a failing test reaches it.
const GENEROUS: Duration = Duration::from_mins(2);

/// An in-memory vault: a keyring and its published bundle, both written by compare-and-swap.
#[derive(Default)]
struct Memory {
    state: Mutex<State>,
    /// The number of loads that still fail.
    failing: AtomicUsize,
    /// A barrier for readers that find no keyring, so that all of them try to create one.
    together: Option<Barrier>,
}

#[derive(Clone, Default)]
struct State {
    keyring: Option<Keyring>,
    written: u64,
    bundle: String,
    trusted: u64,
}

impl Memory {
    fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }
}

impl Vault for Arc<Memory> {
    type Seen = State;

    async fn load(&self) -> Result<(Option<Keyring>, State), CertificateError> {
        let fails = self.failing.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if fails.is_ok() {
            return Err(CertificateError::Unusable("the cluster is away".into()));
        }
        let state = self.state();
        if let (Some(together), None) = (&self.together, &state.keyring) {
            together.wait().await;
        }
        Ok((state.keyring.clone(), state))
    }

    async fn store(&self, keyring: &Keyring, seen: State) -> Result<bool, CertificateError> {
        let mut state = self.state.lock().unwrap();
        let unchanged = state.written == seen.written;
        if unchanged {
            state.keyring = Some(keyring.clone());
            state.written += 1;
        }
        Ok(unchanged)
    }

    async fn publish(&self, bundle: &str, _: &str, seen: &State) -> Result<bool, CertificateError> {
        if seen.bundle == bundle {
            return Ok(true);
        }
        let mut state = self.state.lock().unwrap();
        let unchanged = state.trusted == seen.trusted;
        if unchanged {
            state.bundle = bundle.into();
            state.trusted += 1;
        }
        Ok(unchanged)
    }
}

/// One replica of the webhook.
struct Replica {
    serving: Serving,
    health: Health,
    metrics: Metrics,
    _task: AbortOnDropHandle<()>,
}

impl Replica {
    /// Starts a replica that checks after every change of the watch, and when a step is due.
    fn start(memory: &Arc<Memory>, hands: &Hands, triggers: &watch::Sender<()>) -> Self {
        let (serving, health, metrics) = (Serving::default(), Health::new([CERTIFICATE]), Metrics::new().unwrap());
        let rotation = Rotation {
            vault: Arc::clone(memory),
            hosts: hosts(),
            lifetimes: lifetimes(),
            serving: serving.clone(),
            health: health.clone(),
            metrics: metrics.clone(),
            clock: hands.clock(),
        };
        let changes = stream::unfold(triggers.subscribe(), async |mut changes| {
            changes.changed().await.ok().map(|()| ((), changes))
        });
        let task = tokio::spawn(async move { rotation.run(changes, CancellationToken::new()).await });
        Self { serving, health, metrics, _task: AbortOnDropHandle::new(task) }
    }

    fn count(&self, event: &str) -> u64 {
        self.metrics.certificate_events.with_label_values(&[event]).get()
    }

    /// Returns whether it serves the current serving certificate and nothing is due.
    fn settled(&self, memory: &Memory, hands: &Hands) -> bool {
        let Some(keyring) = memory.state().keyring else { return false };
        let idle = matches!(keyring.due(&hosts(), &lifetimes(), hands.now()), Due::Nothing { .. });
        idle && self.metrics.certificate_expiry.get() == keyring.ends().as_second()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(GENEROUS, waiting).await.is_ok(), "{what}");
}

#[tokio::test]
async fn two_replicas_begin_with_one_ca() {
    let memory = Arc::new(Memory { together: Some(Barrier::new(2)), ..Memory::default() });
    let (hands, triggers) = (Hands::new(), watch::Sender::new(()));
    let replicas = [(), ()].map(|()| Replica::start(&memory, &hands, &triggers));
    for replica in &replicas {
        until("both serve", || replica.settled(&memory, &hands)).await;
        assert!(replica.health.readiness().0);
    }
    assert_eq!(replicas.iter().map(|r| r.count("created")).sum::<u64>(), 1);
    assert_eq!(replicas.iter().map(|r| r.count("failed")).sum::<u64>(), 0);
    let state = memory.state();
    assert_eq!(state.bundle, state.keyring.unwrap().bundle());
    for replica in &replicas {
        let webhook = Listening::start(&replica.serving).await;
        let mut api = Connection::open(webhook.address, &state.bundle, &hands).await.unwrap();
        api.review("/validate", &create(&object("Agent", "a", &json!({ "adapter": "Command" })))).await.unwrap();
    }
}

#[tokio::test]
async fn what_fails_is_tried_again() {
    let memory = Arc::new(Memory { failing: AtomicUsize::new(2), ..Memory::default() });
    let (hands, triggers) = (Hands::new(), watch::Sender::new(()));
    let replica = Replica::start(&memory, &hands, &triggers);
    until("it has failed", || replica.count("failed") > 0).await;
    assert!(!replica.health.readiness().0, "there is no certificate yet");
    until("it serves", || replica.settled(&memory, &hands)).await;
    assert_eq!((replica.count("failed"), replica.health.readiness().0), (2, true));
}

#[tokio::test]
async fn repairs_damage_and_loss() {
    let memory = Arc::new(Memory::default());
    let (hands, triggers) = (Hands::new(), watch::Sender::new(()));
    let replica = Replica::start(&memory, &hands, &triggers);
    until("it serves", || replica.settled(&memory, &hands)).await;
    let mut damaged = json!(memory.state().keyring);
    damaged["serving"]["key"] = json!("");
    for (found, created) in [(Some(serde_json::from_value(damaged).unwrap()), 2), (None, 3)] {
        {
            let mut state = memory.state.lock().unwrap();
            state.keyring = found;
            state.bundle = "somebody else's".into();
            state.written += 1;
            state.trusted += 1;
        }
        triggers.send_replace(());
        until("it is repaired", || replica.count("created") == created && replica.settled(&memory, &hands)).await;
        let state = memory.state();
        assert_eq!(state.bundle, state.keyring.unwrap().bundle());
    }
    assert_eq!(replica.count("failed"), 0);
}

/// Checks that no request fails while certificates and CAs are renewed many times and the API server gets every change late. Requests are
/// sent without a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_is_never_seen_by_a_client() {
    let memory = Arc::new(Memory { together: Some(Barrier::new(2)), ..Memory::default() });
    let (hands, triggers) = (Hands::new(), watch::Sender::new(()));
    let replicas = [(), ()].map(|()| Replica::start(&memory, &hands, &triggers));
    for replica in &replicas {
        until("both serve", || replica.settled(&memory, &hands)).await;
    }
    let known = Arc::new(Mutex::new(memory.state().bundle));
    let mut webhooks = Vec::new();
    let mut clients = Vec::new();
    let review = create(&object("Agent", "a", &json!({ "adapter": "Command" })));
    for replica in &replicas {
        let webhook = Listening::start(&replica.serving).await;
        for lasting in [false, true] {
            let (known, hands, review, address) = (Arc::clone(&known), hands.clone(), review.clone(), webhook.address);
            let answered = Arc::new(AtomicU64::new(0));
            let counter = Arc::clone(&answered);
            let requests = async move {
                let mut kept: Option<Connection> = None;
                loop {
                    let bundle = known.lock().unwrap().clone();
                    let mut api = match kept.take() {
                        Some(kept) => kept,
                        None => Connection::open(address, &bundle, &hands).await.unwrap(),
                    };
                    let answer = api.review("/validate", &review).await.unwrap();
                    assert_eq!(answer["response"]["allowed"], true);
                    counter.fetch_add(1, Ordering::SeqCst);
                    kept = lasting.then_some(api);
                    sleep(Duration::from_millis(2)).await;
                }
            };
            clients.push((AbortOnDropHandle::new(tokio::spawn(requests)), answered));
        }
        webhooks.push(webhook);
    }
    let half_an_hour = SignedDuration::from_mins(30);
    // Each client gets two answers, because only the second request certainly began after this call.
    let everybody_is_answered = async |step: usize| {
        let before: Vec<u64> = clients.iter().map(|(_, n)| n.load(Ordering::SeqCst)).collect();
        for ((client, answered), before) in clients.iter().zip(before) {
            let went_on = || client.is_finished() || answered.load(Ordering::SeqCst) >= before + 2;
            until("requests are answered", went_on).await;
            assert!(!client.is_finished(), "a request failed in step {step}");
        }
    };
    for step in 0..42 {
        // The API server now uses the bundle of the previous step. A step is longer than the propagation time.
        *known.lock().unwrap() = memory.state().bundle;
        everybody_is_answered(step).await;
        hands.forward(half_an_hour);
        triggers.send_replace(());
        for replica in &replicas {
            until("both serve", || replica.settled(&memory, &hands)).await;
        }
        everybody_is_answered(step).await;
    }
    let sum = |event: &str| replicas.iter().map(|r| r.count(event)).sum::<u64>();
    assert!(
        sum("ca_renewed") >= 3 && sum("serving_certificate_renewed") >= 8,
        "{} {}",
        sum("ca_renewed"),
        sum("serving_certificate_renewed")
    );
    assert_eq!((sum("created"), sum("failed")), (1, 0));
}
