//! ModelProvider: a valid URL and valid prices, and sharing by the installation only.

use enact_crds::{ModelProviderSpec, validation};

use super::validator::{Validate, Validator};
use crate::denial::{Cause, Denial, Outcome, warning};
use crate::lookup::Lookup;
use crate::request::Request;

impl<L: Lookup> Validate<ModelProviderSpec> for Validator<L> {
    async fn validate(&self, request: &Request, spec: ModelProviderSpec) -> Outcome {
        let errors = validation::provider(&spec, self.is_installation(request.namespace()));
        Denial::unless_empty(errors.into_iter().map(Cause::from).collect())?;
        if spec.key.is_some() && spec.base_url.starts_with("http://") {
            let text =
                "spec.baseUrl: the key is sent without encryption; use https:// unless the endpoint is in this cluster";
            return Ok(vec![warning(text)]);
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests;
