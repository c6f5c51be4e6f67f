//! Search by words and by meaning, in the documents of one tenant.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use enact_domain::digest::Digest;
use enact_domain::record::{Kind, Subject};
use enact_store::{Config, Embedding, Hit, IndexOutcome, Item, ItemKind, Login, Matched, Query, Store, migrate};
use sqlx::{AssertSqlSafe, Connection as _, Executor};
use support::{Database, subject};

fn item(key: &str, text: &str) -> Item {
    Item { kind: ItemKind::Requirement, key: key.into(), line: 7, text: text.into() }
}

fn spec(name: &str) -> Subject {
    subject(Kind::Specification, name)
}

fn words(text: &str) -> Query {
    Query { text: text.into(), limit: 50, ..Query::default() }
}

fn embedding(values: &[f32]) -> Embedding {
    Embedding { model: "m".into(), values: values.to_vec() }
}

/// Returns a vector between two axes.
fn towards(degrees: f32) -> Embedding {
    embedding(&[degrees.to_radians().cos(), degrees.to_radians().sin()])
}

fn meaning(embedding: Embedding) -> Query {
    Query { embedding: Some(embedding), limit: 50, ..Query::default() }
}

async fn found(store: &Store, tenant: &str, query: &Query) -> Vec<String> {
    let hits = store.search(tenant, query).await.unwrap();
    hits.into_iter().map(|hit| format!("{}/{}", hit.name, hit.item)).collect()
}

/// Stores the embedding that `embedding` returns for each pending text.
async fn embed(store: &Store, tenant: &str, embedding: impl Fn(&str) -> Embedding) -> usize {
    let pending = store.pending(tenant, None, "m", 1_000).await.unwrap();
    let embeddings: Vec<_> = pending.iter().map(|text| (text.digest.clone(), embedding(&text.text))).collect();
    store.put_embeddings(tenant, &embeddings).await.unwrap();
    pending.len()
}

async fn shop(store: &Store) {
    let items = vec![
        item("FR-001", "Customers can pay their orders by credit card"),
        item("FR-002", "The shop MUST list the goods that it sells"),
        Item { kind: ItemKind::Story, ..item("US1", "A customer searches goods and orders them") },
    ];
    store.index_items("a", &spec("shop"), items).await.unwrap();
    let items = vec![item("FR-001", "The clinic MUST keep the records of its patients")];
    store.index_items("a", &Subject { namespace: "other".into(), ..spec("clinic") }, items).await.unwrap();
}

#[tokio::test]
async fn finds_words_by_their_stems_and_weights_rare_ones() {
    let database = Database::migrated().await;
    let store = database.store();
    shop(&store).await;
    assert_eq!(found(&store, "a", &words("paying by customers' order")).await, ["shop/FR-001", "shop/US1"]);
    assert_eq!(found(&store, "a", &words("which GOODS must be sold")).await[0], "shop/FR-002");
    assert_eq!(found(&store, "a", &words("fr-002")).await[0], "shop/FR-002", "an id is a word too");
    assert_eq!(found(&store, "a", &words("the")).await.len(), 2, "a query of a stop word only finds it");
    assert_eq!(found(&store, "a", &words("helicopter")).await, [""; 0]);
    let hits = store.search("a", &words("patients")).await.unwrap();
    let expected = Hit {
        kind: "Specification".into(),
        namespace: "other".into(),
        name: "clinic".into(),
        uid: "uid-clinic".into(),
        item: "FR-001".into(),
        item_kind: "Requirement".into(),
        line: 7,
        text: "The clinic MUST keep the records of its patients".into(),
        score: hits[0].score,
        matched: Matched::FullText,
    };
    assert_eq!(hits, [expected]);
}

