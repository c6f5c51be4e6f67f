//! Manifests against Kubernetes' own description of its kinds, which the pinned module brings along: no network, no cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::cmd::{CommandExt, cmd};
use crate::tools;

/// Kinds of others, whose schemas are not at hand: `apiVersion/Kind`.
const SKIPPED: [&str; 4] = [
    "cert-manager.io/v1/Certificate",
    "cert-manager.io/v1/Issuer",
    "monitoring.coreos.com/v1/PrometheusRule",
    "monitoring.coreos.com/v1/ServiceMonitor",
];

/// The definition of amounts of resources.
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// The file of all schemas, which that of a kind points into.
const ALL: &str = "definitions.json";

/// The schemas of Kubernetes' kinds, in files as kubeconform wants them.
pub(crate) struct Schemas {
    folder: TempDir,
    kubeconform: PathBuf,
}

impl Schemas {
    /// Writes them.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let described = tools::kubernetes_source()?.join("api/openapi-spec/swagger.json");
        let described = fs::read(&described).with_context(|| format!("cannot read {}", described.display()))?;
        let described: Value = serde_json::from_slice(&described)?;
        write(folder.path(), described["definitions"].as_object().context("Kubernetes describes no kinds")?)?;
        Ok(Self { folder, kubeconform: tools::charts()?.join("kubeconform") })
    }

    /// Checks manifests: fields that a kind does not have are wrong, and so is a kind that is neither known nor of those that are skipped.
    pub(crate) fn check(&self, manifests: &str) -> Result<()> {
        let location = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", self.folder.path().display());
        let mut check = cmd(&self.kubeconform, ["-strict", "-summary", "-skip", &SKIPPED.join(",")]);
        println!("{}", check.args(["-schema-location", &location]).read_with(manifests)?);
        Ok(())
    }
}

fn write(folder: &Path, definitions: &Map<String, Value>) -> Result<()> {
    for (name, definition) in definitions {
        for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let Some(file) = file_of(kind) else { continue };
            let pointer = json!({ "$ref": format!("{ALL}#/definitions/{name}") });
            fs::write(folder.join(file), pointer.to_string())?;
        }
    }
    let mut definitions: Map<String, Value> = definitions.iter().map(|(name, it)| (name.clone(), strict(it))).collect();
    // Described as a text, but `cpu: 2` is one as well.
    definitions.insert(QUANTITY.to_owned(), json!({ "type": ["number", "string"] }));
    fs::write(folder.join(ALL), json!({ "definitions": definitions }).to_string())?;
    Ok(())
}

/// The name under which kubeconform looks for a kind.
fn file_of(kind: &Value) -> Option<String> {
    let part = |name: &str| kind[name].as_str().map(str::to_lowercase);
    let (group, version, kind) = (part("group")?, part("version")?, part("kind")?);
    let group = group.split('.').next().filter(|group| !group.is_empty()).map(|group| format!("-{group}"));
    Some(format!("{kind}{}-{version}.json", group.unwrap_or_default()))
}

/// The JSON schema for a part of an `OpenAPI` description, in which an object has no fields but those that are named.
fn strict(described: &Value) -> Value {
    match described {
        Value::Object(fields) if fields.get("format").is_some_and(|format| format == "int-or-string") => {
            json!({ "type": ["integer", "string"] })
        }
        Value::Object(fields) => {
            let mut schema: Map<String, Value> = fields.iter().map(|(key, it)| (key.clone(), strict(it))).collect();
            if fields.get("properties").is_some_and(Value::is_object) && !fields.contains_key("additionalProperties") {
                schema.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            Value::Object(schema)
        }
        Value::Array(items) => items.iter().map(strict).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_not_described_is_none() {
        let described = json!({
            "type": "object",
            "properties": {
                "port": { "type": "string", "format": "int-or-string" },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                "items": { "items": { "properties": { "name": { "type": "string" } } } },
            },
        });
        let schema = strict(&described);
        assert_eq!(schema["additionalProperties"], false);
        let properties = &schema["properties"];
        assert_eq!(properties["port"], json!({ "type": ["integer", "string"] }));
        assert_eq!(properties["labels"], described["properties"]["labels"]);
        assert_eq!(properties["items"]["items"]["additionalProperties"], false);
        assert!(properties.get("additionalProperties").is_none(), "that would be a field of this name");
    }

    #[test]
    fn kinds_have_the_files_that_kubeconform_looks_for() {
        let file = |group: &str, kind: &str| file_of(&json!({ "group": group, "version": "v1", "kind": kind }));
        assert_eq!(file("", "Service").as_deref(), Some("service-v1.json"));
        assert_eq!(file("apps", "Deployment").as_deref(), Some("deployment-apps-v1.json"));
        assert_eq!(file("networking.k8s.io", "NetworkPolicy").as_deref(), Some("networkpolicy-networking-v1.json"));
        assert_eq!(file_of(&json!({})), None);
    }
}
