//! Documents in an object: refuses invalid documents and names the line.

use enact_crds::document::Source;
use enact_crds::validation;
use enact_domain::speckit::{Diagnostic, Parsed, Severity};

use super::reference;
use crate::denial::{Cause, warning};
use crate::parsing::Parsing;

/// Most warnings about one document in a response; the object's status has all of them.
const MAX_WARNINGS: usize = 5;

/// The result of a check of a document's source.
#[derive(Default)]
pub(super) struct Checked<T> {
    /// The document; none when only the operator reads it, because it is not inline, or too large to be parsed here.
    pub model: Option<T>,
    pub causes: Vec<Cause>,
    pub warnings: Vec<String>,
}

/// Checks the source at `field`, and the document when it is inline.
pub(super) async fn check<T: Send + 'static>(
    parsing: &Parsing,
    namespace: &str,
    field: &str,
    source: Option<&Source>,
    parse: impl FnOnce(&[u8]) -> Parsed<T> + Send + 'static,
) -> Checked<T> {
    let mut causes = Vec::new();
    let Some(source) = source else { return Checked { model: None, causes, warnings: Vec::new() } };
    if let Some(key) = &source.config_map_key_ref {
        let at = format!("{field}.configMapKeyRef");
        causes.extend(reference::check_object(&at, "ConfigMap", &key.name));
        causes.extend(reference::check_key(&at, &key.key));
    }
    if let Some(git) = &source.git {
        let field = format!("{field}.git");
        causes.extend(validation::git_source(&field, git).into_iter().map(Cause::from));
        let secret = git.credentials_secret_ref.as_ref();
        let credentials = format!("{field}.credentialsSecretRef");
        causes.extend(secret.and_then(|secret| reference::check_object(&credentials, "Secret", &secret.name)));
    }
    let Some(text) = &source.inline else {
        return Checked { model: None, causes, warnings: Vec::new() };
    };
    let field = format!("{field}.inline");
    let parsed = match parsing.parse(namespace, text, parse).await {
        Ok(parsed) => parsed,
        Err(unparsed) => {
            return Checked { model: None, causes, warnings: vec![warning(format!("{field}: {unparsed}"))] };
        }
    };
    causes.extend(parsed.errors().map(|d| Cause::new(&field, d.to_string())));
    let hint = |d: &&Diagnostic| d.severity == Severity::Warning;
    let warnings = parsed.diagnostics.iter().filter(hint).take(MAX_WARNINGS).map(|d| warning(format!("{field}: {d}")));
    Checked { warnings: warnings.collect(), model: Some(parsed.model), causes }
}
