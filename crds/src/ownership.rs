//! Which namespaces a Tenant can own. Whoever may write Tenants must not get at the content of a namespace that others made.

use enact_domain::names::{ANNOTATION_ALLOW_TENANT, DEFAULT_TENANT, LABEL_TENANT};
use kube::{Resource, ResourceExt as _};

/// The settings of an installation about the namespaces of Tenants.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceRules<'a> {
    /// Namespace of the installation.
    pub installation: &'a str,
    /// Namespaces of the default tenant.
    pub defaults: &'a [String],
    /// Names that no Tenant can own. A `*` at the end stands for any characters.
    pub reserved: &'a [String],
}

/// The metadata of an existing namespace that decides which Tenant can own it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// The tenant in its label, which only the operator sets.
    pub owner: Option<String>,
    /// The value of its annotation [`ANNOTATION_ALLOW_TENANT`].
    pub allowed: Option<String>,
}

impl Consent {
    /// Reads the metadata of a namespace; none when the namespace is being deleted, because nothing of its content stays.
    pub fn of<K: Resource>(namespace: &K) -> Option<Self> {
        namespace.meta().deletion_timestamp.is_none().then(|| Self {
            owner: namespace.labels().get(LABEL_TENANT).cloned(),
            allowed: namespace.annotations().get(ANNOTATION_ALLOW_TENANT).cloned(),
        })
    }

    fn admits(&self, tenant: &str) -> bool {
        self.owner.as_deref() == Some(tenant) || matches!(self.allowed.as_deref(), Some(t) if t == tenant || t == "*")
    }
}

/// Why no Tenant, or not this one, can have a namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// The installation reserves the name.
    #[error("is reserved by tenants.reservedNamespaces in the installation's values; remove it from spec.namespaces")]
    Reserved,
    /// It belongs to this installation.
    #[error("holds the installation of Enact and cannot belong to a Tenant; remove it from spec.namespaces")]
    Installation,
    /// It belongs to the default tenant.
    #[error(
        "belongs to the default tenant; remove it from defaultTenant.namespaces in the installation's values first, or from \
         spec.namespaces"
    )]
    DefaultTenant,
    /// It exists, and nobody who may change it has allowed this Tenant to own it.
    #[error(
        "exists, and Enact did not create it for this Tenant; let somebody who may change the namespace run: kubectl annotate namespace \
         {namespace} {}={tenant}",
        ANNOTATION_ALLOW_TENANT
    )]
    NotAllowed { namespace: String, tenant: String },
}

impl NamespaceRules<'_> {
    /// Checks whether the Tenant `tenant` can have a namespace of this name.
    ///
    /// # Errors
    /// Why it cannot, whatever namespaces and other Tenants there are.
    pub fn name(&self, tenant: &str, namespace: &str) -> Result<(), NamespaceError> {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => namespace.starts_with(start),
            None => namespace == pattern,
        };
        if tenant != DEFAULT_TENANT && self.defaults.iter().any(|n| n == namespace) {
            Err(NamespaceError::DefaultTenant)
        } else if namespace == self.installation {
            Err(NamespaceError::Installation)
        } else if self.reserved.iter().any(matches) {
            Err(NamespaceError::Reserved)
        } else {
            Ok(())
        }
    }

    /// Checks whether the Tenant `tenant` can have the namespace as it exists; `consent` is none when it does not exist, and the operator
    /// creates it.
    ///
    /// # Errors
    /// When nobody who may change the namespace has allowed it.
    pub fn existing(&self, tenant: &str, namespace: &str, consent: Option<&Consent>) -> Result<(), NamespaceError> {
        // Whoever installs Enact names the namespaces of the default tenant.
        let by_values = tenant == DEFAULT_TENANT && self.defaults.iter().any(|n| n == namespace);
        if by_values || consent.is_none_or(|consent| consent.admits(tenant)) {
            return Ok(());
        }
        Err(NamespaceError::NotAllowed { namespace: namespace.to_owned(), tenant: tenant.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use serde_json::{Value, json};

    use super::*;

    fn rules<'a>(defaults: &'a [String], reserved: &'a [String]) -> NamespaceRules<'a> {
        NamespaceRules { installation: "enact-system", defaults, reserved }
    }

    fn consent(metadata: &Value) -> Option<Consent> {
        Consent::of(&serde_json::from_value::<Namespace>(json!({ "metadata": metadata })).unwrap())
    }

    #[test]
    fn names_are_reserved_by_pattern() {
        let (defaults, reserved) = (["team".to_owned()], ["kube-*".to_owned(), "default".to_owned()]);
        let rules = rules(&defaults, &reserved);
        for (name, expected) in [
            ("kube-system", Err(NamespaceError::Reserved)),
            ("kube-", Err(NamespaceError::Reserved)),
            ("default", Err(NamespaceError::Reserved)),
            ("enact-system", Err(NamespaceError::Installation)),
            ("team", Err(NamespaceError::DefaultTenant)),
            ("kube", Ok(())),
            ("default-b", Ok(())),
        ] {
            assert_eq!(rules.name("acme", name), expected, "{name}");
        }
        assert_eq!(rules.name("default", "team"), Ok(()));
    }

    /// A Tenant must not take over a namespace of others, with the Secrets in it.
    #[test]
    fn an_existing_namespace_needs_consent() {
        let defaults = ["team".to_owned()];
        let rules = rules(&defaults, &[]);
        let check = |metadata: &Value| rules.existing("acme", "payments", consent(metadata).as_ref());
        assert_eq!(rules.existing("acme", "payments", None), Ok(()), "the operator creates it");
        for metadata in [
            json!({}),
            json!({ "annotations": { ANNOTATION_ALLOW_TENANT: "rival" } }),
            json!({ "annotations": { ANNOTATION_ALLOW_TENANT: "" } }),
            json!({ "annotations": { LABEL_TENANT: "acme" } }),
            json!({ "labels": { LABEL_TENANT: "rival" } }),
            json!({ "labels": { ANNOTATION_ALLOW_TENANT: "acme" } }),
        ] {
            let error = check(&metadata).expect_err("refused").to_string();
            assert!(error.contains("kubectl annotate namespace payments enact.dev/allow-tenant=acme"), "{error}");
        }
        for metadata in [
            json!({ "annotations": { ANNOTATION_ALLOW_TENANT: "acme" } }),
            json!({ "annotations": { ANNOTATION_ALLOW_TENANT: "*" } }),
            json!({ "labels": { LABEL_TENANT: "acme" } }),
            json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }),
        ] {
            assert_eq!(check(&metadata), Ok(()), "{metadata}");
        }
        let strange = consent(&json!({}));
        assert_eq!(rules.existing("default", "team", strange.as_ref()), Ok(()), "the installation's values name it");
        assert!(rules.existing("default", "payments", strange.as_ref()).is_err());
    }
}
