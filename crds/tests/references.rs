//! Every reference of a spec to another object is classified: what happens when that object changes after an approval.

use std::collections::BTreeMap;

use enact_crds::all;
use serde_json::Value;

/// What happens when the object that a field refers to changes after an approval; docs/guide/documents-and-approvals.md says it for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The digest of the Plan covers its content: new attempts wait for another approval.
    Covered,
    /// The digest covers what was read from it, and a started Plan keeps that.
    Pinned,
    /// The object has approvals of its own.
    OwnApproval,
    /// People approve what the work with it results in.
    ResultApproved,
    /// A Secret, which the operator cannot read. The name is covered, the value is not.
    Secret,
    /// Nothing that is approved depends on it.
    Irrelevant,
}
use Change::{Covered, Irrelevant, OwnApproval, Pinned, ResultApproved, Secret};

const CLASSIFIED: [(&str, Change); 31] = [
    ("Agent.env[].secretKeyRef", Secret),
    ("Agent.mcpServers[].env[].secretKeyRef", Secret),
    ("Agent.mcpServers[].headers[].secretKeyRef", Secret),
    ("Agent.models[].provider", Covered),
    ("Agent.replay.configMapRef", Covered),
    ("Agent.skills[].configMapRef", Covered),
    ("Agent.warmPool.repository.credentialsSecretRef", Secret),
    ("Approval.subject.name", OwnApproval),
    ("Constitution.parentRef", OwnApproval),
    ("Constitution.source.configMapKeyRef", Pinned),
    ("Constitution.source.git.credentialsSecretRef", Secret),
    ("Plan.agentRef", Covered),
    ("Plan.agents[].name", Covered),
    ("Plan.generate.agents[].name", ResultApproved),
    ("Plan.generate.judges[].name", ResultApproved),
    ("Plan.generate.synthesizer.name", ResultApproved),
    ("Plan.replaces.name", Pinned),
    ("Plan.source.configMapKeyRef", Pinned),
    ("Plan.source.git.credentialsSecretRef", Secret),
    ("Plan.specificationRef", OwnApproval),
    ("Plan.tasks[].agentRef", Covered),
    ("Plan.tasks[].attempts.agents", Covered),
    ("Plan.workspace.credentialsSecretRef", Secret),
    ("Plan.workspace.integration.credentialsSecretRef", Secret),
    ("Specification.constitutionRef", OwnApproval),
    ("Specification.drafting.agentRef", ResultApproved),
    ("Specification.source.configMapKeyRef", Pinned),
    ("Specification.source.git.credentialsSecretRef", Secret),
    ("Task.agentRef", Covered),
    ("Task.attempts.agents", Covered),
    ("Task.planRef", Irrelevant),
];

/// Fields of the Tenant, which only platform administrators write.
const OF_TENANTS: [(&str, Change); 1] = [("Tenant.constitutionRef", OwnApproval)];

#[test]
fn every_reference_is_classified() {
    let mut found = BTreeMap::new();
    for crd in all() {
        let version = crd.spec.versions.first().expect("a version");
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let schema = serde_json::to_value(schema.expect("a schema")).expect("plain data");
        collect(&schema["properties"]["spec"], &crd.spec.names.kind, &mut found);
    }
    let known: BTreeMap<&str, Change> = CLASSIFIED.into_iter().chain(OF_TENANTS).collect();
    let unclassified: Vec<&String> = found.keys().filter(|path| !known.contains_key(path.as_str())).collect();
    assert!(
        unclassified.is_empty(),
        "classify these references, and let an approval cover what they refer to: {unclassified:?}"
    );
    let gone: Vec<&&str> = known.keys().filter(|path| !found.contains_key(**path)).collect();
    assert!(gone.is_empty(), "no schema has these fields: {gone:?}");
    for (path, is_secret) in found {
        assert_eq!(known[path.as_str()] == Secret, is_secret, "{path}");
    }
}

/// Collects the fields that refer to objects, and whether to a Secret.
fn collect(schema: &Value, path: &str, found: &mut BTreeMap<String, bool>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if name.ends_with("Ref") || names_an_object(field["description"].as_str().unwrap_or_default()) {
            found.insert(path, name.contains("ecret"));
        } else {
            collect(field, &path, found);
        }
    }
    if schema["items"].is_object() {
        collect(&schema["items"], &format!("{path}[]"), found);
    }
    if schema["additionalProperties"].is_object() {
        collect(&schema["additionalProperties"], &format!("{path}{{}}"), found);
    }
}

/// Returns whether a description says that the field contains the name of an object.
fn names_an_object(description: &str) -> bool {
    const KINDS: [&str; 9] = [
        "Agent",
        "Approval",
        "ConfigMap",
        "Constitution",
        "ModelProvider",
        "Plan",
        "Secret",
        "Specification",
        "subject",
    ];
    let Some((of, what)) = description.split_once(" of ") else { return false };
    let what = what.strip_prefix("the ").or_else(|| what.strip_prefix("a ")).or_else(|| what.strip_prefix("an "));
    ["Name", "Names"].contains(&of) && what.is_some_and(|what| KINDS.iter().any(|kind| what.starts_with(kind)))
}
