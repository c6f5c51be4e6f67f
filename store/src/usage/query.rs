//! The usage of a tenant, by any dimension.

use std::collections::BTreeSet;

use enact_domain::time::Millis;
use enact_domain::usage::{Charge, Tokens};

use super::model::{Outcome, unsigned};
use super::plans::continued_reasons;
use super::requirements::{Requirements, split};
use super::rows::{Dimension, Group, UsageRow, combine};
use super::specifications;
use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// The times that Postgres and the calendar have in common: the years 1 to 9999, in milliseconds since 1970.
const TIMES: (i64, i64) = (-62_135_596_800_000, 253_402_300_799_999);
/// Most rows of one answer.
const MAX_ROWS: i64 = 10_000;

/// The requests that a query selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageFilter {
    pub namespace: Option<String>,
    /// Name of a Plan.
    pub plan: Option<String>,
    /// `<namespace>/<name>` of an Agent.
    pub agent: Option<String>,
}

/// A question about usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// The first time that is included.
    pub from: Millis,
    /// The first time that is not included any more.
    pub to: Millis,
    pub group_by: Vec<Dimension>,
    pub filter: UsageFilter,
}

impl UsageQuery {
    /// Returns the dimensions of the answer: those that are asked for, with those that they need.
    pub fn dimensions(&self) -> BTreeSet<Dimension> {
        let with_parents = |dimension: &Dimension| dimension.within().iter().copied().chain([*dimension]);
        self.group_by.iter().flat_map(with_parents).collect()
    }
}

/// A group with the columns of the query.
struct Row {
    namespace: Option<String>,
    plan: Option<String>,
    plan_uid: Option<String>,
    task: Option<String>,
    attempt: Option<i32>,
    agent: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    day: Option<String>,
    last_at: Option<i64>,
    requests: i64,
    running: i64,
    estimated: i64,
    self_reported: i64,
    input: i64,
    cached_input: i64,
    cache_write: i64,
    cache_write_hour: i64,
    output: i64,
    reasoning: i64,
    cost: Option<i64>,
    unpriced: i64,
    discarded_input: i64,
    discarded_cached_input: i64,
    discarded_cache_write: i64,
    discarded_cache_write_hour: i64,
    discarded_output: i64,
    discarded_reasoning: i64,
    discarded_cost: Option<i64>,
}

impl Store {
    /// Returns the usage of a tenant, with the highest cost first.
    ///
    /// # Errors
    /// If the query selects more groups than an answer can have, or Postgres does not answer.
    pub async fn usage(&self, tenant: &str, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        let dimensions = query.dimensions();
        let by_requirement = dimensions.contains(&Dimension::Requirement);
        let by_specification = dimensions.contains(&Dimension::Specification);
        let (groups, mut rows) = self
            .transaction("read usage", tenant, async |session: &mut Session| {
                let mut groups = groups(session, tenant, query, &dimensions).await?;
                let count = groups.len();
                if by_specification {
                    specifications::add(session, tenant, &mut groups).await?;
                }
                if by_requirement {
                    let requirements = Requirements::read(session, tenant, &groups).await?;
                    return Ok((count, combine(split(&groups, &requirements))));
                }
                let rows = groups.into_iter().map(|group| group.row).collect();
                // Plans can have the same specification.
                Ok((count, if by_specification { combine(rows) } else { rows }))
            })
            .await?;
        // The database returns no more groups than one too many, so that their sums would be too low.
        if i64::try_from(groups.max(rows.len())).unwrap_or(i64::MAX) > MAX_ROWS {
            return Err(StoreError::Invalid {
                what: "usage",
                problem: format!(
                    "has more than {MAX_ROWS} rows; ask for a shorter time, one plan, or fewer dimensions"
                ),
            });
        }
        let weight = |row: &UsageRow| (row.charge.cost_micro_usd, row.charge.tokens.total());
        rows.sort_by_key(|row| std::cmp::Reverse(weight(row)));
        Ok(rows)
    }
}

