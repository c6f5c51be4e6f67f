//! Planning: agents write proposals from an approved specification, and one of them becomes the tasks of the plan.

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::{Phase, PlanStatus, Proposal, ProposalState};
use enact_crds::{Agent, Plan, Specification};
use enact_e2e::documents::{holds, inline, manifest};
use enact_e2e::git::Git;
use enact_e2e::own_time::PodClock;
use enact_e2e::people::Person;
use enact_e2e::{PATIENCE, Stage, on_stage};
use serde_json::{Value, json};

use super::texts::KEYS;

/// A proposal that covers everything.
const THOROUGH: &str = "\
# Tasks: Keys

## Decisions

### Where are keys stored?

**Decision**: In a file

**Rationale**: There are few of them.

**Alternatives considered**: Postgres

## Phase 1: User Story 1 - Lend a key

- [ ] T001 [P] [US1] Test that the list shows who has a key in `tests/list.rs` (FR-001)
- [ ] T002 [P] [US1] Show every key with the person who has it in `src/list.rs` (FR-001)
- [ ] T003 [P] [US1] Mark a key as overdue after 30 days in `src/overdue.rs` (FR-002)

## Phase 2: Polish

- [ ] T004 Measure that lending a key takes less than 20 seconds in `benches/lend.rs` (SC-001)
";

/// A proposal that leaves most of the specification out.
const HASTY: &str = "\
# Tasks: Keys

## Phase 1: Setup

- [ ] T001 Show every key in `src/list.rs` (FR-001)
";

/// Returns the manifest of an Agent that runs this script.
fn agent(name: &str, script: &str) -> String {
    let resources = json!({"cpu": "10m", "memory": "64Mi", "ephemeralStorage": "64Mi"});
    manifest("Agent", name, &json!({"adapter": "Command", "resources": resources, "script": script}))
}

/// Returns a script that delivers a document.
fn delivers(document: &str) -> String {
    format!("cat > \"$ENACT_DOCUMENT_FILE\" <<'END'\n{document}END\n")
}

/// Returns a script that ends with a failure unless the prompt has this text.
fn unless_asked(text: &str) -> String {
    format!("case \"$(cat \"$ENACT_PROMPT_FILE\")\" in *'{text}'*) ;; *) echo 'no {text}'; exit 1 ;; esac\n")
}

/// Creates an Agent that does the tasks, and the planners `thorough` and `hasty`.
async fn planners(stage: &Stage) -> Result<()> {
    let thorough = unless_asked("A lent key MUST be overdue after 30 days") + &delivers(THOROUGH);
    // It learns from the diagnostics.
    let hasty = format!(
        "if test \"$ENACT_ATTEMPT\" = 1; then echo 'I thought about it.' > \"$ENACT_DOCUMENT_FILE\"; exit; fi\n{}{}{}",
        unless_asked("the document has 0 tasks"),
        unless_asked("I thought about it."),
        delivers(HASTY)
    );
    let agents = [agent("worker", "echo done"), agent("thorough", &thorough), agent("hasty", &hasty)];
    stage.apply(&agents.concat()).await
}

fn proposal<'a>(status: &'a PlanStatus, agent: &str) -> Result<&'a Proposal> {
    status.proposals.iter().find(|proposal| proposal.agent == agent).with_context(|| format!("no {agent}: {status:#?}"))
}

/// Returns the actors and planners of an event of the record.
fn recorded(stage: &Stage, event: &str) -> Result<Vec<String>> {
    let query = "select actor || ' ' || (details ->> 'agent') from enact.audit where event =";
    stage.record(&format!("{query} '{event}' order by details ->> 'agent'"))
}

