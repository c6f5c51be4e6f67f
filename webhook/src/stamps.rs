//! The stamps of lists: author and date of each entry of `spec.clarifications` and `spec.accepted`, and of the entry
//! `spec.generate.chosen`, in an annotation for each of them.

use enact_domain::names::{ANNOTATION_ACCEPTED, ANNOTATION_ANSWERS, ANNOTATION_CHOSEN};
use enact_domain::record::Kind;
use enact_domain::stamps::{Stamp, Stamps};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::denial::Denial;
use crate::request::{Request, annotation, part};

/// A list in `spec` whose entries have stamps, or a single entry.
#[derive(Clone, Copy)]
pub struct StampedList {
    /// The path of the field in `spec`.
    name: &'static str,
    /// The fields in which the same entry is equal.
    fields: &'static [&'static str],
    /// The annotation with the stamps.
    pub annotation: &'static str,
}

const ANSWERS: StampedList =
    StampedList { name: "clarifications", fields: &["question", "answer"], annotation: ANNOTATION_ANSWERS };
const ACCEPTED: StampedList =
    StampedList { name: "accepted", fields: &["code", "at", "reason"], annotation: ANNOTATION_ACCEPTED };
const CHOSEN: StampedList =
    StampedList { name: "generate.chosen", fields: &["agent", "digest"], annotation: ANNOTATION_CHOSEN };

/// Returns the lists of a kind whose entries have stamps.
pub fn lists(kind: Kind) -> &'static [StampedList] {
    match kind {
        Kind::Specification => &[ANSWERS, ACCEPTED],
        Kind::Constitution => &[ACCEPTED],
        Kind::Plan => &[ACCEPTED, CHOSEN],
        Kind::Tenant | Kind::Task | Kind::ModelProvider | Kind::Agent | Kind::Approval => &[],
    }
}

/// Refuses stamps that the mutating webhook would not write.
///
/// # Errors
/// When an annotation names another author or date.
pub fn check(request: &Request) -> Result<(), Denial> {
    request.kind().map_or([].as_slice(), lists).iter().try_for_each(|list| list.check(request))
}

impl StampedList {
    /// Returns the annotation that an object must have, with `date` as the day of new entries; none if no entry has a stamp.
    pub fn due(&self, request: &Request, date: &str) -> Option<String> {
        let due = self.due_stamps(request, date);
        (!due.is_empty()).then(|| due.format())
    }

    fn check(&self, request: &Request) -> Result<(), Denial> {
        let Self { name, annotation: key, .. } = self;
        let (new, old) = (annotation(request.object(), key), annotation(request.old(), key));
        // Finalizers can be removed whatever was stored while the webhook was down.
        if new == old && !request.changes_spec() {
            return Ok(());
        }
        // Without a date: the mutating webhook chose it.
        if Stamps::parse(new).are(&self.due_stamps(request, "")) {
            return Ok(());
        }
        let message = format!(
            "names another author or date of an entry of spec.{name} than the webhook sets; leave the annotation out, and check that the \
             installation's MutatingWebhookConfiguration exists and is unchanged"
        );
        Err(Denial::forbidden(format!("metadata.annotations[{key}]"), message))
    }

    fn due_stamps(&self, request: &Request, date: &str) -> Stamps {
        let new = Stamp { by: request.user().to_owned(), date: date.to_owned() };
        let stored = Stamps::parse(annotation(request.old(), self.annotation));
        // Clients such as GitOps tools send known entries without stamps, so only their content is compared.
        stored.after(&self.entries(request.old()), &self.entries(request.object()), &new)
    }

    /// Returns the entries of an object. The schema refuses what is neither a list of them nor a single one.
    fn entries<'a>(&self, object: Option<&'a DynamicObject>) -> Vec<Vec<&'a str>> {
        let mut fields = self.name.split('.');
        let found = part(object, "spec").and_then(|spec| fields.try_fold(spec, |at, field| at.get(field)));
        let entries = found.map(|found| found.as_array().map_or(std::slice::from_ref(found), Vec::as_slice));
        entries.into_iter().flatten().filter_map(|entry| self.entry(entry)).collect()
    }

    fn entry<'a>(&self, entry: &'a Value) -> Option<Vec<&'a str>> {
        self.fields.iter().map(|field| entry.get(*field)?.as_str()).collect()
    }
}
