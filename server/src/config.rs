//! Configuration by flags, environment and file.

use std::net::SocketAddr;

use clap::{Args, Parser};
use enact_service::config::ConfigFile;
use enact_service::log::Log;

/// The Enact server: stores the results that pods deliver, and shows people the record.
///
/// Every flag can also be set by the environment variable that its help names, or in the file of --config.
#[derive(Debug, Parser)]
#[command(name = "enact-server", version)]
pub struct Cli {
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub log: Log,
    #[command(flatten)]
    pub file: ConfigFile,
}

/// Settings of the server.
#[derive(Clone, Debug, Args)]
// The embedder's settings have the same type name, and clap would make a group of each.
#[group(skip)]
pub struct Settings {
    /// Address and port for deliveries of pods.
    #[arg(long, env = "ENACT_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Address and port for readers of the record.
    #[arg(long, env = "ENACT_READ_LISTEN", default_value = "0.0.0.0:8082")]
    pub read_listen: SocketAddr,
    /// Address and port for the push webhooks of Git hosts; without it, the server accepts none.
    #[arg(long, env = "ENACT_PUSH_LISTEN")]
    pub push_listen: Option<SocketAddr>,
    /// Address and port of /healthz, /readyz and /metrics.
    #[arg(long, env = "ENACT_HEALTH_LISTEN", default_value = "0.0.0.0:8081")]
    pub health_listen: SocketAddr,
    /// Postgres URL of the login of server and gateway.
    #[arg(long, env = "ENACT_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Most connections to Postgres; half of them for readers.
    #[arg(long, env = "ENACT_DATABASE_CONNECTIONS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=256))]
    pub database_connections: u32,
    /// Namespaces of the tenant `default`, for an installation without Tenants; separated by commas.
    #[arg(long, env = "ENACT_DEFAULT_TENANT_NAMESPACES", value_delimiter = ',')]
    pub default_tenant_namespaces: Vec<String>,
    /// Most deliveries that are read and stored at once; half of them for one tenant. Each takes up to 5 MiB of memory.
    #[arg(long, env = "ENACT_DELIVERIES", default_value_t = 24, value_parser = clap::value_parser!(u16).range(2..=1024))]
    pub deliveries: u16,
    /// Most requests of readers in progress at once; half of them for one tenant. Each takes up to 10 MiB of memory. Fewer if one tenant
    /// could take all of the readers' connections to Postgres.
    #[arg(long, env = "ENACT_READINGS", default_value_t = 12, value_parser = clap::value_parser!(u16).range(2..=1024))]
    pub readings: u16,
    #[command(flatten)]
    pub embedder: enact_embed::Settings,
    /// Most connections of pods at once.
    #[arg(long, env = "ENACT_CONNECTIONS", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..=16384))]
    pub connections: u16,
    /// Most connections of one client address at once; more are closed. It shrinks with the free connections. A pod needs two. Set it to
    /// --connections where the network shows the server the addresses of nodes instead of those of pods.
    #[arg(long, env = "ENACT_CLIENT_CONNECTIONS", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=16384))]
    pub client_connections: u16,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn needs_only_the_url_of_postgres() {
        let cli = Cli::try_parse_from(["enact-server", "--database-url", "postgres://x"]).unwrap();
        let Settings { listen, read_listen, health_listen, .. } = cli.settings;
        assert_eq!([listen, health_listen, read_listen].map(|address| address.port()), [8080, 8081, 8082]);
    }
}
