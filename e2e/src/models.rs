//! A scripted model server for one test, what it served, and what Enact recorded of it.

use anyhow::{Context as _, Result, ensure};
use enact_crds::Plan;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt as _};
use serde::Deserialize;
use serde_json::json;

use crate::stage::MODELS;
use crate::{Answer, PATIENCE, REQUEST_TIMEOUT, Stage, program, run, until};

/// The manifest of the published example.
const MANIFEST: &str = include_str!("../../examples/model-server/model-server.yaml");
/// The key of the model server in that manifest.
pub const KEY: &str = "scripted";

/// A model server with the scenarios of a test. Its objects have the name of the stage.
pub struct ModelServer {
    name: String,
}

/// Tokens, as the model server and Enact count them: cached input is not part of the input, and reasoning is part of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    pub input: u64,
    pub cached_input: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
}

/// Complete answers and their tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    pub requests: u64,
    pub tokens: Tokens,
}

/// The part of the answer to `/_served` that tests use.
#[derive(Deserialize)]
struct Summary {
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    scenario: String,
    #[serde(rename = "run")]
    id: String,
    totals: Totals,
}

#[derive(Deserialize)]
struct Totals {
    completed: u64,
    usage: Tokens,
}

impl ModelServer {
    /// Starts a model server with these scenarios, which requires [`KEY`].
    ///
    /// # Errors
    /// If the server does not become ready.
    pub async fn start(stage: &Stage, scenarios: &[&str]) -> Result<Self> {
        Self::start_with_key(stage, scenarios, KEY).await
    }

    /// Does the same as [`Self::start`], with another key.
    ///
    /// # Errors
    /// If the server does not become ready.
    pub async fn start_with_key(stage: &Stage, scenarios: &[&str], key: &str) -> Result<Self> {
        let name = stage.name.clone();
        // A server of an earlier run has other scenarios, and has counted other requests.
        stage.clear_model_server().await?;
        let files = scenarios.iter().zip(1..).map(|(text, number)| (format!("{number}.yaml"), json!(text)));
        let scenarios = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": MODELS},
            "data": files.collect::<serde_json::Map<_, _>>(),
        });
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MODELS}});
        stage.apply(&format!("{namespace}\n---\n{scenarios}\n")).await?;
        let manifest = MANIFEST
            .replace(": enact-models", &format!(": {MODELS}"))
            .replace("name: model-server", &format!("name: {name}"))
            .replace("configMap: {name: scenarios}", &format!("configMap: {{name: {name}}}"))
            .replace(&format!("value: {KEY}"), &format!("value: {key}"));
        stage.apply(&manifest).await?;
        let api: Api<Deployment> = Api::namespaced(stage.client.clone(), MODELS);
        let ready = |d: &Deployment| d.status.as_ref().is_some_and(|s| s.ready_replicas == Some(1));
        stage.watch(&api, &name, "a ready model server", PATIENCE, ready).await?;
        Ok(Self { name })
    }

    /// Returns the URL for a ModelProvider. The server counts each run of a scenario separately.
    pub fn url(&self, scenario: &str, run: &str) -> String {
        format!("http://{}.{MODELS}.svc:8080/{scenario}/{run}", self.name)
    }

    /// Returns what the server has served to a run of a scenario.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub fn served(&self, scenario: &str, of_run: &str) -> Result<Bill> {
        let path = format!("/api/v1/namespaces/{MODELS}/services/{}:8080/proxy/_served", self.name);
        let answer = run(program("kubectl")?.args([REQUEST_TIMEOUT, "get", "--raw", &path]))?;
        let summary: Summary = serde_json::from_str(&answer).with_context(|| format!("the summary {answer}"))?;
        let found = summary.runs.into_iter().find(|r| r.scenario == scenario && r.id == of_run);
        Ok(found.map_or_else(Bill::default, |r| Bill { requests: r.totals.completed, tokens: r.totals.usage }))
    }

    /// Checks that a bill of the record equals what the server has served to a run, and returns it.
    fn has_served(&self, recorded: Bill, scenario: &str, run: &str) -> Result<Bill> {
        let expected = self.served(scenario, run)?;
        ensure!(expected.requests > 0, "the model server served nothing to {scenario}/{run}");
        ensure!(recorded == expected, "the record has {recorded:?}, the model server served {expected:?}");
        Ok(recorded)
    }
}

impl Stage {
    /// Returns what the record says that the attempts of a plan used, when no request is open any more. Errors of the provider are not
    /// counted as requests.
    ///
    /// # Errors
    /// If a request stays open, or the record cannot be read.
    pub async fn bill(&self, plan: &Plan) -> Result<Bill> {
        self.bill_where(&format!("plan_uid = '{}'", plan.uid().context("a Plan without UID")?)).await
    }

