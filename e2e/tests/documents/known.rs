//! Knowledge about a repository: an agent proposes it after a plan, a person accepts it, and it expires.

use anyhow::{Result, ensure};
use enact_crds::plan::Phase;
use enact_e2e::documents::{holds, manifest};
use enact_e2e::git::Git;
use enact_e2e::people::Person;
use enact_e2e::{PATIENCE, Stage, on_stage};
use serde_json::json;

/// Keeps its prompt as a file, or writes the proposal.
const SCRIPT: &str = r#"
case "$(cat "$ENACT_PROMPT_FILE")" in
*"has succeeded. Write the file"*)
    mkdir -p .enact
    printf '# Knowledge\n\n## Commands\n\n- Test with make test.\n  Evidence: Makefile@%s\n' "$(git rev-parse HEAD:Makefile)" > .enact/knowledge.md ;;
*) cp "$ENACT_PROMPT_FILE" "$ENACT_TASK_ID.txt" ;;
esac
"#;

/// Runs a plan with one task of the same name, and returns the prompt of its agent.
async fn prompt(stage: &Stage, git: &Git, person: &Person, name: &str) -> Result<String> {
    let secret = |name: &str| json!({"credentialsSecretRef": {"name": name}});
    let mut workspace = secret("git-agent");
    workspace["url"] = git.url().into();
    workspace["integration"] = secret("git-integrator");
    let task = json!({"id": name, "title": "Look around"});
    let spec = json!({"agentRef": {"name": "worker"}, "workspace": workspace, "tasks": [task]});
    person.applies(&manifest("Plan", name, &spec)).await?;
    stage.finished(name, Phase::Succeeded, PATIENCE).await?;
    git.git(&["show", &format!("plan/{name}:{name}.txt")])
}

#[test]
fn knowledge_is_proposed_accepted_given_and_expires() {
    on_stage("known", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let git = Git::start(&stage, &[("Makefile", "test:")]).await?;
        let resources = json!({"cpu": "10m", "memory": "64Mi", "ephemeralStorage": "64Mi"});
        let agent = json!({"adapter": "Command", "resources": resources, "script": SCRIPT});
        stage.apply(&manifest("Agent", "worker", &agent)).await?;
        let known = "Command: Test with make test.";
        ensure!(!prompt(&stage, &git, &dana, "first").await?.contains(known));

        let created = dana.enact(&["knowledge", "first"])?.stdout;
        holds(&created, &["Plan first-knowledge is created", ".enact/knowledge.md", "plan/first-knowledge"])?;
        stage.finished("first-knowledge", Phase::Succeeded, PATIENCE).await?;
        let proposed = git.git(&["show", "plan/first-knowledge:.enact/knowledge.md"])?;
        ensure!(proposed.contains("- Test with make test."), "{proposed}");
        ensure!(!prompt(&stage, &git, &dana, "unread").await?.contains(known), "nobody has accepted it");

        git.git(&["update-ref", "refs/heads/main", "refs/heads/plan/first-knowledge"])?;
        let given = prompt(&stage, &git, &dana, "second").await?;
        holds(&given, &["## What is known about the repository", known])?;

        git.commit("Makefile", "check:\n")?;
        ensure!(!prompt(&stage, &git, &dana, "third").await?.contains(known), "its evidence has changed");
        Ok(())
    });
}
