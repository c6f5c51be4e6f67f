//! The whole way from a sentence to a published branch, with the commands of the guide: draft, clarify, approve, plan, judge, approve, build.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::{Phase, PlanStatus, Proposal, ProposalState};
use enact_crds::{Plan, Specification};

use crate::documents::holds;
use crate::git::Git;
use crate::models::{CodingAgent, KEY, ModelServer, keys, provider};
use crate::own_time::PodClock;
use crate::people::Person;
use crate::{Stage, condition};

/// The manifests of the guide.
const SPECIFICATION: &str = include_str!("../../examples/from-a-sentence/20-specification.yaml");
const PLAN: &str = include_str!("../../examples/from-a-sentence/30-plan.yaml");
const SCENARIO: &str = include_str!("../../examples/model-server/scenarios/from-a-sentence.yaml");
/// The scenario, and the run of the model server that all agents use.
const SERVED: (&str, &str) = ("from-a-sentence", "all");
/// The instructions by which the scenario tells the planner `quick` from the other one.
const QUICK: &str = "  instructions: Plan as few tasks as possible.\n";
/// The name of the Specification and of the Plan.
const NAME: &str = "idea";
/// The tasks of the better plan, and its integration.
const DONE: [&str; 6] = ["T001", "T002", "T003", "T004", "T005", "integration"];
/// The timeout of each step in which agents work.
const PATIENCE: Duration = Duration::from_mins(15);

/// The coding agents that go the way.
#[derive(Clone, Copy, Debug)]
pub struct Team {
    /// Drafts the specification, and judges the plans.
    pub analyst: CodingAgent,
    /// Plans everything, and builds.
    pub thorough: CodingAgent,
    /// Plans too little, and builds.
    pub quick: CodingAgent,
}

/// The people, and the servers that the way needs.
struct Way<'a> {
    stage: &'a Stage,
    dana: Person,
    lee: Person,
    git: Git,
    server: ModelServer,
}

impl Stage {
    /// Goes the whole way as the people of a team do, and checks what they see at each step, the published branch and the bill.
    ///
    /// # Errors
    /// If a step does not succeed, or does not show what it should.
    pub async fn builds_from_a_sentence(&self, team: Team) -> Result<()> {
        let way = Way::prepare(self, team).await?;
        way.drafted().await?;
        way.clarified().await?;
        way.planned().await?;
        way.built().await
    }
}

impl<'a> Way<'a> {
    /// Starts the servers. The developer adds the agents; the platform adds the providers of their models.
    async fn prepare(stage: &'a Stage, Team { analyst, thorough, quick }: Team) -> Result<Self> {
        let dana = Person::of(stage, "dana", "developers").await?;
        let lee = Person::of(stage, "lee", "leads").await?;
        let git = Git::start(stage, &[("README.md", "A project")]).await?;
        let server = ModelServer::start(stage, &[SCENARIO]).await?;
        let url = server.url(SERVED.0, SERVED.1);
        let named = |agent: CodingAgent| agent.api.to_lowercase();
        let providers: BTreeMap<String, CodingAgent> =
            [analyst, thorough, quick].into_iter().map(|agent| (named(agent), agent)).collect();
        let providers = providers.iter().map(|(name, agent)| provider(name, agent.api, &url) + "---\n");
        stage.apply(&format!("{}---\n{}", keys(KEY), providers.collect::<String>())).await?;
        let agents = [("analyst", analyst, ""), ("thorough", thorough, ""), ("quick", quick, QUICK)];
        dana.applies(&agents.map(|(name, agent, more)| agent.agent(name, &named(agent), more)).concat()).await?;
        Ok(Self { stage, dana, lee, git, server })
    }

    /// Returns a manifest of the guide, for the stage.
    fn manifest(&self, example: &str) -> String {
        example
            .replace("namespace: shop\n", &format!("namespace: {}\n", self.stage.name))
            .replace("http://git-server.enact-demo:8080/shop.git", &self.git.url())
    }

