//! An admission request, and the parts of it that the rules read.

use enact_crds::common::ApprovalPolicy;
use enact_domain::approval::Policy;
use enact_domain::approval::authors::Authors;
use enact_domain::condition::READY;
use enact_domain::names::{
    ANNOTATION_AUTHOR, ANNOTATION_CO_AUTHORS, ANNOTATION_KEEP, ANNOTATION_REDO, ANNOTATION_RERUN,
    ANNOTATION_RESUMED_AFTER, GROUP, LABEL_TENANT,
};
use enact_domain::record::Kind;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, Operation};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as Unknown, StrDeserializer};
use serde_json::Value;

/// Returns whether objects of this kind have content with an author, which another person may have to approve. The approval of a Plan covers
/// its Agents, and the URLs of their ModelProviders.
pub fn has_author(kind: Kind) -> bool {
    matches!(kind, Kind::Constitution | Kind::Specification | Kind::Plan | Kind::Agent | Kind::ModelProvider)
}

/// Returns whether objects of this kind have an approval policy. Their content can have several authors.
pub fn has_policy(kind: Kind) -> bool {
    matches!(kind, Kind::Constitution | Kind::Specification | Kind::Plan)
}

/// Returns the fields of `spec` that no approval covers, and by which people control objects of this kind.
fn control_fields(kind: Kind) -> impl Iterator<Item = &'static str> {
    let of_tenant = Some("minimumApprovals").filter(|_| kind == Kind::Tenant);
    handling_fields(kind).iter().copied().chain(of_tenant).chain(constitution_field(kind))
}

/// Returns the field of `spec` with the constitution that binds objects of this kind. No digest covers it, as it is not in the document.
fn constitution_field(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Constitution => Some("parentRef"),
        Kind::Specification => Some("constitutionRef"),
        Kind::Tenant | Kind::Plan | Kind::Task | Kind::ModelProvider | Kind::Agent | Kind::Approval => None,
    }
}

/// Returns the annotations by which people control objects of this kind, with the names of these controls.
fn control_annotations(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Plan => &[
            ("rerun", ANNOTATION_RERUN),
            ("redo", ANNOTATION_REDO),
            ("keep", ANNOTATION_KEEP),
            ("resumed-after", ANNOTATION_RESUMED_AFTER),
        ],
        Kind::Task => &[("rerun", ANNOTATION_RERUN)],
        Kind::Tenant
        | Kind::Constitution
        | Kind::Specification
        | Kind::ModelProvider
        | Kind::Agent
        | Kind::Approval => &[],
    }
}

/// Returns the fields of `spec` that control the handling of the object and are not content. A user who changes them does not become the
/// author, except with a looser approval policy, and they may change while a plan runs.
fn handling_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Constitution | Kind::Specification => &["suspend", "approval"],
        Kind::Plan => &["suspend", "cancel", "execution", "approval"],
        Kind::Agent => &["suspend"],
        Kind::Tenant | Kind::Task | Kind::ModelProvider | Kind::Approval => &[],
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
        let name = inner.kind.kind.as_str().into_deserializer();
        let kind = Some(name)
            .filter(|_| inner.kind.group == GROUP)
            .and_then(|n: StrDeserializer<'_, Unknown>| Kind::deserialize(n).ok());
        Self { inner, kind }
    }
}

impl Request {
    pub fn inner(&self) -> &AdmissionRequest<DynamicObject> {
        &self.inner
    }

    /// Returns the kind of the object; none when it is not a kind of Enact.
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// Returns whether the object is a Namespace, whose tenant label the webhook guards.
    pub fn is_namespace(&self) -> bool {
        self.inner.kind.group.is_empty() && self.inner.kind.kind == "Namespace"
    }

    /// Returns whether the webhook has rules for the kind.
    pub fn has_rules(&self) -> bool {
        self.kind.is_some() || self.is_namespace()
    }

    /// Returns the name of the kind in the request; it need not be a kind of Enact.
    pub fn kind_name(&self) -> &str {
        &self.inner.kind.kind
    }

    pub fn group(&self) -> &str {
        &self.inner.kind.group
    }

    pub fn operation(&self) -> &Operation {
        &self.inner.operation
    }

