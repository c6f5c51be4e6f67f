//! Agent: how one coding agent runs.

use std::borrow::Cow;

use enact_domain::agents::builtin;
use enact_domain::agents::definition::AdapterDefinition;
use enact_domain::agents::mcp::credential_variable;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::common::{Budget, Condition, LocalRef, MonthlyUsage, Resources, Time};
use crate::provider::{Api, RateLimits, Sharing};
use crate::warm_pool::{WarmPool, WarmPoolStatus};

/// How one coding agent runs.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "enact.dev",
    version = "v1alpha1",
    kind = "Agent",
    namespaced,
    status = "AgentStatus",
    derive = "PartialEq",
    shortname = "ag",
    category = "enact",
    doc = "How one coding agent runs.",
    printcolumn(name = "Adapter", type_ = "string", json_path = ".spec.adapter"),
    printcolumn(name = "Verified", type_ = "boolean", json_path = ".status.adapter.verified"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.models[0].model"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.running", priority = 1),
    printcolumn(name = "Waiting", type_ = "integer", json_path = ".status.warmPool.ready", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.adapter != 'Replay' || has(self.replay)").message("the adapter Replay requires the field replay"),
    validation = Rule::new("(self.adapter == 'Custom') == has(self.custom)").message("the adapter Custom requires the field custom, and no other adapter has it"),
    validation = Rule::new("!(self.adapter in ['Command', 'Replay']) || !(has(self.instructions) || has(self.mcpServers) || has(self.skills) || has(self.maxTurns))").message("instructions, mcpServers, skills and maxTurns are for coding agents; remove them, or choose another adapter"),
    validation = Rule::new("has(self.models) || !has(self.limits)").message("limits are for requests to the model gateway; name models, or remove limits"),
    validation = Rule::new("self.adapter != 'Replay' || !has(self.models)").message("the adapter Replay uses no model; remove models"),
)]
pub struct AgentSpec {
    /// Adapter that runs the agent.
    pub adapter: Adapter,
    /// Image of the pods. Default: the agent image of the installation, which contains Git, Python and the runner. An init container adds
    /// the runner to any other image; that image must contain `git` and `/bin/sh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// For the adapter Custom: how the agent is run, in the form of the built-in adapters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub custom: Option<serde_json::Value>,
    /// Models of the agent. It asks for the first one; when its provider fails before it has answered, the model gateway sends the request to
    /// the next one. All providers must have the same API. Without models, the agent cannot use the model gateway, and its own report of its
    /// usage is recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub models: Vec<ModelRef>,
    /// For coding agents: instructions in addition to those of each task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32_768))]
    pub instructions: Option<String>,
    /// For coding agents: MCP servers that the agent may use. Their credentials are in env and headers of the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    pub mcp_servers: Vec<McpServer>,
    /// For coding agents that can use them: skills, which the agent reads when a task needs them. They are copied into the agent's HOME, never
    /// into the repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    pub skills: Vec<Skill>,
    /// For coding agents that can limit it: maximum number of turns of one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_turns: Option<u32>,
    /// What the agent can do. A Plan with a pool of agents gives a task to an agent that declares all that the task requires.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    pub capabilities: Vec<Capability>,
    /// Maximum number of running attempts of the agent. Default: the limits of plan and tenant apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrency: Option<u32>,
    /// Whether to start no attempts with this agent. Running attempts continue, and tasks wait or get another agent of their pool. It can be
    /// changed without another approval of plans.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Budget of a calendar month (UTC) for all attempts of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_budget: Option<Budget>,
    /// Limits on requests to models, over all attempts of this agent that run. The tenant's limits and those of the provider apply too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RateLimits>,
    /// For the adapter Command: the script that `/bin/sh -e` runs for tasks without a script. The file named by `ENACT_PROMPT_FILE` contains
    /// the prompt of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
    pub script: Option<String>,
    /// For the adapter Replay: source of the recorded work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// Environment variables of the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,
    /// For coding agents: what a short pod checks before the first attempt. Default: the image.
    #[serde(default)]
    pub probe: ProbeMode,
    /// Compute resources of the pods of tasks that name none.
    #[serde(default)]
    pub resources: Resources,
    /// Started pods that wait for attempts of this agent. Each of them is used for one attempt. They count in the tenant's quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_pool: Option<WarmPool>,
    /// For an Agent in the namespace of the installation: tenants whose plans may use it. Its pods run in the namespaces of the tenants, and
    /// its models are those of the installation. The tenants never get the keys of the ModelProviders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_with: Option<Sharing>,
}

