//! Inheritance of rules: a constitution can make the rules of its parent stricter, but not looser.

use super::model::{Rule, Strength};

/// An attempt of a constitution to loosen a rule of its parent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule:?}: {why}; {remedy}")]
pub struct LoosenedRule {
    pub rule: String,
    /// Description of the attempt.
    pub why: String,
    pub remedy: String,
}

/// Returns the effective rules of a constitution: its parent's, in their order, then its own. A rule of its own that has the name of a
/// parent's rule must be the same, except that it may raise SHOULD to MUST.
///
/// # Errors
/// Every attempt to redefine or weaken a rule of the parent.
pub fn inherit(parent: &[Rule], own: &[Rule]) -> Result<Vec<Rule>, Vec<LoosenedRule>> {
    let mut rules = parent.to_vec();
    let mut loosened = Vec::new();
    for rule in own {
        // Only the parent's rules are searched; `compile_all` reports two rules of its own with the same name.
        match rules.iter_mut().take(parent.len()).find(|known| known.name == rule.name) {
            None => rules.push(rule.clone()),
            Some(known) => match loosening(known, rule) {
                Some((why, remedy)) => {
                    loosened.push(LoosenedRule { rule: rule.name.clone(), why, remedy: remedy.into() });
                }
                None => known.strength = rule.strength,
            },
        }
    }
    if loosened.is_empty() { Ok(rules) } else { Err(loosened) }
}

fn loosening(parent: &Rule, own: &Rule) -> Option<(String, &'static str)> {
    if own.scope != parent.scope {
        let why = format!("the parent's rule applies to a {}, and this rule to a {}", parent.scope, own.scope);
        return Some((why, "give this rule another name"));
    }
    // White space between the words of an expression has no meaning, but within a text it has, so only the ends are trimmed.
    if own.expression.trim() != parent.expression.trim() {
        return Some((
            "its expression differs from the parent's".into(),
            "use the parent's expression, or give this rule another name",
        ));
    }
    if own.message.trim() != parent.message.trim() {
        return Some(("its message differs from the parent's".into(), "use the parent's message"));
    }
    if own.principle.is_some() && own.principle != parent.principle {
        return Some(("its principle differs from the parent's".into(), "omit the principle, or use the parent's"));
    }
    if parent.strength == Strength::Must && own.strength == Strength::Should {
        return Some((
            "the parent's severity is MUST, and this rule's is SHOULD".into(),
            "use MUST, or omit the rule: it is inherited",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Scope;

    fn rule(name: &str, expression: &str, strength: Strength) -> Rule {
        Rule {
            name: name.into(),
            scope: Scope::Plan,
            expression: expression.into(),
            message: format!("{name} of the platform"),
            strength,
            principle: None,
        }
    }

    #[test]
    fn a_child_adds_and_raises() {
        let parent = [rule("a", "true", Strength::Should), rule("b", "true", Strength::Must)];
        let own = [rule("c", "false", Strength::Should), rule("a", " true\n", Strength::Must)];
        let rules = inherit(&parent, &own).unwrap();
        let merged: Vec<_> = rules.iter().map(|r| (r.name.as_str(), r.strength)).collect();
        assert_eq!(merged, [("a", Strength::Must), ("b", Strength::Must), ("c", Strength::Should)]);
    }

    #[test]
    fn a_child_never_loosens() {
        let parent = [rule("a", "plan.gates.size() > 0", Strength::Must)];
        let mut other = rule("a", "plan.gates.size() > 0", Strength::Must);
        other.scope = Scope::Task;
        let mut quiet = rule("a", "plan.gates.size() > 0", Strength::Must);
        quiet.message = "never mind".into();
        let mut moved = rule("a", "plan.gates.size() > 0", Strength::Must);
        moved.principle = Some("Whatever".into());
        let attempts = [
            (rule("a", "plan.gates.size() > 0", Strength::Should), "SHOULD"),
            (rule("a", "true", Strength::Must), "expression"),
            (other, "Task"),
            (quiet, "message"),
            (moved, "principle"),
        ];
        for (attempt, why) in attempts {
            let loosened = inherit(&parent, &[attempt]).unwrap_err();
            assert_eq!(loosened.len(), 1);
            assert!(loosened[0].to_string().contains(why), "{}", loosened[0]);
        }
        assert_eq!(inherit(&parent, &[]).unwrap(), parent);
    }

    #[test]
    fn duplicate_names_are_found_by_compile_all() {
        let own = [rule("a", "true", Strength::Must), rule("a", "false", Strength::Should)];
        let rules = inherit(&[], &own).unwrap();
        assert!(crate::rules::compile_all(&rules).is_err());
    }
}
