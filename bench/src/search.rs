//! Search in a tenant with one percent of 100,000 vectors, compared with an exact scan and an approximate index on the same rows, and in a
//! tenant with 100,000 vectors.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Result;
use enact_domain::record::{Kind, Subject};
use enact_store::{Embedding, Hit, Item, ItemKind, Query, Store};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::database::Database;
use crate::figures::{Figures, Times};

/// The dimensions of all-MiniLM-L6-v2.
const DIMENSIONS: usize = 384;
/// The number of items of the measured tenant, and of each of 99 others.
const OWN: usize = 1_000;
/// The number of items of a document.
const DOCUMENT: usize = 50;
/// The number of topics, the same for all tenants. Each vector is near to one of them.
const TOPICS: usize = 50;
/// The number of searches of a measurement.
const SEARCHES: usize = 200;
/// The requested number of hits.
const HITS: u32 = 10;
const MODEL: &str = "bench";
const WORDS: [&str; 16] = [
    "order", "payment", "customer", "invoice", "report", "login", "password", "search", "export", "import", "backup",
    "message", "address", "delivery", "account", "limit",
];

/// A generator of pseudorandom vectors and texts, the same in each run.
struct Source {
    random: StdRng,
    topics: Vec<Vec<f32>>,
}

impl Source {
    fn new() -> Self {
        let mut random = StdRng::seed_from_u64(4);
        let topics = (0..TOPICS).map(|_| noise(&mut random)).collect();
        Self { random, topics }
    }

    /// Returns a vector near one of the topics.
    fn vector(&mut self) -> Vec<f32> {
        let topic = &self.topics[self.random.random_range(0..TOPICS)];
        let noise = noise(&mut self.random);
        topic.iter().zip(noise).map(|(topic, noise)| topic + noise).collect()
    }

    fn text(&mut self) -> String {
        let words: Vec<&str> = (0..20).map(|_| WORDS[self.random.random_range(0..WORDS.len())]).collect();
        format!("The system MUST {} within {} s", words.join(" "), self.random.random_range(0..100_000))
    }

    fn query(&mut self) -> Query {
        let values = self.vector();
        let text =
            format!("{} of {}", WORDS[self.random.random_range(0..WORDS.len())], self.random.random_range(0..99));
        let embedding = Some(Embedding { model: MODEL.to_owned(), values });
        Query { text, embedding, limit: HITS, ..Query::default() }
    }
}

