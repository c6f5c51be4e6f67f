//! The cluster that the commands talk to.

use std::fmt::Debug;

use anyhow::{Context as _, Result, anyhow, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

use crate::args::Target;

/// A client, and the namespace to look in.
#[derive(Clone)]
pub struct Cluster {
    /// The client.
    pub client: Client,
    /// The namespace that was asked for, or the context's.
    pub namespace: String,
    /// Namespace and Service of the server, when somebody said where it is.
    pub server: Option<(String, String)>,
    config: Config,
}

impl Cluster {
    /// The cluster of the kubeconfig, or of the pod that this runs in.
    ///
    /// # Errors
    /// When there is no usable configuration.
    pub async fn connect(target: &Target) -> Result<Self> {
        let mut config =
            config(target).await.context("no cluster is configured; set KUBECONFIG or use --kubeconfig")?;
        if target.as_user.is_some() {
            config.auth_info.impersonate.clone_from(&target.as_user);
            config.auth_info.impersonate_groups = (!target.as_group.is_empty()).then(|| target.as_group.clone());
        }
        let namespace = target.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config.clone()).context("the cluster's configuration cannot be used")?;
        Ok(Self { client, namespace, server: target.server.clone(), config })
    }

    /// A client that tries once: what is away shows at once, and need not be waited for.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn impatient(&self) -> Result<Client> {
        let mut config = self.config.clone();
        config.default_retry = false;
        Client::try_from(config).context("the cluster's configuration cannot be used")
    }

    /// The objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The object of this name.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn get<K>(&self, name: &str) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        match self.api::<K>().get_opt(name).await.map_err(told)? {
            Some(object) => Ok(object),
            None => bail!("there is no {} {name} in namespace {}", K::kind(&()), self.namespace),
        }
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

/// What the API server's answer means to a person.
pub fn told(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.code == 404 && status.details.as_ref().is_none_or(|d| d.name.is_empty()) => {
            anyhow!("this cluster knows no such kind: is Enact installed? ({})", status.message)
        }
        kube::Error::Api(status) => anyhow!("{}", plain(&status.message)),
        kube::Error::Service(cause) => anyhow!("the cluster cannot be reached: {cause}"),
        other => anyhow::Error::new(other),
    }
}

/// The reason alone where a webhook denied a request.
fn plain(message: &str) -> &str {
    let denied =
        message.split_once(" denied the request: ").filter(|(before, _)| before.starts_with("admission webhook"));
    denied.map_or(message, |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_told_without_its_frame() {
        let denial =
            r#"admission webhook "approval.enact.dev" denied the request: spec.digest: the content has changed"#;
        assert_eq!(plain(denial), "spec.digest: the content has changed");
        assert_eq!(plain("plans.enact.dev \"x\" not found"), "plans.enact.dev \"x\" not found");
    }
}
