use std::fmt;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, raw_sql};

use crate::config::connect_options;
use crate::error::StoreError;

const DOING: &str = "set up the logins of the programs";

/// A Postgres login of programs.
#[derive(Clone)]
pub struct Login {
    pub user: String,
    pub password: String,
}

/// Omits the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Updates the schema as its owner, and creates the table of embeddings if pgvector is installed or the owner can install it.
///
/// It also creates the logins if they are missing, sets their passwords, and makes them members of their roles: `login` of server and
/// gateway, and `operator`. Without the latter, the operator uses `login`, which then gets its rights too. It can be repeated and can run
/// in several processes at once. It ignores migrations of a newer release, so that a rollback to this release works.
///
/// # Errors
/// If the database cannot be reached, the owner lacks rights (`CREATE` on the database; `CREATEROLE` unless the roles `enact_app` and
/// `enact_operator` and the logins exist), a login bypasses row-level security, `login` cannot be deprived of the operator's rights, or both
/// logins are the same.
pub async fn migrate(owner_url: &str, login: Option<&Login>, operator: Option<&Login>) -> Result<(), StoreError> {
    if let (Some(login), Some(operator)) = (login, operator)
        && login.user == operator.user
    {
        return Err(StoreError::Invalid {
            what: "the login of the operator",
            problem: format!("is also that of server and gateway (`{}`): give the operator another user", login.user),
        });
    }
    let options = connect_options(owner_url)?;
    let mut connection =
        options.connect().await.map_err(StoreError::while_doing("connect to the database as its owner"))?;
    migrator().run_direct(None, &mut connection, false).await?;
    create_vectors(&mut connection).await?;
    if let Some(login) = login {
        grant(&mut connection, login, operator.is_none()).await?;
    }
    if let Some(operator) = operator {
        grant(&mut connection, operator, true).await?;
    }
    connection.close().await.map_err(StoreError::while_doing("close the connection after the migration"))
}

/// Creates the table of embeddings if pgvector is available. It is not a migration, since a migration must run on every database.
async fn create_vectors(connection: &mut PgConnection) -> Result<(), StoreError> {
    let doing = StoreError::while_doing("create the table of embeddings");
    raw_sql(include_str!("../vectors.sql")).execute(&mut *connection).await.map_err(&doing)?;
    let exists = sqlx::query_scalar!(r#"select to_regclass('enact.search_embeddings') is not null as "exists!""#)
        .fetch_one(connection)
        .await
        .map_err(&doing)?;
    if !exists {
        tracing::warn!(
            "pgvector is not installed and the owner of the schema cannot install it, so search uses words only; run \
             `create extension vector` in the database as a superuser, and repeat this migration"
        );
    }
    Ok(())
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.create_schema("enact");
    migrator.dangerous_set_table_name("enact.migrations");
    // A newer release may have added migrations; without this, this release could not start after a rollback.
    migrator.set_ignore_missing(true);
    migrator
}

/// Returns the version of the newest migration of this release.
pub(crate) fn newest() -> i64 {
    migrator().iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Creates `login` or updates its password, and gives it the rights of server and gateway, and those of the operator if it `operates`.
async fn grant(connection: &mut PgConnection, login: &Login, operates: bool) -> Result<(), StoreError> {
    let doing = StoreError::while_doing;
    // Altering a role in two transactions at once fails. The lock serialises the migrations of this database; roles belong to the whole
    // server, so it cannot serialise those of others.
    let mut transaction = connection.begin().await.map_err(doing(DOING))?;
    sqlx::query!("select pg_advisory_xact_lock(hashtext('enact.login'))")
        .execute(&mut *transaction)
        .await
        .map_err(doing(DOING))?;
    let role = sqlx::query!(
        r#"select rolsuper or rolbypassrls as "bypasses!",
                  pg_has_role(rolname, (select nspowner from pg_namespace where nspname = 'enact'), 'member') as "owns!",
                  pg_has_role(rolname, 'enact_operator', 'member') as "operates!"
        from pg_roles where rolname = $1"#,
        login.user,
    )
    .fetch_optional(&mut *transaction)
    .await
    .map_err(doing(DOING))?;
    let had_rights = role.as_ref().is_some_and(|role| role.operates);
    let unsafe_role = |problem| Err(StoreError::UnsafeRole { role: login.user.clone(), problem });
    let (verb, attributes) = match role {
        None => ("create", "nosuperuser nobypassrls nocreatedb nocreaterole"),
        Some(role) if role.bypasses => return unsafe_role("bypasses row-level security"),
        Some(role) if role.owns => return unsafe_role("owns the schema"),
        // Only a superuser may name these attributes when it alters a role, even if they stay the same.
        Some(_) => ("alter", ""),
    };
    // Statements that define a role have no parameters, so the server's `format` quotes the values.
    let statements = sqlx::query_scalar!(
        r#"select format(
            '%1$s role %2$I login %5$s password %3$L;
            grant %6$s to %2$I;
            alter role %2$I in database %4$I set search_path = enact, pg_temp',
            $1::text, $2::text, $3::text, current_database(), $4::text, $5::text) as "statements!""#,
        verb,
        login.user,
        login.password,
        attributes,
        if operates { "enact_app, enact_operator" } else { "enact_app" },
    )
    .fetch_one(&mut *transaction)
    .await
    .map_err(doing(DOING))?;
    raw_sql(AssertSqlSafe(statements)).execute(&mut *transaction).await.map_err(doing(DOING))?;
    if had_rights && !operates {
        revoke(&mut transaction, &login.user).await?;
    }
    transaction.commit().await.map_err(doing(DOING))
}

/// Takes the operator's rights from a login that had them while the operator had no login of its own.
async fn revoke(connection: &mut PgConnection, user: &str) -> Result<(), StoreError> {
    let doing = StoreError::while_doing(DOING);
    let statement =
        sqlx::query_scalar!(r#"select format('revoke enact_operator from %I', $1::text) as "statement!""#, user)
            .fetch_one(&mut *connection)
            .await
            .map_err(&doing)?;
    raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await.map_err(&doing)?;
    // A role revokes only what it has granted itself.
    let operates = sqlx::query_scalar!(
        r#"select pg_has_role(rolname, 'enact_operator', 'member') as "operates!" from pg_roles where rolname = $1"#,
        user,
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(&doing)?;
    if operates {
        return Err(StoreError::Invalid {
            what: "the login of server and gateway",
            problem: format!(
                "(`{user}`) is still a member of enact_operator: revoke that as the role that granted it, or as a superuser"
            ),
        });
    }
    Ok(())
}
