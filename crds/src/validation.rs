//! Rules about one object that its schema cannot prove. The webhook refuses what breaks them, and the operator checks them again: a stored
//! object may be older than a rule, and the webhook may have been down.

use std::fmt;
use std::net::IpAddr;

use enact_domain::assignment::{check_ref, check_url};
use enact_domain::errand::check_path;
use enact_domain::names::{self, DEFAULT_TENANT};

use crate::agent::is_image;
use crate::document::GitSource;
use crate::plan::Workspace;
use crate::tenant::Egress;

/// Field selector of Plans that may still start something; a Plan without a status is one of them. A Tenant keeps a namespace while it has
/// one.
pub const UNFINISHED_PLANS: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Cancelled";
/// Namespaces that hold the cluster itself, or what nobody placed elsewhere.
const RESERVED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "default"];

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field: `spec.workspace.url`.
    pub field: String,
    /// What is wrong and how to fix it.
    pub message: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { field: field.into(), message: message.to_string() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Checks a Plan's `spec.workspace`.
pub fn workspace(workspace: &Workspace) -> Vec<FieldError> {
    const BRANCH: &str = "spec.workspace.integration.branch";
    const CREDENTIALS: &str = "spec.workspace.integration.credentialsSecretRef";
    let integration = &workspace.integration;
    let mut errors = Vec::new();
    errors.extend(check_url(&workspace.url).err().map(|e| FieldError::new("spec.workspace.url", e)));
    errors.extend(check_ref(&workspace.revision).err().map(|e| FieldError::new("spec.workspace.revision", e)));
    if let Some(branch) = &integration.branch {
        if names::is_work_branch(branch) {
            let message =
                format!("`{}` lies below enact/, where agents push; name another branch", branch.escape_debug());
            errors.push(FieldError::new(BRANCH, message));
        } else {
            errors.extend(check_ref(branch).err().map(|e| FieldError::new(BRANCH, e)));
        }
    }
    match (&workspace.credentials_secret_ref, &integration.credentials_secret_ref) {
        (Some(_), None) => errors.push(FieldError::new(
            CREDENTIALS,
            "is missing, although credentialsSecretRef is set, which agents can read; name a Secret that only the integration pod mounts",
        )),
        (Some(agents), Some(own)) if agents == own => errors.push(FieldError::new(
            CREDENTIALS,
            format!("agents can read the Secret {}, which credentialsSecretRef names too; name another Secret", own.name),
        )),
        _ => {}
    }
    errors
}

/// Checks the names that Git gets from a document's source at `field`.
pub fn git_source(field: &str, git: &GitSource) -> Vec<FieldError> {
    let checks =
        [("url", check_url(&git.url)), ("revision", check_ref(&git.revision)), ("path", check_path(&git.path))];
    let failed = checks.into_iter().filter_map(|(name, check)| Some((name, check.err()?)));
    failed.map(|(name, error)| FieldError::new(format!("{field}.{name}"), error)).collect()
}

/// Checks the form of an Agent's `spec.image`.
pub fn image(image: &str) -> Option<FieldError> {
    (!is_image(image)).then(|| {
        let message = format!(
            "`{}` is not an image reference; write `registry/name:tag` or `registry/name@sha256:…`, without `https://`",
            image.escape_debug()
        );
        FieldError::new("spec.image", message)
    })
}

/// Checks a Tenant's `spec.isolation.egress`.
pub fn egress(egress: &[Egress]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, cidr) in egress.iter().enumerate().filter_map(|(i, egress)| Some((i, egress.cidr.as_deref()?))) {
        if !is_cidr(cidr) {
            let message = format!(
                "`{}` is not a CIDR block; write one such as 203.0.113.0/24 or 2001:db8::/32",
                cidr.escape_debug()
            );
            errors.push(FieldError::new(format!("spec.isolation.egress[{i}].cidr"), message));
        }
    }
    errors
}

fn is_cidr(text: &str) -> bool {
    let parsed = text.split_once('/').map(|(address, prefix)| (address.parse::<IpAddr>(), prefix.parse::<u8>()));
    matches!(parsed, Some((Ok(address), Ok(prefix))) if prefix <= if address.is_ipv4() { 32 } else { 128 })
}

/// Why no Tenant, or not this one, can have a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// It belongs to the cluster.
    #[error("holds the cluster itself and cannot belong to a Tenant; remove it from spec.namespaces")]
    Cluster,
    /// It belongs to this installation.
    #[error("holds the installation of Enact and cannot belong to a Tenant; remove it from spec.namespaces")]
    Installation,
    /// It belongs to the default tenant.
    #[error(
        "belongs to the default tenant; remove it from defaultTenant.namespaces in the installation's values first, or from \
         spec.namespaces"
    )]
    DefaultTenant,
}

/// Checks whether the Tenant `tenant` can have `namespace` in an installation that runs in the namespace `installation` and whose default
/// tenant has `default_namespaces`.
///
/// # Errors
/// Why it cannot, whatever other Tenants there are.
pub fn namespace(
    tenant: &str,
    namespace: &str,
    installation: &str,
    default_namespaces: &[String],
) -> Result<(), NamespaceError> {
    if tenant != DEFAULT_TENANT && default_namespaces.iter().any(|n| n == namespace) {
        Err(NamespaceError::DefaultTenant)
    } else if namespace == installation {
        Err(NamespaceError::Installation)
    } else if RESERVED.contains(&namespace) {
        Err(NamespaceError::Cluster)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_ranges() {
        for good in ["203.0.113.0/24", "2001:db8::/32", "0.0.0.0/0", "::1/128"] {
            assert!(is_cidr(good), "{good}");
        }
        for bad in ["203.0.113.0", "203.0.113.0/33", "2001:db8::/129", "203.0.113/24", "a/8", "/8", ""] {
            assert!(!is_cidr(bad), "{bad}");
        }
    }
}
