//! Configuration by flags, environment and file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

/// The Enact operator: controllers that turn constitutions, specifications and plans into finished work.
///
/// Every setting is a flag, a variable of the environment (see each flag's help), or a line of the file that --config names; the first of
/// these that is there counts.
#[derive(Debug, Parser)]
#[command(name = "enact-operator", version)]
pub struct Cli {
    /// File of settings: a YAML map of flags without their dashes to values, such as `concurrency: 8`.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
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
    /// Name of this process in the leader lease.
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
    /// Labels of the server's pods, `key=value`, to which tenants' pods may connect; separated by commas.
    #[arg(
        long,
        env = "ENACT_SERVER_POD_LABELS",
        value_delimiter = ',',
        default_value = "app.kubernetes.io/part-of=enact,app.kubernetes.io/component=server"
    )]
    pub server_pod_labels: Vec<String>,
    /// Namespace of the cluster's DNS, to which tenants' pods may connect; empty lets them ask any address on port 53, for DNS that runs on
    /// the nodes.
    #[arg(long, env = "ENACT_DNS_NAMESPACE", default_value = "kube-system")]
    pub dns_namespace: String,
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

impl Config {
    /// The port of the server's pods, if pods reach a server.
    pub fn server_port(&self) -> Option<u16> {
        url::Url::parse(self.server_url.as_deref()?).ok()?.port_or_known_default()
    }

    /// The labels of the server's pods.
    pub fn server_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.server_pod_labels.iter().filter_map(|pair| pair.split_once('='))
    }
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

/// Adds the settings of `--config FILE` (a YAML map of long flag names to values) to the arguments. A flag wins over them, and so does a
/// variable of the environment.
///
/// # Errors
/// When the file cannot be read, or holds anything but settings of the command.
pub fn with_file(
    args: impl IntoIterator<Item = String>,
    is_set: impl Fn(&OsStr) -> bool,
) -> anyhow::Result<Vec<String>> {
    let mut args: Vec<String> = args.into_iter().collect();
    let Some(path) = file(&args)? else { return Ok(args) };
    let text = std::fs::read_to_string(&path).with_context(|| format!("--config {path}"))?;
    let map: BTreeMap<String, serde_yaml::Value> = serde_yaml::from_str(&text).with_context(|| {
        format!("--config {path}: not a map of flags to values; write for example `concurrency: 8`")
    })?;
    let cli = Cli::command();
    let command = args.iter().find_map(|a| cli.find_subcommand(a)).context("name a command first: run, or migrate")?;
    for (key, value) in map {
        let flag = command.get_arguments().find(|a| a.get_long() == Some(key.as_str())).with_context(|| {
            format!("--config {path}: {} has no setting `{key}`; see `enact-operator {0} --help`", command.get_name())
        })?;
        let given = args.iter().any(|a| a == &format!("--{key}") || a.starts_with(&format!("--{key}=")));
        if given || flag.get_env().is_some_and(&is_set) {
            continue;
        }
        let value = plain(&value)
            .with_context(|| format!("--config {path}: {key} must be a text, a number, or a list of texts"))?;
        args.push(format!("--{key}={value}"));
    }
    Ok(args)
}

/// The file that the arguments name.
fn file(args: &[String]) -> anyhow::Result<Option<String>> {
    for (i, arg) in args.iter().enumerate() {
        if let Some(path) = arg.strip_prefix("--config=") {
            return Ok(Some(path.to_owned()));
        }
        if arg == "--config" {
            return Ok(Some(args.get(i + 1).context("--config needs a file name")?.clone()));
        }
    }
    Ok(None)
}

/// A setting as a flag's value.
fn plain(value: &serde_yaml::Value) -> Option<String> {
    match value {
        serde_yaml::Value::String(s) => Some(s.clone()),
        serde_yaml::Value::Number(n) => Some(n.to_string()),
        serde_yaml::Value::Bool(b) => Some(b.to_string()),
        serde_yaml::Value::Sequence(items) => Some(items.iter().map(plain).collect::<Option<Vec<_>>>()?.join(",")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_and_environment_win_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let text = "database-url: postgres://a\nagent-image: img\nconcurrency: 3\nlog-format: human\nlease-seconds: 9\n\
                    default-tenant-namespaces: [a, b]\n";
        std::fs::write(path, text).unwrap();
        let args = ["enact-operator", "run", "--config", path, "--concurrency", "5"].map(String::from);
        let args = with_file(args, |name| name == "ENACT_LEASE_SECONDS" || name == "ENACT_LOG_FORMAT").unwrap();
        assert!(!args.iter().any(|a| a.starts_with("--lease-seconds") || a.starts_with("--log-format")), "{args:?}");
        let cli = Cli::parse_from(args);
        let Command::Run(config) = cli.command else { panic!("run") };
        assert_eq!((config.concurrency, config.agent_image.as_str()), (5, "img"));
        assert_eq!(config.default_tenant_namespaces, ["a", "b"]);

        std::fs::write(path, "concurency: 3\n").unwrap();
        let error = with_file(["enact-operator", "run", &format!("--config={path}")].map(String::from), |_| false);
        assert!(error.unwrap_err().to_string().ends_with("no setting `concurency`; see `enact-operator run --help`"));
    }
}
