//! Checkpoints: what an attempt that did not succeed leaves for the next one.

use enact_domain::agents::checkpoint::Checkpoint;
use enact_domain::digest::Digest;

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// A checkpoint with the identity of its attempt. The server has [checked](Checkpoint::check) it, and that the pod works on this attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointDelivery {
    /// Tenant of the pod's namespace.
    pub tenant: String,
    pub subject_uid: String,
    /// Digest of the runner's key that came with the checkpoint.
    pub runner_key: Digest,
    /// The checkpoint, without its archive and bundle.
    pub checkpoint: Checkpoint,
    /// The packed files of the session.
    pub archive: Option<Vec<u8>>,
    /// The commits of the work that could not be pushed.
    pub bundle: Option<Vec<u8>>,
}

/// A checkpoint of an earlier attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// The checkpoint, without its archive and bundle.
    pub checkpoint: Checkpoint,
    /// The packed files of the session.
    pub archive: Option<Vec<u8>>,
    /// The commits of the work that could not be pushed.
    pub bundle: Option<Vec<u8>>,
}

impl Store {
    /// Stores a checkpoint in place of the one of an earlier attempt, and returns whether it was accepted: it must come from the runner of
    /// the latest attempt (of the same contestant, if the task has competing attempts), which has not succeeded, and at most two minutes after its recorded end: the runner of an attempt that its plan
    /// stopped saves its work after that. Checkpoints of the tenant that are older than 30 days are deleted.
    ///
    /// # Errors
    /// If it cannot be written. The same checkpoint can then be stored again.
    pub async fn save_checkpoint(&self, delivery: CheckpointDelivery) -> Result<bool, StoreError> {
        let CheckpointDelivery { tenant, subject_uid, runner_key, checkpoint, archive, bundle } = delivery;
        let content = serde_json::to_value(&checkpoint).map_err(StoreError::unreadable("the checkpoint"))?;
        self.transaction("store a checkpoint", &tenant, async |session: &mut Session| {
            let saved = sqlx::query!(
                "with expired as (
                    delete from enact.checkpoints
                    where tenant_id = $1 and subject_uid <> $2 and saved_at < clock_timestamp() - interval '30 days'
                )
                insert into enact.checkpoints as old (tenant_id, subject_uid, contestant, number, content, archive, bundle)
                select $1, $2, (a.number - 1) % a.contestants + 1, a.number, $4, $5, $7
                from enact.attempts a
                where a.tenant_id = $1 and a.subject_uid = $2 and a.number = $3::bigint and a.runner_key = $6
                    and (a.finished_at is null
                        or a.failure is not null and a.finished_at > clock_timestamp() - interval '2 minutes')
                    and not exists (
                        select from enact.attempts newer
                        where newer.tenant_id = $1 and newer.subject_uid = $2 and newer.number > $3::bigint
                            and (newer.number - $3::bigint) % newer.contestants = 0
                    )
                on conflict (tenant_id, subject_uid, contestant) do update
                set number = excluded.number, content = excluded.content, archive = excluded.archive, bundle = excluded.bundle,
                    saved_at = excluded.saved_at
                where old.number <= excluded.number",
                tenant,
                subject_uid,
                i64::from(checkpoint.attempt),
                content,
                archive,
                runner_key.as_str(),
                bundle,
            )
            .execute(session.statement())
            .await?;
            Ok(saved.rows_affected() == 1)
        })
        .await
    }

    /// Returns the checkpoint that an attempt before number `attempt`, of the same contestant, left.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn checkpoint(
        &self,
        tenant: &str,
        subject_uid: &str,
        attempt: u32,
    ) -> Result<Option<StoredCheckpoint>, StoreError> {
        let row = self
            .transaction("read a checkpoint", tenant, async |session: &mut Session| {
                sqlx::query!(
                    "select content, archive, bundle from enact.checkpoints
                    where tenant_id = $1 and subject_uid = $2 and number < $3::bigint and contestant = coalesce((
                        select ($3::bigint - 1) % a.contestants + 1 from enact.attempts a
                        where a.tenant_id = $1 and a.subject_uid = $2 and a.number = $3::bigint
                    ), 1)",
                    tenant,
                    subject_uid,
                    i64::from(attempt),
                )
                .fetch_optional(session.statement())
                .await
            })
            .await?;
        let Some(row) = row else { return Ok(None) };
        let checkpoint = serde_json::from_value(row.content).map_err(StoreError::unreadable("a checkpoint"))?;
        Ok(Some(StoredCheckpoint { checkpoint, archive: row.archive, bundle: row.bundle }))
    }
}
