//! What is searched: the items of each document as it stands, and what they mean.

use enact_domain::digest::Digest;
use enact_domain::record::Subject;
use sqlx::{AssertSqlSafe, Row as _};

use super::vectors::Embedding;
use super::{ItemKind, pairs};
use crate::error::StoreError;
use crate::sanitise::{clean, shorten};
use crate::session::Session;
use crate::store::Store;

/// Most items of one document that are indexed.
const MAX_ITEMS: usize = 10_000;
/// Largest text of all items of one document together, in bytes.
const MAX_ITEMS_BYTES: usize = 4 << 20;
/// Largest text of one item, in bytes; a longer one is cut.
const MAX_TEXT_BYTES: usize = 8 << 10;
/// Largest id of an item, in bytes; a longer one is cut.
const MAX_KEY_BYTES: usize = 128;
/// Most texts that are handed out for embedding at once.
const MAX_PENDING: u32 = 1_000;

/// An item of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its id in the document: `FR-001`, say. At most 128 bytes are kept.
    pub key: String,
    /// Its line in the document, from 1; 0 when it has none.
    pub line: u32,
    /// Its text. At most 8 KiB are kept.
    pub text: String,
}

/// What became of the items of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Items that can be found.
    pub indexed: usize,
    /// Items that were too many, or together too large, to be indexed: those at the end.
    pub left_out: usize,
}

/// A text that has no embedding of a model yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its digest.
    pub digest: Digest,
    /// The text.
    pub text: String,
}

impl Store {
    /// Makes `items` the ones by which a document is found, in place of those before; with none, it is not found any more. Embeddings of
    /// texts that stay are kept; [`Store::pending`] tells which texts need one.
    ///
    /// # Errors
    /// When they cannot be written; then those before are still there.
    pub async fn index_items(
        &self,
        tenant: &str,
        subject: &Subject,
        mut items: Vec<Item>,
    ) -> Result<Indexed, StoreError> {
        const DOING: &str = "index a document's items";
        let all = items.len();
        let mut bytes = 0;
        items.truncate(MAX_ITEMS);
        for item in &mut items {
            shorten(&mut item.key, MAX_KEY_BYTES);
            shorten(&mut item.text, MAX_TEXT_BYTES);
        }
        let fit = items.iter().take_while(|item| {
            bytes += item.text.len();
            bytes <= MAX_ITEMS_BYTES
        });
        items.truncate(fit.count());
        let mut subject = subject.clone();
        [&mut subject.namespace, &mut subject.name, &mut subject.uid].into_iter().for_each(clean);
        let columns = Columns::of(&items);
        self.within(DOING, async {
            let mut session = self.session(DOING).await?;
            session.begin(DOING, tenant).await?;
            let written = self.replace(&mut session, tenant, &subject, &columns).await;
            written.map_err(StoreError::while_doing(DOING))?;
            session.commit(DOING).await
        })
        .await?;
        Ok(Indexed { indexed: items.len(), left_out: all - items.len() })
    }

    async fn replace(
        &self,
        session: &mut Session,
        tenant: &str,
        subject: &Subject,
        columns: &Columns<'_>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "select pg_advisory_xact_lock(hashtextextended('enact.search/' || $1::text || '/' || $2::text, 0))",
            tenant,
            subject.uid,
        )
        .execute(session.statement())
        .await?;
        let before = sqlx::query_scalar!(
            "delete from enact.search_items where tenant_id = $1 and subject_uid = $2 returning digest",
            tenant,
            subject.uid,
        )
        .fetch_all(session.statement())
        .await?;
        if !columns.keys.is_empty() {
            columns.insert(session, tenant, subject).await?;
        }
        if !before.is_empty() && self.vectors(session).await?.is_some() {
            // Not checked when this is built: the table is not everywhere.
            sqlx::query(
                "delete from enact.search_embeddings e
                where tenant_id = $1 and digest = any($2)
                    and not exists (select from enact.search_items i where i.tenant_id = $1 and i.digest = e.digest)",
            )
            .bind(tenant)
            .bind(&before)
            .execute(session.statement())
            .await?;
        }
        Ok(())
    }

    /// Texts of a tenant that have no embedding of this model yet, of one document or of all; none where embeddings cannot be kept.
    /// At most 1,000 are returned: ask again after [`Store::put_embeddings`].
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn pending(
        &self,
        tenant: &str,
        subject_uid: Option<&str>,
        model: &str,
        limit: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        self.read("look for texts without embedding", tenant, async |session: &mut Session| {
            if self.vectors(session).await?.is_none() {
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
                Ok(Pending { digest: Digest::from(row.try_get::<String, _>(0)?), text: row.try_get(1)? })
            };
            rows.iter().map(pending).collect()
        })
        .await
    }

    /// Keeps what texts mean, in place of what another model said. Of texts that no item has any more nothing is kept; without
    /// pgvector, nothing at all.
    ///
    /// # Errors
    /// When an embedding is no direction, or they cannot be written.
    pub async fn put_embeddings(&self, tenant: &str, embeddings: &[(Digest, Embedding)]) -> Result<(), StoreError> {
        const DOING: &str = "keep embeddings";
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
        self.within(DOING, async {
            let mut session = self.session(DOING).await?;
            session.begin(DOING, tenant).await?;
            if let Some(home) = self.vectors(&mut session).await.map_err(StoreError::while_doing(DOING))? {
                let put = format!(
                    "insert into enact.search_embeddings (tenant_id, digest, model, dimensions, embedding)
                    select distinct on (digest) $1, digest, model, dimensions, embedding::{home}.vector
                    from unnest($2::text[], $3::text[], $4::integer[], $5::text[]) as t (digest, model, dimensions, embedding)
                    where exists (select from enact.search_items i where i.tenant_id = $1 and i.digest = t.digest)
                    order by digest
                    on conflict (tenant_id, digest) do update
                    set model = excluded.model, dimensions = excluded.dimensions, embedding = excluded.embedding"
                );
                sqlx::query(AssertSqlSafe(put))
                    .bind(tenant)
                    .bind(&digests)
                    .bind(&models)
                    .bind(&dimensions)
                    .bind(&vectors)
                    .execute(session.statement())
                    .await
                    .map_err(StoreError::while_doing(DOING))?;
            }
            session.commit(DOING).await
        })
        .await
    }
}

/// Items as Postgres takes them.
struct Columns<'i> {
    keys: Vec<&'i str>,
    kinds: Vec<&'i str>,
    lines: Vec<i32>,
    texts: Vec<&'i str>,
    digests: Vec<String>,
    pairs: Vec<String>,
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
            pairs: items.iter().map(|item| pairs::of(&item.text)).collect(),
        }
    }

    async fn insert(&self, session: &mut Session, tenant: &str, subject: &Subject) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into enact.search_items
                (tenant_id, subject_uid, ordinal, kind, namespace, name, item, item_kind, line, text, digest, pairs)
            select $1, $2, ordinal, $3, $4, $5, item, item_kind, line, text, digest, pairs
            from unnest($6::text[], $7::text[], $8::integer[], $9::text[], $10::text[], $11::text[]) with ordinality
                as t (item, item_kind, line, text, digest, pairs, ordinal)",
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
            &self.pairs,
        )
        .execute(session.statement())
        .await?;
        Ok(())
    }
}
