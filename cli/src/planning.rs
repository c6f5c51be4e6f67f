//! `plan`, `choose` and the proposals of planners.

mod differences;

use anyhow::{Context as _, Result, bail};
use enact_crds::Plan;
use enact_crds::document::Finding;
use enact_crds::plan::{GeneratedPlan, Judgement, JudgementState, Preference, Proposal, ProposalState};
use enact_domain::digest::Digest;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Map, Value, json};

use crate::args::{Choose, ExplainOutput, Git, NewPlan, Selection};
use crate::cluster::{Cluster, api_error};
use crate::record::Record;
use crate::replan;
use crate::terminal;
use crate::text::{aligned, one_line, safe};
use differences::Differences;

/// Cell of a value that does not exist.
const NOTHING: &str = "-";

/// Creates a Plan whose tasks agents write.
pub async fn create(cluster: &Cluster, options: &NewPlan) -> Result<()> {
    let plan: Plan = serde_json::from_value(manifest(options))?;
    cluster.api::<Plan>().create(&PostParams::default(), &plan).await.map_err(api_error)?;
    let name = &options.name;
    terminal::print_line(&format!(
        "Plan {name} is created; its planners ({}) start when Specification {} is approved, and `kubectl enact status {name}` shows them",
        options.agents.join(", "),
        options.spec.as_ref().unwrap_or(name),
    ))
}

/// Returns the manifest of the Plan, with the fields that the options set.
fn manifest(options: &NewPlan) -> Value {
    let named = |names: &[String]| names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>();
    let mut generate = json!({
        "agents": named(&options.agents),
        "maxAttempts": options.attempts,
        "selection": match options.select {
            Selection::BestScore => "BestScore",
            Selection::Person => "Person",
            Selection::Votes => "Votes",
            Selection::Synthesis => "Synthesis",
        },
    });
    if let Some(synthesizer) = &options.synthesizer {
        generate["synthesizer"] = json!({ "name": synthesizer });
    }
    if !options.judges.is_empty() {
        generate["judges"] = json!(named(&options.judges));
    }
    if let Some(guidance) = &options.guidance {
        generate["guidance"] = json!(guidance);
    }
    let specification = options.spec.as_ref().unwrap_or(&options.name);
    let mut spec = json!({ "specificationRef": { "name": specification }, "generate": generate });
    match &options.agent {
        Some(agent) => spec["agentRef"] = json!({ "name": agent }),
        None => spec["agents"] = json!(named(&options.agents)),
    }
    if !options.approve_groups.is_empty() {
        spec["approval"] = json!({ "required": 1, "groups": options.approve_groups, "fourEyes": true });
    }
    if let Some(url) = &options.git.url {
        spec["workspace"] = workspace(url, &options.git);
    }
    json!({ "apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "metadata": { "name": options.name }, "spec": spec })
}

fn workspace(url: &str, git: &Git) -> Value {
    let secret = |name: &String| json!({ "name": name });
    let some = |fields: [(&str, Option<Value>); 2]| {
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        fields.collect::<Map<_, _>>()
    };
    let mut workspace = some([
        ("revision", git.revision.as_ref().map(|revision| json!(revision))),
        ("credentialsSecretRef", git.credentials_secret.as_ref().map(secret)),
    ]);
    let integration = some([
        ("branch", git.integration_branch.as_ref().map(|branch| json!(branch))),
        ("credentialsSecretRef", git.integration_secret.as_ref().map(secret)),
    ]);
    workspace.insert("url".to_owned(), json!(url));
    workspace.insert("integration".to_owned(), Value::Object(integration));
    Value::Object(workspace)
}

/// Chooses the proposal that becomes the tasks of a plan.
pub async fn choose(cluster: &Cluster, options: &Choose) -> Result<()> {
    let name = &options.plan;
    let plan: Plan = cluster.get(name).await?;
    if plan.status.as_ref().is_some_and(|status| status.started_at.is_some()) {
        bail!("Plan {name} has started with its tasks; create another Plan for another proposal");
    }
    let proposal = proposal_of(&plan, &options.agent)?;
    let digest = proposal.digest.as_deref().unwrap_or_default();
    let question = format!(
        "Choose the proposal {} of Agent {} for Plan {name} ({})?",
        Digest::from(digest.to_owned()).short(),
        one_line(&proposal.agent),
        summary(proposal)
    );
    for finding in &proposal.findings {
        terminal::print_line(&finding_line(finding))?;
    }
    if !options.yes && !terminal::confirm(&question)? {
        bail!("the choice was not confirmed; nothing was changed");
    }
    // The webhook notes who chose it. The digest is that of the proposal that the person saw.
    let chosen = json!({ "agent": proposal.agent, "digest": digest });
    let patch = json!({ "spec": { "generate": { "chosen": chosen } } });
    let plans: Api<Plan> = cluster.api();
    plans.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(api_error)?;
    terminal::print_line(&format!("Plan {name}: the proposal of Agent {} is chosen", one_line(&proposal.agent)))
}

/// Returns the usable proposal of an agent.
fn proposal_of<'a>(plan: &'a Plan, agent: &str) -> Result<&'a Proposal> {
    let name = plan.name_any();
    if plan.spec.generate.is_none() {
        bail!("agents write no tasks for Plan {name}: it has no spec.generate");
    }
    let proposals = plan.status.as_ref().map_or(&[][..], |status| status.proposals.as_slice());
    let Some(proposal) = proposals.iter().find(|proposal| proposal.agent == agent) else {
        bail!("Agent {agent} is not a planner of Plan {name}; `kubectl enact explain plan/{name}` lists them");
    };
    if proposal.state != ProposalState::Proposed {
        bail!("Agent {agent} has no proposal for Plan {name}: {}", summary(proposal));
    }
    Ok(proposal)
}

