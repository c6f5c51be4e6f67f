//! The Enact operator.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use backon::{ConstantBuilder, Retryable as _};
use enact_operator::config::{Cli, Command, Migrate};
use enact_service::process;
use enact_store::{ErrorClass, Login};

fn main() -> anyhow::Result<()> {
    let cli: Cli = enact_service::config::parse()?;
    match cli.command {
        Command::Run(config) => {
            process::run(&config.log.clone(), async |stop| enact_operator::run::run(*config, stop).await)
        }
        Command::Migrate(settings) => process::run(&settings.log.clone(), async |stop| {
            let migrated = stop.run_until_cancelled(migrate(&settings)).await;
            migrated.context("stopped before the migration finished")?
        }),
    }
}

/// Migrates the database, with retries until Postgres accepts connections.
async fn migrate(settings: &Migrate) -> anyhow::Result<()> {
    let login_of = |variable, url: Option<&str>| url.map(|url| login(variable, url)).transpose();
    let app = login_of("ENACT_DATABASE_URL", settings.database_url.as_deref())?;
    let operator = login_of("ENACT_OPERATOR_DATABASE_URL", settings.operator_database_url.as_deref())?;
    if app.is_some() && operator.is_none() {
        tracing::warn!(
            "ENACT_OPERATOR_DATABASE_URL is not set: the operator shares its login with server and gateway, so each of them can write and \
             erase what only the operator should"
        );
    }
    let deadline = Instant::now() + Duration::from_secs(settings.wait_seconds);
    let migrate = || enact_store::migrate(&settings.owner_url, app.as_ref(), operator.as_ref());
    migrate
        .retry(ConstantBuilder::new().with_delay(Duration::from_secs(2)).without_max_times())
        .when(|error| error.class() != ErrorClass::Permanent && Instant::now() < deadline)
        .notify(|error, _| tracing::warn!(%error, "cannot migrate yet; retrying"))
        .await
        .context("cannot migrate the database")?;
    tracing::info!("the database has this release's schema");
    Ok(())
}

/// Returns user and password of the Postgres URL in an environment variable.
fn login(variable: &str, url: &str) -> anyhow::Result<Login> {
    let url = url::Url::parse(url).with_context(|| format!("{variable} is not a URL"))?;
    let decode =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned);
    let user = decode(url.username()).with_context(|| format!("the user in {variable} is not UTF-8"))?;
    let password = decode(url.password().with_context(|| format!("{variable} needs the password of its user"))?)
        .with_context(|| format!("the password in {variable} is not UTF-8"))?;
    Ok(Login { user, password })
}
