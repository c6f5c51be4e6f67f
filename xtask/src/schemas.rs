//! Validates manifests against Kubernetes' OpenAPI description, which is in the pinned Go module. Needs no network and no cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::cmd::{CommandExt, cmd};
use crate::tools;

/// Kinds of other projects, which have no schema here: `apiVersion/Kind`.
const SKIPPED: [&str; 4] = [
    "cert-manager.io/v1/Certificate",
    "cert-manager.io/v1/Issuer",
    "monitoring.coreos.com/v1/PrometheusRule",
    "monitoring.coreos.com/v1/ServiceMonitor",
];

/// The definition of resource quantities.
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// The file with all schemas; the file of a kind refers to it.
const ALL: &str = "definitions.json";

/// The schemas of Kubernetes' kinds, in files for kubeconform.
pub(crate) struct Schemas {
    folder: TempDir,
    kubeconform: PathBuf,
}

impl Schemas {
    /// Writes the schemas.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let described = tools::kubernetes_source()?.join("api/openapi-spec/swagger.json");
        let described = fs::read(&described).with_context(|| format!("cannot read {}", described.display()))?;
        let described: Value = serde_json::from_slice(&described)?;
        write(
            folder.path(),
            described["definitions"].as_object().context("Kubernetes' OpenAPI description has no definitions")?,
        )?;
        Ok(Self { folder, kubeconform: tools::charts()?.join("kubeconform") })
    }

    /// Validates manifests. Unknown fields are errors, and so are unknown kinds that are not in [`SKIPPED`].
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
    // The description allows only texts, but the API server also accepts numbers such as `cpu: 2`.
    definitions.insert(QUANTITY.to_owned(), json!({ "type": ["number", "string"] }));
    fs::write(folder.join(ALL), json!({ "definitions": definitions }).to_string())?;
    Ok(())
}

/// Returns the file name that kubeconform expects for a kind.
fn file_of(kind: &Value) -> Option<String> {
    let part = |name: &str| kind[name].as_str().map(str::to_lowercase);
    let (group, version, kind) = (part("group")?, part("version")?, part("kind")?);
    let group = group.split('.').next().filter(|group| !group.is_empty()).map(|group| format!("-{group}"));
    Some(format!("{kind}{}-{version}.json", group.unwrap_or_default()))
}

/// Converts a part of an `OpenAPI` description to a JSON schema in which an object has no other fields.
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
        assert!(properties.get("additionalProperties").is_none(), "that would declare a field with this name");
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