fn noise(random: &mut StdRng) -> Vec<f32> {
    (0..DIMENSIONS).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// Measures search on a server on which it may create databases.
///
/// # Errors
/// If Postgres fails or has no pgvector.
pub async fn measure(server: &str, figures: &mut Figures) -> Result<()> {
    let mut database = Database::new(server).await?;
    let measured = Box::pin(measure_in(&mut database, figures)).await;
    database.remove().await?;
    measured
}

async fn measure_in(database: &mut Database, figures: &mut Figures) -> Result<()> {
    anyhow::ensure!(database.store.has_vectors().await?, "this Postgres has no pgvector");
    let mut source = Source::new();
    let begun = Instant::now();
    let own = index(&database.store, "own", &mut source).await?;
    figures.add("search: items indexed a second, with their vectors", count(OWN) / begun.elapsed().as_secs_f64(), "/s");
    database.owner.execute("vacuum analyze enact.search_items, enact.search_embeddings").await?;
    let queries: Vec<Query> = (0..SEARCHES).map(|_| source.query()).collect();

    let alone = search(&database.store, "own", &queries).await?;
    figures.add("search: alone, p50", alone.times.percentile(50) * 1000.0, "ms");
    others(&mut database.owner, &source).await?;
    let beside = search(&database.store, "own", &queries).await?;
    figures.add("search: 1 % of 100,000 vectors, p50", beside.times.percentile(50) * 1000.0, "ms");
    figures.add("search: 1 % of 100,000 vectors, p95", beside.times.percentile(95) * 1000.0, "ms");
    figures.add(
        "search: beside 99 tenants against alone, p50",
        beside.times.percentile(50) / alone.times.percentile(50),
        "x",
    );
    anyhow::ensure!(alone.hits == beside.hits, "other tenants change what a tenant finds");

    let by_meaning: Vec<Query> = queries.iter().map(|query| Query { text: String::new(), ..query.clone() }).collect();
    let meaning = search(&database.store, "own", &by_meaning).await?;
    figures.add("search: recall@10 for the 1 % tenant", meaning.recall(&own, &by_meaning), "");
    figures.add("search: by meaning alone, p50", meaning.times.percentile(50) * 1000.0, "ms");
    let scan = raw(&mut database.owner, "search_embeddings", &by_meaning).await?;
    figures.add("reference: raw exact scan in SQL, p50", scan.times.percentile(50) * 1000.0, "ms");
    figures.add("reference: raw exact scan in SQL, p95", scan.times.percentile(95) * 1000.0, "ms");
    figures.add(
        "search: by meaning against the raw scan, p50",
        meaning.times.percentile(50) / scan.times.percentile(50),
        "x",
    );

    approximate(&mut database.owner).await?;
    let approximate = raw(&mut database.owner, "approximate", &by_meaning).await?;
    figures.add("reference: recall@10 of one HNSW index for all, filtered", approximate.recall(&own, &by_meaning), "");
    figures.add("reference: one HNSW index for all, filtered, p50", approximate.times.percentile(50) * 1000.0, "ms");

    database.owner.execute("set hnsw.iterative_scan = strict_order").await?;
    let scanned_on = raw(&mut database.owner, "approximate", &by_meaning).await?;
    figures.add("reference: recall@10 of the same, scanning on", scanned_on.recall(&own, &by_meaning), "");
    figures.add("reference: the same, scanning on, p50", scanned_on.times.percentile(50) * 1000.0, "ms");
    figures.add("reference: the same, scanning on, p95", scanned_on.times.percentile(95) * 1000.0, "ms");

    let few = &queries[..SEARCHES / 10];
    let large = search(&database.store, "large", few).await?;
    figures.add("search: 100,000 vectors in one tenant, p50", large.times.percentile(50) * 1000.0, "ms");
    figures.add("search: 100,000 vectors in one tenant, p95", large.times.percentile(95) * 1000.0, "ms");
    let again = search(&database.store, "own", &queries).await?;
    figures.add("search: 0.5 % of 200,000 vectors, p50", again.times.percentile(50) * 1000.0, "ms");
    Ok(())
}

/// Indexes the items of the measured tenant as the operator does, and returns their texts and vectors.
async fn index(store: &Store, tenant: &str, source: &mut Source) -> Result<Vec<(String, Vec<f32>)>> {
    let mut own = Vec::with_capacity(OWN);
    for document in 0..OWN / DOCUMENT {
        let name = format!("document-{document}");
        let subject = Subject { kind: Kind::Specification, namespace: "bench".to_owned(), uid: name.clone(), name };
        let items = (0..DOCUMENT).map(|number| Item {
            kind: ItemKind::Requirement,
            key: format!("FR-{number:03}"),
            line: 1,
            text: source.text(),
        });
        store.index_items(tenant, &subject, items.collect()).await?;
        let pending = store.pending(tenant, Some(&subject.uid), MODEL, 1_000).await?;
        let mut embeddings = Vec::with_capacity(pending.len());
        for text in pending {
            let values = source.vector();
            own.push((text.text, values.clone()));
            embeddings.push((text.digest, Embedding { model: MODEL.to_owned(), values }));
        }
        store.put_embeddings(tenant, &embeddings).await?;
    }
    Ok(own)
}

/// Adds 99 other tenants with a thousand items each, and one with 100,000, about the same topics.
async fn others(owner: &mut PgConnection, source: &Source) -> Result<()> {
    owner.execute("create temporary table topics (number integer, vector enact.vector)").await?;
    for (number, topic) in (0_i32..).zip(&source.topics) {
        sqlx::query("insert into topics values ($1, $2::real[]::enact.vector)")
            .bind(number)
            .bind(topic)
            .execute(&mut *owner)
            .await?;
    }
    let words = WORDS.map(|word| format!("'{word}'")).join(",");
    let fill = format!(
        "insert into enact.search_items
            (tenant_id, subject_uid, ordinal, kind, namespace, name, item, item_kind, line, text, digest, bigrams)
        select tenant, 'document-' || n / {DOCUMENT}, n % {DOCUMENT} + 1, 'Specification', 'bench', 'document', 'FR-' || n,
            'Requirement', 1,
            (select string_agg((array[{words}])[1 + floor(random() * {})::integer], ' ') from generate_series(1, 20) where n >= 0),
            tenant || n, ''
        from (
            select 'tenant-' || t, n from generate_series(1, 99) t, generate_series(0, {OWN} - 1) n
            union all select 'large', n from generate_series(0, 99999) n
        ) each_item (tenant, n);
        insert into enact.search_embeddings (tenant_id, digest, model, dimensions, embedding)
        select tenant_id, digest, '{MODEL}', {DIMENSIONS}, enact.l2_normalize(vector operator(enact.+)
            (select array_agg(random() * 2 - 1) from generate_series(1, {DIMENSIONS}) where ordinal > 0)::real[]::enact.vector)
        from enact.search_items join topics on number = (ordinal * 7 + length(text)) % {TOPICS}
        where tenant_id <> 'own';
        vacuum analyze enact.search_items, enact.search_embeddings",
        WORDS.len()
    );
    for statement in fill.split(';') {
        owner.execute(AssertSqlSafe(statement.to_owned())).await?;
    }
    Ok(())
}

/// Creates one HNSW index of the vectors of the hundred tenants, as pgvector's manual describes.
async fn approximate(owner: &mut PgConnection) -> Result<()> {
    let copy = format!(
        "set maintenance_work_mem = '1GB';
        create table enact.approximate as select tenant_id::text, digest, embedding::enact.vector({DIMENSIONS})
            from enact.search_embeddings where tenant_id <> 'large';
        create index on enact.approximate using hnsw (embedding enact.vector_ip_ops);
        analyze enact.approximate"
    );
    owner.execute(AssertSqlSafe(copy)).await?;
    Ok(())
}

/// The results and durations of searches.
struct Found {
    times: Times,
    /// The texts, or their digests, for each query.
    hits: Vec<Vec<String>>,
}

impl Found {
    /// Returns the recall: the share of each query's ten nearest items that was found.
    fn recall(&self, own: &[(String, Vec<f32>)], queries: &[Query]) -> f64 {
        let mut found = 0;
        for (hits, query) in self.hits.iter().zip(queries) {
            let wanted = query.embedding.as_ref().map_or(&[][..], |embedding| &embedding.values);
            let mut nearest: Vec<(f64, &str)> =
                own.iter().map(|(text, vector)| (cosine(vector, wanted), text.as_str())).collect();
            nearest.sort_by(|one, other| other.0.total_cmp(&one.0));
            let nearest: BTreeSet<String> = nearest.iter().take(HITS as usize).map(|(_, text)| digest(text)).collect();
            found += hits.iter().filter(|hit| nearest.contains(*hit)).count();
        }
        count(found) / (count(queries.len()) * f64::from(HITS))
    }
}

async fn search(store: &Store, tenant: &str, queries: &[Query]) -> Result<Found> {
    let mut times = Vec::with_capacity(queries.len());
    let mut hits = Vec::with_capacity(queries.len());
    // Fills the caches.
    store.search(tenant, &queries[0]).await?;
    for query in queries {
        let begun = Instant::now();
        let found = store.search(tenant, query).await?;
        times.push(begun.elapsed().as_secs_f64());
        hits.push(found.iter().map(|hit: &Hit| digest(&hit.text)).collect());
    }
    Ok(Found { times: Times::new(times), hits })
}

/// Runs the same query on a table as its superuser, in one statement.
async fn raw(owner: &mut PgConnection, table: &str, queries: &[Query]) -> Result<Found> {
    let statement = format!(
        "select digest from enact.{table} where tenant_id = 'own'
        order by embedding operator(enact.<#>) $1::real[]::enact.vector limit {HITS}"
    );
    let mut times = Vec::with_capacity(queries.len());
    let mut hits = Vec::with_capacity(queries.len());
    for query in queries {
        let values = query.embedding.as_ref().map(|embedding| embedding.values.clone()).unwrap_or_default();
        let begun = Instant::now();
        let found: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(statement.clone())).bind(values).fetch_all(&mut *owner).await?;
        times.push(begun.elapsed().as_secs_f64());
        hits.push(found);
    }
    Ok(Found { times: Times::new(times), hits })
}

fn digest(text: &str) -> String {
    enact_domain::digest::Digest::of_bytes(text.as_bytes()).as_str().to_owned()
}

fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
