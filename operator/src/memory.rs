//! The record, as the controllers use it: the one thing of theirs that is outside Kubernetes, and that a test replaces.

use enact_domain::digest::Digest;
use enact_domain::record::{Record, RecordedAttempt};
use enact_domain::time::Millis;
use enact_store::{Recorder, Store, StoreError};
use futures::future::BoxFuture;

/// What the controllers write down, and what of it they read again.
pub trait Memory: Send + Sync {
    /// Records what was decided; whatever is known already is not written again.
    fn record(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What is known of the attempts of a plan.
    fn attempts<'a>(
        &'a self,
        tenant: &'a str,
        plan_uid: &'a str,
    ) -> BoxFuture<'a, Result<Vec<RecordedAttempt>, StoreError>>;

    /// The content with this digest, if it was recorded.
    fn content<'a>(&'a self, tenant: &'a str, digest: &'a Digest)
    -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// Remembers a tenant.
    fn tenant<'a>(&'a self, tenant: &'a str, uid: &'a str, at: Millis) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// The record in Postgres.
pub struct Postgres {
    /// For reading.
    pub store: Store,
    /// For writing, together with everybody else.
    pub recorder: Recorder,
}

impl Memory for Postgres {
    fn record(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.recorder.record(records))
    }

    fn attempts<'a>(
        &'a self,
        tenant: &'a str,
        plan_uid: &'a str,
    ) -> BoxFuture<'a, Result<Vec<RecordedAttempt>, StoreError>> {
        Box::pin(self.store.recorded_attempts(tenant, plan_uid))
    }

    fn content<'a>(
        &'a self,
        tenant: &'a str,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(self.store.content(tenant, digest))
    }

    fn tenant<'a>(&'a self, tenant: &'a str, uid: &'a str, at: Millis) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.store.upsert_tenant(tenant, uid, at))
    }
}
