//! Record: each content once, and each state that a document comes into.

use enact_domain::condition::Progress;
use enact_domain::digest::Digest;
use enact_domain::names::ANNOTATION_REASON;
use enact_domain::record::{Event, Record, Subject, parse_reason};
use enact_domain::speckit::MAX_DOCUMENT_BYTES;
use kube::ResourceExt as _;

use super::Document;
use super::decide::Decision;
use super::observe::{Content, Observed};
use super::source::Origin;
use super::status::Standing;
use crate::context::{ACTOR, Context};

/// Whether the decision is another than the one that the status tells of.
pub fn is_turn(before: &Standing, decision: &Decision) -> bool {
    before.reason() != Some(decision.reason) || before.digest != decision.digest
}

/// What is to be remembered; nothing when nothing changed, and nothing of an object that no tenant owns.
pub fn records<D: Document>(
    object: &D,
    ctx: &Context,
    seen: &Observed<D::Facts>,
    before: &Standing,
    decision: &Decision,
) -> Vec<Record> {
    let Some(tenant) = &seen.tenant else { return Vec::new() };
    let subject = subject(object);
    let record = |actor: &str, event| Record {
        tenant: tenant.clone(),
        subject: subject.clone(),
        at: ctx.now(),
        actor: actor.to_owned(),
        event,
    };
    let mut records = Vec::new();
    if let Ok(content) = &seen.content {
        if before.digest != decision.digest {
            let author = seen.author.as_deref().unwrap_or(ACTOR);
            let told = object.annotations().get(ANNOTATION_REASON);
            records.extend(revision(content, before, told).map(|event| record(author, event)));
        }
        // Without a memory of what was recorded, the status tells: it is written after the record.
        let shown = before.digest == decision.digest
            && before.findings == content.findings.counts
            && before.top_findings == content.findings.top();
        if is_text(content) && !ctx.news.knows(&findings_of(object), &findings_key(content)).unwrap_or(shown) {
            records.push(record(ACTOR, findings(content)));
        }
    }
    if is_turn(before, decision) {
        records.push(record(ACTOR, transition(&object.resource_version().unwrap_or_default(), decision)));
    }
    records
}

/// The object, as the record knows it.
pub fn subject<D: Document>(object: &D) -> Subject {
    Subject {
        kind: D::KIND,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    }
}

/// Remembers what was recorded.
pub fn remember<D: Document>(object: &D, ctx: &Context, seen: &Observed<D::Facts>) {
    if let Ok(content) = &seen.content {
        ctx.news.replace(&findings_of(object), findings_key(content));
    }
}

fn findings_of<D: Document>(object: &D) -> String {
    format!("{}/findings", object.uid().unwrap_or_default())
}

fn findings_key<F>(content: &Content<F>) -> Digest {
    Digest::of_bytes(format!("{} {}", content.digest, content.findings.digest()).as_bytes())
}

/// What is no text, or is too large to be read, is not kept.
fn is_text<F>(content: &Content<F>) -> bool {
    content.bytes.len() <= MAX_DOCUMENT_BYTES && str::from_utf8(&content.bytes).is_ok()
}

/// The content, if it is a text, and why it is another than before.
fn revision<F>(content: &Content<F>, before: &Standing, told: Option<&String>) -> Option<Event> {
    let text = str::from_utf8(&content.bytes).ok().filter(|_| is_text(content))?;
    let answered = before.digest.as_ref().is_some_and(|before| content.steps.contains(before));
    let told = told.and_then(|told| parse_reason(told, &content.digest));
    let reason = told.unwrap_or(match &content.origin {
        _ if answered => "Clarification",
        Origin::Source => "Source",
        Origin::Git(_) => "Git",
        Origin::Draft => "Draft",
    });
    let commit = match &content.origin {
        Origin::Git(commit) => Some(commit.clone()),
        Origin::Source | Origin::Draft => None,
    };
    Some(Event::Revision {
        digest: content.digest.clone(),
        version: content.version.clone(),
        reason: reason.to_owned(),
        commit,
        content: text.to_owned(),
    })
}

/// All findings. The same ones have the same name, so that they are kept once.
fn findings<F>(content: &Content<F>) -> Event {
    let analyser = format!("enact {} {}", env!("CARGO_PKG_VERSION"), content.findings.digest().short());
    let list = serde_json::to_value(content.findings.all.as_ref()).unwrap_or_default();
    Event::Findings { digest: content.digest.clone(), analyser, findings: list }
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
