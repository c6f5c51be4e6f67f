//! Contents of documents and their findings.

use enact_domain::digest::Digest;
use enact_domain::time::Millis;
use serde_json::Value;

use crate::error::StoreError;
use crate::numbering;
use crate::session::Session;
use crate::store::Store;

/// Largest document that is stored, in bytes.
pub const MAX_CONTENT_BYTES: usize = 4 << 20;

/// Findings of the analysis of a revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// Name and version of the analysis.
    pub analyser: String,
    /// Array of the stored findings.
    pub findings: Value,
    /// Number of all findings, including those that exceed the stored size.
    pub total: u32,
    /// Time of the record.
    pub at: Millis,
}

impl Store {
    /// Returns the document with this digest, if it is recorded.
    pub async fn content(&self, tenant: &str, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.transaction("read a document", tenant, async |session: &mut Session| {
            sqlx::query_scalar!(
                "select content from enact.contents where tenant_id = $1 and digest = $2",
                tenant,
                digest.as_str(),
            )
            .fetch_optional(session.statement())
            .await
        })
        .await
    }

    /// Stores a document that a pod delivered, before a revision refers to it, and returns its digest. Storing it again changes nothing.
    /// Returns none if the pod has delivered another document: a pod has one, and an agent must not fill the record. Deliveries of the tenant
    /// that are older than seven days are deleted, since no document pod runs for so long.
    ///
    /// # Errors
    /// If it is larger than [`MAX_CONTENT_BYTES`] or cannot be written.
    pub async fn deliver_document(
        &self,
        tenant: &str,
        pod_uid: &str,
        content: &[u8],
    ) -> Result<Option<Digest>, StoreError> {
        if content.len() > MAX_CONTENT_BYTES {
            return Err(StoreError::Invalid {
                what: "document",
                problem: format!(
                    "has {} bytes, more than the maximum of {MAX_CONTENT_BYTES}: split it, or remove generated parts",
                    content.len()
                ),
            });
        }
        let digest = Digest::of_bytes(content);
        let accepted = self
            .transaction("store a document", tenant, async |session: &mut Session| {
                sqlx::query!(
                    "with expired as (
                        delete from enact.document_deliveries
                        where tenant_id = $1 and pod_uid <> $2 and delivered_at < clock_timestamp() - interval '7 days'
                    )
                    insert into enact.document_deliveries (tenant_id, pod_uid, digest) values ($1, $2, $3)
                    on conflict (tenant_id, pod_uid) do nothing",
                    tenant,
                    pod_uid,
                    digest.as_str(),
                )
                .execute(session.statement())
                .await?;
                let delivered = sqlx::query_scalar!(
                    "select digest from enact.document_deliveries where tenant_id = $1 and pod_uid = $2",
                    tenant,
                    pod_uid,
                )
                .fetch_optional(session.statement())
                .await?;
                if delivered.as_deref() != Some(digest.as_str()) {
                    return Ok(false);
                }
                // Whoever deletes unused contents sees either this delivery or, before the next statement, no content.
                numbering::lock_shared(session, tenant).await?;
                sqlx::query!(
                    "insert into enact.contents (tenant_id, digest, content) values ($1, $2, $3)
                    on conflict (tenant_id, digest) do nothing",
                    tenant,
                    digest.as_str(),
                    content,
                )
                .execute(session.statement())
                .await?;
                Ok(true)
            })
            .await?;
        Ok(accepted.then_some(digest))
    }

    /// Returns the findings of the newest recorded analysis of this content of a subject.
    pub async fn findings(
        &self,
        tenant: &str,
        subject_uid: &str,
        digest: &Digest,
    ) -> Result<Option<Findings>, StoreError> {
        self.transaction("read findings", tenant, async |session: &mut Session| {
            let row = sqlx::query!(
                r#"select analyser, findings, total, (extract(epoch from found_at) * 1000)::bigint as "at!"
                from enact.findings where tenant_id = $1 and subject_uid = $2 and digest = $3
                order by found_at desc, analyser desc limit 1"#,
                tenant,
                subject_uid,
                digest.as_str(),
            )
            .fetch_optional(session.statement())
            .await?;
            Ok(row.map(|row| Findings {
                analyser: row.analyser,
                findings: row.findings,
                total: row.total.unsigned_abs(),
                at: Millis(row.at),
            }))
        })
        .await
    }
}
