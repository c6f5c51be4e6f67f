//! One admission request, with the questions that the rules ask of it.

use enact_domain::names::{ANNOTATION_AUTHOR, GROUP, LABEL_TENANT};
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, Operation};
use serde::Deserialize;
use serde_json::Value;

use crate::denial::Denial;

/// Kinds that the webhook has rules for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A Tenant.
    Tenant,
    /// A Constitution.
    Constitution,
    /// A Specification.
    Specification,
    /// A Plan.
    Plan,
    /// A Task.
    Task,
    /// An Agent.
    Agent,
    /// An Approval.
    Approval,
    /// A Namespace, for its tenant label.
    Namespace,
}

impl Kind {
    fn of(group: &str, kind: &str) -> Option<Self> {
        match (group, kind) {
            (GROUP, "Tenant") => Some(Self::Tenant),
            (GROUP, "Constitution") => Some(Self::Constitution),
            (GROUP, "Specification") => Some(Self::Specification),
            (GROUP, "Plan") => Some(Self::Plan),
            (GROUP, "Task") => Some(Self::Task),
            (GROUP, "Agent") => Some(Self::Agent),
            (GROUP, "Approval") => Some(Self::Approval),
            ("", "Namespace") => Some(Self::Namespace),
            _ => None,
        }
    }

    /// Whether objects of this kind hold content that somebody writes and somebody else may have to approve.
    pub fn has_author(self) -> bool {
        matches!(self, Self::Constitution | Self::Specification | Self::Plan)
    }

    /// Fields of `spec` that say how the object is handled, not what it says: whoever changes them is no author, and they may change
    /// while a plan runs.
    fn handling(self) -> &'static [&'static str] {
        match self {
            Self::Constitution | Self::Specification => &["suspend", "approval"],
            Self::Plan => &["suspend", "cancel", "execution", "approval"],
            _ => &[],
        }
    }
}

/// One admission request.
#[derive(Clone, Debug)]
pub struct Request {
    inner: AdmissionRequest<DynamicObject>,
    kind: Option<Kind>,
}

impl From<AdmissionRequest<DynamicObject>> for Request {
    fn from(inner: AdmissionRequest<DynamicObject>) -> Self {
        let kind = Kind::of(&inner.kind.group, &inner.kind.kind);
        Self { inner, kind }
    }
}

impl Request {
    /// The request as it came.
    pub fn inner(&self) -> &AdmissionRequest<DynamicObject> {
        &self.inner
    }

    /// The kind of the object; none when there are no rules for it.
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// The kind as it was written.
    pub fn kind_name(&self) -> &str {
        &self.inner.kind.kind
    }

    /// API group of the object.
    pub fn group(&self) -> &str {
        &self.inner.kind.group
    }

    /// What is to be done.
    pub fn operation(&self) -> &Operation {
        &self.inner.operation
    }

    /// `status` or `finalize`, when that is written and not the object itself.
    pub fn subresource(&self) -> Option<&str> {
        self.inner.sub_resource.as_deref().filter(|s| !s.is_empty())
    }

    /// Name of the object; empty when the API server has still to make one up.
    pub fn name(&self) -> &str {
        let given = Some(self.inner.name.as_str()).filter(|n| !n.is_empty());
        given.or_else(|| self.object()?.metadata.name.as_deref()).unwrap_or_default()
    }

    /// Namespace of the object; empty for kinds without one.
    pub fn namespace(&self) -> &str {
        self.inner.namespace.as_deref().unwrap_or_default()
    }

    /// The object for messages: `Plan team-a/shop`.
    pub fn subject(&self) -> String {
        let name = if self.name().is_empty() { "(unnamed)" } else { self.name() };
        match self.namespace() {
            "" => format!("{} {name}", self.kind_name()),
            namespace if self.kind == Some(Kind::Namespace) => format!("{} {namespace}", self.kind_name()),
            namespace => format!("{} {namespace}/{name}", self.kind_name()),
        }
    }

    /// Name of the user who asks. For a service account it includes the namespace.
    pub fn user(&self) -> &str {
        self.inner.user_info.username.as_deref().unwrap_or_default()
    }

    /// Groups of the user who asks.
    pub fn groups(&self) -> &[String] {
        self.inner.user_info.groups.as_deref().unwrap_or_default()
    }

    /// The object as it would be stored; none for a DELETE.
    pub fn object(&self) -> Option<&DynamicObject> {
        self.inner.object.as_ref()
    }

    /// The object as it is stored; none for a CREATE.
    pub fn old(&self) -> Option<&DynamicObject> {
        self.inner.old_object.as_ref()
    }

    /// The spec that would be stored.
    ///
    /// # Errors
    /// When it has not the form that this release knows.
    pub fn spec<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Denial> {
        let spec = self.object().map_or(&Value::Null, |o| &o.data["spec"]);
        T::deserialize(spec).map_err(|e| Denial::invalid("spec", format!("{e}; compare with `kubectl explain`")))
    }

    /// Whether the object is new, or its spec is to change.
    pub fn changes_spec(&self) -> bool {
        self.operation() == &Operation::Create || part(self.object(), "spec") != part(self.old(), "spec")
    }

    /// Whether the object is new, or what its spec says (and not only how it is handled) is to change.
    pub fn changes_content(&self) -> bool {
        if self.operation() == &Operation::Create {
            return true;
        }
        let handling = self.kind.map_or([].as_slice(), Kind::handling);
        let content = |object: Option<&DynamicObject>| {
            let mut spec = part(object, "spec").cloned().unwrap_or_default();
            if let Some(fields) = spec.as_object_mut() {
                fields.retain(|name, _| !handling.contains(&name.as_str()));
            }
            spec
        };
        content(self.object()) != content(self.old())
    }

    /// The author that the object must carry: who asks when the content is new, otherwise who it was.
    pub fn due_author(&self) -> Option<&str> {
        if self.changes_content() { Some(self.user()) } else { annotation(self.old(), ANNOTATION_AUTHOR) }
    }

    /// The author that the object does carry.
    pub fn author(&self) -> Option<&str> {
        annotation(self.object(), ANNOTATION_AUTHOR)
    }

    /// The tenant label that would be stored.
    pub fn tenant_label(&self) -> Option<&str> {
        label(self.object(), LABEL_TENANT)
    }

    /// The tenant label that is stored.
    pub fn old_tenant_label(&self) -> Option<&str> {
        label(self.old(), LABEL_TENANT)
    }
}

/// A label of an object.
pub fn label<'a>(object: Option<&'a DynamicObject>, name: &str) -> Option<&'a str> {
    object?.labels().get(name).map(String::as_str)
}

/// An annotation of an object.
pub fn annotation<'a>(object: Option<&'a DynamicObject>, name: &str) -> Option<&'a str> {
    object?.annotations().get(name).map(String::as_str)
}

/// A top-level part of an object; none when it is absent or null.
pub fn part<'a>(object: Option<&'a DynamicObject>, name: &str) -> Option<&'a Value> {
    object?.data.get(name).filter(|v| !v.is_null())
}
