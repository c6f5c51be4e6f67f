//! The Enact operator.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use enact_operator::config::{Cli, Command, Migrate};
use enact_store::{AppLogin, ErrorClass};

fn main() -> anyhow::Result<()> {
    let cli: Cli = enact_service::config::parse()?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed twice"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    match cli.command {
        Command::Run(config) => {
            config.log.init()?;
            runtime.block_on(enact_operator::run::run(*config))
        }
        Command::Migrate(settings) => {
            settings.log.init()?;
            runtime.block_on(migrate(&settings))
        }
    }
}

/// Migrates as soon as Postgres answers.
async fn migrate(settings: &Migrate) -> anyhow::Result<()> {
    let login = settings.database_url.as_deref().map(login).transpose()?;
    let give_up = Instant::now() + Duration::from_secs(settings.wait_seconds);
    loop {
        match enact_store::migrate(&settings.owner_url, login.as_ref()).await {
            Ok(()) => {
                tracing::info!("the database has this release's schema");
                return Ok(());
            }
            Err(error) if error.class() != ErrorClass::Permanent && Instant::now() < give_up => {
                tracing::warn!(%error, "cannot migrate yet; trying again");
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Err(error) => return Err(error).context("cannot migrate the database"),
        }
    }
}

/// User and password of a Postgres URL.
fn login(url: &str) -> anyhow::Result<AppLogin> {
    let url = url::Url::parse(url).context("ENACT_DATABASE_URL is not a URL")?;
    let decode =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned);
    let user = decode(url.username()).context("the user in ENACT_DATABASE_URL is not UTF-8")?;
    let password = decode(url.password().context("ENACT_DATABASE_URL needs a password for the application's login")?)
        .context("the password in ENACT_DATABASE_URL is not UTF-8")?;
    Ok(AppLogin { user, password })
}
