//! Lookups with fixed answers, and requests as the API server writes them.

pub mod cluster;
pub mod https;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use enact_crds::ModelProviderSpec;
use enact_crds::agent_images::AgentImages;
use enact_crds::chain::ChainLink;
use enact_crds::common::NamespacedRef;
use enact_crds::ownership::Consent;
use enact_crds::subject::ApprovalSubject;
use enact_domain::approval::authors::Authors;
use enact_domain::approval::{Content, Policy};
use enact_domain::deletion::Deletion;
use enact_domain::digest::Digest;
use enact_domain::record::Kind;
use enact_domain::rules::Rule;
use enact_domain::stamps::{Change, Changes};
use futures::future::{self, BoxFuture};
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionReview};
use serde_json::{Value, json};

use crate::deletions::Notes;
use crate::denial::{Denial, Outcome};
use crate::lookup::{Claim, Lookup, LookupError, owner};
use crate::parsing::Parsing;
use crate::request::Request;
use crate::validate::{Settings, Validator};

pub const OPERATOR: &str = "system:serviceaccount:enact:enact-operator";
pub const ANN: &str = "ann@example.org";
/// Where an object has the stamps on its controls.
pub const CHANGES: &str = "/metadata/annotations/enact.dev~1changes";
/// Where an object has the other authors of its content.
pub const CO_AUTHORS: &str = "/metadata/annotations/enact.dev~1co-authors";

/// Lookups that answer from these fields, and fail while `broken`.
#[derive(Clone, Default)]
pub struct FakeLookup {
    pub claims: Vec<Claim>,
    pub subjects: HashMap<String, ApprovalSubject>,
    pub unfinished: Vec<String>,
    pub existing: Vec<String>,
    /// Users who may create Approvals.
    pub approvers: Vec<String>,
    /// Users who may not get the Secrets with the keys of model providers.
    pub keyless: Vec<String>,
    /// Constitutions in force, by `namespace/name`, with the names of their parents.
    pub constitutions: HashMap<String, (Vec<Rule>, Option<String>)>,
    /// The constitutions that Tenants name, by namespace.
    pub tenant_constitutions: HashMap<String, NamespacedRef>,
    /// The rules of every Tenant about images of Agents.
    pub agent_images: AgentImages,
    /// ModelProviders, by `namespace/name`.
    pub providers: HashMap<String, ModelProviderSpec>,
    /// Namespaces that exist, with the Tenant that can own each.
    pub namespaces: HashMap<String, Consent>,
    pub broken: bool,
}

impl FakeLookup {
    /// Returns lookups in which tenant `acme` owns `team-a` and `team-b`, and tenant `other` owns `team-x`.
    pub fn two_tenants() -> Self {
        Self { claims: vec![claim("acme", &["team-a", "team-b"]), claim("other", &["team-x"])], ..Self::default() }
    }

    /// Adds a subject by `bob` with this policy and the content `text`.
    pub fn with_subject(mut self, path: &str, text: &str, policy: Policy) -> Self {
        let authors = Authors::default().with(["bob@example.org"]);
        let content = Content { digest: Digest::of_bytes(text.as_bytes()), authors, worst: None };
        self.subjects.insert(path.into(), ApprovalSubject { uid: None, content: Some(content), policy });
        self
    }

    fn up<T>(&self, answer: T) -> Result<T, LookupError> {
        if self.broken { Err(LookupError::Timeout) } else { Ok(answer) }
    }
}

pub fn claim(tenant: &str, namespaces: &[&str]) -> Claim {
    let namespaces = namespaces.iter().map(|n| (*n).to_owned()).collect();
    Claim { since: "2026-01-01T00:00:00Z".into(), tenant: tenant.into(), namespaces, ending: false }
}

impl Lookup for FakeLookup {
    async fn tenant_of(&self, namespace: &str) -> Result<Option<String>, LookupError> {
        self.up(owner(self.claims.clone(), namespace).filter(|c| !c.ending).map(|c| c.tenant))
    }

