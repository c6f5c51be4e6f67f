//! The demonstration from a sentence: agents draft, plan, judge and build; people answer and approve.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::coder::Session;
use super::own::SHOP;
use super::show;
use super::steps::{Clock, DEVELOPER, approve, example, until_finished};
use crate::cmd::CommandExt;
use crate::install::Images;
use crate::kube::Kube;

/// The coding agent if none is named: the one with the smallest need of memory.
pub(super) const DEFAULT_AGENT: &str = "codex";
/// The name of the Specification and of the Plan.
pub(super) const NAME: &str = "idea";
const SCENARIO: &str = "from-a-sentence";
/// The sentence of the example.
const SENTENCE: &str = "A command that tells how long it takes to read a text.";
/// The answer to a question that suggests none.
const NO_SUGGESTION: &str = "Take the simplest choice, and name it under Assumptions.";
/// The agents with their instructions: the first one drafts and judges, the others plan and build.
const AGENTS: [(&str, &str); 3] = [
    ("analyst", ""),
    ("thorough", "Plan small tasks, and test each of them."),
    ("quick", "Plan as few tasks as possible."),
];
/// The longest time of a draft, and of plans with their comparison, in seconds.
const DRAFTING_SECONDS: u32 = 900;
const PLANNING_SECONDS: u32 = 1800;

/// The script of a pod with the agent image that tests the published branch.
const PRODUCT: &str = r#"
git clone --quiet --branch plan/idea http://git-server:8080/shop.git /tmp/product
cd /tmp/product
echo "--- the commits of the branch plan/idea, without the merges"
git log --no-merges --format='%h %an: %s'
echo "--- its files"
git ls-files
echo "--- the product's tests"
python3 -m unittest discover --start-directory tests --top-level-directory . 2>&1 | tail -n 3
python3 -m unittest discover --quiet --start-directory tests --top-level-directory . 2>/dev/null
"#;

/// Goes from the sentence to the published branch, and shows each step.
pub(super) fn run(session: &Session, sentence: &str, kube: &Kube, images: &Images, clock: &Clock) -> Result<()> {
    if session.is_scripted() && sentence != SENTENCE {
        println!("The scripted model server answers as if the sentence were: {SENTENCE}");
    }
    session.add_provider(kube, images, clock, SCENARIO)?;
    clock.step("The developer dana adds three agents, and writes a sentence: one of them drafts the specification");
    let image = images.name(&session.coder.image())?;
    for (name, instructions) in AGENTS {
        let mut agent = session.agent(name, &image);
        if !instructions.is_empty() {
            agent["spec"]["instructions"] = json!(instructions);
        }
        kube.apply(&agent.to_string(), &DEVELOPER)?;
    }
    kube.apply(&specification(sentence)?, &DEVELOPER)?;
    until(kube, "specification", "{.status.digest}", DRAFTING_SECONDS).context("there is no draft")?;
    enact(kube, &["show", "specification/idea"])?;
    clock.step("dana answers the open questions");
    clarify(kube)?;
    clock.step("The lead lee approves the specification");
    approve(kube, "specification", NAME)?;
    clock.step("dana applies a plan without tasks: two agents plan, and the third one compares their plans");
    kube.apply(&example("from-a-sentence/30-plan.yaml")?, &DEVELOPER)?;
    until(kube, "plan", "{.status.generated.digest}", PLANNING_SECONDS).context("no plan is chosen")?;
    enact(kube, &["explain", "plan/idea"])?;
    enact(kube, &["decisions", NAME])?;
    clock.step("The lead lee approves the plan");
    approve(kube, "plan", NAME)?;
    clock.step("The plan runs");
    until_finished(kube, NAME)?;
    clock.step("The result");
    show::outcome(kube, images, PRODUCT)?;
    clock.step("What it used");
    enact(kube, &["usage", "--by", "agent,model"])
}

/// Returns the manifest of the example with another sentence.
fn specification(sentence: &str) -> Result<String> {
    // A JSON string is YAML, too.
    Ok(example("from-a-sentence/20-specification.yaml")?.replace(SENTENCE, &json!(sentence).to_string()))
}

fn enact(kube: &Kube, args: &[&str]) -> Result<()> {
    kube.enact(args).args(["--namespace", SHOP]).show()
}

/// Waits until a field of the Specification or the Plan has a value. The error has the state of the object.
fn until(kube: &Kube, kind: &str, field: &str, seconds: u32) -> Result<()> {
    let waited = kube.wait(SHOP, &format!("{kind}/{NAME}"), &format!("jsonpath={field}"), seconds);
    waited.or_else(|error| {
        let found = kube.kubectl(["get", kind, NAME, "--namespace", SHOP]).read()?;
        Err(error.context(found))
    })
}

/// Answers every open question with its first suggestion.
fn clarify(kube: &Kube) -> Result<()> {
    println!("{}", kube.enact(["clarify", NAME, "--namespace", SHOP]).read()?);
    let get = |output: &str| kube.kubectl(["get", "specification", NAME, "--namespace", SHOP, output]).read();
    let found: Value = serde_json::from_str(&get("--output=json")?)?;
    let answers = answers(&found["status"]["questions"]);
    if answers.is_empty() {
        return Ok(());
    }
    let mut clarify = kube.enact(["clarify", NAME, "--namespace", SHOP]);
    clarify.args(answers.iter().flat_map(|answer| ["--answer", answer.as_str()])).args(DEVELOPER).show()?;
    // What is approved below must be the document with the answers.
    let generation = get("--output=jsonpath={.metadata.generation}")?;
    until(kube, "specification", &format!("{{.status.observedGeneration}}={generation}"), 60)
}

/// Returns an answer to each question, as the flag `--answer` takes it.
fn answers(questions: &Value) -> Vec<String> {
    let questions = questions.as_array().into_iter().flatten();
    let answer = |question: &Value| {
        let id = question["id"].as_str()?;
        Some(format!("{id}={}", question["options"][0].as_str().unwrap_or(NO_SUGGESTION)))
    };
    questions.filter_map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::super::coder::{CODERS, scenario_text};
    use super::*;

    #[test]
    fn another_sentence_changes_only_the_request() {
        let original = example("from-a-sentence/20-specification.yaml").unwrap();
        let other = specification("Say \"hi\": # politely").unwrap();
        let lines = || original.lines().zip(other.lines());
        assert_eq!(lines().filter(|(before, after)| before != after).count(), 1, "{other}");
        assert!(other.contains("\n  request: \"Say \\\"hi\\\": # politely\"\n"), "{other}");
    }

    #[test]
    fn the_first_suggestion_is_the_answer() {
        let questions = json!([{ "id": "Q-1", "options": ["a", "b"] }, { "id": "Q-2" }]);
        assert_eq!(answers(&questions), ["Q-1=a".to_owned(), format!("Q-2={NO_SUGGESTION}")]);
        assert!(answers(&Value::Null).is_empty());
    }

    #[test]
    fn agents_scenario_and_plan_are_those_of_the_example() {
        let agents = example("from-a-sentence/10-agents.yaml").unwrap();
        let plan = example("from-a-sentence/30-plan.yaml").unwrap();
        for (name, instructions) in AGENTS {
            assert!(plan.contains(&format!("name: {name}}}")), "{name} is not in the plan");
            assert!(agents.contains(&format!("  name: {name}\n")), "{name} is not in the example");
            assert!(agents.contains(instructions), "{name} has other instructions in the example");
        }
        assert!(scenario_text(SCENARIO).unwrap().starts_with("# "), "the scenario has no note");
        assert!(CODERS.iter().any(|coder| coder.name == DEFAULT_AGENT));
    }
}
