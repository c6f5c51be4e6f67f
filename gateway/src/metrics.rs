//! The gateway's metrics. Their labels hold no names of objects.

use enact_domain::usage::Charge;
use enact_service::metrics::{register, registry};
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use strum::VariantArray as _;

use crate::denial::DenialKind;

#[derive(Clone, Debug)]
pub struct Metrics {
    pub registry: Registry,
    /// `enact_gateway_requests_total{route,status}`.
    pub requests: IntCounterVec,
    /// `enact_gateway_denials_total{reason}`.
    pub denials: IntCounterVec,
    /// `enact_gateway_upstream_requests_total{outcome}`: requests to providers.
    pub upstream: IntCounterVec,
    /// `enact_gateway_circuit_openings_total`: how often a provider failed again and again, and got no requests for a while.
    pub circuit_openings: IntCounter,
    /// `enact_gateway_settlements_total{outcome}`.
    pub settlements: IntCounterVec,
    /// `enact_gateway_tokens_total{kind}`.
    pub tokens: IntCounterVec,
    /// `enact_gateway_cost_micro_usd_total`.
    pub cost: IntCounter,
    /// `enact_gateway_unpriced_requests_total`: requests to models without a known price.
    pub unpriced: IntCounter,
    /// `enact_gateway_first_byte_seconds{route}`: until the provider's answer begins.
    pub first_byte: HistogramVec,
    /// `enact_gateway_ledger_seconds{operation}`.
    pub ledger_seconds: HistogramVec,
    /// `enact_gateway_ledger_failures_total{operation}`.
    pub ledger_failures: IntCounterVec,
    /// `enact_gateway_unsettled_requests`: requests whose settlement waits for Postgres.
    pub unsettled: IntGauge,
    /// `enact_gateway_request_logs_total{outcome}`: recorded texts of requests.
    pub request_logs: IntCounterVec,
    /// `enact_gateway_streams`: answers in progress.
    pub streams: IntGauge,
    /// `enact_gateway_connections`: open connections of agents.
    pub connections: IntGauge,
    /// `enact_gateway_health_connections`: open connections of probes.
    pub health_connections: IntGauge,
}

impl Metrics {
    /// Registers the metrics in a new registry.
    ///
    /// # Errors
    /// When two metrics share a name, which is a bug of this crate.
    pub fn new() -> prometheus::Result<Self> {
        let registry = registry("enact_gateway", env!("CARGO_PKG_VERSION"))?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(format!("enact_gateway_{name}"), help), labels)?)
        };
        let histogram = |name: &str, help: &str, label: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(format!("enact_gateway_{name}"), help).buckets(buckets.to_vec());
            register(&registry, HistogramVec::new(opts, &[label])?)
        };
        let counter =
            |name: &str, help: &str| register(&registry, IntCounter::new(format!("enact_gateway_{name}"), help)?);
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(format!("enact_gateway_{name}"), help)?);
        let denials = counters("denials_total", "Requests without an answer of a provider.", &["reason"])?;
        // Every reason exists from the start, so that Prometheus sees its first denial as an increase.
        for kind in DenialKind::VARIANTS {
            denials.with_label_values(&[kind.as_str()]);
        }
        let first_byte = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
        let ledger = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
        Ok(Self {
            requests: counters("requests_total", "Requests of agents by route and status.", &["route", "status"])?,
            denials,
            upstream: counters("upstream_requests_total", "Requests to providers by outcome.", &["outcome"])?,
            circuit_openings: counter(
                "circuit_openings_total",
                "How often a provider failed several times in a row and got no requests for a while.",
            )?,
            settlements: counters("settlements_total", "Settled requests by outcome.", &["outcome"])?,
            tokens: counters("tokens_total", "Tokens by kind.", &["kind"])?,
            cost: counter(
                "cost_micro_usd_total",
                "Cost of all requests with a known price, in millionths of a dollar.",
            )?,
            unpriced: counter("unpriced_requests_total", "Requests to models without a known price.")?,
            first_byte: histogram(
                "first_byte_seconds",
                "Time until the provider's answer begins.",
                "route",
                &first_byte,
            )?,
            ledger_seconds: histogram("ledger_seconds", "Time to write usage to Postgres.", "operation", &ledger)?,
            ledger_failures: counters("ledger_failures_total", "Failed writes of usage.", &["operation"])?,
            unsettled: gauge("unsettled_requests", "Requests whose settlement waits for Postgres.")?,
            request_logs: counters("request_logs_total", "Recorded texts of requests by outcome.", &["outcome"])?,
            streams: gauge("streams", "Answers in progress.")?,
            connections: gauge("connections", "Open connections of agents.")?,
            health_connections: gauge("health_connections", "Open connections of probes.")?,
            registry,
        })
    }

    /// Counts the tokens and the cost of a request.
    pub fn charge(&self, charge: &Charge) {
        let tokens = charge.tokens;
        for (kind, count) in [
            ("input", tokens.input),
            ("cached-input", tokens.cached_input),
            ("cache-write", tokens.cache_write),
            ("cache-write-hour", tokens.cache_write_hour),
            ("output", tokens.output),
            ("reasoning", tokens.reasoning),
        ] {
            self.tokens.with_label_values(&[kind]).inc_by(count);
        }
        match charge.cost_micro_usd {
            Some(cost) => self.cost.inc_by(cost),
            None => self.unpriced.inc(),
        }
    }
}
