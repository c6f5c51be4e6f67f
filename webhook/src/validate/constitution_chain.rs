//! The rules of constitutions that need only one object; the operator evaluates the others.

use enact_crds::chain::{Step, Walk};
use enact_domain::rules::{Budget, Document, Outcome, Rule, Scope, Strength, compile_all};

use super::validator::Validator;
use crate::denial::{Cause, warning};
use crate::lookup::{Lookup, LookupError};

impl<L: Lookup> Validator<L> {
    /// Returns the rules of a constitution chain, the farthest first. Returns none when a constitution of the chain is missing or not in
    /// force: then nothing is evaluated here, and the operator reports the reason for the wait.
    pub(super) async fn effective_rules(&self, mut walk: Walk) -> Result<Option<Vec<Rule>>, LookupError> {
        while let Some(step) = walk.next_step() {
            match step {
                Step::Constitution(at) => walk.constitution(self.lookup.constitution(&at).await?),
                Step::TenantOf(namespace) => {
                    walk.tenant_constitution(self.lookup.tenant_constitution(&namespace).await?);
                }
            }
        }
        let chain = walk.finish();
        Ok(chain.check().and_then(|()| chain.rules()).ok())
    }
}

/// Evaluates `document` against the rules for its kind that need no other document. Returns a cause for each violated MUST rule, and a
/// warning for each violated SHOULD rule.
pub(super) fn evaluate(field: &str, rules: &[Rule], scope: Scope, document: &Document) -> (Vec<Cause>, Vec<String>) {
    let for_kind: Vec<Rule> = rules.iter().filter(|rule| rule.scope == scope).cloned().collect();
    // The conditions of their constitution report rules that do not compile.
    let programs = compile_all(&for_kind).unwrap_or_default();
    let (mut causes, mut warnings) = (Vec::new(), Vec::new());
    let mut budget = Budget::default();
    for program in programs.iter().filter(|program| program.needs().only(scope)) {
        // A rule that failed says nothing here: the operator evaluates it again, and has more time.
        let Outcome::Violated { message, items } = program.evaluate_within(document, &mut budget) else { continue };
        let rule = program.rule();
        let broken = rule.violation("the document", &message, &items);
        match rule.strength {
            Strength::Must => causes.push(Cause::new(field, broken)),
            Strength::Should => warnings.push(warning(format!("{field}: {broken}"))),
        }
    }
    (causes, warnings)
}

#[cfg(test)]
mod tests;
