//! Cleans texts for Postgres. Neither `text` nor `jsonb` can contain NUL, and a record that is rejected for it is rejected forever.

use std::collections::BTreeMap;

use enact_domain::assignment::{AttemptResult, MAX_RESULT_BYTES, Report};
use enact_domain::contest::Measured;
use enact_domain::decisions::Decision;
use enact_domain::delivery::MAX_CONTRADICTION_BYTES;
use enact_domain::record::{Event, Record};
use serde_json::Value;

use crate::error::StoreError;
use crate::session::check_tenant;

/// Maximum length of a message or comment, in bytes; a longer one is truncated.
const MAX_TEXT_BYTES: usize = 32 << 10;
/// Maximum length of the reason of a revision, in bytes; a longer one is truncated.
const MAX_REASON_BYTES: usize = 1 << 10;
/// Maximum length of the version of a revision, in bytes; a longer one is truncated. A document can state anything as its version.
const MAX_VERSION_BYTES: usize = 256;

/// Checks the tenant of a record and cleans its texts. It does not truncate names and keys, since a truncated one has another meaning: the
/// database rejects those that are too long. Contents of documents are stored as bytes and need no cleaning.
#[allow(clippy::too_many_lines, reason = "one arm for each event")]
pub(crate) fn sanitise(record: &mut Record) -> Result<(), StoreError> {
    check_tenant(&record.tenant)?;
    let Record { actor, subject, .. } = record;
    [actor, &mut subject.namespace, &mut subject.name, &mut subject.uid].into_iter().for_each(clean);
    match &mut record.event {
        Event::Revision { version, reason, commit, digest: _, content: _ } => {
            if let Some(version) = version {
                truncate(version, MAX_VERSION_BYTES);
            }
            commit.iter_mut().for_each(clean);
            truncate(reason, MAX_REASON_BYTES);
        }
        Event::Findings { analyser, findings, digest: _ } => {
            if !findings.is_array() {
                return Err(StoreError::Invalid { what: "findings", problem: "must be an array".to_owned() });
            }
            clean(analyser);
            clean_value(findings);
        }
        Event::Transition { key, state, reason, message, task } => {
            [key, state, reason].into_iter().for_each(clean);
            truncate(message, MAX_TEXT_BYTES);
            if let Some(task) = task {
                [&mut task.plan_uid, &mut task.id].into_iter().for_each(clean);
            }
        }
        Event::AttemptStarted {
            plan_uid,
            pod,
            pod_uid,
            agent,
            capabilities,
            selection,
            number: _,
            start_key: _,
            contestants: _,
        } => {
            let texts = [plan_uid, pod, agent].into_iter().chain(pod_uid);
            texts.chain(capabilities.iter_mut().flatten()).for_each(clean);
            if let Some(selection) = selection {
                selection.texts_mut().for_each(clean);
            }
        }
        Event::AttemptPod { plan_uid, pod, pod_uid, number: _ } => {
            [plan_uid, pod, pod_uid].into_iter().for_each(clean);
        }
        Event::AttemptFinished { plan_uid, failure, report, number: _, started: _ } => {
            clean(plan_uid);
            failure.iter_mut().for_each(clean);
            sanitise_report(report);
        }
        Event::ResultContradicted { plan_uid, message, report, number: _ } => {
            clean(plan_uid);
            truncate(message, MAX_CONTRADICTION_BYTES);
            sanitise_report(report);
        }
        Event::ContestDecided { plan_uid, message, newest: _, winner: _ } => {
            clean(plan_uid);
            truncate(message, MAX_TEXT_BYTES);
        }
        Event::Proposal { agent, digest: _, score: _, tasks: _ } => clean(agent),
        Event::Judgement { key, judge, first, second, preference: _, digest: _ } => {
            [key, judge, first, second].into_iter().for_each(clean);
        }
        Event::ProposalChosen { key, agent, specification, decisions, digest: _, specification_digest: _ } => {
            decisions.iter_mut().for_each(sanitise_decision);
            [key, agent, specification].into_iter().for_each(clean);
        }
        Event::Message { plan_uid, text, id: _ } => {
            clean(plan_uid);
            truncate(text, MAX_TEXT_BYTES);
        }
        Event::PolicyChanged { key, policy } => {
            clean(key);
            clean_value(policy);
        }
        Event::ControlChanged { plan_uid, key, control, value } => {
            plan_uid.iter_mut().chain([key, control]).for_each(clean);
            clean_value(value);
        }
        Event::Deleted { note } => truncate(note, MAX_TEXT_BYTES),
        Event::Approval { name, comment, kind: _, digest: _, approved: _ } => {
            clean(name);
            truncate(comment, MAX_TEXT_BYTES);
        }
    }
    Ok(())
}

