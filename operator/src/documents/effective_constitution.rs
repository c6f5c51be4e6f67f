//! The effective constitution of a document: the texts of its constitution chain, and their rules as one list.

use std::sync::Arc;

use enact_domain::condition::{Progress, Readiness};
use enact_domain::digest::Digest;
use enact_domain::rules::Program;

use super::constitution_chain::Chain;
use super::document_cache::DocumentCache;
use super::evaluation::invalid_rules;
use super::texts::ConstitutionText;
use crate::context::Context;
use crate::error::Error;

/// The texts and rules of a constitution chain.
#[derive(Clone, Debug, Default)]
pub struct EffectiveConstitution {
    /// The texts of the constitutions, the nearest first.
    pub texts: Vec<Arc<ConstitutionText>>,
    /// Their compiled rules.
    pub programs: Arc<Vec<Program>>,
    /// Digest of all texts and rules; none for an empty chain.
    pub key: Option<Digest>,
}

/// Loads the effective constitution of a chain. The inner error is the reason why there is none yet.
///
/// # Errors
/// When the record store fails.
pub async fn load(
    ctx: &Context,
    cache: &DocumentCache,
    chain: &Chain,
) -> Result<Result<EffectiveConstitution, Readiness>, Error> {
    let rules = match chain.rules() {
        Ok(rules) => rules,
        Err(blocked) => return Ok(Err(blocked)),
    };
    let programs = match cache.programs(&rules) {
        Ok(programs) => programs,
        Err(errors) => return Ok(Err(invalid_rules(Progress::Reconciling, "WaitingForConstitution", &errors))),
    };
    let mut texts = Vec::with_capacity(chain.links().len());
    for link in chain.links() {
        let Some(digest) = &link.in_force else { continue };
        let tenant = ctx.tenant_of(&link.at.namespace).map(|m| m.tenant).unwrap_or_default();
        let Some(text) = cache.constitution_of(&tenant, digest).await? else {
            let message = format!("the document of Constitution {} is not recorded yet", link.at);
            return Ok(Err(Readiness::reconciling("WaitingForConstitution", message)));
        };
        texts.push(text);
    }
    let key = (!texts.is_empty()).then(|| {
        let digests: Vec<&str> = texts.iter().map(|t| t.digest.as_str()).collect();
        let rules: Vec<String> = rules.iter().map(|r| format!("{r:?}")).collect();
        Digest::of_bytes(format!("{}\n{}", digests.join("\n"), rules.join("\n")).as_bytes())
    });
    Ok(Ok(EffectiveConstitution { texts, programs, key }))
}
