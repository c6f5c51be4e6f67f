//! Names of objects and references. A reference is a name in the object's own namespace, never a path to another one.

use std::time::Duration;

use enact_crds::common::LocalRef;
use enact_domain::names::{MAX_LABEL, MAX_SUBDOMAIN, is_label, is_subdomain};
use enact_domain::record::Kind;
use kube::core::admission::Operation;
use tokio::time::timeout;

use super::validator::Validator;
use crate::denial::{Cause, Denial, warning};
use crate::lookup::{Lookup, LookupError};
use crate::request::Request;

/// Longest wait for a lookup that only serves a warning.
const HINT: Duration = Duration::from_secs(1);

/// Refuses a new object whose name cannot be a label value, because labels of its children hold it, or whose name no reference can hold.
pub(super) fn own_name(request: &Request) -> Result<(), Denial> {
    let name = request.name();
    let referred =
        matches!(request.kind(), Some(Kind::Constitution | Kind::Specification | Kind::ModelProvider | Kind::Agent));
    let message = if request.operation() != &Operation::Create {
        return Ok(());
    } else if name.len() > MAX_LABEL {
        format!("has {} characters; names are used as labels, choose one of at most {MAX_LABEL}", name.len())
    } else if referred && !is_label(name) {
        format!("`{}` cannot be referred to; use lower-case letters, digits and `-`", name.escape_debug())
    } else {
        return Ok(());
    };
    Err(Denial::invalid("metadata.name", message))
}

/// Checks a reference to an Enact object.
pub(super) fn check(field: &str, kind: Kind, reference: &LocalRef) -> Option<Cause> {
    check_name(&format!("{field}.name"), kind, &reference.name)
}

/// Checks the name of an Enact object in a field.
pub(super) fn check_name(field: &str, kind: Kind, name: &str) -> Option<Cause> {
    let problem = problem(name, is_label(name), &format!("the {}", kind.as_str()), MAX_LABEL);
    problem.map(|p| Cause::new(field, p))
}

/// Checks a reference to a Secret or ConfigMap.
pub(super) fn check_object(field: &str, kind: &str, name: &str) -> Option<Cause> {
    problem(name, is_subdomain(name), &format!("the {kind}"), MAX_SUBDOMAIN)
        .map(|p| Cause::new(format!("{field}.name"), p))
}

/// Checks a key of a Secret or ConfigMap.
pub(super) fn check_key(field: &str, key: &str) -> Option<Cause> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !key.is_empty() && key.len() <= MAX_SUBDOMAIN && key.chars().all(allowed) && key != "." && !key.starts_with("..")
    {
        return None;
    }
    let message = format!(
        "`{}` is not a key of a Secret or ConfigMap; use letters, digits, `-`, `_` and `.`",
        key.escape_debug()
    );
    Some(Cause::new(format!("{field}.key"), message))
}

fn problem(name: &str, valid: bool, what: &str, longest: usize) -> Option<String> {
    let shown = name.escape_debug();
    if valid {
        None
    } else if name.contains('/') {
        Some(format!(
            "`{shown}` names another namespace; give only the name of {what}, which must be in the same namespace"
        ))
    } else {
        Some(format!(
            "`{shown}` cannot be the name of {what}; use lower-case letters, digits and `-`, at most {longest} characters"
        ))
    }
}

impl<L: Lookup> Validator<L> {
    /// Returns a warning when the referent does not exist yet. The object is not refused: a GitOps tool may apply the referent next.
    pub(super) async fn warn_unless_exists(
        &self,
        request: &Request,
        field: &str,
        kind: Kind,
        reference: &LocalRef,
    ) -> Option<String> {
        let exists = async {
            // The installation may share an Agent of this name. Whether it does is for the operator to say.
            Ok(self.lookup.exists(kind, request.namespace(), &reference.name).await?
                || (kind == Kind::Agent && self.lookup.exists(kind, &self.settings.namespace, &reference.name).await?))
        };
        let exists = timeout(HINT, exists).await;
        match exists.unwrap_or(Err(LookupError::Timeout)) {
            Ok(true) => None,
            Ok(false) => Some(warning(format!(
                "{field}: there is no {} {} in namespace {} yet; this object waits for it",
                kind.as_str(),
                reference.name,
                request.namespace()
            ))),
            Err(error) => {
                tracing::warn!(%error, "cannot check whether a referenced object exists");
                None
            }
        }
    }
}
