//! Plans for tests, and people's decisions on them.

use enact_crds::Agent;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::Bench;

/// Returns a task with a script that depends on others.
pub fn script_task(id: &str, depends_on: &[&str]) -> Value {
    json!({"id": id, "title": id, "script": "true", "dependsOn": depends_on})
}

impl Bench {
    /// Creates a Plan in `ns`, or creates it again.
    pub fn put_plan(&self, name: &str, spec: &Value) {
        self.put_plan_with(name, &json!({}), spec);
    }

    /// Does the same with these fields of its metadata.
    pub fn put_plan_with(&self, name: &str, metadata: &Value, spec: &Value) {
        let key = format!("plans/{name}");
        let named = json!({"name": name, "namespace": "ns", "generation": 1});
        let plan = json!({"apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "metadata": named, "spec": spec});
        self.api.put(&key, with(plan, "metadata", metadata));
    }

    /// Adds an Agent in `ns` that this user changed last.
    pub fn agent_by(&mut self, author: &str, name: &str, spec: Value) {
        let mut agent = Agent::new(name, serde_json::from_value(spec).unwrap());
        agent.metadata.namespace = Some("ns".into());
        agent.metadata.annotations = Some([("enact.dev/author".to_owned(), author.to_owned())].into());
        self.agents.apply_watcher_event(&Event::Apply(agent));
    }

    /// Changes a Specification whose controller does not see it yet.
    pub fn change_specification(&mut self, name: &str, change: &Value) {
        let key = format!("specifications/{name}");
        self.api.change(&key, change);
        let changed = serde_json::from_value(self.api.get(&key)).unwrap();
        self.specifications.apply_watcher_event(&Event::Apply(changed));
    }

    /// Adds the decision of a person on the present content of the Plan `p`. `fields` are others of the Approval's spec.
    pub fn decide_on_plan(&mut self, by: &str, decision: &str, fields: &Value) {
        let digest = self.api.get("plans/p")["status"]["digest"].clone();
        let spec = json!({
            "subject": {"kind": "Plan", "name": "p"}, "digest": digest, "decision": decision,
            "by": {"user": by, "groups": []},
        });
        let approval = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Approval",
            "metadata": {"name": by, "namespace": "ns", "uid": by, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": spec,
        });
        self.approval(&with(approval, "spec", fields));
    }
}

/// Adds fields to one of the fields of an object, or replaces them.
fn with(mut object: Value, field: &str, more: &Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        object[field][name] = value.clone();
    }
    object
}
