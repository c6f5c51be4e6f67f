//! Decide: the readiness of an Agent, as far as it is known before a pod starts. Secrets are not checked: the operator has no permission to
//! read them.

use enact_crds::agent::Skill;
use enact_crds::agent_images::AgentImages;
use enact_crds::models::ModelProblem;
use enact_crds::{AgentSpec, validation};
use enact_domain::condition::{Condition, Readiness, Truth};

/// The ConfigMap with the recorded work that an Agent replays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The Agent replays nothing.
    None,
    /// The ConfigMap with this name does not exist.
    Missing(String),
    /// The ConfigMap with this name contains no patch.
    Empty(String),
    /// The ConfigMap contains patches.
    Found,
}

impl Recorded {
    /// Checks the `keys` of the ConfigMap `name`; none if it does not exist.
    pub fn new(name: &str, keys: Option<&[String]>) -> Self {
        match keys {
            None => Self::Missing(name.to_owned()),
            Some(keys) if keys.iter().any(|k| k.strip_suffix(".patch").is_some_and(|task| !task.is_empty())) => {
                Self::Found
            }
            Some(_) => Self::Empty(name.to_owned()),
        }
    }
}

/// Returns the problem with a skill, whose ConfigMap has these `keys`; none if the ConfigMap does not exist.
pub fn skill_problem(index: usize, skill: &Skill, keys: Option<&[String]>) -> Option<String> {
    let (field, name) = (format!("spec.skills[{index}].configMapRef"), &skill.config_map_ref.name);
    match keys {
        None => Some(format!("{field}: there is no ConfigMap {name} in this namespace; create it")),
        Some(keys) if keys.iter().any(|key| key == "SKILL.md") => None,
        Some(_) => Some(format!("{field}: ConfigMap {name} has no key SKILL.md; add the skill's description")),
    }
}

/// What the namespace of an Agent is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Whether it belongs to a tenant.
    pub in_tenant: bool,
    /// Whether it is the namespace of the installation.
    pub in_installation: bool,
    /// The images that its tenant allows.
    pub images: Option<&'a AgentImages>,
}

/// Returns the readiness of an Agent. `problem` is the first problem with its models, `skill` the first one with its skills.
pub fn decide(
    spec: &AgentSpec,
    place: Place<'_>,
    recorded: &Recorded,
    problem: Option<&(usize, ModelProblem)>,
    skill: Option<String>,
) -> Readiness {
    if !place.in_tenant && !place.in_installation {
        let message = "the namespace belongs to no tenant; add it to spec.namespaces of a Tenant, or move the object to one of its namespaces";
        return Readiness::stalled("NotInTenant", message);
    }
    // The webhook refuses these, unless it was down.
    let sharing = validation::agent_sharing(spec, place.in_installation);
    if let Some(error) = validation::agent(spec).into_iter().chain(sharing).next() {
        let reason = if error.field == "spec.image" { "InvalidImage" } else { "InvalidAgent" };
        return Readiness::stalled(reason, error.to_string());
    }
    if let Some(error) = place.images.and_then(|images| validation::agent_image(images, spec)) {
        return Readiness::stalled("ImageNotAllowed", error.to_string());
    }
    if let Some((index, problem)) = problem {
        let message = format!("spec.models[{index}]: {problem}");
        return Readiness::stalled(problem.reason(), message);
    }
    let field = "spec.replay.configMapRef";
    match recorded {
        Recorded::Missing(name) => Readiness::stalled(
            "SourceMissing",
            format!("{field}: there is no ConfigMap {name} in this namespace; create it"),
        ),
        Recorded::Empty(name) => Readiness::stalled(
            "SourceMissing",
            format!("{field}: ConfigMap {name} has no key `<task id>.patch`; add recorded work"),
        ),
        Recorded::Found | Recorded::None => match skill {
            Some(message) => Readiness::stalled("SourceMissing", message),
            None if spec.suspend => {
                let message = "no attempt starts with this agent, and running attempts continue; set spec.suspend to false to resume it";
                Readiness::stalled("Suspended", message)
            }
            None => Readiness::ready("Valid", "the agent can be used"),
        },
    }
}

