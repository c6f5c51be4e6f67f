//! What the record has about attempts, from the records that were written.

use enact_domain::agents::health::End;
use enact_domain::record::{Event, Record, RecordedAttempt};
use enact_domain::time::Millis;
use enact_store::{AgentEnd, RecordedDelivery, StartedPod};

/// Returns the recorded starts of all attempts, with their pods.
pub fn starts(records: &[Record]) -> Vec<StartedPod> {
    let mut starts: Vec<StartedPod> = Vec::new();
    for record in records {
        let same = |start: &StartedPod, number: u32| start.subject_uid == record.subject.uid && start.number == number;
        match &record.event {
            Event::AttemptStarted { number, pod, pod_uid, start_key, .. }
                if !starts.iter().any(|start| same(start, *number)) =>
            {
                starts.push(StartedPod {
                    subject_uid: record.subject.uid.clone(),
                    number: *number,
                    pod: pod.clone(),
                    pod_uid: pod_uid.clone(),
                    start_key: Some(start_key.clone()),
                });
            }
            Event::AttemptPod { number, pod, pod_uid, .. } => {
                if let Some(start) = starts.iter_mut().find(|start| same(start, *number)) {
                    (start.pod, start.pod_uid) = (pod.clone(), Some(pod_uid.clone()));
                }
            }
            _ => {}
        }
    }
    starts
}

/// Returns the recorded attempts. `added` are those that a test adds, or says more about.
pub fn attempts(records: &[Record], added: &[RecordedAttempt]) -> Vec<RecordedAttempt> {
    let mut attempts = added.to_vec();
    for start in starts(records) {
        let same =
            |attempt: &RecordedAttempt| attempt.subject_uid == start.subject_uid && attempt.number == start.number;
        let Some(attempt) = attempts.iter_mut().find(|attempt| same(attempt)) else {
            attempts.push(written(records, &start));
            continue;
        };
        attempt.pod_uid = attempt.pod_uid.take().or(start.pod_uid);
        attempt.start_key = attempt.start_key.take().or(start.start_key);
    }
    attempts
}

/// Returns a started attempt as the records have it.
fn written(records: &[Record], start: &StartedPod) -> RecordedAttempt {
    let mut attempt = RecordedAttempt {
        subject_uid: start.subject_uid.clone(),
        number: start.number,
        pod_uid: start.pod_uid.clone(),
        start_key: start.start_key.clone(),
        ..RecordedAttempt::default()
    };
    for record in records.iter().filter(|record| record.subject.uid == start.subject_uid) {
        match &record.event {
            Event::AttemptStarted { number, agent, .. } if *number == start.number && attempt.agent.is_none() => {
                attempt.agent = Some(agent.clone());
            }
            Event::AttemptFinished { number, failure, report, .. }
                if *number == start.number && attempt.finished.is_none() =>
            {
                (attempt.finished, attempt.report) = (Some(failure.clone()), Some(report.clone()));
            }
            _ => {}
        }
    }
    attempt
}

/// Returns those of `known` that are about these attempts.
pub fn deliveries(known: &[RecordedDelivery], attempts: &[(String, u32)]) -> Vec<RecordedDelivery> {
    let is_wanted = |delivery: &&RecordedDelivery| attempts.contains(&(delivery.subject_uid.clone(), delivery.number));
    known.iter().filter(is_wanted).cloned().collect()
}

/// Returns the recorded ends of attempts, with the agents that carried them out.
pub fn ends(records: &[Record], quota_reset: Option<Millis>) -> Vec<AgentEnd> {
    let agent_of = |uid: &str, attempt: u32| {
        records.iter().find_map(|record| match &record.event {
            Event::AttemptStarted { number, agent, .. } if record.subject.uid == uid && *number == attempt => {
                Some(agent.clone())
            }
            _ => None,
        })
    };
    let end = |record: &Record| {
        let Event::AttemptFinished { number, report, .. } = &record.event else { return None };
        let (reason, message) = (report.reason, report.message.clone());
        let end = End { reason, message, at: record.at, quota_reset };
        let agent = agent_of(&record.subject.uid, *number)?;
        Some(AgentEnd { namespace: record.subject.namespace.clone(), agent, end })
    };
    records.iter().filter_map(end).collect()
}

/// Returns a short text for a record.
pub fn summary(record: &Record) -> String {
    match &record.event {
        Event::Revision { .. } => format!("{}: revision", record.subject.name),
        Event::Findings { .. } => format!("{}: findings", record.subject.name),
        Event::Transition { state, reason, .. } => format!("{}: {state} {reason}", record.subject.name),
        Event::AttemptStarted { number, .. } => format!("{}: start {number}", record.subject.name),
        Event::AttemptPod { number, .. } => format!("{}: pod {number}", record.subject.name),
        Event::AttemptFinished { number, report, .. } => {
            format!("{}: end {number} {}", record.subject.name, report.reason.as_str())
        }
        Event::ResultContradicted { number, .. } => format!("{}: contradiction {number}", record.subject.name),
        Event::ContestDecided { winner, .. } => format!("{}: winner {winner:?}", record.subject.name),
        Event::Proposal { agent, score, .. } => format!("{}: proposal of {agent} {score}", record.subject.name),
        Event::Judgement { judge, first, second, preference, .. } => {
            format!("{}: {judge} compared {first} and {second}: {preference:?}", record.subject.name)
        }
        Event::ProposalChosen { agent, decisions, .. } => {
            let choices: String = decisions.iter().map(|decision| format!(" {}", decision.choice)).collect();
            format!("{}: {agent} chosen by {}{choices}", record.subject.name, record.actor)
        }
        Event::Message { id, .. } => format!("{}: message {id} by {}", record.subject.name, record.actor),
        Event::PolicyChanged { .. } => format!("{}: policy by {}", record.subject.name, record.actor),
        Event::ControlChanged { control, .. } => {
            format!("{}: {control} by {}", record.subject.name, record.actor)
        }
        Event::Deleted { .. } => format!("{}: deleted by {}", record.subject.name, record.actor),
        Event::Approval { approved, .. } => format!("{}: approved {approved}", record.subject.name),
    }
}
