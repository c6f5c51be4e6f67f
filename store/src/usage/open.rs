//! Opening of requests.

use std::collections::{BTreeMap, HashMap, HashSet};

use enact_domain::usage::{Balance, Charge, Demand, Scope, admit};
use uuid::Uuid;

use super::budgets::{balance_row, keys, previous_months};
use super::model::{ModelRequest, NewRequest, Opened, Outcome};
use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

const OPENING: &str = "reserve the budget of model requests";

impl Store {
    /// Opens requests of one tenant in one transaction: reserves the estimate of each in all its budgets, if they allow it. Returns the
    /// outcomes in the order of the requests. Concurrent calls, also of other processes, never exceed a limit together.
    ///
    /// # Errors
    /// If Postgres does not answer. Nothing is sent to the model then. The same call can be repeated; a request that was opened in spite of
    /// the error is then a [`Opened::Duplicate`].
    pub async fn open_requests(&self, tenant: &str, requests: &[ModelRequest]) -> Result<Vec<Opened>, StoreError> {
        self.reserve(tenant, requests, false).await
    }

    /// Opens requests that the model has received already: as [`Store::open_requests`], but no budget can refuse them.
    ///
    /// # Errors
    /// If Postgres does not answer. The same call can be repeated.
    pub async fn open_sent_requests(&self, tenant: &str, requests: &[ModelRequest]) -> Result<(), StoreError> {
        self.reserve(tenant, requests, true).await.map(drop)
    }

    async fn reserve(
        &self,
        tenant: &str,
        requests: &[ModelRequest],
        are_sent: bool,
    ) -> Result<Vec<Opened>, StoreError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let requests: Vec<ModelRequest> = requests.iter().map(ModelRequest::sanitised).collect();
        let scopes: BTreeMap<String, Scope> =
            requests.iter().flat_map(ModelRequest::scopes).map(|scope| (scope.key(), scope)).collect();
        self.transaction(OPENING, tenant, async |session: &mut Session| {
            let (mut balances, known) = lock(session, tenant, &scopes, &requests).await?;
            let (outcomes, accepted) = decide(&requests, &mut balances, known, are_sent);
            let inserted = insert(session, tenant, &accepted).await?;
            // Another call can have opened a request between the two statements; its insert waited for our locks.
            let duplicate = |id: &Uuid| accepted.iter().any(|request| request.id == *id) && !inserted.contains(id);
            Ok(outcomes
                .into_iter()
                .zip(&requests)
                .map(|(outcome, request)| if duplicate(&request.id) { Opened::Duplicate } else { outcome })
                .collect())
        })
        .await
    }

    /// Records the usage that an agent reports itself for an attempt, because its requests do not pass the gateway. The record is marked as
    /// self-reported, and no limit applies to it. A repetition with the same ID has no effect.
    pub async fn report_usage(&self, tenant: &str, request: &ModelRequest, charge: &Charge) -> Result<(), StoreError> {
        let request = request.sanitised();
        let scopes: BTreeMap<String, Scope> = request.scopes().into_iter().map(|scope| (scope.key(), scope)).collect();
        self.transaction("record reported usage", tenant, async |session: &mut Session| {
            lock(session, tenant, &scopes, std::slice::from_ref(&request)).await?;
            let row = serde_json::json!([NewRequest::new(&request, charge)]);
            sqlx::query!(
                "with input as (
                    select * from jsonb_to_recordset($2) as t
                        (id uuid, at bigint, namespace text, plan text, plan_uid text, task text, task_uid text, attempt bigint, agent text,
                         provider text, model text, input bigint, cached_input bigint, cache_write bigint, cache_write_hour bigint, output bigint,
                         reasoning bigint, cost bigint, scopes text[])
                ), reported as (
                    insert into enact.model_requests
                        (tenant_id, request_id, requested_at, namespace, plan, plan_uid, task, task_uid, attempt, agent, provider, model,
                         input_tokens, cached_input_tokens, cache_write_tokens, cache_write_hour_tokens, output_tokens, reasoning_tokens, cost_micro_usd,
                         outcome, self_reported)
                    select $1, id, to_timestamp(at / 1000.0), namespace, plan, plan_uid, task, task_uid, attempt, agent, provider, model,
                           input, cached_input, cache_write, cache_write_hour, output, reasoning, cost, $3, true
                    from input
                    on conflict (tenant_id, request_id) do nothing
                    returning request_id
                )
                update enact.budgets b
                set spent_input = b.spent_input + i.input, spent_cached_input = b.spent_cached_input + i.cached_input,
                    spent_cache_write = b.spent_cache_write + i.cache_write, spent_output = b.spent_output + i.output,
                    spent_reasoning = b.spent_reasoning + i.reasoning,
                    spent_cost_micro_usd = b.spent_cost_micro_usd + coalesce(i.cost, 0),
                    unpriced_tokens = b.unpriced_tokens
                        + case when i.cost is null then i.input + i.cached_input + i.cache_write + i.output else 0 end,
                    updated_at = clock_timestamp()
                from reported r join input i on i.id = r.request_id
                where b.tenant_id = $1 and b.scope = any(i.scopes)",
                tenant,
                row,
                Outcome::Completed.as_str(),
            )
            .execute(session.statement())
            .await
        })
        .await?;
        Ok(())
    }
}

