//! Notes about deletions, for the operator, which records who deleted an object. It sees a deletion by its watch, but not by whom.
//!
//! A note is a ConfigMap in the namespace of the installation, where no tenant can write. So it outlasts a stop of the operator, and the
//! webhook needs no Postgres. Nothing here refuses or delays a deletion for long.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use enact_domain::deletion::{self, Deletion};
use enact_domain::names::{LABEL_DELETION, LABEL_TENANT};
use enact_domain::record::Kind;
use enact_domain::time::Millis;
use enact_service::api_server;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::core::admission::Operation;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{Instant, timeout};

use crate::request::Request;

/// Longest time that a deletion waits for its note.
const LIMIT: Duration = Duration::from_secs(2);

/// Limits of notes: of all tenants, and of each. The operator deletes a note that no deletion follows after a minute.
const OF_ALL: Limit = Limit { burst: 8192, per_second: 64 };
const OF_TENANT: Limit = Limit { burst: 2048, per_second: 16 };

/// Most notes at once, and notes that are allowed again in a second.
#[derive(Clone, Copy)]
struct Limit {
    burst: u32,
    per_second: u32,
}

/// The number of notes that may be left within a limit.
struct Allowance {
    limit: Limit,
    left: u32,
    since: Instant,
}

impl Allowance {
    fn new(limit: Limit, now: Instant) -> Self {
        Self { limit, left: limit.burst, since: now }
    }

    /// Adds what is allowed again. Parts of a second count later.
    fn refill(&mut self, now: Instant) {
        let seconds = u32::try_from(now.duration_since(self.since).as_secs()).unwrap_or(u32::MAX);
        let more = seconds.saturating_mul(self.limit.per_second);
        self.left = self.left.saturating_add(more).min(self.limit.burst);
        self.since += Duration::from_secs(seconds.into());
    }
}

/// What may be left of all tenants, and of each that has left notes. A flood of requests must not fill the API server's storage, and a flood
/// in one tenant must not hide who deletes the objects of others.
struct Allowances(Mutex<(Allowance, HashMap<String, Allowance>)>);

impl Allowances {
    fn new(now: Instant) -> Self {
        Self(Mutex::new((Allowance::new(OF_ALL, now), HashMap::new())))
    }

    /// Takes one note of a tenant. Returns whether there is one left.
    fn take(&self, tenant: &str, now: Instant) -> bool {
        let mut allowances = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, tenants) = &mut *allowances;
        all.refill(now);
        tenants.retain(|_, own| {
            own.refill(now);
            own.left < own.limit.burst
        });
        if all.left == 0 {
            return false;
        }
        let own = tenants.entry(tenant.to_owned()).or_insert_with(|| Allowance::new(OF_TENANT, now));
        if own.left == 0 {
            return false;
        }
        own.left -= 1;
        all.left -= 1;
        true
    }
}

/// The notes about deletions.
pub trait Notes: Send + Sync {
    /// Adds a note. One that exists is not an error.
    fn add<'a>(&'a self, note: &'a Deletion) -> BoxFuture<'a, Result<(), kube::Error>>;
}

/// Notes in ConfigMaps.
pub struct ClusterNotes {
    api: Api<ConfigMap>,
    allowances: Allowances,
}

impl ClusterNotes {
    /// Returns the notes of the installation in `namespace`.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), allowances: Allowances::new(Instant::now()) }
    }
}

impl Notes for ClusterNotes {
    fn add<'a>(&'a self, note: &'a Deletion) -> BoxFuture<'a, Result<(), kube::Error>> {
        Box::pin(async move {
            if !self.allowances.take(&note.tenant, Instant::now()) {
                return Err(kube::Error::Service("too many objects are deleted at once".into()));
            }
            let text = serde_json::to_string(note).map_err(kube::Error::SerdeError)?;
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(note.name()),
                    labels: Some([(LABEL_DELETION.to_owned(), "true".to_owned())].into()),
                    ..ObjectMeta::default()
                },
                data: Some(BTreeMap::from([(deletion::KEY.to_owned(), text)])),
                ..ConfigMap::default()
            };
            match self.api.create(&PostParams::default(), &map).await {
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                result => result.map(drop),
            }
        })
    }
}

/// Adds a note about the deletion that `request` asks for, at the time `now`. Returns whether there is a note, or none is due. Without one,
/// the operator records that it does not know who deleted the object.
pub async fn note(request: &Request, notes: &dyn Notes, now: Timestamp) -> bool {
    let Some(note) = deletion_of(request, now) else { return true };
    let problem = match timeout(LIMIT, notes.add(&note)).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => api_server::message(&error),
        Err(_) => "the API server is too slow".to_owned(),
    };
    let (object, user) = (request.subject(), request.user());
    tracing::warn!(
        object,
        user,
        problem,
        "cannot leave a note about a deletion; the record will not have who deleted the object"
    );
    false
}

