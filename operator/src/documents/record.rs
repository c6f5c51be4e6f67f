//! Record: each content once, and each change of a document's state.

use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::names::ANNOTATION_REASON;
use enact_domain::record::{ACTOR, Event, Record, Subject, parse_reason};
use enact_domain::speckit::MAX_DOCUMENT_BYTES;
use kube::ResourceExt as _;

use super::common_status::CommonStatus;
use super::content::{Content, Origin};
use super::context::Context;
use super::decide::Decision;
use super::document::Document;
use super::observe::Observed;
use crate::error::Error;

/// A decision that is recorded. Only [`record`] makes one, so that no status shows a decision that could be lost.
pub struct Recorded<F> {
    pub observed: Observed<Content<F>>,
    pub decision: Decision,
    /// Whether the decision differs from the one in the status.
    pub is_transition: bool,
    _proof: (),
}

/// Records a decision.
///
/// # Errors
/// When the record store fails.
pub async fn record<D: Document>(
    object: &D,
    ctx: &Context,
    before: &CommonStatus,
    observed: Observed<Content<D::Facts>>,
    decision: Decision,
) -> Result<Recorded<D::Facts>, Error> {
    let records = records(object, ctx, &observed, before, &decision);
    if !records.is_empty() {
        ctx.record(records).await?;
        // The next reconcile does not record the same findings again.
        if let Ok(content) = &observed.content {
            ctx.changes.remember(&findings_of(object), findings_key(content));
        }
    }
    Ok(Recorded { is_transition: is_transition(before, &decision), observed, decision, _proof: () })
}

/// Returns whether the decision differs from the one in the status.
fn is_transition(before: &CommonStatus, decision: &Decision) -> bool {
    before.reason() != Some(&*decision.readiness.reason) || before.digest != decision.digest
}

/// Returns the records of a decision: none when nothing changed, and none of an object that no tenant owns.
fn records<D: Document>(
    object: &D,
    ctx: &Context,
    observed: &Observed<Content<D::Facts>>,
    before: &CommonStatus,
    decision: &Decision,
) -> Vec<Record> {
    let Some(tenant) = &observed.location.tenant else { return Vec::new() };
    let subject = subject(object);
    let record = |actor: &str, event| Record {
        tenant: tenant.clone(),
        subject: subject.clone(),
        at: ctx.now(),
        actor: actor.to_owned(),
        event,
    };
    let mut records = Vec::new();
    if let Ok(content) = &observed.content {
        if before.digest != decision.digest {
            let author = observed.author.as_deref().unwrap_or(ACTOR);
            let annotation = object.annotations().get(ANNOTATION_REASON);
            // After a crash before the status write, the same revision is recorded again, without effect.
            records.extend(revision(content, before, annotation).map(|event| record(author, event)));
        }
        // After a restart the status tells whether the findings were recorded: it is written after the record.
        let is_shown = before.digest == decision.digest
            && before.findings == content.findings.counts
            && before.top_findings == content.findings.top();
        if is_text(content) && !ctx.changes.matches(&findings_of(object), &findings_key(content)).unwrap_or(is_shown) {
            records.push(record(ACTOR, findings(content)));
        }
    }
    if is_transition(before, decision) {
        records.push(record(ACTOR, transition(&object.resource_version().unwrap_or_default(), decision)));
    }
    records
}

/// Returns the object as records name it.
pub fn subject<D: Document>(object: &D) -> Subject {
    Subject {
        kind: D::KIND,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    }
}

fn findings_of<D: Document>(object: &D) -> String {
    format!("{}/findings", object.uid().unwrap_or_default())
}

fn findings_key<F>(content: &Content<F>) -> Digest {
    Digest::of_bytes(format!("{} {}", content.digest, content.findings.digest()).as_bytes())
}

/// Returns whether the content can be recorded: it is text, and not too large to be parsed.
fn is_text<F>(content: &Content<F>) -> bool {
    content.bytes.len() <= MAX_DOCUMENT_BYTES && str::from_utf8(&content.bytes).is_ok()
}

/// Returns the record of a new content, with the reason of the change.
fn revision<F>(content: &Content<F>, before: &CommonStatus, annotation: Option<&String>) -> Option<Event> {
    let text = str::from_utf8(&content.bytes).ok().filter(|_| is_text(content))?;
    // The previous content is an intermediate step of this one: the difference consists of answers only.
    let answered = before.digest.as_ref().is_some_and(|before| content.steps.contains(before));
    let given = annotation.and_then(|reason| parse_reason(reason, &content.digest));
    let reason = given.unwrap_or(match &content.origin {
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

/// Returns the record of all findings. Equal findings have an equal name, so that they are kept once.
fn findings<F>(content: &Content<F>) -> Event {
    let analyser = format!("enact {} {}", env!("CARGO_PKG_VERSION"), content.findings.digest().short());
    let list = serde_json::to_value(content.findings.recorded()).unwrap_or_default();
    Event::Findings { digest: content.digest.clone(), analyser, findings: list }
}

/// Returns the record of a transition. Its key contains the object's resource version: a retry after a crash has the same key, while the
/// same state that is reached again later has another.
fn transition(version: &str, decision: &Decision) -> Event {
    let Readiness { progress, reason, message } = &decision.readiness;
    let digest = decision.digest.as_ref().map_or("none", Digest::short);
    Event::Transition {
        key: format!("{reason}/{digest}/{version}"),
        state: format!("{progress:?}"),
        reason: reason.to_string(),
        message: message.clone(),
        task: None,
    }
}
