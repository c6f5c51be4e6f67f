//! Decide: what keeps an Agent from running, as far as it can be told before a pod tries. Secrets are the kubelet's to look for: the
//! operator has no right to read them.

use enact_crds::AgentSpec;
use enact_crds::agent::is_image;
use enact_domain::condition::Progress;

/// The recorded work that an Agent plays back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It plays nothing back.
    NotAsked,
    /// Its ConfigMap, of this name, is not there.
    Missing(String),
    /// Its ConfigMap, of this name, holds no patch.
    Empty(String),
    /// It is there.
    There,
}

impl Recorded {
    /// What the `keys` of the ConfigMap `name` hold; none when there is no such object.
    pub fn new(name: &str, keys: Option<Vec<String>>) -> Self {
        match keys {
            None => Self::Missing(name.to_owned()),
            Some(keys) if keys.iter().any(|k| k.strip_suffix(".patch").is_some_and(|task| !task.is_empty())) => {
                Self::There
            }
            Some(_) => Self::Empty(name.to_owned()),
        }
    }
}

/// Which of the kstatus conditions holds, its reason, and a message for a person.
pub fn decide(spec: &AgentSpec, in_tenant: bool, recorded: &Recorded) -> (Progress, &'static str, String) {
    let stalled = |reason, message: String| (Progress::Stalled, reason, message);
    if !in_tenant {
        let message = "the namespace belongs to no tenant; add it to spec.namespaces of a Tenant, or move the object to one of its namespaces";
        return stalled("NotInTenant", message.into());
    }
    if let Some(image) = spec.image.as_deref().filter(|i| !is_image(i)) {
        let message =
            format!("spec.image: `{}` is not an image reference; write `registry/name:tag`", image.escape_debug());
        return stalled("InvalidImage", message);
    }
    let field = "spec.replay.configMapRef";
    match recorded {
        Recorded::Missing(name) => {
            stalled("SourceMissing", format!("{field}: there is no ConfigMap {name} in this namespace; create it"))
        }
        Recorded::Empty(name) => stalled(
            "SourceMissing",
            format!("{field}: ConfigMap {name} has no key `<task id>.patch`; add recorded work"),
        ),
        Recorded::There | Recorded::NotAsked => (Progress::Ready, "Valid", "the agent can be used".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_state_has_its_reason() {
        let spec = |image: Option<&str>| serde_json::from_value(json!({"adapter": "Command", "image": image})).unwrap();
        let shown = |image, in_tenant, recorded: &Recorded| {
            let (progress, reason, message) = decide(&spec(image), in_tenant, recorded);
            format!("{progress:?} {reason}: {message}\n")
        };
        insta::assert_snapshot!(
            [
                shown(None, true, &Recorded::NotAsked),
                shown(Some("ghcr.io/a/b:1"), true, &Recorded::new("work", Some(vec!["T001.patch".into()]))),
                shown(None, false, &Recorded::NotAsked),
                shown(Some("https://ghcr.io/a\nb"), true, &Recorded::NotAsked),
                shown(None, true, &Recorded::new("work", None)),
                shown(None, true, &Recorded::new("work", Some(vec!["README".into()]))),
            ]
            .concat()
        );
    }
}
