//! The rules of constitutions, as far as one object shows what they are about; the operator judges the rest.

use enact_crds::common::NamespacedRef;
use enact_domain::rules::{Budget, Document, Outcome, Program, Rule, Scope, Strength, compile_all, inherit};

use super::Admission;
use crate::denial::{Cause, warning};
use crate::world::{LookupError, World};

/// Most constitutions that inherit from each other and are followed here.
const MAX_DEPTH: usize = 16;

impl<W: World> Admission<W> {
    /// The rules that bind what names the constitution `first` in a namespace, with what that and the namespace's Tenant inherit from, the
    /// farthest first. None where one of them is missing or not in force: then nothing is judged here, and the operator says what it waits
    /// for.
    pub(super) async fn law(
        &self,
        namespace: &str,
        first: Option<NamespacedRef>,
    ) -> Result<Option<Vec<Rule>>, LookupError> {
        let root = self.world.root(namespace).await?;
        let mut chain = Vec::new();
        let mut followed: Vec<NamespacedRef> = Vec::new();
        for start in [first, root] {
            let mut next = start;
            while let Some(here) = next.take().filter(|here| !followed.contains(here)) {
                if followed.len() == MAX_DEPTH {
                    return Ok(None);
                }
                let Some(article) = self.world.article(&here).await? else { return Ok(None) };
                next = article.parent;
                chain.push(article.rules);
                followed.push(here);
            }
        }
        let rules = chain.iter().rev().try_fold(Vec::new(), |known, own| inherit(&known, own));
        Ok(rules.ok())
    }
}

/// What `document` breaks of the rules for its kind that look at nothing else: what a MUST refuses, and what a SHOULD warns of.
pub(super) fn judge(field: &str, rules: &[Rule], scope: Scope, document: &Document) -> (Vec<Cause>, Vec<String>) {
    let of_kind: Vec<Rule> = rules.iter().filter(|rule| rule.scope == scope).cloned().collect();
    // Rules that cannot be compiled are told on their constitution.
    let programs = compile_all(&of_kind).unwrap_or_default();
    let (mut causes, mut warnings) = (Vec::new(), Vec::new());
    let mut budget = Budget::default();
    for program in programs.iter().filter(|program| program.needs().only(scope)) {
        let Some(broken) = broken(program, document, &mut budget) else { continue };
        match program.rule().strength {
            Strength::Must => causes.push(Cause::new(field, broken)),
            Strength::Should => warnings.push(warning(format!("{field}: {broken}"))),
        }
    }
    (causes, warnings)
}

/// How a document breaks a rule; none when it keeps it, or when the rule can only be judged by the operator, which has more time.
fn broken(program: &Program, document: &Document, budget: &mut Budget) -> Option<String> {
    let Outcome::Violated { message, items } = program.evaluate_within(document, budget) else { return None };
    let rule = program.rule();
    let principle = rule.principle.as_ref().map(|p| format!(" of principle \"{p}\"")).unwrap_or_default();
    let named = if items.is_empty() { String::new() } else { format!(": {}", items.join(", ")) };
    Some(format!("violates rule {}{principle} of the constitution: {message}{named}", rule.name))
}

#[cfg(test)]
mod tests;
