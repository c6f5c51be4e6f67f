//! What became of the plans that decisions were made for.

use std::collections::BTreeMap;

use enact_domain::attempt::FailureClass;
use enact_domain::decisions::PlanOutcome;
use enact_domain::record::Kind;

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;
use crate::usage::{continued_reasons, unsigned};

impl Store {
    /// Returns what became of plans so far, by their UIDs. One that has not started has done nothing.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub async fn plan_outcomes(
        &self,
        tenant: &str,
        plan_uids: &[String],
    ) -> Result<BTreeMap<String, PlanOutcome>, StoreError> {
        if plan_uids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let continued = continued_reasons();
        let rows = self
            .transaction("read what became of plans", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select given.plan_uid as "plan_uid!", p.state as "state?", t.succeeded as "succeeded!", t.failed as "failed!",
                           a.attempts as "attempts!", a.failures as "failures!", a.repeated as "repeated!",
                           d.attempts as "discarded_attempts!", d.cost as "discarded_cost!",
                           coalesce(b.spent_input + b.spent_cached_input + b.spent_cache_write + b.spent_output, 0) as "tokens!",
                           coalesce(b.spent_cost_micro_usd, 0) as "cost!", coalesce(b.unpriced_tokens, 0) as "unpriced!"
                    from unnest($2::text[]) as given (plan_uid)
                    left join enact.plans p on p.tenant_id = $1 and p.plan_uid = given.plan_uid
                    left join enact.budgets b on b.tenant_id = $1 and b.scope = 'plan/' || given.plan_uid
                    cross join lateral (
                        select count(*) filter (where state = 'Succeeded') as succeeded, count(*) filter (where state = 'Failed') as failed
                        from enact.tasks where tenant_id = $1 and plan_uid = given.plan_uid
                    ) t
                    cross join lateral (
                        select count(*) as attempts, count(*) filter (where failure = $4) as failures,
                               count(distinct subject_uid) filter (where passed and replaced) as repeated
                        from (
                            select subject_uid, failure, finished_at is not null and failure is null and lost_to is null as passed,
                                   -- Attempts of one contestant, as in enact.discarded_attempts.
                                   lead(number) over (partition by subject_uid, number % contestants order by number) is not null as replaced
                            from enact.attempts where tenant_id = $1 and plan_uid = given.plan_uid and kind = $5
                        ) of_task
                    ) a
                    cross join lateral (
                        select count(*) as attempts, coalesce(sum(used.spent_cost_micro_usd), 0)::bigint as cost
                        from enact.discarded_attempts($3::text[]) gone
                        left join enact.budgets used
                            on used.tenant_id = $1 and used.scope = 'attempt/' || gone.subject_uid || '/' || gone.number
                        where gone.tenant_id = $1 and gone.plan_uid = given.plan_uid and gone.discarded
                    ) d"#,
                    tenant,
                    plan_uids,
                    &continued as &[&str],
                    FailureClass::Task.as_str(),
                    Kind::Task.as_str(),
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        let outcome = rows.into_iter().map(|row| {
            let outcome = PlanOutcome {
                state: row.state,
                succeeded_tasks: unsigned(row.succeeded),
                failed_tasks: unsigned(row.failed),
                repeated_tasks: unsigned(row.repeated),
                attempts: unsigned(row.attempts),
                failed_attempts: unsigned(row.failures),
                discarded_attempts: unsigned(row.discarded_attempts),
                tokens: unsigned(row.tokens),
                cost_micro_usd: unsigned(row.cost),
                unpriced_tokens: unsigned(row.unpriced),
                discarded_cost_micro_usd: unsigned(row.discarded_cost),
            };
            (row.plan_uid, outcome)
        });
        Ok(outcome.collect())
    }
}
