//! The texts of model requests and answers, for tenants that want them.

use enact_domain::time::Millis;
use enact_domain::usage::{Charge, Tokens};
use serde::Serialize;
use uuid::Uuid;

use super::model::{signed, unsigned};
use crate::error::StoreError;
use crate::sanitise::truncate;
use crate::session::Session;
use crate::store::Store;

/// Largest text, in bytes; a longer one is truncated.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Most texts that one transaction deletes.
const BATCH: i64 = 1000;

/// The texts of a model request and of its answer. They contain no credential that redaction finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLog {
    /// The ID of the request.
    pub id: Uuid,
    /// When the texts are deleted.
    pub expires_at: Millis,
    pub request: String,
    /// Size of the whole request, of which the text can be a part.
    pub request_bytes: u64,
    pub answer: String,
    /// Size of the whole answer, of which the text can be a part.
    pub answer_bytes: u64,
}

/// Which logged requests are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestLogFilter {
    pub namespace: String,
    /// Name of a Plan.
    pub plan: Option<String>,
    /// Name of a Task object.
    pub task: Option<String>,
    /// `<namespace>/<name>` of an Agent.
    pub agent: Option<String>,
}

/// A logged request with what was recorded about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedRequest {
    pub id: String,
    pub at: Millis,
    /// Empty for a request that belongs to no plan, like the task.
    pub plan: String,
    /// Name of the Task object.
    pub task: String,
    pub attempt: u32,
    /// `<namespace>/<name>` of the Agent.
    pub agent: String,
    pub provider: String,
    pub model: String,
    /// How it ended; none while it runs.
    pub outcome: Option<String>,
    pub http_status: Option<i32>,
    /// What it used; the estimate while it runs.
    pub charge: Charge,
    pub expires_at: Millis,
    pub request: String,
    pub request_bytes: u64,
    pub answer: String,
    pub answer_bytes: u64,
}

impl Store {
    /// Records the texts of requests. A repetition has no effect.
    pub async fn log_requests(&self, tenant: &str, logs: &[RequestLog]) -> Result<(), StoreError> {
        if logs.is_empty() {
            return Ok(());
        }
        let text = |text: &String| {
            let mut text = text.clone();
            truncate(&mut text, MAX_TEXT_BYTES);
            text
        };
        let ids: Vec<String> = logs.iter().map(|log| log.id.to_string()).collect();
        let expire: Vec<i64> = logs.iter().map(|log| log.expires_at.0).collect();
        let requests: Vec<String> = logs.iter().map(|log| text(&log.request)).collect();
        let request_bytes: Vec<i64> = logs.iter().map(|log| signed(log.request_bytes)).collect();
        let answers: Vec<String> = logs.iter().map(|log| text(&log.answer)).collect();
        let answer_bytes: Vec<i64> = logs.iter().map(|log| signed(log.answer_bytes)).collect();
        self.transaction("record the texts of model requests", tenant, async |session: &mut Session| {
            sqlx::query!(
                "insert into enact.request_logs
                    (tenant_id, request_id, expires_at, request, request_bytes, answer, answer_bytes)
                select $1, id::uuid, to_timestamp(expires_at / 1000.0), request, request_bytes, answer, answer_bytes
                from unnest($2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::bigint[])
                    as t (id, expires_at, request, request_bytes, answer, answer_bytes)
                on conflict (tenant_id, request_id) do nothing",
                tenant,
                &ids,
                &expire,
                &requests,
                &request_bytes,
                &answers,
                &answer_bytes,
            )
            .execute(session.statement())
            .await
        })
        .await?;
        Ok(())
    }

    /// Deletes the texts whose time has come, and returns their number.
    pub async fn delete_expired_logs(&self, tenant: &str, now: Millis) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let count = self
                .transaction("delete texts of model requests", tenant, async |session: &mut Session| {
                    let done = sqlx::query!(
                        "delete from enact.request_logs where tenant_id = $1 and request_id = any(array(
                            select request_id from enact.request_logs
                            where tenant_id = $1 and expires_at <= to_timestamp($2::bigint / 1000.0)
                            order by expires_at limit $3
                        ))",
                        tenant,
                        now.0,
                        BATCH,
                    )
                    .execute(session.statement())
                    .await?;
                    Ok(done.rows_affected())
                })
                .await?;
            deleted += count;
            if i64::try_from(count).unwrap_or(BATCH) < BATCH {
                return Ok(deleted);
            }
        }
    }

    /// Returns the logged requests that a filter selects and that have not expired, newest first.
    pub async fn logged_requests(
        &self,
        tenant: &str,
        filter: &RequestLogFilter,
        now: Millis,
        limit: u32,
    ) -> Result<Vec<LoggedRequest>, StoreError> {
        let rows = self
            .transaction("read texts of model requests", tenant, async |session: &mut Session| {
                // The IDs of requests grow with time.
                sqlx::query!(
                    r#"select r.request_id::text as "id!", (extract(epoch from r.requested_at) * 1000)::bigint as "at!", r.plan, r.task,
                              r.attempt, r.agent, r.provider, r.model, r.outcome, r.http_status, r.input_tokens, r.cached_input_tokens,
                              r.cache_write_tokens, r.cache_write_hour_tokens, r.output_tokens, r.reasoning_tokens, r.cost_micro_usd,
                              (extract(epoch from l.expires_at) * 1000)::bigint as "expires_at!", l.request, l.request_bytes, l.answer,
                              l.answer_bytes
                    from enact.request_logs l
                    join enact.model_requests r on r.tenant_id = l.tenant_id and r.request_id = l.request_id
                    where l.tenant_id = $1 and l.expires_at > to_timestamp($2::bigint / 1000.0) and r.namespace = $3
                        and ($4::text is null or r.plan = $4) and ($5::text is null or r.task = $5)
                        and ($6::text is null or r.agent = $6)
                    order by l.request_id desc limit $7"#,
                    tenant,
                    now.0,
                    filter.namespace,
                    filter.plan.as_deref(),
                    filter.task.as_deref(),
                    filter.agent.as_deref(),
                    i64::from(limit),
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        let logged = rows.into_iter().map(|row| LoggedRequest {
            id: row.id,
            at: Millis(row.at),
            plan: row.plan,
            task: row.task,
            attempt: row.attempt.unsigned_abs(),
            agent: row.agent,
            provider: row.provider,
            model: row.model,
            outcome: row.outcome,
            http_status: row.http_status,
            charge: Charge {
                tokens: Tokens {
                    input: unsigned(row.input_tokens),
                    cached_input: unsigned(row.cached_input_tokens),
                    cache_write: unsigned(row.cache_write_tokens),
                    cache_write_hour: unsigned(row.cache_write_hour_tokens),
                    output: unsigned(row.output_tokens),
                    reasoning: unsigned(row.reasoning_tokens),
                },
                cost_micro_usd: row.cost_micro_usd.map(unsigned),
            },
            expires_at: Millis(row.expires_at),
            request: row.request,
            request_bytes: unsigned(row.request_bytes),
            answer: row.answer,
            answer_bytes: unsigned(row.answer_bytes),
        });
        Ok(logged.collect())
    }
}
