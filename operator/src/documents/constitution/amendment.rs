//! Amendment: the difference between a constitution and its last approved content, and whether the version number matches it.

use enact_crds::ConstitutionStatus;
use enact_crds::constitution::{Amendment, AmendmentChange};
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::revisions::amendment::{self, RulesChange, check_version};
use enact_domain::rules::Rule;

use crate::documents::context::Context;
use crate::documents::findings::cut;
use crate::documents::texts::ConstitutionText;
use crate::error::Error;

/// Highest number of changes in a status.
const MAX_CHANGES: usize = 20;

/// Compares a text with the content that was approved before, and checks its version. The first content may have any version.
///
/// # Errors
/// When the record store fails.
pub async fn of(
    ctx: &Context,
    tenant: &str,
    status: Option<&ConstitutionStatus>,
    text: &ConstitutionText,
) -> Result<(Option<Amendment>, Option<Readiness>), Error> {
    let Some(base) = base(status, &text.digest) else { return Ok((None, None)) };
    let Some(before) = ctx.cache.constitution_of(tenant, &base).await? else { return Ok((None, None)) };
    Ok(between(&before, text))
}

/// Returns the digest of the previous content: the approved one or, when that is this content, the one that it replaced.
fn base(status: Option<&ConstitutionStatus>, digest: &Digest) -> Option<Digest> {
    let status = status?;
    let replaced = status.amendment.as_ref().map(|a| &a.from_digest);
    let mut candidates = status.approved_digest.iter().chain(replaced);
    candidates.find(|known| known.as_str() != digest.as_str()).map(|known| known.clone().into())
}

fn between(before: &ConstitutionText, after: &ConstitutionText) -> (Option<Amendment>, Option<Readiness>) {
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
