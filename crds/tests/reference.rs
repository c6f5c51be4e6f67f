//! `docs/reference/crds.md` describes every field of every kind as the schema has it; `cargo xtask crds` writes it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use enact_crds::all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

const HEAD: &str = "# Fields of the custom resources

Group `enact.dev`, version `v1alpha1`. This page is generated from the types in `crds/src` by `cargo xtask crds`.
`kubectl explain plan.spec` prints the same from a cluster.

`[]` stands for each item of a list, `{}` for each value of a map. A field in **bold** is required.
";

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/crds.md");
    let text = page();
    if std::env::var_os("ENACT_UPDATE").is_some() {
        fs::write(&path, &text).expect("docs/reference can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{} is stale; run `cargo xtask crds`", path.display());
}

#[test]
fn every_kind_and_field_is_listed() {
    let text = page();
    for crd in all() {
        assert!(text.contains(&format!("\n## {}\n", crd.spec.names.kind)));
    }
    for line in [
        "| `spec.execution.podTtlSeconds` | integer (0 to 604800) | `300` |",
        "| **`spec.tasks[].id`** | string (1 to 63 characters) |",
        "| `status.outputs{}` | string |",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

fn page() -> String {
    let crds = all();
    let mut text = HEAD.to_owned();
    text.push_str("\n| kind | short | scope | |\n| --- | --- | --- | --- |\n");
    for crd in &crds {
        let names = &crd.spec.names;
        let short = names.short_names.iter().flatten().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let (kind, anchor) = (&names.kind, names.kind.to_lowercase());
        let description = cell(schema(crd)["description"].as_str().unwrap_or_default());
        line(&mut text, &format!("| [{kind}](#{anchor}) | {short} | {} | {description} |", crd.spec.scope));
    }
    for crd in &crds {
        kind(crd, &mut text);
    }
    text
}

fn kind(crd: &CustomResourceDefinition, text: &mut String) {
    let schema = schema(crd);
    line(text, &format!("\n## {}\n", crd.spec.names.kind));
    line(text, schema["description"].as_str().unwrap_or_default());
    let mut rules = Vec::new();
    collect_rules(&schema, "", &mut rules);
    for part in ["spec", "status"] {
        line(text, &format!("\n| field of `{part}` | type | default | |\n| --- | --- | --- | --- |"));
        fields(&schema["properties"][part], part, text);
    }
    if !rules.is_empty() {
        line(text, "\nRules:\n");
        for (path, message) in rules {
            let place = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
            line(text, &format!("- {place}{message}"));
        }
    }
    let selectable: Vec<String> = versions(crd)["selectableFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|field| field["jsonPath"].as_str())
        .map(|path| format!("`{}`", path.trim_start_matches('.')))
        .collect();
    if !selectable.is_empty() {
        line(text, &format!("\nFields that `--field-selector` knows: {}.", selectable.join(", ")));
    }
}

fn fields(schema: &Value, path: &str, text: &mut String) {
    let Some(properties) = schema["properties"].as_object() else { return };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in properties {
        let path = format!("{path}.{name}");
        let shown = if required.contains(&name.as_str()) { format!("**`{path}`**") } else { format!("`{path}`") };
        let default = field.get("default").map_or_else(String::new, |value| format!("`{value}`"));
        let description = cell(field["description"].as_str().unwrap_or_default());
        line(text, &format!("| {shown} | {} | {default} | {description} |", type_of(field)));
        below(field, &path, text);
    }
}

/// What stands in a field: its own fields, or those of its items or values. Conditions are Kubernetes' own, and the same everywhere.
fn below(field: &Value, path: &str, text: &mut String) {
    if path == "status.conditions" {
        return;
    }
    fields(field, path, text);
    for (part, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        let inner = &field[part];
        if inner["properties"].is_object() {
            fields(inner, &format!("{path}{mark}"), text);
        } else if part == "additionalProperties" && inner.is_object() {
            line(text, &format!("| `{path}{mark}` | {} | | |", type_of(inner)));
        }
    }
}

/// The type with its bounds, as a person says it.
fn type_of(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<String> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(", ");
    }
    if field["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    let type_ = field["type"].as_str().unwrap_or("object");
    let bounds = |least: &str, most: &str| match (number(&field[least]), number(&field[most])) {
        (Some(least), Some(most)) => format!(" ({least} to {most})"),
        (Some(least), None) => format!(" (at least {least})"),
        (None, Some(most)) => format!(" (at most {most})"),
        (None, None) => String::new(),
    };
    match type_ {
        "array" => {
            let inner = &field["items"];
            let of = if inner["properties"].is_object() { "objects".to_owned() } else { type_of(inner) };
            format!("list{} of {of}", bounds("minItems", "maxItems"))
        }
        "object" if field["additionalProperties"].is_object() => "map".to_owned(),
        "string" if field["format"] == "date-time" => "time".to_owned(),
        "string" => {
            let characters = bounds("minLength", "maxLength");
            characters.strip_suffix(')').map_or_else(|| "string".to_owned(), |b| format!("string{b} characters)"))
        }
        "integer" | "number" => format!("integer{}", bounds("minimum", "maximum")),
        other => other.to_owned(),
    }
}

fn number(value: &Value) -> Option<i64> {
    // Bounds are whole numbers, though the schema writes them with a fraction.
    #[allow(clippy::cast_possible_truncation, reason = "bounds in the schema are small whole numbers")]
    value.as_f64().map(|number| number as i64)
}

/// Messages of the rules in a schema, with the fields that they are about.
fn collect_rules(schema: &Value, path: &str, rules: &mut Vec<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().or(rule["rule"].as_str()).unwrap_or_default();
        rules.push((path.to_owned(), message.to_owned()));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect_rules(field, &path, rules);
    }
    if schema["items"].is_object() {
        collect_rules(&schema["items"], &format!("{path}[]"), rules);
    }
}

fn versions(crd: &CustomResourceDefinition) -> Value {
    serde_json::to_value(crd.spec.versions.first().expect("a version")).expect("plain data")
}

fn schema(crd: &CustomResourceDefinition) -> Value {
    versions(crd)["schema"]["openAPIV3Schema"].clone()
}

/// A text for a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