/// Locks the budgets, in the order of their keys, and creates those that do not exist. Returns them, and which requests exist already.
///
/// The first request of a month creates the monthly budgets with the limits of the month before, so that no request is without a limit
/// until the operator has written the new ones.
async fn lock(
    session: &mut Session,
    tenant: &str,
    scopes: &BTreeMap<String, Scope>,
    requests: &[ModelRequest],
) -> Result<(HashMap<Scope, Balance>, HashSet<Uuid>), sqlx::Error> {
    let ids: Vec<String> = requests.iter().map(|request| request.id.to_string()).collect();
    let rows = sqlx::query!(
        r#"with wanted as (
            select * from unnest($2::text[], $3::text[]) as t (scope, previous)
        ), counter as (
            insert into enact.budgets as b (tenant_id, scope, limit_tokens, limit_cost_micro_usd)
            select $1, w.scope, p.limit_tokens, p.limit_cost_micro_usd
            from wanted w left join lateral (
                select limit_tokens, limit_cost_micro_usd from enact.budgets
                where tenant_id = $1 and scope > w.previous and scope < w.scope order by scope desc limit 1
            ) p on true
            order by w.scope collate "C"
            -- An update locks the row and returns its newest version.
            on conflict (tenant_id, scope) do update set updated_at = clock_timestamp()
            returning b.*
        )
        select c.scope as "scope!", c.limit_tokens, c.limit_cost_micro_usd, c.spent_input as "spent_input!",
               c.spent_cached_input as "spent_cached_input!", c.spent_cache_write as "spent_cache_write!",
               c.spent_output as "spent_output!", c.spent_reasoning as "spent_reasoning!",
               c.spent_cost_micro_usd as "spent_cost_micro_usd!", c.unpriced_tokens as "unpriced_tokens!",
               c.reserved_input as "reserved_input!", c.reserved_cached_input as "reserved_cached_input!",
               c.reserved_cache_write as "reserved_cache_write!", c.reserved_output as "reserved_output!",
               c.reserved_cost_micro_usd as "reserved_cost_micro_usd!",
               array(select request_id::text from enact.model_requests
                     where tenant_id = $1 and request_id = any($4::text[]::uuid[])) as "known!"
        from counter c"#,
        tenant,
        &keys(scopes),
        &previous_months(scopes) as &[Option<String>],
        &ids,
    )
    .fetch_all(session.statement())
    .await?;
    let known = rows.first().map(|row| row.known.iter().filter_map(|id| id.parse().ok()).collect()).unwrap_or_default();
    let balances = rows.into_iter().filter_map(|row| {
        let scope = scopes.get(&row.scope)?.clone();
        Some((scope, balance_row!(row).balance()))
    });
    Ok((balances.collect(), known))
}

