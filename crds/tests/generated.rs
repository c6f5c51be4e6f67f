//! The checked-in YAML is what the types say; `cargo xtask crds` (or `ENACT_UPDATE=1`) writes it anew.

use std::fs;
use std::path::Path;

use enact_crds::all;

/// etcd takes objects of 1.5 MiB, but client-side apply keeps a second copy in an annotation of at most 256 KiB.
const MAX_CRD_BYTES: usize = 256 * 1024;

#[test]
fn generated_yaml_is_current() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("generated");
    let update = std::env::var_os("ENACT_UPDATE").is_some();
    for crd in all() {
        let yaml = serde_yaml::to_string(&crd).expect("a CRD is plain data");
        let path = dir.join(format!("{}.yaml", crd.metadata.name.as_deref().unwrap_or_default()));
        if update {
            fs::write(&path, &yaml).expect("crds/generated can be written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == yaml, "{} is stale; run `cargo xtask crds`", path.display());
        assert!(yaml.len() < MAX_CRD_BYTES, "{} has {} bytes", path.display(), yaml.len());
    }
}

#[test]
fn every_field_is_described() {
    for crd in all() {
        let name = crd.metadata.name.clone().unwrap_or_default();
        for version in &crd.spec.versions {
            let schema = serde_json::to_value(version.schema.as_ref().expect("a schema")).expect("plain data");
            let mut missing = Vec::new();
            undescribed(&schema["openAPIV3Schema"], &name, &mut missing);
            assert!(missing.is_empty(), "no description: {missing:#?}");
        }
    }
}

fn undescribed(schema: &serde_json::Value, path: &str, missing: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        undescribed_items(schema, path, missing);
        return;
    };
    for (field, child) in properties {
        let path = format!("{path}.{field}");
        if child["description"].as_str().is_none_or(str::is_empty) {
            missing.push(path.clone());
        }
        undescribed(child, &path, missing);
    }
}

fn undescribed_items(schema: &serde_json::Value, path: &str, missing: &mut Vec<String>) {
    for child in [&schema["items"], &schema["additionalProperties"]] {
        if child.is_object() {
            undescribed(child, &format!("{path}[]"), missing);
        }
    }
}
