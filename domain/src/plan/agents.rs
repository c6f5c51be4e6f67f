//! The agents of a plan's nodes: which agent carries out the next attempt.

use std::collections::HashMap;

use crate::agents::needs::Needs;
use crate::agents::selection::{self, Candidate, Exclusion, ExclusionReason, Outcome, Selection};
use crate::graph::NodeId;
use crate::time::Millis;

use super::budgets::{Budgets, Funding, Shortage};
use super::node::{Executor, Node};

/// The agents that a plan names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agents {
    /// All agents.
    pub all: Vec<Agent>,
    /// Indices of the agents of the pool.
    pub pool: Vec<usize>,
}

/// An agent that a plan names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    pub candidate: Candidate,
    /// Whether its attempts use models, so that budgets apply.
    pub metered: bool,
    /// Index in [`Budgets`] of its own budget, if it has one.
    pub budget: Option<usize>,
}

/// The agent of a new attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub node: NodeId,
    /// Number of the attempt.
    pub attempt: u32,
    /// Index in [`Agents::all`].
    pub agent: usize,
    /// The evaluation of the pool; none if the agent was certain before.
    pub selection: Option<Selection>,
}

/// The nodes that no agent can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unassigned {
    /// Number of these nodes.
    pub count: u32,
    /// The one that would start first.
    pub first: NodeId,
    /// Why no agent can have the first one, for people.
    pub why: String,
}

/// Why an attempt cannot start.
pub(super) enum Obstacle {
    Budget(Shortage),
    /// No agent can have it; the message is for people.
    Agents(String),
}

/// An attempt that can start.
pub(super) struct Assigned {
    pub agent: Option<usize>,
    pub funding: Funding,
    pub selection: Option<Selection>,
}

/// Assigns agents to the attempts that start in one decision.
pub(super) struct Assigner<'a> {
    agents: Agents,
    /// Evaluations of the pool since the last start, by needs: many tasks need the same.
    known: HashMap<&'a Needs, Selection>,
}

impl<'a> Assigner<'a> {
    /// `exhausted` are agents whose quota is used up since the agents were read, and when it is reset.
    pub fn new(agents: &Agents, exhausted: &[(usize, Millis)]) -> Self {
        let mut agents = agents.clone();
        for (agent, until) in exhausted {
            if let Some(agent) = agents.all.get_mut(*agent) {
                agent.candidate.exhausted_until = Some(*until);
            }
        }
        Self { agents, known: HashMap::new() }
    }

    /// Counts an attempt that starts with an agent.
    pub fn occupy(&mut self, agent: usize) {
        if let Some(agent) = self.agents.all.get_mut(agent) {
            agent.candidate.running += 1;
        }
        self.known.clear();
    }

    /// Returns the agent of the next attempt of a series. An agent in `others` is selected only if no other one is eligible.
    ///
    /// # Errors
    /// If no attempt can start now.
    pub fn assign(&mut self, node: &'a Node, others: &[usize], budgets: &Budgets) -> Result<Assigned, Obstacle> {
        let agent = match &node.executor {
            Executor::None => {
                budgets.check(&node.funding).map_err(Obstacle::Budget)?;
                return Ok(Assigned { agent: None, funding: node.funding.clone(), selection: None });
            }
            Executor::Named(agent) | Executor::Pool { next: Some(agent), .. } => *agent,
            Executor::Pool { needs, last, next: None } => return self.select(node, needs, *last, others, budgets),
        };
        let busy = self.agents.all.get(agent).and_then(|agent| {
            let exclusion = selection::busy(&agent.candidate)?;
            Some(format!("{} {}", agent.candidate.name, exclusion.message))
        });
        if let Some(busy) = busy {
            return Err(Obstacle::Agents(busy));
        }
        let funding = self.agents.funding(node, agent);
        budgets.check(&funding).map_err(Obstacle::Budget)?;
        Ok(Assigned { agent: Some(agent), funding, selection: None })
    }

