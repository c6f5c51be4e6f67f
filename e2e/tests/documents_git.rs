//! Documents that pods deliver: from a Git repository, and from an agent that drafts them.

use anyhow::{Context as _, Result, ensure};
use enact_crds::Specification;
use enact_crds::document::SourceStatus;
use enact_e2e::git::Git;
use enact_e2e::{PATIENCE, Stage, condition, describe, on_stage};
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

/// Returns a document with this number of requirements.
fn document(requirements: usize) -> String {
    let mut text = String::from(
        "# Feature Specification: Cart\n\n## User Scenarios & Testing\n\n### User Story 1 - Fill it (Priority: P1)\n\nA buyer fills a cart.\n\n\
         ## Requirements\n\n### Functional Requirements\n\n",
    );
    for n in 1..=requirements {
        text.push_str(&format!("- **FR-{n:03}**: The cart MUST hold {n} articles.\n"));
    }
    text
}

/// Returns a Specification whose source is the file `spec.md` of the repository.
fn from_git(git: &Git, revision: &str, more: &str) -> String {
    let url = git.url();
    format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Specification\nmetadata: {{name: cart}}\nspec:\n  source:\n    \
         git: {{url: '{url}', revision: {revision}, path: spec.md, intervalSeconds: 30{more}}}\n"
    )
}

const SECRET: &str = ", credentialsSecretRef: {name: git-agent}";

async fn until(stage: &Stage, what: &str, holds: impl Fn(&Specification) -> bool) -> Result<Specification> {
    stage.watch(&stage.api::<Specification>(), "cart", what, PATIENCE, holds).await
}

/// Returns reason and message of `Ready`, if they are of the current generation.
fn ready(object: &Specification) -> Option<(&str, &str)> {
    let status = object.status.as_ref().filter(|s| s.observed_generation == object.metadata.generation)?;
    condition(&status.conditions, "Ready").map(|c| (c.reason.as_str(), c.message.as_str()))
}

fn source(object: &Specification) -> SourceStatus {
    object.status.as_ref().and_then(|s| s.source.clone()).unwrap_or_default()
}

/// Requests a poll of the source.
async fn look(stage: &Stage, word: &str) -> Result<()> {
    let asked = json!({"metadata": {"annotations": {enact_domain::names::ANNOTATION_RECONCILE_AT: word}}});
    stage.api::<Specification>().patch("cart", &PatchParams::default(), &Patch::Merge(asked)).await?;
    Ok(())
}

/// Reports a push to the repository, as GitLab does, and returns the server's status code.
async fn push(stage: &Stage, git: &Git, branch: &str, secret: &str) -> Result<u16> {
    let body = json!({"ref": format!("refs/heads/{branch}"), "project": {"git_http_url": git.url()}}).to_string();
    let service = "/api/v1/namespaces/enact-system/services/http:enact-server:push/proxy";
    let request = Request::post(format!("{service}/v1/namespaces/{}/push", stage.name))
        .header("content-type", "application/json")
        .header("x-gitlab-token", secret)
        .body(body.into_bytes())?;
    match stage.client.request_text(request).await {
        Ok(_) => Ok(202),
        Err(kube::Error::Api(status)) => Ok(status.code),
        Err(error) => Err(error.into()),
    }
}

/// Waits until no document pod exists.
async fn tidied(stage: &Stage) -> Result<()> {
    let document_pods = ListParams::default().labels("enact.dev/role in (fetch, draft)");
    enact_e2e::until("no pods of documents", PATIENCE, || async {
        let left = stage.api::<Pod>().list(&document_pods).await?.items;
        let names: Vec<String> = left.iter().map(ResourceExt::name_any).collect();
        Ok(if names.is_empty() { enact_e2e::Answer::Yes(()) } else { enact_e2e::Answer::NotYet(names.join(", ")) })
    })
    .await
}

#[test]
fn a_specification_follows_its_branch() {
    on_stage("from-git", |stage| async move {
        let git = Git::start(&stage, &[("spec.md", &document(1))]).await?;
        stage.apply(&from_git(&git, "main", SECRET)).await?;
        let first = git.git(&["rev-parse", "main"])?.trim().to_owned();
        let read = until(&stage, "the first commit", |s| source(s).commit.as_ref() == Some(&first)).await?;
        ensure!(ready(&read).is_some_and(|(reason, _)| reason == "Approved"), "{:?}", ready(&read));
        ensure!(read.status.as_ref().is_some_and(|s| s.requirements == 1));
        let digest = read.status.as_ref().and_then(|s| s.digest.clone()).context("no digest")?;
        let kept = format!("select count(*) from enact.contents where digest = '{digest}'");
        ensure!(stage.record(&kept)? == ["1"], "the record holds the document");

        // Nothing reports this commit: a poll finds it.
        let second = git.commit("spec.md", &document(2))?;
        let moved = until(&stage, "the second commit", |s| source(s).commit.as_ref() == Some(&second)).await?;
        ensure!(moved.status.as_ref().is_some_and(|s| s.requirements == 2));

        let third = git.commit("spec.md", &document(3))?;
        look(&stage, "third").await?;
        until(&stage, "the third commit", |s| source(s).commit.as_ref() == Some(&third)).await?;
        tidied(&stage).await?;

        git.git(&["branch", "feature", "main"])?;
        stage.apply(&from_git(&git, "feature", SECRET)).await?;
        let has = |s: &Specification| ready(s).is_some() && source(s).commit.as_ref() == Some(&third);
        let before = until(&stage, "the branch's commit", has).await?;
        git.git(&["branch", "-D", "feature"])?;
        look(&stage, "gone").await?;
        let gone = until(&stage, "the loss of the branch", |s| source(s).problem.is_some()).await?;
        let problem = source(&gone).problem.unwrap_or_default();
        ensure!(problem.contains("RevisionNotFound") && problem.contains("feature"), "{problem}");
        let status = |s: &Specification| s.status.clone().unwrap_or_default();
        ensure!(status(&gone).digest == status(&before).digest && status(&gone).requirements == 3);
        ensure!(
            ready(&gone).is_some_and(|(reason, _)| reason == "Approved"),
            "{}",
            describe(&status(&gone).conditions)
        );
        tidied(&stage).await
    });
}

