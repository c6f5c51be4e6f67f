//! Amendment: how a constitution differs from the one that was approved before, and whether its version says so.

use enact_crds::ConstitutionStatus;
use enact_crds::constitution::{Amendment, AmendmentChange};
use enact_domain::condition::Progress;
use enact_domain::digest::Digest;
use enact_domain::revisions::amendment::{self, RulesChange, check_version};
use enact_domain::rules::Rule;

use crate::context::Context;
use crate::documents::findings::cut;
use crate::documents::library::{ConstitutionText, Library};
use crate::documents::obstacle::Obstacle;
use crate::error::Error;

/// Most changes that are told.
const MAX_CHANGES: usize = 20;

/// How a text differs from the one that was approved before, and what is wrong with its version. The first one differs from nothing, and
/// may have any version.
///
/// # Errors
/// When the record cannot be read.
pub async fn of(
    ctx: &Context,
    tenant: &str,
    status: Option<&ConstitutionStatus>,
    text: &ConstitutionText,
) -> Result<(Option<Amendment>, Option<Obstacle>), Error> {
    let Some(base) = base(status, &text.digest) else { return Ok((None, None)) };
    let Some(before) = Library::constitution_of(ctx, tenant, &base).await? else { return Ok((None, None)) };
    Ok(between(&before, text))
}

/// The content that was in force before: the one that is approved, or else, when that is this very content, the one that it has replaced.
fn base(status: Option<&ConstitutionStatus>, digest: &Digest) -> Option<Digest> {
    let status = status?;
    let replaced = status.amendment.as_ref().map(|a| &a.from_digest);
    let mut candidates = status.approved_digest.iter().chain(replaced);
    candidates.find(|known| known.as_str() != digest.as_str()).map(|known| known.clone().into())
}

fn between(before: &ConstitutionText, after: &ConstitutionText) -> (Option<Amendment>, Option<Obstacle>) {
    let version = |text: &ConstitutionText| text.parsed.model.version.as_ref().map(|v| v.text.clone());
    let found = amendment::compare(&before.parsed.model, &after.parsed.model, &rules_change(before, after));
    let change = |c: &amendment::Change| AmendmentChange {
        kind: format!("{:?}", c.kind),
        principle: cut(&c.principle),
        explanation: cut(&c.explanation),
    };
    let told = Amendment {
        from: version(before).map(|v| cut(&v)),
        from_digest: before.digest.to_string(),
        level: format!("{:?}", found.level()),
        changes: found.changes.iter().take(MAX_CHANGES).map(change).collect(),
    };
    let (old, new) = (version(before).unwrap_or_default(), version(after).unwrap_or_default());
    let mismatch = check_version(&old, &new, &found).err();
    let obstacle = mismatch.map(|m| Obstacle::new(Progress::Stalled, "VersionMismatch", m.to_string()));
    (Some(told), obstacle)
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
