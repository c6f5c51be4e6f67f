//! Decisions of the proposals that were chosen for plans.

use std::collections::BTreeSet;

use enact_domain::decisions::{DecisionOutcome, RecordedDecision, State};
use enact_domain::record::ACTOR;
use enact_domain::time::Millis;
use serde_json::Value;

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// Most decisions in one answer.
const PAGE: i64 = 500;

/// Which decisions of a namespace are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionFilter {
    /// Name of a Plan.
    pub plan: Option<String>,
    /// Name of a Specification.
    pub specification: Option<String>,
}

/// What is read of the decisions of a tenant.
#[derive(Default)]
struct Selection<'a> {
    /// Namespace of the decisions; all namespaces of the tenant when none.
    namespace: Option<&'a str>,
    /// UID of a plan whose decisions do not count.
    without: Option<&'a str>,
    /// Keys of questions; all questions when empty.
    questions: &'a [String],
    plan: Option<&'a str>,
    specification: Option<&'a str>,
}

/// A recorded decision as Postgres returns it.
struct Found {
    id: i64,
    withdrawn: bool,
    question: String,
    choice: String,
    rationale: String,
    consequences: String,
    alternatives: Value,
    namespace: String,
    plan: String,
    plan_uid: String,
    specification: String,
    specification_digest: String,
    proposal: String,
    agent: String,
    actor: String,
    at: i64,
    supersedes: Option<i64>,
    superseded_by: Option<i64>,
}

impl Store {
    /// Returns the newest decisions of a namespace, at most 500, the newest first.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub async fn decisions(
        &self,
        tenant: &str,
        namespace: &str,
        filter: &DecisionFilter,
    ) -> Result<Vec<RecordedDecision>, StoreError> {
        let (plan, specification) = (filter.plan.as_deref(), filter.specification.as_deref());
        let selection = Selection { namespace: Some(namespace), plan, specification, ..Selection::default() };
        self.select_decisions(tenant, &selection).await
    }

    /// Returns the newest decisions of a tenant with what became of their plans, at most 500, the newest first. `namespace` is the only
    /// namespace whose decisions are returned, `plan_uid` the plan whose decisions are not.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub async fn decision_outcomes(
        &self,
        tenant: &str,
        namespace: Option<&str>,
        plan_uid: Option<&str>,
    ) -> Result<Vec<DecisionOutcome>, StoreError> {
        let selection = Selection { namespace, without: plan_uid, ..Selection::default() };
        let found = self.select_decisions(tenant, &selection).await?;
        self.with_outcomes(tenant, found).await
    }

    /// Adds to decisions what became of their plans.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub async fn with_outcomes(
        &self,
        tenant: &str,
        decisions: Vec<RecordedDecision>,
    ) -> Result<Vec<DecisionOutcome>, StoreError> {
        let plans: BTreeSet<String> = decisions.iter().map(|decision| decision.plan_uid.clone()).collect();
        let plans: Vec<String> = plans.into_iter().collect();
        let outcomes = self.plan_outcomes(tenant, &plans).await?;
        Ok(DecisionOutcome::join(decisions, &outcomes))
    }

    /// Returns the decisions about these questions that are in force in a namespace when those of one plan do not count. The questions are
    /// keys of [`enact_domain::decisions::question_key`].
    ///
    /// # Errors
    /// If the record cannot be read.
    pub async fn decisions_in_force(
        &self,
        tenant: &str,
        namespace: &str,
        plan_uid: &str,
        questions: &[String],
    ) -> Result<Vec<RecordedDecision>, StoreError> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let namespace = Some(namespace);
        let selection = Selection { namespace, without: Some(plan_uid), questions, ..Selection::default() };
        let mut found = self.select_decisions(tenant, &selection).await?;
        found.retain(|decision| decision.state == State::InForce);
        Ok(found)
    }

    async fn select_decisions(
        &self,
        tenant: &str,
        selection: &Selection<'_>,
    ) -> Result<Vec<RecordedDecision>, StoreError> {
        let found = self
            .transaction("read decisions", tenant, async |session: &mut Session| {
                // A plan without a row in enact.plans has not started. The order of the window decides which decision replaces which.
                sqlx::query_as!(
                    Found,
                    r#"with known as (
                        select d.*,
                            exists (
                                select from enact.audit a
                                where a.tenant_id = $1 and a.subject_uid = d.plan_uid and a.event = 'ProposalChosen'
                                    and a.at > d.decided_at
                            ) or (
                                exists (
                                    select from enact.audit a
                                    where a.tenant_id = $1 and a.subject_uid = d.plan_uid and a.event = 'Deleted'
                                ) and not exists (select from enact.plans p where p.tenant_id = $1 and p.plan_uid = d.plan_uid)
                            ) as withdrawn
                        from enact.decisions d
                        where d.tenant_id = $1 and ($2::text is null or d.namespace = $2::text)
                            and ($3::text is null or d.plan_uid <> $3::text)
                            and (cardinality($4::text[]) = 0 or d.question_key = any($4::text[]))
                    ), ordered as (
                        select known.*, lag(id) over same_question as supersedes, lead(id) over same_question as superseded_by
                        from known
                        window same_question as (partition by namespace, withdrawn, question_key order by decided_at, id)
                    )
                    select id as "id!", withdrawn as "withdrawn!", question as "question!", choice as "choice!",
                           rationale as "rationale!", consequences as "consequences!", alternatives as "alternatives!",
                           namespace::text as "namespace!", plan::text as "plan!", plan_uid::text as "plan_uid!", specification::text as "specification!",
                           specification_digest as "specification_digest!", proposal as "proposal!", agent::text as "agent!",
                           actor as "actor!", (extract(epoch from decided_at) * 1000)::bigint as "at!",
                           case when withdrawn then null else supersedes end as "supersedes?",
                           case when withdrawn then null else superseded_by end as "superseded_by?"
                    from ordered
                    where ($5::text is null or plan = $5::text) and ($6::text is null or specification = $6::text)
                    order by decided_at desc, id
                    limit $7"#,
                    tenant,
                    selection.namespace,
                    selection.without,
                    selection.questions,
                    selection.plan,
                    selection.specification,
                    PAGE,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        found.into_iter().map(recorded).collect()
    }
}

fn recorded(found: Found) -> Result<RecordedDecision, StoreError> {
    Ok(RecordedDecision {
        id: found.id,
        state: match (found.withdrawn, found.superseded_by) {
            (true, _) => State::Withdrawn,
            (false, Some(_)) => State::Superseded,
            (false, None) => State::InForce,
        },
        question: found.question,
        choice: found.choice,
        rationale: found.rationale,
        consequences: found.consequences,
        alternatives: serde_json::from_value(found.alternatives)
            .map_err(StoreError::unreadable("the alternatives of a decision"))?,
        namespace: found.namespace,
        plan: found.plan,
        plan_uid: found.plan_uid,
        specification: found.specification,
        specification_digest: found.specification_digest,
        proposal: found.proposal,
        agent: found.agent,
        chosen_by: Some(found.actor).filter(|actor| actor != ACTOR),
        at: Millis(found.at),
        supersedes: found.supersedes,
        superseded_by: found.superseded_by,
    })
}
