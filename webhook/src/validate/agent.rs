//! Agent: an image that its tenant allows, references in its own namespace, and models that its adapter can use.

use std::collections::HashMap;

use enact_crds::models::{self, Resolved};
use enact_crds::{AgentSpec, ModelProviderSpec, validation};
use enact_domain::record::Kind;

use super::reference;
use super::validator::{Validate, Validator};
use crate::denial::{Cause, Denial, Outcome, warning};
use crate::lookup::{Lookup, LookupError};
use crate::request::Request;

impl<L: Lookup> Validate<AgentSpec> for Validator<L> {
    async fn validate(&self, request: &Request, spec: AgentSpec) -> Outcome {
        let mut causes: Vec<Cause> = validation::agent(&spec).into_iter().map(Cause::from).collect();
        let in_installation = self.is_installation(request.namespace());
        causes.extend(validation::agent_sharing(&spec, in_installation).into_iter().map(Cause::from));
        if let Some(replay) = &spec.replay {
            causes.extend(reference::check_object(
                "spec.replay.configMapRef",
                "ConfigMap",
                &replay.config_map_ref.name,
            ));
        }
        for (i, skill) in spec.skills.iter().enumerate() {
            let field = format!("spec.skills[{i}].configMapRef");
            causes.extend(reference::check_object(&field, "ConfigMap", &skill.config_map_ref.name));
        }
        for (field, secret) in spec.secret_keys() {
            causes.extend(reference::check_object(&field, "Secret", &secret.name));
            causes.extend(reference::check_key(&field, &secret.key));
        }
        let repository = spec.warm_pool.as_ref().and_then(|pool| pool.repository.as_ref());
        if let Some(secret) = repository.and_then(|repository| repository.credentials_secret_ref.as_ref()) {
            let field = "spec.warmPool.repository.credentialsSecretRef";
            causes.extend(reference::check_object(field, "Secret", &secret.name));
        }
        for (i, model) in spec.models.iter().enumerate() {
            let field = format!("spec.models[{i}].provider");
            causes.extend(reference::check_name(&field, Kind::ModelProvider, &model.provider));
        }
        // Before the lookups, whose requests contain the names.
        Denial::unless_empty(causes)?;
        let mut causes = Vec::new();
        // Whoever may write Agents of the installation decides which images tenants get by them.
        if !in_installation && spec.image.is_some() {
            let rules = self.lookup.agent_images(request.namespace()).await?;
            causes.extend(validation::agent_image(&rules, &spec).map(Cause::from));
        }
        let mut warnings: Vec<String> = validation::windows_agent_script(&spec).map(warning).into_iter().collect();
        let providers = self.providers(request.namespace(), &spec).await?;
        let resolve = |name: &str| providers.get(name).cloned().unwrap_or(Resolved::NotFound);
        for (i, problem) in models::check(&spec, resolve) {
            let field = format!("spec.models[{i}]");
            if problem.may_resolve_itself() {
                // A GitOps tool may apply the provider next.
                warnings.push(warning(format!("{field}: {problem}")));
            } else {
                causes.push(Cause::new(field, problem.to_string()));
            }
        }
        Denial::unless_empty(causes)?;
        Ok(warnings)
    }
}

impl<L: Lookup> Validator<L> {
    /// Returns the providers of an Agent's models by their names.
    async fn providers(
        &self,
        namespace: &str,
        spec: &AgentSpec,
    ) -> Result<HashMap<String, Resolved<ModelProviderSpec>>, LookupError> {
        let mut providers = HashMap::new();
        if spec.models.is_empty() {
            return Ok(providers);
        }
        // The namespace has a tenant: that was checked before. An unknown one is shared nothing.
        let tenant = self.lookup.tenant_of(namespace).await?.unwrap_or_default();
        for model in &spec.models {
            let name = &model.provider;
            if providers.contains_key(name) {
                continue;
            }
            let own = self.lookup.provider(namespace, name).await?;
            let installed = match &own {
                Some(_) => None,
                None => self.lookup.provider(&self.settings.namespace, name).await?,
            };
            providers.insert(name.clone(), models::resolve(own, installed, &tenant));
        }
        Ok(providers)
    }
}

#[cfg(test)]
mod tests;
