//! The arguments about the Git repository of a Plan.

use clap::Args;

use super::parse::{git_revision, git_url, secret_name, target_branch};

/// The Git repository of a Plan.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Workspace")]
pub struct Git {
    /// Git repository for the tasks: an https://, http:// or ssh:// URL without a credential
    #[arg(id = "git_url", long = "git-url", value_name = "URL", value_parser = git_url)]
    pub url: Option<String>,
    /// Branch, tag or commit to start from [default: main]
    #[arg(long, requires = "git_url", value_parser = git_revision)]
    pub revision: Option<String>,
    /// Secret with the Git credential of the tasks, which clone and push their own branches; agents can read it
    #[arg(long, requires_all = ["git_url", "integration_secret"], value_name = "SECRET", value_parser = secret_name)]
    pub credentials_secret: Option<String>,
    /// Branch that receives the merged work, not below enact/ [default: plan/<name of the plan>]
    #[arg(long, requires = "git_url", value_name = "BRANCH", value_parser = target_branch)]
    pub integration_branch: Option<String>,
    /// Secret with the Git credential of the integration, which pushes that branch; must differ from --credentials-secret
    #[arg(long, requires = "git_url", value_name = "SECRET", value_parser = secret_name)]
    pub integration_secret: Option<String>,
}
