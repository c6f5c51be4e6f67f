//! The connection to the cluster.

use std::fmt::Debug;

use anyhow::{Context as _, Result, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

use crate::args::Target;
use crate::server::ServerAddress;

/// A client and the namespace of a command.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    /// The namespace from the command line, or the one of the context.
    pub namespace: String,
    /// The server from the command line.
    pub server: Option<ServerAddress>,
    config: Config,
}

impl Cluster {
    /// Connects to the cluster of the kubeconfig, or of the pod that runs this program.
    pub async fn connect(target: &Target) -> Result<Self> {
        let mut config =
            config(target).await.context("there is no usable kubeconfig; set KUBECONFIG or use --kubeconfig")?;
        if target.as_user.is_some() {
            config.auth_info.impersonate.clone_from(&target.as_user);
            config.auth_info.impersonate_groups = (!target.as_group.is_empty()).then(|| target.as_group.clone());
        }
        // The same precedence as in kubectl: the flag, then the context.
        let namespace = target.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config.clone()).context("the cluster's configuration cannot be used")?;
        Ok(Self { client, namespace, server: target.server.clone(), config })
    }

    /// Returns a client that makes each request once, for requests whose failure is not fatal: a person should not wait for retries.
    pub fn client_without_retry(&self) -> Result<Client> {
        let mut config = self.config.clone();
        config.default_retry = false;
        Client::try_from(config).context("the cluster's configuration cannot be used")
    }

    /// Returns the API for a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// When the object does not exist or cannot be read.
    pub async fn get<K>(&self, name: &str) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let found = self.api::<K>().get_opt(name).await.map_err(api_error)?;
        found.ok_or_else(|| anyhow!("there is no {} {name} in namespace {}", K::kind(&()), self.namespace))
    }
}

async fn config(target: &Target) -> Result<Config> {
    if target.context.is_none() && target.kubeconfig.is_none() {
        return Ok(Config::infer().await?);
    }
    let kubeconfig = match &target.kubeconfig {
        Some(file) => Kubeconfig::read_from(file)?,
        None => Kubeconfig::read()?,
    };
    let options = KubeConfigOptions { context: target.context.clone(), ..KubeConfigOptions::default() };
    Ok(Config::from_custom_kubeconfig(kubeconfig, &options).await?)
}

/// Converts an error of the API server to a message for a person.
pub fn api_error(error: kube::Error) -> anyhow::Error {
    match error {
        // Without a name in the details, the 404 is about the resource: the API server does not know the kind.
        kube::Error::Api(status) if status.code == 404 && status.details.as_ref().is_none_or(|d| d.name.is_empty()) => {
            anyhow!("this cluster does not have the CRDs of Enact; install Enact first ({})", status.message)
        }
        kube::Error::Api(status) => anyhow!("{}", denial_reason(&status.message)),
        kube::Error::Service(cause) => anyhow!("the API server cannot be reached: {cause}"),
        other => anyhow::Error::new(other),
    }
}

/// Returns the reason of a webhook's denial without the prefix that the API server adds.
fn denial_reason(message: &str) -> &str {
    let denied =
        message.split_once(" denied the request: ").filter(|(before, _)| before.starts_with("admission webhook"));
    denied.map_or(message, |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denial_has_no_prefix() {
        let denial =
            r#"admission webhook "approval.enact.dev" denied the request: spec.digest: the content has changed"#;
        assert_eq!(denial_reason(denial), "spec.digest: the content has changed");
        assert_eq!(denial_reason("plans.enact.dev \"x\" not found"), "plans.enact.dev \"x\" not found");
    }
}
