//! The audit log. It decides what is new: a record that has an entry is already in all other tables, too.

use enact_domain::record::{Event, Kind};
use enact_domain::text::truncated;
use serde_json::{Value, json};

use crate::error::StoreError;
use crate::numbering::NumberedRecord;
use crate::session::Session;

/// Most bytes of a name in a key, which has at most 256.
const MAX_KEY_NAME: usize = 200;

/// The part of an entry that depends on the event.
struct Entry {
    event: &'static str,
    /// Unique among the subject's entries of the same event.
    key: String,
    plan_uid: Option<String>,
    details: Value,
}

/// Adds an entry and an outgoing event for each record that has no entry yet, and returns these records.
pub(crate) async fn append<'r>(
    session: &mut Session,
    tenant: &str,
    records: &[NumberedRecord<'r>],
) -> Result<Vec<NumberedRecord<'r>>, StoreError> {
    let entries: Vec<Entry> = records.iter().map(entry).collect();
    let column = |value: fn(&NumberedRecord<'r>) -> &'r str| records.iter().map(value).collect::<Vec<_>>();
    let at: Vec<i64> = records.iter().map(|numbered| numbered.record.at.0).collect();
    let events: Vec<&str> = entries.iter().map(|entry| entry.event).collect();
    let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    let plans: Vec<Option<&str>> = entries.iter().map(|entry| entry.plan_uid.as_deref()).collect();
    let details: Vec<&Value> = entries.iter().map(|entry| &entry.details).collect();
    let new = sqlx::query_scalar!(
        r#"with input as (
            select to_timestamp(at / 1000.0) as at, actor, event, key, kind, namespace, name, subject_uid, plan_uid, details, ord
            from unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                        $10::text[], $11::jsonb[])
                with ordinality
                as t (at, actor, event, key, kind, namespace, name, subject_uid, plan_uid, details, ord)
        ), new as (
            insert into enact.audit (tenant_id, at, actor, event, key, kind, namespace, name, subject_uid, plan_uid, details)
            select $1, at, actor, event, key, kind, namespace, name, subject_uid, plan_uid, details from input order by ord
            on conflict (tenant_id, subject_uid, event, key) do nothing
            returning *
        ), outgoing as (
            insert into enact.outbox (tenant_id, at, actor, event, kind, namespace, name, subject_uid, plan_uid, payload)
            select $1, at, actor, event, kind, namespace, name, subject_uid, plan_uid, details from new order by id
        )
        select min(ord) as "ord!" from new join input using (subject_uid, event, key) group by id order by id"#,
        tenant,
        &at,
        &column(|numbered| &numbered.record.actor) as &[&str],
        &events as &[&str],
        &keys as &[&str],
        &column(|numbered| numbered.record.subject.kind.as_str()) as &[&str],
        &column(|numbered| &numbered.record.subject.namespace) as &[&str],
        &column(|numbered| &numbered.record.subject.name) as &[&str],
        &column(|numbered| &numbered.record.subject.uid) as &[&str],
        &plans as &[Option<&str>],
        &details as &[&Value],
    )
    .fetch_all(session.statement())
    .await
    .map_err(StoreError::while_doing("append to the audit log"))?;
    // Ordinals start at 1.
    Ok(new.into_iter().filter_map(|ord| records.get(usize::try_from(ord - 1).ok()?).copied()).collect())
}

