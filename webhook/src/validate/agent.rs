//! Agent: a valid image reference, and references in its own namespace.

use enact_crds::{AgentSpec, validation};

use super::reference;
use super::validator::{Validate, Validator};
use crate::denial::{Cause, Denial, Outcome};
use crate::lookup::Lookup;
use crate::request::Request;

impl<L: Lookup> Validate<AgentSpec> for Validator<L> {
    async fn validate(&self, _: &Request, spec: AgentSpec) -> Outcome {
        let mut causes: Vec<Cause> =
            spec.image.as_deref().and_then(validation::image).map(Cause::from).into_iter().collect();
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
