//! The database separates tenants.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use enact_store::Store;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use support::{Database, plan_transition, start, tables};

const TENANT_POLICY: &str =
    "((tenant_id)::text = ( SELECT current_setting('enact.tenant'::text, true) AS current_setting))";

#[tokio::test]
async fn every_table_forces_row_level_security() {
    let database = Database::migrated().await;
    let mut connection = database.superuser().await;
    let rows = sqlx::query(
        "select c.relname::text as name, c.relrowsecurity and c.relforcerowsecurity as forced,
                exists (select from pg_attribute a where a.attrelid = c.oid and attname = 'tenant_id' and attnotnull) as has_tenant,
                (select count(*) from pg_policy where polrelid = c.oid and polpermissive) as policies,
                pg_get_expr(p.polqual, c.oid) as visible, pg_get_expr(p.polwithcheck, c.oid) as writable,
                p.polcmd = '*' and p.polroles = '{0}' as for_all
        from pg_class c left join pg_policy p on p.polrelid = c.oid and p.polpermissive -- the others only limit it
        where c.relnamespace = 'enact'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'migrations'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(rows.len() >= 15, "{} tables", rows.len());
    for row in rows {
        let name: String = row.get("name");
        assert!(row.get::<bool, _>("forced"), "{name} forces row-level security");
        assert!(row.get::<bool, _>("has_tenant"), "{name} has a tenant_id");
        assert_eq!(row.get::<i64, _>("policies"), 1, "{name}");
        assert!(row.get::<bool, _>("for_all"), "{name}'s policy is for all commands and roles");
        assert_eq!(row.get::<Option<&str>, _>("visible"), Some(TENANT_POLICY), "{name} USING");
        assert_eq!(row.get::<Option<&str>, _>("writable"), Some(TENANT_POLICY), "{name} WITH CHECK");
    }
}

#[tokio::test]
async fn indexes_begin_with_the_tenant() {
    let database = Database::migrated().await;
    // The outbox is read for all tenants together, in the order of commits.
    let others: Vec<String> = sqlx::query_scalar(
        "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indrelid
        join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
        where c.relnamespace = 'enact'::regnamespace and c.relname <> 'migrations' and a.attname <> 'tenant_id'",
    )
    .fetch_all(&mut database.superuser().await)
    .await
    .unwrap();
    assert_eq!(others, ["outbox_in_order"]);
}

#[tokio::test]
async fn the_programs_have_minimal_rights() {
    let database = Database::migrated().await;
    let mut connection = database.superuser().await;
    let logins = [database.login().user, database.operator_login().user];
    for role in ["enact_app", "enact_operator", &logins[0], &logins[1]] {
        let row = sqlx::query(
            "select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication as privileged,
                    exists (select from pg_class where relowner = r.oid) or exists (select from pg_namespace where nspowner = r.oid)
                        as owner,
                    has_schema_privilege(rolname, 'enact', 'create') as creates
            from pg_roles r where rolname = $1",
        )
        .bind(role)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        for right in ["privileged", "owner", "creates"] {
            assert!(!row.get::<bool, _>(right), "{role} {right}");
        }
    }
    let mut rights = Vec::new();
    for table in tables(&mut connection).await {
        let app = held(&mut connection, &logins[0], &table).await;
        let operator = held(&mut connection, &logins[1], &table).await;
        assert!(app.iter().all(|right| operator.contains(right)), "{table}: {app:?} {operator:?}");
        let more: Vec<String> = operator.into_iter().filter(|right| !app.contains(right)).collect();
        rights.push(format!("{table}: {}; operator: {}", app.join(" "), more.join(" ")));
    }
    assert_eq!(
        rights,
        [
            "approvals: select; operator: insert",
            "attempts: select; operator: insert update",
            "audit: select insert; operator: ",
            "budgets: select insert update; operator: ",
            "checkpoints: select insert update delete; operator: ",
            "contents: select insert; operator: delete",
            "decisions: select; operator: insert",
            "document_deliveries: select insert delete; operator: ",
            "findings: select; operator: insert",
            "model_requests: select insert update; operator: ",
            "outbox: insert; operator: select delete",
            "plans: select; operator: insert update",
            "refusals: select insert update; operator: ",
            "request_logs: select insert delete; operator: ",
            "results: select insert; operator: ",
            "revisions: select; operator: insert",
            "search_embeddings: select; operator: insert update delete",
            "search_items: select; operator: insert delete",
            "tasks: select; operator: insert update",
            "tenants: select; operator: ",
        ]
    );
    let columns: Vec<String> = sqlx::query_scalar(
        "select attname::text from pg_attribute
        where attrelid = 'enact.attempts'::regclass and attnum > 0 and has_column_privilege($1, attrelid, attnum, 'update')
        order by 1",
    )
    .bind(&logins[0])
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(columns, ["contradiction", "runner_key"]);
}

/// Returns the rights of a role on all columns of a table.
async fn held(connection: &mut PgConnection, role: &str, table: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select privilege from unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as privilege
        where has_table_privilege($1, format('enact.%I', $2), privilege)",
    )
    .bind(role)
    .bind(table)
    .fetch_all(connection)
    .await
    .unwrap()
}

