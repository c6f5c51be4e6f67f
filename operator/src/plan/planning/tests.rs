//! Planners: what they get and deliver, and which proposal becomes the tasks of the plan.

use enact_crds::Plan;
use enact_crds::subject::Approvable as _;
use enact_domain::assignment::ASSIGNMENT_ENV;
use enact_domain::decisions::{DecisionOutcome, PlanOutcome, RecordedDecision};
use enact_domain::document_job::{DocumentJob, DocumentWork, DraftWork};
use enact_domain::stamps::Stamp;
use enact_domain::usage::{Balance, Charge, Limit, Scope, Tokens};
use serde_json::Value;

use super::*;
use crate::testing::Bench;

mod selections;

const SPEC: &str = "# Feature Specification: Keys\n\n## User Scenarios & Testing\n\n### User Story 1 - Lend (Priority: P1)\n\nA key is lent.\n\n\
    ## Requirements\n\n### Functional Requirements\n\n- **FR-001**: The list MUST show every key.\n\
    - **FR-002**: A key MUST expire after 30 days.\n";

const GOOD: &str = "# Tasks: Keys\n\n## Phase 1: User Story 1 - Lend\n\n- [ ] T001 [P] [US1] Test the list in `tests/a.rs` (FR-001)\n\
    - [ ] T002 [P] [US1] Let keys expire after 30 days in `b.rs` (FR-002)\n";

const POOR: &str = "# Tasks: Keys\n\n## Phase 1: Setup\n\n- [ ] T001 Show the list in `a.rs` (FR-001)\n";

/// Returns a bench with a plan whose planners are the agents `a` and `b`. `more` contains fields of `generate`, and `approval` is the policy
/// of the specification.
async fn bench(more: &Value, approval: &Value) -> Bench {
    let mut bench = Bench::new().await;
    plan(&mut bench, more, approval).await;
    bench
}

