//! Validates an object against the schema of its CustomResourceDefinition, as the API server does at admission.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::BTreeMap;

use kube_cel::{ValidationErrors, Validator};
use regex::Regex;
use serde_json::Value;

/// The schemas by kind.
pub struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// Loads the schemas of this release.
    pub fn load() -> Self {
        let of_kind =
            |crd: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
                let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
                (crd.spec.names.kind, schema["openAPIV3Schema"].clone())
            };
        Self(enact_crds::all().into_iter().map(of_kind).collect())
    }

    /// Returns the errors of an object, except for those of CEL rules.
    pub fn problems(&self, object: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        match object["kind"].as_str().and_then(|kind| self.0.get(kind)) {
            Some(schema) => check(schema, object, "", &mut problems),
            None => problems.push(format!("{} is not a kind of Enact", object["kind"])),
        }
        problems
    }

    /// Evaluates the CEL rules for a new object.
    pub fn evaluate_rules(&self, object: &Value) -> Result<(), ValidationErrors> {
        let schema = object["kind"].as_str().and_then(|kind| self.0.get(kind)).expect("a kind of Enact");
        Validator::new().validate(schema, object, None)
    }
}

fn check(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    let mut wrong = |what: String| problems.push(format!("{path}: {what}"));
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !fits {
        wrong(format!("{value} is not of type {}", schema["type"]));
        return;
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        wrong(format!("{value} is not one of {}", schema["enum"]));
    }
    let size = match value {
        // The API server counts characters, not bytes.
        Value::String(text) => Some(("minLength", "maxLength", text.chars().count())),
        Value::Array(items) => Some(("minItems", "maxItems", items.len())),
        _ => None,
    };
    if let Some((min, max, size)) = size {
        let size = size as u64;
        if schema[min].as_u64().is_some_and(|least| size < least)
            || schema[max].as_u64().is_some_and(|most| size > most)
        {
            wrong(format!("its size is {size}, allowed are {} to {}", schema[min], schema[max]));
        }
    }
    if let Some(number) = value.as_f64()
        && (schema["minimum"].as_f64().is_some_and(|least| number < least)
            || schema["maximum"].as_f64().is_some_and(|most| number > most))
    {
        wrong(format!("{number} is not from {} to {}", schema["minimum"], schema["maximum"]));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        wrong(format!("{text:?} does not match {pattern}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            wrong(format!("{name} is missing"));
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
        let is_free = path.is_empty() && matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
        match known {
            Value::Object(_) => check(known, field, &format!("{path}.{name}"), problems),
            _ if is_free => {}
            _ => problems.push(format!("{path}.{name}: there is no such field")),
        }
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, &format!("{path}[{at}]"), problems);
    }
}
