//! The usage record, as the gateway uses it.

use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Scope};
use enact_store::{ModelRequest, Opened, Refusal, RequestLog, Settlement, Store, StoreError};
use futures::future::BoxFuture;

/// The usage record. [`Store`] is the one of programs; tests have one in memory.
pub trait Ledger: Send + Sync {
    /// Reserves the estimates of requests.
    fn open<'a>(
        &'a self,
        tenant: &'a str,
        requests: &'a [ModelRequest],
    ) -> BoxFuture<'a, Result<Vec<Opened>, StoreError>>;

    /// Reserves the estimates of requests that were sent already, whether or not their budgets allow them.
    fn open_sent<'a>(&'a self, tenant: &'a str, requests: &'a [ModelRequest]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Books what requests really used.
    fn settle<'a>(&'a self, tenant: &'a str, settlements: &'a [Settlement]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Books the estimates of requests that were opened before `before` and whose gateway died.
    fn settle_abandoned<'a>(&'a self, tenant: &'a str, before: Millis) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Records the texts of requests and answers.
    fn log_requests<'a>(&'a self, tenant: &'a str, logs: &'a [RequestLog]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Deletes the texts whose time has come.
    fn delete_expired_logs<'a>(&'a self, tenant: &'a str, now: Millis) -> BoxFuture<'a, Result<u64, StoreError>>;

    fn balances<'a>(
        &'a self,
        tenant: &'a str,
        scopes: &'a [Scope],
    ) -> BoxFuture<'a, Result<Vec<(Scope, Balance)>, StoreError>>;

    /// Records why an attempt cannot continue, for its runner.
    fn record_refusal<'a>(
        &'a self,
        tenant: &'a str,
        task_uid: &'a str,
        attempt: u32,
        refusal: &'a Refusal,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    fn refusal<'a>(
        &'a self,
        tenant: &'a str,
        task_uid: &'a str,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Option<Refusal>, StoreError>>;
}

impl Ledger for Store {
    fn open<'a>(
        &'a self,
        tenant: &'a str,
        requests: &'a [ModelRequest],
    ) -> BoxFuture<'a, Result<Vec<Opened>, StoreError>> {
        Box::pin(self.open_requests(tenant, requests))
    }

    fn open_sent<'a>(&'a self, tenant: &'a str, requests: &'a [ModelRequest]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.open_sent_requests(tenant, requests))
    }

    fn settle<'a>(&'a self, tenant: &'a str, settlements: &'a [Settlement]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.settle_requests(tenant, settlements))
    }

    fn settle_abandoned<'a>(&'a self, tenant: &'a str, before: Millis) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.settle_abandoned(tenant, before))
    }

    fn log_requests<'a>(&'a self, tenant: &'a str, logs: &'a [RequestLog]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.log_requests(tenant, logs))
    }

    fn delete_expired_logs<'a>(&'a self, tenant: &'a str, now: Millis) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.delete_expired_logs(tenant, now))
    }

    fn balances<'a>(
        &'a self,
        tenant: &'a str,
        scopes: &'a [Scope],
    ) -> BoxFuture<'a, Result<Vec<(Scope, Balance)>, StoreError>> {
        Box::pin(self.balances(tenant, scopes))
    }

    fn record_refusal<'a>(
        &'a self,
        tenant: &'a str,
        task_uid: &'a str,
        attempt: u32,
        refusal: &'a Refusal,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.record_refusal(tenant, task_uid, attempt, refusal))
    }

    fn refusal<'a>(
        &'a self,
        tenant: &'a str,
        task_uid: &'a str,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Option<Refusal>, StoreError>> {
        Box::pin(self.refusal(tenant, task_uid, attempt))
    }
}
