//! One request to a provider: it is settled exactly once, whatever happens to it.

use std::sync::Arc;
use std::time::Duration;

use enact_domain::usage::{Charge, Tokens};
use enact_store::{Outcome, Settlement};
use tokio::time::Instant;
use uuid::Uuid;

use crate::limits::{Limited, Limiter};
use crate::metering::Metering;
use crate::metrics::Metrics;
use crate::providers::Pricing;
use crate::request_log::{Recording, RequestLogs};

/// A request that is recorded. When it is dropped without a settlement, the client has left before the provider answered.
pub struct Ticket {
    pub metering: Metering,
    pub metrics: Metrics,
    pub limiter: Arc<Limiter>,
    pub tenant: String,
    pub limited: Vec<Limited>,
    pub id: Uuid,
    pub pricing: Pricing,
    pub estimate: Charge,
    pub begun: Instant,
    pub first_byte: Option<Duration>,
    pub status: u16,
    /// The texts of the request and its answer, if the tenant wants them.
    pub recording: Option<Box<Recording>>,
    pub request_logs: RequestLogs,
    /// Whether the request was sent to the provider, which then charges for it.
    pub is_sent: bool,
    pub is_settled: bool,
}

impl Ticket {
    /// Books what the request used.
    pub fn settle(&mut self, tokens: Tokens, outcome: Outcome) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        let charge = Charge { tokens, cost_micro_usd: self.pricing.cost(&tokens) };
        self.metrics.charge(&charge);
        self.metrics.settlements.with_label_values(&[label(outcome)]).inc();
        self.limiter.settle(&self.tenant, &self.limited, self.estimate.tokens.total(), tokens.total());
        let settlement = Settlement {
            id: self.id,
            charge,
            outcome,
            http_status: self.status,
            first_byte_ms: millis(self.first_byte.unwrap_or_default()),
            duration_ms: millis(self.begun.elapsed()),
        };
        self.metering.settle(&self.tenant, settlement);
        if let Some(recording) = self.recording.take().filter(|_| self.is_sent) {
            self.request_logs.write(&self.tenant, self.id, *recording);
        }
    }

    /// Books nothing: no reservation was made.
    pub fn refused(&mut self) {
        self.is_settled = true;
        self.limiter.settle(&self.tenant, &self.limited, self.estimate.tokens.total(), 0);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The provider has read the input, and how far it got with the output is unknown: a client that leaves must not get it for nothing.
        let tokens = if self.is_sent { self.estimate.tokens } else { Tokens::default() };
        self.settle(tokens, Outcome::Aborted);
    }
}

fn label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::Failed => "failed",
        Outcome::Aborted => "aborted",
        Outcome::Estimated => "estimated",
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
