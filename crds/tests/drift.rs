//! What a client applies is what the API server stores, as far as a client compares it.

use serde_json::Value;

/// Returns the paths of fields below a list whose schema has a default.
fn defaults_in_lists(schema: &Value, path: &str, in_list: bool, found: &mut Vec<String>) {
    if in_list && schema.get("default").is_some() {
        found.push(path.to_owned());
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        defaults_in_lists(field, &format!("{path}.{name}"), in_list, found);
    }
    if schema["items"].is_object() {
        defaults_in_lists(&schema["items"], &format!("{path}[]"), true, found);
    }
}

/// `kubectl apply` and Argo CD compare a list as a whole: a default that the API server adds to an item would be a difference each time.
#[test]
fn no_item_of_a_list_has_a_default() {
    let mut found = Vec::new();
    for crd in enact_crds::all() {
        let crd = serde_json::to_value(&crd).expect("a CRD is JSON");
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap_or_default();
        defaults_in_lists(schema, kind, false, &mut found);
    }
    assert_eq!(found, [""; 0]);
}