    fn select(
        &mut self,
        node: &Node,
        needs: &'a Needs,
        last: Option<usize>,
        others: &[usize],
        budgets: &Budgets,
    ) -> Result<Assigned, Obstacle> {
        let agents = &self.agents;
        let known = self.known.entry(needs).or_insert_with(|| selection::select(needs, &agents.candidates()));
        let mut selection = known.clone();
        agents.exclude_others(&mut selection, others);
        let eligible: Vec<usize> = selection.eligible().filter_map(|name| agents.index(name)).collect();
        let last = last.filter(|index| eligible.contains(index));
        let ranked: Vec<usize> = last.into_iter().chain(eligible).collect();
        if ranked.is_empty() {
            return Err(Obstacle::Agents(selection.obstacles()));
        }
        let mut shortage = None;
        for agent in ranked {
            let funding = agents.funding(node, agent);
            match budgets.check(&funding) {
                Ok(()) => {
                    selection.kept = last == Some(agent);
                    return Ok(Assigned { agent: Some(agent), funding, selection: Some(selection) });
                }
                Err(short) => {
                    let message = "has no budget for the attempt".to_owned();
                    let exclusion = Exclusion { reason: ExclusionReason::BudgetExceeded, message };
                    selection.exclude(agents.name(agent), exclusion);
                    shortage = shortage.or(Some(short));
                }
            }
        }
        Err(shortage.map_or_else(|| Obstacle::Agents(selection.obstacles()), Obstacle::Budget))
    }
}

/// Returns the agents of the other contestants of a node: of their last attempts, and of those that start by this decision.
pub(super) fn agents_of_others(node: &Node, index: usize, starts: &[Assignment], id: NodeId) -> Vec<usize> {
    let Some(contest) = &node.contest else { return Vec::new() };
    let others = contest.contestants.iter().enumerate().filter(|(other, _)| *other != index);
    let last = others.filter(|(_, other)| other.node.attempts > 0).filter_map(|(_, other)| other.node.executor.last());
    last.chain(starts.iter().filter(|start| start.node == id).map(|start| start.agent)).collect()
}

impl Agents {
    /// Returns the name of the agent with this index; empty if there is none.
    pub fn name(&self, index: usize) -> &str {
        self.all.get(index).map_or("", |agent| agent.candidate.name.as_str())
    }

    /// Returns the candidates of the pool.
    fn candidates(&self) -> Vec<&Candidate> {
        self.pool.iter().filter_map(|&index| Some(&self.all.get(index)?.candidate)).collect()
    }

    /// Returns whether another agent of the pool can continue the work of a node, now or at least before the quota of its last agent is
    /// reset at `reset`.
    pub(super) fn can_take_over(&self, node: &Node, reset: Millis) -> bool {
        let Executor::Pool { needs, last: Some(last), .. } = &node.executor else { return false };
        let pool = self.candidates();
        let last = self.name(*last);
        let resets_before = |name: &str| {
            let candidate = pool.iter().find(|candidate| candidate.name == name);
            candidate.and_then(|candidate| candidate.exhausted_until).is_some_and(|until| until < reset)
        };
        selection::select(needs, &pool).candidates.iter().filter(|evaluated| evaluated.agent != last).any(|evaluated| {
            match &evaluated.outcome {
                Outcome::Score(_) => true,
                Outcome::Excluded(exclusion) => match exclusion.reason {
                    ExclusionReason::Busy | ExclusionReason::BudgetExceeded => true,
                    ExclusionReason::QuotaExhausted => resets_before(&evaluated.agent),
                    ExclusionReason::LacksCapability | ExclusionReason::Unusable | ExclusionReason::Contestant => false,
                },
            }
        })
    }

    /// Excludes the agents of other contestants, unless no other agent is eligible.
    fn exclude_others(&self, selection: &mut Selection, others: &[usize]) {
        let is_other = |name: &&str| others.iter().any(|other| self.name(*other) == *name);
        let (taken, free): (Vec<&str>, Vec<&str>) = selection.eligible().partition(is_other);
        if free.is_empty() {
            return;
        }
        let taken: Vec<String> = taken.into_iter().map(str::to_owned).collect();
        for name in &taken {
            let message = "has another attempt of the contest".to_owned();
            selection.exclude(name, Exclusion { reason: ExclusionReason::Contestant, message });
        }
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|agent| agent.candidate.name == name)
    }

    /// Returns the budgets of an attempt at a node with an agent.
    pub fn funding(&self, node: &Node, agent: usize) -> Funding {
        let Executor::Pool { .. } = node.executor else { return node.funding.clone() };
        match self.all.get(agent) {
            Some(agent) if agent.metered => {
                let budgets = node.funding.budgets.iter().copied().chain(agent.budget).collect();
                Funding { budgets, ..node.funding.clone() }
            }
            // Without models it uses no budget.
            _ => Funding::default(),
        }
    }
}
