//! A database on a real Postgres server.

use anyhow::{Context as _, Result, anyhow};
use enact_store::{Config, Login, Store, migrate};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use url::Url;

/// A database that is deleted when the benchmark ends.
pub struct Database {
    server: String,
    url: Url,
    name: String,
    /// The connection of the superuser.
    pub owner: PgConnection,
    /// The record as the operator has it.
    pub store: Store,
}

impl Database {
    /// Creates a database with the schema on a server on which this program may create databases and logins.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn new(server: &str) -> Result<Self> {
        let name = format!("enact_bench_{}", std::process::id());
        let mut connection = PgConnection::connect(server).await.context("cannot reach Postgres")?;
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        let mut url = Url::parse(server)?;
        url.set_path(&name);
        let login = Login { user: name.clone(), password: "bench".to_owned() };
        migrate(url.as_str(), Some(&login), None).await?;
        let owner = PgConnection::connect(url.as_str()).await?;
        let store = connect(url.clone(), &login)?;
        Ok(Self { server: server.to_owned(), url, name, owner, store })
    }

    /// Returns the record as a login has it that has the operator's rights, and that row-level security does not limit.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn without_row_security(&mut self) -> Result<Store> {
        let login = Login { user: self.bypassing(), password: "bench".to_owned() };
        let create = format!(
            "create role {} login bypassrls password '{}' in role enact_app, enact_operator",
            login.user, login.password
        );
        self.owner.execute(AssertSqlSafe(create)).await?;
        connect(self.url.clone(), &login)
    }

    /// Deletes the database and its logins.
    ///
    /// # Errors
    /// If Postgres fails.
    pub async fn remove(self) -> Result<()> {
        let bypassing = self.bypassing();
        self.store.close().await;
        self.owner.close().await?;
        let mut connection = PgConnection::connect(&self.server).await?;
        for statement in [
            format!("drop database {} with (force)", self.name),
            format!("drop role {}", self.name),
            format!("drop role if exists {bypassing}"),
        ] {
            connection.execute(AssertSqlSafe(statement)).await?;
        }
        Ok(())
    }

    fn bypassing(&self) -> String {
        format!("{}_bypassing", self.name)
    }
}

fn connect(mut url: Url, login: &Login) -> Result<Store> {
    let wrong = |()| anyhow!("the URL of Postgres takes no login");
    url.set_username(&login.user).map_err(wrong)?;
    url.set_password(Some(&login.password)).map_err(wrong)?;
    Ok(Store::connect(&Config::new(url.as_str()))?)
}
