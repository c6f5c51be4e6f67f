//! What can be approved: the content of a Constitution, Specification or Plan, and the policy that its `spec.approval` sets.

use enact_domain::analysis::Severity;
use enact_domain::approval::authors::Authors;
use enact_domain::approval::{Content, Policy};
use enact_domain::record::Kind;
use kube::ResourceExt;

use crate::approval::SubjectKind;
use crate::common::ApprovalPolicy;
use crate::plan::{GeneratedPlan, PlanAgent};
use crate::specification::DraftStatus;
use crate::{Constitution, Plan, Specification, Tenant, convert};

/// What an Approval is about, as far as the decision depends on it. The webhook and the operator both read it with [`ApprovalSubject::of`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalSubject {
    pub uid: Option<String>,
    /// The present content; none until the operator has written a digest into the status.
    pub content: Option<Content>,
    pub policy: Policy,
}

impl ApprovalSubject {
    /// Reads the subject from an object; `tenant` owns its namespace.
    pub fn of<K: Approvable>(object: &K, tenant: Option<&Tenant>) -> Self {
        let content = object.observed().map(|(digest, worst)| Content {
            digest: digest.into(),
            authors: object.authors(),
            worst,
        });
        Self { uid: object.uid(), content, policy: effective_policy(K::SUBJECT, object.policy(), tenant) }
    }
}

/// Returns the policy that applies to an object: its own one, with the minimum of the tenant that owns its namespace.
pub fn effective_policy(kind: SubjectKind, own: &ApprovalPolicy, tenant: Option<&Tenant>) -> Policy {
    let minimum = tenant.and_then(|tenant| tenant.spec.minimum_approvals.as_ref()).and_then(|minimum| match kind {
        SubjectKind::Constitution => minimum.constitutions.as_ref(),
        SubjectKind::Specification => minimum.specifications.as_ref(),
        SubjectKind::Plan => minimum.plans.as_ref(),
    });
    Policy::from(own).with_minimum(minimum.map(Policy::from))
}

/// Returns the authors of a document. `draft` is the state of an agent that drafts it: whoever wrote that agent chose its words.
pub fn document_authors<K: ResourceExt>(object: &K, draft: Option<&DraftStatus>) -> Authors {
    let of_agent = draft.into_iter().flat_map(|draft| &draft.authors);
    Authors::of(object.annotations()).with(of_agent.map(String::as_str))
}

/// Returns the authors of a Plan. Among them are `agents`, who wrote the Agents that the approval covers and the ModelProviders of their models,
/// and whoever wrote the planner and the judges of the proposal that is its tasks.md.
pub fn plan_authors<'a>(
    plan: &Plan,
    agents: impl IntoIterator<Item = &'a str>,
    generated: Option<&GeneratedPlan>,
) -> Authors {
    let of_planners = generated.into_iter().flat_map(|generated| &generated.authors);
    Authors::of(plan.annotations()).with(agents).with(of_planners.map(String::as_str))
}

impl From<SubjectKind> for Kind {
    fn from(kind: SubjectKind) -> Self {
        match kind {
            SubjectKind::Constitution => Self::Constitution,
            SubjectKind::Specification => Self::Specification,
            SubjectKind::Plan => Self::Plan,
        }
    }
}

/// A kind whose objects people approve.
pub trait Approvable: ResourceExt {
    /// The kind, as Approvals name it.
    const SUBJECT: SubjectKind;

    /// Returns what the object asks of approvals.
    fn policy(&self) -> &ApprovalPolicy;

    /// Returns what the operator wrote into the status: the digest of the content and the severity of its worst finding.
    fn observed(&self) -> Option<(String, Option<Severity>)>;

    /// Returns the authors of the content.
    fn authors(&self) -> Authors {
        Authors::of(self.annotations())
    }
}

impl Approvable for Constitution {
    const SUBJECT: SubjectKind = SubjectKind::Constitution;

    fn policy(&self) -> &ApprovalPolicy {
        &self.spec.approval
    }

    fn observed(&self) -> Option<(String, Option<Severity>)> {
        let status = self.status.as_ref()?;
        Some((status.digest.clone()?, convert::worst(&status.findings)))
    }
}

impl Approvable for Specification {
    const SUBJECT: SubjectKind = SubjectKind::Specification;

    fn policy(&self) -> &ApprovalPolicy {
        &self.spec.approval
    }

    fn observed(&self) -> Option<(String, Option<Severity>)> {
        let status = self.status.as_ref()?;
        Some((status.digest.clone()?, convert::worst(&status.findings)))
    }

    fn authors(&self) -> Authors {
        document_authors(self, self.status.as_ref().and_then(|status| status.draft.as_ref()))
    }
}

impl Approvable for Plan {
    const SUBJECT: SubjectKind = SubjectKind::Plan;

    fn policy(&self) -> &ApprovalPolicy {
        &self.spec.approval
    }

    fn observed(&self) -> Option<(String, Option<Severity>)> {
        let status = self.status.as_ref()?;
        // A Plan's status has no counts. The findings are sorted, so the worst is among those that it shows.
        Some((status.digest.clone()?, convert::worst_of(&status.top_findings)))
    }

    fn authors(&self) -> Authors {
        // The digest covers the Agents, and the operator writes both together.
        let status = self.status.as_ref();
        let agents = status.into_iter().flat_map(|status| &status.agents).flat_map(PlanAgent::authors);
        plan_authors(self, agents, status.and_then(|status| status.generated.as_ref()))
    }
}
