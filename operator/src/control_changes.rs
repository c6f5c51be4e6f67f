//! Records who changed the controls of an object, such as its approval policy or the request for another attempt, and when, as the webhook
//! wrote it into an annotation.

use enact_domain::record::{Event, Record, Subject};
use enact_domain::stamps::{Change, Changes};
use enact_domain::text;
use enact_domain::time::Millis;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::context::Context;
use crate::error::Error;

/// The controls that are approval policies: of an object, and of the objects of a Tenant.
const POLICIES: [&str; 2] = ["approval", "minimumApprovals"];
/// Most bytes of an annotation that are recorded; a digest has 71.
const MAX_ANNOTATION_BYTES: usize = 256;

/// Records the last change of each control in an annotation of `subject`, if there is one. `value` returns the present value of a control,
/// and `plan_uid` is the plan of a Plan or Task. A repetition has no effect.
///
/// # Errors
/// When the record cannot be written.
pub async fn record(
    ctx: &Context,
    tenant: &str,
    subject: &Subject,
    plan_uid: Option<&str>,
    annotation: Option<&str>,
    value: impl Fn(&str) -> Value,
) -> Result<(), Error> {
    let Some(stamps) = annotation else { return Ok(()) };
    let name = format!("{}/changes", subject.uid);
    if !ctx.control_changes.changed(&name, stamps) {
        return Ok(());
    }
    let record = |(control, change): (&str, &Change)| Record {
        tenant: tenant.to_owned(),
        subject: subject.clone(),
        at: change.at.parse::<Timestamp>().map_or_else(|_| ctx.now(), |at| Millis(at.as_millisecond())),
        actor: change.by.clone(),
        event: event(control, change, plan_uid, bounded(value(control))),
    };
    let records = Changes::parse(Some(stamps)).iter().map(record).collect();
    let recorded = ctx.record(records).await;
    if recorded.is_err() {
        // The next reconcile tries again.
        ctx.control_changes.forget(&name);
    }
    recorded
}

/// Returns a value without the rest of a long text: an annotation can hold anything.
fn bounded(value: Value) -> Value {
    match value {
        Value::String(annotation) => Value::String(text::message(annotation, MAX_ANNOTATION_BYTES)),
        other => other,
    }
}

fn event(control: &str, change: &Change, plan_uid: Option<&str>, value: Value) -> Event {
    if POLICIES.contains(&control) {
        return Event::PolicyChanged { key: change.at.clone(), policy: value };
    }
    Event::ControlChanged {
        plan_uid: plan_uid.map(str::to_owned),
        key: format!("{control}/{}", change.at),
        control: control.to_owned(),
        value,
    }
}
