//! Rules about one object that its schema cannot prove. The webhook refuses what breaks them, and the operator checks them again: a stored
//! object may be older than a rule, and the webhook may have been down.

use std::fmt;
use std::net::IpAddr;

use enact_domain::approval::Policy;
use enact_domain::assignment::{check_ref, check_url};
use enact_domain::document_job::check_path;
use enact_domain::names::{self, MODEL_KEYS_SECRET};
use enact_domain::text::has_windows_lines;
use url::Url;

use crate::agent::is_image;
use crate::agent_images::{AgentImages, has_digest};
use crate::common::{Gate, LocalRef};
use crate::document::{GitSource, Source};
use crate::plan::Workspace;
use crate::tenant::Egress;
use crate::warm_pool::WarmPool;
use crate::{AgentSpec, ModelProviderSpec, PlanSpec, convert};

/// Field selector of Plans that may still start something; a Plan without a status is one of them. A Tenant keeps a namespace while it has
/// one.
pub const UNFINISHED_PLANS: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Cancelled";

/// Most fields that one warning names.
const MAX_FIELDS: usize = 3;

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field: `spec.workspace.url`.
    pub field: String,
    /// What is wrong and how to fix it.
    pub message: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { field: field.into(), message: message.to_string() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Checks a Plan's `spec.workspace`.
pub fn workspace(workspace: &Workspace) -> Vec<FieldError> {
    const BRANCH: &str = "spec.workspace.integration.branch";
    const CREDENTIALS: &str = "spec.workspace.integration.credentialsSecretRef";
    let integration = &workspace.integration;
    let mut errors = Vec::new();
    errors.extend(check_url(&workspace.url).err().map(|e| FieldError::new("spec.workspace.url", e)));
    errors.extend(check_ref(&workspace.revision).err().map(|e| FieldError::new("spec.workspace.revision", e)));
    if let Some(branch) = &integration.branch {
        if names::is_work_branch(branch) {
            let message =
                format!("`{}` is below enact/, where agents push; name another branch", branch.escape_debug());
            errors.push(FieldError::new(BRANCH, message));
        } else {
            errors.extend(check_ref(branch).err().map(|e| FieldError::new(BRANCH, e)));
        }
    }
    match (&workspace.credentials_secret_ref, &integration.credentials_secret_ref) {
        (Some(_), None) => errors.push(FieldError::new(
            CREDENTIALS,
            "is missing, and agents can read the Secret of credentialsSecretRef; name a Secret that only the integration pod uses",
        )),
        (Some(agents), Some(own)) if agents == own => errors.push(FieldError::new(
            CREDENTIALS,
            format!("agents can read the Secret {}, because credentialsSecretRef names it too; name another Secret", own.name),
        )),
        _ => {}
    }
    for (field, secret) in [
        ("spec.workspace.credentialsSecretRef", &workspace.credentials_secret_ref),
        (CREDENTIALS, &integration.credentials_secret_ref),
    ] {
        errors.extend(credentials(field, secret.as_ref()));
    }
    errors
}

/// Checks that a reference to a Secret does not name the keys of model providers: the Secret would be mounted into a pod.
pub fn secret(field: &str, name: &str) -> Option<FieldError> {
    (name == MODEL_KEYS_SECRET).then(|| {
        let message = format!(
            "{MODEL_KEYS_SECRET} contains the keys of model providers, which no pod may read; name another Secret. An agent gets a token \
             for the model gateway instead of a key"
        );
        FieldError::new(format!("{field}.name"), message)
    })
}

fn credentials(field: &str, reference: Option<&LocalRef>) -> Option<FieldError> {
    secret(field, &reference?.name)
}

/// Returns a warning about the scripts of a plan with line ends of Windows; none if there are none. They run with those of Unix.
pub fn windows_scripts(spec: &PlanSpec) -> Option<String> {
    let of_gates = |field: String, gates: &[Gate]| -> Vec<String> {
        let wrong = gates.iter().enumerate().filter(|(_, gate)| has_windows_lines(&gate.script));
        wrong.map(|(i, _)| format!("{field}[{i}].script")).collect()
    };
    let mut fields = Vec::new();
    for (i, task) in spec.tasks.iter().enumerate() {
        if task.script.as_deref().is_some_and(has_windows_lines) {
            fields.push(format!("spec.tasks[{i}].script"));
        }
        fields.extend(of_gates(format!("spec.tasks[{i}].gates"), &task.gates));
        let measurements = task.attempts.iter().flat_map(|attempts| &attempts.measurements).enumerate();
        let wrong = measurements.filter(|(_, measurement)| has_windows_lines(&measurement.script));
        fields.extend(wrong.map(|(j, _)| format!("spec.tasks[{i}].attempts.measurements[{j}].script")));
    }
    fields.extend(of_gates("spec.gates".into(), &spec.gates));
    windows_warning(&fields)
}

/// Returns the same warning for the script of an Agent.
pub fn windows_agent_script(spec: &AgentSpec) -> Option<String> {
    spec.script
        .as_deref()
        .filter(|script| has_windows_lines(script))
        .and_then(|_| windows_warning(&["spec.script".into()]))
}

fn windows_warning(fields: &[String]) -> Option<String> {
    let more = if fields.len() > MAX_FIELDS { ", …" } else { "" };
    let some = fields.iter().take(MAX_FIELDS).cloned().collect::<Vec<_>>().join(", ");
    (!fields.is_empty()).then(|| {
        format!("{some}{more}: the line ends are those of Windows (CRLF); the script runs with those of Unix (LF)")
    })
}

/// Checks the names that Git gets from a document's source at `field`.
pub fn git_source(field: &str, git: &GitSource) -> Vec<FieldError> {
    let checks =
        [("url", check_url(&git.url)), ("revision", check_ref(&git.revision)), ("path", check_path(&git.path))];
    let failed = checks.into_iter().filter_map(|(name, check)| Some((name, check.err()?)));
    let mut errors: Vec<FieldError> =
        failed.map(|(name, error)| FieldError::new(format!("{field}.{name}"), error)).collect();
    errors.extend(credentials(&format!("{field}.credentialsSecretRef"), git.credentials_secret_ref.as_ref()));
    errors
}

/// Checks that somebody is known as the author of a document in `spec.source` if its approval requires four eyes. Kubernetes does not record
/// who wrote a ConfigMap; a Git host does, and can require a review.
pub fn source_author(policy: &Policy, source: Option<&Source>) -> Option<FieldError> {
    let is_unknown = source.is_some_and(|source| source.config_map_key_ref.is_some());
    (is_unknown && policy.four_eyes && policy.requires_people()).then(|| {
        let message = "the approval requires four eyes, and nobody knows who wrote a ConfigMap; write the document into inline, or use git \
                       with a review at the Git host";
        FieldError::new("spec.source.configMapKeyRef", message)
    })
}

/// Checks an Agent: its image, that it names no key of a model provider, and that its adapter can do what the spec demands.
pub fn agent(spec: &AgentSpec) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = spec.image.as_deref().and_then(image).into_iter().collect();
    errors.extend(spec.secret_keys().into_iter().filter_map(|(field, key)| secret(&field, &key.name)));
    errors.extend(spec.warm_pool.as_ref().map(warm_pool).unwrap_or_default());
    if let Err(problem) = spec.definition() {
        // Nothing is known about what the adapter can do.
        errors.push(FieldError::new("spec.custom", problem));
        return errors;
    }
    let able = spec.capabilities();
    let adapter = spec.adapter.as_str();
    // The schema refuses these fields for scripts and recorded work.
    if !able.gateway && !spec.models.is_empty() {
        let message = format!(
            "the adapter {adapter} cannot use the model gateway; remove models, and give the agent its own credential in env"
        );
        errors.push(FieldError::new("spec.models", message));
    }
    if !able.mcp && !spec.mcp_servers.is_empty() {
        errors.push(FieldError::new(
            "spec.mcpServers",
            format!("the adapter {adapter} cannot use MCP servers; remove them"),
        ));
    }
    if !able.skills && !spec.skills.is_empty() {
        let message =
            format!("the adapter {adapter} cannot use skills; remove them, or write what they say into instructions");
        errors.push(FieldError::new("spec.skills", message));
    }
    if !able.turn_limit && spec.max_turns.is_some() {
        let message = format!(
            "the adapter {adapter} cannot limit turns; remove maxTurns, and limit the attempt by timeoutSeconds or by a budget"
        );
        errors.push(FieldError::new("spec.maxTurns", message));
    }
    errors
}

