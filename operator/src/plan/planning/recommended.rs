//! Choices of earlier plans that planners are shown.

use enact_domain::decisions::recommendations::{self, Recommendation};

use super::Planning;
use crate::error::Error;

impl Planning<'_> {
    /// Returns the choices that worked in earlier plans and may help to plan the specification. They come from the namespace of the plan, and
    /// from all namespaces of the tenant only if the tenant shares its decisions: who may write Plans in one of them reads what a prompt has.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub(super) async fn recommendations(&self) -> Result<Vec<Recommendation>, Error> {
        let observed = self.assignment.observed;
        let namespace = (!self.member.shares_decisions).then_some(observed.namespace.as_str());
        let decisions = self.ctx.record_store.decision_outcomes(&self.member.tenant, namespace, &observed.uid).await?;
        let specification = &self.assignment.specification.parsed.model.source;
        Ok(recommendations::for_specification(specification, &decisions))
    }
}
