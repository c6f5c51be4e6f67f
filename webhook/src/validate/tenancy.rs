//! Rules for every Enact object in a namespace: a tenant owns the namespace, and the stamps of the webhook are unchanged.

use enact_domain::names::{
    ANNOTATION_AUTHOR, ANNOTATION_CHANGES, ANNOTATION_CO_AUTHORS, ANNOTATION_RERUN, LABEL_TENANT, rerun_number,
};
use enact_domain::record::Kind;
use enact_domain::stamps::{Change, Changes};
use kube::core::admission::Operation;

use super::task;
use super::validator::Validator;
use crate::denial::Denial;
use crate::lookup::Lookup;
use crate::request::{Request, annotation, has_author, has_policy, part};

impl<L: Lookup> Validator<L> {
    /// Refuses an object outside every tenant's namespaces, and one whose label names another tenant. A ModelProvider or an
    /// Agent may be in the namespace of the installation, which shares it with tenants.
    pub(super) async fn tenancy(&self, request: &Request) -> Result<(), Denial> {
        let namespace = request.namespace();
        if matches!(request.kind(), Some(Kind::ModelProvider | Kind::Agent))
            && self.is_installation(namespace)
            && request.tenant_label().is_none()
        {
            return Ok(());
        }
        let Some(tenant) = self.lookup.tenant_of(namespace).await? else {
            let message = format!(
                "namespace {namespace} belongs to no tenant; add it to spec.namespaces of a Tenant, or to defaultTenant.namespaces in the \
                 installation's values"
            );
            return Err(Denial::forbidden("metadata.namespace", message));
        };
        let message = match request.tenant_label() {
            Some(label) if label == tenant => return Ok(()),
            Some(label) => format!(
                "the label names tenant {label}, but namespace {namespace} belongs to tenant {tenant}; leave the label out, the webhook sets it"
            ),
            None => unstamped(),
        };
        Err(Denial::forbidden(format!("metadata.labels[{LABEL_TENANT}]"), message))
    }
}

/// Refuses a wrong author in the annotation.
pub(super) fn author(request: &Request) -> Result<(), Denial> {
    if !request.kind().is_some_and(has_author) || request.author() == request.due_author() {
        return Ok(());
    }
    let message = match (request.author(), request.due_author()) {
        (Some(author), Some(due)) => {
            format!("the content is by {due}, not by {author}; leave the annotation out, the webhook sets it")
        }
        (Some(_), None) => "the author of this content is not known; leave the annotation out".into(),
        (None, _) => unstamped(),
    };
    Err(Denial::forbidden(format!("metadata.annotations[{ANNOTATION_AUTHOR}]"), message))
}

/// Refuses other authors in the annotation than those who wrote the content before.
pub(super) fn co_authors(request: &Request) -> Result<(), Denial> {
    let due = request.due_co_authors();
    if !request.kind().is_some_and(has_policy) || request.co_authors() == due.as_deref() {
        return Ok(());
    }
    let message = match (request.co_authors(), &due) {
        (None, Some(_)) => unstamped(),
        _ => format!(
            "the other authors of this content are {}; leave the annotation out, the webhook sets it",
            due.as_deref().unwrap_or("none")
        ),
    };
    Err(Denial::forbidden(format!("metadata.annotations[{ANNOTATION_CO_AUTHORS}]"), message))
}

/// Refuses a wrong author or time of the last change of a control in the annotation.
pub(super) fn changes(request: &Request) -> Result<(), Denial> {
    let stamps = |object| annotation(object, ANNOTATION_CHANGES);
    let (new, old) = (stamps(request.object()), stamps(request.old()));
    let controls = request.changed_controls();
    let is_right = if controls.is_empty() {
        new == old
    } else {
        let change = Change { by: request.user().to_owned(), at: String::new() };
        Changes::parse(new).are(&Changes::parse(old).after(&controls, &change), &controls)
    };
    if is_right {
        return Ok(());
    }
    let message = if new.is_none() { unstamped() } else { "leave the annotation out, the webhook sets it".to_owned() };
    Err(Denial::forbidden(format!("metadata.annotations[{ANNOTATION_CHANGES}]"), message))
}

/// Refuses an owner that the object did not have: when the owner is missing, the garbage collector deletes the object, and nobody knows who
/// wanted that. The owner of a Task has a rule of its own.
pub(super) fn owners(request: &Request) -> Result<(), Denial> {
    let (new, old) = (task::owners(request.object()), task::owners(request.old()));
    let keeps = new.iter().all(|owner| old.contains(owner));
    if keeps || request.kind() == Some(Kind::Task) || task::is_garbage_collector(request) {
        return Ok(());
    }
    let message = "the garbage collector would delete the object in place of who wants that; leave new owners out, and delete the object \
                   itself when it is not needed any more";
    Err(Denial::forbidden("metadata.ownerReferences", message))
}

/// Returns whether an update keeps all metadata that the webhook guards.
pub(super) fn keeps_guarded(request: &Request) -> bool {
    let label = request.tenant_label() == request.old_tenant_label();
    let author = request.author() == annotation(request.old(), ANNOTATION_AUTHOR);
    let co_authors = request.co_authors() == request.old_co_authors();
    label && author && co_authors && (request.kind() != Some(Kind::Task) || task::keeps_ties(request))
}

/// Refuses a rerun that the operator could not distinguish from the one before.
pub(super) fn rerun(request: &Request) -> Result<(), Denial> {
    let (new, old) = (annotation(request.object(), ANNOTATION_RERUN), annotation(request.old(), ANNOTATION_RERUN));
    let number = |text: Option<&str>| text.and_then(rerun_number);
    // The operator ignores the number that it handled last, also after somebody removed the annotation.
    let last = number(old).max(number(handled_rerun(request)));
    // An unchanged or removed annotation requests nothing.
    let grows = new == old || new.is_none() || number(new) > last;
    if grows || request.operation() != &Operation::Update {
        return Ok(());
    }
    let next = last.map_or(1, |last| last + 1);
    let message =
        format!("must be a whole number that grows with each rerun; write \"{next}\", or use `kubectl enact retry`");
    Err(Denial::invalid(format!("metadata.annotations[{ANNOTATION_RERUN}]"), message))
}

/// Returns the rerun that the operator handled last: of a Task, or of the integration of a Plan.
fn handled_rerun(request: &Request) -> Option<&str> {
    let status = part(request.old(), "status")?;
    let of = if request.kind() == Some(Kind::Plan) { status.get("integration")? } else { status };
    of.get("observedRerun")?.as_str()
}

fn unstamped() -> String {
    "missing, although the mutating webhook sets it; check that the installation's MutatingWebhookConfiguration exists and is unchanged"
        .into()
}
