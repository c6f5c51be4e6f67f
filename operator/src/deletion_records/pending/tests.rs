use enact_domain::record::{Kind, Subject};

use super::*;

const NOW: Millis = Millis(1_000_000);

fn note(uid: &str, by: &str, at: i64) -> Deletion {
    Deletion { tenant: "acme".into(), uid: uid.into(), by: by.into(), at: Millis(at) }
}

fn deleted(since: Option<i64>) -> Deleted {
    let subject = Subject { kind: Kind::Plan, namespace: "ns".into(), name: "p".into(), uid: "uid".into() };
    Deleted { since: since.map(Millis), ..Deleted::missed("acme", subject) }
}

/// Returns what is ready `seconds` later: who deleted the object, `unknown`, or `dropped`.
fn outcomes(pending: &Pending, seconds: u32, presence: Option<Presence>) -> Vec<String> {
    let present = presence.map(|presence| ("uid".to_owned(), presence)).into_iter().collect();
    let outcome = |ready: Ready| match (ready.deleted, ready.note) {
        (Some(_), Some(note)) => format!("{} at {}", note.by, note.at.0),
        (Some(_), None) => "unknown".to_owned(),
        (None, _) => "dropped".to_owned(),
    };
    pending.ready(NOW.plus_seconds(seconds), &present).into_iter().map(outcome).collect()
}

#[test]
fn a_deletion_waits_for_its_note() {
    let mut pending = Pending::default();
    pending.add(deleted(None), NOW);
    assert_eq!(outcomes(&pending, 4, None), [""; 0]);
    assert_eq!(outcomes(&pending, 5, None), ["unknown"]);
    pending.add_note(note("other", "bob", 1), NOW);
    pending.add_note(note("uid", "ann", 1), NOW);
    assert_eq!(outcomes(&pending, 0, None), ["ann at 1"], "of the other object, nothing is known");
    assert_eq!(pending.remove("uid").len(), 1);
    assert_eq!(pending.remove("other").len(), 1);
    assert!(pending.is_empty());
}

#[test]
fn a_note_alone_is_no_deletion() {
    let mut pending = Pending::default();
    pending.add_note(note("uid", "ann", 1), NOW);
    assert_eq!(outcomes(&pending, 59, None), [""; 0]);
    assert_eq!(outcomes(&pending, 60, None), ["dropped"], "nobody knows the object");
    assert_eq!(outcomes(&pending, 60, Some(Presence::Stays)), ["dropped"], "something refused it");
    assert_eq!(outcomes(&pending, 3600, Some(Presence::Leaving)), [""; 0], "a finalizer holds it");
}

#[test]
fn the_record_is_asked_once_for_an_object_that_no_cache_has() {
    let mut pending = Pending::default();
    pending.add_note(note("uid", "ann", 1), NOW);
    let present = HashMap::from([("uid".to_owned(), Presence::Stays)]);
    assert!(pending.unknown(&present).is_empty());
    let expected = BTreeMap::from([("acme".to_owned(), vec!["uid".to_owned()])]);
    assert_eq!(pending.unknown(&HashMap::new()), expected);
    pending.sought("uid");
    assert!(pending.unknown(&HashMap::new()).is_empty());
}

#[test]
fn of_several_who_ask_the_one_who_succeeded_counts() {
    let mut pending = Pending::default();
    pending.add_note(note("uid", "refused", 1_000), NOW);
    pending.add_note(note("uid", "ann", 2_500), NOW);
    pending.add_note(note("uid", "late", 9_000), NOW);
    pending.add_note(note("uid", "late", 9_500), NOW);
    pending.add(deleted(Some(2_000)), NOW);
    assert_eq!(outcomes(&pending, 0, None), ["ann at 2500"], "the deletion began in this second");
    assert_eq!(pending.remove("uid").len(), 3);
}

#[test]
fn a_flood_of_notes_is_dropped() {
    let mut pending = Pending::default();
    for number in 0..=MAX_NOTES_OF_OBJECT {
        pending.add_note(note("uid", &format!("user-{number}"), 1), NOW);
    }
    assert_eq!(pending.take_excess(), [note("uid", "user-8", 1).name()]);
    for number in 0..MAX_OBJECTS_OF_TENANT {
        pending.add_note(note(&format!("uid-{number}"), "eve", 1), NOW);
    }
    assert_eq!(pending.take_excess().len(), 1);
    assert!(pending.take_excess().is_empty());
}

#[test]
fn a_flood_of_one_tenant_leaves_room_for_others() {
    let mut pending = Pending::default();
    // Finalizers keep all of these objects.
    for number in 0..MAX_OBJECTS_OF_TENANT + 9 {
        pending.add_note(note(&format!("uid-{number}"), "eve", 1), NOW);
    }
    assert_eq!(pending.take_excess().len(), 9);
    pending.add_note(Deletion { tenant: "other".into(), ..note("theirs", "bob", 1) }, NOW);
    assert!(pending.take_excess().is_empty() && pending.unmatched().contains("theirs"));
}
