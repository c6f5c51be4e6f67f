//! Records who changed the approval policy of an object, and when, as the webhook wrote it into an annotation.

use enact_crds::common::ApprovalPolicy;
use enact_domain::names::ANNOTATION_POLICY_CHANGE;
use enact_domain::record::{Event, Record, Subject};
use enact_domain::stamps::PolicyChange;
use enact_domain::time::Millis;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt as _};

use crate::context::Context;
use crate::error::Error;

/// Records the last change of the approval policy of an object, if there was one. A repetition has no effect.
///
/// # Errors
/// When the record cannot be written.
pub async fn record<K: Resource>(
    ctx: &Context,
    tenant: &str,
    subject: Subject,
    object: &K,
    policy: &ApprovalPolicy,
) -> Result<(), Error> {
    let annotation = object.annotations().get(ANNOTATION_POLICY_CHANGE);
    let Some((text, change)) = annotation.and_then(|text| Some((text, PolicyChange::parse(text)?))) else {
        return Ok(());
    };
    let name = format!("{}/policy", subject.uid);
    if !ctx.policy_changes.changed(&name, text) {
        return Ok(());
    }
    let policy = serde_json::to_value(policy).map_err(|source| Error::Json { what: "an approval policy", source })?;
    let at = change.at.parse::<Timestamp>().map_or_else(|_| ctx.now(), |at| Millis(at.as_millisecond()));
    let event = Event::PolicyChanged { key: change.at, policy };
    let record = Record { tenant: tenant.to_owned(), subject, at, actor: change.by, event };
    let recorded = ctx.record(vec![record]).await;
    if recorded.is_err() {
        // The next reconcile tries again.
        ctx.policy_changes.forget(&name);
    }
    recorded
}