/// Reads the text of the proposal of an agent.
pub async fn read(cluster: &Cluster, plan: &str, agent: &str) -> Result<String> {
    let found: Plan = cluster.get(plan).await?;
    let digest = proposal_of(&found, agent)?.digest.clone();
    text(cluster, plan, &digest.unwrap_or_default()).await
}

/// Reads the reasons of a judge. `number` is that of the comparison in [`explain`], from 1.
pub async fn reasons(cluster: &Cluster, plan: &str, number: usize) -> Result<String> {
    let found: Plan = cluster.get(plan).await?;
    let judgements = found.status.map(|status| status.judgements).unwrap_or_default();
    let judgement = number.checked_sub(1).and_then(|index| judgements.get(index)).with_context(|| {
        format!("Plan {plan} has {} judgements; `kubectl enact explain plan/{plan}` lists them", judgements.len())
    })?;
    let Some(digest) = judgement.verdict.digest.as_deref() else {
        bail!("judgement {number} of Plan {plan} has no reasons: {}", verdict(judgement));
    };
    text(cluster, plan, digest).await
}

/// Reads the text of the proposal that is the tasks.md of a plan.
pub async fn chosen(cluster: &Cluster, plan: &Plan) -> Result<String> {
    let name = plan.name_any();
    let generated = plan.status.as_ref().and_then(|status| status.generated.as_ref());
    let generated = generated.with_context(|| {
        format!("no proposal for Plan {name} is chosen yet; `kubectl enact explain plan/{name}` lists the proposals")
    })?;
    text(cluster, &name, &generated.digest).await
}

async fn text(cluster: &Cluster, plan: &str, digest: &str) -> Result<String> {
    Record::open(cluster).await?.proposal(plan, &Digest::from(digest.to_owned())).await
}

