//! The statistics of an Agent: its load, its use of models, and its success and cost by capability.

use enact_crds::agent::CapabilityStatus;
use enact_crds::{Agent, AgentStatus, convert};
use enact_domain::agents::selection::History;
use enact_domain::time::Millis;
use kube::ResourceExt as _;

use super::budget;
use super::context::Context;
use crate::agent_histories::ByCapability;
use crate::context::RESYNC;

/// Micro-USD to which a median cost is rounded, so that small changes are not written.
const COST_STEP: u64 = 1_000;
/// Number of known times at which they are forgotten, which costs some reads.
const MAX_REFRESHED: usize = 10_000;

/// Adds the statistics to the status of an Agent: those of the record at most once in the time of a resync, and else those of the status.
pub async fn add(ctx: &Context, object: &Agent, tenant: Option<&str>, status: &mut AgentStatus) {
    let namespace = object.namespace().unwrap_or_default();
    let key = (namespace.clone(), object.name_any());
    if let Some(old) = &object.status {
        status.running = old.running;
        status.capabilities.clone_from(&old.capabilities);
    }
    let Some(tenant) = tenant else { return };
    let is_due = is_due(ctx, &key, ctx.now());
    status.usage = budget::usage(ctx, object, tenant, is_due).await;
    if !is_due {
        return;
    }
    status.running = Some(ctx.limiter.running_of(tenant, &namespace, &key.1)).filter(|running| *running > 0);
    if object.spec.capabilities.is_empty() {
        status.capabilities.clear();
        return;
    }
    let store = &*ctx.record_store;
    match ctx.agent_histories.of(store, tenant, &namespace, &[key.1.as_str()], ctx.now()).await {
        Ok(histories) => {
            if let Some(history) = histories.first() {
                status.capabilities = capabilities(object, history);
            }
        }
        // Readiness does not depend on Postgres.
        Err(error) => tracing::warn!(%error, agent = key.1, namespace, "the history of an Agent cannot be read"),
    }
}

/// Returns whether the statistics are older than a resync, and remembers that they are read.
fn is_due(ctx: &Context, key: &(String, String), now: Millis) -> bool {
    let resync = u32::try_from(RESYNC.as_secs()).unwrap_or(u32::MAX);
    let mut refreshed = ctx.refreshed.lock();
    if refreshed.get(key).is_some_and(|at| now < at.plus_seconds(resync)) {
        return false;
    }
    if refreshed.len() >= MAX_REFRESHED {
        refreshed.clear();
    }
    refreshed.insert(key.clone(), now);
    true
}

fn capabilities(object: &Agent, history: &ByCapability) -> Vec<CapabilityStatus> {
    let declared = object.spec.capabilities.iter();
    let known = declared.filter_map(|declared| Some((&declared.name, history.get(&declared.name)?)));
    known.map(|(name, history)| capability(name, history)).collect()
}

fn capability(name: &str, history: &History) -> CapabilityStatus {
    let percent = u64::from(history.succeeded) * 100 / u64::from(history.attempts.max(1));
    let rounded = |cost: u64| convert::usd((cost + COST_STEP / 2) / COST_STEP * COST_STEP);
    CapabilityStatus {
        name: name.to_owned(),
        attempts: history.attempts,
        success_percent: u8::try_from(percent).unwrap_or(100),
        median_usd: history.median_cost_micro_usd.map(rounded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_changes_of_the_cost_are_not_shown() {
        let shown = |cost| {
            let history = History { attempts: 3, succeeded: 2, median_cost_micro_usd: cost };
            let CapabilityStatus { success_percent, median_usd, .. } = capability("rust", &history);
            (success_percent, median_usd)
        };
        assert_eq!(shown(Some(1_234_567)), (66, Some("1.235".into())));
        assert_eq!(shown(Some(1_235_400)), (66, Some("1.235".into())));
        assert_eq!(shown(None), (66, None));
        assert_eq!(capability("rust", &History::default()).success_percent, 0);
    }
}