/// Cleans the result that a pod delivered, and truncates its texts to the limits of the server.
pub(crate) fn sanitise_result(result: &mut AttemptResult) {
    clean(&mut result.subject_uid);
    sanitise_report(&mut result.report);
    truncate(&mut result.transcript, MAX_RESULT_BYTES);
    for gate in &mut result.gates {
        clean(&mut gate.name);
        truncate(&mut gate.output, MAX_RESULT_BYTES);
    }
}

fn sanitise_decision(decision: &mut Decision) {
    let Decision { question, choice, rationale, consequences, alternatives, line: _ } = decision;
    [question, choice, rationale, consequences].into_iter().chain(alternatives).for_each(clean);
}

fn sanitise_report(report: &mut Report) {
    truncate(&mut report.message, MAX_TEXT_BYTES);
    report.commit.iter_mut().for_each(clean);
    report.conflicts.iter_mut().for_each(clean);
    report.outputs = std::mem::take(&mut report.outputs)
        .into_iter()
        .map(|(mut name, mut value)| {
            clean(&mut name);
            truncate(&mut value, MAX_TEXT_BYTES);
            (name, value)
        })
        .collect::<BTreeMap<_, _>>();
    let clean_name = |(mut name, number): (String, Measured)| {
        clean(&mut name);
        (name, number)
    };
    report.measurements = std::mem::take(&mut report.measurements).into_iter().map(clean_name).collect();
}

/// Replaces each NUL.
pub(crate) fn clean(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{FFFD}");
    }
}

fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) => clean(text),
        Value::Array(values) => values.iter_mut().for_each(clean_value),
        // The names of an object cannot be changed in place, so an object with a NUL in a name is built again.
        Value::Object(fields) if fields.keys().any(|name| name.contains('\0')) => {
            let cleaned = std::mem::take(fields).into_iter().map(|(mut name, mut value)| {
                clean(&mut name);
                clean_value(&mut value);
                (name, value)
            });
            *fields = cleaned.collect();
        }
        Value::Object(fields) => fields.values_mut().for_each(clean_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Cleans `text` and truncates it at the boundary of a character.
pub(crate) fn truncate(text: &mut String, bytes: usize) {
    clean(text);
    enact_domain::text::truncate(text, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use enact_domain::assignment::Reason;

    #[test]
    fn reports_contain_no_nul_and_are_bounded() {
        let mut report = Report::new(Reason::AgentFailed, "a\0b");
        report.outputs.insert("na\0me".into(), "ü".repeat(MAX_TEXT_BYTES));
        report.conflicts.push("\0".into());
        report.measurements.insert("si\0ze".into(), Measured::default());
        sanitise_report(&mut report);
        assert_eq!(report.message, "a\u{FFFD}b");
        assert_eq!(report.conflicts, ["\u{FFFD}"]);
        assert!(report.measurements.contains_key("si\u{FFFD}ze"));
        assert_eq!(report.outputs["na\u{FFFD}me"].len(), MAX_TEXT_BYTES);
    }
}
