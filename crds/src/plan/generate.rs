//! Plans that agents write from an approved specification: the settings, the proposals and the choice.

use enact_domain::planning::{self, Component, Score};
use enact_domain::stamps::Stamps;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::Time;
use crate::document::Finding;
use crate::specification::DraftStatus;

/// Settings for agents that write the tasks.md.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.synthesizer) == (has(self.selection) && self.selection == 'Synthesis')").message("selection: Synthesis requires the field synthesizer, and no other selection has it"),
    validation = Rule::new("!has(self.synthesizer) || (self.agents.all(planner, planner.name != self.synthesizer.name) && (!has(self.judges) || self.judges.all(judge, judge.name != self.synthesizer.name)))").message("the synthesizer cannot be one of agents or judges: it would combine its own proposal, or what it prefers"),
)]
pub struct Generate {
    /// Planners: each writes a proposal, at the same time as the others.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(min = 1, max = 8))]
    pub agents: Vec<Planner>,
    /// What the planners should know in addition to the specification and the constitution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub guidance: Option<String>,
    /// Agents that compare the best three proposals when all planners have ended: each pair in both orders, without knowing who wrote them.
    /// Their verdicts give up to 200 more points. A planner cannot judge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 3))]
    pub judges: Vec<Planner>,
    /// What the judges should consider in addition to their rubric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub rubric: Option<String>,
    /// For `selection: Synthesis`: an agent that combines the best three proposals into one of its own when all planners and judges have ended.
    /// A planner or judge cannot do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthesizer: Option<Planner>,
    /// Timeout of one attempt of a planner, judge or synthesizer, in seconds. Default: 900.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_seconds: u32,
    /// Maximum number of attempts of each planner, of each comparison of a judge, and of the synthesizer. When what it wrote is not usable, the
    /// next attempt receives the reason. Default: 3.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// How one of the proposals is chosen. Default: `BestScore`.
    #[serde(default)]
    pub selection: ProposalSelection,
    /// Proposal that a person has chosen. `kubectl enact choose` writes it; it wins over the selection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<ChosenProposal>,
}

fn default_timeout() -> u32 {
    900
}

fn default_attempts() -> u32 {
    3
}

/// An agent that writes a proposal, compares proposals, or combines them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Planner {
    /// Name of the Agent, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How one of the proposals of planners is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ProposalSelection {
    /// The highest score decides, when all planners have ended; then the lowest number of tasks, then the name of the agent.
    #[default]
    BestScore,
    /// A person decides.
    Person,
    /// Where proposals decide differently, their planners vote with the proficiency that their Agents declare. The proposal with the most votes
    /// for its choices is chosen, and among equals the one with the highest score.
    Votes,
    /// The synthesizer combines the best three proposals. Its proposal is chosen if, without the points of judges, it has at least the score of
    /// the best one; else the best one is chosen.
    Synthesis,
}

/// A proposal that a person has chosen. The webhook writes author and date into the annotation `enact.dev/chosen`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChosenProposal {
    /// Name of the planner.
    #[schemars(length(min = 1, max = 253))]
    pub agent: String,
    /// Digest of the proposal. Another proposal of the same planner is not chosen.
    #[schemars(length(min = 1, max = 128))]
    pub digest: String,
}

impl ChosenProposal {
    /// Returns the values that identify the choice among its [stamps](enact_domain::stamps).
    pub fn entry(&self) -> [&str; 2] {
        [&self.agent, &self.digest]
    }

    /// Returns the user who made the choice, if the stamps say so.
    pub fn by<'a>(&self, stamps: &'a Stamps) -> Option<&'a str> {
        stamps.get(&self.entry()).map(|stamp| stamp.by.as_str())
    }
}

/// State of a planner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ProposalState {
    /// The planner works, or will try again.
    #[default]
    Planning,
    /// There is a proposal that can be chosen.
    Proposed,
    /// The planner has no usable proposal after its last attempt.
    Dropped,
}

