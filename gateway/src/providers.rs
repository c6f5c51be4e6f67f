//! Agents, model providers and tenants: caches that watches keep current, and the upstreams of an agent's models.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use enact_crds::agent_content;
use enact_crds::convert::micro_usd;
use enact_crds::identity::AgentPod;
use enact_crds::models::{Resolved, resolve, resolve_agent};
use enact_crds::provider::{Api as ProviderApi, ModelPrice, ModelProviderSpec, RateLimits, is_model};
use enact_crds::tenant::RequestLogging;
use enact_crds::{Agent, ModelProvider, Tenant};
use enact_domain::time::Millis;
use enact_domain::usage::{Price, Tier, Tokens, of_tiers, price};
use futures::StreamExt as _;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt as _, reflector as reflect};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::denial::{Denial, DenialKind};

/// Objects in one page of a list.
const PAGE: u32 = 500;
/// Longest wait of a check for the first lists; shorter than the time limit of a check.
const PATIENCE: Duration = Duration::from_secs(3);

/// A model provider, as requests need it.
#[derive(Clone, Debug)]
pub struct Provider {
    pub namespace: String,
    pub name: String,
    pub api: ProviderApi,
    /// URL without a slash at its end.
    pub base_url: String,
    /// Key of the Secret with the credential.
    pub key: Option<String>,
    pub limits: Option<RateLimits>,
    /// Whether agents may use the tools that it runs itself.
    pub hosted_tools: bool,
    /// Whether the installation owns it, so that it may be at a private address.
    pub is_trusted: bool,
}

impl Provider {
    /// Returns `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A model of a provider, to which a request can be sent.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub provider: Arc<Provider>,
    /// `tenant/namespace/name`: each tenant has its own circuit of a shared provider.
    pub circuit: String,
    pub model: String,
    pub pricing: Pricing,
}

/// The price of a model: the provider's own, or the one that Enact knows. Both can depend on the length of the prompt.
#[derive(Clone, Debug, Default)]
pub struct Pricing {
    /// Prices of the provider, by the length of the prompt; empty when it has none for the model.
    own: Vec<Tier>,
    model: String,
    at: Millis,
}

impl Pricing {
    /// Returns the cost of a request in micro-USD; none when the price is not known.
    pub fn cost(&self, tokens: &Tokens) -> Option<u64> {
        let prompt = tokens.prompt();
        let price = of_tiers(&self.own, prompt).or_else(|| price(&self.model, self.at, prompt))?;
        Some(price.cost(tokens))
    }
}

/// A ModelProvider of the cache, as [`resolve`] reads it.
struct Cached(Arc<ModelProvider>);

impl Borrow<ModelProviderSpec> for Cached {
    fn borrow(&self) -> &ModelProviderSpec {
        &self.0.spec
    }
}

/// The Agents, ModelProviders and Tenants of the cluster.
pub struct Catalogue {
    agents: Store<Agent>,
    providers: Store<ModelProvider>,
    tenants: Store<Tenant>,
    /// Namespace whose ModelProviders can be shared.
    installation: String,
    listed: [watch::Receiver<bool>; 3],
}

impl Catalogue {
    /// Starts to watch Agents, ModelProviders and Tenants, until `end`.
    pub fn watch(client: &Client, installation: &str, tasks: &TaskTracker, end: &CancellationToken) -> Self {
        let (agents, agents_listed) = reflected::<Agent>(client, "Agent", tasks, end);
        let (providers, providers_listed) = reflected::<ModelProvider>(client, "ModelProvider", tasks, end);
        let (tenants, tenants_listed) = reflected::<Tenant>(client, "Tenant", tasks, end);
        let listed = [agents_listed, providers_listed, tenants_listed];
        Self { agents, providers, tenants, installation: installation.to_owned(), listed }
    }