#[test]
fn a_push_notification_is_read_at_once() {
    on_stage("push-git", |stage| async move {
        let git = Git::start(&stage, &[("spec.md", &document(1))]).await?;
        // The interval between polls is longer than this test, so only a reported push can lead to a new revision.
        stage.apply(&from_git(&git, "main", SECRET).replace("intervalSeconds: 30", "intervalSeconds: 86400")).await?;
        let first = git.git(&["rev-parse", "main"])?.trim().to_owned();
        until(&stage, "the first commit", |s| source(s).commit.as_ref() == Some(&first)).await?;
        tidied(&stage).await?;
        let second = git.commit("spec.md", &document(2))?;
        let word = "the push secret of this test";
        ensure!(push(&stage, &git, "main", word).await? == 401, "the namespace has no secret");
        stage
            .apply(&format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: enact-push}}\nstringData: {{webhook: {word}}}\n"
            ))
            .await?;
        ensure!(push(&stage, &git, "main", "what nobody knows, which is no secret").await? == 401);
        ensure!(push(&stage, &git, "other", word).await? == 202, "it is reported, and concerns nobody");
        ensure!(push(&stage, &git, "main", word).await? == 202);
        let read = until(&stage, "the second commit", |s| source(s).commit.as_ref() == Some(&second)).await?;
        ensure!(read.status.as_ref().is_some_and(|s| s.requirements == 2));
        tidied(&stage).await
    });
}

#[test]
fn a_private_repository_is_read_with_its_secret() {
    on_stage("private-git", |stage| async move {
        let git = Git::start_private(&stage, &[("spec.md", &document(1))]).await?;
        stage.apply(&from_git(&git, "main", "")).await?;
        let missing = |s: &Specification| ready(s).is_some_and(|(reason, _)| reason == "SourceMissing");
        let refused = until(&stage, "a refusal", missing).await?;
        let message = ready(&refused).unwrap_or_default().1;
        ensure!(message.contains("RepositoryDenied") && message.contains("credentialsSecretRef"), "{message}");
        stage.apply(&from_git(&git, "main", SECRET)).await?;
        until(&stage, "the document", |s| ready(s).is_some_and(|(reason, _)| reason == "Approved")).await?;
        tidied(&stage).await
    });
}

#[test]
fn a_request_becomes_a_document_at_the_second_attempt() {
    on_stage("draft", |stage| async move {
        let good: String = document(2).lines().map(|line| format!("    {line}\n")).collect();
        stage
            .apply(&format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: recorded}}\ndata:\n  cart.1.md: |\n    # Feature Specification: Cart\n\n    \
                 I need more time.\n  cart.2.md: |\n{good}---\n\
                 apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {{name: scribe}}\nspec:\n  adapter: Replay\n  \
                 replay: {{configMapRef: {{name: recorded}}}}\n---\n\
                 apiVersion: enact.dev/v1alpha1\nkind: Specification\nmetadata: {{name: cart}}\nspec:\n  \
                 request: A cart that holds 100 articles.\n  drafting: {{agentRef: {{name: scribe}}, maxAttempts: 2}}\n"
            ))
            .await?;
        let invalid = |s: &Specification| {
            s.status.as_ref().and_then(|s| s.draft.as_ref()).is_some_and(|draft| draft.problem.is_some())
        };
        let first = until(&stage, "the first attempt's end", invalid).await?;
        let draft = first.status.as_ref().and_then(|s| s.draft.clone()).unwrap_or_default();
        ensure!(draft.problem.is_some_and(|p| p.contains("0 user stories") && p.contains("line ")), "no lines");
        let done = until(&stage, "the document", |s| ready(s).is_some_and(|(reason, _)| reason == "Approved")).await?;
        let status = done.status.unwrap_or_default();
        let draft = status.draft.unwrap_or_default();
        ensure!(draft.attempts == 2 && draft.digest == status.digest && status.requirements == 2, "{draft:?}");
        tidied(&stage).await
    });
}

#[test]
fn a_draft_whose_pod_cannot_start_says_why_and_since_when() {
    on_stage("draft-waits", |stage| async move {
        stage
            .apply(
                "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {name: scribe}\nspec:\n  adapter: Command\n  \
                 script: 'true'\n  image: localhost:1/nothing:none\n---\n\
                 apiVersion: enact.dev/v1alpha1\nkind: Specification\nmetadata: {name: cart}\nspec:\n  \
                 request: A cart that holds 100 articles.\n  drafting: {agentRef: {name: scribe}, maxAttempts: 1}\n",
            )
            .await?;
        let waits = |s: &Specification| ready(s).is_some_and(|(reason, _)| reason == "ImagePullFailed");
        let waiting = until(&stage, "the reason of the wait", waits).await?;
        let message = ready(&waiting).unwrap_or_default().1;
        let parts = ["Agent scribe drafts the document (attempt 1 of 1)", "its pod cannot start", "(since 20"];
        ensure!(parts.iter().all(|part| message.contains(part)), "{message}");
        Ok(())
    });
}