/// Returns the deletion that a request asks for; none for another operation, a dry run, or a kind whose objects people do not delete.
fn deletion_of(request: &Request, now: Timestamp) -> Option<Deletion> {
    let kind = request.kind().filter(|kind| *kind != Kind::Task)?;
    if request.operation() != &Operation::Delete || request.inner().dry_run || request.subresource().is_some() {
        return None;
    }
    let object = request.old()?;
    let tenant = match kind {
        // Not the name of the request, which is empty when a collection is deleted.
        Kind::Tenant => object.name_any(),
        _ => object.labels().get(LABEL_TENANT).cloned().unwrap_or_default(),
    };
    let note = Deletion { tenant, uid: object.uid()?, by: request.user().to_owned(), at: Millis(now.as_millisecond()) };
    // The API server sends no other.
    Some(note).filter(Deletion::is_well_formed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{ANN, by, create, delete, object, request, with};

    const NOW: &str = "2026-11-25T23:59:59Z";

    fn of(review: &Value) -> Option<Deletion> {
        deletion_of(&request(review), NOW.parse().unwrap())
    }

    fn stored(kind: &str) -> Value {
        with(object(kind, "shop", &json!({})), "/metadata/uid", json!("uid-1"))
    }

    #[test]
    fn a_note_names_object_and_user() {
        let note = of(&delete(&stored("Plan"))).unwrap();
        assert_eq!((note.tenant.as_str(), note.by.as_str(), note.at), ("acme", ANN, Millis(1_795_651_199_000)));
        assert_eq!(note.uid, "uid-1");
        // Of a collection, the request has no name.
        let unnamed = with(delete(&stored("Approval")), "/request/name", Value::Null);
        assert_eq!(of(&by(unnamed, "bob")).map(|note| (note.uid, note.by)), Some(("uid-1".into(), "bob".into())));
        let tenant = with(stored("Tenant"), "/metadata/namespace", Value::Null);
        assert_eq!(of(&delete(&tenant)).map(|note| note.tenant), Some("shop".into()));
    }

    #[test]
    fn nothing_else_has_a_note() {
        assert_eq!(of(&delete(&stored("Task"))), None, "the garbage collector deletes it with its plan");
        assert_eq!(of(&with(delete(&stored("Plan")), "/request/dryRun", json!(true))), None);
        assert_eq!(of(&create(&stored("Plan"))), None);
        assert_eq!(of(&delete(&with(stored("Plan"), "/metadata/uid", json!("u".repeat(1 << 20))))), None, "too long");
    }

    #[tokio::test]
    async fn a_note_is_a_config_map_that_is_written_once() {
        let api = enact_testing::FakeApi::default();
        let notes = ClusterNotes::new(api.client(), "enact");
        for _ in 0..2 {
            assert!(note(&request(&delete(&stored("Plan"))), &notes, NOW.parse().unwrap()).await);
        }
        let [map] = api.all("configmaps").try_into().unwrap();
        assert_eq!(map["metadata"]["labels"], json!({ "enact.dev/deletion": "true" }));
        let note: Deletion = serde_json::from_str(map["data"]["deletion"].as_str().unwrap()).unwrap();
        assert_eq!(Some(note), of(&delete(&stored("Plan"))));
    }

    #[test]
    fn a_flood_of_deletions_leaves_few_notes() {
        let start = Instant::now();
        let allowances = Allowances::new(start);
        let taken = |tenant: &str, now| (0..=OF_ALL.burst).filter(|_| allowances.take(tenant, now)).count();
        assert_eq!(taken("eve", start), 2048);
        assert_eq!(taken("acme", start), 2048, "a flood in one tenant leaves notes to others");
        assert_eq!(taken("b", start) + taken("c", start) + taken("d", start), 4096, "not more than the limit of all");
        assert_eq!(taken("eve", start + Duration::from_millis(1500)), 16);
        assert_eq!(taken("eve", start + Duration::from_secs(2)), 16, "parts of a second are not lost");
        assert_eq!(taken("acme", start + Duration::from_secs(2)), 32);
        assert_eq!(taken("eve", start + Duration::from_hours(9)), 2048);
    }

    #[tokio::test]
    async fn a_deletion_does_not_need_its_note() {
        let api = enact_testing::FakeApi::default();
        api.refuse("POST configmaps", 403, "forbidden");
        let notes = ClusterNotes::new(api.client(), "enact");
        assert!(!note(&request(&delete(&stored("Plan"))), &notes, NOW.parse().unwrap()).await);
    }
}