#[test]
fn the_best_proposal_is_approved_and_built() {
    on_stage("planned", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        planners(&stage).await?;
        let garbage = delivers("# Tasks: Keys\n\n## Phase 1: Setup\n\n- [x] T001 All of FR-001 and FR-099\n");
        stage.apply(&agent("garbage", &garbage)).await?;
        let policy = json!({"approval": {"required": 1, "groups": ["leads"], "fourEyes": true}});
        dana.applies(&inline("Specification", "keys", KEYS, &policy)).await?;
        stage.await_reason::<Specification>("keys", "WaitingForApproval").await?;

        let options = ["--agents", "thorough,hasty,garbage", "--agent", "worker", "--attempts", "2"];
        let created = dana.enact(&[&["plan", "keys", "--approve-groups", "leads"][..], &options[..]].concat())?.stdout;
        holds(&created, &["Plan keys is created", "thorough, hasty, garbage"])?;
        let waits = stage.await_reason::<Plan>("keys", "WaitingForSpecification").await?;
        let proposals = waits.status.unwrap_or_default().proposals;
        ensure!(proposals.is_empty(), "nobody plans what is not approved: {proposals:#?}");
        lee.enact(&["approve", "specification/keys", "--yes"])?;

        let proposed = stage.await_reason::<Plan>("keys", "WaitingForApproval").await?;
        let status = proposed.status.clone().unwrap_or_default();
        let (thorough, hasty, garbage) =
            (proposal(&status, "thorough")?, proposal(&status, "hasty")?, proposal(&status, "garbage")?);
        ensure!(thorough.state == ProposalState::Proposed && thorough.tasks == Some(4), "{thorough:#?}");
        ensure!(hasty.state == ProposalState::Proposed && hasty.attempts == 2, "{hasty:#?}");
        ensure!(thorough.score > hasty.score, "{thorough:#?} {hasty:#?}");
        ensure!(garbage.state == ProposalState::Dropped && garbage.attempts == 2, "{garbage:#?}");
        holds(garbage.problem.as_deref().unwrap_or_default(), &["T001", "not open"])?;
        let sum: u32 = thorough.components.iter().map(|component| component.points).sum();
        ensure!(thorough.score == Some(sum), "the score is the sum of what is shown: {thorough:#?}");
        let generated = status.generated.clone().context("no proposal is chosen")?;
        ensure!(generated.agent == "thorough" && generated.by.is_none(), "{generated:#?}");
        ensure!(status.coverage.as_ref().is_some_and(|coverage| coverage.covered == 2), "{:#?}", status.coverage);

        let explained = dana.enact(&["explain", "plan/keys"])?.stdout;
        holds(
            &explained,
            &["REQUIREMENTS", "thorough", "tasks cover 2 of 2 requirements", "dropped after 2 attempts"],
        )?;
        holds(&dana.enact(&["status", "keys"])?.stdout, &["Proposal of thorough", "4 tasks, chosen"])?;
        let decided = dana.enact(&["decisions", "keys"])?.stdout;
        holds(&decided, &["in force", "Where are keys stored?", "In a file", "thorough", "selection"])?;
        let shown = dana.enact(&["show", "plan/keys", "--proposal", "hasty"])?.stdout;
        ensure!(shown == HASTY, "the losing proposal is kept: {shown}");
        let refused = dana.enact_error(&["show", "plan/keys", "--proposal", "garbage"])?;
        holds(&refused, &["no proposal", "not open"])?;

        lee.enact(&["approve", "plan/keys", "--yes"])?;
        let done = stage.finished("keys", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        ensure!(done.approved_digest == status.digest && done.generated == status.generated, "{done:#?}");
        ensure!(done.tasks.succeeded == 4, "{:#?}", done.tasks);
        stage.task("keys", "T004").await?;
        let proposals = recorded(&stage, "Proposal")?;
        ensure!(proposals == ["system:enact hasty", "system:enact thorough"], "{proposals:?}");
        let chosen = recorded(&stage, "ProposalChosen")?;
        ensure!(chosen == ["system:enact thorough"], "{chosen:?}");
        Ok(())
    });
}

