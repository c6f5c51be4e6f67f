use std::fmt;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, raw_sql};

use crate::config::connect_options;
use crate::error::StoreError;

const DOING: &str = "set up the application's login";

/// The login that the application uses.
#[derive(Clone)]
pub struct AppLogin {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// Hides the password.
impl fmt::Debug for AppLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppLogin").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Brings the schema up to date as its owner, with a table for embeddings where pgvector is installed or the owner can install it, and makes `login` a member of the application's role: the login is created if it is
/// missing and gets the password anew. Safe to repeat, and to run from several places at once. Migrations that a newer release
/// installed are left alone, so that going back to this one works.
///
/// # Errors
/// When the database cannot be reached, the owner lacks rights (`CREATE` on the database; `CREATEROLE` unless the role `enact_app` and
/// the login exist), or `login` would bypass row-level security.
pub async fn migrate(owner_url: &str, login: Option<&AppLogin>) -> Result<(), StoreError> {
    let options = connect_options(owner_url)?;
    let mut connection = options.connect().await.map_err(StoreError::while_doing("reach the database as its owner"))?;
    migrator().run_direct(None, &mut connection, false).await?;
    prepare_vectors(&mut connection).await?;
    if let Some(login) = login {
        grant(&mut connection, login).await?;
    }
    connection.close().await.map_err(StoreError::while_doing("end the migration"))
}

/// Makes the table of embeddings if there is pgvector: what needs an extension is no migration, which either runs everywhere or fails.
async fn prepare_vectors(connection: &mut PgConnection) -> Result<(), StoreError> {
    let doing = StoreError::while_doing("prepare search by meaning");
    raw_sql(include_str!("../vectors.sql")).execute(&mut *connection).await.map_err(&doing)?;
    let there = sqlx::query_scalar!(r#"select to_regclass('enact.search_embeddings') is not null as "there!""#)
        .fetch_one(connection)
        .await
        .map_err(&doing)?;
    if !there {
        tracing::warn!(
            "pgvector is not installed and the schema's owner cannot install it: search is by words alone; run \
             `create extension vector` in the database as a superuser, and this migration again"
        );
    }
    Ok(())
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.create_schema("enact");
    migrator.dangerous_set_table_name("enact.migrations");
    migrator.set_ignore_missing(true);
    migrator
}

/// Version of the newest migration of this release.
pub(crate) fn newest() -> i64 {
    migrator().iter().map(|migration| migration.version).max().unwrap_or_default()
}

async fn grant(connection: &mut PgConnection, login: &AppLogin) -> Result<(), StoreError> {
    let doing = StoreError::while_doing;
    // Roles belong to the whole server, and altering one from two sides at once fails: the lock makes them wait for each other, within
    // one database at least.
    let mut transaction = connection.begin().await.map_err(doing(DOING))?;
    sqlx::query!("select pg_advisory_xact_lock(hashtext('enact.login'))")
        .execute(&mut *transaction)
        .await
        .map_err(doing(DOING))?;
    let role = sqlx::query!(
        r#"select rolsuper or rolbypassrls as "bypasses!",
                  pg_has_role(rolname, (select nspowner from pg_namespace where nspname = 'enact'), 'member') as "owns!"
        from pg_roles where rolname = $1"#,
        login.user,
    )
    .fetch_optional(&mut *transaction)
    .await
    .map_err(doing(DOING))?;
    let unsafe_role = |problem| Err(StoreError::UnsafeRole { role: login.user.clone(), problem });
    let verb = match role {
        None => "create",
        Some(role) if role.bypasses => return unsafe_role("bypasses row-level security"),
        Some(role) if role.owns => return unsafe_role("owns the schema"),
        Some(_) => "alter",
    };
    // The server quotes: a statement that defines a role takes no parameters.
    let statements = sqlx::query_scalar!(
        r#"select format(
            '%1$s role %2$I login nosuperuser nobypassrls nocreatedb nocreaterole password %3$L;
            grant enact_app to %2$I;
            alter role %2$I in database %4$I set search_path = enact, pg_temp',
            $1::text, $2::text, $3::text, current_database()) as "statements!""#,
        verb,
        login.user,
        login.password,
    )
    .fetch_one(&mut *transaction)
    .await
    .map_err(doing(DOING))?;
    raw_sql(AssertSqlSafe(statements)).execute(&mut *transaction).await.map_err(doing(DOING))?;
    transaction.commit().await.map_err(doing(DOING))
}
