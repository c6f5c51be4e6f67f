//! Helpers for tests of documents: manifests, and waiting for a reason.

use std::fmt::Debug;

use anyhow::{Result, ensure};
use enact_crds::common::Condition;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{PATIENCE, Stage, condition};

/// Returns the manifest of an Enact object.
pub fn manifest(kind: &str, name: &str, spec: &Value) -> String {
    let object = json!({"apiVersion": "enact.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    format!("{object}\n---\n")
}

/// Returns the manifest of an object with an inline document. `more` contains additional fields of its spec.
pub fn inline(kind: &str, name: &str, text: &str, more: &Value) -> String {
    manifest(kind, name, &sourced(&json!({ "inline": text }), more))
}

/// Returns the manifests of a ConfigMap `<name>-text` with a document, and of an object that refers to it.
pub fn mapped(kind: &str, name: &str, text: &str, more: &Value) -> String {
    let source = json!({"configMapKeyRef": {"name": format!("{name}-text"), "key": "text.md"}});
    map(name, text) + &manifest(kind, name, &sourced(&source, more))
}

/// Returns the manifest of that ConfigMap alone.
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

/// Returns the message of `Ready`, or an empty text without the condition.
pub fn message(object: &impl Serialize) -> String {
    ready(object).map(|c| c.message).unwrap_or_default()
}

fn ready(object: &impl Serialize) -> Option<Condition> {
    let object = serde_json::to_value(object).ok()?;
    let conditions: Vec<Condition> = serde_json::from_value(object["status"]["conditions"].clone()).ok()?;
    condition(&conditions, "Ready").cloned()
}

/// Checks that a text contains all of these words.
///
/// # Errors
/// If it does not, with the text.
pub fn holds(text: &str, words: &[&str]) -> Result<()> {
    let missing: Vec<&&str> = words.iter().filter(|word| !text.contains(**word)).collect();
    ensure!(missing.is_empty(), "{missing:?} is not in: {text}");
    Ok(())
}

impl Stage {
    /// Waits until an object's `Ready` has this reason for the current generation.
    ///
    /// # Errors
    /// If it does not in time, with the last state of the object.
    pub async fn await_reason<K>(&self, name: &str, reason: &str) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
    {
        self.await_message(name, reason, &[]).await
    }

    /// Does the same as [`Self::await_reason`], and checks that the message contains all of these words.
    ///
    /// # Errors
    /// If the reason does not come in time, or the message lacks a word.
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

    /// Waits until the only Approval by a user has this reason, and returns its message.
    ///
    /// # Errors
    /// If it does not in time.
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
