//! The invariant `migrations-only-add` of ARCHITECTURE.md: a release works on the schema of the next one, and a released migration is
//! never edited.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use enact_domain::digest::Digest;
use sqlx::PgConnection;
use sqlx::migrate::Migrator;
use support::Database;

/// Every migration with its digest. A new migration gets a new line. After the first release, a line never changes.
const MIGRATIONS: [(&str, &str); 1] =
    [("0001_schema.sql", "sha256:86191bb2cce2649ea68af43b9b5bb363794851b17b3a4ba90e160ebbb5f2e1cc")];

/// The facts of a schema that a program relies on, as one line each. A later migration must not remove any of them.
struct Schema {
    /// Facts that a later migration can add to.
    kept: BTreeSet<String>,
    /// Facts that a later migration must not add to an existing table, since the previous release does not know them.
    closed: BTreeSet<String>,
}

const KEPT: &str = "
    select format('table %s', c.relname) from pg_class c where c.relnamespace = 'enact'::regnamespace and c.relkind in ('r', 'p', 'v')
    union all
    select format('column %s.%s: %s, %s, default %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                  case when a.attnotnull then 'not null' else 'null' end,
                  coalesce(a.attidentity::text || a.attgenerated::text || pg_get_expr(d.adbin, d.adrelid), 'none'))
    from pg_class c join pg_attribute a on a.attrelid = c.oid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = 'enact'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
    union all
    select format('index %s', pg_get_indexdef(i.indexrelid)) from pg_index i join pg_class c on c.oid = i.indrelid
    where c.relnamespace = 'enact'::regnamespace
    union all
    select format('right %s %s of %s', g.table_name, g.privilege_type, g.grantee) from information_schema.role_table_grants g
    where g.table_schema = 'enact' and g.grantee in ('enact_app', 'enact_operator')
    union all
    select format('right %s.%s %s of %s', g.table_name, g.column_name, g.privilege_type, g.grantee)
    from information_schema.role_column_grants g
    where g.table_schema = 'enact' and g.grantee in ('enact_app', 'enact_operator')
    union all
    select format('function %s', p.oid::regprocedure) from pg_proc p where p.pronamespace = 'enact'::regnamespace
    union all
    select format('type %s is %s', t.typname, format_type(t.typbasetype, t.typtypmod)) from pg_type t
    where t.typnamespace = 'enact'::regnamespace and t.typtype = 'd'";

/// Each fact begins with its table or type.
const CLOSED: &str = "
    select format('%s: %s', coalesce(c.relname, t.typname), pg_get_constraintdef(o.oid))
    from pg_constraint o left join pg_class c on c.oid = o.conrelid left join pg_type t on t.oid = o.contypid
    where o.connamespace = 'enact'::regnamespace and o.contype <> 'n'
    union all
    select format('%s: %s', c.relname, pg_get_indexdef(i.indexrelid)) from pg_index i join pg_class c on c.oid = i.indrelid
    where c.relnamespace = 'enact'::regnamespace and i.indisunique
    union all
    select format('%s: policy %s for %s using %s with check %s', c.relname, p.polname, p.polcmd, pg_get_expr(p.polqual, c.oid),
                  pg_get_expr(p.polwithcheck, c.oid))
    from pg_policy p join pg_class c on c.oid = p.polrelid where c.relnamespace = 'enact'::regnamespace
    union all
    select format('%s: row level security %s, forced %s', c.relname, c.relrowsecurity, c.relforcerowsecurity)
    from pg_class c where c.relnamespace = 'enact'::regnamespace and c.relkind in ('r', 'p')
    union all
    select format('%s: needs %s', c.relname, a.attname) from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.relnamespace = 'enact'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
        and a.attnotnull and not a.atthasdef and a.attidentity = '' and a.attgenerated = ''";

impl Schema {
    async fn read(connection: &mut PgConnection) -> Self {
        let mut facts = async |query: &'static str| -> BTreeSet<String> {
            sqlx::query_scalar::<_, String>(query)
                .fetch_all(&mut *connection)
                .await
                .expect("the catalogue can be read")
                .into_iter()
                .collect()
        };
        Self { kept: facts(KEPT).await, closed: facts(CLOSED).await }
    }

    /// Returns the differences that break a release made for `older`.
    fn broken_for(&self, older: &Self) -> Vec<String> {
        let lost = older.kept.difference(&self.kept).map(|fact| format!("lost: {fact}"));
        let gone = older.closed.difference(&self.closed).map(|fact| format!("lost: {fact}"));
        let subject = |fact: &str| fact.split(':').next().unwrap_or_default().to_owned();
        let known: BTreeSet<String> = older.closed.iter().map(|fact| subject(fact)).collect();
        let closed = self.closed.difference(&older.closed).filter(|fact| known.contains(&subject(fact)));
        lost.chain(gone).chain(closed.map(|fact| format!("not known before: {fact}"))).collect()
    }
}

