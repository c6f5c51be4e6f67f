//! A usage record in memory.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Charge, Demand, Limit, Scope, admit};
use enact_gateway::ledger::Ledger;
use enact_store::{ModelRequest, Opened, Refusal, RequestLog, Settlement, StoreError};
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// A request and its settlement.
#[derive(Clone, Debug)]
pub struct Settled {
    pub request: ModelRequest,
    pub settlement: Settlement,
}

#[derive(Default)]
pub struct MemoryLedger {
    state: Mutex<State>,
    pub is_down: AtomicBool,
    /// When it is set, a reservation waits for a permit.
    pub gate: Mutex<Option<std::sync::Arc<Semaphore>>>,
    /// Attempts whose refusal is being read, now and at most.
    reading: AtomicUsize,
    pub most_reading: AtomicUsize,
}

#[derive(Default)]
struct State {
    balances: HashMap<Scope, Balance>,
    open: HashMap<Uuid, ModelRequest>,
    settled: Vec<Settled>,
    refusals: HashMap<(String, u32), Refusal>,
    logs: Vec<RequestLog>,
}

impl MemoryLedger {
    pub fn limit(&self, scope: Scope, tokens: u64) {
        let limit = Limit { tokens: Some(tokens), cost_micro_usd: None };
        self.state.lock().unwrap().balances.entry(scope).or_default().limit = limit;
    }

    pub fn settled(&self) -> Vec<Settled> {
        self.state.lock().unwrap().settled.clone()
    }

    /// Returns the number of requests that are reserved and not settled.
    pub fn open_count(&self) -> usize {
        self.state.lock().unwrap().open.len()
    }

    pub fn logs(&self) -> Vec<RequestLog> {
        self.state.lock().unwrap().logs.clone()
    }

    pub fn refusal(&self, task_uid: &str) -> Option<Refusal> {
        self.state.lock().unwrap().refusals.get(&(task_uid.to_owned(), 1)).cloned()
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_down.load(Ordering::Relaxed) { Err(StoreError::Closed) } else { Ok(()) }
    }
}

fn subtract(from: &mut Charge, less: &Charge) {
    from.tokens.input -= less.tokens.input;
    from.tokens.output -= less.tokens.output;
}

impl Ledger for MemoryLedger {
    fn open<'a>(
        &'a self,
        tenant: &'a str,
        requests: &'a [ModelRequest],
    ) -> BoxFuture<'a, Result<Vec<Opened>, StoreError>> {
        Box::pin(async move {
            assert_eq!(tenant, "acme");
            self.check()?;
            let gate = self.gate.lock().unwrap().clone();
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            let mut state = self.state.lock().unwrap();
            let demands: Vec<Demand> = requests
                .iter()
                .map(|request| Demand { scopes: request.scopes(), estimate: request.estimate })
                .collect();
            let refused = admit(&mut state.balances, &demands);
            let opened = refused.into_iter().zip(requests).map(|(refused, request)| {
                if let Some((scope, balance)) = refused {
                    return Opened::Refused { scope, balance };
                }
                assert!(state.open.insert(request.id, request.clone()).is_none());
                Opened::Accepted
            });
            Ok(opened.collect())
        })
    }

    fn open_sent<'a>(&'a self, tenant: &'a str, requests: &'a [ModelRequest]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            assert_eq!(tenant, "acme");
            self.check()?;
            let mut state = self.state.lock().unwrap();
            for request in requests {
                for scope in request.scopes() {
                    state.balances.entry(scope).or_default().reserve(&request.estimate);
                }
                assert!(state.open.insert(request.id, request.clone()).is_none());
            }
            Ok(())
        })
    }

    fn settle<'a>(&'a self, _: &'a str, settlements: &'a [Settlement]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            let mut state = self.state.lock().unwrap();
            for settlement in settlements {
                // As in Postgres: a settlement of an unknown request has no effect.
                let Some(request) = state.open.remove(&settlement.id) else { continue };
                for scope in request.scopes() {
                    let balance = state.balances.entry(scope).or_default();
                    subtract(&mut balance.reserved, &request.estimate);
                    balance.spent.add(&settlement.charge);
                }
                state.settled.push(Settled { request, settlement: settlement.clone() });
            }
            Ok(())
        })
    }

    fn settle_abandoned<'a>(&'a self, _: &'a str, _: Millis) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async { Ok(0) })
    }

    fn log_requests<'a>(&'a self, _: &'a str, logs: &'a [RequestLog]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.state.lock().unwrap().logs.extend_from_slice(logs);
            Ok(())
        })
    }

    fn delete_expired_logs<'a>(&'a self, _: &'a str, _: Millis) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async { Ok(0) })
    }

    fn balances<'a>(
        &'a self,
        _: &'a str,
        scopes: &'a [Scope],
    ) -> BoxFuture<'a, Result<Vec<(Scope, Balance)>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            let state = self.state.lock().unwrap();
            Ok(scopes
                .iter()
                .map(|scope| (scope.clone(), state.balances.get(scope).copied().unwrap_or_default()))
                .collect())
        })
    }

    fn record_refusal<'a>(
        &'a self,
        _: &'a str,
        task_uid: &'a str,
        attempt: u32,
        refusal: &'a Refusal,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.state.lock().unwrap().refusals.insert((task_uid.to_owned(), attempt), refusal.clone());
            Ok(())
        })
    }

    fn refusal<'a>(
        &'a self,
        _: &'a str,
        task_uid: &'a str,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Option<Refusal>, StoreError>> {
        Box::pin(async move {
            self.most_reading.fetch_max(self.reading.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.reading.fetch_sub(1, Ordering::Relaxed);
            Ok(self.state.lock().unwrap().refusals.get(&(task_uid.to_owned(), attempt)).cloned())
        })
    }
}