#[test]
fn a_person_chooses_a_proposal() {
    on_stage("planned-person", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let lee = Person::of(&stage, "lee", "leads").await?;
        planners(&stage).await?;
        dana.applies(&inline("Specification", "keys", KEYS, &json!({}))).await?;
        stage.await_reason::<Specification>("keys", "Approved").await?;
        dana.enact(&["plan", "keys", "--agents", "thorough,hasty", "--agent", "worker", "--select", "person"])?;
        let words = ["kubectl enact choose keys --agent thorough", "explain plan/keys"];
        stage.await_message::<Plan>("keys", "WaitingForChoice", &words).await?;

        holds(&lee.enact_error(&["choose", "keys", "--agent", "worker", "--yes"])?, &["not a planner"])?;
        let forged = json!({"spec": {"generate": {"chosen": {"agent": "hasty", "digest": "sha256:0"}}}});
        let refused = lee.kubectl(&["patch", "plan", "keys", "--type=merge", "--patch", &forged.to_string()]);
        let refused = refused.err().context("a proposal that does not exist is chosen")?;
        holds(&format!("{refused:#}"), &["spec.generate.chosen", "no proposal"])?;
        lee.enact(&["choose", "keys", "--agent", "hasty", "--yes"])?;

        let done = stage.finished("keys", Phase::Succeeded, PATIENCE).await?;
        let status = done.status.unwrap_or_default();
        let generated = status.generated.clone().context("no proposal is chosen")?;
        ensure!(generated.agent == "hasty" && generated.by.as_deref() == Some("lee"), "{generated:#?}");
        ensure!(status.tasks.succeeded == 1, "{:#?}", status.tasks);
        holds(&dana.enact(&["explain", "plan/keys"])?.stdout, &["Agent hasty was chosen by lee"])?;
        holds(&lee.enact_error(&["choose", "keys", "--agent", "thorough", "--yes"])?, &["has started"])?;
        let chosen = recorded(&stage, "ProposalChosen")?;
        ensure!(chosen == ["lee hasty"], "{chosen:?}");
        Ok(())
    });
}

#[test]
fn a_judge_decides_between_proposals() {
    on_stage("planned-judged", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        planners(&stage).await?;
        // It prefers the plan with fewer tasks, in whatever order it reads them.
        let reads = "a=$(sed -n '/^## Plan A/,/^## Plan B/p' \"$ENACT_PROMPT_FILE\" | grep -c -F -- '- [ ]')\n\
                     b=$(sed -n '/^## Plan B/,/^## The rubric/p' \"$ENACT_PROMPT_FILE\" | grep -c -F -- '- [ ]')\n\
                     if test \"$a\" -lt \"$b\"; then v=A; else v=B; fi\n\
                     printf 'Verdict: %s\\n\\nIt has fewer tasks.\\n' \"$v\" > \"$ENACT_DOCUMENT_FILE\"\n";
        stage.apply(&agent("judge", reads)).await?;
        dana.applies(&inline("Specification", "keys", KEYS, &json!({}))).await?;
        stage.await_reason::<Specification>("keys", "Approved").await?;
        let options = ["--agents", "thorough,hasty", "--judges", "judge", "--agent", "worker"];
        dana.enact(&[&["plan", "keys"][..], &options[..]].concat())?;
        let done = stage.finished("keys", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        let points = |agent: &str| -> Result<u32> {
            let components = &proposal(&done, agent)?.components;
            let judged = components.iter().find(|component| component.name == "judges");
            Ok(judged.with_context(|| format!("no judge compared {agent}: {done:#?}"))?.points)
        };
        ensure!(points("hasty")? == 200 && points("thorough")? == 0, "{done:#?}");
        holds(
            &dana.enact(&["explain", "plan/keys"])?.stdout,
            &["JUDGES", "thorough against hasty: prefers hasty", "hasty against thorough: prefers hasty"],
        )?;
        holds(&dana.enact(&["show", "plan/keys", "--judgement", "1"])?.stdout, &["It has fewer tasks."])?;
        let recorded =
            stage.record("select details ->> 'preference' from enact.audit where event = 'Judgement' order by 1")?;
        ensure!(recorded == ["First", "Second"], "{recorded:?}");
        Ok(())
    });
}

/// The aim is at most one second of Enact's own time. It is not checked, because the machine of the tests is busy.
#[test]
fn the_own_time_of_planning_is_printed() {
    on_stage("planned-time", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let numbers = || 1..=50;
        let requirements: String =
            numbers().map(|n| format!("- **FR-{n:03}**: The list MUST show the key of room {n}.\n")).collect();
        let (before, _) = KEYS.split_once("- **FR-001**").context("no first requirement")?;
        let (_, after) = KEYS.split_once("\n\n## Success Criteria").context("no criteria")?;
        let text = format!("{before}{requirements}\n## Success Criteria{after}");
        let tasks: String = numbers()
            .map(|n| format!("- [ ] T{n:03} [P] [US1] Show the key of room {n} in `src/room{n}.rs` (FR-{n:03})\n"))
            .collect();
        let script = delivers(&format!("# Tasks: Keys\n\n## Phase 1: User Story 1 - Lend a key\n\n{tasks}"));
        stage.apply(&(agent("one", &script) + &agent("two", &script))).await?;
        dana.applies(&inline("Specification", "keys", &text, &json!({}))).await?;
        stage.await_reason::<Specification>("keys", "Approved").await?;
        let clock = PodClock::start(&stage);
        dana.enact(&["plan", "keys", "--agents", "one,two", "--approve-groups", "leads"])?;
        let status = stage.await_reason::<Plan>("keys", "WaitingForApproval").await?.status.unwrap_or_default();
        println!("planning of 50 requirements by two planners took {}", clock.stop());
        ensure!(status.generated.is_some() && proposal(&status, "two")?.tasks == Some(50), "{status:#?}");
        Ok(())
    });
}

