//! One database per test, on the Postgres at `ENACT_TEST_DATABASE_URL`.

// Each test program compiles this module and uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

pub mod proxy;
pub mod usage;

use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use enact_domain::assignment::{AttemptResult, Reason, Report};
use enact_domain::digest::Digest;
use enact_domain::record::{Event, Kind, Record, Subject, TaskRef};
use enact_domain::time::Millis;
use enact_store::{Config, Login, Store, StoreError, migrate};
use serde_json::from_value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Row};

/// A password that needs quoting, and its form in a URL.
const PASSWORD: (&str, &str) = (r#"p'w"\; drop"#, "p%27w%22%5C%3B%20drop");

/// A database with logins of its own. Dropping it removes them all, also after a panic.
pub struct Database {
    pub name: String,
    server: String,
}

impl Database {
    /// Creates an empty database.
    pub async fn empty() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var("ENACT_TEST_DATABASE_URL").expect(
            "ENACT_TEST_DATABASE_URL must name a Postgres server as its superuser: run `cargo xtask postgres up`, \
             and set it to what `cargo xtask postgres url` prints",
        );
        let name = format!("enact_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&server).await.expect("the server for tests answers");
        for leftover in leftovers(&mut connection, &name).await {
            remove(&mut connection, &leftover).await;
        }
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        Self { name, server }
    }

    /// Creates a database with the schema and both logins.
    pub async fn migrated() -> Self {
        let database = Self::empty().await;
        database.migrate().await.unwrap();
        database
    }

    /// Updates schema and logins.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        migrate(&self.owner_url(), Some(&self.login()), Some(&self.operator_login())).await
    }

    /// Returns the login of server and gateway.
    pub fn login(&self) -> Login {
        Login { user: self.name.clone(), password: PASSWORD.0.to_owned() }
    }

    pub fn operator_login(&self) -> Login {
        Login { user: format!("{}_operator", self.name), ..self.login() }
    }

    pub fn server(&self) -> (String, u16) {
        let options = PgConnectOptions::from_str(&self.server).unwrap();
        (options.get_host().to_owned(), options.get_port())
    }

    pub fn owner_url(&self) -> String {
        let (before, _) = self.server.rsplit_once('/').unwrap();
        format!("{before}/{}", self.name)
    }

    /// Returns the URL of the login of server and gateway at `host` and `port`.
    pub fn app_url_at(&self, host: &str, port: u16) -> String {
        format!("postgres://{0}:{1}@{host}:{port}/{0}", self.name, PASSWORD.1)
    }

    /// Returns the URL of the operator's login at `host` and `port`.
    pub fn operator_url_at(&self, host: &str, port: u16) -> String {
        format!("postgres://{0}_operator:{1}@{host}:{port}/{0}", self.name, PASSWORD.1)
    }

    /// Returns the settings of server and gateway.
    pub fn config(&self) -> Config {
        let (host, port) = self.server();
        Config::new(self.app_url_at(&host, port))
    }

    pub fn operator_config(&self) -> Config {
        let (host, port) = self.server();
        Config::new(self.operator_url_at(&host, port))
    }

    /// Returns the store as the operator has it.
    pub fn store(&self) -> Store {
        Store::connect(&self.operator_config()).unwrap()
    }

    /// Returns the store as server and gateway have it.
    pub fn app_store(&self) -> Store {
        Store::connect(&self.config()).unwrap()
    }

    /// Connects as the superuser, who sees all rows.
    pub async fn superuser(&self) -> PgConnection {
        let options = PgConnectOptions::from_str(&self.owner_url()).unwrap();
        options.options([("search_path", "enact")]).connect().await.unwrap()
    }

    /// Connects as server and gateway do.
    pub async fn app(&self) -> PgConnection {
        PgConnection::connect(&self.config().url).await.unwrap()
    }

    /// Connects as the operator does.
    pub async fn operator(&self) -> PgConnection {
        PgConnection::connect(&self.operator_config().url).await.unwrap()
    }

    /// Runs `query` as the superuser and returns its number.
    pub async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.superuser().await).await.unwrap()
    }

    /// Returns the stored result of an attempt.
    pub async fn result(&self, tenant: &str, subject_uid: &str, attempt: u32) -> Option<AttemptResult> {
        let row = sqlx::query(
            "select report, transcript, gates, duration_ms from results
            where tenant_id = $1 and subject_uid = $2 and number = $3::bigint",
        )
        .bind(tenant)
        .bind(subject_uid)
        .bind(i64::from(attempt))
        .fetch_optional(&mut self.superuser().await)
        .await
        .unwrap()?;
        Some(AttemptResult {
            subject_uid: subject_uid.to_owned(),
            attempt,
            report: from_value(row.get("report")).unwrap(),
            transcript: row.get("transcript"),
            gates: from_value(row.get("gates")).unwrap(),
            duration_ms: row.get::<i64, _>("duration_ms").unsigned_abs(),
        })
    }

    /// Returns the number of rows of each table.
    pub async fn rows(&self) -> Vec<(String, i64)> {
        let mut connection = self.superuser().await;
        let mut rows = Vec::new();
        for table in tables(&mut connection).await {
            let count = format!("select count(*) from enact.{table}");
            rows.push((table, sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut connection).await.unwrap()));
        }
        rows
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A new runtime, since the test's own may be unwinding.
        let removal = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                remove(&mut PgConnection::connect(&server).await.unwrap(), &name).await;
            });
        });
        assert!(removal.join().is_ok() || std::thread::panicking(), "database {} is removed", self.name);
    }
}

