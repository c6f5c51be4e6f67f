//! Budgets: what the tasks of a plan may still use of models.
//!
//! The gateway counts each request in Postgres and refuses those that exceed a limit, so no budget is exceeded whatever happens here. This
//! step only keeps attempts from starting that would be refused. The limits are written in `limits.rs`.

use std::collections::HashMap;

use enact_crds::convert;
use enact_crds::plan::PlanUsage;
use enact_domain::approval::{Choice, Decision};
use enact_domain::assignment::Reason;
use enact_domain::graph::{NodeId, PerNode};
use enact_domain::plan::{Agents, Budgets, CurrentAttempt, Executor, Node, TaskPhase};
use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Limit, Scope, month};

use super::context::Context;
use super::known_budgets::KnownBudgets;
use super::observed::Observed;
use super::reservations::{Amount, Reserved};
use super::self_reported;
use super::validate::Valid;
use crate::error::Error;

/// Seconds for which balances are used again while a budget applies.
const FRESH_SECONDS: u32 = 2;
/// Seconds between two readings of the usage while attempts run.
const USAGE_SECONDS: u32 = 10;

/// The field with the plan's own budget.
pub const OWN_BUDGET: &str = "spec.execution.budget";

/// The budgets of a plan in one reconcile.
#[derive(Debug, Default)]
pub struct PlanBudgets {
    /// The budgets with a limit; the index is that in a node's funding.
    pub limits: Vec<(Scope, Limit)>,
    /// The index of each scope in `limits`.
    indices: HashMap<Scope, usize>,
    /// The limit of the plan, which its own budget and its Approvals set.
    pub plan: Limit,
    pub plan_set_by: Vec<String>,
    /// The limits of each task and of each attempt.
    pub task: Limit,
    pub attempt: Limit,
    /// The UIDs of the Tasks that use models and are not finished.
    pub metered: HashMap<NodeId, String>,
    pub known: KnownBudgets,
}

/// Reads the balances of the budgets that apply to the plan, and adds the budgets to its `agents` and `nodes`. A plan that uses no models
/// costs nothing here.
///
/// # Errors
/// When the record cannot be read.
pub async fn read(
    ctx: &Context,
    observed: &Observed,
    valid: &Valid,
    agents: &mut Agents,
    nodes: &mut PerNode<Node>,
    known: &KnownBudgets,
) -> Result<PlanBudgets, Error> {
    if !observed.uses_models() {
        return Ok(PlanBudgets::default());
    }
    let mut budgets = PlanBudgets::of(ctx, observed, valid, agents, nodes);
    budgets.known = known.clone();
    let tenant = &valid.member.tenant;
    for (&id, uid) in &budgets.metered {
        for series in nodes[id].series() {
            if let Some((request, charge)) = self_reported::usage(observed, valid, agents, id, series, uid) {
                // Before the balances are read, so that they contain it.
                ctx.record_store.report_usage(tenant, request, charge).await?;
            }
        }
    }
    let scopes = budgets.scopes(observed, nodes);
    if budgets.needs_reading(observed.now, nodes, &scopes) {
        let balances = ctx.record_store.balances(tenant, &scopes).await?;
        budgets.known.balances = balances.into_iter().collect();
        budgets.known.read_at = Some(observed.now);
    }
    for (&id, uid) in &budgets.metered {
        for series in nodes[id].series_mut() {
            series.funding.attempt = budgets.attempt;
            series.funding.last_attempt = budgets.left_of_attempt(uid, series.attempts);
            if series.end_report().is_some_and(|report| report.reason == Reason::ProviderQuota) {
                let refusal = ctx.record_store.refusal(tenant, uid, series.attempts).await?;
                series.funding.quota_reset = refusal.and_then(|refusal| refusal.reset_at);
            }
        }
    }
    Ok(budgets)
}

/// The limit of a plan, and what sets it.
#[derive(Debug, Default)]
pub struct PlanLimit {
    pub limit: Limit,
    /// `spec.execution.budget`, or Approvals with the people who decided.
    pub set_by: Vec<String>,
}