/// Returns the state of a planner for a sentence.
pub fn summary(proposal: &Proposal) -> String {
    match proposal.state {
        ProposalState::Planning => format!("planning, attempt {}", proposal.attempts.max(1)),
        ProposalState::Proposed => {
            format!("{} points, {} tasks", proposal.score.unwrap_or_default(), proposal.tasks.unwrap_or_default())
        }
        ProposalState::Dropped => {
            let problem = proposal.problem.as_deref().unwrap_or("it delivered nothing");
            format!("dropped after {} attempts: {}", proposal.attempts, one_line(problem))
        }
    }
}

/// Returns the line about a finding in a proposal.
fn finding_line(finding: &Finding) -> String {
    let Finding { code, line, message, remedy, .. } = finding;
    one_line(&format!("{code} in line {line}: {message}; {remedy}"))
}

/// Prints the proposals for a plan with all components of their scores, and what they decide differently. Of a plan whose tasks a person wrote,
/// prints how they differ from those of the plan that it replaces.
pub async fn explain(cluster: &Cluster, name: &str, output: ExplainOutput) -> Result<()> {
    let plan: Plan = cluster.get(name).await?;
    if plan.spec.generate.is_none() {
        let replaced = plan.status.as_ref().and_then(|status| status.replaced.as_ref());
        let summary = replan::summary(&plan.spec, replaced).filter(|_| output == ExplainOutput::Table);
        let Some(summary) = summary else {
            bail!(
                "agents write no tasks for Plan {name}; name a task as {name}/TASKID to see why its agent was selected"
            );
        };
        return terminal::print_line(&summary);
    }
    let differences = differences::read(cluster, &plan).await;
    match output {
        ExplainOutput::Json => {
            let text = serde_json::to_string_pretty(&as_json(&plan, &differences?))?;
            terminal::print_line(&safe(&text))
        }
        ExplainOutput::Table => {
            let differences = differences.unwrap_or_else(|error| {
                terminal::note(&format!("what the proposals decide differently cannot be read: {error:#}"));
                Differences::default()
            });
            lines(&plan, &differences).iter().try_for_each(|line| terminal::print_line(line))
        }
    }
}

fn as_json(plan: &Plan, Differences { conflicts, synthesis }: &Differences) -> Value {
    let status = plan.status.clone().unwrap_or_default();
    json!({
        "proposals": status.proposals, "judgements": status.judgements, "conflicts": conflicts, "synthesis": synthesis,
        "generated": status.generated, "replaced": status.replaced,
    })
}

fn lines(plan: &Plan, differences: &Differences) -> Vec<String> {
    let status = plan.status.clone().unwrap_or_default();
    if status.proposals.is_empty() {
        return vec!["no planner has started: they wait until the Specification is approved".to_owned()];
    }
    let mut lines = table(&status.proposals);
    for proposal in &status.proposals {
        lines.extend([String::new(), format!("{}: {}", one_line(&proposal.agent), summary(proposal))]);
        lines.extend(proposal.components.iter().map(|found| format!("  {}", one_line(&found.describe()))));
        lines.extend(proposal.findings.iter().map(|found| format!("  {}", finding_line(found))));
    }
    if !status.judgements.is_empty() {
        lines.extend([String::new(), "judgements, with the proposal that was read first:".to_owned()]);
        let judgements = status.judgements.iter().zip(1..);
        lines.extend(judgements.map(|(judgement, number)| format!("  {number}. {}", verdict(judgement))));
    }
    lines.extend(differences.lines(plan, &status));
    if let Some(GeneratedPlan { agent, by, message, .. }) = &status.generated {
        let why = match (by, message) {
            (Some(by), _) => format!(" by {}", one_line(by)),
            (None, Some(message)) => format!(": {}", one_line(message)),
            (None, None) => " by its score".to_owned(),
        };
        lines.extend([String::new(), format!("the proposal of Agent {} was chosen{why}", one_line(agent))]);
    }
    lines.extend(replan::summary(&plan.spec, status.replaced.as_ref()));
    lines
}