    /// Checks that all kinds were listed.
    ///
    /// # Errors
    /// When one was not; the message is for a person.
    pub async fn ready(&self) -> Result<(), String> {
        let listed = async {
            for listed in &self.listed {
                // A sender is dropped only when the process ends.
                let _ = listed.clone().wait_for(|listed| *listed).await;
            }
        };
        timeout(PATIENCE, listed).await.map_err(|_| {
            "Agents, ModelProviders and Tenants are not listed yet; check that the gateway's ClusterRole allows it"
                .to_owned()
        })
    }

    /// Returns the models that the agent of `pod` may use.
    ///
    /// # Errors
    /// When the Agent does not exist, is not available to the pod's tenant, or its models are not those that were approved.
    pub fn models(&self, pod: &AgentPod, at: Millis) -> Result<Vec<Candidate>, Denial> {
        let (namespace, name) = &pod.agent;
        let not_found =
            || Denial::new(DenialKind::ModelNotAllowed, format!("the Agent {namespace}/{name} does not exist"));
        // The pod's annotation is not proof that it may use an Agent of another namespace, because tenants can create pods.
        if *namespace != pod.attempt.namespace {
            return Err(not_found());
        }
        let found = |namespace: &str| self.agents.get(&ObjectRef::new(name).within(namespace));
        let agent = resolve_agent(found(namespace), found(&self.installation), &pod.attempt.tenant);
        let agent = agent.ok_or_else(not_found)?;
        // The models of a shared Agent are those of the installation, whether their providers are shared or not.
        let place = agent.metadata.namespace.as_deref().unwrap_or(namespace);
        let models = &agent.spec.models;
        // Each name is resolved once, so that no request goes to another endpoint than the one that is compared here.
        let providers: BTreeMap<&str, Option<Arc<ModelProvider>>> =
            models.iter().map(|entry| (entry.provider.as_str(), self.provider(pod, place, &entry.provider))).collect();
        let endpoint = |name: &str| {
            let provider = providers.get(name)?.as_ref()?;
            Some(provider.spec.endpoint())
        };
        if pod.models.as_ref().is_some_and(|approved| *approved != agent_content::models_digest(&agent, endpoint)) {
            return Err(models_changed(place, name));
        }
        let candidates = models.iter().filter_map(|entry| {
            let provider = providers.get(entry.provider.as_str())?.as_ref()?;
            candidate(provider, &entry.model, &self.installation, &pod.attempt.tenant, at)
        });
        Ok(candidates.collect())
    }

    /// Returns the names of all Tenants.
    pub fn tenants(&self) -> Vec<String> {
        self.tenants.state().iter().filter_map(|tenant| tenant.metadata.name.clone()).collect()
    }

    /// Returns the limits per minute that a Tenant has; none for one without.
    pub fn tenant_limits(&self, tenant: &str) -> RateLimits {
        let found = self.tenants.get(&ObjectRef::new(tenant));
        found.and_then(|tenant| tenant.spec.model_limits.clone()).unwrap_or_default()
    }

    /// Returns how the texts of a Tenant's requests are recorded; none if they are not.
    pub fn request_logging(&self, tenant: &str) -> Option<RequestLogging> {
        self.tenants.get(&ObjectRef::new(tenant))?.spec.request_logging.clone()
    }

    /// Returns the limits per minute that an Agent has; none for one without.
    pub fn agent_limits(&self, namespace: &str, name: &str) -> RateLimits {
        let found = |namespace: &str| self.agents.get(&ObjectRef::new(name).within(namespace));
        // A request of an Agent that does not exist in the namespace passes only if the installation shares one of this name.
        let found = found(namespace).or_else(|| found(&self.installation));
        found.and_then(|agent| agent.spec.limits.clone()).unwrap_or_default()
    }

    /// Returns a provider of an agent; none when it is missing or is not shared.
    fn provider(&self, pod: &AgentPod, agent_namespace: &str, name: &str) -> Option<Arc<ModelProvider>> {
        let named = |namespace: &str| self.providers.get(&ObjectRef::new(name).within(namespace)).map(Cached);
        match resolve(named(agent_namespace), named(&self.installation), &pod.attempt.tenant) {
            Resolved::Found(Cached(found)) => Some(found),
            Resolved::NotShared | Resolved::NotFound => None,
        }
    }
}