/// Checks the repository of a warm pool.
fn warm_pool(pool: &WarmPool) -> Vec<FieldError> {
    const FIELD: &str = "spec.warmPool.repository";
    let Some(repository) = &pool.repository else { return Vec::new() };
    let checks = [("url", check_url(&repository.url)), ("revision", check_ref(&repository.revision))];
    let failed = checks.into_iter().filter_map(|(name, check)| Some((name, check.err()?)));
    let mut errors: Vec<FieldError> =
        failed.map(|(name, error)| FieldError::new(format!("{FIELD}.{name}"), error)).collect();
    let reference = repository.credentials_secret_ref.as_ref();
    errors.extend(credentials(&format!("{FIELD}.credentialsSecretRef"), reference));
    errors
}

/// Checks the sharing of an Agent; `in_installation` says whether it is in the namespace of the installation. There it is only used by plans
/// in other namespaces.
pub fn agent_sharing(spec: &AgentSpec, in_installation: bool) -> Vec<FieldError> {
    if !in_installation {
        let message = "only an Agent in the namespace of the installation can be shared; remove shareWith";
        return spec.share_with.iter().map(|_| FieldError::new("spec.shareWith", message)).collect();
    }
    let mut errors = Vec::new();
    for (field, key) in spec.secret_keys() {
        let message = format!(
            "the pods of a shared Agent run in the namespaces of tenants, which do not have the Secret {}; remove it, and use models \
             instead of a credential",
            key.name
        );
        errors.push(FieldError::new(field, message));
    }
    let maps = [("spec.replay", spec.replay.is_some()), ("spec.skills", !spec.skills.is_empty())];
    for (field, _) in maps.into_iter().filter(|(_, has_map)| *has_map) {
        let message =
            "the pods of a shared Agent run in the namespaces of tenants, which do not have its ConfigMap; remove it";
        errors.push(FieldError::new(field, message));
    }
    if spec.warm_pool.is_some() {
        let message = "the pods of a shared Agent run in the namespaces of tenants; remove it, and set warmPool of an Agent of the tenant";
        errors.push(FieldError::new("spec.warmPool", message));
    }
    if spec.monthly_budget.is_some() {
        let message = "a shared Agent has no budget of its own; remove it, and set monthlyBudget of the Tenants";
        errors.push(FieldError::new("spec.monthlyBudget", message));
    }
    errors
}

