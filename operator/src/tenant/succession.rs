//! Succession: a Tenant with the name of an earlier one gets its record only if it asks for it. Otherwise that record is erased first.

use enact_crds::Tenant;
use enact_domain::names::{ANNOTATION_KEEP_RECORD_OF, DEFAULT_TENANT};
use enact_store::{Erasure, RecordOwner};
use kube::ResourceExt as _;

use super::context::Context;
use super::observe::{Former, Observed, unfinished_plans};
use super::record;
use crate::error::Error;

/// Number of steps of an erasure in one reconcile. Further ones belong to the next, so that other Tenants are reconciled in between.
const STEPS: usize = 10;

/// Claims the record of a Tenant's name, and returns the earlier Tenant that it belongs to, if the Tenant does not keep it.
///
/// # Errors
/// When the record store or the API server fails.
pub async fn claim(object: &Tenant, ctx: &Context, seen: &Observed) -> Result<Option<Former>, Error> {
    let uid = object.uid().unwrap_or_default();
    // Once a Tenant owns the record, only another Tenant can take it. So an outage of Postgres does not stop what needs no record.
    if seen.deleting.is_some() || ctx.record_owners.lock().contains(&uid) {
        return Ok(None);
    }
    let owned: Vec<String> = seen.owned().map(|(name, _)| name.clone()).collect();
    let claimed = ctx.record_store.claim_record(&seen.tenant, &uid, owned.is_empty(), seen.now).await?;
    if let RecordOwner::Former(former) = claimed {
        let kept = object.annotations().get(ANNOTATION_KEEP_RECORD_OF).cloned();
        // The default tenant exists without a Tenant too: its record is that of the installation.
        if seen.tenant != DEFAULT_TENANT && kept.as_ref() != Some(&former) {
            let unfinished_plans = unfinished_plans(ctx, owned).await?;
            return Ok(Some(Former { uid: former, kept, unfinished_plans }));
        }
        // Before the change of the owner: after a crash in between, the next reconcile repeats both.
        ctx.record(vec![record::kept_record(object, &former, seen.now)]).await?;
        ctx.record_store.keep_record(&seen.tenant, &uid, &former).await?;
    }
    ctx.record_owners.lock().insert(uid);
    Ok(None)
}

/// Erases a part of the record of the former Tenant, and returns the outcome of the last step.
///
/// # Errors
/// When the record store fails.
pub async fn erase(object: &Tenant, ctx: &Context, tenant: &str) -> Result<Erasure, Error> {
    let uid = object.uid().unwrap_or_default();
    let mut last = Erasure::Waiting;
    for _ in 0..STEPS {
        last = ctx.record_store.erase_former(tenant, &uid).await?;
        match last {
            Erasure::Erased(rows) => ctx.metrics.erased_rows.inc_by(rows),
            Erasure::Waiting | Erasure::Complete => break,
        }
    }
    if last == Erasure::Complete {
        tracing::info!(tenant, "erased the record of the former tenant with this name");
        // What this process remembers of the record.
        ctx.history.forget(tenant);
        ctx.monthly_budgets.forget();
    }
    Ok(last)
}