/// Returns the denial for an agent whose models, or the endpoints that serve them, were changed.
fn models_changed(namespace: &str, agent: &str) -> Denial {
    let why = format!(
        "the models of the Agent {namespace}/{agent}, or the URLs or hostedTools of their ModelProviders, changed after the plan was approved; \
         restore them, or review them and approve the plan again"
    );
    Denial::new(DenialKind::ModelsChanged, why)
}

/// Returns the candidate for a model of a provider; none when the provider does not allow it.
fn candidate(found: &ModelProvider, model: &str, installation: &str, tenant: &str, at: Millis) -> Option<Candidate> {
    let namespace = found.metadata.namespace.clone().unwrap_or_default();
    let spec = &found.spec;
    if !spec.allows(model) {
        return None;
    }
    let own = spec.prices.iter().find(|price| is_model(&price.model, model)).and_then(tiers).unwrap_or_default();
    let provider = Provider {
        is_trusted: namespace == installation,
        namespace,
        name: found.metadata.name.clone().unwrap_or_default(),
        api: spec.api,
        base_url: spec.base_url.trim_end_matches('/').to_owned(),
        key: spec.key.clone(),
        limits: spec.limits.clone(),
        hosted_tools: spec.hosted_tools,
    };
    let pricing = Pricing { own, model: model.to_owned(), at };
    let circuit = format!("{tenant}/{}", provider.id());
    Some(Candidate { provider: Arc::new(provider), circuit, model: model.to_owned(), pricing })
}

/// Returns the prices of a provider for a model, by the length of the prompt; none when one of them is not a number.
fn tiers(own: &ModelPrice) -> Option<Vec<Tier>> {
    let cache = [&own.cached_input, &own.cache_write, &own.cache_write_hour].map(Option::as_deref);
    let mut tiers = vec![Tier { above: 0, price: own_price(&own.input, &own.output, cache)? }];
    for long in &own.long_prompts {
        let cache = [&long.cached_input, &long.cache_write, &long.cache_write_hour].map(Option::as_deref);
        tiers.push(Tier { above: long.above, price: own_price(&long.input, &long.output, cache)? });
    }
    tiers.sort_by_key(|tier| tier.above);
    Some(tiers)
}

/// Returns the price of these amounts of US dollars; none when one of them is not a number. `cache` has those of reading the cache, writing
/// it, and writing it for an hour.
fn own_price(input: &str, output: &str, cache: [Option<&str>; 3]) -> Option<Price> {
    let [cached_input, cache_write, cache_write_hour] = cache;
    let or_input = |text: Option<&str>| micro_usd(text.unwrap_or(input));
    Some(Price {
        input: micro_usd(input)?,
        cached_input: or_input(cached_input)?,
        cache_write: or_input(cache_write)?,
        cache_write_hour: cache_write_hour.and_then(micro_usd),
        output: micro_usd(output)?,
    })
}

/// Orders the candidates for a request: those with the requested model first, and then the others, which replace them when they fail.
///
/// # Errors
/// When no candidate has the requested model, or none has the API.
pub fn select(models: Vec<Candidate>, api: ProviderApi, requested: &str) -> Result<Vec<Candidate>, Denial> {
    let total = models.len();
    let speaking: Vec<Candidate> = models.into_iter().filter(|model| model.provider.api == api).collect();
    if speaking.is_empty() && total > 0 {
        let why = "the models of this Agent have another API than this path; use the path of their API";
        return Err(Denial::new(DenialKind::NotFound, why));
    }
    let (mut first, others): (Vec<_>, Vec<_>) = speaking.into_iter().partition(|model| model.model == requested);
    if first.is_empty() {
        let names: Vec<&str> = others.iter().map(|model| model.model.as_str()).collect();
        let requested: String = requested.chars().filter(|c| !c.is_control()).take(128).collect();
        let why = format!("the Agent may not use the model {requested}; it may use: {}", names.join(", "));
        return Err(Denial::new(DenialKind::ModelNotAllowed, why));
    }
    first.extend(others);
    Ok(first)
}