impl AgentSpec {
    /// Returns the maximum number of running attempts at which another one may start; none without a limit.
    pub fn attempt_limit(&self) -> Option<u32> {
        if self.suspend { Some(0) } else { self.concurrency }
    }

    /// Returns whether its attempts use models, whose usage is recorded.
    pub fn uses_models(&self) -> bool {
        self.adapter.is_coding_agent() || !self.models.is_empty()
    }

    /// Returns whether the operator probes it before the first attempt.
    pub fn wants_probe(&self) -> bool {
        self.probe != ProbeMode::Off && self.adapter.is_coding_agent()
    }

    /// Returns the definition of a coding agent's adapter; none for scripts and recorded work.
    ///
    /// # Errors
    /// If the definition in `custom` is invalid; the message is for a person.
    pub fn definition(&self) -> Result<Option<Cow<'static, AdapterDefinition>>, String> {
        // Not a typed field: a reader of all Agents must not fail because one of them is invalid.
        let Some(custom) = self.custom.as_ref().filter(|_| self.adapter == Adapter::Custom) else {
            return Ok(builtin::find(self.adapter.as_str()).map(Cow::Borrowed));
        };
        let definition: AdapterDefinition =
            serde_json::from_value(custom.clone()).map_err(|error| error.to_string())?;
        definition.check()?;
        Ok(Some(Cow::Owned(definition)))
    }

    /// Returns what is known about the adapter; none for scripts and recorded work.
    pub fn adapter_status(&self) -> Option<AdapterStatus> {
        // The author of a custom definition can write any version into it.
        let version = builtin::find(self.adapter.as_str()).and_then(|definition| definition.verified.clone());
        self.adapter.is_coding_agent().then_some(AdapterStatus { verified: version.is_some(), version })
    }

    /// Returns the keys of Secrets that the pods of the agent read, with the fields that name them.
    pub fn secret_keys(&self) -> Vec<(String, &SecretKey)> {
        let mut keys = Vec::new();
        for (i, variable) in self.env.iter().enumerate() {
            keys.extend(variable.secret_key_ref.as_ref().map(|key| (format!("spec.env[{i}].secretKeyRef"), key)));
        }
        for (i, server) in self.mcp_servers.iter().enumerate() {
            let field = |list: &str, j: usize| format!("spec.mcpServers[{i}].{list}[{j}].secretKeyRef");
            for (j, variable) in server.env.iter().enumerate() {
                keys.extend(variable.secret_key_ref.as_ref().map(|key| (field("env", j), key)));
            }
            for (j, header) in server.headers.iter().enumerate() {
                keys.extend(header.secret_key_ref.as_ref().map(|key| (field("headers", j), key)));
            }
        }
        keys
    }

    /// Returns what the adapter can do; nothing if its definition is invalid.
    pub fn capabilities(&self) -> Capabilities {
        match self.definition().ok().flatten() {
            Some(definition) => Capabilities {
                gateway: definition.api.is_some(),
                api: definition.api.map(Api::from),
                mcp: definition.capabilities.mcp,
                skills: definition.capabilities.skills,
                turn_limit: definition.capabilities.turn_limit,
            },
            // A script gets the address and the token of the gateway in its environment, and may speak any API.
            None => Capabilities { gateway: self.adapter == Adapter::Command, ..Capabilities::default() },
        }
    }
}

/// What the probe of an agent checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum ProbeMode {
    /// Nothing: no pod is started.
    Off,
    /// That the image can be pulled, the Secrets and ConfigMaps exist, and the program of the adapter runs.
    #[default]
    Image,
    /// Also that the first model answers a request of a few tokens through the model gateway, which costs them. Without models, only the
    /// image.
    Model,
}

/// Returns the schema of an object with any fields: the definition of an adapter is checked by the webhook and the operator.
fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Kinds of agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema, strum::IntoStaticStr)]
pub enum Adapter {
    /// A shell script.
    Command,
    /// Recorded work of another agent, played back.
    Replay,
    /// Anthropic's Claude Code.
    ClaudeCode,
    /// OpenAI's Codex.
    Codex,
    /// Google's Gemini CLI.
    GeminiCli,
    /// Alibaba's Qwen Code.
    QwenCode,
    /// OpenCode.
    OpenCode,
    /// GitHub's Copilot CLI.
    Copilot,
    /// Cursor's CLI. Written from its documentation and not verified.
    Cursor,
    /// Cognition's Devin CLI. Written from its documentation and not verified.
    Devin,
    /// Any other coding agent, which the field custom describes.
    Custom,
}

