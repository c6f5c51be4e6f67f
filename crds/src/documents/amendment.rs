//! Amendment: the difference between a constitution and its last approved content, and whether the version number matches it.

use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::revisions::amendment::{self, RulesChange, check_version};
use enact_domain::rules::Rule;

use super::findings::cut;
use super::texts::ConstitutionText;
use crate::ConstitutionStatus;
use crate::constitution::{Amendment, AmendmentChange};

/// Highest number of changes in a status.
const MAX_CHANGES: usize = 20;

/// Returns the digest of the previous content: the approved one or, when that is this content, the one that it replaced.
pub fn base(status: Option<&ConstitutionStatus>, digest: &Digest) -> Option<Digest> {
    let status = status?;
    let replaced = status.amendment.as_ref().map(|a| &a.from_digest);
    let mut candidates = status.approved_digest.iter().chain(replaced);
    candidates.find(|known| known.as_str() != digest.as_str()).map(|known| known.clone().into())
}

/// Compares two texts. The readiness says why the version of the second one does not match the change.
pub fn between(before: &ConstitutionText, after: &ConstitutionText) -> (Option<Amendment>, Option<Readiness>) {
    let version = |text: &ConstitutionText| text.parsed.model.version.as_ref().map(|v| v.text.clone());
    let found = amendment::compare(&before.parsed.model, &after.parsed.model, &rules_change(before, after));
    let change = |c: &amendment::Change| AmendmentChange {
        kind: format!("{:?}", c.kind),
        principle: cut(&c.principle),
        explanation: cut(&c.explanation),
    };
    let amendment = Amendment {
        from: version(before).map(|v| cut(&v)),
        from_digest: before.digest.to_string(),
        level: format!("{:?}", found.level()),
        changes: found.changes.iter().take(MAX_CHANGES).map(change).collect(),
    };
    let (old, new) = (version(before).unwrap_or_default(), version(after).unwrap_or_default());
    let mismatch = check_version(&old, &new, &found).err();
    let blocked = mismatch.map(|m| Readiness::stalled("VersionMismatch", m.to_string()));
    (Some(amendment), blocked)
}

fn rules_change(before: &ConstitutionText, after: &ConstitutionText) -> RulesChange {
    let meaning = |r: &Rule| format!("{:?} {:?} {}", r.scope, r.strength, r.expression.trim());
    let meanings = |rules: &[Rule]| rules.iter().map(meaning).collect::<Vec<_>>();
    let (old, new) = (meanings(&before.rules), meanings(&after.rules));
    RulesChange::between(&seen(&before.rules, &old), &seen(&after.rules, &new))
}

fn seen<'a>(rules: &'a [Rule], meanings: &'a [String]) -> Vec<amendment::Rule<'a>> {
    let one =
        |(rule, meaning): (&'a Rule, &'a String)| amendment::Rule { name: &rule.name, meaning, wording: &rule.message };
    rules.iter().zip(meanings).map(one).collect()
}