/// Decides about each request. Returns the outcomes and the requests to insert.
fn decide<'r>(
    requests: &'r [ModelRequest],
    balances: &mut HashMap<Scope, Balance>,
    mut known: HashSet<Uuid>,
    are_sent: bool,
) -> (Vec<Opened>, Vec<&'r ModelRequest>) {
    // A request that is twice in the batch is new only once.
    let new: Vec<bool> = requests.iter().map(|request| known.insert(request.id)).collect();
    let demands: Vec<Demand> = requests
        .iter()
        .zip(&new)
        .filter(|(_, new)| **new)
        .map(|(request, _)| Demand { scopes: request.scopes(), estimate: request.estimate })
        .collect();
    // The model charges for what it has received, whatever the budgets allow.
    let refused = if are_sent { Vec::new() } else { admit(balances, &demands) };
    let mut refusals = refused.into_iter();
    let mut accepted = Vec::new();
    let outcomes = requests
        .iter()
        .zip(new)
        .map(|(request, new)| {
            if !new {
                return Opened::Duplicate;
            }
            if let Some((scope, balance)) = refusals.next().flatten() {
                return Opened::Refused { scope, balance };
            }
            accepted.push(request);
            Opened::Accepted
        })
        .collect();
    (outcomes, accepted)
}

/// Inserts the requests and adds their estimates to the reservations of their budgets, which are locked. Returns the requests that did not
/// exist.
async fn insert(session: &mut Session, tenant: &str, requests: &[&ModelRequest]) -> Result<HashSet<Uuid>, sqlx::Error> {
    if requests.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<NewRequest<'_>> =
        requests.iter().map(|request| NewRequest::new(request, &request.estimate)).collect();
    let inserted = sqlx::query_scalar!(
        r#"with input as (
            select * from jsonb_to_recordset($2) as t
                (id uuid, at bigint, namespace text, plan text, plan_uid text, task text, task_uid text, attempt bigint, agent text,
                 provider text, model text, input bigint, cached_input bigint, cache_write bigint, cache_write_hour bigint, output bigint, reasoning bigint,
                 cost bigint, scopes text[])
        ), opened as (
            insert into enact.model_requests
                (tenant_id, request_id, requested_at, namespace, plan, plan_uid, task, task_uid, attempt, agent, provider, model,
                 input_tokens, cached_input_tokens, cache_write_tokens, cache_write_hour_tokens, output_tokens, reasoning_tokens, cost_micro_usd, self_reported)
            select $1, id, to_timestamp(at / 1000.0), namespace, plan, plan_uid, task, task_uid, attempt, agent, provider, model,
                   input, cached_input, cache_write, cache_write_hour, output, reasoning, cost, false
            from input
            on conflict (tenant_id, request_id) do nothing
            returning request_id
        ), added as (
            select s.scope, sum(i.input)::bigint as input, sum(i.cached_input)::bigint as cached_input,
                   sum(i.cache_write)::bigint as cache_write, sum(i.output)::bigint as output, coalesce(sum(i.cost), 0)::bigint as cost
            from opened o join input i on i.id = o.request_id cross join lateral unnest(i.scopes) as s (scope)
            group by s.scope
        ), reserved as (
            update enact.budgets b
            set reserved_input = b.reserved_input + a.input, reserved_cached_input = b.reserved_cached_input + a.cached_input,
                reserved_cache_write = b.reserved_cache_write + a.cache_write, reserved_output = b.reserved_output + a.output,
                reserved_cost_micro_usd = b.reserved_cost_micro_usd + a.cost
            from added a where b.tenant_id = $1 and b.scope = a.scope
        )
        select request_id::text as "id!" from opened"#,
        tenant,
        serde_json::json!(rows),
    )
    .fetch_all(session.statement())
    .await?;
    Ok(inserted.iter().filter_map(|id| id.parse().ok()).collect())
}
