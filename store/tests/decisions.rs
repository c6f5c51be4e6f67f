//! Decisions of chosen proposals, and which of them are in force.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use enact_domain::decisions::{Decision, DecisionOutcome, PlanOutcome, RecordedDecision, State, question_key};
use enact_domain::digest::Digest;
use enact_domain::record::{ACTOR, Event, Kind, Record};
use enact_domain::time::Millis;
use enact_store::{DecisionFilter, Store};
use support::usage::{charge, request, settlement};
use support::{Database, done, end, plan_transition, record, start, subject, task_transition};

/// Returns the choice of a proposal with these decisions for a plan. Its Specification has the name of the plan.
fn chosen(plan: &str, at: i64, decisions: &[(&str, &str)]) -> Record {
    let decisions = decisions.iter().zip(7..).map(|((question, choice), line)| Decision {
        question: (*question).into(),
        choice: (*choice).into(),
        rationale: "It is there.".into(),
        consequences: String::new(),
        alternatives: vec!["Nothing".into()],
        line,
    });
    let event = Event::ProposalChosen {
        key: format!("1/{at}"),
        agent: "claude".into(),
        digest: Digest::of_bytes(b"a proposal"),
        specification: plan.into(),
        specification_digest: Digest::of_bytes(b"a specification"),
        decisions: decisions.collect(),
    };
    record("a", subject(Kind::Plan, plan), at, event)
}

/// Returns plan, choice and state of the decisions of the namespace, the newest first.
async fn states(store: &Store) -> Vec<(String, String, State)> {
    let found = store.decisions("a", "team", &DecisionFilter::default()).await.unwrap();
    found.into_iter().map(|found| (found.plan, found.choice, found.state)).collect()
}

fn state(plan: &str, choice: &str, state: State) -> (String, String, State) {
    (plan.into(), choice.into(), state)
}

#[tokio::test]
async fn a_decision_has_its_choice_and_its_options() {
    let database = Database::migrated().await;
    let store = database.store();
    let choice = Record { actor: "dana".into(), ..chosen("cart", 5_000, &[("Storage", "Postgres\0")]) };
    store.record(vec![choice.clone()]).await.unwrap();
    store.record(vec![choice]).await.unwrap();
    let found = store.decisions("a", "team", &DecisionFilter::default()).await.unwrap();
    let expected = RecordedDecision {
        id: found[0].id,
        state: State::InForce,
        question: "Storage".into(),
        choice: "Postgres\u{FFFD}".into(),
        rationale: "It is there.".into(),
        consequences: String::new(),
        alternatives: vec!["Nothing".into()],
        namespace: "team".into(),
        plan: "cart".into(),
        plan_uid: "uid-cart".into(),
        specification: "cart".into(),
        specification_digest: Digest::of_bytes(b"a specification").to_string(),
        proposal: Digest::of_bytes(b"a proposal").to_string(),
        agent: "claude".into(),
        chosen_by: Some("dana".into()),
        at: Millis(5_000),
        supersedes: None,
        superseded_by: None,
    };
    assert_eq!(found, [expected]);
    for (tenant, namespace) in [("a", "other"), ("b", "team")] {
        assert_eq!(store.decisions(tenant, namespace, &DecisionFilter::default()).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_later_decision_supersedes_that_of_the_same_question() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![chosen("cart", 1_000, &[("Storage?", "Redis"), ("Language", "Rust")])]).await.unwrap();
    store.record(vec![chosen("basket", 2_000, &[("storage", "Postgres")])]).await.unwrap();
    assert_eq!(
        states(&store).await,
        [
            state("basket", "Postgres", State::InForce),
            state("cart", "Redis", State::Superseded),
            state("cart", "Rust", State::InForce),
        ]
    );
    let of = |plan: Option<&str>, specification: Option<&str>| DecisionFilter {
        plan: plan.map(str::to_owned),
        specification: specification.map(str::to_owned),
    };
    let basket = store.decisions("a", "team", &of(Some("basket"), None)).await.unwrap();
    let cart = store.decisions("a", "team", &of(None, Some("cart"))).await.unwrap();
    assert_eq!((basket.len(), cart.len()), (1, 2));
    // The filter does not hide what replaces a decision.
    assert_eq!((cart[0].superseded_by, basket[0].supersedes), (Some(basket[0].id), Some(cart[0].id)));
    assert_eq!(basket[0].chosen_by, None, "{ACTOR} means the score");
}

#[tokio::test]
async fn another_choice_of_the_plan_withdraws_its_decisions() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![chosen("cart", 1_000, &[("Storage", "Redis")])]).await.unwrap();
    store.record(vec![chosen("cart", 2_000, &[])]).await.unwrap();
    assert_eq!(states(&store).await, [state("cart", "Redis", State::Withdrawn)]);
    store.record(vec![chosen("cart", 3_000, &[("Storage", "Redis")])]).await.unwrap();
    let found = store.decisions("a", "team", &DecisionFilter::default()).await.unwrap();
    assert_eq!((found[0].state, found[0].supersedes), (State::InForce, None), "it replaces only what counts");
}

