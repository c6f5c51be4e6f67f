//! What the operator reads for plans: finished tasks for estimates, and the discarded part of a plan's usage.

use enact_domain::reason::Reason;
use enact_domain::record::Kind;

use super::model::unsigned;
use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// Most plans whose tasks are read: the ones with the newest transitions.
const MAX_PLANS: i64 = 50;
/// Most attempts that are read of one plan.
const MAX_ATTEMPTS: i64 = 200;

/// A task that has succeeded, with all its attempts; of a task with competing attempts, the mean of its contestants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedTask {
    /// `<namespace>/<name>` of the Agent of its last attempt.
    pub agent: String,
    pub tokens: u64,
    /// None if the price of a part is unknown.
    pub cost_micro_usd: Option<u64>,
    /// Sum of the durations of its attempts.
    pub seconds: u64,
}

/// Tokens and cost of attempts whose work is not a part of the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    pub tokens: u64,
    /// The known part of the cost.
    pub cost_micro_usd: u64,
}

impl Store {
    /// Returns the tasks of the tenant's newest plans that have succeeded, in no particular order: at most 200 attempts of each of 50 plans.
    pub async fn finished_tasks(&self, tenant: &str) -> Result<Vec<FinishedTask>, StoreError> {
        let rows = self
            .transaction("read finished tasks", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"with plan as (
                        select plan_uid from enact.plans where tenant_id = $1 order by state_at desc, plan_uid limit $2
                    ), task as (
                        select a.subject_uid, min(a.namespace::text) as namespace, (array_agg(a.agent order by a.number desc))[1] as agent,
                               -- Contestants work at the same time, and each as long as a task without a contest.
                               sum(greatest(extract(epoch from a.finished_at - coalesce(a.pod_created_at, a.started_at)), 0))
                                   / max(a.contestants) as seconds,
                               max(a.contestants) as contestants
                        from plan p cross join lateral (
                            select subject_uid, number, namespace, agent, started_at, pod_created_at, finished_at, failure, contestants
                            from enact.attempts
                            where tenant_id = $1 and plan_uid = p.plan_uid and kind = $4 and finished_at is not null
                            -- A limit must not separate the attempts at one task.
                            order by subject_uid limit $3
                        ) a
                        group by a.subject_uid having bool_or(a.failure is null)
                    )
                    select t.namespace as "namespace!", coalesce(t.agent, '') as "agent!", coalesce(t.seconds, 0)::bigint as "seconds!",
                           coalesce((b.spent_input + b.spent_cached_input + b.spent_cache_write + b.spent_output) / t.contestants, 0)
                               as "tokens!",
                           coalesce(b.spent_cost_micro_usd / t.contestants, 0) as "cost!", coalesce(b.unpriced_tokens, 0) as "unpriced!"
                    from task t left join enact.budgets b on b.tenant_id = $1 and b.scope = 'task/' || t.subject_uid"#,
                    tenant,
                    MAX_PLANS,
                    MAX_ATTEMPTS,
                    Kind::Task.as_str(),
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        let tasks = rows.into_iter().map(|row| FinishedTask {
            agent: format!("{}/{}", row.namespace, row.agent),
            tokens: unsigned(row.tokens),
            cost_micro_usd: (row.unpriced == 0).then_some(unsigned(row.cost)),
            seconds: unsigned(row.seconds),
        });
        Ok(tasks.collect())
    }

    /// Returns what the attempts of a plan used whose work is discarded. The schema has the rule, in `enact.discarded_attempts`.
    pub async fn discarded(&self, tenant: &str, plan_uid: &str) -> Result<Discarded, StoreError> {
        let continued = continued_reasons();
        let row = self
            .transaction("read the discarded usage of a plan", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select coalesce(sum(spent_input + spent_cached_input + spent_cache_write + spent_output), 0)::bigint as "tokens!",
                           coalesce(sum(spent_cost_micro_usd), 0)::bigint as "cost!"
                    from enact.budgets
                    where tenant_id = $1 and scope in (
                        select 'attempt/' || subject_uid || '/' || number from enact.discarded_attempts($3::text[])
                        where tenant_id = $1 and plan_uid = $2 and discarded
                    )"#,
                    tenant,
                    plan_uid,
                    &continued as &[&str],
                )
                .fetch_one(session.statement())
                .await
            })
            .await?;
        Ok(Discarded { tokens: unsigned(row.tokens), cost_micro_usd: unsigned(row.cost) })
    }
}

/// Returns the reasons of ends after which the next attempt continues the work: they count as no failure.
pub(crate) fn continued_reasons() -> [&'static str; 2] {
    [Reason::BudgetExceeded.as_str(), Reason::ProviderQuota.as_str()]
}
