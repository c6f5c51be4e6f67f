//! The stamps of answers: author and date of each of `spec.clarifications` of a Specification, in an annotation.

use enact_domain::names::ANNOTATION_ANSWERS;
use enact_domain::record::Kind;
use enact_domain::stamps::{Stamp, Stamps};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::denial::Denial;
use crate::request::{Request, annotation, part};

/// Returns the annotation that a Specification must have, with `date` as the day of new answers; none if no answer has a stamp.
pub fn due(request: &Request, date: &str) -> Option<String> {
    let due = due_stamps(request, date);
    (!due.is_empty()).then(|| due.format())
}

/// Refuses stamps that the mutating webhook would not write.
///
/// # Errors
/// When the annotation names another author or date.
pub fn check(request: &Request) -> Result<(), Denial> {
    if request.kind() != Some(Kind::Specification) {
        return Ok(());
    }
    let (new, old) = (annotation(request.object(), ANNOTATION_ANSWERS), annotation(request.old(), ANNOTATION_ANSWERS));
    // Finalizers can be removed whatever was stored while the webhook was down.
    if new == old && !request.changes_spec() {
        return Ok(());
    }
    let present = Stamps::parse(new);
    if present.are(&due_stamps(request, ""), &stored_stamps(request)) {
        return Ok(());
    }
    let message = "names another author or date of an answer than the webhook sets; leave the annotation out, and check that the \
                   installation's MutatingWebhookConfiguration exists and is unchanged";
    Err(Denial::forbidden(format!("metadata.annotations[{ANNOTATION_ANSWERS}]"), message))
}

fn due_stamps(request: &Request, date: &str) -> Stamps {
    let new = Stamp { by: request.user().to_owned(), date: date.to_owned() };
    stored_stamps(request).after(&answers(request.old()), &answers(request.object()), &new)
}

fn stored_stamps(request: &Request) -> Stamps {
    Stamps::parse(annotation(request.old(), ANNOTATION_ANSWERS))
}

/// Returns question and answer of each clarification. The schema refuses what is not a list of them.
fn answers(object: Option<&DynamicObject>) -> Vec<(&str, &str)> {
    let list = part(object, "spec").and_then(|spec| spec.get("clarifications")?.as_array());
    list.into_iter().flatten().filter_map(pair).collect()
}

fn pair(given: &Value) -> Option<(&str, &str)> {
    Some((given.get("question")?.as_str()?, given.get("answer")?.as_str()?))
}