#[tokio::test]
async fn filters_and_limits_apply_to_both_rankings() {
    let database = Database::migrated().await;
    let store = database.store();
    shop(&store).await;
    assert_eq!(embed(&store, "a", |text| towards(if text.contains("patients") { 80.0 } else { 10.0 })).await, 4);
    let query = Query { embedding: Some(towards(80.0)), ..words("customers goods") };
    let hits = store.search("a", &query).await.unwrap();
    assert_eq!(hits.len(), 4);
    let way = |key: &str, name: &str| hits.iter().find(|hit| hit.item == key && hit.name == name).unwrap().matched;
    assert_eq!((way("FR-001", "clinic"), way("US1", "shop")), (Matched::Vector, Matched::Both));
    let only = |namespaces: &[&str], kinds: &[ItemKind]| Query {
        namespaces: Some(namespaces.iter().map(|&n| n.to_owned()).collect()),
        kinds: kinds.to_vec(),
        ..query.clone()
    };
    assert_eq!(found(&store, "a", &only(&["other"], &[])).await, ["clinic/FR-001"]);
    assert_eq!(found(&store, "a", &only(&["team"], &[ItemKind::Story])).await, ["shop/US1"]);
    assert_eq!(found(&store, "a", &only(&[], &[])).await, [""; 0], "an empty list of namespaces selects no item");
    assert_eq!(found(&store, "a", &only(&["team", "other"], &ItemKind::ALL)).await.len(), 4);
    assert_eq!(found(&store, "a", &Query { limit: 1, ..query.clone() }).await.len(), 1);
    assert_eq!(found(&store, "a", &Query { limit: 0, ..query.clone() }).await.len(), 0);
    let many: Vec<Item> = (0..80).map(|number| item(&number.to_string(), "goods for all")).collect();
    store.index_items("a", &spec("many"), many).await.unwrap();
    assert_eq!(found(&store, "a", &Query { limit: u32::MAX, ..query }).await.len(), 50);
}

#[tokio::test]
async fn indexing_keeps_the_embeddings_of_unchanged_texts() {
    let database = Database::migrated().await;
    let store = database.store();
    let index = async |texts: &[&str]| {
        let items = texts.iter().enumerate().map(|(n, text)| item(&n.to_string(), text)).collect();
        store.index_items("a", &spec("s"), items).await.unwrap()
    };
    assert_eq!(index(&["one", "two", "two"]).await, IndexOutcome { indexed: 3, left_out: 0 });
    assert_eq!(embed(&store, "a", |_| towards(0.0)).await, 2, "a text is embedded once");
    assert_eq!(index(&["two", "three"]).await.indexed, 2);
    let pending = store.pending("a", Some("uid-s"), "m", 10).await.unwrap();
    assert_eq!(pending.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(), ["three"]);
    assert_eq!(database.number("select count(*) from search_embeddings").await, 1, "the embedding of `one` is deleted");
    assert_eq!(found(&store, "a", &words("one")).await, [""; 0]);
    // An embedding of a text that is no longer an item is not stored.
    let late = (Digest::of_bytes(b"one"), towards(0.0));
    store.put_embeddings("a", &[late.clone(), late]).await.unwrap();
    assert_eq!(database.number("select count(*) from search_embeddings").await, 1);
    assert_eq!(store.pending("a", Some("uid-other"), "m", 10).await.unwrap(), []);
    assert_eq!(index(&[]).await.indexed, 0);
    assert_eq!(database.number("select count(*) from search_items").await, 0);
    assert_eq!(database.number("select count(*) from search_embeddings").await, 0);
}

#[tokio::test]
async fn embeddings_of_two_models_are_never_compared() {
    let database = Database::migrated().await;
    let store = database.store();
    store.index_items("a", &spec("s"), vec![item("1", "one"), item("2", "two")]).await.unwrap();
    embed(&store, "a", |_| towards(0.0)).await;
    let of = |model: &str, values: &[f32]| Embedding { model: model.into(), values: values.to_vec() };
    assert_eq!(found(&store, "a", &meaning(towards(0.0))).await.len(), 2);
    assert_eq!(found(&store, "a", &meaning(of("other", &[1.0, 0.0]))).await.len(), 0);
    assert_eq!(found(&store, "a", &meaning(of("m", &[1.0, 0.0, 0.0]))).await.len(), 0, "of other dimensions");
    // The embeddings of another model replace these text by text.
    assert_eq!(store.pending("a", None, "other", 10).await.unwrap().len(), 2);
    store.put_embeddings("a", &[(Digest::of_bytes(b"one"), of("other", &[1.0, 0.0, 0.0]))]).await.unwrap();
    assert_eq!(found(&store, "a", &meaning(of("other", &[1.0, 0.0, 0.0]))).await, ["s/1"]);
    assert_eq!(found(&store, "a", &meaning(towards(0.0))).await, ["s/2"]);
    assert_eq!(store.related("a", "uid-s", Some("m"), 10).await.unwrap(), []);
}

