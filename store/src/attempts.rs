//! Recorded attempts.

use enact_domain::assignment::{GateResult, Report};
use enact_domain::record::RecordedAttempt;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// What the pod of an attempt delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedLog {
    pub report: Report,
    /// End of the output of the agent. Of a coding agent, it has one event as JSON a line.
    pub transcript: String,
    pub gates: Vec<GateResult>,
    pub duration_ms: u64,
    /// Whether the attempt no longer counted when the result arrived.
    pub stale: bool,
}

impl Store {
    /// Returns what the pod of an attempt delivered, at a Task of a Plan, or at the integration of the Plan if no Task is named. If several
    /// objects had the name over time, it is the newest result.
    pub async fn recorded_log(
        &self,
        tenant: &str,
        namespace: &str,
        plan: &str,
        task: Option<&str>,
        attempt: u32,
    ) -> Result<Option<RecordedLog>, StoreError> {
        let (kind, name) = task.map_or(("Plan", plan), |task| ("Task", task));
        let row = self
            .transaction("read the log of an attempt", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select r.report as "report!", r.transcript as "transcript!", r.gates as "gates!", r.duration_ms as "duration_ms!",
                              r.stale as "stale!"
                    from enact.results r
                    join enact.attempts a on a.tenant_id = r.tenant_id and a.subject_uid = r.subject_uid and a.number = r.number
                    join enact.plans p on p.tenant_id = a.tenant_id and p.plan_uid = a.plan_uid
                    where r.tenant_id = $1 and p.namespace = $2 and p.name = $3 and a.kind = $4 and a.name = $5
                      and r.number = $6::bigint
                    order by r.received_at desc
                    limit 1"#,
                    tenant,
                    namespace,
                    plan,
                    kind,
                    name,
                    i64::from(attempt),
                )
                .fetch_optional(session.statement())
                .await
            })
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(RecordedLog {
            report: serde_json::from_value(row.report).map_err(StoreError::unreadable("the report of an attempt"))?,
            transcript: row.transcript,
            gates: serde_json::from_value(row.gates).map_err(StoreError::unreadable("the gates of an attempt"))?,
            duration_ms: row.duration_ms.unsigned_abs(),
            stale: row.stale,
        }))
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