    /// Runs the command line tool as the developer, and checks that its output has these words.
    fn shows(&self, args: &[&str], words: &[&str]) -> Result<()> {
        holds(&self.dana.enact(args)?.stdout, words).with_context(|| format!("`enact {}`", args.join(" ")))
    }

    async fn specification(&self, what: &str, holds: impl Fn(&Specification) -> bool) -> Result<Specification> {
        self.stage.watch(&self.stage.api::<Specification>(), NAME, what, PATIENCE, holds).await
    }

    /// A sentence becomes a specification with two open points.
    async fn drafted(&self) -> Result<()> {
        self.dana.applies(&self.manifest(SPECIFICATION)).await?;
        let asks = |s: &Specification| s.status.as_ref().is_some_and(|status| status.open_questions == 2);
        let drafted = self.specification("a draft with two open points", asks).await?.status.unwrap_or_default();
        let draft = drafted.draft.context("no draft")?;
        ensure!(draft.attempts == 1 && draft.digest.is_some(), "{draft:#?}");
        let words = ["# Feature Specification: Reading time", "[NEEDS CLARIFICATION: Which reading speed"];
        self.shows(&["show", "specification/idea"], &words)?;
        let asked = ["FR-001", "1. 200 words per minute", "2. 250 words per minute", "FR-002", "1. rounded up"];
        self.shows(&["clarify", NAME], &asked)
    }

    /// The developer answers, and the lead approves the document with the answers.
    async fn clarified(&self) -> Result<()> {
        let asked = self.stage.api::<Specification>().get(NAME).await?.status.unwrap_or_default().questions;
        let answers = asked.iter().map(|question| {
            let first = question.options.first().with_context(|| format!("no options: {question:#?}"))?;
            Ok(format!("{}={first}", question.id))
        });
        let answers = answers.collect::<Result<Vec<_>>>()?;
        ensure!(answers.len() == 2, "{asked:#?}");
        let said = self.dana.enact(&["clarify", NAME, "--answer", &answers[0], "--answer", &answers[1]])?;
        holds(&said.stdout, &["2 answers given"])?;
        let settled = |s: &Specification| s.status.as_ref().is_some_and(|status| status.open_questions == 0);
        self.specification("a specification without open points", settled).await?;
        let words = ["a reading speed of 200 words per minute.", "MUST be rounded up.", "## Clarifications"];
        self.shows(&["show", "specification/idea"], &words)?;
        self.lee.enact(&["approve", "specification/idea", "--yes"])?;
        self.stage.await_reason::<Specification>(NAME, "Approved").await?;
        self.shows(&["history", "specification/idea"], &["Clarification", "approved by lee"])
    }

    /// Two agents plan, a third one compares their plans in both orders, and the better one waits for its approval.
    async fn planned(&self) -> Result<()> {
        let clock = PodClock::start(self.stage);
        self.dana.applies(&self.manifest(PLAN)).await?;
        let waits = |plan: &Plan| {
            let conditions = plan.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            condition(conditions, "Ready").is_some_and(|ready| ready.reason == "WaitingForApproval")
        };
        let api = self.stage.api::<Plan>();
        let plan = self.stage.watch(&api, NAME, "a plan to approve", PATIENCE, waits).await?;
        println!("planning by two agents and a judge took {}", clock.stop());
        let status = plan.status.unwrap_or_default();
        judged(&status)?;
        let explained = [
            "JUDGES",
            "thorough against quick: prefers thorough",
            "quick against thorough: prefers thorough",
            "the proposal of Agent thorough was chosen by its score",
        ];
        self.shows(&["explain", "plan/idea"], &explained)?;
        self.shows(&["show", "plan/idea", "--proposal", "quick"], &["T001 [US1] Write the command"])?;
        self.shows(&["show", "plan/idea", "--judgement", "1"], &["Verdict: ", "tests before the code"])?;
        self.shows(
            &["decisions", NAME],
            &["in force", "What is a word?", "Characters between white space", "thorough"],
        )?;
        self.shows(&["status", NAME], &["Proposal of thorough", "5 tasks, chosen"])?;
        let events = "select event || ' ' || count(*) from enact.audit where event in ('Proposal', 'Judgement', 'ProposalChosen') \
                      group by event order by event";
        let recorded = self.stage.record(events)?;
        ensure!(recorded == ["Judgement 2", "Proposal 2", "ProposalChosen 1"], "{recorded:?}");
        self.lee.enact(&["approve", "plan/idea", "--yes"]).map(drop)
    }