#[tokio::test]
async fn a_plan_that_was_deleted_before_its_start_decides_nothing() {
    let database = Database::migrated().await;
    let store = database.store();
    let deleted = |plan: &str| record("a", subject(Kind::Plan, plan), 4_000, Event::Deleted { note: String::new() });
    store.record(vec![plan_transition("a", "done", "Running", 900)]).await.unwrap();
    store.record(vec![chosen("done", 1_000, &[("Language", "Rust")])]).await.unwrap();
    store.record(vec![chosen("wrong", 2_000, &[("Language", "C")])]).await.unwrap();
    store.record(vec![deleted("done"), deleted("wrong")]).await.unwrap();
    assert_eq!(
        states(&store).await,
        [state("wrong", "C", State::Withdrawn), state("done", "Rust", State::InForce)],
        "what was built stays decided"
    );
}

#[tokio::test]
async fn decisions_of_all_namespaces_stay_in_their_tenant() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut other_namespace = chosen("basket", 2_000, &[("Storage", "Postgres")]);
    other_namespace.subject.namespace = "second".into();
    let mut other_tenant = chosen("orders", 3_000, &[("Storage", "Tape")]);
    other_tenant.tenant = "b".into();
    store.record(vec![chosen("cart", 1_000, &[("Storage", "Redis")]), other_namespace]).await.unwrap();
    store.record(vec![other_tenant]).await.unwrap();
    store.record(vec![plan_transition("a", "cart", "Succeeded", 4_000)]).await.unwrap();
    let found = async |namespace: Option<&str>, without: Option<&str>| -> Vec<(String, String, State, bool)> {
        let found = store.decision_outcomes("a", namespace, without).await.unwrap();
        let shown = |found: DecisionOutcome| {
            let succeeded = found.outcome.is_some_and(|outcome| outcome.state.as_deref() == Some("Succeeded"));
            (found.decision.namespace, found.decision.choice, found.decision.state, succeeded)
        };
        found.into_iter().map(shown).collect()
    };
    let (team, second) = (
        ("team".to_owned(), "Redis".to_owned(), State::InForce, true),
        ("second".to_owned(), "Postgres".to_owned(), State::InForce, false),
    );
    assert_eq!(found(None, None).await, [second.clone(), team.clone()], "a namespace supersedes no other");
    assert_eq!(found(Some("team"), None).await, [team]);
    assert_eq!(found(None, Some("uid-cart")).await, [second]);
}

#[tokio::test]
async fn decisions_of_the_plan_itself_do_not_count_against_it() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![chosen("cart", 1_000, &[("Storage", "Redis")])]).await.unwrap();
    store.record(vec![chosen("basket", 2_000, &[("Storage", "Postgres")])]).await.unwrap();
    let questions = [question_key("STORAGE"), question_key("Nobody asked")];
    let in_force = async |plan: &str| -> Vec<String> {
        let found = store.decisions_in_force("a", "team", plan, &questions).await.unwrap();
        found.into_iter().map(|found| found.choice).collect()
    };
    assert_eq!(in_force("uid-basket").await, ["Redis"]);
    assert_eq!(in_force("uid-cart").await, ["Postgres"]);
    assert_eq!(in_force("uid-other").await, ["Postgres"]);
    assert_eq!(store.decisions_in_force("a", "team", "uid-other", &[]).await.unwrap(), []);
}

#[tokio::test]
async fn outcomes_are_those_of_the_plan() {
    let database = Database::migrated().await;
    let store = database.store();
    let task = |name: &str, state: &str| task_transition("a", name, state, 3_000);
    let finished = |name: &str, number: u32, failure: Option<&str>| {
        [start("a", name, number), end("a", name, number, failure, done())]
    };
    // t1 failed once and passed, t2 passed twice, t3 failed.
    let attempts = [
        finished("t1", 1, Some("Task")),
        finished("t1", 2, None),
        finished("t2", 1, None),
        finished("t2", 2, None),
        finished("t3", 1, Some("Infrastructure")),
    ];
    store.record(attempts.into_iter().flatten().collect()).await.unwrap();
    let states = vec![task("t1", "Succeeded"), task("t2", "Succeeded"), task("t3", "Failed")];
    store.record(states).await.unwrap();
    store.record(vec![plan_transition("a", "p", "Failed", 4_000)]).await.unwrap();
    store.open_requests("a", &[request(1, "t1"), request(2, "t2")]).await.unwrap();
    let settled = [settlement(1, charge(100, 10, 700)), settlement(2, charge(20, 3, None))];
    store.settle_requests("a", &settled).await.unwrap();
    let plans = ["uid-p".to_owned(), "uid-q".to_owned()];
    let outcomes = store.plan_outcomes("a", &plans).await.unwrap();
    let expected = PlanOutcome {
        state: Some("Failed".into()),
        succeeded_tasks: 2,
        failed_tasks: 1,
        repeated_tasks: 1,
        attempts: 5,
        failed_attempts: 1,
        // The first attempts of all three tasks.
        discarded_attempts: 3,
        tokens: 133,
        cost_micro_usd: 700,
        unpriced_tokens: 23,
        discarded_cost_micro_usd: 700,
    };
    assert_eq!(outcomes["uid-p"], expected);
    assert_eq!(outcomes["uid-q"], PlanOutcome::default(), "it has not started");
    assert_eq!(store.plan_outcomes("b", &plans).await.unwrap()["uid-p"], PlanOutcome::default(), "another tenant");
    assert!(store.plan_outcomes("a", &[]).await.unwrap().is_empty());
}
