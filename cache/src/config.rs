//! Configuration by flags, environment and file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser};
use enact_service::config::ConfigFile;
use enact_service::log::Log;

/// The Enact clone cache: keeps packs of the repositories of attempts, so that the next attempt starts sooner.
///
/// Every flag can also be set by the environment variable that its help names, or in the file of --config.
#[derive(Debug, Parser)]
#[command(name = "enact-cache", version)]
pub struct Cli {
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub log: Log,
    #[command(flatten)]
    pub file: ConfigFile,
}

/// Settings of the cache.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Address and port for runners.
    #[arg(long, env = "ENACT_LISTEN", default_value = "0.0.0.0:8092")]
    pub listen: SocketAddr,
    /// Address and port of /healthz, /readyz and /metrics.
    #[arg(long, env = "ENACT_HEALTH_LISTEN", default_value = "0.0.0.0:8081")]
    pub health_listen: SocketAddr,
    /// Folder of the packs. Its content is deleted when the program starts.
    #[arg(long, env = "ENACT_CACHE_FOLDER", default_value = "/var/cache/enact")]
    pub folder: PathBuf,
    /// Size of all packs, in MiB. When more is needed, the repositories that were not used for the longest time are removed.
    #[arg(long, env = "ENACT_CACHE_CAPACITY", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..))]
    pub capacity: u32,
    /// Largest repository that is kept, in MiB.
    #[arg(long, env = "ENACT_CACHE_REPOSITORY", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub repository: u32,
    /// Memory of the Git process that checks a pack, in MiB. One such process runs at a time.
    #[arg(long, env = "ENACT_CACHE_GIT_MEMORY", default_value_t = 512, value_parser = clap::value_parser!(u32).range(64..))]
    pub git_memory: u32,
    /// Namespaces of the tenant `default`, for an installation without Tenants; separated by commas.
    #[arg(long, env = "ENACT_DEFAULT_TENANT_NAMESPACES", value_delimiter = ',')]
    pub default_tenant_namespaces: Vec<String>,
    /// Most connections of runners at once.
    #[arg(long, env = "ENACT_CONNECTIONS", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub connections: u16,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
        let Settings { listen, health_listen, .. } = Cli::try_parse_from(["enact-cache"]).unwrap().settings;
        assert_eq!([listen, health_listen].map(|address| address.port()), [8092, 8081]);
    }
}
