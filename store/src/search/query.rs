//! Queries over items.

use serde::Serialize;

use super::bigrams;
use super::fuse::{Key, Matched, Ranked, fuse};
use super::item::{Filter, ItemKind, MAX_HITS};
use super::vectors::{Embedding, nearest};
use crate::error::StoreError;
use crate::sanitise::truncate;
use crate::session::Session;
use crate::store::Store;

/// Length of each ranking before they are merged.
const CANDIDATES: i64 = 100;
/// Maximum length of a query, in bytes; a longer one is truncated.
const MAX_QUERY_BYTES: usize = 2 << 10;
/// Maximum number of words of a query; the longest words are used.
const MAX_WORDS: i64 = 32;
/// Maximum length of a hit's text, in bytes.
const EXCERPT_BYTES: usize = 400;

/// A search query.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Words to search for. There are no operators: a quote or a minus is an ordinary character.
    pub text: String,
    /// Embedding of the text; without it, the search uses words only.
    pub embedding: Option<Embedding>,
    /// Namespaces to search; all if absent.
    pub namespaces: Option<Vec<String>>,
    /// Kinds of items to search for; all if empty.
    pub kinds: Vec<ItemKind>,
    /// Maximum number of hits, at most 50.
    pub limit: u32,
}

/// An item that matches a query.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    /// Kind of the object that contains the item.
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Id of the item, such as `FR-001`.
    pub item: String,
    pub item_kind: String,
    /// Line of the item in the document, from 1; 0 if it has none.
    pub line: u32,
    /// The beginning of the item's text.
    pub text: String,
    /// Higher is better. Only comparable within one answer.
    pub score: f64,
    pub matched: Matched,
}

impl Store {
    /// Returns the items that match `query` best, best first: it ranks them by words and by meaning, and merges both rankings.
    ///
    /// # Errors
    /// If the embedding is invalid or Postgres does not answer.
    pub async fn search(&self, tenant: &str, query: &Query) -> Result<Vec<Hit>, StoreError> {
        let mut text = query.text.clone();
        truncate(&mut text, MAX_QUERY_BYTES);
        // Lower case by Rust: Postgres does not lower a Greek sigma to its form at the end of a word. Lower case can be longer.
        let mut text = text.to_lowercase();
        truncate(&mut text, MAX_QUERY_BYTES);
        let any_language = format!("{text} {}", bigrams::of(&text));
        let filter = Filter {
            namespaces: query.namespaces.clone(),
            kinds: (!query.kinds.is_empty()).then(|| query.kinds.iter().map(|k| k.as_str().to_owned()).collect()),
        };
        // Check the embedding before a connection is taken.
        let unit = query.embedding.as_ref().map(Embedding::unit).transpose()?;
        let limit = usize::try_from(query.limit.min(MAX_HITS)).unwrap_or_default();
        self.transaction("search", tenant, async |session: &mut Session| {
            let by_words = by_words(session, tenant, &any_language, &text, &filter).await?;
            let by_meaning = match &unit {
                Some(unit) => match self.vector_schema(session).await? {
                    Some(schema) => nearest(session, &schema, tenant, unit, &filter, CANDIDATES).await?,
                    None => Vec::new(),
                },
                None => Vec::new(),
            };
            let ranked = fuse(&by_words, &by_meaning, limit);
            read_hits(session, tenant, &ranked).await
        })
        .await
    }
}

/// Returns the items that contain words of the text, best first.
///
/// They are ranked by BM25 (Robertson and Zaragoza, 2009, with k1 = 1.2 and b = 0.75) with two simplifications: a word counts once in an
/// item, and the average length of an item is 40 words.
async fn by_words(
    session: &mut Session,
    tenant: &str,
    any_language: &str,
    english: &str,
    filter: &Filter,
) -> Result<Vec<Key>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with words as materialized (
            -- English stop words are used only if the query has no other words.
            select lexeme, ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery as query,
                   coalesce(ts_lexize('pg_catalog.english_stem', lexeme) = '{}', false) as common
            from unnest(to_tsvector('pg_catalog.simple', $2) || to_tsvector('pg_catalog.english', $3))
            order by common, length(lexeme) desc, lexeme limit $4
        ), wanted as materialized (
            select lexeme, query from words where not common or not exists (select from words where not common)
        ), matches as (
            select subject_uid, ordinal, length(i.words) as length, lexeme
            from enact.search_items i join wanted on i.words @@ query
            where tenant_id = $1 and ($5::text[] is null or namespace = any($5)) and ($6::text[] is null or item_kind = any($6))
        ), rarity as materialized (
            -- Casts to floating point: constants are numerics otherwise, and their logarithm is slow.
            select lexeme, ln(1 + (total - found + 0.5::float8) / (found + 0.5::float8)) as weight
            from (select lexeme, count(*) as found from matches group by lexeme) each_word
            cross join (
                select count(*) as total from enact.search_items
                where tenant_id = $1 and ($5::text[] is null or namespace = any($5)) and ($6::text[] is null or item_kind = any($6))
            ) items
        )
        select subject_uid as "subject_uid!", ordinal as "ordinal!"
        from matches join rarity using (lexeme)
        group by subject_uid, ordinal, length
        order by sum(weight) * 2.2::float8 / (1.3::float8 + 0.0225::float8 * length) desc, subject_uid, ordinal
        limit $7"#,
        tenant,
        any_language,
        english,
        MAX_WORDS,
        filter.namespaces.as_deref(),
        filter.kinds.as_deref(),
        CANDIDATES,
    )
    .fetch_all(session.statement())
    .await?;
    Ok(rows.into_iter().map(|row| (row.subject_uid, row.ordinal)).collect())
}

async fn read_hits(session: &mut Session, tenant: &str, ranked: &[Ranked]) -> Result<Vec<Hit>, sqlx::Error> {
    let subjects: Vec<&str> = ranked.iter().map(|ranked| ranked.key.0.as_str()).collect();
    let ordinals: Vec<i32> = ranked.iter().map(|ranked| ranked.key.1).collect();
    let rows = sqlx::query!(
        r#"select ord as "ord!", kind, namespace as "namespace!", name as "name!", i.subject_uid as "uid!", item, item_kind, line, text
        from unnest($2::text[], $3::integer[]) with ordinality as wanted (subject_uid, ordinal, ord)
        join enact.search_items i on i.subject_uid = wanted.subject_uid and i.ordinal = wanted.ordinal
        where i.tenant_id = $1 order by ord"#,
        tenant,
        &subjects as &[&str],
        &ordinals,
    )
    .fetch_all(session.statement())
    .await?;
    let hits = rows.into_iter().filter_map(|row| {
        let ranked = ranked.get(usize::try_from(row.ord - 1).ok()?)?;
        let mut text = row.text;
        truncate(&mut text, EXCERPT_BYTES);
        Some(Hit {
            kind: row.kind,
            namespace: row.namespace,
            name: row.name,
            uid: row.uid,
            item: row.item,
            item_kind: row.item_kind,
            line: row.line.unsigned_abs(),
            text,
            score: ranked.score,
            matched: ranked.matched,
        })
    });
    Ok(hits.collect())
}