/// A planner or synthesizer, and its proposal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Name of the planner, or of the synthesizer.
    pub agent: String,
    /// State of the planner.
    #[serde(default)]
    pub state: ProposalState,
    /// Digest of the specification, the guidance and the name of the planner; for a synthesizer also of what it combines. A change of it
    /// restarts the planner.
    pub inputs: String,
    /// Number of attempts that were started.
    #[serde(default)]
    pub attempts: u32,
    /// UID of the pod of the last attempt. The operator reads the result of no other pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Digest of the proposal, when a usable one exists. The record has its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Number of tasks of the proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u32>,
    /// Score of the proposal: the sum of the components, from 0 to 1000, and with judges to 1200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u32>,
    /// Components of the score.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ScoreComponent>,
    /// Votes for the choices of the proposal where proposals decide differently. They count with `selection: Votes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<u32>,
    /// Findings about the decisions of the proposal: those that contradict a decision in force in the namespace. They do not lower the score.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Reason why the last attempt produced no usable proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Earliest time of the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// Users who had changed the planner, or a ModelProvider of its models, last when an attempt started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 90))]
    pub authors: Vec<String>,
}

impl Proposal {
    /// Sets the score and its components.
    pub fn set_score(&mut self, score: &Score) {
        self.score = Some(score.total());
        self.components = score.components.iter().map(ScoreComponent::from).collect();
    }

    /// Returns the score without the points of judges.
    pub fn score_of_document(&self) -> u32 {
        let computed = self.components.iter().filter(|component| component.name != planning::JUDGES);
        computed.map(|component| component.points).sum()
    }

    /// Sets or removes the points of judges.
    pub fn set_judged(&mut self, judged: Option<&Component>) {
        self.components.retain(|component| component.name != planning::JUDGES);
        self.components.extend(judged.map(ScoreComponent::from));
        self.score = Some(self.components.iter().map(|component| component.points).sum());
    }
}

/// State of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum JudgementState {
    /// The judge works, or will try again.
    #[default]
    Judging,
    /// There is a verdict.
    Judged,
    /// The judge has no usable verdict after its last attempt. The comparison counts for nobody.
    Dropped,
}

/// Which proposal a judge prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Preference {
    /// The one that it read first.
    First,
    /// The one that it read second.
    Second,
    /// Neither.
    Tie,
}

impl From<planning::Preference> for Preference {
    fn from(preference: planning::Preference) -> Self {
        match preference {
            planning::Preference::First => Self::First,
            planning::Preference::Second => Self::Second,
            planning::Preference::Tie => Self::Tie,
        }
    }
}

impl From<Preference> for planning::Preference {
    fn from(preference: Preference) -> Self {
        match preference {
            Preference::First => Self::First,
            Preference::Second => Self::Second,
            Preference::Tie => Self::Tie,
        }
    }
}

/// A comparison of two proposals by a judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// Name of the judge.
    pub judge: String,
    /// Planner whose proposal the judge reads first.
    pub first: String,
    /// Planner whose proposal the judge reads second.
    pub second: String,
    /// State of the comparison.
    #[serde(default)]
    pub state: JudgementState,
    /// The proposal that the judge prefers. The record has its reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preference: Option<Preference>,
    /// State of the document with the verdict. Its `request` is the digest of judge, proposals, specification and rubric.
    #[serde(default)]
    pub verdict: DraftStatus,
}

/// A component of the score of a proposal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScoreComponent {
    /// Name of the component: `requirements`.
    pub name: String,
    /// Points of the proposal.
    pub points: u32,
    /// Highest number of points.
    pub max: u32,
    /// Explanation of the points.
    pub explanation: String,
}

impl ScoreComponent {
    /// Returns the component for people: `rules 50 of 50: 0 rules of severity SHOULD are violated`.
    pub fn describe(&self) -> String {
        let Self { name, points, max, explanation } = self;
        format!("{name} {points} of {max}: {explanation}")
    }
}

impl From<&Component> for ScoreComponent {
    fn from(component: &Component) -> Self {
        Self {
            name: component.name.to_owned(),
            points: component.points,
            max: component.max,
            explanation: component.explanation.clone(),
        }
    }
}

/// The proposal that is the tasks.md of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeneratedPlan {
    /// Name of the planner, or of the synthesizer.
    pub agent: String,
    /// Digest of the proposal.
    pub digest: String,
    /// User who chose it; none if no person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why it was chosen, if neither a person nor its score alone decided: the votes, or what became of the synthesis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Users who wrote the planner, the judges that compared the proposals, or ModelProviders of their models; for a synthesis also the
    /// planners whose proposals it combines, and after votes all planners. They are authors of the plan for `fourEyes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1710))]
    pub authors: Vec<String>,
}
