//! Settlement of requests that have ended.

use std::collections::{BTreeMap, HashMap};

use enact_domain::time::Millis;
use enact_domain::usage::Scope;
use serde::Serialize;
use uuid::Uuid;

use super::model::{Amounts, Outcome, Settlement};
use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// Most abandoned requests that one transaction settles.
const BATCH: i64 = 500;

/// A request that can be settled, with the amounts that are reserved or booked for it.
struct Open {
    id: String,
    at: i64,
    plan_uid: String,
    task_uid: String,
    attempt: i32,
    agent: String,
    /// Whether the estimate is booked already, because the request was taken for abandoned.
    estimated: bool,
    input: i64,
    cached_input: i64,
    cache_write: i64,
    cache_write_hour: i64,
    output: i64,
    reasoning: i64,
    cost: Option<i64>,
}

impl Open {
    fn amounts(&self) -> Amounts {
        let Self { input, cached_input, cache_write, cache_write_hour, output, reasoning, cost, .. } = *self;
        Amounts { input, cached_input, cache_write, cache_write_hour, output, reasoning, cost }
    }
}

/// How the settlement of requests changes a budget.
#[derive(Default, Serialize)]
struct Change {
    scope: String,
    spent: Amounts,
    reserved: Amounts,
    unpriced: i64,
}

/// The new values of a row of `enact.model_requests`.
#[derive(Serialize)]
struct Settled {
    id: String,
    #[serde(flatten)]
    amounts: Amounts,
    outcome: &'static str,
    http_status: Option<u16>,
    first_byte_ms: Option<u32>,
    duration_ms: Option<u32>,
}

impl Store {
    /// Books what requests used and releases their reservations. A request that is settled already, or unknown, is left as it is; except
    /// that a settlement replaces the estimate that [`Store::settle_abandoned`] has booked for a request that was only slow.
    pub async fn settle_requests(&self, tenant: &str, settlements: &[Settlement]) -> Result<(), StoreError> {
        if settlements.is_empty() {
            return Ok(());
        }
        // The first settlement of a request counts.
        let mut each: BTreeMap<Uuid, &Settlement> = BTreeMap::new();
        for settlement in settlements {
            each.entry(settlement.id).or_insert(settlement);
        }
        let ids: Vec<String> = each.keys().map(Uuid::to_string).collect();
        self.transaction("settle model requests", tenant, async |session: &mut Session| {
            let open = sqlx::query_as!(
                Open,
                r#"select request_id::text as "id!", (extract(epoch from requested_at) * 1000)::bigint as "at!", plan_uid, task_uid,
                          attempt, agent, outcome is not null as "estimated!", input_tokens as input,
                          cached_input_tokens as cached_input, cache_write_tokens as cache_write,
                          cache_write_hour_tokens as cache_write_hour, output_tokens as output,
                          reasoning_tokens as reasoning, cost_micro_usd as cost
                from enact.model_requests
                where tenant_id = $1 and request_id = any($2::text[]::uuid[]) and (outcome is null or outcome = $3)
                order by request_id for update"#,
                tenant,
                &ids,
                Outcome::Estimated.as_str(),
            )
            .fetch_all(session.statement())
            .await?;
            let settled: HashMap<String, &Settlement> =
                each.iter().map(|(id, settlement)| (id.to_string(), *settlement)).collect();
            book(session, tenant, &open, |open| {
                let settlement = settled.get(&open.id).copied()?;
                // An estimate does not replace an estimate.
                (!open.estimated || settlement.outcome != Outcome::Estimated).then(|| Settled {
                    id: open.id.clone(),
                    amounts: Amounts::from(&settlement.charge),
                    outcome: settlement.outcome.as_str(),
                    http_status: Some(settlement.http_status),
                    first_byte_ms: Some(settlement.first_byte_ms),
                    duration_ms: Some(settlement.duration_ms),
                })
            })
            .await
        })
        .await
    }

    /// Books the estimates of requests that were opened before `before` and never settled, since their gateway has died. Returns the number
    /// of these requests. `before` must be older than the longest time that a request can take.
    pub async fn settle_abandoned(&self, tenant: &str, before: Millis) -> Result<u64, StoreError> {
        let mut settled = 0;
        loop {
            let count = self
                .transaction("settle abandoned model requests", tenant, async |session: &mut Session| {
                    let open = sqlx::query_as!(
                        Open,
                        r#"select request_id::text as "id!", (extract(epoch from requested_at) * 1000)::bigint as "at!", plan_uid,
                                  task_uid, attempt, agent, false as "estimated!", input_tokens as input,
                                  cached_input_tokens as cached_input, cache_write_tokens as cache_write,
                                  cache_write_hour_tokens as cache_write_hour, output_tokens as output,
                                  reasoning_tokens as reasoning, cost_micro_usd as cost
                        from enact.model_requests
                        where tenant_id = $1 and outcome is null and requested_at < to_timestamp($2::bigint / 1000.0)
                        order by request_id limit $3 for update"#,
                        tenant,
                        before.0,
                        BATCH,
                    )
                    .fetch_all(session.statement())
                    .await?;
                    let estimate = |open: &Open| {
                        Some(Settled {
                            id: open.id.clone(),
                            amounts: open.amounts(),
                            outcome: Outcome::Estimated.as_str(),
                            http_status: None,
                            first_byte_ms: None,
                            duration_ms: None,
                        })
                    };
                    book(session, tenant, &open, estimate).await?;
                    Ok(open.len())
                })
                .await?;
            settled += count as u64;
            if i64::try_from(count).unwrap_or(BATCH) < BATCH {
                return Ok(settled);
            }
        }
    }
}