#[tokio::test]
async fn other_tenants_affect_no_result() {
    let database = Database::migrated().await;
    let store = database.store();
    shop(&store).await;
    embed(&store, "a", |text| towards(if text.contains("goods") { 10.0 } else { 80.0 })).await;
    let query = Query { embedding: Some(towards(15.0)), ..words("customers order goods") };
    let alone = store.search("a", &query).await.unwrap();
    let related = store.related("a", "uid-shop", Some("m"), 9).await.unwrap();
    // Another tenant with the same texts under the same names, and many more items with the same words.
    let mut items: Vec<Item> = (0..500).map(|n| item(&n.to_string(), &format!("customers order goods {n}"))).collect();
    items.push(item("FR-001", "Customers can pay their orders by credit card"));
    store.index_items("b", &spec("shop"), items).await.unwrap();
    embed(&store, "b", |_| towards(15.0)).await;
    assert_eq!(store.search("a", &query).await.unwrap(), alone, "neither hits nor scores");
    assert_eq!(store.related("a", "uid-shop", Some("m"), 9).await.unwrap(), related);
    assert_eq!(store.pending("a", None, "m", 10).await.unwrap(), []);
    assert_eq!(store.search("c", &query).await.unwrap(), []);
    assert_eq!(store.search("b", &words("patients")).await.unwrap(), []);
    store.index_items("b", &spec("shop"), Vec::new()).await.unwrap();
    assert_eq!(store.search("a", &query).await.unwrap(), alone);
    let error = store.search("a' or true --", &query).await.expect_err("no tenant");
    assert_eq!(error.category(), "invalid");
}

#[tokio::test]
async fn no_index_spans_tenants() {
    let database = Database::migrated().await;
    let indexes: Vec<String> = sqlx::query_scalar(
        "select pg_get_indexdef(indexrelid) from pg_index
        where indrelid in ('enact.search_items'::regclass, 'enact.search_embeddings'::regclass) order by 1",
    )
    .fetch_all(&mut database.superuser().await)
    .await
    .unwrap();
    assert_eq!(indexes.len(), 3);
    for index in indexes {
        assert!(
            index.contains("USING btree (tenant_id, "),
            "{index} would contain words or vectors of several tenants"
        );
    }
}

#[tokio::test]
async fn finds_words_of_many_languages() {
    let database = Database::migrated().await;
    let store = database.store();
    let texts = [
        ("de", "Die Größe des Warenkorbs MUSS begrenzt sein"),
        ("ru", "Пользователь должен оплатить заказ картой"),
        ("ja", "利用者は購物車の商品をカートで支払うことができる"),
        ("zh", "系统必须限制购物车的大小"),
        ("th", "ระบบต้องจำกัดตะกร้าสินค้า"),
        ("ko", "시스템은 장바구니의 크기를 제한해야 한다"),
        ("el", "Ο πελάτης πληρώνει με κάρτα"),
    ];
    let items = texts.map(|(key, text)| item(key, text)).to_vec();
    store.index_items("a", &spec("s"), items).await.unwrap();
    for (query, key) in [
        ("größe", "de"),
        ("ОПЛАТИТЬ", "ru"),
        ("商品", "ja"),
        ("カート", "ja"),
        ("购物车", "zh"),
        ("ตะกร้า", "th"),
        ("장바구니", "ko"),
        ("ΠΕΛΆΤΗΣ", "el"),
    ] {
        assert_eq!(found(&store, "a", &words(query)).await.first(), Some(&format!("s/{key}")), "{query}");
    }
}

#[tokio::test]
async fn hostile_queries_are_words() {
    let database = Database::migrated().await;
    let store = database.store();
    shop(&store).await;
    let ten_kib = "goods ".repeat(2_000);
    let many_words: String = (0..5_000).map(|n| format!("w{n} ")).collect();
    let joined = "車".repeat(4_000);
    for text in [
        "goods & | ! <-> :* ( ' \" \\ \\' '' -- ;",
        "'; drop schema enact cascade; --",
        "\\' | 'goods",
        "goods\0goods",
        "\0",
        "",
        " \u{200B}\u{202E}\u{FEFF} ",
        "http://goods.example/a?b=c&d=%00 user@example.org /etc/passwd 1e400 -1",
        "<b>goods</b> <script>",
        &ten_kib,
        &many_words,
        &joined,
        &"x".repeat(10 << 10),
        &"ü".repeat(10 << 10),
    ] {
        let hits = store.search("a", &words(text)).await.unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert!(hits.len() <= 4, "{text:?}: {hits:?}");
    }
    assert_eq!(found(&store, "a", &words("good's \\ 'records' & !patients")).await[0], "clinic/FR-001");
    assert_eq!(found(&store, "a", &words(&ten_kib)).await.len(), 2);
    for values in [&[f32::NAN, 0.0][..], &[0.0, 0.0], &[]] {
        let error = store.search("a", &meaning(embedding(values))).await.expect_err("no direction");
        assert_eq!(error.category(), "invalid", "{error}");
        let put = store.put_embeddings("a", &[(Digest::of_bytes(b"x"), embedding(values))]).await;
        assert_eq!(put.expect_err("no direction").category(), "invalid");
    }
    assert_eq!(found(&store, "a", &words("goods")).await.len(), 2);
}

