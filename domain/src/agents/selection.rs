//! Selection: which agent of a pool carries out a task.
//!
//! The score of an agent is the sum of five components. All arithmetic is in integers, and equal scores are ordered by name, so that the
//! same record always gives the same result.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::needs::Needs;
use crate::time::Millis;
use crate::usage::minute;

/// Highest value of each component.
pub const MAX_PROFICIENCY: u32 = 400;
pub const MAX_SUCCESS: u32 = 300;
pub const MAX_LOAD: u32 = 100;
pub const MAX_PRICE: u32 = 100;
pub const MAX_PREFERENCE: u32 = 100;

/// The key in a history for all attempts, whatever they needed.
pub const ANY_CAPABILITY: &str = "";

/// The past attempts of an agent at tasks that needed a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// Number of attempts whose result depended on the agent.
    pub attempts: u32,
    /// Number of those that succeeded.
    pub succeeded: u32,
    /// Median cost of an attempt in micro-USD, if it is known.
    pub median_cost_micro_usd: Option<u64>,
}

/// An agent of a pool, with what is known about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Name of the Agent.
    pub name: String,
    /// Proficiency by capability, from 1 to 100.
    pub capabilities: BTreeMap<String, u8>,
    /// Maximum number of running attempts; 0 for an agent that is suspended.
    pub concurrency: Option<u32>,
    /// Number of running attempts.
    pub running: u32,
    /// Preference of the pool, from 0 to 100.
    pub preference: u8,
    /// Past attempts by capability, and by [`ANY_CAPABILITY`].
    pub history: BTreeMap<String, History>,
    /// Declared costs of an attempt in micro-USD by capability, which count until the cost of past attempts is known.
    pub expected_costs: BTreeMap<String, u64>,
    /// Why no attempt can use the agent, if so.
    pub unusable: Option<String>,
    /// When the quota at its model provider is reset, while it is used up.
    pub exhausted_until: Option<Millis>,
}

/// The components of a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Mean proficiency in what the task needs.
    pub proficiency: u32,
    /// Mean share of successful attempts at tasks with the same needs. An agent without attempts has half of it.
    pub success: u32,
    /// Free share of the agent's concurrency.
    pub load: u32,
    /// Median cost of the cheapest candidate, divided by that of this one; the declared cost while no cost is recorded. Half of the points if
    /// neither is known.
    pub price: u32,
    /// Preference of the pool.
    pub preference: u32,
}

impl Score {
    /// Returns the sum of the components.
    pub fn total(&self) -> u32 {
        self.proficiency + self.success + self.load + self.price + self.preference
    }
}

/// Why an agent cannot have a task now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExclusionReason {
    /// It does not declare a capability that the task needs.
    LacksCapability,
    /// It has as many running attempts as its concurrency allows.
    Busy,
    /// An attempt with it ended because the quota at its model provider is used up.
    QuotaExhausted,
    /// The Agent does not exist, or is not ready.
    Unusable,
    /// A budget does not allow an attempt with it.
    BudgetExceeded,
    /// Another contestant of a contest has it.
    Contestant,
}

/// The exclusion of an agent, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    pub reason: ExclusionReason,
    pub message: String,
}

/// The result for one agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Score(Score),
    Excluded(Exclusion),
}

/// One agent of a pool, evaluated for a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Name of the Agent.
    pub agent: String,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The evaluation of a pool for a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The capabilities that counted.
    pub needs: Vec<String>,
    /// The agents, the best one first and excluded ones last.
    pub candidates: Vec<Evaluated>,
    /// Whether the agent of the previous attempt was kept, whatever its score.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
}

impl Selection {
    /// Returns the names of the agents that can have the task, the best one first.
    pub fn eligible(&self) -> impl Iterator<Item = &str> {
        let scored = |evaluated: &&Evaluated| matches!(evaluated.outcome, Outcome::Score(_));
        self.candidates.iter().filter(scored).map(|evaluated| evaluated.agent.as_str())
    }

    /// Returns all texts, which contain names and messages of objects.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.needs.iter_mut().chain(self.candidates.iter_mut().flat_map(|Evaluated { agent, outcome }| {
            let message = match outcome {
                Outcome::Excluded(exclusion) => Some(&mut exclusion.message),
                Outcome::Score(_) => None,
            };
            [Some(agent), message].into_iter().flatten()
        }))
    }

    /// Excludes an agent for a reason that the evaluation did not know.
    pub fn exclude(&mut self, agent: &str, exclusion: Exclusion) {
        let Some(at) = self.candidates.iter().position(|evaluated| evaluated.agent == agent) else { return };
        let mut evaluated = self.candidates.remove(at);
        evaluated.outcome = Outcome::Excluded(exclusion);
        let eligible = self.eligible().count();
        self.candidates.insert(eligible, evaluated);
    }

    /// Returns why no agent can have the task: each agent with the message of its exclusion.
    pub fn obstacles(&self) -> String {
        let excluded = self.candidates.iter().filter_map(|evaluated| match &evaluated.outcome {
            Outcome::Excluded(exclusion) => Some(format!("{} {}", evaluated.agent, exclusion.message)),
            Outcome::Score(_) => None,
        });
        excluded.collect::<Vec<_>>().join(", ")
    }
}