    /// Returns `status` or `finalize`, when the request writes a subresource.
    pub fn subresource(&self) -> Option<&str> {
        self.inner.sub_resource.as_deref().filter(|s| !s.is_empty())
    }

    /// Returns the name of the object; empty while the API server has not generated one.
    pub fn name(&self) -> &str {
        let given = Some(self.inner.name.as_str()).filter(|n| !n.is_empty());
        // The request has no name when a collection is deleted.
        given.or_else(|| self.object().or(self.old())?.metadata.name.as_deref()).unwrap_or_default()
    }

    /// Returns the namespace of the object; empty for cluster-scoped kinds.
    pub fn namespace(&self) -> &str {
        self.inner.namespace.as_deref().unwrap_or_default()
    }

    /// Returns the name of the object for messages: `Plan team-a/shop`.
    pub fn subject(&self) -> String {
        let name = if self.name().is_empty() { "(unnamed)" } else { self.name() };
        match self.namespace() {
            "" => format!("{} {name}", self.kind_name()),
            namespace if self.is_namespace() => format!("{} {namespace}", self.kind_name()),
            namespace => format!("{} {namespace}/{name}", self.kind_name()),
        }
    }

    /// Returns the name of the user who sent the request. The name of a service account includes its namespace.
    pub fn user(&self) -> &str {
        self.inner.user_info.username.as_deref().unwrap_or_default()
    }

    /// Returns the groups of the user who sent the request.
    pub fn groups(&self) -> &[String] {
        self.inner.user_info.groups.as_deref().unwrap_or_default()
    }

    /// Returns the object as it would be stored; none for a DELETE.
    pub fn object(&self) -> Option<&DynamicObject> {
        self.inner.object.as_ref()
    }

    /// Returns the object as it is stored; none for a CREATE.
    pub fn old(&self) -> Option<&DynamicObject> {
        self.inner.old_object.as_ref()
    }

    /// Returns whether the object is new or its spec changes.
    pub fn changes_spec(&self) -> bool {
        self.operation() == &Operation::Create || part(self.object(), "spec") != part(self.old(), "spec")
    }

    /// Returns whether the object is new or its content changes; fields that control its handling are not content.
    pub fn changes_content(&self) -> bool {
        if self.operation() == &Operation::Create {
            return true;
        }
        let handling = self.kind.map_or([].as_slice(), handling_fields);
        let content = |object: Option<&DynamicObject>| {
            let mut spec = part(object, "spec").cloned().unwrap_or_default();
            if let Some(fields) = spec.as_object_mut() {
                fields.retain(|name, _| !handling.contains(&name.as_str()));
            }
            spec
        };
        content(self.object()) != content(self.old())
    }

    /// Returns the approval policies of the object, after and before the request, if it changes them.
    fn changed_policy(&self) -> Option<(Option<&Value>, Option<&Value>)> {
        if !self.kind.is_some_and(has_policy) || self.operation() != &Operation::Update {
            return None;
        }
        let approval = |object| part(object, "spec").and_then(|spec| spec.get("approval"));
        let (new, old) = (approval(self.object()), approval(self.old()));
        (new != old).then_some((new, old))
    }

    /// Returns the requirements of the stored approval policy that the request lowers, as [`Policy::lowered`] does.
    pub fn lowered_policies(&self) -> Vec<Policy> {
        let Some((new, old)) = self.changed_policy() else { return Vec::new() };
        // The schema refuses what is not a policy.
        let policy = |value: Option<&Value>| {
            let policy: ApprovalPolicy = value.and_then(|v| serde_json::from_value(v.clone()).ok()).unwrap_or_default();
            Policy::from(&policy)
        };
        policy(new).lowered(&policy(old))
    }

