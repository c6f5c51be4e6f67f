//! Record: each content once, and each state that a document comes into.

use enact_domain::condition::Progress;
use enact_domain::digest::Digest;
use enact_domain::names::ANNOTATION_REASON;
use enact_domain::record::{Event, Record, Subject, told_reason};
use enact_domain::speckit::MAX_DOCUMENT_BYTES;
use enact_domain::time::Millis;
use kube::ResourceExt as _;

use super::Document;
use super::decide::Decision;
use super::observe::Observed;
use super::status::Standing;
use crate::context::ACTOR;

/// Whether the decision is another than the one that the status tells of.
pub fn is_turn(before: &Standing, decision: &Decision) -> bool {
    before.reason() != Some(decision.reason) || before.digest != decision.digest
}

/// What is to be remembered; nothing when nothing changed, and nothing of an object that no tenant owns.
pub fn records<D: Document>(
    object: &D,
    seen: &Observed,
    before: &Standing,
    decision: &Decision,
    now: Millis,
) -> Vec<Record> {
    let Some(tenant) = &seen.tenant else { return Vec::new() };
    let subject = Subject {
        kind: D::KIND,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    };
    let record = |actor: &str, event| Record {
        tenant: tenant.clone(),
        subject: subject.clone(),
        at: now,
        actor: actor.to_owned(),
        event,
    };
    let mut records = Vec::new();
    if before.digest != decision.digest {
        let author = seen.author.as_deref().unwrap_or(ACTOR);
        let told = object.annotations().get(ANNOTATION_REASON);
        records.extend(revision(seen, told).map(|event| record(author, event)));
    }
    if is_turn(before, decision) {
        records.push(record(ACTOR, transition(&object.resource_version().unwrap_or_default(), decision)));
    }
    records
}

/// The content, if it is a text. What is no text, or is too large to be read, is not kept.
fn revision(seen: &Observed, told: Option<&String>) -> Option<Event> {
    let content = seen.content.as_ref().ok()?;
    let text = str::from_utf8(&content.bytes).ok().filter(|t| t.len() <= MAX_DOCUMENT_BYTES)?;
    Some(Event::Revision {
        digest: content.checked.digest.clone(),
        version: content.checked.facts.version().map(str::to_owned),
        reason: told.and_then(|told| told_reason(told, &content.checked.digest)).unwrap_or("Source").to_owned(),
        commit: None,
        content: text.to_owned(),
    })
}

/// The key has the version of the object that the decision was made on: a second try after a crash finds the same version, while the
/// same state reached again later is another transition.
fn transition(version: &str, decision: &Decision) -> Event {
    let state = match decision.progress {
        Progress::Ready => "Ready",
        Progress::Reconciling => "Reconciling",
        Progress::Stalled => "Stalled",
    };
    let digest = decision.digest.as_ref().map_or("none", Digest::short);
    Event::Transition {
        key: format!("{}/{digest}/{version}", decision.reason),
        state: state.to_owned(),
        reason: decision.reason.to_owned(),
        message: decision.message.clone(),
        task: None,
    }
}

#[cfg(test)]
mod tests {
    use enact_crds::Specification;
    use enact_domain::approval::Policy;

    use super::*;
    use crate::documents::decide::decide;
    use crate::documents::observe::{Content, Superior};
    use crate::documents::validate;

    fn seen(bytes: &[u8]) -> Observed {
        Observed {
            handle: String::new(),
            tenant: Some("acme".into()),
            content: Ok(Content { checked: validate::specification(bytes), bytes: bytes.to_vec() }),
            constitution: Superior::None,
            policy: Policy::default(),
            author: Some("ann".into()),
            decisions: Vec::new(),
        }
    }

    fn of(bytes: &[u8], before: &Standing, version: &str) -> Vec<Record> {
        let mut object = Specification::default();
        object.metadata.resource_version = Some(version.into());
        let seen = seen(bytes);
        let decision = decide(&seen, before, Millis(5));
        records(&object, &seen, before, &decision, Millis(5))
    }

    fn keys(records: &[Record]) -> Vec<&str> {
        let key = |r: &'static str| r;
        records
            .iter()
            .map(|r| match &r.event {
                Event::Transition { key, .. } => key.as_str(),
                _ => key("revision"),
            })
            .collect()
    }

    const TEXT: &[u8] = b"# Feature Specification: Shop\n\n- **FR-001**: It MUST sell.\n";

    #[test]
    fn a_second_try_records_the_same_and_a_later_one_something_else() {
        let first = of(TEXT, &Standing::default(), "7");
        assert_eq!(first.len(), 2);
        assert_eq!((first[0].actor.as_str(), first[1].actor.as_str()), ("ann", ACTOR));
        assert_eq!(keys(&first), keys(&of(TEXT, &Standing::default(), "7")));
        assert_ne!(keys(&first), keys(&of(TEXT, &Standing::default(), "8")));
    }

    #[test]
    fn whoever_changes_a_document_says_why_once() {
        let why = |text: &[u8]| {
            let mut object = Specification::default();
            let told = enact_domain::record::tell_reason(&Digest::of_bytes(TEXT), "Rollback of 3");
            object.annotations_mut().insert(ANNOTATION_REASON.into(), told);
            let (seen, before) = (seen(text), Standing::default());
            match records(&object, &seen, &before, &decide(&seen, &before), Millis(5)).swap_remove(0).event {
                Event::Revision { reason, .. } => reason,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(why(TEXT), "Rollback of 3");
        assert_eq!(why(b"# Feature Specification: Another\n\n- **FR-001**: It MUST sell.\n"), "Source");
    }

    #[test]
    fn nothing_new_records_nothing() {
        let seen = seen(TEXT);
        let decision = decide(&seen, &Standing::default(), Millis(5));
        let content = seen.content.as_ref().unwrap();
        let standing = Standing::default().after(&decision, Some(&content.checked), Some(1), Millis(1));
        assert_eq!(of(TEXT, &standing, "8"), Vec::new());
    }

    #[test]
    fn what_is_no_text_is_not_kept() {
        let records = of(b"\xff\xfe", &Standing::default(), "7");
        assert!(
            matches!(&records[..], [Record { event: Event::Transition { reason, .. }, .. }] if reason == "InvalidDocument")
        );
    }
}