/// Evaluates the agents of a pool for a task.
pub fn select(needs: &Needs, pool: &[&Candidate]) -> Selection {
    let needs = effective(needs, pool);
    let mut eligible = Vec::new();
    let mut excluded = Vec::new();
    for &candidate in pool {
        match exclusion(candidate, &needs) {
            None => eligible.push(candidate),
            Some(exclusion) => excluded.push((candidate.name.as_str(), exclusion)),
        }
    }
    let cheapest = eligible.iter().filter_map(|candidate| cost(candidate, &needs)).min();
    let mut scored: Vec<(&str, Score)> =
        eligible.iter().map(|candidate| (candidate.name.as_str(), score(candidate, &needs, cheapest))).collect();
    scored.sort_by_key(|(name, score)| (Reverse(score.total()), *name));
    excluded.sort_by_key(|(name, _)| *name);
    let evaluated = |agent: &str, outcome| Evaluated { agent: agent.to_owned(), outcome };
    let scored = scored.into_iter().map(|(name, score)| evaluated(name, Outcome::Score(score)));
    let excluded = excluded.into_iter().map(|(name, exclusion)| evaluated(name, Outcome::Excluded(exclusion)));
    Selection { candidates: scored.chain(excluded).collect(), needs, kept: false }
}

/// Returns the needs that count. Each derived need counts only if some agent of the pool has it together with all that count before it: a
/// text that names many kinds of files must not exclude every agent.
fn effective(needs: &Needs, pool: &[&Candidate]) -> Vec<String> {
    if needs.stated {
        return needs.names.clone();
    }
    let mut able: Vec<&Candidate> = pool.to_vec();
    let mut kept = Vec::new();
    for need in &needs.names {
        let still: Vec<&Candidate> = able.iter().copied().filter(|c| c.capabilities.contains_key(need)).collect();
        if !still.is_empty() {
            able = still;
            kept.push(need.clone());
        }
    }
    kept
}

/// Returns the exclusion of an agent that has as many running attempts as it may have, or is suspended.
pub fn busy(candidate: &Candidate) -> Option<Exclusion> {
    let concurrency = candidate.concurrency.filter(|concurrency| candidate.running >= *concurrency)?;
    let message = match concurrency {
        0 => "is suspended (spec.suspend of the Agent)".to_owned(),
        _ => format!("is busy ({} of {concurrency} attempts)", candidate.running),
    };
    Some(Exclusion { reason: ExclusionReason::Busy, message })
}

fn exclusion(candidate: &Candidate, needs: &[String]) -> Option<Exclusion> {
    let lacking: Vec<&str> =
        needs.iter().map(String::as_str).filter(|need| !candidate.capabilities.contains_key(*need)).collect();
    if !lacking.is_empty() {
        let message = format!("lacks {}", lacking.join(" and "));
        return Some(Exclusion { reason: ExclusionReason::LacksCapability, message });
    }
    if let Some(why) = &candidate.unusable {
        return Some(Exclusion { reason: ExclusionReason::Unusable, message: format!("cannot be used: {why}") });
    }
    if let Some(until) = candidate.exhausted_until {
        let message = format!("has used up its quota, which is reset at {}", minute(until));
        return Some(Exclusion { reason: ExclusionReason::QuotaExhausted, message });
    }
    busy(candidate)
}

fn score(candidate: &Candidate, needs: &[String], cheapest: Option<u64>) -> Score {
    let proficiency = mean(needs.iter().map(|need| {
        let proficiency = candidate.capabilities.get(need).copied().unwrap_or_default().min(100);
        u64::from(proficiency) * u64::from(MAX_PROFICIENCY) / 100
    }));
    let success = mean(histories(candidate, needs).map(|history| {
        // One success and one failure are added, so that a single attempt decides little.
        let succeeded = u64::from(history.succeeded.min(history.attempts)) + 1;
        u64::from(MAX_SUCCESS) * succeeded / (u64::from(history.attempts) + 2)
    }));
    let (running, load) = (u64::from(candidate.running), u64::from(MAX_LOAD));
    let load = match candidate.concurrency.map(u64::from) {
        Some(concurrency) => load * concurrency.saturating_sub(running) / concurrency.max(1),
        None => load / (running + 1),
    };
    let price = match (cheapest, cost(candidate, needs)) {
        (_, Some(0)) => u64::from(MAX_PRICE),
        (Some(cheapest), Some(own)) => cheapest.saturating_mul(u64::from(MAX_PRICE)) / own,
        _ => u64::from(MAX_PRICE) / 2,
    };
    let small = |component: u64| u32::try_from(component).unwrap_or(u32::MAX);
    Score {
        proficiency: small(proficiency),
        success: small(success),
        load: small(load),
        price: small(price.min(u64::from(MAX_PRICE))),
        preference: u32::from(candidate.preference).min(MAX_PREFERENCE),
    }
}

/// Returns the mean of the costs for the needs that are known: of past attempts, else as the agent declares it.
fn cost(candidate: &Candidate, needs: &[String]) -> Option<u64> {
    let cost = |need: &str| {
        let past = candidate.history.get(need).and_then(|history| history.median_cost_micro_usd);
        past.or_else(|| candidate.expected_costs.get(need).copied())
    };
    let known: Vec<u64> = keys(needs).filter_map(cost).collect();
    (!known.is_empty()).then(|| mean(known.into_iter()))
}

/// Returns the histories of an agent for each need; for a task without needs that of all attempts.
fn histories<'a>(candidate: &'a Candidate, needs: &'a [String]) -> impl Iterator<Item = History> + 'a {
    keys(needs).map(|key| candidate.history.get(key).copied().unwrap_or_default())
}

/// Returns the keys of histories that count for a task.
fn keys(needs: &[String]) -> impl Iterator<Item = &str> {
    needs.iter().map(String::as_str).chain(needs.is_empty().then_some(ANY_CAPABILITY))
}

fn mean(values: impl Iterator<Item = u64>) -> u64 {
    let (sum, count) = values.fold((0u64, 0u64), |(sum, count), value| (sum.saturating_add(value), count + 1));
    sum.checked_div(count).unwrap_or_default()
}

#[cfg(test)]
mod tests;
