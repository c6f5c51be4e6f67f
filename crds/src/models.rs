//! The models of an Agent: which providers their names refer to, and whether the Agent's adapter can use them. Webhook, operator and gateway
//! call the same functions.

use std::borrow::Borrow;
use std::sync::Arc;

use crate::agent::Adapter;
use crate::provider::{Api, ModelProviderSpec};
use crate::{Agent, AgentSpec};

/// The ModelProvider that a name refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved<P> {
    /// It is in the Agent's namespace, or in the installation's namespace and shared with the tenant.
    Found(P),
    /// It is in the installation's namespace, and not shared with the tenant.
    NotShared,
    NotFound,
}

/// Returns the Agent that a name in a plan refers to. `own` is the one with this name in the plan's namespace, `installed` the one in the
/// installation's namespace; `tenant` owns the plan's namespace.
pub fn resolve_agent(own: Option<Arc<Agent>>, installed: Option<Arc<Agent>>, tenant: &str) -> Option<Arc<Agent>> {
    let is_shared = |agent: &Arc<Agent>| agent.spec.share_with.as_ref().is_some_and(|with| with.includes(tenant));
    own.or_else(|| installed.filter(is_shared))
}

/// Returns the provider that a name refers to. `own` is the one with this name in the Agent's namespace, `installed` the one in the
/// installation's namespace; `tenant` owns the Agent's namespace.
pub fn resolve<P: Borrow<ModelProviderSpec>>(own: Option<P>, installed: Option<P>, tenant: &str) -> Resolved<P> {
    match (own, installed) {
        (Some(own), _) => Resolved::Found(own),
        (None, Some(shared)) if shared.borrow().share_with.as_ref().is_some_and(|with| with.includes(tenant)) => {
            Resolved::Found(shared)
        }
        (None, Some(_)) => Resolved::NotShared,
        (None, None) => Resolved::NotFound,
    }
}

/// Why an Agent cannot use one of its models.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelProblem {
    #[error(
        "there is no ModelProvider {provider} in this namespace, and the installation shares none of this name; create it, or correct \
         the name"
    )]
    ProviderNotFound { provider: String },
    #[error(
        "the installation does not share its ModelProvider {provider} with this tenant; ask a platform administrator, or create one in \
         this namespace"
    )]
    ProviderNotShared { provider: String },
    #[error("ModelProvider {provider} has the API {}, and {expected}; choose another provider or adapter", found.as_str())]
    ApiMismatch { provider: String, found: Api, expected: ExpectedApi },
    #[error(
        "ModelProvider {provider} does not allow the model {model}; add it to the provider's spec.models, or choose another model"
    )]
    ModelNotAllowed { provider: String, model: String },
    /// Only the operator knows it.
    #[error(
        "this installation runs no model gateway, through which models are used; a platform administrator enables it with the value \
         gateway.enabled of the chart, or remove spec.models and give the agent its own credential in spec.env"
    )]
    NoGateway,
}

/// Why a provider must have one API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectedApi {
    #[error("the adapter {} requires {}", .0.as_str(), .1.as_str())]
    OfAdapter(Adapter, Api),
    #[error("the provider of spec.models[0] has {}", .0.as_str())]
    OfFirst(Api),
}

impl ModelProblem {
    /// Returns the reason of the Agent's condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ProviderNotFound { .. } => "ProviderNotFound",
            Self::ProviderNotShared { .. } => "ProviderNotShared",
            Self::ApiMismatch { .. } => "ApiMismatch",
            Self::ModelNotAllowed { .. } => "ModelNotAllowed",
            Self::NoGateway => "NoGateway",
        }
    }

    /// Returns whether the problem can be solved without a change of the Agent: somebody creates or shares the provider.
    pub fn may_resolve_itself(&self) -> bool {
        matches!(self, Self::ProviderNotFound { .. } | Self::ProviderNotShared { .. } | Self::NoGateway)
    }
}

