//! Documents that are about the same.

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row as _};

use super::MAX_HITS;
use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// How many of a document's words are compared: those that most of its items have.
const WORDS: i64 = 48;

/// A document that is about the same as another.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Related {
    /// Its UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// From 0 to 1; to be compared within one answer only.
    pub score: f64,
}

impl Store {
    /// The documents of the same kind whose items are most like those of the subject, most like first; never more than 50. With a
    /// model, by the cosine between the means of what their items mean; without one, or while the subject has no embeddings of it,
    /// by how much of its words they share, where a rare word weighs more.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn related(
        &self,
        tenant: &str,
        subject_uid: &str,
        model: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Related>, StoreError> {
        let limit = i64::from(limit.min(MAX_HITS));
        self.read("look for related documents", tenant, async |session: &mut Session| {
            if let Some(model) = model
                && let Some(home) = self.vectors(session).await?
            {
                let found = by_meaning(session, &home, tenant, subject_uid, model, limit).await?;
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            by_words(session, tenant, subject_uid, limit).await
        })
        .await
    }
}

async fn by_meaning(
    session: &mut Session,
    home: &str,
    tenant: &str,
    subject_uid: &str,
    model: &str,
    limit: i64,
) -> Result<Vec<Related>, sqlx::Error> {
    let means = format!(
        "with meaning as materialized (
            select i.subject_uid, i.kind, min(i.namespace) as namespace, min(i.name) as name, e.dimensions,
                   {home}.avg(e.embedding) as mean
            from enact.search_items i
            join enact.search_embeddings e on e.tenant_id = i.tenant_id and e.digest = i.digest
            where i.tenant_id = $1 and e.tenant_id = $1 and e.model = $3
            group by i.subject_uid, i.kind, e.dimensions
        )
        select other.subject_uid::text, other.namespace::text, other.name::text,
               greatest(0, 1 - (other.mean operator({home}.<=>) own.mean)) as score
        from meaning own
        join meaning other on other.kind = own.kind and other.dimensions = own.dimensions and other.subject_uid <> own.subject_uid
        where own.subject_uid = $2
        order by score desc, other.subject_uid limit $4"
    );
    let rows = sqlx::query(AssertSqlSafe(means))
        .bind(tenant)
        .bind(subject_uid)
        .bind(model)
        .bind(limit)
        .fetch_all(session.statement())
        .await?;
    let related = |row: &sqlx::postgres::PgRow| {
        Ok(Related { uid: row.try_get(0)?, namespace: row.try_get(1)?, name: row.try_get(2)?, score: row.try_get(3)? })
    };
    rows.iter().map(related).collect()
}

async fn by_words(
    session: &mut Session,
    tenant: &str,
    subject_uid: &str,
    limit: i64,
) -> Result<Vec<Related>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with words as materialized (
            select lexeme, ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery as query
            from enact.search_items
            cross join unnest(to_tsvector('pg_catalog.simple', text || ' ' || pairs) || to_tsvector('pg_catalog.english', text))
            where tenant_id = $1 and subject_uid = $2 and ts_lexize('pg_catalog.english_stem', lexeme) is distinct from '{}'
            group by lexeme order by count(*) desc, length(lexeme) desc, lexeme limit $3
        ), others as materialized (
            select distinct i.subject_uid, i.namespace, i.name, lexeme
            from enact.search_items i left join words on i.words @@ query
            where tenant_id = $1 and subject_uid <> $2
                and kind = (select kind from enact.search_items where tenant_id = $1 and subject_uid = $2 limit 1)
        ), rarity as materialized (
            select lexeme, ln(1 + (total - found + 0.5::float8) / (found + 0.5::float8)) as weight
            from (
                select lexeme, count(distinct subject_uid) as found from words left join others using (lexeme) group by lexeme
            ) each_word cross join (select count(distinct subject_uid) as total from others) documents
        )
        select subject_uid as "uid!", namespace as "namespace!", name as "name!",
               sum(weight) / (select sum(weight) from rarity) as "score!"
        from others join rarity using (lexeme)
        group by subject_uid, namespace, name
        order by 4 desc, subject_uid limit $4"#,
        tenant,
        subject_uid,
        WORDS,
        limit,
    )
    .fetch_all(session.statement())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Related { uid: row.uid, namespace: row.namespace, name: row.name, score: row.score })
        .collect())
}
