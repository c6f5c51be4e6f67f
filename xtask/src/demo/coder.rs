//! The demonstration with a coding agent: it builds a Spec Kit feature, with a model or with a scripted model server.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::own::{GIT_NAMESPACE, SHOP};
use super::show;
use super::steps::{Clock, DEVELOPER, approve, example, until_finished};
use crate::cmd::CommandExt;
use crate::dirs;
use crate::images::archive;
use crate::install::Images;
use crate::kube::Kube;

/// Helm's flags: the scripted model server is a Service, and therefore has a private address.
pub(super) const FLAGS: [&str; 2] =
    ["--set=gateway.allowedPrivateHosts={model-server.enact-demo.svc}", "--set=networkPolicy.modelPorts={443,8080}"];

/// The plan of the feature, as the import names it.
pub(super) const PLAN: &str = "f002-text-report";
const FEATURE: &str = "speckit/specs/002-text-report";
/// The scenario of the scripted model server for this feature.
const SCENARIO: &str = "text-report";
/// The key of the scripted model server, which is not a secret.
const SCRIPTED_KEY: &str = "scripted";
/// The limit on what a demonstration with a model may cost, in US dollars.
const BUDGET: &str = "5";

/// The script of a pod with the agent image that uses the published branch of the feature.
const PRODUCT: &str = r#"
git clone --quiet --branch plan/f002-text-report http://git-server:8080/shop.git /tmp/report
cd /tmp/report
echo "--- the commits of the branch plan/f002-text-report, without the merges"
git log --no-merges --format='%h %an: %s'
echo "--- the product's tests"
python3 -m unittest discover --start-directory tests --top-level-directory . 2>&1 | tail -n 3
python3 -m unittest discover --quiet --start-directory tests --top-level-directory . 2>/dev/null
echo "--- the product"
printf 'Enact runs agents. It keeps their bills!\n' | python3 -m textreport --json
"#;

/// A coding agent, and the provider of its model.
#[derive(Clone, Copy)]
pub(super) struct Coder {
    pub(super) name: &'static str,
    adapter: &'static str,
    /// The environment variable with the provider's key.
    variable: &'static str,
    api: &'static str,
    url: &'static str,
    /// The default model.
    model: &'static str,
}

const ANTHROPIC: (&str, &str, &str) = ("ANTHROPIC_API_KEY", "Anthropic", "https://api.anthropic.com");
const GEMINI: (&str, &str, &str) = ("GEMINI_API_KEY", "Gemini", "https://generativelanguage.googleapis.com");
const OPENAI: (&str, &str, &str) = ("OPENAI_API_KEY", "OpenAi", "https://api.openai.com");

/// The coding agents that are verified.
pub(super) const CODERS: [Coder; 6] = [
    coder("claude-code", "ClaudeCode", ANTHROPIC, "claude-sonnet-4-5"),
    coder("codex", "Codex", OPENAI, "gpt-5-codex"),
    coder("copilot", "Copilot", OPENAI, "gpt-5"),
    coder("gemini-cli", "GeminiCli", GEMINI, "gemini-2.5-pro"),
    coder("opencode", "OpenCode", OPENAI, "gpt-5"),
    coder("qwen-code", "QwenCode", OPENAI, "gpt-5"),
];

