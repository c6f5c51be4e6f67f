//! Model requests for tests.

// Each test program compiles this module and uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Charge, Limit, Scope, Tokens};
use enact_store::{Dimension, ModelRequest, Outcome, Settlement, Store, UsageFilter, UsageQuery};
use uuid::Uuid;

/// 2026-11-30T00:00:00Z.
pub const NOW: Millis = Millis(1_795_996_800_000);

/// Returns a charge with input and output tokens.
pub fn charge(input: u64, output: u64, cost_micro_usd: impl Into<Option<u64>>) -> Charge {
    Charge { tokens: Tokens { input, output, ..Tokens::default() }, cost_micro_usd: cost_micro_usd.into() }
}

/// Returns a request of the first attempt at a task of the plan `shop`, with an estimate of 10 tokens and 100 micro-USD.
pub fn request(id: u128, task: &str) -> ModelRequest {
    ModelRequest {
        id: Uuid::from_u128(id),
        at: NOW,
        namespace: "team".into(),
        plan: "shop".into(),
        plan_uid: "uid-p".into(),
        task: format!("shop-{task}"),
        task_uid: format!("uid-{task}"),
        attempt: 1,
        agent: "team/coder".into(),
        provider: "anthropic".into(),
        model: "claude-sonnet-4-5".into(),
        estimate: charge(4, 6, 100),
    }
}

pub fn settlement(id: u128, charge: Charge) -> Settlement {
    Settlement {
        id: Uuid::from_u128(id),
        charge,
        outcome: Outcome::Completed,
        http_status: 200,
        first_byte_ms: 5,
        duration_ms: 50,
    }
}

pub fn plan() -> Scope {
    Scope::Plan { uid: "uid-p".into() }
}

pub fn task(name: &str) -> Scope {
    Scope::Task { uid: format!("uid-{name}") }
}

pub fn attempt(name: &str) -> Scope {
    Scope::Attempt { uid: format!("uid-{name}"), number: 1 }
}

pub fn agent(month: &str) -> Scope {
    Scope::Agent { namespace: "team".into(), name: "coder".into(), month: month.into() }
}

pub fn tenant(month: &str) -> Scope {
    Scope::Tenant { month: month.into() }
}

pub fn tokens(limit: u64) -> Limit {
    Limit { tokens: Some(limit), cost_micro_usd: None }
}

pub fn money(limit: u64) -> Limit {
    Limit { tokens: None, cost_micro_usd: Some(limit) }
}

/// Returns the balance of a scope of the tenant `a`.
pub async fn balance(store: &Store, scope: Scope) -> Balance {
    store.balances("a", &[scope]).await.unwrap()[0].1
}

/// Returns a query for the namespace `team` over all time.
pub fn query(group_by: &[Dimension]) -> UsageQuery {
    UsageQuery {
        from: Millis(0),
        to: Millis(NOW.0 * 2),
        group_by: group_by.to_vec(),
        filter: UsageFilter { namespace: Some("team".into()), ..UsageFilter::default() },
    }
}
