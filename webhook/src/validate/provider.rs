//! ModelProvider: a valid URL and valid prices, sharing by the installation only, and no key for a URL of somebody who may not read the key.

use enact_crds::{ModelProviderSpec, validation};
use enact_domain::names::MODEL_KEYS_SECRET;

use super::validator::{Validate, Validator};
use crate::denial::{Cause, Denial, Outcome, warning};
use crate::lookup::Lookup;
use crate::request::{Request, part};

impl<L: Lookup> Validate<ModelProviderSpec> for Validator<L> {
    async fn validate(&self, request: &Request, spec: ModelProviderSpec) -> Outcome {
        let errors = validation::provider(&spec, self.is_installation(request.namespace()));
        Denial::unless_empty(errors.into_iter().map(Cause::from).collect())?;
        if spec.key.is_some() {
            self.destination_of_key(request).await?;
        }
        if spec.key.is_some() && spec.base_url.starts_with("http://") {
            let text =
                "spec.baseUrl: the key is sent without encryption; use https:// unless the endpoint is in this cluster";
            return Ok(vec![warning(text)]);
        }
        Ok(Vec::new())
    }
}

impl<L: Lookup> Validator<L> {
    /// Refuses a provider with a key from anybody who may not read the key, if the request decides where the gateway sends it: the author of
    /// the URL can receive the key there.
    async fn destination_of_key(&self, request: &Request) -> Result<(), Denial> {
        let field = |object, name: &str| part(object, "spec").and_then(|spec| spec.get(name));
        let (new, old) = (request.object(), request.old());
        if ["key", "baseUrl"].into_iter().all(|name| field(new, name) == field(old, name)) {
            return Ok(());
        }
        let namespace = request.namespace();
        if self.lookup.may_read_model_keys(&request.inner().user_info, namespace).await? {
            return Ok(());
        }
        let message = format!(
            "the gateway sends the key to spec.baseUrl, and {} may not get the Secret {MODEL_KEYS_SECRET} in namespace {namespace}; ask \
             somebody who may, such as an owner of the tenant, to apply the provider",
            request.user()
        );
        Err(Denial::forbidden("spec.key", message))
    }
}

#[cfg(test)]
mod tests;