/// Returns the tables with rows of tenants.
pub async fn tables(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'enact' and tablename <> 'migrations' order by 1",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

/// Returns databases and logins of test programs that were killed.
async fn leftovers(connection: &mut PgConnection, own: &str) -> Vec<String> {
    let names: Vec<String> = sqlx::query_scalar(
        "select datname::text from pg_database where datname like 'enact\\_test\\_%'
        union select rolname::text from pg_roles where rolname like 'enact\\_test\\_%'",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    let process = |name: &str| name.split('_').nth(2).map(ToOwned::to_owned).unwrap_or_default();
    let own = process(own);
    names.into_iter().filter(|name| process(name) != own && !Path::new("/proc").join(process(name)).exists()).collect()
}

async fn remove(connection: &mut PgConnection, name: &str) {
    for statement in
        [format!("drop database if exists {name} with (force)"), format!("drop role if exists {name}, {name}_operator")]
    {
        // Another test program may remove the same leftover.
        if let Err(error) = connection.execute(AssertSqlSafe(statement)).await {
            eprintln!("{name} is left behind: {error}");
        }
    }
}

pub fn subject(kind: Kind, name: &str) -> Subject {
    Subject { kind, namespace: "team".into(), name: name.into(), uid: format!("uid-{name}") }
}

pub fn record(tenant: &str, subject: Subject, at: i64, event: Event) -> Record {
    Record { tenant: tenant.into(), subject, at: Millis(at), actor: "system:enact".into(), event }
}

/// Returns a transition of a plan.
pub fn plan_transition(tenant: &str, plan: &str, state: &str, at: i64) -> Record {
    let event = Event::Transition {
        key: format!("{state}/{at}"),
        state: state.into(),
        reason: "Because".into(),
        message: "said so".into(),
        task: None,
    };
    record(tenant, subject(Kind::Plan, plan), at, event)
}

/// Returns a transition of a task of the plan `p`.
pub fn task_transition(tenant: &str, task: &str, state: &str, at: i64) -> Record {
    let event = Event::Transition {
        key: format!("{state}/{at}"),
        state: state.into(),
        reason: "Because".into(),
        message: "said so".into(),
        task: Some(TaskRef { plan_uid: "uid-p".into(), id: task.to_uppercase() }),
    };
    record(tenant, subject(Kind::Task, task), at, event)
}

/// Returns the start of an attempt at a task of the plan `p`. Its pod has the UID `pod-<task>-<number>`.
pub fn start(tenant: &str, task: &str, number: u32) -> Record {
    let event = Event::AttemptStarted {
        plan_uid: "uid-p".into(),
        number,
        pod: format!("{task}-{number}"),
        pod_uid: Some(format!("pod-{task}-{number}")),
        start_key: Digest::of_bytes(format!("{task}-{number}").as_bytes()),
        agent: "coder".into(),
        contestants: 1,
        capabilities: None,
        selection: None,
    };
    record(tenant, subject(Kind::Task, task), 1_000, event)
}

/// Returns the record that an attempt at a task of the plan `p` has this pod.
pub fn pod(tenant: &str, task: &str, number: u32, pod_uid: &str) -> Record {
    let event = Event::AttemptPod {
        plan_uid: "uid-p".into(),
        number,
        pod: format!("{task}-{number}"),
        pod_uid: pod_uid.into(),
    };
    record(tenant, subject(Kind::Task, task), 1_500, event)
}

/// Returns the end of an attempt at a task of the plan `p`.
pub fn end(tenant: &str, task: &str, number: u32, failure: Option<&str>, report: Report) -> Record {
    let event = Event::AttemptFinished {
        plan_uid: "uid-p".into(),
        number,
        failure: failure.map(Into::into),
        report,
        started: Some(Millis(1_500)),
    };
    record(tenant, subject(Kind::Task, task), 2_000, event)
}

pub fn revision(tenant: &str, subject: Subject, content: &str) -> Record {
    let digest = Digest::of_bytes(content.as_bytes());
    let event = Event::Revision {
        digest,
        version: Some("1.0.0".into()),
        reason: "Source".into(),
        commit: None,
        content: content.into(),
    };
    record(tenant, subject, 500, event)
}

pub fn done() -> Report {
    Report::new(Reason::Succeeded, "done")
}