#[tokio::test]
async fn without_a_tenant_nothing_is_seen_or_written() {
    let database = Database::migrated().await;
    database.store().record(vec![plan_transition("a", "p", "Running", 1)]).await.unwrap();
    let mut operator = database.operator().await;
    let seen = "select count(*) from enact.plans";
    assert_eq!(sqlx::query_scalar::<_, i64>(seen).fetch_one(&mut operator).await.unwrap(), 0);
    // A connection that had a tenant keeps an empty setting behind.
    let mut transaction = operator.begin().await.unwrap();
    transaction.execute("select set_config('enact.tenant', 'a', true)").await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(seen).fetch_one(&mut *transaction).await.unwrap(), 1);
    transaction.commit().await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(seen).fetch_one(&mut operator).await.unwrap(), 0);
    for tenant in ["a", ""] {
        let insert =
            format!("insert into enact.plans values ('{tenant}', 'uid', 'team', 'p', 'Running', '', '', now())");
        assert!(operator.execute(AssertSqlSafe(insert)).await.is_err(), "tenant `{tenant}`");
    }
}

#[tokio::test]
async fn two_tenants_share_one_connection() {
    let database = Database::migrated().await;
    let mut config = database.operator_config();
    config.max_connections = 1;
    let store = Store::connect(&config).unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for number in 1..=20 {
        let (store, tenant) = (store.clone(), if number % 2 == 0 { "a" } else { "b" });
        writers.spawn(async move {
            store.record(vec![start(tenant, "t", number)]).await.unwrap();
            let attempts = store.recorded_attempts(tenant, "uid-p").await.unwrap();
            assert!((1..=10).contains(&attempts.len()), "{attempts:?}");
        });
    }
    writers.join_all().await;
    for (tenant, attempts) in [("a", 10), ("b", 10), ("c", 0)] {
        assert_eq!(store.recorded_attempts(tenant, "uid-p").await.unwrap().len(), attempts);
    }
}

#[tokio::test]
async fn rows_of_another_tenant_cannot_be_changed() {
    let database = Database::migrated().await;
    database.store().record(vec![plan_transition("b", "p", "Running", 1)]).await.unwrap();
    let mut operator = database.operator().await;
    let mut transaction = operator.begin().await.unwrap();
    transaction.execute("select set_config('enact.tenant', 'a', true)").await.unwrap();
    let changed = transaction.execute("update enact.plans set state = 'Stolen'").await.unwrap();
    assert_eq!(changed.rows_affected(), 0);
    let error = transaction
        .execute("insert into enact.plans values ('b', 'uid', 'team', 'p', 'Running', '', '', now())")
        .await
        .expect_err("a row of another tenant is refused");
    assert!(error.to_string().contains("row-level security"), "{error}");
    drop(transaction);
    for statement in ["delete from enact.audit", "update enact.audit set actor = 'x'", "truncate enact.audit"] {
        let error = operator.execute(statement).await.expect_err(statement);
        assert!(error.to_string().contains("permission denied"), "{error}");
    }
}