/// Starts a watch that keeps a cache current. The receiver tells when the first list is complete.
fn reflected<K>(
    client: &Client,
    kind: &'static str,
    tasks: &TaskTracker,
    end: &CancellationToken,
) -> (Store<K>, watch::Receiver<bool>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let (listed, receiver) = watch::channel(false);
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default().page_size(PAGE)).default_backoff();
    let events = reflect(writer, events).for_each(move |event| {
        match event {
            Ok(Event::InitDone) => {
                listed.send_replace(true);
            }
            Err(error) => tracing::warn!(kind, %error, "a watch failed and is restarted"),
            Ok(_) => {}
        }
        futures::future::ready(())
    });
    tasks.spawn(end.clone().run_until_cancelled_owned(events));
    (store, receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::{Breakers, PauseCause};

    fn model(provider: &str, api: ProviderApi, model: &str) -> Candidate {
        let provider = Provider {
            namespace: "team".into(),
            name: provider.into(),
            api,
            base_url: "https://x".into(),
            key: None,
            limits: None,
            hosted_tools: false,
            is_trusted: false,
        };
        let circuit = String::new();
        Candidate { provider: Arc::new(provider), circuit, model: model.into(), pricing: Pricing::default() }
    }

    #[test]
    fn the_requested_model_comes_first() {
        let models = || {
            vec![
                model("a", ProviderApi::OpenAi, "big"),
                model("b", ProviderApi::OpenAi, "small"),
                model("c", ProviderApi::OpenAi, "big"),
                model("d", ProviderApi::Gemini, "big"),
            ]
        };
        let order = |requested: &str| {
            let selected = select(models(), ProviderApi::OpenAi, requested).unwrap();
            selected.iter().map(|model| model.provider.name.clone()).collect::<String>()
        };
        assert_eq!(order("big"), "acb");
        assert_eq!(order("small"), "bac");
        let denial = select(models(), ProviderApi::OpenAi, "huge\n").unwrap_err();
        assert_eq!(denial.kind, DenialKind::ModelNotAllowed);
        assert!(denial.message.ends_with("the model huge; it may use: big, small, big"), "{}", denial.message);
        assert_eq!(select(models(), ProviderApi::Anthropic, "big").unwrap_err().kind, DenialKind::NotFound);
        assert_eq!(select(vec![], ProviderApi::Anthropic, "big").unwrap_err().kind, DenialKind::ModelNotAllowed);
    }

    /// A tenant can make its requests fail, or ask for more than the limit of a key.
    #[tokio::test]
    async fn each_tenant_has_its_own_circuit() {
        let spec = serde_json::json!({ "api": "OpenAi", "baseUrl": "https://x" });
        let mut shared = ModelProvider::new("p", serde_json::from_value(spec).unwrap());
        shared.metadata.namespace = Some("enact-system".into());
        let circuit = |tenant: &str| candidate(&shared, "m", "enact-system", tenant, Millis(0)).unwrap().circuit;
        let breakers = Breakers::default();
        for _ in 0..5 {
            breakers.failed(&circuit("hostile"));
        }
        breakers.pause(&circuit("hostile"), "n", Duration::from_mins(1), PauseCause::Limit);
        for model in ["m", "n"] {
            assert!(breakers.check(&circuit("hostile"), model).is_err());
            breakers.check(&circuit("other"), model).unwrap();
        }
    }

    #[test]
    fn prices_are_decimal_numbers() {
        assert_eq!(micro_usd("3"), Some(3_000_000));
        assert_eq!(micro_usd("0.25"), Some(250_000));
        assert_eq!(micro_usd("12.000001"), Some(12_000_001));
        for bad in ["", ".5", "1.0000001", "-1", "1e3", "99999999999999999999"] {
            assert_eq!(micro_usd(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_pattern_is_a_name_or_a_prefix() {
        assert!(is_model("gpt-5", "gpt-5") && !is_model("gpt-5", "gpt-5-mini"));
        assert!(is_model("gpt-5*", "gpt-5-mini") && is_model("*", "x") && !is_model("gpt*", "claude"));
    }
}
