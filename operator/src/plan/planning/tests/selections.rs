//! How a proposal is selected: what proposals decide differently, votes, and syntheses.

use super::*;

/// Returns a proposal with a decision about the storage. `more` comes after the reason.
fn with_storage(tasks: &str, choice: &str, more: &str) -> String {
    let decision = format!("### Where are keys stored?\n\n**Decision**: {choice}\n\n**Rationale**: It is known.\n\n");
    tasks.replacen("## Phase 1", &format!("## Decisions\n\n{decision}{more}## Phase 1"), 1)
}

#[tokio::test]
async fn conflicts_are_counted_when_all_planners_have_ended() {
    let mut bench = bench(&json!({}), &json!({})).await;
    let approval = json!({"required": 1});
    bench.api.change("plans/p", &json!({"metadata": {"generation": 2}, "spec": {"approval": approval}}));
    delivers(&mut bench, "a", 1, &with_storage(GOOD, "Postgres", "")).await;
    reconcile(&mut bench).await;
    assert_eq!(status(&bench)["conflicts"], Value::Null, "a planner still works");
    delivers(&mut bench, "b", 1, &with_storage(POOR, "Redis", "")).await;
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!((&status["conflicts"], reason(&bench).as_str()), (&json!(1), "WaitingForApproval"), "{status}");
    let votes: Vec<_> = (0..2).map(|index| status["proposals"][index]["votes"].clone()).collect();
    assert_eq!(votes, [json!(1), json!(1)], "they declare no capabilities");
}

#[tokio::test]
async fn planners_vote_with_the_proficiency_of_their_agents() {
    let mut bench = bench(&json!({"selection": "Votes"}), &json!({})).await;
    let declares = |proficiency: u8| {
        let capabilities = json!([{"name": "rust", "proficiency": proficiency}]);
        json!({"adapter": "Command", "script": "true", "capabilities": capabilities})
    };
    bench.agent_by("eve", "a", declares(30));
    bench.agent_by("may", "b", declares(80));
    delivers(&mut bench, "a", 1, &with_storage(GOOD, "Postgres", "")).await;
    delivers(&mut bench, "b", 1, &with_storage(POOR, "Redis", "")).await;
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!((&status["phase"], &status["generated"]["agent"]), (&json!("Running"), &json!("b")), "{status}");
    let votes: Vec<_> = (0..2).map(|index| status["proposals"][index]["votes"].clone()).collect();
    assert_eq!(votes, [json!(30), json!(80)], "{status}");
    let message = status["generated"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("80 weighted votes") && message.contains("that of a has 30"), "{message}");
}

/// Starts the synthesizer `merger` after proposals with one conflict, and returns the bench with its work.
async fn merging(more: &Value) -> (Bench, String, DraftWork) {
    let mut fields = json!({"selection": "Synthesis", "synthesizer": {"name": "merger"}, "maxAttempts": 2});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut bench = bench(&fields, &json!({})).await;
    bench.agent_with("merger", json!({"adapter": "Command", "script": "true"}));
    delivers(&mut bench, "a", 1, &with_storage(GOOD, "Postgres", "")).await;
    delivers(&mut bench, "b", 1, &with_storage(POOR, "Redis", "")).await;
    reconcile(&mut bench).await;
    assert_eq!(reason(&bench), "Synthesizing", "{}", status(&bench));
    let mut found = work(&bench);
    assert_eq!(found.len(), 1, "{}", status(&bench));
    let (pod, work) = found.remove(0);
    (bench, pod, work)
}

#[tokio::test]
async fn a_synthesis_that_is_as_good_as_the_best_proposal_is_chosen() {
    let (mut bench, pod, started) = merging(&json!({})).await;
    assert_eq!(started.agent, "merger");
    for part in [
        "A key MUST expire",
        "## The plan of a: ",
        "## The plan of b: ",
        "- a: Postgres",
        "- b: Redis",
        "requirements 400 of",
    ] {
        assert!(started.prompt.contains(part), "{part}: {}", started.prompt);
    }
    // A source that is not a proposal goes back to the agent.
    end(&mut bench, &pod, &with_storage(GOOD, "Postgres", "**Taken from**: c\n\n")).await;
    reconcile(&mut bench).await;
    bench.pass(12);
    reconcile(&mut bench).await;
    let (pod, second) = work(&bench).into_iter().find(|(_, work)| work.attempt == 2).unwrap();
    assert!(second.prompt.contains("taken from \"c\""), "{}", second.prompt);
    end(&mut bench, &pod, &with_storage(GOOD, "Postgres", "**Taken from**: a\n\n")).await;
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!((&status["phase"], &status["generated"]["agent"]), (&json!("Running"), &json!("merger")), "{status}");
    let synthesis = &status["proposals"][2];
    assert_eq!((&synthesis["agent"], &synthesis["state"]), (&json!("merger"), &json!("Proposed")), "{status}");
    assert_eq!(synthesis["score"], status["proposals"][0]["score"], "{status}");
    assert!(status["generated"]["message"].as_str().unwrap().contains("combines"), "{status}");
    let records = bench.record_store.summaries().join("\n");
    assert!(records.contains("p: proposal of merger ") && records.contains("p: merger chosen by"), "{records}");
}