#[tokio::test]
async fn items_are_cleaned_and_bounded() {
    let database = Database::migrated().await;
    let store = database.store();
    let odd = item(&"k\0".repeat(100), &format!("needle\0{}", "ü".repeat(8 << 10)));
    store.index_items("a", &spec("odd"), vec![odd]).await.unwrap();
    let hits = store.search("a", &words("needle")).await.unwrap();
    assert!(hits[0].item.starts_with("k\u{FFFD}k") && hits[0].item.len() <= 128);
    assert!(hits[0].text.starts_with("needle\u{FFFD}ü") && hits[0].text.len() <= 400);
    let many = (0..10_001).map(|n| item(&n.to_string(), "x")).collect();
    let indexed = store.index_items("a", &spec("many"), many).await.unwrap();
    assert_eq!(indexed, IndexOutcome { indexed: 10_000, left_out: 1 });
    let large = (0..600).map(|n| item(&n.to_string(), &format!("{n} {}", "word ".repeat(1_700)))).collect();
    let indexed = store.index_items("a", &spec("large"), large).await.unwrap();
    assert_eq!(indexed, IndexOutcome { indexed: 512, left_out: 88 });
}

#[tokio::test]
async fn similar_documents_are_related() {
    let database = Database::migrated().await;
    let store = database.store();
    for (name, kind, texts) in [
        ("shop", Kind::Specification, ["Customers pay orders by credit card", "Goods are listed with their price"]),
        ("market", Kind::Specification, ["Goods have a price in euro", "Sellers list goods that customers order"]),
        ("clinic", Kind::Specification, ["Patients have records", "Doctors read the records of patients"]),
        ("bank", Kind::Specification, ["A credit card has a limit", "Interest is computed daily"]),
        ("plan", Kind::Plan, ["Customers pay orders by credit card", "Goods are listed with their price"]),
    ] {
        let items = texts.iter().map(|text| item("FR-001", text)).collect();
        store.index_items("a", &subject(kind, name), items).await.unwrap();
    }
    let names = async |model| {
        let related = store.related("a", "uid-shop", model, 10).await.unwrap();
        assert!(related.iter().all(|r| (0.0..=1.0).contains(&r.score)), "{related:?}");
        related.into_iter().map(|r| r.name).collect::<Vec<_>>()
    };
    assert_eq!(names(None).await, ["market", "bank"]);
    assert_eq!(names(Some("m")).await, ["market", "bank"], "while there are no embeddings");
    embed(&store, "a", |text| {
        towards(match text {
            _ if text.contains("atients") => 10.0,
            _ if text.contains("Interest") || text.contains("limit") => 60.0,
            _ => 80.0,
        })
    })
    .await;
    assert_eq!(names(Some("m")).await, ["market", "bank", "clinic"]);
    assert_eq!(store.related("a", "uid-shop", Some("m"), 1).await.unwrap().len(), 1);
    assert_eq!(store.related("a", "uid-nobody", Some("m"), 10).await.unwrap(), []);
    assert_eq!(store.related("b", "uid-shop", None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn search_uses_words_until_pgvector_is_installed() {
    let database = Database::empty().await;
    let owner = format!("{}_owner", database.name);
    let mut superuser = sqlx::PgConnection::connect(&database.owner_url()).await.unwrap();
    let roles = format!(
        "create role {owner} login createrole password 'x'; grant create on database {} to {owner};
        grant enact_app, enact_operator to {owner} with admin option",
        database.name
    );
    for role in ["enact_app", "enact_operator"] {
        let create =
            format!("do $$ begin create role {role} nologin; exception when duplicate_object then null; end $$");
        superuser.execute(AssertSqlSafe(create)).await.unwrap();
    }
    superuser.execute(AssertSqlSafe(roles)).await.unwrap();
    let (host, port) = database.server();
    let url = format!("postgres://{owner}:x@{host}:{port}/{}", database.name);
    let login = Login { user: database.name.clone(), password: "y".into() };
    migrate(&url, Some(&login), None).await.unwrap();
    let store = Store::connect(&Config::new(format!("postgres://{0}:y@{host}:{port}/{0}", database.name))).unwrap();
    assert!(!store.has_vectors().await.unwrap());
    shop(&store).await;
    shop(&store).await;
    assert_eq!(store.pending("a", None, "m", 10).await.unwrap(), []);
    store.put_embeddings("a", &[(Digest::of_bytes(b"x"), towards(0.0))]).await.unwrap();
    let query = Query { embedding: Some(towards(0.0)), ..words("patients") };
    assert_eq!(found(&store, "a", &query).await, ["clinic/FR-001"]);
    let related = async |model| store.related("a", "uid-shop", model, 10).await.unwrap();
    assert_eq!(related(Some("m")).await, related(None).await);

    // A superuser installs it, in any schema.
    superuser
        .execute(
            "create schema \"Ext\"; grant usage on schema \"Ext\" to public; create extension vector schema \"Ext\"",
        )
        .await
        .unwrap();
    assert!(!store.has_vectors().await.unwrap(), "the next migration creates the table");
    migrate(&url, None, None).await.unwrap();
    migrate(&url, None, None).await.unwrap();
    assert!(store.has_vectors().await.unwrap());
    assert_eq!(embed(&store, "a", |_| towards(0.0)).await, 4);
    assert_eq!(found(&store, "a", &query).await.len(), 4);
    assert_ne!(related(Some("m")).await, related(None).await);
    superuser
        .execute(AssertSqlSafe(format!("reassign owned by {owner} to postgres; drop owned by {owner}")))
        .await
        .unwrap();
    superuser.execute(AssertSqlSafe(format!("drop role {owner}"))).await.unwrap();
}

/// A deterministic generator of pseudorandom numbers (splitmix64, Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn vector(&mut self, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| self.next()).collect()
    }

    /// Returns a number from -1 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bits = u16::try_from((z ^ (z >> 31)) >> 48).unwrap();
        f32::from(bits) / 32_768.0 - 1.0
    }
}