const fn coder(
    name: &'static str,
    adapter: &'static str,
    (variable, api, url): (&'static str, &'static str, &'static str),
    model: &'static str,
) -> Coder {
    Coder { name, adapter, variable, api, url, model }
}

impl Coder {
    /// Returns the name of the image.
    pub(super) fn image(&self) -> String {
        format!("agent-{}", self.name)
    }
}

/// A coding agent with what it uses in this demonstration.
pub(super) struct Session {
    pub(super) coder: Coder,
    model: String,
    /// The provider's key; none for the scripted model server. It is never printed.
    key: Option<String>,
}

impl Session {
    /// Selects a coding agent, and its model by what the environment has.
    pub(super) fn of(name: &str, model: Option<&str>) -> Result<Self> {
        let coder = CODERS.into_iter().find(|coder| coder.name == name).context("there is no such coding agent")?;
        let key = std::env::var(coder.variable).ok().filter(|key| !key.trim().is_empty());
        let model = model.unwrap_or(coder.model).to_owned();
        match &key {
            Some(_) => println!(
                "{} uses the model {model} of {} with the key in {}, for at most {BUDGET} dollars.",
                coder.adapter, coder.url, coder.variable
            ),
            None => println!(
                "{} is not set: {} uses a scripted model server, which answers as a model would and costs nothing.",
                coder.variable, coder.adapter
            ),
        }
        Ok(Self { coder, model, key })
    }

    /// Lets the coding agent build the feature, and shows the result and the bill.
    pub(super) fn run(&self, kube: &Kube, images: &Images, clock: &Clock) -> Result<()> {
        self.add_provider(kube, images, clock, SCENARIO)?;
        clock.step("The developer dana adds an agent, and imports the feature");
        kube.apply(&self.agent("coder", &images.name(&self.coder.image())?).to_string(), &DEVELOPER)?;
        kube.apply(&import(kube)?, &DEVELOPER)?;
        let patch = json!({ "spec": { "execution": { "parallelism": 3, "budget": { "usd": BUDGET } } } }).to_string();
        kube.kubectl(["patch", "plan", PLAN, "--namespace", SHOP, "--type=merge", "--patch", &patch])
            .args(DEVELOPER)
            .read()?;
        clock.step("The lead lee approves the specification and the plan");
        approve(kube, "specification", PLAN)?;
        approve(kube, "plan", PLAN)?;
        clock.step("The plan runs");
        until_finished(kube, PLAN)?;
        clock.step("The result");
        show::outcome(kube, images, PRODUCT)?;
        clock.step("What it used");
        kube.enact(["usage", "--by", "task,model", "--namespace", SHOP]).show()
    }

    /// Returns whether the scripted model server answers.
    pub(super) fn is_scripted(&self) -> bool {
        self.key.is_none()
    }

    /// Adds the model provider, and starts the scripted model server with a scenario if it is needed.
    pub(super) fn add_provider(&self, kube: &Kube, images: &Images, clock: &Clock, scenario: &str) -> Result<()> {
        clock.step("The platform adds a model provider, and its key for the model gateway");
        if self.is_scripted() {
            model_server(kube, images, scenario)?;
        }
        kube.apply(&self.provider(scenario).to_string(), &[])
    }

    /// Returns the ModelProvider, and the Secret that only the model gateway reads.
    fn provider(&self, scenario: &str) -> Value {
        let Coder { api, url, .. } = self.coder;
        let scripted = format!("http://model-server.{GIT_NAMESPACE}.svc:8080/{scenario}/demo");
        let url = if self.key.is_some() { url } else { &scripted };
        let key = self.key.as_deref().unwrap_or(SCRIPTED_KEY);
        json!({ "apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": "enact-model-keys", "namespace": SHOP },
                "stringData": { "provider": key },
            },
            {
                "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider",
                "metadata": { "name": "provider", "namespace": SHOP },
                "spec": { "api": api, "baseUrl": url, "key": "provider" },
            },
        ] })
    }

    /// Returns the manifest of an Agent.
    pub(super) fn agent(&self, name: &str, image: &str) -> Value {
        json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Agent",
            "metadata": { "name": name, "namespace": SHOP },
            "spec": {
                "adapter": self.coder.adapter,
                "image": image,
                "models": [{ "provider": "provider", "model": self.model }],
                "env": [{ "name": "PYTHONDONTWRITEBYTECODE", "value": "1" }],
                "resources": { "cpu": "100m", "memory": "1536Mi", "ephemeralStorage": "2Gi" },
            },
        })
    }
}

/// Reads a scenario of the examples.
pub(super) fn scenario_text(name: &str) -> Result<String> {
    example(&format!("model-server/scenarios/{name}.yaml"))
}

