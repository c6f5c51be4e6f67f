//! Configuration by flags, environment and file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use enact_service::config::ConfigFile;
use enact_service::log::Log;
use k8s_openapi::jiff::SignedDuration;

use crate::certs::Names;
use crate::certs::keyring::Lifetimes;
use crate::validate::Settings;

/// Admission webhook of Enact: refuses invalid objects, and stamps the tenant, the author and the approver.
///
/// It needs the API server only; Postgres may be down. Every flag can also be set by the environment variable that its help names, or in
/// the file of --config.
#[derive(Clone, Debug, Parser)]
#[command(name = "enact-webhook", version)]
pub struct Config {
    /// Address and port for admission, over HTTPS.
    #[arg(long, env = "ENACT_WEBHOOK_LISTEN", default_value = "0.0.0.0:9443")]
    pub listen: SocketAddr,
    /// Address and port for /healthz, /readyz and /metrics, over HTTP.
    #[arg(long, env = "ENACT_WEBHOOK_HEALTH_LISTEN", default_value = "0.0.0.0:8081")]
    pub health_listen: SocketAddr,
    /// Namespace of this installation. No tenant may own it; the certificates' Secret is in it.
    #[arg(long, env = "ENACT_NAMESPACE")]
    pub namespace: String,
    /// Service that the API server calls this webhook by.
    #[arg(long, env = "ENACT_WEBHOOK_SERVICE", default_value = "enact-webhook")]
    pub service_name: String,
    /// Secret that holds the self-signed certificates; created when it is missing.
    #[arg(long, env = "ENACT_WEBHOOK_SECRET", default_value = "enact-webhook-tls")]
    pub secret_name: String,
    /// ValidatingWebhookConfiguration whose caBundle is kept current.
    #[arg(long, env = "ENACT_VALIDATING_CONFIGURATION", default_value = "enact")]
    pub validating_configuration: String,
    /// MutatingWebhookConfiguration whose caBundle is kept current.
    #[arg(long, env = "ENACT_MUTATING_CONFIGURATION", default_value = "enact")]
    pub mutating_configuration: String,
    /// User name of the operator, as system:serviceaccount:<namespace>:<name>. Only this user writes statuses, Tasks and tenant labels.
    #[arg(long, env = "ENACT_OPERATOR_USER", value_parser = service_account)]
    pub operator_user: String,
    /// Namespaces of the tenant "default", for an installation without Tenant objects; separated by commas.
    #[arg(long, env = "ENACT_DEFAULT_TENANT_NAMESPACES", value_delimiter = ',')]
    pub default_tenant_namespaces: Vec<String>,
    /// Names of namespaces that no Tenant can own, separated by commas. A `*` at the end stands for any characters. No Tenant can own the
    /// namespace of the installation either.
    #[arg(long, env = "ENACT_RESERVED_NAMESPACES", value_delimiter = ',', default_value = "kube-*,default")]
    pub reserved_namespaces: Vec<String>,
    /// Folder with tls.crt and tls.key that another program renews, such as cert-manager. Then this process makes no certificate and does
    /// not change the webhook configurations.
    #[arg(long, env = "ENACT_TLS_DIR")]
    pub tls_dir: Option<PathBuf>,
    /// PEM file with the CA of the API server's client certificate. Without a certificate of this CA, nobody can connect for admission. The
    /// API server sends one only if its admission configuration names it for this webhook.
    #[arg(long, env = "ENACT_CLIENT_CA")]
    pub client_ca: Option<PathBuf>,
    /// How long a self-signed CA is valid; it is renewed after two thirds of that time.
    #[arg(long, env = "ENACT_CA_LIFETIME", default_value = "8760h")]
    pub ca_lifetime: SignedDuration,
    /// How long a self-signed serving certificate is valid; it is renewed after two thirds of that time.
    #[arg(long, env = "ENACT_SERVING_LIFETIME", default_value = "1440h")]
    pub serving_lifetime: SignedDuration,
    /// How long the API server may take to trust a new CA before that CA signs the serving certificate.
    #[arg(long, env = "ENACT_CA_PROPAGATION", default_value = "60s")]
    pub ca_propagation: SignedDuration,
    /// How long requests are still accepted after SIGTERM, until no Service sends any to this pod.
    #[arg(long, env = "ENACT_DRAIN", default_value = "5s")]
    pub drain: SignedDuration,
    #[command(flatten)]
    pub log: Log,
    #[command(flatten)]
    pub file: ConfigFile,
}

