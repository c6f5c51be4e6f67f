//! Deletion: what this process keeps of a plan ends with it. The record of the deletion ends its attempts there.

use kube::runtime::reflector::ObjectRef;

use super::context::Context;
use crate::deleted::Deleted;

/// Forgets a deleted plan: its state between reconciles, what it reserved of budgets, and its place among the plans that wait.
pub async fn forget(ctx: &Context, deleted: &Deleted) {
    let (plan, uid) = (&deleted.subject, deleted.subject.uid.as_str());
    let runtime = ctx.runtimes.of(uid, &ctx.caches.plans);
    // A reconcile in progress ends first: the attempts that it starts are in the record before the deletion is.
    let _no_reconcile = runtime.lock().await;
    ctx.runtimes.forget(uid);
    ctx.reservations.forget(uid);
    let reference = ObjectRef::new(&plan.name).within(&plan.namespace);
    // Not another plan of the same name.
    if ctx.caches.plans.get(&reference).is_none() {
        ctx.limiter.forget(&deleted.tenant, &reference);
    }
}
