//! Logs: a JSON object per line, or text for people.

use std::panic::PanicHookInfo;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// The flags for logs; flattened into a program's settings.
#[derive(Clone, Debug, Args)]
pub struct Log {
    /// Format of the log lines.
    #[arg(long, env = "ENACT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Filter of the log lines, in the syntax of `tracing`: `info,enact_store=debug`.
    #[arg(long = "log", env = "ENACT_LOG", default_value = "info")]
    pub log_filter: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A JSON object per line.
    Json,
    /// Text for people.
    Human,
}

impl Log {
    /// Starts logging to standard output, panics included.
    ///
    /// # Errors
    /// When the filter is invalid, or this process logs already.
    pub fn init(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log_filter).map_err(|error| {
            anyhow::anyhow!("--log {:?}: {error}; write for example info,enact_store=debug", self.log_filter)
        })?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter);
        let started = match self.log_format {
            LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
            LogFormat::Human => builder.try_init(),
        };
        started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
        // Replaces the default hook, which prints every panic message and would leak data of clients.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(place, message = message(panic), "panic");
        }));
        Ok(())
    }
}

/// Returns the message of a panic when it is a constant. A formatted message may quote data of a client, which logs must not contain.
fn message(panic: &PanicHookInfo<'_>) -> &'static str {
    panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown: it may hold data of clients)")
}