/// Returns the condition of an Agent that wants a probe and gets none because of its place.
pub fn not_probed(spec: &AgentSpec, place: Place) -> Option<Condition> {
    if !spec.wants_probe() || place.in_tenant || !place.in_installation {
        return None;
    }
    // Pods of agents are untrusted. In the namespace of the installation they would be beside its Secrets and programs, and the admission policy
    // of the chart allows the operator no pod there.
    let message = "the pods of a shared Agent run in the namespaces of tenants, and the operator starts no pod of an agent in the namespace of \
                   the installation; attempts show whether the agent works, and an Agent with the same fields in a namespace of a tenant is probed";
    Some(Condition::new("Probed", Truth::False, "NotProbed", message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shared_agent_names_nothing_of_its_namespace() {
        let reason = |spec: serde_json::Value, in_installation: bool| {
            let spec = serde_json::from_value(spec).unwrap();
            let place = Place { in_tenant: !in_installation, in_installation, images: None };
            let readiness = decide(&spec, place, &Recorded::None, None, None);
            format!("{}: {}", readiness.reason, readiness.message)
        };
        let shared = |field: &str, value: serde_json::Value| {
            let mut spec = json!({"adapter": "Command", "shareWith": {"allTenants": true}});
            spec[field] = value;
            spec
        };
        assert_eq!(reason(shared("script", json!("true")), true), "Valid: the agent can be used");
        assert!(
            reason(shared("script", json!("true")), false).contains("spec.shareWith: only an Agent in the namespace")
        );
        let secret = json!([{"name": "KEY", "secretKeyRef": {"name": "a", "key": "b"}}]);
        assert!(reason(shared("env", secret), true).contains("spec.env[0].secretKeyRef: the pods of a shared Agent"));
        assert!(
            reason(shared("monthlyBudget", json!({"usd": "1"})), true).contains("set monthlyBudget of the Tenants")
        );
    }

    #[test]
    fn a_shared_agent_says_that_it_is_not_probed() {
        let shown = |spec: serde_json::Value, in_installation: bool| {
            let spec: AgentSpec = serde_json::from_value(spec).unwrap();
            not_probed(&spec, Place { in_tenant: !in_installation, in_installation, images: None })
        };
        let shared = |fields: serde_json::Value| {
            let mut spec = json!({"adapter": "Codex", "image": "codex:1", "shareWith": {"allTenants": true}});
            spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            spec
        };
        let condition = shown(shared(json!({})), true).unwrap();
        assert_eq!((condition.type_.as_str(), condition.reason.as_str()), ("Probed", "NotProbed"));
        assert!(condition.message.contains("in a namespace of a tenant is probed"), "{}", condition.message);
        assert_eq!(shown(shared(json!({"probe": "Off"})), true), None, "nobody wants a probe");
        assert_eq!(shown(shared(json!({"adapter": "Command"})), true), None, "a script is not probed anywhere");
        assert_eq!(shown(shared(json!({})), false), None, "it is probed");
    }

    #[test]
    fn every_state_has_its_reason() {
        let spec = |image: Option<&str>| serde_json::from_value(json!({"adapter": "Command", "image": image})).unwrap();
        let readiness = |Readiness { progress, reason, message }| format!("{progress:?} {reason}: {message}\n");
        let images: AgentImages = serde_json::from_value(json!({"allowed": ["ghcr.io"]})).unwrap();
        let place = |in_tenant| Place { in_tenant, in_installation: false, images: Some(&images) };
        let shown = |image, in_tenant, recorded: &Recorded| {
            readiness(decide(&spec(image), place(in_tenant), recorded, None, None))
        };
        let with_skill =
            json!({"adapter": "Codex", "skills": [{"name": "review", "configMapRef": {"name": "team-review"}}]});
        let with_skill: AgentSpec = serde_json::from_value(with_skill).unwrap();
        let skill = |keys: Option<&[String]>| {
            let problem = skill_problem(0, &with_skill.skills[0], keys);
            readiness(decide(&with_skill, place(true), &Recorded::None, None, problem))
        };
        let unable = json!({"adapter": "Codex", "maxTurns": 3});
        let suspended = json!({"adapter": "Command", "suspend": true});
        insta::assert_snapshot!(
            [
                shown(None, true, &Recorded::None),
                shown(Some("ghcr.io/a/b:1"), true, &Recorded::new("work", Some(&["T001.patch".into()]))),
                shown(None, false, &Recorded::None),
                shown(Some("https://ghcr.io/a\nb"), true, &Recorded::None),
                shown(Some("quay.io/a/b:1"), true, &Recorded::None),
                shown(None, true, &Recorded::new("work", None)),
                shown(None, true, &Recorded::new("work", Some(&["README".into()]))),
                readiness(decide(&serde_json::from_value(unable).unwrap(), place(true), &Recorded::None, None, None)),
                readiness(decide(
                    &serde_json::from_value(suspended).unwrap(),
                    place(true),
                    &Recorded::None,
                    None,
                    None
                )),
                skill(None),
                skill(Some(&["README.md".into()])),
                skill(Some(&["SKILL.md".into()])),
            ]
            .concat()
        );
    }
}