/// Creates that plan.
async fn plan(bench: &mut Bench, more: &Value, approval: &Value) {
    for agent in ["scripts", "a", "b"] {
        bench.agent_with(agent, json!({"adapter": "Command", "script": "true"}));
    }
    let object = |kind: &str, name: &str, spec: &Value| {
        let metadata = json!({"name": name, "namespace": "ns", "generation": 1});
        json!({"apiVersion": "enact.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
    };
    let specification = json!({"source": {"inline": SPEC}, "approval": approval});
    bench.api.put("specifications/keys", object("Specification", "keys", &specification));
    let generate = generate(more);
    let plan = json!({"agentRef": {"name": "scripts"}, "specificationRef": {"name": "keys"}, "generate": generate});
    bench.api.put("plans/p", object("Plan", "p", &plan));
    bench.specification("keys").await.unwrap();
    bench.settle().await;
    reconcile(bench).await;
}

async fn reconcile(bench: &mut Bench) {
    for _ in 0..3 {
        bench.plan("p").await.unwrap();
    }
}

fn status(bench: &Bench) -> Value {
    bench.api.get("plans/p")["status"].clone()
}

fn reason(bench: &Bench) -> String {
    status(bench)["conditions"][0]["reason"].as_str().unwrap_or_default().to_owned()
}

/// Returns the work of each planner's pod, with the pod's name.
fn work(bench: &Bench) -> Vec<(String, DraftWork)> {
    let mut found = Vec::new();
    for pod in bench.api.all("pods").iter().filter(|pod| pod["metadata"]["labels"]["enact.dev/role"] == "draft") {
        let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
        let assignment = env.iter().find(|var| var["name"] == ASSIGNMENT_ENV).unwrap()["value"].as_str().unwrap();
        let job: DocumentJob = serde_json::from_str(&assignment.replace("$$", "$")).unwrap();
        let DocumentWork::Draft(work) = job.work else { panic!("a draft was expected") };
        found.push((pod["metadata"]["name"].as_str().unwrap().to_owned(), work));
    }
    found
}

/// Ends the pod of an attempt of a planner with this document.
async fn delivers(bench: &mut Bench, agent: &str, attempt: u32, document: &str) {
    let (pod, _) = work(bench).into_iter().find(|(_, work)| work.agent == agent && work.attempt == attempt).unwrap();
    end(bench, &pod, document).await;
}

/// Ends a pod with this document.
async fn end(bench: &mut Bench, pod: &str, document: &str) {
    bench.record_store.documents.lock().unwrap().push(document.as_bytes().to_vec());
    let report = json!({"reason": "Succeeded", "document": Digest::of_bytes(document.as_bytes())});
    let ended = json!({"exitCode": 0, "reason": "Ended", "message": report.to_string()});
    let main = json!({"name": "main", "state": {"terminated": ended}});
    bench.set_job_status(pod, json!({"phase": "Succeeded", "containerStatuses": [main]})).await;
}

#[tokio::test]
async fn nobody_plans_what_is_not_approved() {
    let bench = bench(&json!({}), &json!({"required": 1})).await;
    assert_eq!((reason(&bench).as_str(), work(&bench).len()), ("WaitingForSpecification", 0));
}

#[tokio::test]
async fn the_best_proposal_becomes_the_tasks() {
    let mut bench = bench(&json!({"guidance": "Use Rust.", "maxAttempts": 2}), &json!({})).await;
    assert_eq!(reason(&bench), "Planning");
    let first = work(&bench);
    assert_eq!(first.len(), 2, "both planners work at the same time");
    for (_, work) in &first {
        assert!(work.prompt.contains("A key MUST expire") && work.prompt.contains("Use Rust."), "{}", work.prompt);
    }
    delivers(&mut bench, "a", 1, GOOD).await;
    delivers(&mut bench, "b", 1, "I thought about it.\n").await;
    reconcile(&mut bench).await;
    let proposals = status(&bench)["proposals"].clone();
    assert_eq!((&proposals[0]["state"], &proposals[0]["tasks"]), (&json!("Proposed"), &json!(2)), "{proposals}");
    assert_eq!((&proposals[1]["state"], reason(&bench).as_str()), (&json!("Planning"), "Planning"), "{proposals}");

    bench.pass(12);
    reconcile(&mut bench).await;
    let (_, second) = work(&bench).into_iter().find(|(_, work)| work.attempt == 2).unwrap();
    assert!(second.agent == "b" && second.prompt.contains("the document has 0 tasks"), "{}", second.prompt);
    delivers(&mut bench, "b", 2, POOR).await;
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!(status["phase"], "Running", "{status}");
    assert_eq!(status["generated"]["agent"], "a", "{status}");
    let (good, poor) = (&status["proposals"][0], &status["proposals"][1]);
    assert!(good["score"].as_u64() > poor["score"].as_u64(), "{status}");
    assert!(bench.api.has("tasks/p-t002"));
    assert_eq!(work(&bench).len(), 0, "a plan that has started needs no planner");
    let records = bench.record_store.summaries().join("\n");
    assert!(records.contains("p: proposal of a ") && records.contains("p: proposal of b "), "{records}");
    assert!(records.contains("p: a chosen by system:enact"), "{records}");
}

#[tokio::test]
async fn a_change_that_is_not_seen_yet_ends_no_planner() {
    let mut bench = bench(&json!({}), &json!({})).await;
    delivers(&mut bench, "a", 1, GOOD).await;
    bench.change_specification("keys", &json!({"metadata": {"generation": 2}}));
    reconcile(&mut bench).await;
    assert_eq!((reason(&bench).as_str(), work(&bench).len()), ("WaitingForSpecification", 2));
    bench.specification("keys").await.unwrap();
    bench.settle().await;
    reconcile(&mut bench).await;
    assert_eq!(status(&bench)["proposals"][0]["state"], "Proposed", "it was written before");
}

#[tokio::test]
async fn a_person_chooses_among_the_proposals() {
    let mut bench = bench(&json!({"selection": "Person"}), &json!({})).await;
    delivers(&mut bench, "a", 1, GOOD).await;
    reconcile(&mut bench).await;
    delivers(&mut bench, "b", 1, POOR).await;
    reconcile(&mut bench).await;
    assert_eq!(reason(&bench), "WaitingForChoice");
    let digest = Digest::of_bytes(POOR.as_bytes());
    let mut stamps = Stamps::default();
    stamps.insert(&["b", digest.as_str()], Stamp { by: "dana".into(), date: "2026-01-02".into() });
    let metadata = json!({"generation": 2, "annotations": {"enact.dev/chosen": stamps.format()}});
    let chosen = json!({"agent": "b", "digest": digest});
    bench.api.change("plans/p", &json!({"metadata": metadata, "spec": {"generate": {"chosen": chosen}}}));
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!((&status["phase"], &status["generated"]["by"]), (&json!("Running"), &json!("dana")), "{status}");
    assert_eq!(status["tasks"]["total"], 1);
    let records = bench.record_store.summaries().join("\n");
    assert!(records.contains("p: b chosen by dana"), "{records}");
}

#[tokio::test]
async fn tasks_that_count_as_done_are_refused() {
    let mut bench = bench(&json!({"maxAttempts": 1}), &json!({})).await;
    delivers(&mut bench, "a", 1, "# Tasks: Keys\n\n## Phase 1: Setup\n\n- [x] T001 All of FR-001\n").await;
    delivers(&mut bench, "b", 1, "# Tasks: Keys\n\n## Phase 1: Setup\n\n- [ ] T001 All of FR-099\n").await;
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!(reason(&bench), FAILED, "{status}");
    let problem = |index: usize| status["proposals"][index]["problem"].as_str().unwrap_or_default();
    assert!(problem(0).contains("not open") && problem(1).contains("FR-099"), "{status}");
}

#[tokio::test]
async fn judges_compare_both_orders_before_the_choice() {
    let mut bench = bench(&json!({"judges": [{"name": "scripts"}], "maxAttempts": 1}), &json!({})).await;
    delivers(&mut bench, "a", 1, GOOD).await;
    delivers(&mut bench, "b", 1, POOR).await;
    reconcile(&mut bench).await;
    assert_eq!(reason(&bench), "Judging");
    // A tenant runs two document jobs at the same time.
    let judges = work(&bench);
    assert_eq!(judges.len(), 2, "{}", status(&bench));
    let good_first = judges.iter().filter(|(_, work)| is_first(&work.prompt, GOOD)).count();
    assert_eq!(good_first, 1, "each order is compared");
    for (pod, work) in &judges {
        assert!(!work.prompt.contains("Agent a") && work.prompt.contains("A key MUST expire"), "{}", work.prompt);
        let verdict = if is_first(&work.prompt, GOOD) { "Verdict: B\n\nIt is shorter." } else { "Verdict: A" };
        end(&mut bench, pod, verdict).await;
    }
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!(status["phase"], "Running", "{status}");
    let by_judges = |index: usize| status["proposals"][index]["components"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&by_judges(0)["name"], &by_judges(0)["points"]), (&json!("judges"), &json!(0)), "{status}");
    assert_eq!((&by_judges(1)["points"], &by_judges(1)["max"]), (&json!(200), &json!(200)), "{status}");
    assert!(
        status["judgements"].as_array().unwrap().iter().all(|judgement| judgement["state"] == "Judged"),
        "{status}"
    );
    let total = |index: usize| {
        let components = status["proposals"][index]["components"].as_array().unwrap();
        components.iter().map(|component| component["points"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(status["proposals"][1]["score"], total(1), "{status}");
    let records = bench.record_store.summaries().join("\n");
    assert!(records.contains("p: scripts compared a and b: Second"), "{records}");
    assert!(records.contains("p: scripts compared b and a: First"), "{records}");
    let recorded = bench.record_store.records.lock().unwrap();
    let has_digest = |record: &Record| match &record.event {
        Event::Judgement { key, digest, .. } => key.ends_with(digest.short()),
        _ => true,
    };
    assert!(recorded.iter().all(has_digest), "other reasons of the same judge are recorded too");
}

#[tokio::test]
async fn equal_proposals_are_compared_in_both_orders() {
    let mut bench = bench(&json!({"judges": [{"name": "scripts"}], "maxAttempts": 1}), &json!({})).await;
    for planner in ["a", "b"] {
        delivers(&mut bench, planner, 1, GOOD).await;
    }
    reconcile(&mut bench).await;
    let pods = work(&bench);
    assert_eq!(pods.len(), 2, "{}", status(&bench));
    for (pod, _) in pods {
        end(&mut bench, &pod, "Verdict: A").await;
    }
    reconcile(&mut bench).await;
    let status = status(&bench);
    let compared = status["judgements"].as_array().unwrap().iter();
    let compared: Vec<_> = compared.map(|judgement| (&judgement["first"], &judgement["state"])).collect();
    assert_eq!(compared, [(&json!("a"), &json!("Judged")), (&json!("b"), &json!("Judged"))], "{status}");
}

#[tokio::test]
async fn the_plan_says_why_its_judges_wait() {
    let mut bench = bench(&json!({"judges": [{"name": "scripts"}]}), &json!({})).await;
    bench.agent_with("scripts", json!({"adapter": "Command", "script": "true", "suspend": true}));
    delivers(&mut bench, "a", 1, GOOD).await;
    delivers(&mut bench, "b", 1, POOR).await;
    reconcile(&mut bench).await;
    let message = status(&bench)["conditions"][0]["message"].as_str().unwrap().to_owned();
    let expected = "judges have ended 0 of 2 comparisons; Agent scripts waits: the Agent scripts is suspended";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!((reason(&bench).as_str(), work(&bench).len()), ("Judging", 0));
}

#[tokio::test]
async fn a_judge_without_a_verdict_decides_nothing() {
    let mut bench = bench(&json!({"judges": [{"name": "scripts"}], "maxAttempts": 1}), &json!({})).await;
    delivers(&mut bench, "a", 1, GOOD).await;
    delivers(&mut bench, "b", 1, POOR).await;
    reconcile(&mut bench).await;
    for (pod, _) in work(&bench) {
        end(&mut bench, &pod, "Both are fine.").await;
    }
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!((&status["phase"], &status["generated"]["agent"]), (&json!("Running"), &json!("a")), "{status}");
    let judgement = &status["judgements"][0];
    assert_eq!(judgement["state"], "Dropped", "{status}");
    assert!(judgement["verdict"]["problem"].as_str().unwrap().contains("no verdict"), "{status}");
    let components = status["proposals"][0]["components"].as_array().unwrap();
    assert!(components.iter().all(|component| component["name"] != "judges"), "{status}");
}

/// Eve's Agent writes the tasks, and that of jil decides which ones are chosen.
#[tokio::test]
async fn who_wrote_planner_and_judge_does_not_approve_the_plan() {
    let mut bench = bench(&json!({"judges": [{"name": "judge"}], "maxAttempts": 1}), &json!({"required": 1})).await;
    let script = || json!({"adapter": "Command", "script": "true"});
    for (author, agent) in [("eve", "a"), ("may", "b"), ("jil", "judge")] {
        bench.agent_by(author, agent, script());
    }
    let policy = json!({"required": 1, "fourEyes": true});
    bench.api.change("plans/p", &json!({"metadata": {"generation": 2}, "spec": {"approval": policy}}));
    bench.change_specification("keys", &json!({"metadata": {"generation": 2}, "spec": {"approval": {"required": 0}}}));
    bench.specification("keys").await.unwrap();
    bench.settle().await;
    reconcile(&mut bench).await;
    // What the Agents are after the start of their pods does not matter.
    bench.agent_by("bob", "a", script());
    delivers(&mut bench, "a", 1, GOOD).await;
    delivers(&mut bench, "b", 1, POOR).await;
    reconcile(&mut bench).await;
    for (pod, work) in work(&bench) {
        let verdict = if is_first(&work.prompt, GOOD) { "Verdict: A" } else { "Verdict: B" };
        end(&mut bench, &pod, verdict).await;
    }
    reconcile(&mut bench).await;
    assert_eq!(status(&bench)["generated"]["authors"], json!(["eve", "jil"]), "{}", status(&bench));
    let stored: Plan = serde_json::from_value(bench.api.get("plans/p")).unwrap();
    for user in ["eve", "jil"] {
        bench.decide_on_plan(user, "Approve", &json!({}));
        reconcile(&mut bench).await;
        assert_eq!(reason(&bench), "WaitingForApproval", "{user}");
        assert!(stored.authors().contains(user), "the webhook says the same");
    }
    bench.decide_on_plan("may", "Approve", &json!({}));
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!((&status["phase"], &status["generated"]["agent"]), (&json!("Running"), &json!("a")), "{status}");
}

/// Returns whether a judge reads this proposal first.
fn is_first(prompt: &str, proposal: &str) -> bool {
    let plan_a = prompt.split("## Plan B").next().unwrap();
    plan_a.contains(proposal.trim())
}

#[tokio::test]
async fn a_planner_gets_the_repository_without_its_credential() {
    let mut bench = bench(&json!({}), &json!({"required": 1})).await;
    let workspace = json!({"url": "https://git.example.org/shop.git", "credentialsSecretRef": {"name": "git-agent"}});
    bench.api.change("plans/p", &json!({"metadata": {"generation": 2}, "spec": {"workspace": workspace}}));
    bench.change_specification("keys", &json!({"metadata": {"generation": 2}, "spec": {"approval": {"required": 0}}}));
    bench.specification("keys").await.unwrap();
    bench.settle().await;
    reconcile(&mut bench).await;
    let planners = work(&bench);
    assert_eq!(planners.len(), 2, "{}", status(&bench));
    for (name, work) in planners {
        assert_eq!(work.repository.as_deref(), Some("https://git.example.org/shop.git"));
        assert!(work.prompt.contains("## The repository"), "{}", work.prompt);
        let pod = bench.api.get(&format!("pods/{name}"));
        let mounts = |container: &Value| {
            let mounts = container["volumeMounts"].as_array().unwrap();
            mounts.iter().map(|mount| mount["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let clone = &pod["spec"]["initContainers"][0];
        assert_eq!(clone["command"][1], "clone", "{pod}");
        assert!(mounts(clone).contains(&"git".to_owned()), "{pod}");
        assert!(!mounts(&pod["spec"]["containers"][0]).contains(&"git".to_owned()), "{pod}");
    }
}

fn proposal(agent: &str, state: ProposalState, score: u32) -> Proposal {
    Proposal {
        agent: agent.into(),
        state,
        digest: (state == ProposalState::Proposed).then(|| format!("sha256:{agent}")),
        score: Some(score),
        tasks: Some(3),
        problem: (state == ProposalState::Dropped).then(|| "line 1: no task was found".to_owned()),
        ..Proposal::default()
    }
}

fn generate(more: &Value) -> Generate {
    let mut generate = json!({ "agents": [{ "name": "a" }, { "name": "b" }] });
    generate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(generate).unwrap()
}

fn made(agent: &str, by: Option<&str>) -> Choice {
    let (agent, digest) = (agent.to_owned(), format!("sha256:{agent}"));
    Choice::Made(GeneratedPlan { agent, digest, by: by.map(str::to_owned), ..GeneratedPlan::default() })
}

#[test]
fn the_best_score_counts_when_all_planners_have_ended() {
    let by_score = generate(&json!({}));
    let (a, b) = (proposal("a", ProposalState::Proposed, 600), proposal("b", ProposalState::Proposed, 700));
    assert_eq!(
        choose("cart", &by_score, &Stamps::default(), &[a.clone(), proposal("b", ProposalState::Planning, 0)], true),
        Choice::None
    );
    assert_eq!(choose("cart", &by_score, &Stamps::default(), &[a.clone(), b], true), made("b", None));
    assert_eq!(
        choose("cart", &by_score, &Stamps::default(), &[a, proposal("b", ProposalState::Dropped, 0)], true),
        made("a", None)
    );
}

#[test]
fn a_person_chooses_one_digest() {
    let all = [proposal("a", ProposalState::Proposed, 600), proposal("b", ProposalState::Proposed, 700)];
    let Choice::Waits(waits) =
        choose("cart", &generate(&json!({"selection": "Person"})), &Stamps::default(), &all, true)
    else {
        panic!("chosen")
    };
    assert_eq!(waits.reason, "WaitingForChoice");
    assert!(waits.message.contains("kubectl enact choose cart --agent b"), "{}", waits.message);
    let chosen = |digest: &str| generate(&json!({"chosen": {"agent": "a", "digest": digest}}));
    let mut stamps = Stamps::default();
    stamps.insert(&["a", "sha256:a"], Stamp { by: "dana".into(), date: "2026-01-02".into() });
    assert_eq!(choose("cart", &chosen("sha256:a"), &stamps, &all, true), made("a", Some("dana")));
    assert_eq!(choose("cart", &chosen("sha256:older"), &stamps, &all, true), made("b", None), "another is not chosen");
}

/// Ends the pod of the first attempt of a planner, which a budget stopped.
async fn is_stopped_by_a_budget(bench: &mut Bench, agent: &str) {
    let (pod, _) = work(bench).into_iter().find(|(_, work)| work.agent == agent).unwrap();
    let report =
        json!({"reason": "BudgetExceeded", "message": "the budget of the plan does not allow another request"});
    let ended = json!({"exitCode": 1, "reason": "Error", "message": report.to_string()});
    let main = json!({"name": "main", "state": {"terminated": ended}});
    bench.set_job_status(&pod, json!({"phase": "Failed", "containerStatuses": [main]})).await;
}

/// Sets the budget of the plan in tokens.
fn set_budget(bench: &Bench, generation: u32, tokens: u64) {
    let execution = json!({"budget": {"tokens": tokens}});
    bench.api.change("plans/p", &json!({"metadata": {"generation": generation}, "spec": {"execution": execution}}));
}

#[tokio::test]
async fn the_budget_of_the_plan_holds_its_planners() {
    let mut bench = bench(&json!({}), &json!({})).await;
    bench.add_provider(&json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider", "metadata": {"name": "claude", "namespace": "ns"},
        "spec": {"api": "Anthropic", "baseUrl": "https://api.example.org"},
    }));
    let models = json!([{"provider": "claude", "model": "claude-5"}]);
    bench.agent_with("a", json!({"adapter": "Command", "script": "true", "models": models}));
    let scope = Scope::Plan { uid: bench.api.get("plans/p")["metadata"]["uid"].as_str().unwrap().to_owned() };
    set_budget(&bench, 2, 100);
    reconcile(&mut bench).await;
    let limit = Limit { tokens: Some(100), cost_micro_usd: None };
    assert!(bench.record_store.limits.lock().unwrap().contains(&(scope.clone(), limit)), "the gateway enforces it");
    let spent = Charge { tokens: Tokens { output: 100, ..Tokens::default() }, ..Charge::default() };
    let balance = Balance { limit, spent, ..Balance::default() };
    bench.record_store.balances.lock().unwrap().insert(scope.clone(), balance);
    is_stopped_by_a_budget(&mut bench, "a").await;
    reconcile(&mut bench).await;
    bench.pass(12);
    reconcile(&mut bench).await;
    let status = status(&bench);
    let condition = &status["conditions"][0];
    assert_eq!((reason(&bench).as_str(), &condition["status"]), ("BudgetExceeded", &json!("False")), "{status}");
    let message = condition["message"].as_str().unwrap();
    assert!(message.contains("100 of 100 tokens spent; raise spec.execution.budget"), "{message}");
    let problem = status["proposals"][0]["problem"].as_str().unwrap_or_default();
    assert!(problem.starts_with("BudgetExceeded: the budget of the plan"), "{status}");
    assert_eq!((&status["usage"]["tokens"], &status["usage"]["budget"]["tokens"]), (&json!(100), &json!(100)));
    let attempts = |bench: &Bench| work(bench).iter().filter(|(_, work)| work.attempt == 2).count();
    assert_eq!(attempts(&bench), 0, "another attempt would be refused");

    set_budget(&bench, 3, 500);
    reconcile(&mut bench).await;
    assert_eq!((reason(&bench).as_str(), attempts(&bench)), ("Planning", 1), "{}", self::status(&bench));
    let limit = Limit { tokens: Some(500), cost_micro_usd: None };
    assert_eq!(bench.record_store.limits.lock().unwrap().last(), Some(&(scope, limit)));
}

#[tokio::test]
async fn the_usage_of_planners_that_have_ended_is_shown_at_once() {
    let mut bench = bench(&json!({"selection": "Person"}), &json!({})).await;
    let scope = Scope::Plan { uid: bench.api.get("plans/p")["metadata"]["uid"].as_str().unwrap().to_owned() };
    let spend = |bench: &Bench, output: u64| {
        let spent = Charge { tokens: Tokens { output, ..Tokens::default() }, ..Charge::default() };
        let balance = Balance { spent, ..Balance::default() };
        bench.record_store.balances.lock().unwrap().insert(scope.clone(), balance);
    };
    spend(&bench, 10);
    reconcile(&mut bench).await;
    assert_eq!(status(&bench)["usage"]["tokens"], 10);
    spend(&bench, 40);
    delivers(&mut bench, "a", 1, GOOD).await;
    reconcile(&mut bench).await;
    assert_eq!(status(&bench)["usage"]["tokens"], 10, "while planners work, it is written from time to time");
    delivers(&mut bench, "b", 1, POOR).await;
    reconcile(&mut bench).await;
    assert_eq!((reason(&bench).as_str(), &status(&bench)["usage"]["tokens"]), ("WaitingForChoice", &json!(40)));
}

#[tokio::test]
async fn a_plan_whose_planners_a_budget_has_stopped_says_so() {
    let mut bench = bench(&json!({"maxAttempts": 1}), &json!({})).await;
    for agent in ["a", "b"] {
        is_stopped_by_a_budget(&mut bench, agent).await;
    }
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!(
        (reason(&bench).as_str(), &status["proposals"][0]["state"]),
        ("BudgetExceeded", &json!("Dropped")),
        "{status}"
    );
}

#[test]
fn a_plan_without_proposals_says_why() {
    let all = [proposal("a", ProposalState::Dropped, 0), proposal("b", ProposalState::Dropped, 0)];
    let Choice::Waits(waits) = choose("cart", &generate(&json!({})), &Stamps::default(), &all, true) else {
        panic!("chosen")
    };
    assert_eq!(waits.reason, FAILED);
    assert!(waits.message.contains("Agent b: line 1: no task was found"), "{}", waits.message);
}

/// Returns a recorded decision of another plan.
fn decided(question: &str, choice: &str) -> RecordedDecision {
    serde_json::from_value(json!({
        "id": 7, "state": "InForce", "question": question, "choice": choice, "rationale": "", "consequences": "",
        "alternatives": [], "namespace": "ns", "plan": "older", "planUid": "u", "specification": "older", "specificationDigest": "sha256:1",
        "proposal": "sha256:2", "agent": "a", "chosenBy": null, "at": 0, "supersedes": null, "supersededBy": null,
    }))
    .unwrap()
}

#[tokio::test]
async fn the_decisions_of_the_chosen_proposal_are_recorded() {
    let mut bench = bench(&json!({}), &json!({})).await;
    bench.record_store.decisions.lock().unwrap().push(decided("storage", "Redis"));
    let with_decision =
        GOOD.replace("## Phase 1", "## Decisions\n\n### Storage\n\n**Decision**: Postgres\n\n## Phase 1");
    delivers(&mut bench, "a", 1, &with_decision).await;
    delivers(&mut bench, "b", 1, POOR).await;
    reconcile(&mut bench).await;
    let status = status(&bench);
    let found = &status["proposals"][0]["findings"][0];
    assert_eq!((&found["code"], &found["line"]), (&json!("DecisionContradicted"), &json!(7)), "{status}");
    let message = found["message"].as_str().unwrap_or_default();
    assert!(message.contains("Postgres") && message.contains("Plan older") && message.contains("Redis"), "{message}");
    assert_eq!(status["proposals"][1]["findings"], Value::Null, "{status}");
    let shown = status["topFindings"].as_array().unwrap().iter().any(|shown| shown["id"] == found["id"]);
    assert!(shown && status["phase"] == "Running", "people see it, and it stops nothing: {status}");
    let records = bench.record_store.summaries().join("\n");
    assert!(records.contains("p: a chosen by system:enact Postgres"), "{records}");
}

#[tokio::test]
async fn planners_are_told_what_worked_in_their_namespace() {
    let mut bench = Bench::new().await;
    let outcome = |question: &str, choice: &str, namespace: &str| {
        let mut decision = decided(question, choice);
        decision.namespace = namespace.into();
        let outcome = PlanOutcome { state: Some("Succeeded".into()), attempts: 4, ..PlanOutcome::default() };
        DecisionOutcome { decision, outcome: Some(outcome) }
    };
    let decisions = [
        outcome("How does a key expire?", "By a sweeper", "ns"),
        outcome("When does a key expire?", "At midnight", "elsewhere"),
    ];
    bench.record_store.decision_outcomes.lock().unwrap().extend(decisions);
    plan(&mut bench, &json!({}), &json!({})).await;
    let found = work(&bench);
    assert_eq!(found.len(), 2);
    for (_, work) in found {
        assert!(work.prompt.contains("How does a key expire?: By a sweeper"), "{}", work.prompt);
        assert!(
            work.prompt.contains("decision 7 of Plan ns/older") && !work.prompt.contains("midnight"),
            "{}",
            work.prompt
        );
    }
}

/// Starts the plan `p`, whose task T001 succeeds, and the planners of the plan `q`, which replaces it. `more` contains fields of `generate` of
/// `q`.
async fn replacing(more: &Value) -> Bench {
    let mut bench = bench(&json!({}), &json!({})).await;
    delivers(&mut bench, "a", 1, GOOD).await;
    delivers(&mut bench, "b", 1, POOR).await;
    reconcile(&mut bench).await;
    bench.plan("p").await.unwrap();
    bench.succeed("p-t001-1").await;
    reconcile(&mut bench).await;
    let generate = generate(more);
    let replaces = json!({"name": "p", "because": "Keys are lost."});
    let spec = json!({
        "agentRef": {"name": "scripts"}, "specificationRef": {"name": "keys"}, "generate": generate,
        "replaces": replaces,
    });
    bench.put_plan("q", &spec);
    for _ in 0..3 {
        bench.plan("q").await.unwrap();
    }
    bench
}

#[tokio::test]
async fn planners_read_the_plan_that_is_replaced() {
    let bench = replacing(&json!({})).await;
    let prompts: Vec<String> = work(&bench).into_iter().map(|(_, work)| work.prompt).collect();
    assert_eq!(prompts.len(), 2);
    for part in ["- [ ] T001 [P] [US1] Test the list in `tests/a.rs` (FR-001)", "T001: finished", "Keys are lost."] {
        assert!(prompts[0].contains(part), "{part}\n{}", prompts[0]);
    }
}
