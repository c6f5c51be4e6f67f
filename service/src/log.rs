//! Logs: one JSON object a line, or text for a person.

use std::panic::PanicHookInfo;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How logs are written; flattened into a program's settings.
#[derive(Clone, Debug, Args)]
pub struct Log {
    /// Form of the log lines.
    #[arg(long, env = "ENACT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// What is logged, in the syntax of `tracing` filters: `info,enact_store=debug`.
    #[arg(long = "log", env = "ENACT_LOG", default_value = "info")]
    pub log_filter: String,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person's eyes.
    Human,
}

impl Log {
    /// Starts logging to standard output, panics included.
    ///
    /// # Errors
    /// When the filter cannot be read, or this process logs already.
    pub fn init(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log_filter).map_err(|error| {
            anyhow::anyhow!("--log {:?}: {error}; write for example info,enact_store=debug", self.log_filter)
        })?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter);
        let started = match self.log_format {
            LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
            LogFormat::Human => builder.try_init(),
        };
        started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))?;
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(place, message = message(panic), "panic");
        }));
        Ok(())
    }
}

/// The panic's message when it is a constant. One that was put together may quote what somebody sent, which no log may hold.
fn message(panic: &PanicHookInfo<'_>) -> &'static str {
    panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown, since it may hold data)")
}