/// Writes the settlements of `open` requests, which are locked, and changes their budgets.
async fn book(
    session: &mut Session,
    tenant: &str,
    open: &[Open],
    settle: impl Fn(&Open) -> Option<Settled>,
) -> Result<(), sqlx::Error> {
    let mut rows = Vec::new();
    let mut changes: BTreeMap<String, Change> = BTreeMap::new();
    for open in open {
        let Some(settled) = settle(open) else { continue };
        let attempt = open.attempt.unsigned_abs();
        for scope in Scope::of_request(&open.task_uid, attempt, &open.plan_uid, &open.agent, Millis(open.at)) {
            change(&mut changes, &scope, open, &settled.amounts);
        }
        rows.push(settled);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let changes: Vec<Change> = changes.into_values().collect();
    sqlx::query!(
        "with settled as (
            select * from jsonb_to_recordset($2) as t
                (id uuid, input bigint, cached_input bigint, cache_write bigint, cache_write_hour bigint, output bigint,
                 reasoning bigint, cost bigint, outcome text, http_status integer, first_byte_ms bigint, duration_ms bigint)
        ), request as (
            update enact.model_requests r
            set input_tokens = s.input, cached_input_tokens = s.cached_input, cache_write_tokens = s.cache_write,
                cache_write_hour_tokens = s.cache_write_hour, output_tokens = s.output, reasoning_tokens = s.reasoning, cost_micro_usd = s.cost, outcome = s.outcome,
                http_status = s.http_status, first_byte_ms = s.first_byte_ms, duration_ms = s.duration_ms
            from settled s where r.tenant_id = $1 and r.request_id = s.id
        ), change as (
            select scope, (spent->>'input')::bigint as input, (spent->>'cached_input')::bigint as cached_input,
                   (spent->>'cache_write')::bigint as cache_write, (spent->>'output')::bigint as output,
                   (spent->>'reasoning')::bigint as reasoning, coalesce((spent->>'cost')::bigint, 0) as cost, unpriced,
                   (reserved->>'input')::bigint as reserved_input, (reserved->>'cached_input')::bigint as reserved_cached_input,
                   (reserved->>'cache_write')::bigint as reserved_cache_write, (reserved->>'output')::bigint as reserved_output,
                   coalesce((reserved->>'cost')::bigint, 0) as reserved_cost
            from jsonb_to_recordset($3) as t (scope text, spent jsonb, reserved jsonb, unpriced bigint)
        ), locked as (
            -- In the order of keys, since the update below takes the rows in any order.
            select scope from enact.budgets where tenant_id = $1 and scope in (select scope from change) order by scope for update
        )
        update enact.budgets b
        set spent_input = b.spent_input + c.input, spent_cached_input = b.spent_cached_input + c.cached_input,
            spent_cache_write = b.spent_cache_write + c.cache_write, spent_output = b.spent_output + c.output,
            spent_reasoning = b.spent_reasoning + c.reasoning, spent_cost_micro_usd = b.spent_cost_micro_usd + c.cost,
            unpriced_tokens = b.unpriced_tokens + c.unpriced, reserved_input = b.reserved_input + c.reserved_input,
            reserved_cached_input = b.reserved_cached_input + c.reserved_cached_input,
            reserved_cache_write = b.reserved_cache_write + c.reserved_cache_write,
            reserved_output = b.reserved_output + c.reserved_output,
            reserved_cost_micro_usd = b.reserved_cost_micro_usd + c.reserved_cost, updated_at = clock_timestamp()
        from change c join locked l on l.scope = c.scope
        where b.tenant_id = $1 and b.scope = c.scope",
        tenant,
        serde_json::json!(rows),
        serde_json::json!(changes),
    )
    .execute(session.statement())
    .await?;
    Ok(())
}

/// Adds the settlement of a request to the change of one of its budgets.
fn change(changes: &mut BTreeMap<String, Change>, scope: &Scope, open: &Open, used: &Amounts) {
    let key = scope.key();
    let change = changes.entry(key).or_insert_with_key(|key| Change { scope: key.clone(), ..Change::default() });
    let before = open.amounts();
    let unpriced = |amounts: &Amounts| if amounts.cost.is_none() { amounts.tokens() } else { 0 };
    if open.estimated {
        change.spent.add(&before, -1);
        change.unpriced -= unpriced(&before);
    } else {
        change.reserved.add(&before, -1);
    }
    change.spent.add(used, 1);
    change.unpriced += unpriced(used);
}