impl Adapter {
    /// Returns whether the adapter runs a coding agent, which needs a model, instead of a script or recorded work.
    pub fn is_coding_agent(self) -> bool {
        !matches!(self, Self::Command | Self::Replay)
    }

    /// Returns the name, as in the spec of an Agent.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What an adapter can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent capability")]
pub struct Capabilities {
    /// Whether it can use the model gateway, which `spec.models` requires.
    pub gateway: bool,
    /// API of the gateway that it speaks; none if it speaks no particular one.
    pub api: Option<Api>,
    /// Whether it can use MCP servers.
    pub mcp: bool,
    /// Whether it can use skills.
    pub skills: bool,
    /// Whether it can limit the number of turns.
    pub turn_limit: bool,
}

/// A model of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelRef {
    /// Name of a ModelProvider in the same namespace, or of one that the installation shares with the tenant.
    #[schemars(length(min = 1, max = 253))]
    pub provider: String,
    /// Name of the model, as the provider knows it.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$"))]
    pub model: String,
}

/// An MCP server: a program in the agent's image (`command`), or a server (`url`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.command) != has(self.url)").message("set exactly one of command and url"),
    validation = Rule::new("!has(self.env) || has(self.command)").message("only a server with a command has env; set headers"),
    validation = Rule::new("!has(self.headers) || has(self.url)").message("only a server with a url has headers; set env"),
)]
pub struct McpServer {
    /// Name of the server, which is a part of the names of its tools.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Program and arguments of a server that the agent starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 1024)))]
    pub command: Vec<String>,
    /// URL of a server with the transport Streamable HTTP. The network policy of the tenant must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://')").message("must start with https:// or http://"))]
    pub url: Option<String>,
    /// Environment variables of the command. The agent itself does not get them. A value of a Secret is never in the assignment, in the
    /// status or in the record, and it is redacted in logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    pub env: Vec<EnvVar>,
    /// Headers of the requests to the URL, for example Authorization.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    pub headers: Vec<Header>,
}

impl McpServer {
    /// Returns the variables of the pod with the credentials of the server, and the keys of Secrets with their values.
    pub fn credentials(&self) -> impl Iterator<Item = (String, &SecretKey)> {
        let env = self.env.iter().map(|variable| (&variable.name, variable.secret_key_ref.as_ref()));
        let headers = self.headers.iter().map(|header| (&header.name, header.secret_key_ref.as_ref()));
        env.chain(headers).filter_map(|(name, key)| Some((credential_variable(&self.name, name), key?)))
    }
}

/// One header of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.value) != has(self.secretKeyRef)").message("set exactly one of value and secretKeyRef"))]
pub struct Header {
    /// Name of the header.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9-]*$"))]
    pub name: String,
    /// Value of the header. Everybody who may read the Agent can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096), regex(pattern = r"^[^\r\n]*$"))]
    pub value: Option<String>,
    /// Key of a Secret in the same namespace that contains the whole value, for example `Bearer` and the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKey>,
}

/// A skill: a folder with the file `SKILL.md` and files that it refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Skill {
    /// Name of the folder, and of the skill in the frontmatter of its `SKILL.md`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]+(-[a-z0-9]+)*$"))]
    pub name: String,
    /// ConfigMap with one key for each file. It must have the key `SKILL.md`.
    pub config_map_ref: LocalRef,
}

/// Something that an agent can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capability {
    /// Name of the capability, which tasks require: `rust`, `security-review`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// How good the agent is at it, from 1 to 100. Default: 50.
    // The schema has no default: in a list, a default would differ from what a client applies again.
    #[serde(default = "default_proficiency", skip_serializing_if = "is_default_proficiency")]
    #[schemars(range(min = 1, max = 100))]
    pub proficiency: u8,
    /// What one attempt at a task that needs it is expected to cost, in US dollars, as a decimal number: `0.40`. The selection from a pool uses
    /// it until the record has the cost of such attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"), length(max = 13))]
    pub expected_usd: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_default_proficiency(proficiency: &u8) -> bool {
    *proficiency == default_proficiency()
}

