//! A Git server of a test's own, and what is in it.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;

use crate::command::exec;
use crate::{PATIENCE, Stage};

/// A Git server in the namespace `<stage>-git`, with one repository, `work`.
pub struct Git {
    namespace: String,
}

/// The published manifest, as a user applies it.
const MANIFEST: &str = include_str!("../../examples/git-server/git-server.yaml");

/// Makes a commit in the server's copy of the repository.
const COMMIT: &str = r#"cd /srv/git/work.git
export GIT_INDEX_FILE="/tmp/index.$$" GIT_AUTHOR_NAME=e2e GIT_AUTHOR_EMAIL=e2e@enact.dev
export GIT_COMMITTER_NAME="$GIT_AUTHOR_NAME" GIT_COMMITTER_EMAIL="$GIT_AUTHOR_EMAIL"
git read-tree main
git update-index --add --cacheinfo "100644,$(printf %s "$2" | git hash-object -w --stdin),$1"
commit=$(git commit-tree "$(git write-tree)" -p main -m "By a test")
git update-ref refs/heads/main "$commit"
rm -f "$GIT_INDEX_FILE"
echo "$commit"
"#;

impl Git {
    /// Starts it, with a first commit of `files`, and puts the credentials `git-agent` and `git-integrator` into the stage's namespace.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(stage: &Stage, files: &[(&str, &str)]) -> Result<Self> {
        Self::launch(stage, files, MANIFEST).await
    }

    /// The same, but reading asks for a password too.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_private(stage: &Stage, files: &[(&str, &str)]) -> Result<Self> {
        let reading = "env:\n            - {name: GIT_READING, value: authenticated}\n";
        Self::launch(stage, files, &MANIFEST.replace("env:\n", reading)).await
    }

    async fn launch(stage: &Stage, files: &[(&str, &str)], manifest: &str) -> Result<Self> {
        let namespace = format!("{}-git", stage.name);
        let mut seed = String::new();
        for (name, text) in files {
            seed.extend(["  ", name, ": |\n"]);
            text.lines().for_each(|line| seed.extend(["    ", line, "\n"]));
        }
        let manifest = manifest
            .replace("namespace: enact-demo", &format!("namespace: {namespace}"))
            .replace("name: enact-demo", &format!("name: {namespace}"))
            .replace("value: shop", "value: work")
            .replace("/seed/shop", "/seed/work")
            .replace(
                "  README.md: |\n    # A small shop\n\n    Built by the plan `shop`, one task after the other.\n",
                &seed,
            );
        // Passwords of a test that ends in a minute, on a network of the test's own.
        let htpasswd =
            "    agent:{SHA}cNguui0gvVesEF9aWzsEl9D+QiE=\n    integrator:{SHA}z22Lejht0xlMZvbonYQh66udsso=\n";
        let secrets = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: git-server, namespace: {namespace}}}\nstringData:\n  htpasswd: |\n{htpasswd}  \
             integrators: integrator\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: git-agent}}\nstringData: {{username: agent, password: agent-password}}\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: git-integrator}}\nstringData: {{username: integrator, password: integrator-password}}\n"
        );
        stage.apply(&secrets).await?;
        stage.apply(&manifest).await?;
        let api: Api<Deployment> = Api::namespaced(stage.client.clone(), &namespace);
        let ready = |d: &Deployment| d.status.as_ref().is_some_and(|s| s.ready_replicas == Some(1));
        stage.watch(&api, "git-server", "a ready Git server", PATIENCE, ready).await?;
        Ok(Self { namespace })
    }

    /// URL of the repository, for pods.
    pub fn url(&self) -> String {
        format!("http://git-server.{}:8080/work.git", self.namespace)
    }

    /// Lines below `spec` of a Plan that works on the repository, indented by two.
    pub fn workspace(&self) -> String {
        format!(
            "  workspace:\n    url: {}\n    credentialsSecretRef: {{name: git-agent}}\n    integration:\n      \
             credentialsSecretRef: {{name: git-integrator}}\n",
            self.url()
        )
    }

    /// Runs `git` in the server's copy of the repository.
    ///
    /// # Errors
    /// With what Git says, when it fails.
    pub fn git(&self, args: &[&str]) -> Result<String> {
        let there = ["--namespace", &self.namespace, "deployment/git-server", "--", "git", "-C", "/srv/git/work.git"];
        exec(&[&there, args].concat())
    }

    /// Adds a commit to `main` in which one file says this; returns its id. It comes by no push, so that no hook has a say.
    ///
    /// # Errors
    /// With what it printed, when it fails.
    pub fn commit(&self, file: &str, text: &str) -> Result<String> {
        let there = ["--namespace", &self.namespace, "deployment/git-server", "--"];
        exec(&[&there[..], &["sh", "-ec", COMMIT, "commit", file, text]].concat()).map(|id| id.trim().to_owned())
    }
}
