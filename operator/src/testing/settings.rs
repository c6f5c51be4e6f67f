//! Settings for tests.

use clap::Parser as _;

use crate::config::{Cli, Command, Config};

/// Settings of an installation in the namespace `enact-system`, whose default tenant owns the namespace `ns`.
pub fn config() -> Config {
    let args = [
        "enact-operator",
        "run",
        "--database-url=postgres://enact@127.0.0.1:1/enact",
        "--agent-image=agent:1",
        "--runner-image=enact:1",
        "--server-url=http://enact-server.enact-system.svc:8080",
        "--namespace=enact-system",
        "--default-tenant-namespaces=ns",
    ];
    let Command::Run(config) = Cli::parse_from(args).command else { unreachable!("`run` was asked for") };
    *config
}
