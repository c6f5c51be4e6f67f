//! Related documents.

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row as _};

use super::item::MAX_HITS;
use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// Number of words of a document that are compared: those that most of its items contain.
const WORDS: i64 = 48;

/// A document that is similar to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Related {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// From 0 to 1. Only comparable within one answer.
    pub score: f64,
}

impl Store {
    /// Returns documents of the same kind that are similar to the subject, most similar first, at most 50.
    ///
    /// With a model, similarity is the cosine between the means of the embeddings of their items. Without a model, or while the subject
    /// has no embeddings of it, similarity is the share of the subject's words that the other document contains, where a rare word weighs
    /// more.
    pub async fn related(
        &self,
        tenant: &str,
        subject_uid: &str,
        model: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Related>, StoreError> {
        let limit = i64::from(limit.min(MAX_HITS));
        self.transaction("find related documents", tenant, async |session: &mut Session| {
            if let Some(model) = model
                && let Some(schema) = self.vector_schema(session).await?
            {
                let found = by_meaning(session, &schema, tenant, subject_uid, model, limit).await?;
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
    schema: &str,
    tenant: &str,
    subject_uid: &str,
    model: &str,
    limit: i64,
) -> Result<Vec<Related>, sqlx::Error> {
    let means = format!(
        "with meaning as materialized (
            select i.subject_uid, i.kind, min(i.namespace) as namespace, min(i.name) as name, e.dimensions,
                   {schema}.avg(e.embedding) as mean
            from enact.search_items i
            join enact.search_embeddings e on e.tenant_id = i.tenant_id and e.digest = i.digest
            where i.tenant_id = $1 and e.tenant_id = $1 and e.model = $3
            group by i.subject_uid, i.kind, e.dimensions
        )
        select other.subject_uid::text, other.namespace::text, other.name::text,
               greatest(0, 1 - (other.mean operator({schema}.<=>) own.mean)) as score
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
            cross join unnest(to_tsvector('pg_catalog.simple', text || ' ' || bigrams) || to_tsvector('pg_catalog.english', text))
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
