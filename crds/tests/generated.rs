//! The checked-in YAML is what the types say, in `crds/generated` and in the chart that brings it; `cargo xtask crds` (which sets
//! `ENACT_UPDATE=1`) writes both again. And every kind keeps to the conventions of the group.

use std::fs;
use std::path::{Path, PathBuf};

use enact_crds::all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

/// etcd takes objects of 1.5 MiB, but client-side apply keeps a second copy in an annotation of at most 256 KiB.
const MAX_CRD_BYTES: usize = 256 * 1024;

/// Where the YAML is kept: Helm reads no file outside of a chart, so the chart has its own copy.
fn places() -> [PathBuf; 2] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    [root.join("generated"), root.join("../charts/enact/charts/enact-crds/files")]
}

fn name(crd: &CustomResourceDefinition) -> &str {
    crd.metadata.name.as_deref().unwrap_or_default()
}

/// Schema of the only version.
fn schema(crd: &CustomResourceDefinition) -> Value {
    let version = crd.spec.versions.first().expect("a version");
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    serde_json::to_value(schema.expect("a schema")).expect("plain data")
}

#[test]
fn generated_yaml_is_current() {
    let update = std::env::var_os("ENACT_UPDATE").is_some();
    for place in places() {
        for crd in all() {
            let yaml = serde_yaml::to_string(&crd).expect("a CRD is plain data");
            let path = place.join(format!("{}.yaml", name(&crd)));
            if update {
                fs::write(&path, &yaml).expect("the YAML can be written");
            }
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == yaml, "{} is stale; run `cargo xtask crds`", path.display());
            assert!(yaml.len() < MAX_CRD_BYTES, "{} has {} bytes", path.display(), yaml.len());
        }
        let mut kept: Vec<String> =
            fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let mut wanted: Vec<String> = all().iter().map(|crd| format!("{}.yaml", name(crd))).collect();
        kept.sort();
        wanted.sort();
        assert_eq!(kept, wanted, "{} holds what no type says", place.display());
    }
}

#[test]
fn every_kind_keeps_to_the_conventions() {
    let mut short_names = Vec::new();
    for crd in all() {
        let (name, names) = (name(&crd), &crd.spec.names);
        assert_eq!(crd.spec.group, "enact.dev", "{name}");
        assert_eq!(crd.spec.scope == "Cluster", names.kind == "Tenant", "{name}: {}", crd.spec.scope);
        assert_eq!(names.categories.as_deref(), Some(["enact".to_owned()].as_slice()), "{name}");
        let short = names.short_names.as_deref().unwrap_or_default();
        assert_eq!(short.len(), 1, "{name}: {short:?}");
        short_names.extend_from_slice(short);

        let [version] = crd.spec.versions.as_slice() else { panic!("{name} has other than one version") };
        assert_eq!((version.name.as_str(), version.served, version.storage), ("v1alpha1", true, true), "{name}");
        let status = version.subresources.as_ref().and_then(|subresources| subresources.status.as_ref());
        assert!(status.is_some(), "{name} has no status subresource");
        let columns: Vec<_> = version.additional_printer_columns.iter().flatten().map(|c| c.name.as_str()).collect();
        assert!(columns.contains(&"Reason") && columns.last() == Some(&"Age"), "{name}: {columns:?}");

        let schema = schema(&crd);
        let status = &schema["properties"]["status"]["properties"];
        assert_eq!(status["observedGeneration"]["type"], "integer", "{name}");
        let default = &schema["properties"]["status"]["default"];
        assert_eq!(
            *default,
            serde_json::json!({ "observedGeneration": -1 }),
            "{name} seems to be observed from the start"
        );
        let conditions = &status["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map", "{name}");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], serde_json::json!(["type"]), "{name}");
        let mut checked = schema.clone();
        // The webhook and the operator parse the definition of an adapter, with messages that a schema could not give.
        checked["properties"]["spec"]["properties"]["custom"].take();
        assert!(!checked.to_string().contains("x-kubernetes-preserve-unknown-fields"), "{name} takes anything");
    }
    let all = short_names.len();
    short_names.sort();
    short_names.dedup();
    assert_eq!(short_names.len(), all, "two kinds share a short name");
}

#[test]
fn every_column_shows_a_field_that_exists() {
    for crd in all() {
        let schema = schema(&crd);
        for column in crd.spec.versions[0].additional_printer_columns.iter().flatten() {
            // `.status.conditions[?(@.type=='Ready')].reason` shows a field of each item.
            let mut at = &schema;
            let shown = column.json_path.replace("[?(@.type=='Ready')]", "").replace("[0]", "");
            for field in shown.trim_start_matches('.').split('.') {
                at = if at["items"].is_object() { &at["items"]["properties"][field] } else { &at["properties"][field] };
                // The API server knows metadata without a schema.
                if field == "metadata" {
                    break;
                }
                assert!(at.is_object(), "{}: column {} shows {}", name(&crd), column.name, column.json_path);
            }
        }
    }
}

#[test]
fn every_field_is_described() {
    for crd in all() {
        let mut missing = Vec::new();
        let schema = schema(&crd);
        assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", name(&crd));
        undescribed(&schema, name(&crd), &mut missing);
        assert!(missing.is_empty(), "no description: {missing:#?}");
    }
}

fn undescribed(schema: &Value, path: &str, missing: &mut Vec<String>) {
    for (field, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{field}");
        if child["description"].as_str().is_none_or(str::is_empty) {
            missing.push(path.clone());
        }
        undescribed(child, &path, missing);
    }
    for child in [&schema["items"], &schema["additionalProperties"]] {
        if child.is_object() {
            undescribed(child, &format!("{path}[]"), missing);
        }
    }
}
