//! Documents written in an object: those that cannot be used are refused, with their lines.

use enact_crds::document::Source;
use enact_domain::speckit::{Diagnostic, Parsed, Severity};

use super::reference;
use crate::denial::{Cause, warning};

/// Warnings about one document that an answer carries; all of them are in the object's status.
const MAX_WARNINGS: usize = 5;

/// What a check of a document's source gave.
#[derive(Default)]
pub(super) struct Checked<T> {
    /// The document; none when it is in a ConfigMap, which the operator reads.
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
