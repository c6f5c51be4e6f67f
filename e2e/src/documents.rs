//! Documents in tests: how they are written, and how they stand.

use std::fmt::Debug;

use anyhow::{Result, ensure};
use enact_crds::common::Condition;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{PATIENCE, Stage, condition};

/// A manifest of an object of ours.
pub fn manifest(kind: &str, name: &str, spec: &Value) -> String {
    let object = json!({"apiVersion": "enact.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    format!("{object}\n---\n")
}

/// A manifest of an object with its document in it, and more fields of its spec.
pub fn inline(kind: &str, name: &str, text: &str, more: &Value) -> String {
    manifest(kind, name, &sourced(&json!({ "inline": text }), more))
}

/// Manifests of a ConfigMap `<name>-text` with a document, and of an object that takes it from there.
pub fn mapped(kind: &str, name: &str, text: &str, more: &Value) -> String {
    let source = json!({"configMapKeyRef": {"name": format!("{name}-text"), "key": "text.md"}});
    map(name, text) + &manifest(kind, name, &sourced(&source, more))
}

/// A manifest of that ConfigMap alone.
pub fn map(name: &str, text: &str) -> String {
    let name = format!("{name}-text");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text.md": text}});
    format!("{map}\n---\n")
}

fn sourced(source: &Value, more: &Value) -> Value {
    let mut spec = more.clone();
    spec["source"] = source.clone();
    spec
}

/// The message of `Ready`; empty where there is none.
pub fn message(object: &impl Serialize) -> String {
    ready(object).map(|c| c.message).unwrap_or_default()
}

fn ready(object: &impl Serialize) -> Option<Condition> {
    let object = serde_json::to_value(object).ok()?;
    let conditions: Vec<Condition> = serde_json::from_value(object["status"]["conditions"].clone()).ok()?;
    condition(&conditions, "Ready").cloned()
}

/// Expects that a text holds all of these words.
///
/// # Errors
/// With the text, when it does not.
pub fn holds(text: &str, words: &[&str]) -> Result<()> {
    let missing: Vec<&&str> = words.iter().filter(|word| !text.contains(**word)).collect();
    ensure!(missing.is_empty(), "{missing:?} is not in: {text}");
    Ok(())
}

impl Stage {
    /// Waits until an object's `Ready` has this reason, for its spec as it is now.
    ///
    /// # Errors
    /// When that does not come in time, with the object as it last was.
    pub async fn await_reason<K>(&self, name: &str, reason: &str) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
    {
        self.await_message(name, reason, &[]).await
    }

    /// The same, and that its message holds all of these words.
    ///
    /// # Errors
    /// Likewise.
    pub async fn await_message<K>(&self, name: &str, reason: &str, words: &[&str]) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let stands = |object: &K| {
            let status = serde_json::to_value(object).map(|o| o["status"]["observedGeneration"].as_i64());
            let is_current = status.is_ok_and(|seen| seen == object.meta().generation);
            let ready = ready(object).filter(|c| is_current && c.reason == reason);
            ready.is_some_and(|c| words.iter().all(|word| c.message.contains(word)))
        };
        let what = format!("reason {reason} with {words:?}");
        self.watch(&self.api::<K>(), name, &what, PATIENCE, stands).await
    }

    /// Waits until the only Approval of somebody has this reason; its message.
    ///
    /// # Errors
    /// When that does not come in time.
    pub async fn decision(&self, by: &str, reason: &str) -> Result<String> {
        let all = self.api::<enact_crds::Approval>().list(&kube::api::ListParams::default()).await?.items;
        let mut names =
            all.iter().filter(|a| a.spec.by.as_ref().is_some_and(|p| p.user == by)).map(kube::ResourceExt::name_any);
        let (name, other) = (names.next(), names.next());
        ensure!(name.is_some() && other.is_none(), "{by} has not decided once: {all:#?}");
        let approval = self.await_reason::<enact_crds::Approval>(&name.unwrap_or_default(), reason).await?;
        Ok(message(&approval))
    }
}