/// Returns what a judge prefers, or why it has no verdict.
fn verdict(judgement: &Judgement) -> String {
    let Judgement { judge, first, second, state, preference, verdict } = judgement;
    let outcome = match (state, preference) {
        (_, Some(Preference::First)) => format!("prefers {first}"),
        (_, Some(Preference::Second)) => format!("prefers {second}"),
        (_, Some(Preference::Tie)) => "prefers neither".to_owned(),
        (JudgementState::Dropped, None) => {
            format!("no verdict: {}", verdict.problem.as_deref().unwrap_or("it delivered nothing"))
        }
        (_, None) => format!("judging, attempt {}", verdict.attempts.max(1)),
    };
    one_line(&format!("{judge}, {first} against {second}: {outcome}"))
}

/// Returns one line for each proposal, with a column for each component.
fn table(proposals: &[Proposal]) -> Vec<String> {
    let names: Vec<&str> = proposals
        .iter()
        .map(|proposal| proposal.components.as_slice())
        .find(|components| !components.is_empty())
        .unwrap_or_default()
        .iter()
        .map(|component| component.name.as_str())
        .collect();
    let mut head = ["AGENT", "STATE", "TASKS", "SCORE"].map(str::to_owned).to_vec();
    head.extend(names.iter().map(|name| one_line(name).to_uppercase()));
    let mut rows = vec![head];
    for proposal in proposals {
        let number = |number: Option<u32>| number.map_or_else(|| NOTHING.to_owned(), |number| number.to_string());
        let mut row = vec![one_line(&proposal.agent), format!("{:?}", proposal.state)];
        row.extend([number(proposal.tasks), number(proposal.score)]);
        let points = |name: &&str| proposal.components.iter().find(|c| c.name == **name).map(|c| c.points);
        row.extend(names.iter().map(|name| number(points(name))));
        rows.push(row);
    }
    aligned(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let components = json!([
            {"name": "requirements", "points": 150, "max": 300, "explanation": "tasks cover 1 of 2 requirements; not FR-002"},
            {"name": "rules", "points": 50, "max": 50, "explanation": "0 rules of severity SHOULD are violated"},
        ]);
        let findings = json!([{
            "code": "DecisionContradicted", "severity": "Medium", "line": 7, "message": "decision \"Storage\": …", "remedy": "read\nit",
        }]);
        serde_json::from_value(json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "cart"},
            "spec": {"specificationRef": {"name": "cart"}, "agentRef": {"name": "coder"}, "generate": {"agents": [{"name": "claude"}, {"name": "codex"}]}},
            "status": {
                "proposals": [
                    {"agent": "claude", "state": "Proposed", "inputs": "i", "attempts": 1, "digest": "sha256:1", "tasks": 3, "score": 200, "components": components, "findings": findings},
                    {"agent": "codex", "state": "Dropped", "inputs": "i", "attempts": 3, "problem": "the document has 0 tasks and 1 errors\nline 1: no task was found"},
                ],
                "judgements": [
                    {"judge": "opus", "first": "claude", "second": "codex", "state": "Judged", "preference": "Second", "verdict": {"request": "r"}},
                    {"judge": "opus", "first": "codex", "second": "claude", "state": "Dropped", "verdict": {"request": "s", "problem": "no\nverdict"}},
                ],
                "generated": {"agent": "claude", "digest": "sha256:1", "by": "dana"},
            },
        }))
        .unwrap()
    }

    #[test]
    fn shows_all_proposals_and_components() {
        assert_eq!(
            lines(&plan(), &Differences::default()),
            [
                "AGENT   STATE     TASKS  SCORE  REQUIREMENTS  RULES",
                "claude  Proposed  3      200    150           50",
                "codex   Dropped   -      -      -             -",
                "",
                "claude: 200 points, 3 tasks",
                "  requirements 150 of 300: tasks cover 1 of 2 requirements; not FR-002",
                "  rules 50 of 50: 0 rules of severity SHOULD are violated",
                "  DecisionContradicted in line 7: decision \"Storage\": …; read it",
                "",
                "codex: dropped after 3 attempts: the document has 0 tasks and 1 errors line 1: no task was found",
                "",
                "judgements, with the proposal that was read first:",
                "  1. opus, claude against codex: prefers codex",
                "  2. opus, codex against claude: no verdict: no verdict",
                "",
                "the proposal of Agent claude was chosen by dana",
            ]
        );
    }

    #[test]
    fn says_why_a_proposal_was_chosen() {
        let mut plan = plan();
        let mut last = |by: Option<&str>, message: Option<&str>| {
            let generated = plan.status.as_mut().unwrap().generated.as_mut().unwrap();
            (generated.by, generated.message) = (by.map(str::to_owned), message.map(str::to_owned));
            lines(&plan, &Differences::default()).pop().unwrap()
        };
        assert_eq!(last(None, None), "the proposal of Agent claude was chosen by its score");
        assert_eq!(last(None, Some("it has\n9 votes")), "the proposal of Agent claude was chosen: it has 9 votes");
        assert_eq!(last(Some("dana"), None), "the proposal of Agent claude was chosen by dana");
    }

    #[test]
    fn the_output_as_json_has_all_parts() {
        let value = as_json(&plan(), &Differences::default());
        assert_eq!((&value["proposals"][0]["score"], &value["generated"]["by"]), (&json!(200), &json!("dana")));
        assert_eq!((&value["conflicts"], &value["synthesis"]), (&json!([]), &json!([])));
        assert_eq!(value["judgements"][1]["state"], "Dropped");
    }

    #[test]
    fn only_a_usable_proposal_can_be_chosen() {
        let plan = plan();
        assert_eq!(proposal_of(&plan, "claude").unwrap().digest.as_deref(), Some("sha256:1"));
        assert!(proposal_of(&plan, "codex").unwrap_err().to_string().contains("dropped after 3 attempts"));
        assert!(proposal_of(&plan, "other").unwrap_err().to_string().contains("not a planner"));
    }

    #[test]
    fn the_manifest_has_what_the_options_set() {
        let mut options = NewPlan {
            name: "cart".into(),
            agents: vec!["claude".into(), "codex".into()],
            spec: None,
            agent: None,
            guidance: None,
            judges: Vec::new(),
            select: Selection::BestScore,
            synthesizer: None,
            attempts: 3,
            approve_groups: Vec::new(),
            git: Git::default(),
        };
        let planners = json!([{ "name": "claude" }, { "name": "codex" }]);
        let spec = json!({
            "specificationRef": { "name": "cart" }, "agents": planners,
            "generate": { "agents": planners, "maxAttempts": 3, "selection": "BestScore" },
        });
        assert_eq!(manifest(&options)["spec"], spec);
        options.judges = vec!["opus".into()];
        assert_eq!(manifest(&options)["spec"]["generate"]["judges"], json!([{ "name": "opus" }]));
        (options.select, options.synthesizer) = (Selection::Synthesis, Some("merger".into()));
        let generate = &manifest(&options)["spec"]["generate"];
        assert_eq!((&generate["selection"], &generate["synthesizer"]["name"]), (&json!("Synthesis"), &json!("merger")));
        (options.select, options.synthesizer) = (Selection::Votes, None);
        let generate = &manifest(&options)["spec"]["generate"];
        assert_eq!((&generate["selection"], &generate["synthesizer"]), (&json!("Votes"), &Value::Null));
        options.agent = Some("coder".into());
        options.git.url = Some("https://git.example.org/cart.git".into());
        let spec = &manifest(&options)["spec"];
        assert_eq!((&spec["agentRef"]["name"], &spec["agents"]), (&json!("coder"), &Value::Null));
        let workspace = json!({ "url": "https://git.example.org/cart.git", "integration": {} });
        assert_eq!(spec["workspace"], workspace);
        let _: Plan = serde_json::from_value(manifest(&options)).unwrap();
    }
}