/// Returns the limit of the plan: the lower one of its own budget and of those of the Approvals of its content.
fn limit_of_plan(observed: &Observed, valid: &Valid) -> PlanLimit {
    let own = observed.plan.spec.execution.budget.as_ref().map(convert::limit).unwrap_or_default();
    // The webhook admitted only Approvals that counted. The budget of one stays when it expires or the policy becomes stricter, because a plan
    // must not get more than what somebody approved.
    let accepted = observed
        .caps
        .iter()
        .filter(|(decision, _)| decision.choice == Choice::Approve && decision.digest == valid.content.digest);
    let named =
        |(decision, budget): &(Decision, Limit)| (format!("Approval {} by {}", decision.name, decision.user), *budget);
    let limits: Vec<(String, Limit)> = [(OWN_BUDGET.to_owned(), own)].into_iter().chain(accepted.map(named)).collect();
    let limit = limits.iter().fold(Limit::default(), |lowest, (_, limit)| lowest.lower(*limit));
    // The first one that has the lowest amount, for each unit.
    let tokens = limits.iter().find(|(_, one)| limit.tokens.is_some() && one.tokens == limit.tokens);
    let cost =
        limits.iter().find(|(_, one)| limit.cost_micro_usd.is_some() && one.cost_micro_usd == limit.cost_micro_usd);
    let mut set_by: Vec<String> = cost.into_iter().chain(tokens).map(|(name, _)| name.clone()).collect();
    set_by.dedup();
    PlanLimit { limit, set_by }
}

fn has_ended(series: &Node) -> bool {
    series.end_report().is_some()
}

impl PlanBudgets {
    /// Returns the budgets that apply, without their balances, and adds their indices to the agents and nodes.
    fn of(ctx: &Context, observed: &Observed, valid: &Valid, agents: &mut Agents, nodes: &mut PerNode<Node>) -> Self {
        let execution = &observed.plan.spec.execution;
        let limit = |budget: &Option<_>| budget.as_ref().map(convert::limit).unwrap_or_default();
        let month = month(observed.now);
        let tenant = ctx.tenant(&valid.member.tenant).map(|t| limit(&t.spec.monthly_budget)).unwrap_or_default();
        let PlanLimit { limit: of_plan, set_by: plan_set_by } = limit_of_plan(observed, valid);
        let mut budgets = Self {
            plan: of_plan,
            plan_set_by,
            task: limit(&execution.task_budget),
            attempt: limit(&execution.attempt_budget),
            ..Self::default()
        };
        for agent in &mut agents.all {
            let name = &agent.candidate.name;
            let Some(spec) = observed.agents.get(name).map(|agent| &agent.spec).filter(|s| s.uses_models()) else {
                continue;
            };
            let scope =
                Scope::Agent { namespace: observed.namespace.clone(), name: name.clone(), month: month.clone() };
            agent.metered = true;
            agent.budget = budgets.index(scope, limit(&spec.monthly_budget));
        }
        let compiled = &valid.content.compiled;
        for (i, name) in compiled.names.iter().enumerate() {
            let id = NodeId::Task(i);
            // A Task that does not exist yet starts in a later reconcile.
            let Some(entry) = observed.children.tasks.get(name).filter(|_| !nodes[id].phase.is_finished()) else {
                continue;
            };
            let mut of_node = Vec::new();
            for series in nodes[id].series_mut() {
                let agent = Self::certain_agent(series).and_then(|index| agents.all.get(index));
                let is_metered = match agent {
                    Some(agent) => agent.metered,
                    None => agents.pool.iter().any(|index| agents.all[*index].metered),
                };
                if !is_metered || series.executor == Executor::None {
                    continue;
                }
                let indices = [
                    budgets.index(Scope::Tenant { month: month.clone() }, tenant),
                    agent.and_then(|agent| agent.budget),
                    budgets.index(Scope::Plan { uid: observed.uid.clone() }, budgets.plan),
                    budgets.index(Scope::Task { uid: entry.uid.clone() }, budgets.task),
                ];
                series.funding.budgets = indices.into_iter().flatten().collect();
                of_node.clone_from(&series.funding.budgets);
                budgets.metered.insert(id, entry.uid.clone());
            }
            // Of a contest, these are only shown to people.
            nodes[id].funding.budgets = of_node;
        }
        budgets
    }

