//! The installation under attack, the names of the suite's tenants in it, and requests of their users.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cmd::CommandExt;
use crate::kube::Kube;

/// The label of everything that the suite creates.
pub(super) const LABEL: &str = "enact.dev/attack";

/// The flag of kubectl for requests.
const REQUEST_TIMEOUT: &str = "--request-timeout=30s";

/// The accounts of the installation that attacks use, and the word for the name of each.
const ACCOUNTS: [(&str, &str); 5] = [
    ("operator", "%operator"),
    ("server", "%server"),
    ("webhook", "%webhook"),
    ("gateway", "%gateway"),
    ("cache", "%cache"),
];

/// A user of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// A member of `system:masters`, whom RBAC permits everything: something else must stop the attack.
    Root,
    /// May write Tenants, and nothing else.
    TenantAdmin,
    /// Owns the tenant `%own`.
    Owner,
    /// May edit and approve in `%own`, and is the author of its plan `held`.
    Author,
    /// May edit in `%own`.
    Editor,
    /// May approve in `%own`.
    Lead,
    /// Has the role `edit` of Kubernetes in `%own`.
    KubeEditor,
    Anonymous,
    Operator,
    /// The operator's account in `system:masters`: only the admission policies limit it.
    OperatorRoot,
    Server,
    Webhook,
    Gateway,
    Cache,
}

/// The API server's answer to a request.
pub(super) struct Answer {
    pub(super) accepted: bool,
    /// The output of kubectl: of a refusal, its standard error.
    pub(super) text: String,
}

/// An installation, and the names that attacks use.
pub(super) struct Site {
    pub(super) kube: Kube,
    /// Words of attacks, and what stands for them.
    words: Vec<(&'static str, String)>,
    /// An address outside of the cluster that no agent must reach.
    pub(super) outside: Option<String>,
    /// The RuntimeClass of the pod of the attacks.
    pub(super) runtime_class: Option<String>,
}

impl User {
    /// Returns kubectl's flags, with words.
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Root => &["--as=%own-root", "--as-group=system:masters"],
            Self::TenantAdmin => &["--as=%own-tam", "--as-group=%own-tenant-admins"],
            Self::Owner => &["--as=%own-olga", "--as-group=%own-owners"],
            Self::Author => &["--as=%own-ann", "--as-group=%own-editors", "--as-group=%own-leads"],
            Self::Editor => &["--as=%own-ed", "--as-group=%own-editors"],
            Self::Lead => &["--as=%own-lee", "--as-group=%own-leads"],
            Self::KubeEditor => &["--as=%own-kim", "--as-group=%own-kube-editors"],
            Self::Anonymous => &["--as=system:anonymous", "--as-group=system:unauthenticated"],
            Self::Operator => &["--as=system:serviceaccount:%system:%operator"],
            Self::OperatorRoot => &["--as=system:serviceaccount:%system:%operator", "--as-group=system:masters"],
            Self::Server => &["--as=system:serviceaccount:%system:%server"],
            Self::Webhook => &["--as=system:serviceaccount:%system:%webhook"],
            Self::Gateway => &["--as=system:serviceaccount:%system:%gateway"],
            Self::Cache => &["--as=system:serviceaccount:%system:%cache"],
        }
    }
}

impl Site {
    /// Finds the installation in the namespace `system`. `suffix` makes the names of the tenants unique.
    pub(super) fn find(kube: Kube, system: &str, suffix: &str) -> Result<Self> {
        let names = [("%own", "a"), ("%other", "b"), ("%free", "c")];
        let mut words: Vec<(&str, String)> =
            names.iter().map(|(word, end)| (*word, format!("attack-{suffix}-{end}"))).collect();
        words.push(("%system", system.to_owned()));
        let mut site = Self { kube, words, outside: None, runtime_class: None };
        let selector = "--selector=app.kubernetes.io/part-of=enact";
        let found = site.read(&["get", "deployments", "--namespace", system, selector, "--output=json"])?;
        let found: Value = serde_json::from_str(&found)?;
        for (component, word) in ACCOUNTS {
            let labelled = |item: &&Value| item["metadata"]["labels"]["app.kubernetes.io/component"] == component;
            let deployment = found["items"].as_array().into_iter().flatten().find(labelled);
            let account = deployment.and_then(|item| item["spec"]["template"]["spec"]["serviceAccountName"].as_str());
            site.learn(word, account.unwrap_or_default());
        }
        site.known("%operator").with_context(|| format!("there is no installation of Enact in namespace {system}"))?;
        Ok(site)
    }

    /// Adds a word.
    pub(super) fn learn(&mut self, word: &'static str, value: &str) {
        self.words.push((word, value.to_owned()));
    }

    /// Returns what stands for a word, if it is known and not empty.
    pub(super) fn known(&self, word: &str) -> Option<&str> {
        let found = self.words.iter().find(|(known, _)| *known == word);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Replaces the words in a text.
    pub(super) fn fill(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(*word, value))
    }

    /// Returns whether the installation has the account of this user.
    pub(super) fn has(&self, user: User) -> bool {
        let missing = |word: &str| self.known(word).is_none() && user.flags().iter().any(|flag| flag.contains(word));
        !ACCOUNTS.iter().any(|(_, word)| missing(word))
    }

    /// Runs kubectl as a user, with `input` as standard input.
    pub(super) fn ask(&self, user: User, args: &[&str], input: &str) -> Result<Answer> {
        let mut kubectl = self.kube.kubectl([REQUEST_TIMEOUT]);
        kubectl.args(user.flags().iter().map(|flag| self.fill(flag))).args(args);
        let output = kubectl.answer(input)?;
        let accepted = output.status.success();
        let bytes = if accepted { &output.stdout } else { &output.stderr };
        Ok(Answer { accepted, text: String::from_utf8_lossy(bytes).trim().to_owned() })
    }

    /// Runs kubectl as the caller of the suite, and returns its output.
    pub(super) fn read(&self, args: &[&str]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| self.fill(arg)).collect();
        self.kube.kubectl(&args).read()
    }

    /// Returns the name of a component's Service, if there is one.
    pub(super) fn service(&self, component: &str) -> Result<Option<String>> {
        let selector = format!("--selector=app.kubernetes.io/part-of=enact,app.kubernetes.io/component={component}");
        let names = "--output=jsonpath={.items[*].metadata.name}";
        let found = self.read(&["get", "services", "--namespace=%system", &selector, names])?;
        Ok(found.split_whitespace().next().map(str::to_owned))
    }

    /// Applies manifests as the caller of the suite.
    pub(super) fn apply(&self, manifests: &str) -> Result<()> {
        self.kube.apply(&self.fill(manifests), &[])
    }

    /// Applies manifests as a user.
    pub(super) fn apply_as(&self, user: User, manifests: &str) -> Result<()> {
        let flags: Vec<String> = user.flags().iter().map(|flag| self.fill(flag)).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.kube.apply(&self.fill(manifests), &flags)
    }

    /// Waits until `condition`, in the syntax of `kubectl wait --for`, is met by an object in `%own`.
    pub(super) fn wait(&self, object: &str, condition: &str, seconds: u32) -> Result<()> {
        self.kube.wait(&self.fill("%own"), &self.fill(object), condition, seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_the_start_of_another() {
        let mut words = vec!["%own", "%other", "%free", "%system", "%digest"];
        words.extend(ACCOUNTS.map(|(_, word)| word));
        for word in &words {
            let longer = words.iter().find(|other| *other != word && other.starts_with(word));
            assert!(longer.is_none(), "`{word}` would be replaced in {longer:?}");
        }
    }
}
