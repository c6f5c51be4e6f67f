//! Configuration by flags, environment and file.

use clap::{Args, Parser, Subcommand};
use enact_crds::ownership::NamespaceRules;
use enact_service::config::ConfigFile;
use enact_service::log::Log;

/// The Enact operator: controllers that turn constitutions, specifications and plans into finished work.
///
/// Each setting is a flag, an environment variable (see the help of each flag), or a line of the file that --config names; the first of these
/// that is set applies.
#[derive(Debug, Parser)]
#[command(name = "enact-operator", version)]
pub struct Cli {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of the binary.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controllers.
    Run(Box<Config>),
    /// Migrate the database to this release's schema, create the logins of the programs, and exit.
    Migrate(Migrate),
}

/// Settings of the controllers.
#[derive(Clone, Debug, Args)]
pub struct Config {
    #[command(flatten)]
    pub embedder: enact_embed::Settings,
    /// Postgres URL of the login of server and gateway, which the operator uses if it has none of its own.
    #[arg(long, env = "ENACT_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Postgres URL of the operator's own login.
    #[arg(long, env = "ENACT_OPERATOR_DATABASE_URL", hide_env_values = true)]
    pub operator_database_url: Option<String>,
    /// Base URL at which pods reach enact-server. Without it, results are kept only in the pods' termination messages.
    #[arg(long, env = "ENACT_SERVER_URL")]
    pub server_url: Option<String>,
    /// Base URL at which pods reach the model gateway. Without it, agents with models cannot be used.
    #[arg(long, env = "ENACT_GATEWAY_URL")]
    pub gateway_url: Option<String>,
    /// Base URL at which pods reach the clone cache. Without it, every attempt clones from the Git server.
    #[arg(long, env = "ENACT_CACHE_URL")]
    pub cache_url: Option<String>,
    /// Images of coding agents whose Agent names none, `adapter=image` separated by commas.
    #[arg(long, env = "ENACT_ADAPTER_IMAGES", value_delimiter = ',')]
    pub adapter_images: Vec<String>,
    /// Image of agent pods whose Agent names none; it must contain Git, Python and the runner.
    #[arg(long, env = "ENACT_AGENT_IMAGE")]
    pub agent_image: String,
    /// Image from which the runner is copied into pods of other images. Default: the agent image.
    #[arg(long, env = "ENACT_RUNNER_IMAGE")]
    pub runner_image: Option<String>,
    /// Namespace of the installation, which holds the leader lease.
    #[arg(long, env = "ENACT_NAMESPACE", default_value = "enact")]
    pub namespace: String,
    /// Name of this process in the leader lease.
    #[arg(long, env = "ENACT_POD_NAME", default_value = "enact-operator")]
    pub pod_name: String,
    /// Namespaces of the tenant `default`, for an installation without Tenants, separated by commas.
    #[arg(long, env = "ENACT_DEFAULT_TENANT_NAMESPACES", value_delimiter = ',')]
    pub default_tenant_namespaces: Vec<String>,
    /// Names of namespaces that no Tenant can own, separated by commas. A `*` at the end stands for any characters. No Tenant can own the
    /// namespace of the installation either.
    #[arg(long, env = "ENACT_RESERVED_NAMESPACES", value_delimiter = ',', default_value = "kube-*,default")]
    pub reserved_namespaces: Vec<String>,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "ENACT_LISTEN", default_value = "0.0.0.0:8081")]
    pub listen: std::net::SocketAddr,
    /// Highest number of concurrent reconciles of each kind.
    #[arg(long, env = "ENACT_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub concurrency: u16,
    /// Highest number of concurrent requests of one reconcile to the API server.
    #[arg(long, env = "ENACT_REQUESTS_IN_FLIGHT", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub requests_in_flight: u16,
    /// Seconds after which the leader lease expires without renewal.
    #[arg(long, env = "ENACT_LEASE_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..=300))]
    pub lease_seconds: u16,
    /// Labels of the model gateway's pods, `key=value` separated by commas; tenants' pods may connect to them.
    #[arg(
        long,
        env = "ENACT_GATEWAY_POD_LABELS",
        value_delimiter = ',',
        default_value = "app.kubernetes.io/part-of=enact,app.kubernetes.io/component=gateway"
    )]
    pub gateway_pod_labels: Vec<String>,
    /// Labels of the clone cache's pods, `key=value` separated by commas; tenants' pods may connect to them.
    #[arg(
        long,
        env = "ENACT_CACHE_POD_LABELS",
        value_delimiter = ',',
        default_value = "app.kubernetes.io/part-of=enact,app.kubernetes.io/component=cache"
    )]
    pub cache_pod_labels: Vec<String>,
    /// Labels of enact-server's pods, `key=value` separated by commas; tenants' pods may connect to them.
    #[arg(
        long,
        env = "ENACT_SERVER_POD_LABELS",
        value_delimiter = ',',
        default_value = "app.kubernetes.io/part-of=enact,app.kubernetes.io/component=server"
    )]
    pub server_pod_labels: Vec<String>,
    /// Namespace of the cluster's DNS, to which tenants' pods may connect. If empty, they may connect to any address on port 53, for DNS that
    /// runs on the nodes.
    #[arg(long, env = "ENACT_DNS_NAMESPACE", default_value = "kube-system")]
    pub dns_namespace: String,
    /// Node selector of agent pods, `key=value` separated by commas.
    #[arg(long, env = "ENACT_AGENT_NODE_SELECTOR", value_delimiter = ',')]
    pub agent_node_selector: Vec<String>,
    /// Keys of taints that agent pods tolerate, separated by commas.
    #[arg(long, env = "ENACT_AGENT_TOLERATIONS", value_delimiter = ',')]
    pub agent_tolerations: Vec<String>,
    #[command(flatten)]
    pub log: Log,
}

