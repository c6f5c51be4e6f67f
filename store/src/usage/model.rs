use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Charge, Scope, Tokens};
use serde::Serialize;
use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

use crate::sanitise::{clean, truncate};

/// Most tokens of one kind in one request. A model server that reports more must not be able to overflow the counters.
const MAX_TOKENS: u64 = 1_000_000_000_000;
/// Highest cost of one request, in micro-USD, for the same reason.
const MAX_COST: u64 = 10_000_000_000_000;
/// Longest name of a model, in bytes. Names come from agents.
const MAX_MODEL_BYTES: usize = 256;

/// A model request of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRequest {
    pub id: Uuid,
    pub at: Millis,
    /// Namespace of the attempt's pod.
    pub namespace: String,
    /// Empty for a request that belongs to no plan, like the UID and the task.
    pub plan: String,
    pub plan_uid: String,
    /// Name of the Task object.
    pub task: String,
    /// UID of the Task. For a draft of a document, which belongs to no plan, it is the UID of the pod.
    pub task_uid: String,
    pub attempt: u32,
    /// `<namespace>/<name>` of the Agent.
    pub agent: String,
    pub provider: String,
    pub model: String,
    /// What the request will use at most.
    pub estimate: Charge,
}

/// The outcome of opening a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "it lives as long as the beginning of a request")]
pub enum Opened {
    Accepted,
    /// A budget does not allow the request.
    Refused {
        scope: Scope,
        balance: Balance,
    },
    /// The request was opened before.
    Duplicate,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
pub enum Outcome {
    Completed,
    /// The provider answered with an error, or not at all.
    Failed,
    /// The agent closed the connection.
    Aborted,
    /// The end is unknown. The charge is the estimate.
    Estimated,
}

impl Outcome {
    /// Returns the stored name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What a request used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub id: Uuid,
    pub charge: Charge,
    pub outcome: Outcome,
    pub http_status: u16,
    pub first_byte_ms: u32,
    pub duration_ms: u32,
}

impl ModelRequest {
    /// Returns the scopes that the request counts for, from the narrowest to the widest.
    pub fn scopes(&self) -> Vec<Scope> {
        Scope::of_request(&self.task_uid, self.attempt, &self.plan_uid, &self.agent, self.at)
    }

    /// Returns the request with texts that Postgres accepts and an estimate within the bounds.
    pub(super) fn sanitised(&self) -> Self {
        let mut request = self.clone();
        for text in [
            &mut request.namespace,
            &mut request.plan,
            &mut request.plan_uid,
            &mut request.task,
            &mut request.task_uid,
            &mut request.agent,
            &mut request.provider,
        ] {
            clean(text);
        }
        truncate(&mut request.model, MAX_MODEL_BYTES);
        request.estimate = bounded(&request.estimate);
        request
    }
}

/// Returns the charge with amounts that the counters can hold.
pub(super) fn bounded(charge: &Charge) -> Charge {
    let Tokens { input, cached_input, cache_write, cache_write_hour, output, reasoning } = charge.tokens;
    Charge {
        tokens: Tokens {
            input: input.min(MAX_TOKENS),
            cached_input: cached_input.min(MAX_TOKENS),
            cache_write: cache_write.min(MAX_TOKENS),
            cache_write_hour: cache_write_hour.min(cache_write).min(MAX_TOKENS),
            output: output.min(MAX_TOKENS),
            reasoning: reasoning.min(MAX_TOKENS),
        },
        cost_micro_usd: charge.cost_micro_usd.map(|cost| cost.min(MAX_COST)),
    }
}

/// A request with its amounts as a row of `enact.model_requests`, in the form that statements receive.
#[derive(Serialize)]
pub(super) struct NewRequest<'r> {
    id: String,
    at: i64,
    namespace: &'r str,
    plan: &'r str,
    plan_uid: &'r str,
    task: &'r str,
    task_uid: &'r str,
    attempt: u32,
    agent: &'r str,
    provider: &'r str,
    model: &'r str,
    #[serde(flatten)]
    amounts: Amounts,
    scopes: Vec<String>,
}

impl<'r> NewRequest<'r> {
    /// Returns the row with the amounts of `charge`.
    pub fn new(request: &'r ModelRequest, charge: &Charge) -> Self {
        Self {
            id: request.id.to_string(),
            at: request.at.0,
            namespace: &request.namespace,
            plan: &request.plan,
            plan_uid: &request.plan_uid,
            task: &request.task,
            task_uid: &request.task_uid,
            attempt: request.attempt,
            agent: &request.agent,
            provider: &request.provider,
            model: &request.model,
            amounts: charge.into(),
            scopes: request.scopes().iter().map(Scope::key).collect(),
        }
    }
}

/// The amounts of a charge as columns. They can be negative in a difference.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Amounts {
    pub input: i64,
    pub cached_input: i64,
    pub cache_write: i64,
    /// A part of `cache_write`, which budgets do not have: it is in the cost.
    pub cache_write_hour: i64,
    pub output: i64,
    pub reasoning: i64,
    pub cost: Option<i64>,
}

impl From<&Charge> for Amounts {
    fn from(charge: &Charge) -> Self {
        let charge = bounded(charge);
        Self {
            input: signed(charge.tokens.input),
            cached_input: signed(charge.tokens.cached_input),
            cache_write: signed(charge.tokens.cache_write),
            cache_write_hour: signed(charge.tokens.cache_write_hour),
            output: signed(charge.tokens.output),
            reasoning: signed(charge.tokens.reasoning),
            cost: charge.cost_micro_usd.map(signed),
        }
    }
}

impl Amounts {
    /// Adds `other`, `times` times.
    pub fn add(&mut self, other: &Self, times: i64) {
        let add = |own: &mut i64, other: i64| *own = own.saturating_add(other.saturating_mul(times));
        add(&mut self.input, other.input);
        add(&mut self.cached_input, other.cached_input);
        add(&mut self.cache_write, other.cache_write);
        add(&mut self.cache_write_hour, other.cache_write_hour);
        add(&mut self.output, other.output);
        add(&mut self.reasoning, other.reasoning);
        if let Some(cost) = other.cost {
            add(self.cost.get_or_insert(0), cost);
        }
    }

    /// Returns all tokens.
    pub fn tokens(&self) -> i64 {
        self.input.saturating_add(self.cached_input).saturating_add(self.cache_write).saturating_add(self.output)
    }
}

/// Returns the number as Postgres stores it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns a stored number. Counters are never negative.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
