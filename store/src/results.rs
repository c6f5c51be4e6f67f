//! What pods deliver to the server.

use enact_domain::assignment::{AttemptResult, GateResult, Report};
use enact_domain::time::Millis;

use crate::error::StoreError;
use crate::sanitise::sanitise_result;
use crate::session::Session;
use crate::store::Store;

/// A result from a pod, and whose pod it is: the server checked that the pod works on this attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Tenant of the pod's namespace.
    pub tenant: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's UID.
    pub pod_uid: String,
    /// UID of the Plan.
    pub plan_uid: String,
    /// What the pod sent.
    pub result: AttemptResult,
}

/// What became of a [`Delivery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is the attempt's result.
    Stored,
    /// The attempt has a result; this one changes nothing.
    AlreadyThere,
    /// The attempt does not count any more, since a newer one began or it was recorded as failed. It is kept as evidence.
    Stale,
}

/// A result as it is kept, without the agent's transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    /// UID of the Task, or of the Plan for an integration.
    pub subject_uid: String,
    /// Number of the attempt.
    pub attempt: u32,
    /// UID of the pod that delivered it.
    pub pod_uid: String,
    /// The short answer.
    pub report: Report,
    /// How long the work took, in milliseconds.
    pub duration_ms: u64,
    /// Length of the transcript, in bytes.
    pub transcript_bytes: u64,
    /// Whether the attempt had ceased to count.
    pub stale: bool,
    /// When it arrived.
    pub received: Millis,
}

impl Store {
    /// Keeps what a pod delivered. The first result of an attempt counts; a repeated delivery changes nothing, and nothing that is
    /// delivered late overwrites what was decided meanwhile.
    ///
    /// # Errors
    /// When it cannot be written; it can be delivered again.
    pub async fn deliver(&self, delivery: Delivery) -> Result<Delivered, StoreError> {
        const DOING: &str = "store an attempt's result";
        let Delivery { tenant, namespace, pod_uid, plan_uid, mut result } = delivery;
        sanitise_result(&mut result);
        let report = serde_json::to_value(&result.report).map_err(StoreError::unreadable("the report"))?;
        let gates = serde_json::to_value(&result.gates).map_err(StoreError::unreadable("the gates' results"))?;
        self.within(DOING, async {
            let mut session = self.session(DOING).await?;
            session.begin(DOING, &tenant).await?;
            // The attempt's row is locked, so that its end is recorded either before or after this.
            let row = sqlx::query!(
                r#"with attempt as (
                    select kind, name, failure from enact.attempts
                    where tenant_id = $1 and subject_uid = $2 and number = $3::bigint
                    for no key update
                ), stored as (
                    insert into enact.results
                        (tenant_id, subject_uid, number, plan_uid, namespace, pod_uid, report, transcript, gates, duration_ms, stale)
                    select $1, $2, $3::bigint, $4, $5, $6, $7, $8, $9, $10,
                        exists (select from attempt where failure is not null)
                        or exists (select from enact.attempts where tenant_id = $1 and subject_uid = $2 and number > $3::bigint)
                    on conflict (tenant_id, subject_uid, number) do nothing
                    returning stale, received_at
                ), entry as (
                    insert into enact.audit
                        (tenant_id, at, actor, event, key, kind, namespace, name, subject_uid, plan_uid, details)
                    select $1, received_at, 'pod:' || $5 || '/' || $6, 'ResultDelivered', $3::bigint::text,
                           case when $2 = $4 then 'Plan' else 'Task' end, $5, (select name from attempt), $2, $4,
                           jsonb_build_object('attempt', $3::bigint, 'stale', stale, 'reason', $7::jsonb -> 'reason',
                                              'commit', $7::jsonb -> 'commit')
                    from stored
                    returning *
                ), sent as (
                    insert into enact.outbox
                        (tenant_id, at, actor, event, kind, namespace, name, subject_uid, plan_uid, payload)
                    select tenant_id, at, actor, event, kind, namespace, name, subject_uid, plan_uid, details from entry
                )
                select exists (select from stored) as "new!",
                       coalesce((select stale from stored),
                                (select stale from enact.results where tenant_id = $1 and subject_uid = $2 and number = $3::bigint),
                                false) as "stale!""#,
                tenant,
                result.subject_uid,
                i64::from(result.attempt),
                plan_uid,
                namespace,
                pod_uid,
                report,
                result.transcript,
                gates,
                i64::try_from(result.duration_ms).unwrap_or(i64::MAX),
            )
            .fetch_one(session.statement())
            .await
            .map_err(StoreError::while_doing(DOING))?;
            session.commit(DOING).await?;
            Ok(match row {
                row if row.stale => Delivered::Stale,
                row if row.new => Delivered::Stored,
                _ => Delivered::AlreadyThere,
            })
        })
        .await
    }

    /// The results of a plan's attempts, in the order in which they arrived.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn attempt_results(&self, tenant: &str, plan_uid: &str) -> Result<Vec<StoredResult>, StoreError> {
        const DOING: &str = "read a plan's results";
        let rows = self
            .read(DOING, tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select subject_uid as "subject_uid!", number, pod_uid as "pod_uid!", report, duration_ms, stale,
                              octet_length(transcript)::bigint as "transcript_bytes!",
                              (extract(epoch from received_at) * 1000)::bigint as "received!"
                    from enact.results where tenant_id = $1 and plan_uid = $2 order by received_at"#,
                    tenant,
                    plan_uid,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        rows.into_iter()
            .map(|row| {
                Ok(StoredResult {
                    subject_uid: row.subject_uid,
                    attempt: row.number.unsigned_abs(),
                    pod_uid: row.pod_uid,
                    report: serde_json::from_value(row.report).map_err(StoreError::unreadable("a result's report"))?,
                    duration_ms: row.duration_ms.unsigned_abs(),
                    transcript_bytes: row.transcript_bytes.unsigned_abs(),
                    stale: row.stale,
                    received: Millis(row.received),
                })
            })
            .collect()
    }

    /// The whole result of one attempt, if its pod delivered one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn attempt_result(
        &self,
        tenant: &str,
        subject_uid: &str,
        attempt: u32,
    ) -> Result<Option<AttemptResult>, StoreError> {
        const DOING: &str = "read an attempt's result";
        let row = self
            .read(DOING, tenant, async |session: &mut Session| {
                sqlx::query!(
                    "select report, transcript, gates, duration_ms from enact.results
                    where tenant_id = $1 and subject_uid = $2 and number = $3::bigint",
                    tenant,
                    subject_uid,
                    i64::from(attempt),
                )
                .fetch_optional(session.statement())
                .await
            })
            .await?;
        let Some(row) = row else { return Ok(None) };
        let gates: Vec<GateResult> =
            serde_json::from_value(row.gates).map_err(StoreError::unreadable("a result's gates"))?;
        Ok(Some(AttemptResult {
            subject_uid: subject_uid.to_owned(),
            attempt,
            report: serde_json::from_value(row.report).map_err(StoreError::unreadable("a result's report"))?,
            transcript: row.transcript,
            gates,
            duration_ms: row.duration_ms.unsigned_abs(),
        }))
    }
}
