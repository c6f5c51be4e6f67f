//! Specification: checks that the document is valid and meets the rules, and that its constitution is in its own namespace.

use enact_crds::chain::Walk;
use enact_crds::common::NamespacedRef;
use enact_crds::{SpecificationSpec, validation};
use enact_domain::approval::Policy;
use enact_domain::record::Kind;
use enact_domain::rules::{Document, DocumentMetadata, Scope};
use enact_domain::speckit::spec;

use super::constitution_chain::evaluate;
use super::validator::{Validate, Validator};
use super::{document, reference};
use crate::denial::{Cause, Denial, Outcome};
use crate::lookup::Lookup;
use crate::request::Request;

const CONSTITUTION: &str = "spec.constitutionRef";
const SOURCE: &str = "spec.source";

impl<L: Lookup> Validate<SpecificationSpec> for Validator<L> {
    async fn validate(&self, request: &Request, spec: SpecificationSpec) -> Outcome {
        let (parsing, source) = (&self.parsing, spec.source.as_ref());
        let mut checked = document::check(parsing, request.namespace(), SOURCE, source, spec::parse).await;
        checked.causes.extend(validation::source_author(&Policy::from(&spec.approval), source).map(Cause::from));
        let constitution = spec.constitution_ref.as_ref();
        checked.causes.extend(constitution.and_then(|r| reference::check(CONSTITUTION, Kind::Constitution, r)));
        let drafter = spec.drafting.as_ref().map(|drafting| &drafting.agent_ref);
        checked.causes.extend(drafter.and_then(|r| reference::check("spec.drafting.agentRef", Kind::Agent, r)));
        if spec.source.is_none() && drafter.is_none() {
            let message = "names no agent that drafts the document from spec.request; set agentRef, or write the document into spec.source";
            checked.causes.push(Cause::new("spec.drafting", message));
        }
        Denial::unless_empty(checked.causes)?;
        let mut warnings = checked.warnings;
        // Answers change the document, so the operator evaluates the document that they lead to.
        if let Some(model) = checked.model.filter(|_| spec.clarifications.is_empty()) {
            let namespace = request.namespace();
            let first = constitution.map(|r| NamespacedRef::new(namespace, &r.name));
            let rules =
                self.effective_rules(Walk::new(None, first, CONSTITUTION, namespace)).await?.unwrap_or_default();
            let document = Document::specification(&model, &DocumentMetadata { name: request.name().to_owned() });
            let (causes, broken) = evaluate(SOURCE, &rules, Scope::Specification, &document);
            Denial::unless_empty(causes)?;
            warnings.extend(broken);
        }
        if let Some(constitution) = constitution {
            warnings.extend(self.warn_unless_exists(request, CONSTITUTION, Kind::Constitution, constitution).await);
        }
        Ok(warnings)
    }
}
