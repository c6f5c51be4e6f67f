//! The search index: the items of the current documents and their embeddings.

use enact_domain::digest::Digest;
use enact_domain::record::Subject;
use sqlx::{AssertSqlSafe, Row as _};

use super::bigrams;
use super::item::Item;
use super::vectors::Embedding;
use crate::error::StoreError;
use crate::sanitise::{clean, truncate};
use crate::session::Session;
use crate::store::Store;

/// Maximum number of indexed items of one document.
const MAX_ITEMS: usize = 10_000;
/// Maximum total length of the texts of one document's items, in bytes.
const MAX_ITEMS_BYTES: usize = 4 << 20;
/// Maximum length of an item's text, in bytes; a longer one is truncated.
const MAX_TEXT_BYTES: usize = 8 << 10;
/// Maximum length of an item's id, in bytes; a longer one is truncated.
const MAX_KEY_BYTES: usize = 128;
/// Maximum number of texts in one answer of [`Store::pending`].
const MAX_PENDING: u32 = 1_000;

/// The outcome of indexing a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexOutcome {
    /// Number of indexed items.
    pub indexed: usize,
    /// Number of items at the end of the document that exceed a limit and are not indexed.
    pub left_out: usize,
}

/// A text without an embedding of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingText {
    pub digest: Digest,
    pub text: String,
}

impl Store {
    /// Replaces the items of a document; without items, searches do not find the document. Embeddings of unchanged texts stay;
    /// [`Store::pending`] returns the texts that need one.
    ///
    /// # Errors
    /// If the items cannot be written. The previous items stay.
    pub async fn index_items(
        &self,
        tenant: &str,
        subject: &Subject,
        mut items: Vec<Item>,
    ) -> Result<IndexOutcome, StoreError> {
        let all = items.len();
        let mut bytes = 0;
        items.truncate(MAX_ITEMS);
        for item in &mut items {
            truncate(&mut item.key, MAX_KEY_BYTES);
            truncate(&mut item.text, MAX_TEXT_BYTES);
        }
        // A prefix that fits: skipping only the large items would leave gaps in the document.
        let fit = items.iter().take_while(|item| {
            bytes += item.text.len();
            bytes <= MAX_ITEMS_BYTES
        });
        items.truncate(fit.count());
        let mut subject = subject.clone();
        [&mut subject.namespace, &mut subject.name, &mut subject.uid].into_iter().for_each(clean);
        let columns = Columns::of(&items);
        self.transaction("index the items of a document", tenant, async |session: &mut Session| {
            self.replace_items(session, tenant, &subject, &columns).await
        })
        .await?;
        Ok(IndexOutcome { indexed: items.len(), left_out: all - items.len() })
    }

    async fn replace_items(
        &self,
        session: &mut Session,
        tenant: &str,
        subject: &Subject,
        columns: &Columns<'_>,
    ) -> Result<(), sqlx::Error> {
        // Serialises the writers of one document: two at once would both insert the same ordinals.
        sqlx::query!(
            "select pg_advisory_xact_lock(hashtextextended('enact.search/' || $1::text || '/' || $2::text, 0))",
            tenant,
            subject.uid,
        )
        .execute(session.statement())
        .await?;
        let old_digests = sqlx::query_scalar!(
            "delete from enact.search_items where tenant_id = $1 and subject_uid = $2 returning digest",
            tenant,
            subject.uid,
        )
        .fetch_all(session.statement())
        .await?;
        if !columns.keys.is_empty() {
            columns.insert(session, tenant, subject).await?;
        }
        // After the insert, so that embeddings of unchanged texts stay. Other documents can contain the same text,
        // too.
        if !old_digests.is_empty() && self.vector_schema(session).await?.is_some() {
            // `query` instead of `query!`: the table does not exist on every database.
            sqlx::query(
                "delete from enact.search_embeddings e
                where tenant_id = $1 and digest = any($2)
                    and not exists (select from enact.search_items i where i.tenant_id = $1 and i.digest = e.digest)",
            )
            .bind(tenant)
            .bind(&old_digests)
            .execute(session.statement())
            .await?;
        }
        Ok(())
    }