async fn migrator() -> Migrator {
    let mut migrator =
        Migrator::new(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))).await.expect("they can be read");
    migrator.create_schema("enact");
    migrator.dangerous_set_table_name("enact.migrations");
    migrator
}

#[test]
fn migrations_are_never_edited() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut found: Vec<(String, String)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let digest = Digest::of_bytes(&std::fs::read(&path).unwrap());
            (path.file_name().unwrap().to_str().unwrap().to_owned(), digest.to_string())
        })
        .collect();
    found.sort();
    let known = MIGRATIONS.map(|(name, digest)| (name.to_owned(), digest.to_owned()));
    assert_eq!(
        found, known,
        "a released migration is never edited or removed: add another one, and a line for it here"
    );
}

#[tokio::test]
async fn migrations_keep_the_previous_release_working() {
    let database = Database::empty().await;
    let (migrator, mut connection) = (migrator().await, database.superuser().await);
    let mut older: Option<Schema> = None;
    for migration in migrator.iter() {
        migrator.run_direct(Some(migration.version), &mut connection, false).await.unwrap();
        let schema = Schema::read(&mut connection).await;
        assert!(schema.kept.len() > 100 && schema.closed.len() > 50, "{} {}", schema.kept.len(), schema.closed.len());
        let broken = older.map(|older| schema.broken_for(&older)).unwrap_or_default();
        assert!(broken.is_empty(), "migration {} {}: {broken:#?}", migration.version, migration.description);
        older = Some(schema);
    }
    // Rows are the record: a migration neither changes nor deletes them.
    for migration in migrator.iter() {
        // The bodies of functions, which are between `$$`, do not run now.
        let statements = migration.sql.as_str().split("$$").step_by(2);
        let mut code =
            statements.flat_map(str::lines).map(|line| line.split("--").next().unwrap_or_default().to_lowercase());
        let found = code.find(|line| ["delete from", "truncate", "update enact."].iter().any(|w| line.contains(w)));
        assert_eq!(found, None, "migration {}", migration.version);
    }
}

#[tokio::test]
async fn detects_changes_that_break_the_previous_release() {
    let database = Database::migrated().await;
    let mut connection = database.superuser().await;
    let before = Schema::read(&mut connection).await;
    for (change, expected) in [
        ("alter table enact.plans drop column reason", "lost: column plans.reason"),
        ("alter table enact.plans rename column reason to why", "lost: column plans.reason"),
        ("alter table enact.plans rename to plan", "lost: table plans"),
        ("alter table enact.revisions alter column number type bigint", "lost: column revisions.number"),
        ("alter table enact.attempts alter column pod set not null", "lost: column attempts.pod"),
        ("alter table enact.plans add column due timestamptz not null", "not known before: plans: needs due"),
        ("alter table enact.plans add check (reason <> '')", "not known before: plans: CHECK"),
        (
            "create unique index one_name on enact.plans (tenant_id, name)",
            "not known before: plans: CREATE UNIQUE INDEX",
        ),
        ("alter domain enact.name add check (value <> 'x')", "not known before: name: CHECK"),
        ("drop index enact.tasks_of_plan", "lost: index"),
        ("alter table enact.results no force row level security", "lost: results: row level security t, forced t"),
        ("revoke insert on enact.audit from enact_app", "lost: right audit INSERT of enact_app"),
        ("revoke insert on enact.revisions from enact_operator", "lost: right revisions INSERT of enact_operator"),
    ] {
        let mut transaction = sqlx::Connection::begin(&mut connection).await.unwrap();
        sqlx::raw_sql(change).execute(&mut *transaction).await.unwrap();
        let broken = Schema::read(&mut transaction).await.broken_for(&before);
        assert!(broken.iter().any(|fact| fact.starts_with(expected)), "{change}: {broken:#?}");
        transaction.rollback().await.unwrap();
    }
    for change in [
        "alter table enact.plans add column due timestamptz",
        "alter table enact.plans add column size integer not null default 0",
        "create table enact.more (tenant_id enact.tenant primary key, what text not null check (what <> ''))",
        "create index plans_by_name on enact.plans (tenant_id, name)",
        "grant update on enact.results to enact_app",
    ] {
        let mut transaction = sqlx::Connection::begin(&mut connection).await.unwrap();
        sqlx::raw_sql(change).execute(&mut *transaction).await.unwrap();
        assert_eq!(Schema::read(&mut transaction).await.broken_for(&before), [""; 0], "{change}");
        transaction.rollback().await.unwrap();
    }
}
