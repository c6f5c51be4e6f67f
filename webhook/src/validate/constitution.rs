//! Constitution: checks that the document is valid, that the rules compile and loosen no inherited rule, and that the document meets them.

use enact_crds::chain::Walk;
use enact_crds::common::NamespacedRef;
use enact_crds::{ConstitutionSpec, convert, validation};
use enact_domain::approval::Policy;
use enact_domain::record::Kind;
use enact_domain::rules::{Document, Rule, Scope, compile_all, inherit};
use enact_domain::speckit::constitution;

use super::constitution_chain::evaluate;
use super::validator::{Validate, Validator};
use super::{document, reference};
use crate::denial::{Cause, Denial, Outcome};
use crate::lookup::Lookup;
use crate::request::Request;

const PARENT: &str = "spec.parentRef";
const SOURCE: &str = "spec.source";

impl<L: Lookup> Validate<ConstitutionSpec> for Validator<L> {
    async fn validate(&self, request: &Request, spec: ConstitutionSpec) -> Outcome {
        let (parsing, source) = (&self.parsing, Some(&spec.source));
        let mut checked = document::check(parsing, request.namespace(), SOURCE, source, constitution::parse).await;
        checked.causes.extend(validation::source_author(&Policy::from(&spec.approval), source).map(Cause::from));
        let parent = spec.parent_ref.as_ref();
        checked.causes.extend(parent.and_then(|r| reference::check(PARENT, Kind::Constitution, r)));
        let rules: Vec<Rule> = spec.rules.iter().map(convert::rule).collect();
        if let Err(errors) = compile_all(&rules) {
            checked.causes.extend(errors.iter().map(|e| Cause::new(field(&rules, &e.rule), e.to_string())));
        }
        Denial::unless_empty(checked.causes)?;
        let mut warnings = checked.warnings;
        let namespace = request.namespace();
        let own = NamespacedRef::new(namespace, request.name());
        let first = parent.map(|r| NamespacedRef::new(namespace, &r.name));
        if let Some(inherited) = self.effective_rules(Walk::new(Some(own), first, PARENT, namespace)).await? {
            let all = inherit(&inherited, &rules).map_err(|loosened| {
                Denial::Invalid(loosened.iter().map(|l| Cause::new(field(&rules, &l.rule), l.to_string())).collect())
            })?;
            if let Some(model) = &checked.model {
                let document = Document::constitution(model);
                let (causes, broken) = evaluate(SOURCE, &all, Scope::Constitution, &document);
                Denial::unless_empty(causes)?;
                warnings.extend(broken);
            }
        }
        if let Some(parent) = parent {
            warnings.extend(self.warn_unless_exists(request, PARENT, Kind::Constitution, parent).await);
        }
        Ok(warnings)
    }
}

/// Returns the path of a rule's expression.
fn field(rules: &[Rule], name: &str) -> String {
    let index = rules.iter().position(|rule| rule.name == name).unwrap_or_default();
    format!("spec.rules[{index}].expression")
}