    /// Returns the bill of the requests of the stage with this condition in SQL.
    async fn bill_where(&self, condition: &str) -> Result<Bill> {
        let sum = |column: &str| format!("coalesce(sum({column}), 0)");
        let columns = ["input", "cached_input", "cache_write", "output", "reasoning"];
        let sums: Vec<String> = columns.iter().map(|name| sum(&format!("{name}_tokens"))).collect();
        let query = format!(
            "select count(*) filter (where outcome is null), count(*) filter (where http_status = 200), {} \
             from enact.model_requests where {condition} and not self_reported",
            sums.join(", ")
        );
        until("settled model requests", PATIENCE, || async {
            let rows = self.record(&query)?;
            let figures = rows.first().map(|row| row.split('|').map(str::parse).collect::<Result<Vec<u64>, _>>());
            let figures = figures.context("the query has no row")??;
            let [open, requests, input, cached_input, cache_write, output, reasoning] = figures[..] else {
                anyhow::bail!("the query has another form: {figures:?}");
            };
            if open > 0 {
                return Ok(Answer::NotYet(format!("{open} requests are open")));
            }
            let tokens = Tokens { input, cached_input, cache_write, output, reasoning };
            Ok(Answer::Yes(Bill { requests, tokens }))
        })
        .await
    }

    /// Checks that the record of a plan equals what the model server served to a run, to the token, and that this is not nothing.
    ///
    /// # Errors
    /// If there is a difference, with both bills.
    pub async fn bill_equals(&self, plan: &Plan, server: &ModelServer, scenario: &str, run: &str) -> Result<Bill> {
        server.has_served(self.bill(plan).await?, scenario, run)
    }

    /// Does the same as [`Self::bill_equals`] for all requests of the stage: also those of agents that draft, plan and judge.
    ///
    /// # Errors
    /// If there is a difference, with both bills.
    pub async fn whole_bill_equals(&self, server: &ModelServer, scenario: &str, run: &str) -> Result<Bill> {
        server.has_served(self.bill_where("true").await?, scenario, run)
    }
}

/// A coding agent under test, and the provider of its model.
#[derive(Clone, Copy, Debug)]
pub struct CodingAgent {
    /// The adapter.
    pub adapter: &'static str,
    /// The API that the adapter speaks.
    pub api: &'static str,
    /// A model that the agent knows.
    pub model: &'static str,
    /// The last part of the image's name.
    pub image: &'static str,
    /// The memory of its pods: what it was seen to use, with a margin.
    pub memory: &'static str,
}

/// The coding agents that are verified.
pub const CODING_AGENTS: [CodingAgent; 6] = [
    CodingAgent {
        adapter: "ClaudeCode",
        api: "Anthropic",
        model: "claude-sonnet-4-5",
        image: "agent-claude-code",
        memory: "768Mi",
    },
    CodingAgent { adapter: "Codex", api: "OpenAi", model: "gpt-5-codex", image: "agent-codex", memory: "512Mi" },
    CodingAgent {
        adapter: "GeminiCli",
        api: "Gemini",
        model: "gemini-2.5-pro",
        image: "agent-gemini-cli",
        memory: "768Mi",
    },
    CodingAgent { adapter: "QwenCode", api: "OpenAi", model: "qwen3-coder", image: "agent-qwen-code", memory: "1Gi" },
    CodingAgent { adapter: "OpenCode", api: "OpenAi", model: "gpt-5", image: "agent-opencode", memory: "1536Mi" },
    CodingAgent { adapter: "Copilot", api: "OpenAi", model: "gpt-5", image: "agent-copilot", memory: "1Gi" },
];

/// Returns a verified coding agent.
///
/// # Panics
/// If there is none with this adapter.
pub fn coding_agent(adapter: &str) -> CodingAgent {
    let found = CODING_AGENTS.into_iter().find(|agent| agent.adapter == adapter);
    found.unwrap_or_else(|| panic!("{adapter} is not verified"))
}

impl CodingAgent {
    /// Returns the manifests of the Agent `coder` and of the ModelProvider `scripted`, with the key that the namespace's Secret has.
    pub fn manifests(self, url: &str) -> String {
        let provider = provider("scripted", self.api, url);
        format!("{}---\n{provider}---\n{}", keys(KEY), self.agent("coder", "scripted", ""))
    }

    /// Returns the manifest of an Agent with a model of this provider. `more` are additional lines below its `spec`.
    pub fn agent(self, name: &str, provider: &str, more: &str) -> String {
        let Self { adapter, model, image, memory, .. } = self;
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {{name: {name}}}\nspec:\n  adapter: {adapter}\n  \
             image: ghcr.io/enact-dev/{image}:{version}\n  models: [{{provider: {provider}, model: {model}}}]\n  \
             env: [{{name: PYTHONDONTWRITEBYTECODE, value: '1'}}]\n  \
             resources: {{cpu: 50m, memory: {memory}, ephemeralStorage: 1Gi}}\n{more}---\n"
        )
    }
}

/// Returns the manifest of the Secret with the key of the ModelProvider `scripted`.
pub fn keys(key: &str) -> String {
    let name = enact_domain::names::MODEL_KEYS_SECRET;
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{scripted: {key}}}\n")
}

/// Returns the manifest of a ModelProvider whose key is `scripted`. Its models cost 1 dollar per million tokens of input and 4 of output.
pub fn provider(name: &str, api: &str, url: &str) -> String {
    format!(
        "apiVersion: enact.dev/v1alpha1\nkind: ModelProvider\nmetadata: {{name: {name}}}\nspec:\n  api: {api}\n  baseUrl: {url}\n  \
         key: scripted\n  prices: [{{model: '*', input: '1', output: '4'}}]\n"
    )
}