/// Checks the models of an Agent, and returns the problems with the index of each model. `provider` resolves a name; see [`resolve`].
pub fn check<P: Borrow<ModelProviderSpec>>(
    spec: &AgentSpec,
    provider: impl Fn(&str) -> Resolved<P>,
) -> Vec<(usize, ModelProblem)> {
    let mut expected = spec.capabilities().api.map(|api| ExpectedApi::OfAdapter(spec.adapter, api));
    let mut problems = Vec::new();
    for (index, reference) in spec.models.iter().enumerate() {
        let name = || reference.provider.clone();
        let found = match provider(&reference.provider) {
            Resolved::Found(found) => found,
            Resolved::NotShared => {
                problems.push((index, ModelProblem::ProviderNotShared { provider: name() }));
                continue;
            }
            Resolved::NotFound => {
                problems.push((index, ModelProblem::ProviderNotFound { provider: name() }));
                continue;
            }
        };
        let found = found.borrow();
        // A script may speak any API, and its requests are only sent to another provider of the same one.
        let wanted = *expected.get_or_insert(ExpectedApi::OfFirst(found.api));
        let (ExpectedApi::OfAdapter(_, api) | ExpectedApi::OfFirst(api)) = wanted;
        if found.api != api {
            problems.push((index, ModelProblem::ApiMismatch { provider: name(), found: found.api, expected: wanted }));
        }
        if !found.allows(&reference.model) {
            problems.push((index, ModelProblem::ModelNotAllowed { provider: name(), model: reference.model.clone() }));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn provider(spec: &Value) -> ModelProviderSpec {
        let mut all = json!({"api": "Anthropic", "baseUrl": "https://api.example.org"});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn problems(adapter: &str, models: &Value) -> Vec<String> {
        let spec: AgentSpec = serde_json::from_value(json!({"adapter": adapter, "models": models})).unwrap();
        let known = |name: &str| match name {
            "claude" => Resolved::Found(provider(&json!({"models": ["claude-*", "haiku"]}))),
            "openai" => Resolved::Found(provider(&json!({"api": "OpenAi"}))),
            "private" => Resolved::NotShared,
            _ => Resolved::NotFound,
        };
        let problems = check(&spec, known);
        problems.iter().map(|(index, problem)| format!("{index} {}: {problem}", problem.reason())).collect()
    }

    #[test]
    fn an_adapter_uses_providers_with_its_api() {
        let claude = json!({"provider": "claude", "model": "claude-5"});
        let openai = json!({"provider": "openai", "model": "any/model"});
        assert_eq!(problems("ClaudeCode", &json!([claude, {"provider": "claude", "model": "haiku"}])), [""; 0]);
        assert_eq!(problems("Codex", &json!([openai])), [""; 0]);
        assert_eq!(problems("Command", &json!([openai])), [""; 0]);
        assert_eq!(problems("Codex", &json!([])), [""; 0]);
        insta::assert_snapshot!(
            [
                problems("ClaudeCode", &json!([openai])),
                problems("Command", &json!([claude, openai])),
                problems("ClaudeCode", &json!([{"provider": "claude", "model": "gpt-5"}])),
                problems(
                    "ClaudeCode",
                    &json!([{"provider": "private", "model": "x"}, {"provider": "no", "model": "x"}])
                ),
            ]
            .concat()
            .join("\n")
        );
    }

    #[test]
    fn an_own_agent_precedes_a_shared_one() {
        let agent = |spec: Value| Arc::new(Agent::new("coder", serde_json::from_value(spec).unwrap()));
        let own = agent(json!({"adapter": "Command"}));
        let shared = agent(json!({"adapter": "Codex", "shareWith": {"tenants": ["acme"]}}));
        let resolve = |own: Option<Arc<Agent>>, tenant: &str| resolve_agent(own, Some(shared.clone()), tenant);
        assert_eq!(resolve(Some(own.clone()), "acme"), Some(own.clone()));
        assert_eq!(resolve(None, "acme"), Some(shared.clone()));
        assert_eq!(resolve(None, "other"), None);
        assert_eq!(resolve_agent(None, Some(own), "acme"), None, "it is shared with nobody");
    }

    #[test]
    fn the_own_namespace_comes_first() {
        let own = provider(&json!({}));
        let to = |tenants: Value| provider(&json!({"key": "k", "shareWith": tenants}));
        let shared = to(json!({"tenants": ["acme"]}));
        assert_eq!(resolve(Some(own.clone()), Some(shared.clone()), "acme"), Resolved::Found(own.clone()));
        assert_eq!(resolve(None, Some(shared.clone()), "acme"), Resolved::Found(shared.clone()));
        assert_eq!(resolve(None, Some(shared), "other"), Resolved::NotShared);
        assert_eq!(resolve(None, Some(own), "acme"), Resolved::NotShared);
        let all = to(json!({"allTenants": true}));
        assert_eq!(resolve(None, Some(all.clone()), "other"), Resolved::Found(all));
        assert_eq!(resolve::<ModelProviderSpec>(None, None, "acme"), Resolved::NotFound);
    }
}