#[allow(clippy::too_many_lines, reason = "one arm for each event")]
fn entry(NumberedRecord { record, revision }: &NumberedRecord<'_>) -> Entry {
    let own_plan = || (record.subject.kind == Kind::Plan).then(|| record.subject.uid.clone());
    match &record.event {
        Event::Revision { digest, version, reason, commit, content: _ } => {
            let number = revision.map(|revision| revision.number);
            Entry {
                event: "Revision",
                key: number.unwrap_or_default().to_string(),
                plan_uid: own_plan(),
                details: json!({
                    "digest": digest,
                    "version": version,
                    "number": number,
                    "reason": reason,
                    "commit": commit,
                }),
            }
        }
        Event::Findings { digest, analyser, findings } => Entry {
            event: "Findings",
            key: format!("{digest}/{analyser}"),
            plan_uid: own_plan(),
            details: json!({ "digest": digest, "analyser": analyser, "total": findings.as_array().map_or(0, Vec::len) }),
        },
        Event::Transition { key, state, reason, message, task } => Entry {
            event: "Transition",
            key: key.clone(),
            plan_uid: task.as_ref().map(|task| task.plan_uid.clone()).or_else(own_plan),
            details: json!({
                "state": state,
                "reason": reason,
                "message": message,
                "task": task.as_ref().map(|task| &task.id),
            }),
        },
        Event::AttemptStarted { plan_uid, number, pod, agent, .. } => Entry {
            event: "AttemptStarted",
            key: number.to_string(),
            plan_uid: Some(plan_uid.clone()),
            details: json!({ "attempt": number, "pod": pod, "agent": agent }),
        },
        Event::AttemptPod { plan_uid, number, pod, pod_uid } => Entry {
            event: "AttemptPod",
            key: format!("{number}/{pod_uid}"),
            plan_uid: Some(plan_uid.clone()),
            details: json!({ "attempt": number, "pod": pod, "podUid": pod_uid }),
        },
        Event::AttemptFinished { plan_uid, number, failure, report, started } => Entry {
            event: "AttemptFinished",
            key: number.to_string(),
            plan_uid: Some(plan_uid.clone()),
            details: json!({
                "attempt": number,
                "failure": failure,
                "reason": report.reason,
                "message": report.message,
                "commit": report.commit,
                "podCreatedMs": started,
            }),
        },
        Event::ResultContradicted { plan_uid, number, message, report } => Entry {
            event: "ResultContradicted",
            // The server adds those of deliveries.
            key: format!("{number}/pod"),
            plan_uid: Some(plan_uid.clone()),
            details: json!({ "attempt": number, "contradiction": message, "report": report }),
        },
        Event::ContestDecided { plan_uid, newest, winner, message } => Entry {
            event: "ContestDecided",
            key: newest.to_string(),
            plan_uid: Some(plan_uid.clone()),
            details: json!({ "winner": winner, "message": message }),
        },
        Event::Proposal { agent, digest, score, tasks } => Entry {
            event: "Proposal",
            key: format!("{}/{}", truncated(agent, MAX_KEY_NAME), digest.short()),
            plan_uid: own_plan(),
            details: json!({ "agent": agent, "digest": digest, "score": score, "tasks": tasks }),
        },
        Event::Judgement { key, judge, first, second, preference, digest } => Entry {
            event: "Judgement",
            key: key.clone(),
            plan_uid: own_plan(),
            details: json!({
                "judge": judge, "first": first, "second": second, "preference": preference, "digest": digest,
            }),
        },
        Event::ProposalChosen { key, agent, digest, decisions, .. } => Entry {
            event: "ProposalChosen",
            key: key.clone(),
            plan_uid: own_plan(),
            details: json!({ "agent": agent, "digest": digest, "decisions": decisions.len() }),
        },
        Event::Message { plan_uid, id, text } => Entry {
            event: "Message",
            key: id.to_string(),
            plan_uid: Some(plan_uid.clone()),
            details: json!({ "id": id, "text": text }),
        },
        Event::PolicyChanged { key, policy } => Entry {
            event: "PolicyChanged",
            key: key.clone(),
            plan_uid: own_plan(),
            details: json!({ "policy": policy }),
        },
        Event::ControlChanged { plan_uid, key, control, value } => Entry {
            event: "ControlChanged",
            key: key.clone(),
            plan_uid: plan_uid.clone(),
            details: json!({ "control": control, "value": value }),
        },
        Event::Deleted { note } => Entry {
            event: "Deleted",
            // An object is deleted once.
            key: String::new(),
            plan_uid: own_plan(),
            details: json!({ "note": note }),
        },
        Event::Approval { kind, name, digest, approved, comment } => Entry {
            // The subject is the Approval itself, so its UID is enough.
            event: "Approval",
            key: String::new(),
            plan_uid: None,
            details: json!({
                "subjectKind": kind,
                "subjectName": name,
                "digest": digest,
                "approved": approved,
                "comment": comment,
            }),
        },
    }
}
