//! A Git server for one test, and its repository.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;

use crate::command::exec;
use crate::{PATIENCE, Stage};

/// A Git server in the namespace `<stage>-git`, with one repository, `work`.
pub struct Git {
    namespace: String,
}

/// The manifest of the published example.
const MANIFEST: &str = include_str!("../../examples/git-server/git-server.yaml");

/// A script that creates a commit in the server's repository.
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

/// A script that commits many files of random content.
const FILL: &str = r#"cd /srv/git/work.git
export GIT_INDEX_FILE="/tmp/index.$$" GIT_AUTHOR_NAME=e2e GIT_AUTHOR_EMAIL=e2e@enact.dev
export GIT_COMMITTER_NAME="$GIT_AUTHOR_NAME" GIT_COMMITTER_EMAIL="$GIT_AUTHOR_EMAIL"
git read-tree main
n=0
while [ "$n" -lt "$1" ]; do
    n=$((n + 1))
    id=$(head -c "$2" /dev/urandom | git hash-object -w --stdin)
    git update-index --add --cacheinfo "100644,$id,large/$n.bin"
done
git update-ref refs/heads/main "$(git commit-tree "$(git write-tree)" -p main -m "By a test")"
rm -f "$GIT_INDEX_FILE"
git repack -adq --window=0
"#;

impl Git {
    /// Starts the server with a first commit of `files`, and creates the Secrets `git-agent` and `git-integrator` in the stage's namespace.
    ///
    /// # Errors
    /// If the server does not become ready.
    pub async fn start(stage: &Stage, files: &[(&str, &str)]) -> Result<Self> {
        Self::launch(stage, files, MANIFEST).await
    }

    /// Does the same as [`Self::start`], but reading requires a password too.
    ///
    /// # Errors
    /// If the server does not become ready.
    pub async fn start_private(stage: &Stage, files: &[(&str, &str)]) -> Result<Self> {
        let reading = "env:\n            - {name: GIT_READING, value: authenticated}\n";
        Self::launch(stage, files, &MANIFEST.replace("env:\n", reading)).await
    }

    async fn launch(stage: &Stage, files: &[(&str, &str)], manifest: &str) -> Result<Self> {
        let namespace = format!("{}-git", stage.name);
        // The example's manifest creates its repository from this ConfigMap. The replacements below adapt names and content to the test.
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
        // These passwords exist only during the test, on a network inside the cluster.
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

    /// Returns the repository's URL for pods.
    pub fn url(&self) -> String {
        format!("http://git-server.{}:8080/work.git", self.namespace)
    }

    /// Returns the lines below `spec` of a Plan that works on the repository, indented by two.
    pub fn workspace(&self) -> String {
        format!(
            "  workspace:\n    url: {}\n    credentialsSecretRef: {{name: git-agent}}\n    integration:\n      \
             credentialsSecretRef: {{name: git-integrator}}\n",
            self.url()
        )
    }

    /// Runs `git` in the server's repository.
    ///
    /// # Errors
    /// If Git fails, with its message.
    pub fn git(&self, args: &[&str]) -> Result<String> {
        let there = ["--namespace", &self.namespace, "deployment/git-server", "--", "git", "-C", "/srv/git/work.git"];
        exec(&[&there, args].concat())
    }

    /// Adds a commit to `main` that sets the content of a file, and returns its id. It is not pushed, so no hook runs.
    ///
    /// # Errors
    /// If the commit fails, with the output.
    pub fn commit(&self, file: &str, text: &str) -> Result<String> {
        let there = ["--namespace", &self.namespace, "deployment/git-server", "--"];
        exec(&[&there[..], &["sh", "-ec", COMMIT, "commit", file, text]].concat()).map(|id| id.trim().to_owned())
    }

    /// Adds a commit to `main` with this number of files of random content, each of this size in bytes.
    ///
    /// # Errors
    /// If the commit fails, with the output.
    pub fn fill(&self, files: u32, bytes: u32) -> Result<()> {
        let there = ["--namespace", &self.namespace, "deployment/git-server", "--"];
        let numbers = [files.to_string(), bytes.to_string()];
        exec(&[&there[..], &["sh", "-ec", FILL, "fill", &numbers[0], &numbers[1]]].concat()).map(drop)
    }
}