    /// Returns the documents of a tenant that have items.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub async fn indexed_subjects(&self, tenant: &str) -> Result<Vec<Subject>, StoreError> {
        let rows = self
            .transaction("list the indexed documents", tenant, async |session: &mut Session| {
                // Each document with items has a first one.
                sqlx::query!(
                    r#"select subject_uid::text as "uid!", kind, namespace::text as "namespace!", name::text as "name!"
                    from enact.search_items where tenant_id = $1 and ordinal = 1"#,
                    tenant,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        // Another release may index other kinds, whose objects this one does not know.
        let mut subjects = Vec::with_capacity(rows.len());
        for row in rows {
            if let Ok(kind) = row.kind.parse() {
                subjects.push(Subject { kind, namespace: row.namespace, name: row.name, uid: row.uid });
            }
        }
        Ok(subjects)
    }

    /// Returns texts without an embedding of this model, of one document or of all documents of a tenant, at most 1,000: call it again
    /// after [`Store::put_embeddings`]. Without pgvector, returns nothing.
    pub async fn pending(
        &self,
        tenant: &str,
        subject_uid: Option<&str>,
        model: &str,
        limit: u32,
    ) -> Result<Vec<PendingText>, StoreError> {
        self.transaction("find texts without an embedding", tenant, async |session: &mut Session| {
            if self.vector_schema(session).await?.is_none() {
                return Ok(Vec::new());
            }
            let rows = sqlx::query(
                "select distinct on (digest) digest, text from enact.search_items i
                where tenant_id = $1 and ($2::text is null or subject_uid = $2) and not exists (
                    select from enact.search_embeddings e
                    where e.tenant_id = $1 and e.digest = i.digest and e.model = $3)
                order by digest limit $4",
            )
            .bind(tenant)
            .bind(subject_uid)
            .bind(model)
            .bind(i64::from(limit.min(MAX_PENDING)))
            .fetch_all(session.statement())
            .await?;
            let pending = |row: &sqlx::postgres::PgRow| {
                Ok(PendingText { digest: Digest::from(row.try_get::<String, _>(0)?), text: row.try_get(1)? })
            };
            rows.iter().map(pending).collect()
        })
        .await
    }

    /// Stores the embeddings of texts; each replaces that of another model. Texts that no item has are ignored, since their document may
    /// have changed. Without pgvector, stores nothing.
    ///
    /// # Errors
    /// If an embedding is invalid or they cannot be written.
    pub async fn put_embeddings(&self, tenant: &str, embeddings: &[(Digest, Embedding)]) -> Result<(), StoreError> {
        let mut digests = Vec::with_capacity(embeddings.len());
        let mut models = Vec::with_capacity(embeddings.len());
        let mut dimensions = Vec::with_capacity(embeddings.len());
        let mut vectors = Vec::with_capacity(embeddings.len());
        for (digest, embedding) in embeddings {
            let unit = embedding.unit()?;
            digests.push(digest.as_str());
            models.push(unit.model);
            dimensions.push(unit.dimensions);
            vectors.push(unit.text);
        }
        self.transaction("store embeddings", tenant, async |session: &mut Session| {
            // The document may have changed since the text was read, so the insert checks that an item still has it.
            if let Some(schema) = self.vector_schema(session).await? {
                let insert = format!(
                    "insert into enact.search_embeddings (tenant_id, digest, model, dimensions, embedding)
                    select distinct on (digest) $1, digest, model, dimensions, embedding::{schema}.vector
                    from unnest($2::text[], $3::text[], $4::integer[], $5::text[]) as t (digest, model, dimensions, embedding)
                    where exists (select from enact.search_items i where i.tenant_id = $1 and i.digest = t.digest)
                    order by digest
                    on conflict (tenant_id, digest) do update
                    set model = excluded.model, dimensions = excluded.dimensions, embedding = excluded.embedding"
                );
                sqlx::query(AssertSqlSafe(insert))
                    .bind(tenant)
                    .bind(&digests)
                    .bind(&models)
                    .bind(&dimensions)
                    .bind(&vectors)
                    .execute(session.statement())
                    .await?;
            }
            Ok(())
        })
        .await
    }
}

/// Items as columns, the form in which Postgres inserts many rows with one statement.
struct Columns<'i> {
    keys: Vec<&'i str>,
    kinds: Vec<&'i str>,
    lines: Vec<i32>,
    texts: Vec<&'i str>,
    digests: Vec<String>,
    bigrams: Vec<String>,
}

impl<'i> Columns<'i> {
    fn of(items: &'i [Item]) -> Self {
        let digest = |item: &Item| Digest::of_bytes(item.text.as_bytes()).as_str().to_owned();
        Self {
            keys: items.iter().map(|item| item.key.as_str()).collect(),
            kinds: items.iter().map(|item| item.kind.as_str()).collect(),
            lines: items.iter().map(|item| i32::try_from(item.line).unwrap_or(i32::MAX)).collect(),
            texts: items.iter().map(|item| item.text.as_str()).collect(),
            digests: items.iter().map(digest).collect(),
            bigrams: items.iter().map(|item| bigrams::of(&item.text)).collect(),
        }
    }

    async fn insert(&self, session: &mut Session, tenant: &str, subject: &Subject) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into enact.search_items
                (tenant_id, subject_uid, ordinal, kind, namespace, name, item, item_kind, line, text, digest, bigrams)
            select $1, $2, ordinal, $3, $4, $5, item, item_kind, line, text, digest, bigrams
            from unnest($6::text[], $7::text[], $8::integer[], $9::text[], $10::text[], $11::text[]) with ordinality
                as t (item, item_kind, line, text, digest, bigrams, ordinal)",
            tenant,
            subject.uid,
            subject.kind.as_str(),
            subject.namespace,
            subject.name,
            &self.keys as &[&str],
            &self.kinds as &[&str],
            &self.lines,
            &self.texts as &[&str],
            &self.digests,
            &self.bigrams,
        )
        .execute(session.statement())
        .await?;
        Ok(())
    }
}
