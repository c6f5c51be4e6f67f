//! Manifests with typed objects.

#![allow(dead_code, reason = "not every test uses all of it")]

use enact_crds::{Agent, Approval, Constitution, ModelProvider, Plan, Specification, Tenant};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Fields that are not written while they have this value, their default.
const DEFAULTS: [(&str, &str); 1] = [(".spec.rules[].severity", "MUST")];

/// Objects in the order of the YAML.
pub struct Manifests(Vec<Value>);

impl Manifests {
    /// Reads the objects of one stream.
    pub fn parse(yaml: &str) -> Self {
        let mut objects = Vec::new();
        for document in serde_yaml::Deserializer::from_str(yaml) {
            let object = Value::deserialize(document).unwrap();
            check(&object).unwrap_or_else(|problem| panic!("{problem} in:\n{object:#}"));
            objects.push(object);
        }
        Self(objects)
    }

    /// Returns the kinds of all objects, sorted.
    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.0.iter().filter_map(|object| object["kind"].as_str()).collect();
        kinds.sort_unstable();
        kinds
    }

    /// Iterates over the objects as JSON.
    pub fn each(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }

    /// Returns all objects of a kind.
    pub fn all<K: Resource<DynamicType = ()> + DeserializeOwned>(&self) -> Vec<K> {
        let of_kind = self.0.iter().filter(|object| object["kind"] == *K::kind(&()));
        of_kind.map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
    }

    /// Returns the only object of a kind. Panics if there is none or there are several.
    pub fn only<K: Resource<DynamicType = ()> + DeserializeOwned>(&self) -> K {
        let mut all = self.all::<K>();
        assert_eq!(all.len(), 1, "objects of kind {}", K::kind(&()));
        all.remove(0)
    }
}

fn check(object: &Value) -> Result<(), String> {
    match object["kind"].as_str() {
        Some("Tenant") => same::<Tenant>(object),
        Some("ModelProvider") => same::<ModelProvider>(object),
        Some("Agent") => same::<Agent>(object),
        Some("Constitution") => same::<Constitution>(object),
        Some("Specification") => same::<Specification>(object),
        Some("Plan") => same::<Plan>(object),
        Some("Approval") => same::<Approval>(object),
        Some("ConfigMap") => same::<ConfigMap>(object),
        Some("Deployment") => same::<Deployment>(object),
        Some("Service") => same::<Service>(object),
        Some("Secret") => same::<Secret>(object),
        Some("Namespace") => same::<Namespace>(object),
        Some("Ingress") => same::<Ingress>(object),
        other => Err(format!("unexpected kind {other:?}")),
    }
}

/// Checks that the type knows every field, as the API server's strict validation does.
fn same<K: Serialize + DeserializeOwned>(object: &Value) -> Result<(), String> {
    let read: K = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    kept(object, &serde_json::to_value(&read).map_err(|error| error.to_string())?, "")
}

fn kept(written: &Value, read: &Value, path: &str) -> Result<(), String> {
    match (written, read) {
        (Value::Object(fields), _) => {
            fields.iter().try_for_each(|(name, value)| kept(value, &read[name], &format!("{path}.{name}")))
        }
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            items.iter().zip(others).try_for_each(|(item, other)| kept(item, other, &format!("{path}[]")))
        }
        _ if written == read => Ok(()),
        (Value::String(text), Value::Null) if DEFAULTS.contains(&(path, text)) => Ok(()),
        _ => Err(format!("{path} is {written}, and is read as {read}")),
    }
}