#[test]
fn a_synthesizer_combines_proposals() {
    on_stage("planned-merged", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let decision = "## Decisions\n\n### Where do we store the keys?\n\n**Decision**: Postgres\n\n\
                        **Rationale**: There are few keys.\n\n## Phase 1";
        let hasty = HASTY.replacen("## Phase 1", decision, 1);
        // It cites a planner that there is not, and learns from the diagnostics.
        let script = format!(
            "{}{}{}if test \"$ENACT_ATTEMPT\" = 1; then\n{}exit\nfi\n{}{}",
            unless_asked("## The plan of thorough"),
            unless_asked("- hasty: Postgres, because: There are few keys."),
            unless_asked("- thorough: In a file, because: There are few of them."),
            delivers(&THOROUGH.replacen("**Alternatives", "**Taken from**: nobody\n\n**Alternatives", 1)),
            unless_asked("which is not one of the plans"),
            delivers(&THOROUGH.replacen("**Alternatives", "**Taken from**: thorough\n\n**Alternatives", 1)),
        );
        let agents = [
            agent("worker", "echo done"),
            agent("thorough", &delivers(THOROUGH)),
            agent("hasty", &delivers(&hasty)),
            agent("merger", &script),
        ];
        stage.apply(&agents.concat()).await?;
        dana.applies(&inline("Specification", "keys", KEYS, &json!({}))).await?;
        stage.await_reason::<Specification>("keys", "Approved").await?;
        let options = ["--agents", "thorough,hasty", "--agent", "worker"];
        let merging = ["--select", "synthesis", "--synthesizer", "merger"];
        let refused = dana.enact_error(&[&["plan", "keys"][..], &options[..], &merging[2..]].concat())?;
        holds(&refused, &["selection: Synthesis"])?;
        dana.enact(&[&["plan", "keys"][..], &options[..], &merging[..]].concat())?;
        let done = stage.finished("keys", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        let generated = done.generated.clone().context("no proposal is chosen")?;
        ensure!(generated.agent == "merger" && generated.by.is_none(), "{generated:#?}");
        let (merger, best) = (proposal(&done, "merger")?, proposal(&done, "thorough")?);
        ensure!(merger.attempts == 2 && merger.score == best.score, "{merger:#?}");
        ensure!(done.conflicts == Some(1) && done.tasks.succeeded == 4, "{done:#?}");
        let explained = dana.enact(&["explain", "plan/keys"])?.stdout;
        let parts = ["decided differently:", "Postgres", "In a file", "TAKEN FROM", "it combines the best proposals"];
        holds(&explained, &parts)?;
        let json: Value = serde_json::from_str(&dana.enact(&["explain", "plan/keys", "-o", "json"])?.stdout)?;
        ensure!(json["synthesis"][0]["takenFrom"] == json!(["thorough"]), "{json:#}");
        ensure!(json["conflicts"][0]["positions"].as_array().map(Vec::len) == Some(2), "{json:#}");
        let shown = dana.enact(&["show", "plan/keys", "--proposal", "hasty"])?.stdout;
        ensure!(shown == hasty, "the losing proposal is kept: {shown}");
        ensure!(recorded(&stage, "ProposalChosen")? == ["system:enact merger"], "{done:#?}");
        Ok(())
    });
}

