//! Namespace: its tenant label names the tenant that owns it. The webhook checks nothing else of namespaces.

use enact_domain::names::LABEL_TENANT;

use super::validator::Validator;
use crate::denial::{Denial, Outcome};
use crate::lookup::Lookup;
use crate::request::Request;

impl<L: Lookup> Validator<L> {
    /// Refuses a change of the label to anything but the owning tenant, whatever verb, patch or subresource makes the change.
    pub(super) async fn namespace_label(&self, request: &Request) -> Outcome {
        let (new, old) = (request.tenant_label(), request.old_tenant_label());
        if new == old || self.is_operator(request) {
            return Ok(Vec::new());
        }
        let owner = self.lookup.tenant_of(request.name()).await?;
        if new == owner.as_deref() {
            return Ok(Vec::new());
        }
        let message = match (new, owner) {
            (Some(label), Some(owner)) => {
                format!("the namespace belongs to tenant {owner}, not to {label}; leave the label out")
            }
            (Some(label), None) => {
                format!(
                    "the namespace does not belong to tenant {label}; leave the label out, or add the namespace to the Tenant's spec.namespaces"
                )
            }
            (None, owner) => format!(
                "the namespace belongs to tenant {}; remove it from the Tenant's spec.namespaces first",
                owner.unwrap_or_default()
            ),
        };
        Err(Denial::forbidden(format!("metadata.labels[{LABEL_TENANT}]"), message))
    }
}
