//! The images that Agents in the namespaces of a tenant may name.

use enact_domain::digest::Digest;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The registry whose images with a name of one component are those of `library/`, as container runtimes read them.
const DOCKER_HUB: &str = "docker.io";

/// Images that the Agents of a tenant may name. Images of the installation, and Agents that it shares, are always allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.allowed) || self.allowed.all(a, a.matches('^([a-z0-9-]+([.][a-z0-9-]+)+|localhost|[a-z0-9-]+([.][a-z0-9-]+)*:[0-9]+)(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$'))").message("write registries, or repositories with their registry, such as registry.example.org/agents; without tag, digest and final /"))]
pub struct AgentImages {
    /// Registries and repositories, each with everything below it: `registry.example.org`, `ghcr.io/acme/agents`. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    pub allowed: Vec<String>,
    /// Whether an image must be named by its digest, which names its content: `registry.example.org/agents/codex@sha256:…`.
    #[serde(default)]
    pub require_digest: bool,
    /// Whether nodes ask the registry for each pod of an Agent that names an image, with the credentials of the pod's namespace. Otherwise a
    /// pod can use a private image of another tenant that is on its node already.
    #[serde(default)]
    pub always_pull: bool,
}

impl AgentImages {
    /// Returns whether an image is in an allowed registry or repository. An image without a registry is not: what it means depends on the
    /// configuration of the node.
    pub fn admits(&self, image: &str) -> bool {
        let is_in = |name: &str, place: &String| {
            name.strip_prefix(place.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.allowed.is_empty()
            || full_name(image).is_some_and(|name| self.allowed.iter().any(|place| is_in(name, place)))
    }
}

/// Returns whether a digest names the content of an image.
pub fn has_digest(image: &str) -> bool {
    image.split_once('@').is_some_and(|(_, digest)| Digest::from(digest.to_owned()).is_valid())
}

/// Returns the registry and repository of an image; none if the reference does not name both unambiguously.
fn full_name(image: &str) -> Option<&str> {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    // A colon before the last `/` begins a port.
    let name = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name);
    let (registry, repository) = name.split_once('/')?;
    let is_registry = registry.contains(['.', ':']) || registry == "localhost";
    let is_component = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_complete = repository.contains('/') || registry.strip_prefix("index.").unwrap_or(registry) != DOCKER_HUB;
    (is_registry && is_complete && repository.split('/').all(is_component)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_registries_and_repositories() {
        let images = |places: &[&str]| AgentImages {
            allowed: places.iter().map(|place| (*place).to_owned()).collect(),
            ..AgentImages::default()
        };
        let digest = format!("@sha256:{}", "a".repeat(64));
        let some = images(&["registry.example.org", "ghcr.io/acme/agents", "localhost:5000/dev", "docker.io/acme"]);
        for image in [
            "registry.example.org/a",
            "registry.example.org/a/b:1",
            "ghcr.io/acme/agents:1",
            "ghcr.io/acme/agents/codex:1.2-x",
            &format!("ghcr.io/acme/agents/codex:1{digest}"),
            "localhost:5000/dev/a",
            "docker.io/acme/a",
        ] {
            assert!(some.admits(image), "{image}");
        }
        for image in [
            "registry.example.org",
            "registry.example.org.evil.com/a",
            "registry.example.org:5000/a",
            "registry.example.org@evil.com/a",
            "evil.com/registry.example.org/a",
            "ghcr.io/acme/agents-of-others/a",
            "ghcr.io/acme/agents/../../evil/a",
            "ghcr.io/acme",
            "localhost:5001/dev/a",
            // Runtimes read it as docker.io/library/acme.
            "docker.io/acme",
            "docker.io/library/debian",
            // A node decides which registry it is in.
            "acme/a",
            "debian:13",
            "",
        ] {
            assert!(!some.admits(image), "{image}");
        }
        assert!(images(&[]).admits("debian:13"));
    }

    #[test]
    fn a_digest_is_complete() {
        assert!(has_digest(&format!("a/b:1@sha256:{}", "0".repeat(64))));
        for image in ["a/b:1", "a/b@sha256:0", &format!("a/b@sha512:{}", "0".repeat(64))] {
            assert!(!has_digest(image), "{image}");
        }
    }
}
