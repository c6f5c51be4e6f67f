//! Specification: its document can be used and keeps the rules, its constitution is in its own namespace.

use enact_crds::SpecificationSpec;
use enact_crds::common::NamespacedRef;
use enact_domain::rules::{Document, DocumentMetadata, Scope};
use enact_domain::speckit::spec;

use super::{Admission, Validate, document, law, reference};
use crate::denial::{Cause, Denial, Outcome};
use crate::request::Request;
use crate::world::{Referent, World};

const CONSTITUTION: &str = "spec.constitutionRef";
const SOURCE: &str = "spec.source";

impl<W: World> Validate<SpecificationSpec> for Admission<W> {
    async fn validate(&self, request: &Request, spec: SpecificationSpec) -> Outcome {
        let mut checked = document::check(SOURCE, spec.source.as_ref(), spec::parse);
        let constitution = spec.constitution_ref.as_ref();
        checked.causes.extend(constitution.and_then(|r| reference::check(CONSTITUTION, Referent::Constitution, r)));
        let drafter = spec.drafting.as_ref().map(|drafting| &drafting.agent_ref);
        let unfit = |r| reference::check("spec.drafting.agentRef", Referent::Agent, r);
        checked.causes.extend(drafter.and_then(unfit));
        if spec.source.is_none() && drafter.is_none() {
            let message = "names no agent that drafts the document from spec.request; set agentRef, or write the document into spec.source";
            checked.causes.push(Cause::new("spec.drafting", message));
        }
        Denial::unless_empty(checked.causes)?;
        let mut warnings = checked.warnings;
        // Answers change the document: then the operator judges what comes of them.
        if let Some(model) = checked.model.filter(|_| spec.clarifications.is_empty()) {
            let namespace = request.namespace().to_owned();
            let first = constitution.map(|r| NamespacedRef { namespace: namespace.clone(), name: r.name.clone() });
            let rules = self.law(&namespace, first).await?.unwrap_or_default();
            let document = Document::specification(&model, &DocumentMetadata { name: request.name().to_owned() });
            let (causes, told) = law::judge(SOURCE, &rules, Scope::Specification, &document);
            Denial::unless_empty(causes)?;
            warnings.extend(told);
        }
        if let Some(constitution) = constitution {
            warnings.extend(self.warn_unless_exists(request, CONSTITUTION, Referent::Constitution, constitution).await);
        }
        Ok(warnings)
    }
}
