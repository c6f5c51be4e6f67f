//! Search over the items of documents: by words, and by meaning where pgvector and an embedder are there.
//!
//! Every statement reads the tenant's own rows and no index that others share: see docs/adr/0007-exact-search-per-tenant.md.

mod fuse;
mod index;
mod pairs;
mod related;
mod vectors;

use serde::Serialize;

pub use fuse::Matched;
pub use index::{Indexed, Item, Pending};
pub use related::Related;
pub use vectors::Embedding;

use crate::error::StoreError;
use crate::sanitise::shorten;
use crate::session::Session;
use crate::store::Store;
use fuse::{Key, Ranked};

/// Most hits in one answer.
const MAX_HITS: u32 = 50;
/// How many of each ranking are merged.
const CANDIDATES: i64 = 100;
/// Longest text that is searched for, in bytes; the rest of a longer one is not looked at.
const MAX_QUERY_BYTES: usize = 2 << 10;
/// Most words that are searched for; of more, the longest.
const MAX_WORDS: i64 = 32;
/// Longest excerpt of a hit, in bytes.
const EXCERPT_BYTES: usize = 400;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ItemKind {
    /// A principle of a constitution.
    Principle,
    /// A functional requirement.
    Requirement,
    /// A success criterion.
    Criterion,
    /// A user story.
    Story,
    /// A decision of a plan.
    Decision,
    /// A task of a plan.
    Task,
}

impl ItemKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Principle, Self::Requirement, Self::Criterion, Self::Story, Self::Decision, Self::Task];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Principle => "Principle",
            Self::Requirement => "Requirement",
            Self::Criterion => "Criterion",
            Self::Story => "Story",
            Self::Decision => "Decision",
            Self::Task => "Task",
        }
    }
}

/// What is searched for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// In a person's words. There are no operators: a quote or a minus is no more than a character.
    pub text: String,
    /// What the text means; without it, search is by words alone.
    pub embedding: Option<Embedding>,
    /// In these namespaces only.
    pub namespaces: Option<Vec<String>>,
    /// Of these kinds only; all when empty.
    pub kinds: Vec<ItemKind>,
    /// Most hits; never more than 50.
    pub limit: u32,
}

/// An item that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    /// Kind of the object that the item stands in.
    pub kind: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The object's UID.
    pub uid: String,
    /// The item's id: `FR-001`, say.
    pub item: String,
    /// What it is.
    pub item_kind: String,
    /// Its line in the document, from 1; 0 when it has none.
    pub line: u32,
    /// Its text, or the beginning of it.
    pub text: String,
    /// Higher is better; to be compared within one answer only.
    pub score: f64,
    /// By which way it was found.
    pub matched: Matched,
}

impl Store {
    /// The items that fit `query` best, best first: ranked by words and by meaning, and merged by the ranks.
    ///
    /// # Errors
    /// When the embedding is no direction, or Postgres does not answer.
    pub async fn search(&self, tenant: &str, query: &Query) -> Result<Vec<Hit>, StoreError> {
        const DOING: &str = "search";
        // Postgres knows no letter that looks different at the end of a word.
        let mut text =
            query.text.get(..query.text.floor_char_boundary(MAX_QUERY_BYTES)).unwrap_or_default().to_lowercase();
        shorten(&mut text, MAX_QUERY_BYTES);
        let pairs = pairs::of(&text);
        let filter = Filter {
            namespaces: query.namespaces.clone(),
            kinds: (!query.kinds.is_empty()).then(|| query.kinds.iter().map(|k| k.as_str().to_owned()).collect()),
        };
        let unit = query.embedding.as_ref().map(Embedding::unit).transpose()?;
        let limit = usize::try_from(query.limit.min(MAX_HITS)).unwrap_or_default();
        self.read(DOING, tenant, async |session: &mut Session| {
            let by_words = by_words(session, tenant, &format!("{text} {pairs}"), &text, &filter).await?;
            let by_meaning = match &unit {
                Some(unit) => match self.vectors(session).await? {
                    Some(home) => vectors::nearest(session, &home, tenant, unit, &filter, CANDIDATES).await?,
                    None => Vec::new(),
                },
                None => Vec::new(),
            };
            let ranked = fuse::fuse(&by_words, &by_meaning, limit);
            read_hits(session, tenant, &ranked).await
        })
        .await
    }
}

/// Which items count.
struct Filter {
    namespaces: Option<Vec<String>>,
    kinds: Option<Vec<String>>,
}

/// The items that have words of the text, best first.
///
/// Ranked by BM25 (Robertson and Zaragoza, 2009, with k1 = 1.2 and b = 0.75), where a word counts once for an item and the average item
/// is taken to have 40 words: a rare word weighs more, and so does a word of a short item.
async fn by_words(
    session: &mut Session,
    tenant: &str,
    any_language: &str,
    english: &str,
    filter: &Filter,
) -> Result<Vec<Key>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with words as materialized (
            -- A word that English does without is looked for only when there is no other.
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
            -- In floating point: Postgres takes constants for decimals, whose logarithm is slow.
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
        text.truncate(text.floor_char_boundary(EXCERPT_BYTES));
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
