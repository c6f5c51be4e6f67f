//! Deletes what nobody needs any more: contents of documents that nothing refers to, and old outgoing events.

use crate::error::StoreError;
use crate::numbering;
use crate::session::Session;
use crate::store::Store;

/// Most contents that one transaction deletes. Some have several megabytes, and no revision is recorded meanwhile.
const CONTENTS: i64 = 100;
/// Most outgoing events that one transaction deletes.
const EVENTS: i64 = 1000;

impl Store {
    /// Deletes the contents of a tenant that no revision, proposal, judgement or delivery of the last seven days refers to, except those with
    /// the digests `named`, and returns their number. Each part is a transaction of its own.
    ///
    /// A revision or delivery that refers to one of them at the same time does not lose it: whoever writes one holds a lock until the end
    /// of its transaction, and so does each part. What waits for the lock then finds the reference, or writes the content again.
    ///
    /// # Errors
    /// If they cannot be deleted. The parts before stay deleted.
    pub async fn delete_unused_contents(&self, tenant: &str, named: &[String]) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let part = self
                .transaction("delete unused contents", tenant, async |session: &mut Session| {
                    // Before the lock, since it reads references of all contents.
                    let unused = sqlx::query_scalar!(
                        r#"select digest as "digest!" from enact.unused_contents
                        where tenant_id = $1 and digest <> all($2::text[]) limit $3"#,
                        tenant,
                        named,
                        CONTENTS,
                    )
                    .fetch_all(session.statement())
                    .await?;
                    if unused.is_empty() {
                        return Ok(0);
                    }
                    numbering::lock(session, tenant).await?;
                    let done = sqlx::query!(
                        "delete from enact.contents c using enact.unused_contents u
                        where c.tenant_id = $1 and c.digest = any($2::text[]) and u.tenant_id = c.tenant_id and u.digest = c.digest",
                        tenant,
                        &unused,
                    )
                    .execute(session.statement())
                    .await?;
                    Ok(done.rows_affected())
                })
                .await?;
            deleted += part;
            if part < CONTENTS.unsigned_abs() {
                return Ok(deleted);
            }
        }
    }

    /// Deletes the outgoing events of a tenant that are older than seven days, and returns their number. Each part is a transaction of its
    /// own.
    ///
    /// # Errors
    /// If they cannot be deleted. The parts before stay deleted.
    pub async fn delete_old_events(&self, tenant: &str) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let part = self
                .transaction("delete old outgoing events", tenant, async |session: &mut Session| {
                    // The oldest ones have the lowest ids.
                    let done = sqlx::query!(
                        "delete from enact.outbox
                        where tenant_id = $1 and queued_at < now() - interval '7 days'
                            and id = any(array(select id from enact.outbox where tenant_id = $1 order by id limit $2))",
                        tenant,
                        EVENTS,
                    )
                    .execute(session.statement())
                    .await?;
                    Ok(done.rows_affected())
                })
                .await?;
            deleted += part;
            if part < EVENTS.unsigned_abs() {
                return Ok(deleted);
            }
        }
    }
}