    /// Returns the agent of a node if it is certain: it is named, or an attempt is in progress.
    fn certain_agent(node: &Node) -> Option<usize> {
        match &node.executor {
            Executor::Named(agent) => Some(*agent),
            executor if !matches!(node.current, CurrentAttempt::None) => executor.last(),
            _ => None,
        }
    }

    /// Returns the index of a scope; none if it has no limit.
    fn index(&mut self, scope: Scope, limit: Limit) -> Option<usize> {
        if limit.is_unlimited() {
            return None;
        }
        let known = self.indices.get(&scope).copied();
        Some(known.unwrap_or_else(|| {
            self.indices.insert(scope.clone(), self.limits.len());
            self.limits.push((scope, limit));
            self.limits.len() - 1
        }))
    }

    /// Returns the scopes whose balances a decision depends on. That of the plan is also shown in its status.
    fn scopes(&self, observed: &Observed, nodes: &PerNode<Node>) -> Vec<Scope> {
        let plan = Scope::Plan { uid: observed.uid.clone() };
        let limited = self.limits.iter().map(|(scope, _)| scope.clone()).filter(|scope| *scope != plan);
        let mut scopes: Vec<Scope> = limited.chain([plan.clone()]).collect();
        for (id, uid) in &self.metered {
            // What a contestant has used can decide its contest.
            if self.attempt.is_unlimited() && nodes[*id].contest.is_none() {
                continue;
            }
            let is_open = |series: &&Node| series.is_running() || has_ended(series) || series.funding.parked.is_some();
            let open = nodes[*id].series().filter(is_open);
            scopes.extend(open.map(|series| Scope::Attempt { uid: uid.clone(), number: series.attempts }));
        }
        scopes
    }

    fn needs_reading(&self, now: Millis, nodes: &PerNode<Node>, scopes: &[Scope]) -> bool {
        let metered = || self.metered.keys().flat_map(|id| nodes[*id].series());
        if self.metered.is_empty() {
            return false;
        }
        let Some(read_at) = self.known.read_at else { return true };
        // The usage of an attempt that has ended is complete, and must be in the status of the plan that it ends.
        if metered().any(has_ended) || scopes.iter().any(|scope| !self.known.balances.contains_key(scope)) {
            return true;
        }
        let age = if self.limits.is_empty() { USAGE_SECONDS } else { FRESH_SECONDS };
        now >= read_at.plus_seconds(age) && (!self.limits.is_empty() || metered().any(Node::is_running))
    }

    /// Returns the balance of a scope as it was last read.
    pub fn balance(&self, scope: &Scope) -> Balance {
        self.known.balances.get(scope).copied().unwrap_or_default()
    }

    /// Returns the balance of an attempt; none if its task uses no models.
    pub fn attempt_balance(&self, node: NodeId, number: u32) -> Option<Balance> {
        let uid = self.metered.get(&node)?.clone();
        Some(self.balance(&Scope::Attempt { uid, number }))
    }

    /// Returns what remains of the budget of an attempt.
    fn left_of_attempt(&self, uid: &str, number: u32) -> Limit {
        let spent = self.balance(&Scope::Attempt { uid: uid.to_owned(), number }).spent;
        let left = Amount::left(&self.attempt, &spent);
        Limit {
            tokens: self.attempt.tokens.map(|_| left.tokens),
            cost_micro_usd: self.attempt.cost_micro_usd.map(|_| left.cost_micro_usd),
        }
    }