/// Returns the groups that the query selects, one more than an answer can have at most.
async fn groups(
    session: &mut Session,
    tenant: &str,
    query: &UsageQuery,
    dimensions: &BTreeSet<Dimension>,
) -> Result<Vec<Group>, sqlx::Error> {
    let names: Vec<String> = dimensions.iter().map(|dimension| dimension.as_str().to_owned()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"with attempt as (
            select subject_uid, number, discarded from enact.discarded_attempts($10::text[])
            where tenant_id = $1 and ($5::text is null or namespace = $5)
        ), request as (
            select case when 'namespace' = any($2::text[]) then r.namespace end as namespace,
                   case when 'plan' = any($2) then r.plan end as plan,
                   case when 'requirement' = any($2) or 'specification' = any($2) then r.plan_uid end as plan_uid,
                   case when 'task' = any($2) or 'requirement' = any($2) then r.task end as task,
                   case when 'attempt' = any($2) then r.attempt end as attempt,
                   case when 'agent' = any($2) then r.agent end as agent,
                   case when 'provider' = any($2) then r.provider end as provider,
                   case when 'model' = any($2) then r.model end as model,
                   case when 'day' = any($2) then to_char(r.requested_at at time zone 'UTC', 'YYYY-MM-DD') end as day,
                   r.requested_at + coalesce(r.duration_ms, 0) * interval '1 millisecond' as at,
                   r.outcome is not null as ended, r.outcome = $8 as estimated, r.self_reported, a.discarded,
                   r.input_tokens, r.cached_input_tokens, r.cache_write_tokens, r.cache_write_hour_tokens, r.output_tokens,
                   r.reasoning_tokens, r.cost_micro_usd
            from enact.model_requests r left join attempt a on a.subject_uid = r.task_uid and a.number = r.attempt
            where r.tenant_id = $1 and r.requested_at >= to_timestamp($3::bigint / 1000.0)
                and r.requested_at < to_timestamp($4::bigint / 1000.0) and ($5::text is null or r.namespace = $5)
                and ($6::text is null or r.plan = $6) and ($7::text is null or r.agent = $7)
        )
        select namespace, plan, plan_uid, task, attempt, agent, provider, model, day,
               (extract(epoch from max(at)) * 1000)::bigint as last_at,
               count(*) filter (where ended) as "requests!", count(*) filter (where not ended) as "running!",
               count(*) filter (where estimated) as "estimated!", count(*) filter (where ended and self_reported) as "self_reported!",
               coalesce(sum(input_tokens) filter (where ended), 0)::bigint as "input!",
               coalesce(sum(cached_input_tokens) filter (where ended), 0)::bigint as "cached_input!",
               coalesce(sum(cache_write_tokens) filter (where ended), 0)::bigint as "cache_write!",
               coalesce(sum(cache_write_hour_tokens) filter (where ended), 0)::bigint as "cache_write_hour!",
               coalesce(sum(output_tokens) filter (where ended), 0)::bigint as "output!",
               coalesce(sum(reasoning_tokens) filter (where ended), 0)::bigint as "reasoning!",
               sum(cost_micro_usd) filter (where ended)::bigint as cost,
               coalesce(sum(input_tokens + cached_input_tokens + cache_write_tokens + output_tokens)
                   filter (where ended and cost_micro_usd is null), 0)::bigint as "unpriced!",
               coalesce(sum(input_tokens) filter (where ended and discarded), 0)::bigint as "discarded_input!",
               coalesce(sum(cached_input_tokens) filter (where ended and discarded), 0)::bigint as "discarded_cached_input!",
               coalesce(sum(cache_write_tokens) filter (where ended and discarded), 0)::bigint as "discarded_cache_write!",
               coalesce(sum(cache_write_hour_tokens) filter (where ended and discarded), 0)::bigint
                   as "discarded_cache_write_hour!",
               coalesce(sum(output_tokens) filter (where ended and discarded), 0)::bigint as "discarded_output!",
               coalesce(sum(reasoning_tokens) filter (where ended and discarded), 0)::bigint as "discarded_reasoning!",
               sum(cost_micro_usd) filter (where ended and discarded)::bigint as discarded_cost
        from request
        group by namespace, plan, plan_uid, task, attempt, agent, provider, model, day
        order by namespace, plan, plan_uid, task, attempt, agent, provider, model, day
        limit $9"#,
        tenant,
        &names,
        query.from.0.clamp(TIMES.0, TIMES.1),
        query.to.0.clamp(TIMES.0, TIMES.1),
        query.filter.namespace.as_deref(),
        query.filter.plan.as_deref(),
        query.filter.agent.as_deref(),
        Outcome::Estimated.as_str(),
        MAX_ROWS + 1,
        &continued_reasons() as &[&str],
    )
    .fetch_all(session.statement())
    .await?;
    let by_task = dimensions.contains(&Dimension::Task);
    Ok(rows.into_iter().map(|row| row.group(by_task)).collect())
}

impl Row {
    fn group(self, by_task: bool) -> Group {
        let row = UsageRow {
            namespace: self.namespace,
            specification: None,
            plan: self.plan,
            task: self.task.clone().filter(|_| by_task),
            attempt: self.attempt.map(i32::unsigned_abs),
            requirement: None,
            agent: self.agent,
            provider: self.provider,
            model: self.model,
            day: self.day,
            last_at: self.last_at.map(Millis),
            requests: unsigned(self.requests),
            running: unsigned(self.running),
            estimated: unsigned(self.estimated),
            self_reported: unsigned(self.self_reported),
            charge: Charge {
                tokens: Tokens {
                    input: unsigned(self.input),
                    cached_input: unsigned(self.cached_input),
                    cache_write: unsigned(self.cache_write),
                    cache_write_hour: unsigned(self.cache_write_hour),
                    output: unsigned(self.output),
                    reasoning: unsigned(self.reasoning),
                },
                cost_micro_usd: self.cost.map(unsigned),
            },
            unpriced_tokens: unsigned(self.unpriced),
            discarded: Charge {
                tokens: Tokens {
                    input: unsigned(self.discarded_input),
                    cached_input: unsigned(self.discarded_cached_input),
                    cache_write: unsigned(self.discarded_cache_write),
                    cache_write_hour: unsigned(self.discarded_cache_write_hour),
                    output: unsigned(self.discarded_output),
                    reasoning: unsigned(self.discarded_reasoning),
                },
                cost_micro_usd: self.discarded_cost.map(unsigned),
            },
        };
        Group { plan_uid: self.plan_uid, task: self.task, row }
    }
}