/// Starts the scripted model server beside the Git server.
fn model_server(kube: &Kube, images: &Images, scenario: &str) -> Result<()> {
    let scenarios = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "scenarios", "namespace": GIT_NAMESPACE },
        "data": { "scenario.yaml": scenario_text(scenario)? },
    });
    kube.apply(&scenarios.to_string(), &[])?;
    kube.apply(&model_server_manifests(&images.name("modelsim")?)?, &[])?;
    let rollout = ["rollout", "status", "deployment/model-server", "--namespace", GIT_NAMESPACE, "--timeout=120s"];
    kube.kubectl(rollout).read().context("the scripted model server does not start").map(drop)
}

/// Returns the manifests of the example, in the namespace of the Git server and with an image that the cluster has.
fn model_server_manifests(image: &str) -> Result<String> {
    let published = format!("image: {}/modelsim:{}\n", archive::REGISTRY, archive::VERSION);
    let manifests = example("model-server/model-server.yaml")?;
    Ok(manifests
        .replace("namespace: enact-models\n", &format!("namespace: {GIT_NAMESPACE}\n"))
        .replace(&published, &format!("image: {image}\n")))
}

/// Returns the manifests of the feature, which people of the group `leads` must approve.
fn import(kube: &Kube) -> Result<String> {
    let feature = dirs::workspace().join("examples").join(FEATURE);
    let url = format!("http://git-server.{GIT_NAMESPACE}:8080/shop.git");
    let mut import = kube.enact(["import"]);
    import.arg(feature).args(["--namespace", SHOP, "--agent", "coder", "--approve-groups", "leads"]);
    import.args(["--git-url", &url, "--credentials-secret", "git-agent", "--integration-secret", "git-integrator"]);
    import.read().context("the feature cannot be imported")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images;

    fn session(key: Option<&str>) -> Session {
        Session { coder: CODERS[0], model: "m".to_owned(), key: key.map(str::to_owned) }
    }

    #[test]
    fn every_coder_has_an_image() {
        let mut names: Vec<String> = CODERS.iter().map(Coder::image).collect();
        names.sort();
        assert_eq!(names, images::agent_images().collect::<Vec<_>>());
    }

    #[test]
    fn a_key_selects_the_provider() {
        let real = session(Some("k")).provider(SCENARIO);
        assert_eq!(real["items"][0]["stringData"]["provider"], "k");
        assert_eq!(real["items"][1]["spec"]["baseUrl"], "https://api.anthropic.com");
        let scripted = session(None).provider(SCENARIO);
        let url = scripted["items"][1]["spec"]["baseUrl"].as_str().unwrap();
        let allowed = FLAGS[0].split_once('{').unwrap().1.trim_end_matches('}');
        assert!(url.starts_with(&format!("http://{allowed}:8080/")), "{url}");
    }

    #[test]
    fn the_model_server_is_that_of_the_example() {
        let manifests = model_server_manifests("an-image").unwrap();
        assert!(manifests.contains("image: an-image\n"), "{manifests}");
        assert_eq!(manifests.matches(&format!("namespace: {GIT_NAMESPACE}\n")).count(), 2, "{manifests}");
        assert!(manifests.contains("command: [/usr/local/bin/enact-modelsim]\n"), "{manifests}");
    }

    #[test]
    fn the_agent_has_no_key() {
        let agent = session(Some("secret")).agent("coder", "image").to_string();
        assert!(!agent.contains("secret"), "{agent}");
    }

    #[test]
    fn the_feature_and_its_scenario_exist() {
        let text = scenario_text(SCENARIO).unwrap();
        let tasks = example(&format!("{FEATURE}/tasks.md")).unwrap();
        let ids: Vec<&str> = tasks.lines().filter_map(|line| line.strip_prefix("- [ ] ")?.split(' ').next()).collect();
        assert_eq!(ids.len(), 14);
        for id in ids {
            assert!(text.contains(&format!("\"(?m)^# Task {id}$\"")), "the scenario has no rule for {id}");
        }
    }
}
