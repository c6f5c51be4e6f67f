//! Contents of documents, and what was found in them.

use enact_domain::digest::Digest;
use enact_domain::time::Millis;
use serde_json::Value;

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// Largest document that is kept, in bytes.
pub const MAX_CONTENT_BYTES: usize = 4 << 20;

/// What the analysis of a revision found.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// Name and version of the analysis.
    pub analyser: String,
    /// An array of the findings that are kept.
    pub findings: Value,
    /// How many there were, with those that were too many to be kept.
    pub total: u32,
    /// When they were recorded.
    pub at: Millis,
}

impl Store {
    /// The document with this digest, if it was recorded.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn content(&self, tenant: &str, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.read("read a document", tenant, async |session: &mut Session| {
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

    /// Keeps a document that a pod delivered, before it is a revision of anything, and returns the digest to find it by. Keeping it
    /// again changes nothing.
    ///
    /// # Errors
    /// When it is larger than [`MAX_CONTENT_BYTES`], or cannot be written.
    pub async fn keep_content(&self, tenant: &str, content: &[u8]) -> Result<Digest, StoreError> {
        const DOING: &str = "keep a document";
        if content.len() > MAX_CONTENT_BYTES {
            return Err(StoreError::Invalid {
                what: "document",
                problem: format!(
                    "has {} bytes, and at most {MAX_CONTENT_BYTES} are kept: split it, or leave out what is generated",
                    content.len()
                ),
            });
        }
        let digest = Digest::of_bytes(content);
        self.within(DOING, async {
            let mut session = self.session(DOING).await?;
            session.begin(DOING, tenant).await?;
            sqlx::query!(
                "insert into enact.contents (tenant_id, digest, content) values ($1, $2, $3)
                on conflict (tenant_id, digest) do nothing",
                tenant,
                digest.as_str(),
                content,
            )
            .execute(session.statement())
            .await
            .map_err(StoreError::while_doing(DOING))?;
            session.commit(DOING).await
        })
        .await?;
        Ok(digest)
    }

    /// What the newest analysis of a subject's content found, if one is recorded.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn findings(
        &self,
        tenant: &str,
        subject_uid: &str,
        digest: &Digest,
    ) -> Result<Option<Findings>, StoreError> {
        self.read("read findings", tenant, async |session: &mut Session| {
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
