//! Configuration by flags, environment and file.

use std::net::SocketAddr;

use clap::{Args, Parser};
use enact_service::config::ConfigFile;
use enact_service::log::Log;

/// The Enact model gateway: sends the requests of agents to models, with keys that agents never see, and records what they use.
///
/// Every flag can also be set by the environment variable that its help names, or in the file of --config.
#[derive(Debug, Parser)]
#[command(name = "enact-gateway", version)]
pub struct Cli {
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub log: Log,
    #[command(flatten)]
    pub file: ConfigFile,
}

/// Settings of the gateway.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Address and port for agents.
    #[arg(long, env = "ENACT_LISTEN", default_value = "0.0.0.0:8090")]
    pub listen: SocketAddr,
    /// Address and port of /healthz, /readyz and /metrics.
    #[arg(long, env = "ENACT_HEALTH_LISTEN", default_value = "0.0.0.0:8081")]
    pub health_listen: SocketAddr,
    /// Postgres URL of the application's login.
    #[arg(long, env = "ENACT_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Most connections to Postgres.
    #[arg(long, env = "ENACT_DATABASE_CONNECTIONS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub database_connections: u32,
    /// Namespace of the installation, whose ModelProviders can be shared with tenants.
    #[arg(long, env = "ENACT_NAMESPACE", default_value = "enact-system")]
    pub namespace: String,
    /// Namespaces of the tenant `default`, for an installation without Tenants; separated by commas.
    #[arg(long, env = "ENACT_DEFAULT_TENANT_NAMESPACES", value_delimiter = ',')]
    pub default_tenant_namespaces: Vec<String>,
    /// Hosts with private addresses that the ModelProviders of tenants may name; separated by commas. `*.example.org` means all hosts below
    /// example.org. The ModelProviders of the installation may name every host.
    #[arg(long, env = "ENACT_ALLOWED_PRIVATE_HOSTS", value_delimiter = ',')]
    pub allowed_private_hosts: Vec<String>,
    /// Most connections of agents at once.
    #[arg(long, env = "ENACT_CONNECTIONS", default_value_t = 2048, value_parser = clap::value_parser!(u16).range(1..=32768))]
    pub connections: u16,
    /// Most connections of one client address at once; more are closed. It shrinks with the free connections. An agent can have many streams of
    /// subagents. Set it to --connections where the network shows the gateway the addresses of nodes instead of those of pods.
    #[arg(long, env = "ENACT_CLIENT_CONNECTIONS", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=32768))]
    pub client_connections: u16,
    /// Memory for the bodies of all requests in progress, in MiB; at least 32, the size of the largest request. A tenant gets half of it, and
    /// at least 32. Answers in progress can use half as much in addition.
    #[arg(long, env = "ENACT_REQUEST_MEMORY", default_value_t = 128, value_parser = clap::value_parser!(u16).range(32..=16384))]
    pub request_memory: u16,
    /// Number of replicas of the gateway. Each one applies its part of all limits per minute.
    #[arg(long, env = "ENACT_REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub replicas: u32,
    /// Most requests per minute of one tenant whose spec.modelLimits names none.
    #[arg(long, env = "ENACT_TENANT_REQUESTS_PER_MINUTE", default_value = "6000")]
    pub tenant_requests_per_minute: Option<u32>,
    /// Most requests at the same time of one tenant whose spec.modelLimits names none.
    #[arg(long, env = "ENACT_TENANT_CONCURRENT_REQUESTS", default_value = "512")]
    pub tenant_concurrent_requests: Option<u32>,
    /// Most tokens per minute of one tenant whose spec.modelLimits names none.
    #[arg(long, env = "ENACT_TENANT_TOKENS_PER_MINUTE")]
    pub tenant_tokens_per_minute: Option<u64>,
    /// Most requests per minute of one Agent. Its spec.limits can be lower.
    #[arg(long, env = "ENACT_AGENT_REQUESTS_PER_MINUTE")]
    pub agent_requests_per_minute: Option<u32>,
    /// Most tokens per minute of one Agent. Its spec.limits can be lower.
    #[arg(long, env = "ENACT_AGENT_TOKENS_PER_MINUTE")]
    pub agent_tokens_per_minute: Option<u64>,
    /// Most requests per minute of one attempt.
    #[arg(long, env = "ENACT_ATTEMPT_REQUESTS_PER_MINUTE", default_value = "600")]
    pub attempt_requests_per_minute: Option<u32>,
    /// Most requests at the same time of one attempt.
    #[arg(long, env = "ENACT_ATTEMPT_CONCURRENT_REQUESTS", default_value = "64")]
    pub attempt_concurrent_requests: Option<u32>,
    /// Seconds for which running answers may continue when the gateway stops. The grace period of its pod must be longer.
    #[arg(long, env = "ENACT_DRAIN_SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub drain_seconds: u32,
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
        let cli = Cli::try_parse_from(["enact-gateway", "--database-url", "postgres://x"]).unwrap();
        let Settings { listen, health_listen, .. } = cli.settings;
        assert_eq!([listen, health_listen].map(|address| address.port()), [8090, 8081]);
        let settings = cli.settings;
        assert_eq!([settings.tenant_requests_per_minute, settings.tenant_concurrent_requests], [Some(6000), Some(512)]);
        assert_eq!([settings.attempt_requests_per_minute, settings.attempt_concurrent_requests], [Some(600), Some(64)]);
    }
}