    /// Returns what is reserved of each budget by running attempts and their requests. `others` returns the reservations of other plans.
    pub fn reserved(&self, nodes: &PerNode<Node>, others: &dyn Fn(&Scope) -> Amount) -> Vec<Amount> {
        let running = self.metered.keys().flat_map(|id| {
            let running = nodes[*id].series().filter(|series| series.is_running());
            running.map(move |series| (*id, series.attempts))
        });
        let own = self.reserved_by(nodes, running);
        let reserved = self.limits.iter().map(|(scope, _)| {
            let mut attempts = others(scope);
            attempts.add(own.get(scope).unwrap_or(&Amount::default()));
            let requests = self.balance(scope).reserved;
            // Requests in progress have reserved parts of what their attempts have reserved.
            Amount {
                tokens: attempts.tokens.max(requests.tokens.total()),
                cost_micro_usd: attempts.cost_micro_usd.max(requests.known_cost()),
            }
        });
        reserved.collect()
    }

    /// Returns what remains of each budget after all that is spent and reserved.
    pub fn remaining(&self, reserved: &[Amount]) -> Budgets {
        let remaining = self.limits.iter().zip(reserved).map(|((scope, limit), reserved)| {
            let spent = self.balance(scope).spent;
            let left = |limit: u64, spent: u64, reserved: u64| limit.saturating_sub(spent).saturating_sub(reserved);
            Limit {
                tokens: limit.tokens.map(|limit| left(limit, spent.tokens.total(), reserved.tokens)),
                cost_micro_usd: limit
                    .cost_micro_usd
                    .map(|limit| left(limit, spent.known_cost(), reserved.cost_micro_usd)),
            }
        });
        Budgets::new(remaining.collect())
    }

    /// Returns what these attempts reserve of each budget: the rest of their own budgets.
    pub fn reserved_by(&self, nodes: &PerNode<Node>, attempts: impl Iterator<Item = (NodeId, u32)>) -> Reserved {
        let mut reserved = Reserved::new();
        for (id, number) in attempts {
            let Some(uid) = self.metered.get(&id) else { continue };
            let spent = self.balance(&Scope::Attempt { uid: uid.clone(), number }).spent;
            let amount = Amount::left(&self.attempt, &spent);
            for &index in &nodes[id].series_of(number).funding.budgets {
                reserved.entry(self.limits[index].0.clone()).or_default().add(&amount);
            }
        }
        reserved
    }

    /// Returns what the plan's attempts reserve of budgets that other plans share, after a decision.
    pub fn shared_reservations(&self, nodes: &PerNode<Node>, running: impl Iterator<Item = (NodeId, u32)>) -> Reserved {
        if self.attempt.is_unlimited() {
            return Reserved::new();
        }
        let mut reserved = self.reserved_by(nodes, running);
        reserved.retain(|scope, _| matches!(scope, Scope::Tenant { .. } | Scope::Agent { .. }));
        reserved
    }

    /// Returns the time at which the usage is read again; none while no attempt uses models.
    pub fn read_again_at(&self, phases: &PerNode<TaskPhase>) -> Option<Millis> {
        let running = self.metered.keys().any(|id| phases[*id] == TaskPhase::Running);
        self.known.read_at.filter(|_| running).map(|at| at.plus_seconds(USAGE_SECONDS))
    }

    /// Returns the usage of the plan for its status, without the discarded part; none if it has neither used models nor a budget.
    pub fn usage(&self, observed: &Observed) -> Option<PlanUsage> {
        let balance = self.known.balances.get(&Scope::Plan { uid: observed.uid.clone() })?;
        usage(balance, &PlanLimit { limit: self.plan, set_by: self.plan_set_by.clone() })
    }
}

/// Returns the usage of a plan with this balance, without the discarded part; none if it has neither used models nor a budget.
pub fn usage(balance: &Balance, limit: &PlanLimit) -> Option<PlanUsage> {
    let tokens = balance.spent.tokens.total();
    let usage = PlanUsage {
        tokens,
        usd: convert::usd(balance.spent.known_cost()),
        reserved: convert::reserved(balance),
        budget: convert::budget(&limit.limit),
        budget_set_by: limit.set_by.clone(),
        remaining: convert::left(&Balance { limit: limit.limit, ..*balance }),
        discarded: None,
    };
    (tokens > 0 || usage.reserved.is_some() || usage.budget.is_some()).then_some(usage)
}

#[cfg(test)]
mod tests;
