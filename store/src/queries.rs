//! What is read from the record.

use enact_domain::assignment::Usage;
use enact_domain::record::RecordedAttempt;
use serde::Serialize;

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// How much the record holds of a plan or a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Revisions of documents.
    pub revisions: u64,
    /// People's decisions, on the content that is recorded.
    pub approvals: u64,
    /// States that subjects came into.
    pub transitions: u64,
    /// Attempts, whether they have ended or not.
    pub attempts: u64,
    /// Attempts that ended in failure.
    pub failed_attempts: u64,
    /// Results that pods delivered.
    pub results: u64,
    /// Entries of the audit record.
    pub audit_entries: u64,
    /// What all attempts used.
    pub usage: Usage,
}

impl Store {
    /// What is known of a plan's attempts and its integration's: for a restart, so that nothing is done twice.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn recorded_attempts(&self, tenant: &str, plan_uid: &str) -> Result<Vec<RecordedAttempt>, StoreError> {
        const DOING: &str = "read a plan's attempts";
        let rows = self
            .read(DOING, tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select a.subject_uid as "subject_uid!", a.number, a.finished_at is not null as "finished!", a.failure,
                              coalesce(a.report, r.report) as "report?"
                    from enact.attempts a
                    left join enact.results r
                        on r.tenant_id = a.tenant_id and r.subject_uid = a.subject_uid and r.number = a.number and not r.stale
                    where a.tenant_id = $1 and a.plan_uid = $2
                    order by a.subject_uid, a.number"#,
                    tenant,
                    plan_uid,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        rows.into_iter()
            .map(|row| {
                Ok(RecordedAttempt {
                    subject_uid: row.subject_uid,
                    number: row.number.unsigned_abs(),
                    finished: row.finished.then_some(row.failure),
                    report: row
                        .report
                        .map(serde_json::from_value)
                        .transpose()
                        .map_err(StoreError::unreadable("a result's report"))?,
                })
            })
            .collect()
    }

    /// How much there is of one plan: its own revisions and approvals, and its tasks' transitions and attempts.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn plan_summary(&self, tenant: &str, plan_uid: &str) -> Result<Summary, StoreError> {
        self.summary(tenant, Some(plan_uid)).await
    }

    /// How much there is of a tenant.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn tenant_summary(&self, tenant: &str) -> Result<Summary, StoreError> {
        self.summary(tenant, None).await
    }

    async fn summary(&self, tenant: &str, plan_uid: Option<&str>) -> Result<Summary, StoreError> {
        const DOING: &str = "sum up the record";
        let row = self
            .read(DOING, tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"with attempt as (
                        select * from enact.attempts where tenant_id = $1 and ($2::text is null or plan_uid = $2)
                    ), entry as (
                        select * from enact.audit where tenant_id = $1 and ($2::text is null or plan_uid = $2)
                    ), used as (
                        select coalesce(sum(input_tokens), 0) as input, coalesce(sum(output_tokens), 0) as output,
                               coalesce(sum(cost_micro_usd), 0) as cost
                        from enact.usage where tenant_id = $1 and ($2::text is null or plan_uid = $2)
                    )
                    select
                        (select count(*) from enact.history
                            where tenant_id = $1 and ($2::text is null or subject_uid = $2)) as "revisions!",
                        (select count(*) from enact.approvals a
                            where tenant_id = $1 and ($2::text is null or exists (
                                select from enact.revisions r
                                where r.tenant_id = a.tenant_id and r.subject_uid = $2 and r.kind = a.about_kind
                                    and r.namespace = a.namespace and r.name = a.about_name and r.digest = a.digest)))
                            as "approvals!",
                        (select count(*) from entry where event = 'Transition') as "transitions!",
                        (select count(*) from attempt) as "attempts!",
                        (select count(*) from attempt where failure is not null) as "failed_attempts!",
                        (select count(*) from enact.results
                            where tenant_id = $1 and ($2::text is null or plan_uid = $2)) as "results!",
                        (select count(*) from entry) as "audit_entries!",
                        least(input, 9223372036854775807)::bigint as "input_tokens!",
                        least(output, 9223372036854775807)::bigint as "output_tokens!",
                        least(cost, 9223372036854775807)::bigint as "cost_micro_usd!"
                    from used"#,
                    tenant,
                    plan_uid,
                )
                .fetch_one(session.statement())
                .await
            })
            .await?;
        Ok(Summary {
            revisions: row.revisions.unsigned_abs(),
            approvals: row.approvals.unsigned_abs(),
            transitions: row.transitions.unsigned_abs(),
            attempts: row.attempts.unsigned_abs(),
            failed_attempts: row.failed_attempts.unsigned_abs(),
            results: row.results.unsigned_abs(),
            audit_entries: row.audit_entries.unsigned_abs(),
            usage: Usage {
                input_tokens: row.input_tokens.unsigned_abs(),
                output_tokens: row.output_tokens.unsigned_abs(),
                cost_micro_usd: row.cost_micro_usd.unsigned_abs(),
            },
        })
    }
}