#[test]
fn planners_vote_on_what_they_decide_differently() {
    on_stage("planned-voted", |stage| async move {
        let expert = |proficiency: u8, document: &str| {
            let resources = json!({"cpu": "10m", "memory": "64Mi", "ephemeralStorage": "64Mi"});
            let capabilities = json!([{"name": "rust", "proficiency": proficiency}]);
            json!({
                "adapter": "Command", "resources": resources, "script": delivers(document), "capabilities": capabilities,
            })
        };
        let decision = "## Decisions\n\n### Where are the keys stored?\n\n**Decision**: Postgres\n\n## Phase 1";
        let hasty = HASTY.replacen("## Phase 1", decision, 1);
        let agents =
            manifest("Agent", "thorough", &expert(20, THOROUGH)) + &manifest("Agent", "hasty", &expert(90, &hasty));
        stage.apply(&(agents + &agent("worker", "echo done"))).await?;
        stage.apply(&inline("Specification", "keys", KEYS, &json!({}))).await?;
        stage.await_reason::<Specification>("keys", "Approved").await?;
        stage.enact(&["plan", "keys", "--agents", "thorough,hasty", "--agent", "worker", "--select", "votes"])?;
        let done = stage.finished("keys", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        ensure!(done.generated.as_ref().is_some_and(|generated| generated.agent == "hasty"), "{done:#?}");
        let (thorough, hasty) = (proposal(&done, "thorough")?, proposal(&done, "hasty")?);
        ensure!(thorough.votes == Some(20) && hasty.votes == Some(90) && thorough.score > hasty.score, "{done:#?}");
        let explained = stage.enact(&["explain", "plan/keys"])?;
        ensure!(explained.contains("weighted votes: thorough 20, hasty 90"), "{explained}");
        Ok(())
    });
}

#[test]
fn planners_read_the_repository_without_its_credential() {
    on_stage("planned-repository", |stage| async move {
        let git = Git::start_private(&stage, &[("README.md", "The keys of a house")]).await?;
        // A planner that cannot read the file, or that finds the credential, has no proposal.
        let reads = "grep -q 'keys of a house' README.md && ! ls /var/run/enact/git || exit 1\n".to_owned();
        stage.apply(&(agent("worker", "echo done") + &agent("reader", &(reads + &delivers(HASTY))))).await?;
        stage.apply(&inline("Specification", "keys", KEYS, &json!({}))).await?;
        let secret = |name: &str| json!({"credentialsSecretRef": {"name": name}});
        let mut workspace = secret("git-agent");
        workspace["url"] = git.url().into();
        workspace["integration"] = secret("git-integrator");
        let generate = json!({"agents": [{"name": "reader"}], "maxAttempts": 1});
        let (specification, worker) = (json!({"name": "keys"}), json!({"name": "worker"}));
        let spec = json!({
            "specificationRef": specification, "agentRef": worker, "generate": generate, "workspace": workspace,
        });
        stage.apply(&manifest("Plan", "keys", &spec)).await?;
        let done = stage.finished("keys", Phase::Succeeded, PATIENCE).await?.status.unwrap_or_default();
        ensure!(proposal(&done, "reader")?.attempts == 1, "{done:#?}");
        Ok(())
    });
}

#[test]
fn a_plan_without_a_usable_proposal_says_why() {
    on_stage("planned-badly", |stage| async move {
        stage.apply(&agent("worker", "echo done")).await?;
        stage.apply(&agent("garbage", &delivers("I thought about it.\n"))).await?;
        stage.apply(&inline("Specification", "keys", KEYS, &json!({}))).await?;
        let generate = json!({"agents": [{"name": "garbage"}], "maxAttempts": 1});
        let spec = json!({"specificationRef": {"name": "keys"}, "agentRef": {"name": "worker"}, "generate": generate});
        stage.apply(&manifest("Plan", "keys", &spec)).await?;
        let words = ["Agent garbage: the document has 0 tasks", "spec.generate.maxAttempts"];
        stage.await_message::<Plan>("keys", "PlanningFailed", &words).await?;
        // Another guidance starts the planner again.
        stage.apply(&agent("garbage", &(unless_asked("Plan it.") + &delivers(HASTY)))).await?;
        stage.await_reason::<Agent>("garbage", "Valid").await?;
        stage.change_plan("keys", json!({"generate": {"guidance": "Plan it."}})).await?;
        stage.finished("keys", Phase::Succeeded, PATIENCE).await.map(drop)
    });
}
