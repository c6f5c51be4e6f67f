//! Deletions of documents and plans: everything that depended on one is reconciled again.

use enact_crds::{Plan, Specification};
use enact_domain::record::Kind;

use super::context::Context;
use crate::deleted::Deleted;

/// Requeues everything that depended on a deleted object, and removes it from the search index.
pub fn handle(ctx: &Context, deleted: &Deleted) {
    let Deleted { target, .. } = deleted;
    ctx.references.changed(target);
    unindex(ctx, deleted);
    if let Some(key) = target.key::<Specification>() {
        for other in ctx.dependents.overlaps.remove(&key) {
            ctx.references.specifications.requeue_key(&other);
        }
        for constitution in ctx.dependents.specification_constitutions.remove(&key) {
            ctx.references.constitutions.requeue_key(&constitution);
        }
    }
    if let Some(key) = target.key::<Plan>() {
        for constitution in ctx.dependents.plan_constitutions.remove(&key) {
            ctx.references.constitutions.requeue_key(&constitution);
        }
    }
}

fn unindex(ctx: &Context, deleted: &Deleted) {
    let subject = &deleted.subject;
    if !matches!(subject.kind, Kind::Specification | Kind::Constitution | Kind::Plan) {
        return;
    }
    if let Some(member) = ctx.tenant_of(&subject.namespace) {
        // No items remove the document from the index. The empty digest differs from that of every content.
        ctx.search.offer(&member.tenant, subject.clone(), "", Vec::new);
    }
}