    /// The agents build the plan, and its tests pass on the merged work, which is published.
    async fn built(&self) -> Result<()> {
        let plan = self.stage.finished(NAME, Phase::Succeeded, PATIENCE).await?;
        self.stage.done_once(&plan, &DONE)?;
        let files = self.git.git(&["ls-tree", "-r", "--name-only", "plan/idea"])?;
        let expected = [
            ".gitignore",
            "README.md",
            "readingtime/__init__.py",
            "readingtime/__main__.py",
            "readingtime/minutes.py",
            "tests/__init__.py",
            "tests/test_minutes.py",
            "tests/test_speed.py",
        ];
        ensure!(files.lines().eq(expected), "{files}");
        let approvals =
            "select subject_kind || ' by ' || actor from enact.approvals where approved order by subject_kind";
        let approvals = self.stage.record(approvals)?;
        ensure!(approvals == ["Plan by lee", "Specification by lee"], "{approvals:?}");
        self.shows(&["usage", "--by", "agent"], &["analyst", "thorough", "quick"])?;
        let bill = self.stage.whole_bill_equals(&self.server, SERVED.0, SERVED.1).await?;
        println!("from a sentence: the record equals what the model server served: {bill:?}");
        Ok(())
    }
}

/// Checks the scores of both proposals.
fn judged(status: &PlanStatus) -> Result<()> {
    let of = |agent: &str| {
        let proposal = status.proposals.iter().find(|proposal| proposal.agent == agent);
        proposal
            .filter(|proposal| proposal.state == ProposalState::Proposed)
            .with_context(|| format!("no {agent}: {status:#?}"))
    };
    let (thorough, quick) = (of("thorough")?, of("quick")?);
    let tasks = (thorough.tasks, quick.tasks);
    ensure!(tasks == (Some(5), Some(1)), "{tasks:?}");
    let points = |proposal: &Proposal| {
        let judges = proposal.components.iter().find(|component| component.name == "judges");
        judges.map(|component| component.points)
    };
    ensure!((points(thorough), points(quick)) == (Some(200), Some(0)), "{status:#?}");
    ensure!(thorough.score > quick.score, "{status:#?}");
    ensure!(status.generated.as_ref().is_some_and(|chosen| chosen.agent == "thorough"), "{:#?}", status.generated);
    Ok(())
}

#[cfg(test)]
mod tests {
    use enact_domain::drafting::{self, EffectiveConstitution};
    use enact_domain::planning;

    use super::*;

    /// The first line of a prompt tells the scenario which step it is for.
    #[test]
    fn the_scenario_knows_the_prompts() {
        let prompts = [
            drafting::prompt("A sentence.", EffectiveConstitution::default(), None),
            planning::prompt(&planning::PromptInput::default()),
            planning::judge_prompt(&planning::JudgeInput::default()),
        ];
        for prompt in prompts {
            let first = prompt.lines().next().unwrap_or_default();
            let known = SCENARIO.lines().filter_map(|line| line.trim().strip_prefix("when: {prompt: "));
            let mut known = known
                .filter_map(|line| line.split(['"', '\'']).nth(1))
                .map(|pattern| pattern.trim_start_matches("(?m)^").trim_end_matches('$').to_owned());
            assert!(known.any(|start| first.starts_with(&start)), "no rule of the scenario is for: {first}");
        }
    }
}
