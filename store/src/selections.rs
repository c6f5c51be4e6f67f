//! The history of agents, from which one is selected for a task; and the selections, for people.

use enact_domain::agents::health::End;
use enact_domain::agents::selection::{History, Selection};
use enact_domain::assignment::Report;
use enact_domain::reason::Reason;
use enact_domain::time::Millis;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// The attempts of each agent that count: the newest ones.
const COUNTED: i64 = 200;
/// The ends of attempts of each agent that its health depends on: the newest ones.
const ENDS: i64 = 50;
/// Most selections in one answer.
const PAGE: i64 = 20;
/// Failures of the class `Task` that say nothing about the agent.
const NOT_OF_THE_AGENT: [Reason; 7] = [
    Reason::Cancelled,
    Reason::PlanDeleted,
    Reason::DeadlineExceeded,
    Reason::BudgetExceeded,
    Reason::ProviderQuota,
    Reason::MergeConflict,
    Reason::PushRejected,
];

/// The past attempts of an agent at tasks that needed a capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentHistory {
    pub namespace: String,
    pub agent: String,
    /// Name of the capability; empty for all attempts, whatever they needed.
    pub capability: String,
    pub history: History,
}

/// The end of an attempt of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentEnd {
    pub namespace: String,
    pub agent: String,
    pub end: End,
}

/// The agent that was selected for an attempt, and the evaluation of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedSelection {
    /// Number of the attempt.
    pub attempt: u32,
    /// Name of the selected Agent.
    pub agent: String,
    /// Time of the selection.
    pub at: Option<Millis>,
    #[serde(flatten)]
    pub selection: Selection,
}

impl Store {
    /// Returns the histories of agents, named by namespace and name. An agent without counted attempts has none.
    ///
    /// An attempt counts when its result depended on the agent: it succeeded, or its work failed. The cost of an attempt is what its budget
    /// has booked.
    pub async fn agent_histories(
        &self,
        tenant: &str,
        agents: &[(String, String)],
    ) -> Result<Vec<AgentHistory>, StoreError> {
        let namespaces: Vec<&str> = agents.iter().map(|(namespace, _)| namespace.as_str()).collect();
        let names: Vec<&str> = agents.iter().map(|(_, name)| name.as_str()).collect();
        let excluded: Vec<&str> = NOT_OF_THE_AGENT.iter().map(|reason| reason.as_str()).collect();
        let rows = self
            .transaction("read the history of agents", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select w.namespace as "namespace!", w.agent as "agent!", c.capability as "capability!",
                              count(*) as "attempts!", count(*) filter (where a.failure is null) as "succeeded!",
                              percentile_disc(0.5) within group (order by b.spent_cost_micro_usd) as median_cost_micro_usd
                    from unnest($2::text[], $3::text[]) as w (namespace, agent)
                    cross join lateral (
                        select subject_uid, number, failure, capabilities
                        from enact.attempts
                        where tenant_id = $1 and namespace = w.namespace and agent = w.agent and capabilities is not null
                          and finished_at is not null
                          and (failure is null or (failure = 'Task' and report ->> 'reason' <> all ($4::text[])))
                        order by finished_at desc
                        limit $5
                    ) a
                    left join enact.budgets b
                        on b.tenant_id = $1 and b.scope = 'attempt/' || a.subject_uid || '/' || a.number
                           and b.spent_cost_micro_usd > 0
                    cross join lateral unnest(a.capabilities || ''::text) as c (capability)
                    group by 1, 2, 3
                    order by 1, 2, 3"#,
                    tenant,
                    &namespaces as &[&str],
                    &names as &[&str],
                    &excluded as &[&str],
                    COUNTED,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        let histories = rows.into_iter().map(|row| AgentHistory {
            namespace: row.namespace,
            agent: row.agent,
            capability: row.capability,
            history: History {
                attempts: count(row.attempts),
                succeeded: count(row.succeeded),
                median_cost_micro_usd: row.median_cost_micro_usd.map(i64::unsigned_abs),
            },
        });
        Ok(histories.collect())
    }

    /// Returns the ends of the newest attempts of agents, named by namespace and name, the oldest first.
    pub async fn agent_ends(&self, tenant: &str, agents: &[(String, String)]) -> Result<Vec<AgentEnd>, StoreError> {
        let namespaces: Vec<&str> = agents.iter().map(|(namespace, _)| namespace.as_str()).collect();
        let names: Vec<&str> = agents.iter().map(|(_, name)| name.as_str()).collect();
        let rows = self
            .transaction("read the ends of attempts of agents", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select w.namespace as "namespace!", w.agent as "agent!", a.report as "report!",
                              (extract(epoch from a.finished_at) * 1000)::bigint as "at!",
                              (extract(epoch from r.reset_at) * 1000)::bigint as reset_at
                    from unnest($2::text[], $3::text[]) as w (namespace, agent)
                    cross join lateral (
                        select subject_uid, number, report, finished_at
                        from enact.attempts
                        where tenant_id = $1 and namespace = w.namespace and agent = w.agent and finished_at is not null
                        order by finished_at desc
                        limit $4
                    ) a
                    left join enact.refusals r
                        on r.tenant_id = $1 and r.task_uid = a.subject_uid and r.attempt = a.number
                    order by a.finished_at"#,
                    tenant,
                    &namespaces as &[&str],
                    &names as &[&str],
                    ENDS,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        rows.into_iter()
            .map(|row| {
                let report: Report =
                    serde_json::from_value(row.report).map_err(StoreError::unreadable("the report of an attempt"))?;
                let quota_reset = row.reset_at.map(Millis).filter(|_| report.reason == Reason::ProviderQuota);
                let end = End { reason: report.reason, message: report.message, at: Millis(row.at), quota_reset };
                Ok(AgentEnd { namespace: row.namespace, agent: row.agent, end })
            })
            .collect()
    }

    /// Returns the selections for the newest attempts at a Task of a Plan, the newest first.
    pub async fn selections(
        &self,
        tenant: &str,
        namespace: &str,
        plan: &str,
        task: &str,
    ) -> Result<Vec<RecordedSelection>, StoreError> {
        let rows = self
            .transaction("read selections of agents", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select a.number, a.agent as "agent!", (extract(epoch from a.started_at) * 1000)::bigint as at,
                              a.selection as "selection!"
                    from enact.attempts a
                    join enact.plans p on p.tenant_id = a.tenant_id and p.plan_uid = a.plan_uid
                    where a.tenant_id = $1 and p.namespace = $2 and p.name = $3 and a.kind = 'Task' and a.name = $4
                      and a.selection is not null and a.agent is not null
                    order by a.started_at desc, a.number desc
                    limit $5"#,
                    tenant,
                    namespace,
                    plan,
                    task,
                    PAGE,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        rows.into_iter()
            .map(|row| {
                Ok(RecordedSelection {
                    attempt: row.number.unsigned_abs(),
                    agent: row.agent,
                    at: row.at.map(Millis),
                    selection: serde_json::from_value(row.selection)
                        .map_err(StoreError::unreadable("the selection of an agent"))?,
                })
            })
            .collect()
    }
}
