//! The context of every validator: the settings of the installation and the lookups.

use std::future::Future;

use enact_crds::ownership::NamespaceRules;

use crate::denial::Outcome;
use crate::parsing::Parsing;
use crate::request::Request;

/// Settings of the installation, from the flags.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// User name of the operator, which writes statuses, Tasks and tenant labels.
    pub operator_user: String,
    /// Namespace of the installation, which no tenant may own.
    pub namespace: String,
    /// Namespaces of the default tenant, for an installation without Tenants.
    pub default_namespaces: Vec<String>,
    /// Names of namespaces that no Tenant may own. A `*` at the end stands for any characters.
    pub reserved_namespaces: Vec<String>,
}

impl Settings {
    /// Returns the settings about the namespaces of Tenants.
    pub(super) fn namespace_rules(&self) -> NamespaceRules<'_> {
        NamespaceRules {
            installation: &self.namespace,
            defaults: &self.default_namespaces,
            reserved: &self.reserved_namespaces,
        }
    }
}

/// The rules of an installation.
pub struct Validator<L> {
    pub lookup: L,
    pub settings: Settings,
    pub parsing: Parsing,
}

/// The rules for a spec of type `T`, beyond what its schema says. Called for new objects and for changed specs only.
pub(super) trait Validate<T> {
    fn validate(&self, request: &Request, spec: T) -> impl Future<Output = Outcome> + Send;
}

impl<L> Validator<L> {
    /// Returns whether the operator sent the request.
    pub(super) fn is_operator(&self, request: &Request) -> bool {
        !self.settings.operator_user.is_empty() && request.user() == self.settings.operator_user
    }

    /// Returns whether the installation is in this namespace.
    pub(super) fn is_installation(&self, namespace: &str) -> bool {
        namespace == self.settings.namespace
    }
}