/// Settings of `migrate`.
#[derive(Clone, Debug, Args)]
pub struct Migrate {
    /// Postgres URL of the schema's owner.
    #[arg(long, env = "ENACT_DATABASE_OWNER_URL", hide_env_values = true)]
    pub owner_url: String,
    /// Postgres URL of server and gateway; its user and password become their login.
    #[arg(long, env = "ENACT_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Postgres URL of the operator; its user and password become its login. Without it, the operator shares that of server and gateway.
    #[arg(long, env = "ENACT_OPERATOR_DATABASE_URL", hide_env_values = true)]
    pub operator_database_url: Option<String>,
    /// Seconds to wait until Postgres accepts connections.
    #[arg(long, env = "ENACT_MIGRATE_WAIT_SECONDS", default_value_t = 300)]
    pub wait_seconds: u64,
    #[command(flatten)]
    pub log: Log,
}

impl Config {
    /// Returns the settings about the namespaces of Tenants.
    pub fn namespace_rules(&self) -> NamespaceRules<'_> {
        NamespaceRules {
            installation: &self.namespace,
            defaults: &self.default_tenant_namespaces,
            reserved: &self.reserved_namespaces,
        }
    }

    /// Returns the services that tenants' pods may connect to: their port, and the labels of their pods.
    pub fn services<'a>(&'a self) -> Vec<(u16, Vec<(&'a str, &'a str)>)> {
        let services = [
            (&self.server_url, &self.server_pod_labels),
            (&self.gateway_url, &self.gateway_pod_labels),
            (&self.cache_url, &self.cache_pod_labels),
        ];
        let service = |(url, labels): (&'a Option<String>, &'a Vec<String>)| {
            let port = url::Url::parse(url.as_deref()?).ok()?.port_or_known_default()?;
            Some((port, labels.iter().filter_map(|pair| pair.split_once('=')).collect()))
        };
        services.into_iter().filter_map(service).collect()
    }

    /// Returns the image for pods of an adapter whose Agent names none.
    pub fn image_of(&self, adapter: &str) -> Option<&str> {
        self.adapter_images
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == adapter)
            .map(|(_, image)| image)
    }

    /// Returns Service and namespace of enact-server, if its URL is `http://<service>.<namespace>.svc…`.
    pub fn server_service(&self) -> Option<(String, String)> {
        let url = url::Url::parse(self.server_url.as_deref()?).ok()?;
        match url.host_str()?.split('.').collect::<Vec<_>>().as_slice() {
            [service, namespace] | [service, namespace, "svc", ..] => {
                Some(((*service).to_owned(), (*namespace).to_owned()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory as _;
    use enact_service::config::with_file;

    use super::*;

    #[test]
    fn command_line_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_can_share_a_configuration_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let text = "agent-image: img\nconcurrency: 3\ndefault-tenant-namespaces: [a, b]\nowner-url: postgres://o\n\
                    database-url: postgres://a\n";
        std::fs::write(path, text).unwrap();
        let parse = |args: &[&str]| {
            let args = args.iter().map(OsString::from);
            Cli::try_parse_from(with_file(&Cli::command(), args).unwrap()).unwrap().command
        };
        let run = parse(&["enact-operator", "run", "--config", path, "--concurrency", "5"]);
        let Command::Run(config) = run else { panic!("{run:?}") };
        assert_eq!((config.concurrency, config.agent_image.as_str()), (5, "img"));
        assert_eq!(config.default_tenant_namespaces, ["a", "b"]);
        let migrate = parse(&["enact-operator", &format!("--config={path}"), "migrate"]);
        let Command::Migrate(settings) = migrate else { panic!("{migrate:?}") };
        assert_eq!(settings.owner_url, "postgres://o");
    }
}