/// Checks a ModelProvider; `in_installation` says whether it is in the namespace of the installation.
pub fn provider(spec: &ModelProviderSpec, in_installation: bool) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = base_url(&spec.base_url).into_iter().collect();
    for (i, pattern) in spec.models.iter().enumerate() {
        errors.extend(model_pattern(&format!("spec.models[{i}]"), pattern));
    }
    for (i, price) in spec.prices.iter().enumerate() {
        let field = format!("spec.prices[{i}]");
        errors.extend(model_pattern(&format!("{field}.model"), &price.model));
        errors.extend(amounts(
            &field,
            [
                ("input", Some(&price.input)),
                ("output", Some(&price.output)),
                ("cachedInput", price.cached_input.as_ref()),
                ("cacheWrite", price.cache_write.as_ref()),
                ("cacheWriteHour", price.cache_write_hour.as_ref()),
            ],
        ));
        for (j, long) in price.long_prompts.iter().enumerate() {
            let field = format!("{field}.longPrompts[{j}]");
            errors.extend(amounts(
                &field,
                [
                    ("input", Some(&long.input)),
                    ("output", Some(&long.output)),
                    ("cachedInput", long.cached_input.as_ref()),
                    ("cacheWrite", long.cache_write.as_ref()),
                    ("cacheWriteHour", long.cache_write_hour.as_ref()),
                ],
            ));
            if price.long_prompts[..j].iter().any(|other| other.above == long.above) {
                let message = format!("prompts above {} tokens have a price already; remove one of them", long.above);
                errors.push(FieldError::new(format!("{field}.above"), message));
            }
        }
        if spec.prices[..i].iter().any(|other| other.model == price.model) {
            let message = format!("`{}` has a price already; remove one of them", price.model.escape_debug());
            errors.push(FieldError::new(format!("{field}.model"), message));
        }
    }
    if spec.share_with.is_some() && !in_installation {
        let message = "only a ModelProvider in the namespace of the installation can be shared; remove shareWith";
        errors.push(FieldError::new("spec.shareWith", message));
    }
    errors
}

