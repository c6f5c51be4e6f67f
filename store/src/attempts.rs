//! Recorded attempts.

use enact_domain::record::RecordedAttempt;

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// The recorded start of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedPod {
    /// UID of the Task, or of the Plan for an integration.
    pub subject_uid: String,
    pub number: u32,
    /// Name of the pod that the first record of the start names.
    pub pod: String,
}

impl Store {
    /// Returns the recorded starts of all attempts at these tasks.
    pub async fn started_pods(&self, tenant: &str, subjects: &[String]) -> Result<Vec<StartedPod>, StoreError> {
        let rows = self
            .transaction("read the pods of attempts", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select subject_uid as "subject_uid!", number, pod as "pod!" from enact.attempts
                    where tenant_id = $1 and subject_uid = any($2::text[]) and pod is not null"#,
                    tenant,
                    subjects,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        let rows = rows.into_iter();
        Ok(rows
            .map(|row| StartedPod { subject_uid: row.subject_uid, number: row.number.unsigned_abs(), pod: row.pod })
            .collect())
    }

    /// Returns the recorded attempts at a plan's tasks and at its integration.
    ///
    /// An attempt without a recorded end has the report that its pod delivered, unless the result is stale.
    pub async fn recorded_attempts(&self, tenant: &str, plan_uid: &str) -> Result<Vec<RecordedAttempt>, StoreError> {
        let rows = self
            .transaction("read a plan's attempts", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select a.subject_uid as "subject_uid!", a.number, a.agent, a.finished_at is not null as "finished!", a.failure,
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
                    agent: row.agent,
                    finished: row.finished.then_some(row.failure),
                    report: row
                        .report
                        .map(serde_json::from_value)
                        .transpose()
                        .map_err(StoreError::unreadable("the report of an attempt"))?,
                })
            })
            .collect()
    }
}