#[tokio::test]
async fn a_tenant_with_few_vectors_finds_its_nearest() {
    const DIMENSIONS: usize = 32;
    const OWN: usize = 1_000;
    let database = Database::migrated().await;
    let store = database.store();
    // 99 tenants with a thousand items each.
    database
        .superuser()
        .await
        .execute(
            "insert into search_items
                (tenant_id, subject_uid, ordinal, kind, namespace, name, item, item_kind, line, text, digest, bigrams)
            select 'tenant-' || t, 's', n, 'Specification', 'team', 's', n::text, 'Requirement', 1, n::text, n::text, ''
            from generate_series(1, 99) t, generate_series(1, 1000) n;
            insert into search_embeddings (tenant_id, digest, model, dimensions, embedding)
            select tenant_id, digest, 'm', 32,
                (select array_agg(random() * 2 - 1) from generate_series(1, 32) where ordinal > 0)::real[]::enact.vector
            from search_items;
            analyze search_items, search_embeddings",
        )
        .await
        .unwrap();
    let mut random = Random(4);
    let vectors: Vec<Vec<f32>> = (0..OWN).map(|_| random.vector(DIMENSIONS)).collect();
    let items = (0..OWN).map(|number| item(&number.to_string(), &number.to_string())).collect();
    store.index_items("a", &spec("s"), items).await.unwrap();
    embed(&store, "a", |text| embedding(&vectors[text.parse::<usize>().unwrap()])).await;
    assert_eq!(database.number("select count(*) from search_embeddings").await, 100_000);

    let cosine = |one: &[f32], other: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
    };
    let (mut hit, mut asked) = (0, 0);
    for _ in 0..20 {
        let query = random.vector(DIMENSIONS);
        let mut exact: Vec<usize> = (0..OWN).collect();
        exact.sort_by(|one, other| cosine(&vectors[*other], &query).total_cmp(&cosine(&vectors[*one], &query)));
        let hits = store.search("a", &Query { limit: 10, ..meaning(embedding(&query)) }).await.unwrap();
        assert_eq!(hits.len(), 10);
        hit += hits.iter().filter(|hit| exact[..10].contains(&hit.item.parse().unwrap())).count();
        asked += 10;
    }
    println!("recall@10: {hit} of {asked}");
    assert!(hit * 100 >= asked * 95, "recall@10: {hit} of {asked}");
}
