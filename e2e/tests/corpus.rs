//! Imports real Spec Kit projects and runs them with a pod for each task. The projects are not in this repository. If they are missing,
//! the tests print that and check nothing.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::Phase;
use enact_crds::{Plan, Specification};
use enact_e2e::git::Git;
use enact_e2e::{PATIENCE, Stage, on_stage};

/// A substitute for an agent. It creates the files that its prompt names, and stores the prompt. Two tasks that name the same file
/// create the same content, so that their branches merge.
const SCRIPT: &str = r#"set -eu
mkdir -p .reported
cp "$ENACT_PROMPT_FILE" ".reported/$ENACT_TASK_ID"
grep -oE '[A-Za-z0-9_][A-Za-z0-9_/-]*\.[a-z]{1,4}\b' "$ENACT_PROMPT_FILE" | sort -u | while read -r name; do
  test -e "$name" && continue
  mkdir -p "$(dirname "$name")" && printf 'named by the plan\n' > "$name"
done
true
"#;

/// Returns the folder of projects, or `None` if it does not exist.
fn corpus() -> Option<PathBuf> {
    let usual = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus/dev"));
    let folder = std::env::var_os("ENACT_CORPUS").map_or(usual, PathBuf::from);
    if !folder.is_dir() {
        println!("skipped: there is no corpus at {}; ENACT_CORPUS names another place", folder.display());
        return None;
    }
    Some(folder)
}

async fn carried_out(stage: Stage, feature: PathBuf) -> Result<()> {
    let git = Git::start(&stage, &[("README.md", "a project")]).await?;
    let script = std::env::temp_dir().join(format!("{}-{}.sh", stage.name, std::process::id()));
    std::fs::write(&script, SCRIPT)?;
    let feature = feature.to_str().context("a path that is not UTF-8")?;
    let manifests = stage.enact(&[
        "import",
        feature,
        "--include-done",
        "--script",
        script.to_str().context("a path that is not UTF-8")?,
        "--git-url",
        &git.url(),
        "--credentials-secret",
        "git-agent",
        "--integration-secret",
        "git-integrator",
    ])?;
    std::fs::remove_file(script)?;
    stage.apply(&manifests).await?;
    let plans = stage.api::<Plan>().list(&kube::api::ListParams::default()).await?;
    let name = plans.items.first().and_then(|plan| plan.metadata.name.clone()).context("no plan was imported")?;
    let done = stage.finished(&name, Phase::Succeeded, Duration::from_mins(10)).await?;
    let status = done.status.unwrap_or_default();
    let reported = git.git(&["ls-tree", "-r", "--name-only", &format!("plan/{name}"), ".reported/"])?;
    let reported = reported.lines().count();
    ensure!(reported == status.tasks.total as usize, "{reported} of {} tasks are on the branch", status.tasks.total);
    let specification = stage.api::<Specification>().get(&name).await?.status.unwrap_or_default();
    println!(
        "{feature}: {} stories, {} requirements; {} tasks done, longest chain {}, {} files on the branch",
        specification.stories,
        specification.requirements,
        status.tasks.succeeded,
        status.critical_path,
        git.git(&["ls-tree", "-r", "--name-only", &format!("plan/{name}")])?.lines().count(),
    );
    Ok(())
}

fn project(name: &'static str, feature: &str) {
    let Some(corpus) = corpus() else { return };
    let feature = corpus.join(feature);
    on_stage(name, |stage| carried_out(stage, feature));
}

#[test]
fn akon() {
    project("akon", "vcwild__akon/specs/004-fix-vpn-off");
}

#[test]
fn community() {
    project("community", "microsoft__CommunityManagement-Sample-Spec-Kit/specs/007-mock-auth");
}

#[test]
fn schema_registry() {
    project("schemas", "infobloxopen__ib-schema-registry/specs/007-jmx-prometheus-metrics");
}

/// Imports a specification without a plan and tasks.
#[test]
fn a_specification_without_a_plan() {
    let Some(corpus) = corpus() else { return };
    let seed = corpus.join("../../seeds/system-architecture-spec.md");
    on_stage("seed", |stage| async move {
        let seed = seed.to_str().context("a path that is not UTF-8")?;
        stage.apply(&stage.enact(&["import", seed])?).await?;
        let specifications = stage.api::<Specification>();
        let name = specifications.list(&kube::api::ListParams::default()).await?.items.pop();
        let name = name.and_then(|s| s.metadata.name).context("no specification was imported")?;
        let read = |s: &Specification| s.status.as_ref().is_some_and(|s| s.digest.is_some());
        let specification = stage.watch(&specifications, &name, "its digest", PATIENCE, read).await?;
        let status = specification.status.unwrap_or_default();
        println!("{name}: {} stories, {} requirements, {:?}", status.stories, status.requirements, status.findings);
        ensure!(status.stories >= 5 && status.requirements >= 15, "{status:?}");
        Ok(())
    });
}
