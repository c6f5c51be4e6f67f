//! Agent: an image that can be one, references in its own namespace.

use enact_crds::AgentSpec;

use super::{Admission, Validate, reference};
use crate::denial::{Cause, Denial, Outcome};
use crate::request::Request;
use crate::world::World;

impl<W: World> Validate<AgentSpec> for Admission<W> {
    async fn validate(&self, _: &Request, spec: AgentSpec) -> Outcome {
        let mut causes: Vec<Cause> = spec.image.as_deref().and_then(check_image).into_iter().collect();
        if let Some(replay) = &spec.replay {
            causes.extend(reference::check_object(
                "spec.replay.configMapRef",
                "ConfigMap",
                &replay.config_map_ref.name,
            ));
        }
        for (i, variable) in spec.env.iter().enumerate() {
            let Some(secret) = &variable.secret_key_ref else {
                continue;
            };
            let field = format!("spec.env[{i}].secretKeyRef");
            causes.extend(reference::check_object(&field, "Secret", &secret.name));
            causes.extend(reference::check_key(&field, &secret.key));
        }
        Denial::unless_empty(causes)?;
        Ok(Vec::new())
    }
}

/// What is wrong with the reference of an image, as far as its form tells.
fn check_image(image: &str) -> Option<Cause> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let starts_well = image.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && image.chars().all(allowed) && !image.contains("//") && !image.ends_with(['/', ':', '@']) {
        return None;
    }
    let message = format!(
        "`{}` is no reference of an image; write `registry/name:tag` or `registry/name@sha256:…`, without `https://`",
        image.escape_debug()
    );
    Some(Cause::new("spec.image", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images() {
        for good in ["a", "localhost:5000/enact/agent:v1", "ghcr.io/a/b@sha256:0123"] {
            assert_eq!(check_image(good), None, "{good}");
        }
        for bad in ["https://ghcr.io/a", "-a", "a b", "a\nb", "a:", "", "a//b", "$(id)"] {
            assert!(check_image(bad).is_some(), "{bad}");
        }
    }
}