fn default_proficiency() -> u8 {
    50
}

/// Recorded work: `<task id>.patch` (an mbox for `git am`) and `<task id>.transcript`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replay {
    /// ConfigMap with one key for each file.
    pub config_map_ref: LocalRef,
}

/// One environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.value) != has(self.secretKeyRef)").message("set exactly one of value and secretKeyRef"))]
#[x_kube(validation = Rule::new("!self.name.startsWith('ENACT_')").message("names that start with ENACT_ are reserved"))]
pub struct EnvVar {
    /// Name of the variable.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// Value of the variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32_768))]
    pub value: Option<String>,
    /// Key of a Secret in the same namespace that contains the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKey>,
}

/// One key of a Secret in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// Name of the Secret, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its `data`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Returns whether a text has the form of an image reference.
pub fn is_image(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    starts_well && text.chars().all(allowed) && !text.contains("//") && !text.ends_with(['/', ':', '@'])
}

/// What is known about the adapter of a coding agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdapterStatus {
    /// Whether Enact's tests run the adapter with the real program. Other adapters are written from the documentation of the program, or by
    /// the author of the Agent.
    pub verified: bool,
    /// Version of the program in these tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What the operator observed of an agent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// For coding agents: what is known about the adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterStatus>,
    /// Conditions Ready, Reconciling and Stalled, with kstatus semantics; Probed is False for an Agent that is not probed because of its namespace,
    /// and BudgetLow is True while at least 80 % of the monthly budget is spent.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Number of running attempts, for an Agent of a pool or with a concurrency. Refreshed every ten minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// Use of models in this month, while the Agent has a monthly budget. Refreshed every ten minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<MonthlyUsage>,
    /// For an Agent with a warm pool: its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_pool: Option<WarmPoolStatus>,
    /// Results of past attempts at tasks that needed a declared capability. Refreshed every ten minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub capabilities: Vec<CapabilityStatus>,
    /// The last probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeStatus>,
    /// The ConfigMaps of its recorded work and skills, as the operator read them last. The approval of a Plan covers their content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub config_maps: Vec<ConfigMapContent>,
}

/// A ConfigMap as the operator read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapContent {
    /// Name of the ConfigMap.
    pub name: String,
    /// Digest of its `data` and `binaryData`.
    pub digest: String,
}

/// The end of a probe.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeStatus {
    /// Digest of what was probed: image, adapter, models and variables. A change of one of these starts another probe.
    pub digest: String,
    /// `Succeeded`, or the reason of the failure as for an attempt.
    pub reason: String,
    /// What the program prints as its version, or the cause of the failure.
    pub message: String,
    /// Time of the end.
    pub finished_at: Time,
}

/// Results of past attempts at tasks that needed a capability.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapabilityStatus {
    /// Name of the capability.
    pub name: String,
    /// Number of attempts that count: the newest ones, at most 200, whose result depended on the agent.
    pub attempts: u32,
    /// Share of them that succeeded, in percent.
    pub success_percent: u8,
    /// Median cost of an attempt in US dollars, as a decimal number, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_usd: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_adapters_with_a_version_are_verified() {
        let status = |adapter: Adapter| {
            let spec =
                AgentSpec { adapter, ..serde_json::from_value(serde_json::json!({"adapter": "Codex"})).unwrap() };
            spec.adapter_status().map(|status| (status.verified, status.version.is_some()))
        };
        for adapter in [Adapter::ClaudeCode, Adapter::Codex, Adapter::GeminiCli, Adapter::QwenCode, Adapter::OpenCode] {
            assert_eq!(status(adapter), Some((true, true)), "{adapter:?}");
        }
        for adapter in [Adapter::Cursor, Adapter::Devin, Adapter::Custom] {
            assert_eq!(status(adapter), Some((false, false)), "{adapter:?}");
        }
        assert_eq!((status(Adapter::Command), status(Adapter::Replay)), (None, None));
    }

    #[test]
    fn images() {
        for good in ["a", "localhost:5000/enact/agent:v1", "ghcr.io/a/b@sha256:0123"] {
            assert!(is_image(good), "{good}");
        }
        for bad in ["https://ghcr.io/a", "-a", "a b", "a\nb", "a:", "", "a//b", "$(id)"] {
            assert!(!is_image(bad), "{bad}");
        }
    }
}
