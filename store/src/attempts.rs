//! Recorded attempts.

use enact_domain::assignment::{GateResult, Report};
use enact_domain::digest::Digest;
use enact_domain::record::RecordedAttempt;
use enact_domain::time::Millis;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// Most attempts in one answer.
const PAGE: i64 = 50;

/// An attempt at a task, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRow {
    /// Number of the attempt.
    pub attempt: u32,
    /// Name of the Agent, if the start is recorded.
    pub agent: Option<String>,
    /// Number of contestants of the task; 1 without a contest.
    pub contestants: u32,
    /// The attempt that won the contest, if this one has passed and lost.
    pub lost_to: Option<u32>,
    /// What contradicts its result, if something does.
    #[serde(default)]
    pub contradiction: Option<String>,
    pub started_at: Option<Millis>,
    pub finished_at: Option<Millis>,
    /// Class of the failure; none on success, and while the attempt runs.
    pub failure: Option<String>,
    /// The report at the end, or the one that the pod delivered.
    pub report: Option<Report>,
    /// The gates that ran, without their output.
    pub gates: Vec<GateOutcome>,
    /// Duration of the work, as the runner measured it.
    pub duration_ms: Option<u64>,
    /// Tokens of its model requests.
    pub tokens: u64,
    /// The known part of their cost.
    pub cost_micro_usd: u64,
    /// Tokens whose price is unknown.
    pub unpriced_tokens: u64,
}

/// The outcome of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateOutcome {
    pub name: String,
    /// Exit code; none when it was killed by a signal.
    pub exit_code: Option<i32>,
}

/// The recorded start of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedPod {
    /// UID of the Task, or of the Plan for an integration.
    pub subject_uid: String,
    pub number: u32,
    /// Name of the pod that the first record of the start names, or of the one that replaced it.
    pub pod: String,
    /// UID of that pod, if it is recorded.
    pub pod_uid: Option<String>,
    /// The key by which the pod is recognised until its UID is recorded.
    pub start_key: Option<Digest>,
}

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

    /// Returns the recorded starts of all attempts at these tasks.
    pub async fn started_pods(&self, tenant: &str, subjects: &[String]) -> Result<Vec<StartedPod>, StoreError> {
        let rows = self
            .transaction("read the pods of attempts", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select subject_uid as "subject_uid!", number, pod as "pod!", pod_uid as "pod_uid?", start_key
                    from enact.attempts
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
            .map(|row| StartedPod {
                subject_uid: row.subject_uid,
                number: row.number.unsigned_abs(),
                pod: row.pod,
                pod_uid: row.pod_uid,
                start_key: row.start_key.map(Digest::from),
            })
            .collect())
    }

    /// Returns whether the record has the pod with this UID as that of an attempt, and the runner in it has registered the key with this digest.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn is_runner_of(
        &self,
        tenant: &str,
        subject_uid: &str,
        attempt: u32,
        pod_uid: &str,
        runner_key: &Digest,
    ) -> Result<bool, StoreError> {
        self.transaction("read the runner of an attempt", tenant, async |session: &mut Session| {
            sqlx::query_scalar!(
                r#"select exists (select from enact.attempts
                                  where tenant_id = $1 and subject_uid = $2 and number = $3::bigint and pod_uid = $4
                                      and runner_key = $5) as "is_runner!""#,
                tenant,
                subject_uid,
                i64::from(attempt),
                pod_uid,
                runner_key.as_str(),
            )
            .fetch_one(session.statement())
            .await
        })
        .await
    }

    /// Returns the newest attempts at a Task of a Plan, the newest first. If several Tasks had this name over time, those of the newest one.
    pub async fn attempts_of_task(
        &self,
        tenant: &str,
        namespace: &str,
        plan: &str,
        task: &str,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let mut rows = self
            .transaction("read the attempts at a task", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select a.subject_uid as "subject_uid!", a.number, a.agent, a.contestants, a.lost_to, a.contradiction,
                              (extract(epoch from coalesce(a.pod_created_at, a.started_at)) * 1000)::bigint as started_at,
                              (extract(epoch from a.finished_at) * 1000)::bigint as finished_at, a.failure,
                              coalesce(a.report, r.report) as "report?", r.gates as "gates?", r.duration_ms as "duration_ms?",
                              coalesce(b.spent_input + b.spent_cached_input + b.spent_cache_write + b.spent_output, 0) as "tokens!",
                              coalesce(b.spent_cost_micro_usd, 0) as "cost!", coalesce(b.unpriced_tokens, 0) as "unpriced!"
                    from enact.attempts a
                    join enact.plans p on p.tenant_id = a.tenant_id and p.plan_uid = a.plan_uid
                    left join enact.results r
                        on r.tenant_id = a.tenant_id and r.subject_uid = a.subject_uid and r.number = a.number and not r.stale
                    left join enact.budgets b
                        on b.tenant_id = a.tenant_id and b.scope = 'attempt/' || a.subject_uid || '/' || a.number
                    where a.tenant_id = $1 and p.namespace = $2 and p.name = $3 and a.kind = 'Task' and a.name = $4
                    order by a.started_at desc nulls last, a.number desc
                    limit $5"#,
                    tenant,
                    namespace,
                    plan,
                    task,
                    PAGE,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        let newest = rows.first().map(|row| row.subject_uid.clone());
        rows.retain(|row| Some(&row.subject_uid) == newest.as_ref());
        rows.into_iter()
            .map(|row| {
                let gates: Vec<GateResult> = row
                    .gates
                    .map(serde_json::from_value)
                    .transpose()
                    .map_err(StoreError::unreadable("the gates of an attempt"))?
                    .unwrap_or_default();
                Ok(AttemptRow {
                    attempt: row.number.unsigned_abs(),
                    agent: row.agent,
                    contestants: row.contestants.unsigned_abs(),
                    lost_to: row.lost_to.map(i32::unsigned_abs),
                    contradiction: row.contradiction,
                    started_at: row.started_at.map(Millis),
                    finished_at: row.finished_at.map(Millis),
                    failure: row.failure,
                    report: row
                        .report
                        .map(serde_json::from_value)
                        .transpose()
                        .map_err(StoreError::unreadable("the report of an attempt"))?,
                    gates: gates.into_iter().map(|g| GateOutcome { name: g.name, exit_code: g.exit_code }).collect(),
                    duration_ms: row.duration_ms.map(i64::unsigned_abs),
                    tokens: row.tokens.unsigned_abs(),
                    cost_micro_usd: row.cost.unsigned_abs(),
                    unpriced_tokens: row.unpriced.unsigned_abs(),
                })
            })
            .collect()
    }

    /// Returns the recorded attempts at a plan's tasks and at its integration.
    ///
    /// An attempt without a recorded end has the report that its pod delivered, unless the result is stale.
    pub async fn recorded_attempts(&self, tenant: &str, plan_uid: &str) -> Result<Vec<RecordedAttempt>, StoreError> {
        let rows = self
            .transaction("read a plan's attempts", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select a.subject_uid as "subject_uid!", a.number, a.agent, a.finished_at is not null as "finished!", a.failure,
                              a.pod_uid as "pod_uid?", a.start_key, coalesce(a.report, r.report) as "report?",
                              coalesce(r.verified, false) as "verified!"
                    from enact.attempts a
                    left join enact.results r
                        on r.tenant_id = a.tenant_id and r.subject_uid = a.subject_uid and r.number = a.number and not r.stale
                            and r.pod_uid = a.pod_uid
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
                    pod_uid: row.pod_uid,
                    start_key: row.start_key.map(Digest::from),
                    finished: row.finished.then_some(row.failure),
                    verified: row.verified,
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
