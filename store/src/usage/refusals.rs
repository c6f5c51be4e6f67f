//! Why the gateway refuses further requests of an attempt.

use enact_domain::time::Millis;
use serde::Serialize;

use crate::error::StoreError;
use crate::sanitise::truncate;
use crate::session::Session;
use crate::store::Store;

/// Longest message, in bytes; a longer one is truncated. It can contain the text of a provider.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// Why the gateway refuses further requests of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Reason in CamelCase, such as `BudgetExceeded`.
    pub reason: String,
    pub message: String,
    /// When requests can succeed again, if it is known.
    pub reset_at: Option<Millis>,
}

impl Store {
    /// Records the latest refusal of an attempt.
    pub async fn record_refusal(
        &self,
        tenant: &str,
        task_uid: &str,
        attempt: u32,
        refusal: &Refusal,
    ) -> Result<(), StoreError> {
        let mut message = refusal.message.clone();
        truncate(&mut message, MAX_MESSAGE_BYTES);
        self.transaction("record a refusal", tenant, async |session: &mut Session| {
            sqlx::query!(
                "insert into enact.refusals (tenant_id, task_uid, attempt, reason, message, reset_at)
                values ($1, $2, $3::bigint, $4, $5, to_timestamp($6::bigint / 1000.0))
                on conflict (tenant_id, task_uid, attempt) do update
                set reason = excluded.reason, message = excluded.message, reset_at = excluded.reset_at,
                    refused_at = excluded.refused_at",
                tenant,
                task_uid,
                i64::from(attempt),
                refusal.reason,
                message,
                refusal.reset_at.map(|at| at.0),
            )
            .execute(session.statement())
            .await
        })
        .await?;
        Ok(())
    }

    /// Returns the latest refusal of an attempt.
    pub async fn refusal(&self, tenant: &str, task_uid: &str, attempt: u32) -> Result<Option<Refusal>, StoreError> {
        let row = self
            .transaction("read a refusal", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select reason, message, (extract(epoch from reset_at) * 1000)::bigint as reset_at
                    from enact.refusals where tenant_id = $1 and task_uid = $2 and attempt = $3::bigint"#,
                    tenant,
                    task_uid,
                    i64::from(attempt),
                )
                .fetch_optional(session.statement())
                .await
            })
            .await?;
        Ok(row.map(|row| Refusal { reason: row.reason, message: row.message, reset_at: row.reset_at.map(Millis) }))
    }
}