/// Parses the user name of a service account. It includes the namespace, so that a service account of the same name elsewhere is not the
/// operator.
fn service_account(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split(':').collect();
    if matches!(parts[..], ["system", "serviceaccount", namespace, name] if !namespace.is_empty() && !name.is_empty()) {
        Ok(text.to_owned())
    } else {
        Err("write system:serviceaccount:<namespace>:<name>".into())
    }
}

impl Config {
    /// Returns the settings for the rules.
    pub fn settings(&self) -> Settings {
        Settings {
            operator_user: self.operator_user.clone(),
            namespace: self.namespace.clone(),
            default_namespaces: self.default_namespaces(),
            reserved_namespaces: self.reserved_namespaces.clone(),
        }
    }

    /// Returns the namespaces of the default tenant; an empty environment variable means none.
    pub fn default_namespaces(&self) -> Vec<String> {
        self.default_tenant_namespaces.iter().map(|n| n.trim()).filter(|n| !n.is_empty()).map(str::to_owned).collect()
    }

    /// Returns how long certificates are valid.
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes { ca: self.ca_lifetime, serving: self.serving_lifetime, propagation: self.ca_propagation }
    }

    /// Returns the host names by which the API server calls a Service.
    pub fn hosts(&self) -> Vec<String> {
        let (service, namespace) = (&self.service_name, &self.namespace);
        vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}"),
        ]
    }

    /// Returns the names of the objects that hold the certificates and the `caBundle`.
    pub fn names(&self) -> Names {
        Names {
            namespace: self.namespace.clone(),
            secret: self.secret_name.clone(),
            validating: self.validating_configuration.clone(),
            mutating: self.mutating_configuration.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::*;

    fn parse(args: &[&str]) -> Config {
        let fixed = ["enact-webhook", "--namespace", "ns", "--operator-user", "system:serviceaccount:ns:op"];
        Config::try_parse_from(fixed.iter().chain(args)).unwrap()
    }

    #[test]
    fn the_defaults_can_be_used() {
        Config::command().debug_assert();
        let config = parse(&[]);
        assert_eq!(config.lifetimes().problem(), None);
        assert_eq!(config.hosts()[0], "enact-webhook.ns.svc");
        assert_eq!(config.default_namespaces(), Vec::<String>::new());
        assert_eq!(parse(&["--default-tenant-namespaces", "a, b,,"]).default_namespaces(), ["a", "b"]);
        assert_eq!(parse(&["--default-tenant-namespaces", ""]).default_namespaces(), Vec::<String>::new());
    }

    #[test]
    fn the_operator_user_includes_its_namespace() {
        for user in ["enact-operator", "system:serviceaccount:enact-operator", "system:serviceaccount::op", ""] {
            let error = Config::try_parse_from(["x", "--namespace", "ns", "--operator-user", user]).unwrap_err();
            assert!(error.to_string().contains("system:serviceaccount:<namespace>:<name>"), "{error}");
        }
    }

    #[test]
    fn the_chart_sets_what_there_is() {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/enact/templates");
        let read = |file: &str| fs::read_to_string(chart.join(file)).unwrap();
        let helpers = read("_helpers.tpl");
        let logs = helpers.split("define \"enact.log.env\"").nth(1).unwrap().split("define").next().unwrap();
        let text = read("webhook/deployment.yaml") + logs;
        let set: BTreeSet<&str> = text.lines().filter_map(|l| l.trim().strip_prefix("- name: ENACT_")).collect();
        let command = Config::command();
        let names = command.get_arguments().filter_map(|a| a.get_env()?.to_str()?.strip_prefix("ENACT_"));
        let known: BTreeSet<&str> = names.collect();
        assert!(set.len() > 8 && set.is_subset(&known), "{:?}", set.difference(&known));
    }
}