/// Checks amounts of US dollars, in the fields with these names below `field`.
fn amounts(field: &str, prices: [(&str, Option<&String>); 5]) -> Vec<FieldError> {
    let wrong = prices.into_iter().filter_map(|(name, text)| Some((name, text?)));
    let wrong = wrong.filter(|(_, text)| convert::micro_usd(text).is_none());
    let error = |(name, text): (&str, &String)| {
        let message = format!(
            "`{}` is not an amount of US dollars; write a decimal number such as 3.00, with at most six decimal places",
            text.escape_debug()
        );
        FieldError::new(format!("{field}.{name}"), message)
    };
    wrong.map(error).collect()
}

/// Checks the form of a provider's URL. The gateway decides which addresses it may connect to.
fn base_url(text: &str) -> Option<FieldError> {
    let problem = || {
        // The parser removes some of these characters, and reads `\\` as `/`.
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Some("contains a character that a URL cannot have");
        }
        let Ok(url) = Url::parse(text) else { return Some("is not a URL") };
        if text.contains(":///") {
            // The parser would take the first component of the path for the host.
            Some("has no host")
        } else if !matches!(url.scheme(), "http" | "https") {
            Some("must start with https:// or http://")
        } else if !url.username().is_empty() || url.password().is_some() {
            Some("must not contain a credential; name a key in spec.key")
        } else if url.query().is_some() || url.fragment().is_some() {
            Some("must have neither a query nor a fragment")
        } else {
            None
        }
    };
    problem().map(|problem| {
        // A possible credential is not repeated.
        FieldError::new("spec.baseUrl", format!("{problem}; write a URL such as https://api.example.org"))
    })
}

fn model_pattern(field: &str, pattern: &str) -> Option<FieldError> {
    let stem = pattern.strip_suffix('*').unwrap_or(pattern);
    let wrong = stem.contains('*') || stem.chars().any(|c| c.is_control() || c.is_whitespace());
    wrong.then(|| {
        let message = format!("`{}` must be a name, or a prefix that ends with `*`", pattern.escape_debug());
        FieldError::new(field, message)
    })
}

/// Checks the form of an Agent's `spec.image`.
pub fn image(image: &str) -> Option<FieldError> {
    (!is_image(image)).then(|| {
        let message = format!(
            "`{}` is not an image reference; write `registry/name:tag` or `registry/name@sha256:…`, without `https://`",
            image.escape_debug()
        );
        FieldError::new("spec.image", message)
    })
}

/// Checks an Agent's `spec.image` by the rules of the Tenant that owns its namespace. An Agent without an image uses one of the installation.
pub fn agent_image(rules: &AgentImages, spec: &AgentSpec) -> Option<FieldError> {
    const REMEDY: &str = "or ask who may change the Tenant for another spec.agentImages";
    let image = spec.image.as_deref()?;
    let shown = image.escape_debug();
    let message = if !rules.admits(image) {
        format!(
            "`{shown}` is in no place that the Tenant allows; name an image below {}, with its registry, {REMEDY}",
            rules.allowed.join(" or ")
        )
    } else if rules.require_digest && !has_digest(image) {
        format!("`{shown}` has no digest, which the Tenant requires; write `registry/name@sha256:…`, {REMEDY}")
    } else {
        return None;
    };
    Some(FieldError::new("spec.image", message))
}

/// Checks a Tenant's `spec.isolation.egress`.
pub fn egress(egress: &[Egress]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, cidr) in egress.iter().enumerate().filter_map(|(i, egress)| Some((i, egress.cidr.as_deref()?))) {
        if !is_cidr(cidr) {
            let message = format!(
                "`{}` is not a CIDR block; write one such as 203.0.113.0/24 or 2001:db8::/32",
                cidr.escape_debug()
            );
            errors.push(FieldError::new(format!("spec.isolation.egress[{i}].cidr"), message));
        }
    }
    errors
}