#[tokio::test]
async fn the_best_proposal_is_chosen_if_the_synthesis_is_worse() {
    let (mut bench, pod, _) = merging(&json!({})).await;
    end(&mut bench, &pod, &with_storage(POOR, "Redis", "**Taken from**: b\n\n")).await;
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!((&status["phase"], &status["generated"]["agent"]), (&json!("Running"), &json!("a")), "{status}");
    assert!(status["generated"]["message"].as_str().unwrap().contains("has only"), "{status}");
    assert_eq!(status["proposals"][2]["state"], "Proposed", "it is kept");
}

#[tokio::test]
async fn the_best_proposal_is_chosen_if_there_is_no_usable_synthesis() {
    let (mut bench, pod, _) = merging(&json!({"maxAttempts": 1})).await;
    end(&mut bench, &pod, GOOD).await;
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!((&status["phase"], &status["generated"]["agent"]), (&json!("Running"), &json!("a")), "{status}");
    assert_eq!(status["proposals"][2]["state"], "Dropped", "{status}");
    let message = status["generated"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("Agent merger has no usable synthesis") && message.contains("## Decisions"), "{message}");
}

#[tokio::test]
async fn a_single_proposal_is_not_combined() {
    let fields = json!({"selection": "Synthesis", "synthesizer": {"name": "merger"}, "maxAttempts": 1});
    let mut bench = bench(&fields, &json!({})).await;
    delivers(&mut bench, "a", 1, GOOD).await;
    delivers(&mut bench, "b", 1, "I thought about it.\n").await;
    reconcile(&mut bench).await;
    let status = status(&bench);
    assert_eq!((&status["phase"], &status["generated"]["agent"]), (&json!("Running"), &json!("a")), "{status}");
    assert!(status["generated"]["message"].as_str().unwrap().contains("no other proposal"), "{status}");
}

#[tokio::test]
async fn the_synthesizer_reads_what_became_of_the_replaced_plan() {
    let mut bench = replacing(&json!({"selection": "Synthesis", "synthesizer": {"name": "merger"}})).await;
    bench.agent_with("merger", json!({"adapter": "Command", "script": "true"}));
    delivers(&mut bench, "a", 1, GOOD).await;
    delivers(&mut bench, "b", 1, POOR).await;
    for _ in 0..3 {
        bench.plan("q").await.unwrap();
    }
    let (_, started) = work(&bench).into_iter().find(|(_, work)| work.agent == "merger").unwrap();
    for part in ["T001: finished", "Keys are lost."] {
        assert!(started.prompt.contains(part), "{part}: {}", started.prompt);
    }
}

#[tokio::test]
async fn the_synthesizer_reads_what_judges_say() {
    let fields = json!({
        "selection": "Synthesis", "synthesizer": {"name": "merger"}, "maxAttempts": 1, "judges": [{"name": "scripts"}],
    });
    let mut bench = bench(&fields, &json!({})).await;
    bench.agent_with("merger", json!({"adapter": "Command", "script": "true"}));
    delivers(&mut bench, "a", 1, GOOD).await;
    delivers(&mut bench, "b", 1, POOR).await;
    reconcile(&mut bench).await;
    for (pod, _) in work(&bench) {
        end(&mut bench, &pod, "Verdict: tie\n\nBoth have gaps.").await;
    }
    reconcile(&mut bench).await;
    let found = work(&bench);
    assert_eq!((found.len(), reason(&bench).as_str()), (1, "Synthesizing"), "{}", status(&bench));
    let (_, started) = &found[0];
    for part in ["judge scripts says of a (A) and b (B)", "judge scripts says of b (A) and a (B)", "Both have gaps."] {
        assert!(started.prompt.contains(part), "{part}: {}", started.prompt);
    }
}

#[test]
fn authors_are_all_on_whom_the_choice_depends() {
    let by = |agent: &str, score: u32, author: &str| Proposal {
        authors: vec![author.to_owned()],
        ..proposal(agent, ProposalState::Proposed, score)
    };
    let all = [by("a", 600, "eve"), by("b", 700, "may"), by("merger", 800, "jil")];
    let of = |more: &Value, agent: &str, person: Option<&str>| {
        let Choice::Made(made) = made(agent, person) else { panic!("not made") };
        authors(&generate(more), &made, &all, &[])
    };
    let synthesis = json!({"selection": "Synthesis", "synthesizer": {"name": "merger"}});
    assert_eq!(of(&json!({}), "b", None), ["may"]);
    assert_eq!(of(&synthesis, "b", None), ["may"]);
    assert_eq!(of(&synthesis, "merger", None), ["eve", "jil", "may"]);
    assert_eq!(of(&json!({"selection": "Votes"}), "b", Some("dana")), ["may"]);
    assert_eq!(of(&json!({"selection": "Votes"}), "b", None), ["eve", "jil", "may"]);
}

#[test]
fn votes_decide_before_the_score_and_ties_do_not() {
    let voted = |agent: &str, score: u32, votes: u32| Proposal {
        votes: Some(votes),
        ..proposal(agent, ProposalState::Proposed, score)
    };
    let by_votes = generate(&json!({"selection": "Votes"}));
    let chosen = |all: &[Proposal]| match choose("cart", &by_votes, &Stamps::default(), all, true) {
        Choice::Made(made) => (made.agent, made.message),
        other => panic!("{other:?}"),
    };
    let (agent, message) = chosen(&[voted("a", 900, 10), voted("b", 600, 20)]);
    let message = message.unwrap_or_default();
    assert!(agent == "b" && message.contains("20 weighted votes"), "{message}");
    assert_eq!(chosen(&[voted("a", 900, 0), voted("b", 600, 0)]), ("a".to_owned(), None), "there is no conflict");
}
