//! Constitution: its document can be used, its rules can be evaluated, keep what it inherits, and are kept by itself.

use enact_crds::common::NamespacedRef;
use enact_crds::{ConstitutionSpec, convert};
use enact_domain::rules::{self, Document, Rule, Scope};
use enact_domain::speckit::constitution;

use super::{Admission, Validate, document, law, reference};
use crate::denial::{Cause, Denial, Outcome};
use crate::request::Request;
use crate::world::{Referent, World};

const PARENT: &str = "spec.parentRef";

impl<W: World> Validate<ConstitutionSpec> for Admission<W> {
    async fn validate(&self, request: &Request, spec: ConstitutionSpec) -> Outcome {
        let mut checked = document::check("spec.source", Some(&spec.source), constitution::parse);
        let parent = spec.parent_ref.as_ref();
        checked.causes.extend(parent.and_then(|r| reference::check(PARENT, Referent::Constitution, r)));
        let own: Vec<Rule> = spec.rules.iter().map(convert::rule).collect();
        if let Err(errors) = rules::compile_all(&own) {
            checked.causes.extend(errors.iter().map(|e| Cause::new(field(&own, &e.rule), e.to_string())));
        }
        Denial::unless_empty(checked.causes)?;
        let mut warnings = checked.warnings;
        let namespace = request.namespace();
        let first = parent.map(|r| NamespacedRef { namespace: namespace.to_owned(), name: r.name.clone() });
        if let Some(inherited) = self.law(namespace, first).await? {
            let all = rules::inherit(&inherited, &own).map_err(|loosened| {
                Denial::Invalid(loosened.iter().map(|l| Cause::new(field(&own, &l.rule), l.to_string())).collect())
            })?;
            if let Some(model) = &checked.model {
                let (causes, told) =
                    law::judge("spec.source", &all, Scope::Constitution, &Document::constitution(model));
                Denial::unless_empty(causes)?;
                warnings.extend(told);
            }
        }
        if let Some(parent) = parent {
            warnings.extend(self.warn_unless_exists(request, PARENT, Referent::Constitution, parent).await);
        }
        Ok(warnings)
    }
}

/// The path of a rule's expression.
fn field(rules: &[Rule], name: &str) -> String {
    let index = rules.iter().position(|rule| rule.name == name).unwrap_or_default();
    format!("spec.rules[{index}].expression")
}
