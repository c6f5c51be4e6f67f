//! Installing the schema, and detecting an unusable database.

mod support;

use std::time::Duration;

use enact_store::{Config, ErrorClass, Login, Store, StoreError, migrate};
use sqlx::{AssertSqlSafe, Executor};
use support::Database;

#[tokio::test]
async fn migration_is_idempotent_and_concurrent() {
    let database = Database::empty().await;
    let (one, other) = tokio::join!(database.migrate(), database.migrate());
    one.unwrap();
    other.unwrap();
    database.migrate().await.unwrap();
    migrate(&database.owner_url(), None, None).await.unwrap();
    database.store().ready().await.unwrap();
    let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count();
    assert_eq!(database.number("select count(*) from enact.migrations").await, i64::try_from(migrations).unwrap());
}

#[tokio::test]
async fn a_login_gets_its_new_password() {
    let database = Database::migrated().await;
    let changed = Login { password: "another".into(), ..database.login() };
    migrate(&database.owner_url(), Some(&changed), None).await.unwrap();
    let error = database.app_store().ready().await.expect_err("the old password");
    assert_eq!((error.category(), error.class()), ("denied", ErrorClass::Transient), "{error}");
    let (host, port) = database.server();
    let url = format!("postgres://{0}:another@{host}:{port}/{0}", database.name);
    Store::connect(&Config::new(url)).unwrap().ready().await.unwrap();
}

#[tokio::test]
async fn an_owner_without_superuser_migrates_again() {
    // The roles `enact_app` and `enact_operator` belong to the server: this database makes sure that they exist.
    let _other = Database::migrated().await;
    let database = Database::empty().await;
    let mut superuser = database.superuser().await;
    let owner = format!("{}_owner", database.name);
    for statement in [
        format!("create role {owner} login createrole password 'owner'"),
        format!("grant enact_app, enact_operator to {owner} with admin option"),
        format!("alter database {} owner to {owner}", database.name),
    ] {
        superuser.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    let (host, port) = database.server();
    let url = format!("postgres://{owner}:owner@{host}:{port}/{}", database.name);
    // First with one login for all programs, whose rights of the operator the next migration takes back.
    let first = migrate(&url, Some(&database.login()), None).await;
    let again = migrate(&url, Some(&database.login()), Some(&database.operator_login())).await;
    let ready = database.store().ready().await;
    // Roles belong to the server: this one must not outlive the test.
    for statement in [
        format!("reassign owned by {owner} to current_user"),
        format!("drop owned by {owner}"),
        format!("drop role {owner}"),
    ] {
        superuser.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    first.unwrap();
    again.unwrap();
    ready.unwrap();
}

#[tokio::test]
async fn rejects_a_login_that_bypasses_row_level_security() {
    let database = Database::migrated().await;
    let mut superuser = database.superuser().await;
    for (on, off) in [("superuser", "nosuperuser"), ("bypassrls", "nobypassrls")] {
        superuser.execute(AssertSqlSafe(format!("alter role {} {on}", database.name))).await.unwrap();
        let ready = database.app_store().ready().await;
        assert!(matches!(ready, Err(StoreError::UnsafeRole { .. })), "{on}: {ready:?}");
        let migrated = database.migrate().await;
        assert!(matches!(migrated, Err(StoreError::UnsafeRole { .. })), "{on}: {migrated:?}");
        superuser.execute(AssertSqlSafe(format!("alter role {} {off}", database.name))).await.unwrap();
    }
    superuser.execute(AssertSqlSafe(format!("alter table enact.audit owner to {}", database.name))).await.unwrap();
    let ready = database.app_store().ready().await;
    assert!(matches!(ready, Err(StoreError::UnsafeRole { problem: "owns the tables", .. })), "{ready:?}");
}

#[tokio::test]
async fn readiness_needs_the_schema() {
    let database = Database::empty().await;
    let mut config = database.config();
    config.url = database.owner_url();
    let store = Store::connect(&config).unwrap();
    let error = store.ready().await.expect_err("there is no schema");
    assert_eq!((error.category(), error.class()), ("schema", ErrorClass::Transient), "{error}");
    database.migrate().await.unwrap();
    let mut superuser = database.superuser().await;
    superuser.execute("update migrations set success = false").await.unwrap();
    let error = database.store().ready().await.expect_err("the schema is too old");
    assert!(error.to_string().contains("is at version 0, not "), "{error}");
    // A newer release only adds to the schema, so this one still works, also after a rollback.
    superuser.execute("update migrations set success = true").await.unwrap();
    superuser
        .execute(
            "insert into migrations select 9999, 'later', now(), true, checksum, 0 from migrations where version = 1",
        )
        .await
        .unwrap();
    database.store().ready().await.unwrap();
    migrate(&database.owner_url(), None, None).await.unwrap();
}

#[tokio::test]
async fn an_unreachable_server_fails_fast() {
    let mut config = Config::new("postgres://nobody:secret-canary@127.0.0.1:1/none");
    config.connect_timeout = Duration::from_millis(200);
    let error = Store::connect(&config).unwrap().ready().await.expect_err("nobody listens there");
    assert_eq!((error.category(), error.class()), ("unavailable", ErrorClass::Transient), "{error}");
    for shown in [format!("{error} {error:?}"), format!("{config:?}")] {
        assert!(!shown.contains("secret-canary"), "{shown}");
    }
}

#[tokio::test]
async fn a_bad_url_is_permanent() {
    for url in ["", "mysql://x", "postgres://[::1", "postgres://h/db?sslmode=sometimes"] {
        let error = Store::connect(&Config::new(url)).expect_err(url);
        assert_eq!(error.class(), ErrorClass::Permanent, "{url}: {error}");
    }
}
