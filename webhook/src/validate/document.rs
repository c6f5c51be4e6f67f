//! Documents written in an object: those that cannot be used are refused, with their lines.

use enact_crds::document::{GitSource, Source};
use enact_domain::assignment::{check_ref, check_url};
use enact_domain::document_job::check_path;
use enact_domain::speckit::{Diagnostic, Parsed, Severity};

use super::reference;
use crate::denial::{Cause, warning};

/// Warnings about one document that an answer carries; all of them are in the object's status.
const MAX_WARNINGS: usize = 5;

/// What a check of a document's source gave.
#[derive(Default)]
pub(super) struct Checked<T> {
    /// The document; none when it is kept elsewhere, where the operator reads it.
    pub model: Option<T>,
    /// Why it must be refused.
    pub causes: Vec<Cause>,
    /// What else was found.
    pub warnings: Vec<String>,
}

/// Reads the document that stands at `field`, when it stands in the object itself.
pub(super) fn check<T>(field: &str, source: Option<&Source>, parse: impl FnOnce(&[u8]) -> Parsed<T>) -> Checked<T> {
    let mut causes = Vec::new();
    let Some(source) = source else { return Checked { model: None, causes, warnings: Vec::new() } };
    if let Some(key) = &source.config_map_key_ref {
        let at = format!("{field}.configMapKeyRef");
        causes.extend(reference::check_object(&at, "ConfigMap", &key.name));
        causes.extend(reference::check_key(&at, &key.key));
    }
    if let Some(git) = &source.git {
        causes.extend(check_git(&format!("{field}.git"), git));
    }
    let Some(text) = &source.inline else {
        return Checked { model: None, causes, warnings: Vec::new() };
    };
    let field = format!("{field}.inline");
    let parsed = parse(text.as_bytes());
    causes.extend(parsed.errors().map(|d| Cause::new(&field, d.to_string())));
    let hint = |d: &&Diagnostic| d.severity == Severity::Warning;
    let warnings = parsed.diagnostics.iter().filter(hint).take(MAX_WARNINGS).map(|d| warning(format!("{field}: {d}")));
    Checked { warnings: warnings.collect(), model: Some(parsed.model), causes }
}

/// What is wrong with what Git will see of a source.
fn check_git(at: &str, git: &GitSource) -> Vec<Cause> {
    let names = [("url", check_url(&git.url)), ("revision", check_ref(&git.revision)), ("path", check_path(&git.path))];
    let wrong = names.into_iter().filter_map(|(name, checked)| Some((name, checked.err()?)));
    let mut causes: Vec<Cause> = wrong.map(|(name, e)| Cause::new(format!("{at}.{name}"), e.to_string())).collect();
    let secret = git.credentials_secret_ref.as_ref();
    let credentials = format!("{at}.credentialsSecretRef");
    causes.extend(secret.and_then(|secret| reference::check_object(&credentials, "Secret", &secret.name)));
    causes
}