    async fn claims(&self) -> Result<Vec<Claim>, LookupError> {
        self.up(self.claims.clone())
    }

    async fn consent(&self, namespace: &str) -> Result<Option<Consent>, LookupError> {
        self.up(self.namespaces.get(namespace).cloned())
    }

    async fn approval_subject(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ApprovalSubject>, LookupError> {
        self.up(self.subjects.get(&format!("{} {namespace}/{name}", kind.as_str())).cloned())
    }

    async fn unfinished_plans(&self, namespaces: &[String]) -> Result<Vec<String>, LookupError> {
        let inside = |p: &&String| p.split_once('/').is_some_and(|(n, _)| namespaces.iter().any(|x| x == n));
        self.up(self.unfinished.iter().filter(inside).cloned().collect())
    }

    async fn constitution(&self, at: &NamespacedRef) -> Result<Option<ChainLink>, LookupError> {
        self.up(self.constitutions.get(&at.to_string()).map(|(rules, parent)| ChainLink {
            at: at.clone(),
            parent: parent.as_ref().map(|name| NamespacedRef::new(&at.namespace, name)),
            rules: rules.clone(),
            in_force: Some(Digest::of_bytes(at.to_string().as_bytes())),
            stalled: None,
        }))
    }

    async fn tenant_constitution(&self, namespace: &str) -> Result<Option<NamespacedRef>, LookupError> {
        self.up(self.tenant_constitutions.get(namespace).cloned())
    }

    async fn agent_images(&self, _: &str) -> Result<AgentImages, LookupError> {
        self.up(self.agent_images.clone())
    }

    async fn provider(&self, namespace: &str, name: &str) -> Result<Option<ModelProviderSpec>, LookupError> {
        self.up(self.providers.get(&format!("{namespace}/{name}")).cloned())
    }

    async fn may_approve(&self, user: &UserInfo, _: &str) -> Result<bool, LookupError> {
        self.up(self.approvers.iter().any(|approver| Some(approver) == user.username.as_ref()))
    }

    async fn may_read_model_keys(&self, user: &UserInfo, _: &str) -> Result<bool, LookupError> {
        self.up(!self.keyless.iter().any(|keyless| Some(keyless) == user.username.as_ref()))
    }

    async fn uid(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<String>, LookupError> {
        let subject = self.subjects.get(&format!("{} {namespace}/{name}", kind.as_str()));
        self.up(subject.and_then(|subject| subject.uid.clone()))
    }

    async fn exists(&self, kind: Kind, namespace: &str, name: &str) -> Result<bool, LookupError> {
        self.up(self.existing.contains(&format!("{} {namespace}/{name}", kind.as_str())))
    }
}

/// Returns notes about deletions that cannot be written.
pub fn no_notes() -> Arc<dyn Notes> {
    struct NoNotes;
    impl Notes for NoNotes {
        fn add<'a>(&'a self, _: &'a Deletion) -> BoxFuture<'a, Result<(), kube::Error>> {
            Box::pin(future::ready(Err(kube::Error::LinesCodecMaxLineLengthExceeded)))
        }
    }
    Arc::new(NoNotes)
}

/// Returns the rules of an installation in namespace `enact` that uses these lookups.
pub fn validator(lookup: FakeLookup) -> Validator<FakeLookup> {
    let settings = Settings {
        operator_user: OPERATOR.into(),
        namespace: "enact".into(),
        default_namespaces: vec!["team-default".into()],
        reserved_namespaces: vec!["kube-*".into(), "default".into()],
    };
    // A slow machine must not change the outcome.
    Validator { lookup, settings, parsing: Parsing::new(Duration::from_mins(2)) }
}

/// Returns the outcome of the rules for a review.
pub async fn admit(lookup: &FakeLookup, review: &Value) -> Outcome {
    validator(lookup.clone()).admit(&request(review)).await
}

/// Asserts a refusal whose message holds all of `parts`.
#[track_caller]
pub fn assert_refused(outcome: Outcome, category: &str, parts: &[&str]) {
    let denial: Denial = match outcome {
        Err(denial) => denial,
        Ok(warnings) => panic!("admitted with {warnings:?}; expected {parts:?}"),
    };
    let text = denial.to_string();
    assert_eq!(denial.category(), category, "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[track_caller]
pub fn assert_admitted(outcome: Outcome) -> Vec<String> {
    outcome.unwrap_or_else(|denial| panic!("refused: {denial}"))
}

pub fn request(review: &Value) -> Request {
    let review: AdmissionReview<DynamicObject> = serde_json::from_value(review.clone()).unwrap();
    let request: AdmissionRequest<DynamicObject> = review.try_into().unwrap();
    request.into()
}

/// Returns an Enact object in `team-a`, stamped with the author `ann`.
pub fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": kind,
        "metadata": {
            "name": name, "namespace": "team-a",
            "labels": { "enact.dev/tenant": "acme" }, "annotations": { "enact.dev/author": ANN },
        },
        "spec": spec,
    })
}

pub fn create(object: &Value) -> Value {
    review("CREATE", object, None, ANN)
}

/// Returns the review of an update by `ann`, with her stamps on the controls that it changes, unless `new` has stamps of its own.
pub fn update(old: &Value, new: &Value) -> Value {
    let mut sent = review("UPDATE", new, Some(old), ANN);
    let controls = request(&sent).changed_controls();
    if !controls.is_empty() && new.pointer(CHANGES) == old.pointer(CHANGES) {
        let change = Change { by: ANN.into(), at: "2026-01-01T00:00:00Z".into() };
        let stored = Changes::parse(old.pointer(CHANGES).and_then(Value::as_str));
        sent["request"]["object"] = with(new.clone(), CHANGES, json!(stored.after(&controls, &change).format()));
    }
    sent
}

pub fn delete(old: &Value) -> Value {
    review("DELETE", &Value::Null, Some(old), ANN)
}

/// Returns the review with another user.
pub fn by(mut review: Value, user: &str) -> Value {
    review["request"]["userInfo"] = json!({ "username": user, "groups": ["system:authenticated"] });
    review
}

/// Returns the review for a subresource.
pub fn of(mut review: Value, subresource: &str) -> Value {
    review["request"]["subResource"] = subresource.into();
    review
}

/// Replaces the value at a JSON pointer, or removes it when `new` is null. Creates missing objects on the way.
pub fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let mut tokens: Vec<String> =
        pointer.trim_start_matches('/').split('/').map(|t| t.replace("~1", "/").replace("~0", "~")).collect();
    let last = tokens.pop().unwrap();
    let parent = tokens.iter().fold(&mut value, |at, token| match token.parse::<usize>() {
        Ok(index) if at.is_array() => &mut at[index],
        _ => &mut at[token.as_str()],
    });
    if new.is_null() {
        parent.as_object_mut().unwrap().remove(&last);
    } else {
        parent[last.as_str()] = new;
    }
    value
}

fn review(operation: &str, object: &Value, old: Option<&Value>, user: &str) -> Value {
    let shown = old.unwrap_or(object);
    let kind = shown["kind"].as_str().unwrap();
    let (group, version) = shown["apiVersion"].as_str().and_then(|v| v.split_once('/')).unwrap_or(("", "v1"));
    let gvk = json!({ "group": group, "version": version, "kind": kind });
    let resource = format!("{}s", kind.to_ascii_lowercase());
    let gvr = json!({ "group": group, "version": version, "resource": resource });
    let namespace = match kind {
        "Tenant" => &Value::Null,
        "Namespace" => &shown["metadata"]["name"],
        _ => &shown["metadata"]["namespace"],
    };
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": gvk, "resource": gvr, "requestKind": gvk, "requestResource": gvr,
            "name": shown["metadata"]["name"], "namespace": namespace, "operation": operation,
            "userInfo": { "username": user, "uid": "u1", "groups": ["leads", "system:authenticated"] },
            "object": object, "oldObject": old, "dryRun": false,
            "options": { "apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions" },
        },
    })
}
