//! Namespace: its tenant label is true. Everything else about namespaces is not ours.

use enact_domain::names::LABEL_TENANT;

use super::Admission;
use crate::denial::{Denial, Outcome};
use crate::request::Request;
use crate::world::World;

impl<W: World> Admission<W> {
    /// Refuses a change of the label to anything but the owning tenant, by whatever verb, patch or subresource it comes.
    pub(super) async fn namespace_label(&self, request: &Request) -> Outcome {
        let (new, old) = (request.tenant_label(), request.old_tenant_label());
        if new == old || self.is_operator(request) {
            return Ok(Vec::new());
        }
        let owner = self.world.tenant_of(request.name()).await?;
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
                "the namespace belongs to tenant {}; take it out of the Tenant's spec.namespaces first",
                owner.unwrap_or_default()
            ),
        };
        Err(Denial::forbidden(format!("metadata.labels[{LABEL_TENANT}]"), message))
    }
}