    /// Returns the field with the constitution that binds the object, if the request removes or replaces the constitution.
    pub fn left_constitution(&self) -> Option<&'static str> {
        let field = constitution_field(self.kind?).filter(|_| self.operation() == &Operation::Update)?;
        let named = |object| part(object, "spec").and_then(|spec| spec.get(field)).filter(|value| !value.is_null());
        let (new, old) = (named(self.object()), named(self.old()));
        (old.is_some() && new != old).then_some(field)
    }

    /// Returns the controls that the request changes: fields of `spec` that no approval covers, by their names, and annotations. A new object
    /// has an author instead; a Tenant has none.
    pub fn changed_controls(&self) -> Vec<&'static str> {
        let Some(kind) = self.kind.filter(|_| self.subresource().is_none()) else { return Vec::new() };
        let can_change = match self.operation() {
            Operation::Update => true,
            Operation::Create => kind == Kind::Tenant,
            Operation::Delete | Operation::Connect => false,
        };
        if !can_change {
            return Vec::new();
        }
        let field = |object, name: &str| part(object, "spec").and_then(|spec| spec.get(name)).filter(|v| !v.is_null());
        let (new, old) = (self.object(), self.old());
        let changed = control_fields(kind).filter(|name| field(new, name) != field(old, name));
        // To remove an annotation requests nothing.
        let requested = control_annotations(kind).iter().filter(|(_, annotation_name)| {
            let value = annotation(new, annotation_name);
            value.is_some() && value != annotation(old, annotation_name)
        });
        changed.chain(requested.map(|(control, _)| *control)).collect()
    }

    /// Returns the author that the object must have: the requesting user for new content, or for a looser approval policy, so that they cannot
    /// approve it alone where four eyes are required. Otherwise the author that is stored.
    pub fn due_author(&self) -> Option<&str> {
        if self.makes_author() { Some(self.user()) } else { annotation(self.old(), ANNOTATION_AUTHOR) }
    }

    fn makes_author(&self) -> bool {
        self.changes_content() || !self.lowered_policies().is_empty()
    }

    /// Returns the annotation with the other authors that the object must have: those who wrote the stored content, unless it is approved, so
    /// that nobody can approve their own work after a small change by somebody else.
    pub fn due_co_authors(&self) -> Option<String> {
        if !self.makes_author() {
            return self.old_co_authors().map(str::to_owned);
        }
        // With a looser policy alone, the content is the same, and its authors are too.
        let is_reviewed = self.changes_content() && self.is_approved();
        let old = self.old().filter(|_| !is_reviewed)?;
        Authors::of(old.annotations()).co_authors(self.user())
    }

    /// Returns whether the stored content is approved. The status says so, which only the operator writes: it must be about this generation,
    /// and ready, because an approved digest stays while a newer content cannot be read.
    fn is_approved(&self) -> bool {
        let Some(status) = part(self.old(), "status") else { return false };
        let known = |field: &str| status.get(field).filter(|value| !value.is_null());
        let generation = self.old().and_then(|old| old.metadata.generation);
        let conditions = status.get("conditions").and_then(Value::as_array);
        let is_ready = |condition: &Value| condition["type"] == READY && condition["status"] == "True";
        generation.is_some()
            && known("observedGeneration").and_then(Value::as_i64) == generation
            && known("digest").is_some()
            && known("digest") == known("approvedDigest")
            && conditions.is_some_and(|conditions| conditions.iter().any(is_ready))
    }

    /// Returns the author that the object has.
    pub fn author(&self) -> Option<&str> {
        annotation(self.object(), ANNOTATION_AUTHOR)
    }

    /// Returns the annotation with the other authors that the object has.
    pub fn co_authors(&self) -> Option<&str> {
        annotation(self.object(), ANNOTATION_CO_AUTHORS)
    }

    /// Returns the annotation with the other authors that is stored.
    pub fn old_co_authors(&self) -> Option<&str> {
        annotation(self.old(), ANNOTATION_CO_AUTHORS)
    }

    /// Returns the tenant label that would be stored.
    pub fn tenant_label(&self) -> Option<&str> {
        label(self.object(), LABEL_TENANT)
    }

    /// Returns the tenant label that is stored.
    pub fn old_tenant_label(&self) -> Option<&str> {
        label(self.old(), LABEL_TENANT)
    }
}

fn label<'a>(object: Option<&'a DynamicObject>, name: &str) -> Option<&'a str> {
    object?.labels().get(name).map(String::as_str)
}

pub fn annotation<'a>(object: Option<&'a DynamicObject>, name: &str) -> Option<&'a str> {
    object?.annotations().get(name).map(String::as_str)
}

/// Returns a top-level field of an object; none when it is absent or null.
pub fn part<'a>(object: Option<&'a DynamicObject>, name: &str) -> Option<&'a Value> {
    object?.data.get(name).filter(|v| !v.is_null())
}
