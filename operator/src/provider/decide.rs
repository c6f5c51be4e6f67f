//! Decide: the readiness of a ModelProvider, as far as its spec shows it.

use enact_crds::{ModelProviderSpec, validation};
use enact_domain::condition::Readiness;

/// Returns the readiness of a provider. `in_tenant` says whether a tenant owns its namespace, `in_installation` whether it is in the
/// installation's namespace.
pub fn decide(spec: &ModelProviderSpec, in_tenant: bool, in_installation: bool) -> Readiness {
    if !in_tenant && !in_installation {
        let message = "the namespace belongs to no tenant; add it to spec.namespaces of a Tenant, or move the object to one of its \
                       namespaces or to that of the installation";
        return Readiness::stalled("NotInTenant", message);
    }
    // The webhook refuses these, unless it was down.
    if let Some(error) = validation::provider(spec, in_installation).into_iter().next() {
        return Readiness::stalled("InvalidProvider", error.to_string());
    }
    Readiness::ready("Valid", "agents can use the provider; the model gateway reports problems with its key")
}
