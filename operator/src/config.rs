//! Configuration by flags, environment and file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The Enact operator: controllers that turn constitutions, specifications and plans into finished work.
///
/// Every flag can also be set by the environment variable that its help names.
#[derive(Debug, Parser)]
#[command(name = "enact-operator", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controllers.
    Run(Box<Config>),
    /// Bring the database to this release's schema, make the application's login, and end.
    Migrate(Migrate),
}

/// Settings of the controllers.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Postgres URL of the application's login.
    #[arg(long, env = "ENACT_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Base URL under which pods reach enact-server; without one, results are kept only in the pods' termination messages.
    #[arg(long, env = "ENACT_SERVER_URL")]
    pub server_url: Option<String>,
    /// Image of agent pods whose Agent names none; it has Git, Python and the runner.
    #[arg(long, env = "ENACT_AGENT_IMAGE")]
    pub agent_image: String,
    /// Image from which the runner is copied into pods of other images. Default: the agent image.
    #[arg(long, env = "ENACT_RUNNER_IMAGE")]
    pub runner_image: Option<String>,
    /// Namespace of the installation; holds the leader lease.
    #[arg(long, env = "ENACT_NAMESPACE", default_value = "enact")]
    pub namespace: String,
    /// Identity of this process in the leader lease.
    #[arg(long, env = "ENACT_POD_NAME", default_value = "enact-operator")]
    pub pod_name: String,
    /// Namespaces of the tenant `default`, for an installation without Tenants; separated by commas.
    #[arg(long, env = "ENACT_DEFAULT_TENANT_NAMESPACES", value_delimiter = ',')]
    pub default_tenant_namespaces: Vec<String>,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "ENACT_LISTEN", default_value = "0.0.0.0:8081")]
    pub listen: std::net::SocketAddr,
    /// Most objects of a kind that are worked on at once.
    #[arg(long, env = "ENACT_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub concurrency: u16,
    /// Most requests that one plan's pass sends to the API server at once.
    #[arg(long, env = "ENACT_REQUESTS_IN_FLIGHT", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub requests_in_flight: u16,
    /// Seconds that the leader lease holds without being renewed.
    #[arg(long, env = "ENACT_LEASE_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..=300))]
    pub lease_seconds: u16,
    /// Node selector of agent pods, `key=value`; separated by commas.
    #[arg(long, env = "ENACT_AGENT_NODE_SELECTOR", value_delimiter = ',')]
    pub agent_node_selector: Vec<String>,
    /// Keys of taints that agent pods tolerate; separated by commas.
    #[arg(long, env = "ENACT_AGENT_TOLERATIONS", value_delimiter = ',')]
    pub agent_tolerations: Vec<String>,
    /// How logs are written, and how much.
    #[command(flatten)]
    pub log: Log,
}

/// Settings of `migrate`.
#[derive(Clone, Debug, Args)]
pub struct Migrate {
    /// Postgres URL of the schema's owner.
    #[arg(long, env = "ENACT_DATABASE_OWNER_URL", hide_env_values = true)]
    pub owner_url: String,
    /// Postgres URL of the application: its user and password become the application's login.
    #[arg(long, env = "ENACT_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Seconds to wait for Postgres to answer.
    #[arg(long, env = "ENACT_MIGRATE_WAIT_SECONDS", default_value_t = 300)]
    pub wait_seconds: u64,
    /// How logs are written, and how much.
    #[command(flatten)]
    pub log: Log,
}

/// How logs are written.
#[derive(Clone, Debug, Args)]
pub struct Log {
    /// Form of the log lines.
    #[arg(long, env = "ENACT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// What is logged, in the syntax of `tracing` filters: `info,enact_operator=debug`.
    #[arg(long = "log", env = "ENACT_LOG", default_value = "info")]
    pub log_filter: String,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person's eyes.
    Human,
}

impl Log {
    /// Starts logging.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub fn init(&self) -> anyhow::Result<()> {
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log_filter).map_err(|e| {
            anyhow::anyhow!("--log {:?}: {e}; write for example info,enact_operator=debug", self.log_filter)
        })?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter);
        match self.log_format {
            LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).init(),
            LogFormat::Human => builder.init(),
        }
        Ok(())
    }
}

/// Puts the settings of `--config FILE` (a YAML map of long flag names to values) before the other arguments, which therefore win. A
/// setting in the environment wins over the file as well.
///
/// # Errors
/// When the file cannot be read or is no map of plain values.
pub fn with_file(args: impl IntoIterator<Item = String>) -> anyhow::Result<Vec<String>> {
    use anyhow::Context as _;
    let mut args: Vec<String> = args.into_iter().collect();
    let Some(at) = args.iter().position(|a| a == "--config") else { return Ok(args) };
    anyhow::ensure!(at + 1 < args.len(), "--config needs a file name");
    let path = PathBuf::from(args.remove(at + 1));
    args.remove(at);
    let text = std::fs::read_to_string(&path).with_context(|| format!("--config {}", path.display()))?;
    let map: std::collections::BTreeMap<String, serde_yaml::Value> = serde_yaml::from_str(&text)
        .with_context(|| format!("--config {}: not a map of flags to values", path.display()))?;
    let mut from_file = Vec::new();
    for (key, value) in map {
        let env = format!("ENACT_{}", key.trim_start_matches("log-").to_uppercase().replace('-', "_"));
        let given = args.iter().any(|a| a == &format!("--{key}") || a.starts_with(&format!("--{key}=")));
        if given || std::env::var_os(env).is_some() {
            continue;
        }
        let value = match value {
            serde_yaml::Value::String(s) => s,
            serde_yaml::Value::Number(n) => n.to_string(),
            serde_yaml::Value::Bool(b) => b.to_string(),
            other => anyhow::bail!("--config {}: {key} is not a plain value: {other:?}", path.display()),
        };
        from_file.push(format!("--{key}={value}"));
    }
    args.extend(from_file);
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_win_over_the_file() {
        let dir = std::env::temp_dir().join(format!("enact-config-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("operator.yaml");
        std::fs::write(&file, "database-url: postgres://a\nagent-image: img\nconcurrency: 3\n").unwrap();
        let args =
            ["enact-operator", "run", "--config", file.to_str().unwrap(), "--concurrency", "5"].map(String::from);
        let cli = Cli::parse_from(with_file(args).unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
        let Command::Run(config) = cli.command else { panic!("run") };
        assert_eq!((config.concurrency, config.agent_image.as_str()), (5, "img"));
    }
}
