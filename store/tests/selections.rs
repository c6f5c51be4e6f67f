//! The history of agents, and the selections for people.

mod support;

use enact_domain::agents::selection::{Evaluated, Exclusion, ExclusionReason, History, Outcome, Score, Selection};
use enact_domain::assignment::{Reason, Report};
use enact_domain::record::{Event, Record};
use enact_domain::time::Millis;
use enact_store::{AgentEnd, AgentHistory, Refusal};
use support::usage::{charge, request, settlement};
use support::{Database, end, plan_transition, start};

fn selection() -> Selection {
    let score = Score { proficiency: 320, success: 150, load: 100, price: 50, preference: 50 };
    let exclusion = Exclusion { reason: ExclusionReason::Busy, message: "is busy".into() };
    let candidate = |agent: &str, outcome| Evaluated { agent: agent.into(), outcome };
    let candidates = vec![candidate("coder", Outcome::Score(score)), candidate("other", Outcome::Excluded(exclusion))];
    Selection { needs: vec!["rust".into()], candidates, kept: false }
}

/// Returns the start of an attempt that counts for these capabilities.
fn start_with(task: &str, number: u32, counted: Option<&[&str]>) -> Record {
    let mut record = start("a", task, number);
    if let Event::AttemptStarted { capabilities, selection: selected, .. } = &mut record.event {
        *capabilities = counted.map(|counted| counted.iter().map(|name| (*name).to_owned()).collect());
        *selected = Some(selection());
    }
    record
}

fn ended(task: &str, number: u32, failure: Option<&str>, reason: Reason) -> Record {
    end("a", task, number, failure, Report::new(reason, ""))
}

fn wanted() -> [(String, String); 2] {
    ["coder", "nobody"].map(|name| ("team".to_owned(), name.to_owned()))
}

fn history(capability: &str, attempts: u32, succeeded: u32, cost: Option<u64>) -> AgentHistory {
    let history = History { attempts, succeeded, median_cost_micro_usd: cost };
    AgentHistory { namespace: "team".into(), agent: "coder".into(), capability: capability.into(), history }
}

#[tokio::test]
async fn attempts_count_for_what_their_task_needed() {
    let database = Database::migrated().await;
    let store = database.store();
    let records = vec![
        start_with("t1", 1, Some(&["rust"])),
        ended("t1", 1, None, Reason::Succeeded),
        start_with("t2", 1, Some(&["rust", "sql"])),
        ended("t2", 1, Some("Task"), Reason::GateFailed),
        start_with("t3", 1, Some(&[])),
        ended("t3", 1, None, Reason::Succeeded),
        // None of these says anything about the agent.
        start_with("t4", 1, Some(&["rust"])),
        start_with("t5", 1, None),
        ended("t5", 1, None, Reason::Succeeded),
        start_with("t6", 1, Some(&["rust"])),
        ended("t6", 1, Some("Infrastructure"), Reason::Evicted),
        start_with("t7", 1, Some(&["rust"])),
        ended("t7", 1, Some("Task"), Reason::BudgetExceeded),
    ];
    store.record(records).await.unwrap();
    store.open_requests("a", &[request(1, "t1"), request(2, "t2")]).await.unwrap();
    store.settle_requests("a", &[settlement(1, charge(1, 1, 700)), settlement(2, charge(1, 1, 900))]).await.unwrap();
    assert_eq!(
        store.agent_histories("a", &wanted()).await.unwrap(),
        [history("", 3, 2, Some(700)), history("rust", 2, 1, Some(700)), history("sql", 1, 0, Some(900))]
    );
    assert_eq!(store.agent_histories("b", &wanted()).await.unwrap(), [], "another tenant");
    assert_eq!(store.agent_histories("a", &[]).await.unwrap(), []);
}

#[tokio::test]
async fn the_newest_attempts_count() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut records = Vec::new();
    for number in 1..=250 {
        records.push(start_with("t", number, Some(&["rust"])));
        let mut ended = if number <= 50 {
            ended("t", number, Some("Task"), Reason::GateFailed)
        } else {
            ended("t", number, None, Reason::Succeeded)
        };
        ended.at = Millis(i64::from(number) * 1_000);
        records.push(ended);
    }
    store.record(records).await.unwrap();
    let histories = store.agent_histories("a", &wanted()).await.unwrap();
    assert_eq!(histories, [history("", 200, 200, None), history("rust", 200, 200, None)]);
}

#[tokio::test]
async fn the_newest_ends_tell_the_health_of_an_agent() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut records = vec![start_with("t", 99, None)];
    for number in 1..=60 {
        let reason = if number % 2 == 0 { Reason::ProviderQuota } else { Reason::GateFailed };
        let mut ended = ended("t", number, Some("Task"), reason);
        ended.at = Millis(i64::from(number) * 1_000);
        // An agent without capabilities has a health too.
        records.extend([start_with("t", number, None), ended]);
    }
    store.record(records).await.unwrap();
    for attempt in [59, 60] {
        let refusal =
            Refusal { reason: "ProviderQuota".into(), message: String::new(), reset_at: Some(Millis(90_000)) };
        store.record_refusal("a", "uid-t", attempt, &refusal).await.unwrap();
    }
    let ends = store.agent_ends("a", &wanted()).await.unwrap();
    assert_eq!(ends.len(), 50);
    let shown = |ended: &AgentEnd| {
        (ended.namespace.clone(), ended.agent.clone(), ended.end.reason, ended.end.at, ended.end.quota_reset)
    };
    let expected = |reason, at, reset| ("team".to_owned(), "coder".to_owned(), reason, Millis(at), reset);
    assert_eq!(shown(&ends[0]), expected(Reason::GateFailed, 11_000, None), "the oldest first");
    assert_eq!(shown(&ends[48]), expected(Reason::GateFailed, 59_000, None), "its end had another reason");
    assert_eq!(shown(&ends[49]), expected(Reason::ProviderQuota, 60_000, Some(Millis(90_000))));
    assert_eq!(store.agent_ends("b", &wanted()).await.unwrap(), [], "another tenant");
}

#[tokio::test]
async fn selections_are_kept_for_people() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![plan_transition("a", "p", "Running", 500), start_with("t", 1, Some(&["rust"]))]).await.unwrap();
    store.record(vec![start("a", "t", 2), start_with("t", 3, None)]).await.unwrap();
    let found = store.selections("a", "team", "p", "t").await.unwrap();
    assert_eq!(found.iter().map(|selected| selected.attempt).collect::<Vec<_>>(), [3, 1], "attempt 2 had none");
    assert_eq!(
        (found[0].agent.as_str(), found[0].at, &found[0].selection),
        ("coder", Some(Millis(1_000)), &selection())
    );
    for (tenant, namespace, plan, task) in
        [("b", "team", "p", "t"), ("a", "other", "p", "t"), ("a", "team", "q", "t"), ("a", "team", "p", "u")]
    {
        assert_eq!(
            store.selections(tenant, namespace, plan, task).await.unwrap(),
            [],
            "{tenant} {namespace} {plan} {task}"
        );
    }
}
