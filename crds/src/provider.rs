//! ModelProvider: an endpoint that serves models.

use enact_domain::agents::definition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::Condition;

/// An endpoint that serves models. The model gateway sends requests of agents to it, with a key that agents never see.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "enact.dev",
    version = "v1alpha1",
    kind = "ModelProvider",
    namespaced,
    status = "ModelProviderStatus",
    derive = "PartialEq",
    shortname = "mp",
    category = "enact",
    doc = "An endpoint that serves models. The model gateway sends requests of agents to it, with a key that agents never see.",
    printcolumn(name = "API", type_ = "string", json_path = ".spec.api"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.baseUrl", priority = 1),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelProviderSpec {
    /// API of the endpoint.
    pub api: Api,
    /// URL of the endpoint, to which the gateway adds the path of the API: `https://api.anthropic.com`, `https://api.openai.com`,
    /// `https://generativelanguage.googleapis.com`, `http://vllm.models.svc:8000`.
    #[schemars(length(min = 8, max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://')").message("must start with https:// or http://"))]
    #[x_kube(validation = Rule::new("!self.contains('@') && !self.contains('?') && !self.contains('#')").message("must not contain a credential, a query or a fragment; name a key in the field key"))]
    pub base_url: String,
    /// Key of the Secret `enact-model-keys` in the same namespace that contains the credential of the endpoint. Default: requests have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
    /// Models that agents may use, as names or prefixes that end with `*`. Empty: all models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub models: Vec<String>,
    /// Prices that apply instead of those that Enact knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub prices: Vec<ModelPrice>,
    /// Limits of the key, over all agents that use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RateLimits>,
    /// Whether agents may use tools that the provider runs itself: web search, fetching URLs, execution of code, file search, computer use and MCP
    /// connectors. With them, an agent reaches the Internet through the provider, although its pod cannot. Default: the gateway removes or
    /// refuses them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hosted_tools: bool,
    /// For a ModelProvider in the namespace of the installation: tenants whose agents may use it. They never get its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_with: Option<Sharing>,
}

impl ModelProviderSpec {
    /// Returns API and URL, with a mark if agents may use the tools that the provider runs: what an approval covers, since it decides what agents
    /// reach.
    pub fn endpoint(&self) -> (Api, String) {
        // No URL has a space.
        let tools = if self.hosted_tools { " with hosted tools" } else { "" };
        (self.api, format!("{}{tools}", self.base_url))
    }

    /// Returns whether agents may use the model.
    pub fn allows(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| is_model(pattern, model))
    }
}

/// Returns whether `pattern`, a name or a prefix that ends with `*`, includes `model`.
pub fn is_model(pattern: &str, model: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == model, |prefix| model.starts_with(prefix))
}

/// APIs of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema, strum::IntoStaticStr)]
pub enum Api {
    /// Anthropic's Messages.
    Anthropic,
    /// OpenAI's Chat Completions and Responses, which many other servers have too.
    OpenAi,
    /// Google's Gemini.
    Gemini,
}

impl From<definition::Api> for Api {
    fn from(api: definition::Api) -> Self {
        match api {
            definition::Api::Anthropic => Self::Anthropic,
            definition::Api::OpenAi => Self::OpenAi,
            definition::Api::Gemini => Self::Gemini,
        }
    }
}

impl Api {
    /// Returns the name, as in the spec of a ModelProvider.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Prices of models, in US dollars per million tokens, as decimal numbers: `3.00`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelPrice {
    /// Name of the model, or a prefix that ends with `*`.
    #[schemars(length(min = 1, max = 128))]
    pub model: String,
    /// Price of input.
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"), length(max = 13))]
    pub input: String,
    /// Price of output.
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"), length(max = 13))]
    pub output: String,
    /// Price of input that the provider has cached. Default: the price of input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"), length(max = 13))]
    pub cached_input: Option<String>,
    /// Price of input that the provider writes to its cache. Default: the price of input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"), length(max = 13))]
    pub cache_write: Option<String>,
    /// Price of input that the provider writes to its cache for an hour. Default: the price of `cacheWrite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"), length(max = 13))]
    pub cache_write_hour: Option<String>,
    /// Prices of requests with long prompts, which replace the prices above. Default: long prompts have the same price.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub long_prompts: Vec<LongPromptPrice>,
}

/// Prices of requests with long prompts, in US dollars per million tokens. All tokens of such a request have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LongPromptPrice {
    /// Number of tokens of the prompt above which the prices apply.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub above: u64,
    /// Price of input.
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"), length(max = 13))]
    pub input: String,
    /// Price of output.
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"), length(max = 13))]
    pub output: String,
    /// Price of input that the provider has cached. Default: the price of input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"), length(max = 13))]
    pub cached_input: Option<String>,
    /// Price of input that the provider writes to its cache. Default: the price of input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"), length(max = 13))]
    pub cache_write: Option<String>,
    /// Price of input that the provider writes to its cache for an hour. Default: the price of `cacheWrite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"), length(max = 13))]
    pub cache_write_hour: Option<String>,
}

/// Limits on requests to models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimits {
    /// Maximum number of requests per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub requests_per_minute: Option<u32>,
    /// Maximum number of tokens per minute, input and output together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub tokens_per_minute: Option<u64>,
    /// Maximum number of requests at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub concurrent_requests: Option<u32>,
}

/// Tenants with which an object is shared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sharing {
    /// Names of tenants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub tenants: Vec<String>,
    /// Whether it is shared with all tenants.
    #[serde(default)]
    pub all_tenants: bool,
}

impl Sharing {
    /// Returns whether the object is shared with `tenant`.
    pub fn includes(&self, tenant: &str) -> bool {
        self.all_tenants || self.tenants.iter().any(|name| name == tenant)
    }
}

/// What the operator observed of a model provider.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelProviderStatus {
    /// Generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions Ready, Reconciling and Stalled, with kstatus semantics.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
