//! The Enact operator.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use backon::{ConstantBuilder, Retryable as _};
use enact_operator::config::{Cli, Command, Migrate};
use enact_service::process;
use enact_store::{AppLogin, ErrorClass};

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
    let login = settings.database_url.as_deref().map(login).transpose()?;
    let deadline = Instant::now() + Duration::from_secs(settings.wait_seconds);
    let migrate = || enact_store::migrate(&settings.owner_url, login.as_ref());
    migrate
        .retry(ConstantBuilder::new().with_delay(Duration::from_secs(2)).without_max_times())
        .when(|error| error.class() != ErrorClass::Permanent && Instant::now() < deadline)
        .notify(|error, _| tracing::warn!(%error, "cannot migrate yet; retrying"))
        .await
        .context("cannot migrate the database")?;
    tracing::info!("the database has this release's schema");
    Ok(())
}

/// Returns user and password of a Postgres URL.
fn login(url: &str) -> anyhow::Result<AppLogin> {
    let url = url::Url::parse(url).context("ENACT_DATABASE_URL is not a URL")?;
    let decode =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned);
    let user = decode(url.username()).context("the user in ENACT_DATABASE_URL is not UTF-8")?;
    let password = decode(url.password().context("ENACT_DATABASE_URL needs the password of the application's login")?)
        .context("the password in ENACT_DATABASE_URL is not UTF-8")?;
    Ok(AppLogin { user, password })
}