fn is_cidr(text: &str) -> bool {
    let parsed = text.split_once('/').map(|(address, prefix)| (address.parse::<IpAddr>(), prefix.parse::<u8>()));
    matches!(parsed, Some((Ok(address), Ok(prefix))) if prefix <= if address.is_ipv4() { 32 } else { 128 })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fields(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn no_reference_names_the_keys_of_providers() {
        let agent_spec = json!({"adapter": "Command", "env": [
            {"name": "A", "secretKeyRef": {"name": "own", "key": "a"}},
            {"name": "B", "secretKeyRef": {"name": "enact-model-keys", "key": "a"}},
        ]});
        assert_eq!(fields(agent(&serde_json::from_value(agent_spec).unwrap())), ["spec.env[1].secretKeyRef.name"]);
        let value = json!([{"name": "A", "value": "a"}, {"name": "B", "secretKeyRef": {"name": "enact-model-keys", "key": "a"}}]);
        let agent_spec = json!({"adapter": "Codex", "mcpServers": [
            {"name": "a", "command": ["a"], "env": value}, {"name": "b", "url": "https://b", "headers": value},
        ]});
        assert_eq!(
            fields(agent(&serde_json::from_value(agent_spec).unwrap())),
            ["spec.mcpServers[0].env[1].secretKeyRef.name", "spec.mcpServers[1].headers[1].secretKeyRef.name"]
        );
        let keys = json!({"name": "enact-model-keys"});
        let both = json!({"url": "https://git.example.org/a", "credentialsSecretRef": keys,
            "integration": {"credentialsSecretRef": keys}});
        let errors = fields(workspace(&serde_json::from_value(both).unwrap()));
        for field in ["credentialsSecretRef.name", "integration.credentialsSecretRef.name"] {
            assert!(errors.contains(&format!("spec.workspace.{field}")), "{errors:?}");
        }
        let git = json!({"url": "https://git.example.org/a", "path": "a.md", "credentialsSecretRef": keys});
        let errors = git_source("spec.source.git", &serde_json::from_value(git).unwrap());
        assert_eq!(fields(errors), ["spec.source.git.credentialsSecretRef.name"]);
    }

    #[test]
    fn the_repository_of_a_warm_pool_is_one_that_git_can_fetch() {
        let pool = |repository: Value| {
            let spec = json!({"adapter": "Command", "warmPool": {"size": 2, "repository": repository}});
            fields(agent(&serde_json::from_value(spec).unwrap()))
        };
        let secret = |name: &str| json!({"name": name});
        assert_eq!(pool(json!({"url": "https://git.example.org/a", "credentialsSecretRef": secret("git")})), [""; 0]);
        let wrong = json!({"url": "ext::sh", "revision": "-x", "credentialsSecretRef": secret("enact-model-keys")});
        assert_eq!(
            pool(wrong),
            [
                "spec.warmPool.repository.url",
                "spec.warmPool.repository.revision",
                "spec.warmPool.repository.credentialsSecretRef.name"
            ]
        );
        let shared = json!({"adapter": "Command", "shareWith": {"allTenants": true}, "warmPool": {"size": 1}});
        assert_eq!(fields(agent_sharing(&serde_json::from_value(shared).unwrap(), true)), ["spec.warmPool"]);
    }

    #[test]
    fn an_adapter_can_do_what_its_agent_demands() {
        let refused = |adapter: &str| {
            let servers = json!([{"name": "docs", "url": "https://docs.example.org"}]);
            let models = json!([{"provider": "a", "model": "b"}]);
            let skills = json!([{"name": "review", "configMapRef": {"name": "review"}}]);
            let spec =
                json!({"adapter": adapter, "models": models, "maxTurns": 9, "mcpServers": servers, "skills": skills});
            fields(agent(&serde_json::from_value(spec).unwrap()))
        };
        for adapter in ["ClaudeCode", "GeminiCli", "QwenCode"] {
            assert_eq!(refused(adapter), [""; 0], "{adapter}");
        }
        for adapter in ["Codex", "OpenCode", "Copilot"] {
            assert_eq!(refused(adapter), ["spec.maxTurns"], "{adapter}");
        }
        for adapter in ["Cursor", "Devin"] {
            assert_eq!(
                refused(adapter),
                ["spec.models", "spec.mcpServers", "spec.skills", "spec.maxTurns"],
                "{adapter}"
            );
        }
    }

    #[test]
    fn providers() {
        let spec = |fields: &Value| {
            let mut spec = json!({"api": "OpenAi", "baseUrl": "http://vllm.models.svc:8000/v1"});
            spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            serde_json::from_value::<ModelProviderSpec>(spec).unwrap()
        };
        let long = json!({"above": 200_000, "input": "1", "output": "4", "cacheWriteHour": "2"});
        let price = json!({
            "model": "qwen*", "input": "0.5", "output": "2", "cachedInput": "0.05", "longPrompts": [long],
        });
        let good = spec(&json!({"models": ["qwen3-coder", "gpt-*", "*"], "prices": [price]}));
        assert_eq!(provider(&good, false), []);
        for url in [
            "https://",
            "http:///v1",
            "ftp://a.example.org",
            "https://user:secret@a.example.org",
            "https://a.example.org?key=secret",
            "https://a.example.org#a",
            "https://a.exa\nmple.org",
            "https:\\\\a.example.org",
            "https://a b",
            "https://a:99999",
            "a.example.org",
        ] {
            let errors = provider(&spec(&json!({"baseUrl": url})), false);
            assert_eq!(fields(errors.clone()), ["spec.baseUrl"], "{url}");
            assert!(!errors[0].message.contains("secret"), "{}", errors[0]);
        }
        let wrong = json!({"models": ["a*b", "a b"], "shareWith": {"allTenants": true}, "prices": [
            price, price, {"model": "x", "input": "1e3", "output": "-1", "cacheWrite": "1.1234567"},
            {"model": "y", "input": "1", "output": "2", "longPrompts": [long, {"above": 200_000, "input": "", "output": "3"}]},
        ]});
        assert_eq!(
            fields(provider(&spec(&wrong), false)),
            [
                "spec.models[0]",
                "spec.models[1]",
                "spec.prices[1].model",
                "spec.prices[2].input",
                "spec.prices[2].output",
                "spec.prices[2].cacheWrite",
                "spec.prices[3].longPrompts[1].input",
                "spec.prices[3].longPrompts[1].above",
                "spec.shareWith"
            ]
        );
        assert_eq!(provider(&spec(&json!({"shareWith": {"tenants": ["acme"]}})), true), []);
    }

    #[test]
    fn the_tenant_decides_about_images() {
        let error = |rules: Value, image: Option<&str>| {
            let spec = json!({"adapter": "Command", "image": image});
            agent_image(&serde_json::from_value(rules).unwrap(), &serde_json::from_value(spec).unwrap())
        };
        let digest = format!("ghcr.io/acme/a@sha256:{}", "a".repeat(64));
        let both = || json!({"allowed": ["ghcr.io/acme"], "requireDigest": true});
        assert_eq!(error(json!({}), Some("a")), None);
        assert_eq!(error(both(), None), None, "an image of the installation");
        assert_eq!(error(both(), Some(digest.as_str())), None);
        for (image, part) in
            [("quay.io/a:1", "name an image below ghcr.io/acme"), ("ghcr.io/acme/a:1", "has no digest")]
        {
            let error = error(both(), Some(image)).unwrap();
            assert!(error.field == "spec.image" && error.message.contains(part), "{error}");
            assert!(error.message.contains(image), "{error}");
        }
    }

    #[test]
    fn four_eyes_need_an_author() {
        let field = |policy: &Policy, source: Value| {
            source_author(policy, Some(&serde_json::from_value(source).unwrap())).map(|error| error.field)
        };
        let map = || json!({"configMapKeyRef": {"name": "a", "key": "b"}});
        let four_eyes = Policy { required: 1, four_eyes: true, ..Policy::default() };
        assert_eq!(field(&four_eyes, map()).as_deref(), Some("spec.source.configMapKeyRef"));
        assert_eq!(field(&four_eyes, json!({"inline": "# A"})), None);
        assert_eq!(field(&Policy { required: 1, ..Policy::default() }, map()), None);
        assert_eq!(field(&Policy { four_eyes: true, ..Policy::default() }, map()), None, "nobody approves");
        let minimum = Policy::default().with_minimum(Some(four_eyes.clone()));
        assert!(field(&minimum, map()).is_some(), "the minimum of the Tenant");
        assert_eq!(source_author(&four_eyes, None), None, "drafted");
    }

    #[test]
    fn address_ranges() {
        for good in ["203.0.113.0/24", "2001:db8::/32", "0.0.0.0/0", "::1/128"] {
            assert!(is_cidr(good), "{good}");
        }
        for bad in ["203.0.113.0", "203.0.113.0/33", "2001:db8::/129", "203.0.113/24", "a/8", "/8", ""] {
            assert!(!is_cidr(bad), "{bad}");
        }
    }
}
