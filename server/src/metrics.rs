//! The server's metrics. Their labels hold no names of objects.

use enact_service::metrics::{register, registry};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

use crate::problem::ProblemKind;

/// Outcomes of accepted deliveries.
pub const ACCEPTED: [&str; 2] = ["stored", "already-there"];

#[derive(Clone, Debug)]
pub struct Metrics {
    pub registry: Registry,
    /// `enact_server_requests_total{route,status}`.
    pub requests: IntCounterVec,
    /// `enact_server_request_duration_seconds{route}`.
    pub duration: HistogramVec,
    /// `enact_server_deliveries_total{outcome}`: `stored`, `already-there`, or the kind of the problem.
    pub deliveries: IntCounterVec,
    /// `enact_server_requests_in_flight`.
    pub in_flight: IntGauge,
    /// `enact_server_connections`: open connections of pods.
    pub connections: IntGauge,
    /// `enact_server_read_connections`: open connections of readers.
    pub read_connections: IntGauge,
    /// `enact_server_push_connections`: open connections of Git hosts.
    pub push_connections: IntGauge,
    /// `enact_server_health_connections`: open connections of probes.
    pub health_connections: IntGauge,
}

impl Metrics {
    /// Registers the metrics in a new registry.
    ///
    /// # Errors
    /// When two metrics share a name, which is a bug of this crate.
    pub fn new() -> prometheus::Result<Self> {
        let registry = registry("enact_server", env!("CARGO_PKG_VERSION"))?;
        let buckets = vec![0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0];
        let requests = IntCounterVec::new(
            Opts::new("enact_server_requests_total", "Requests by route and status."),
            &["route", "status"],
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new("enact_server_request_duration_seconds", "Time to answer a request.").buckets(buckets),
            &["route"],
        )?;
        let deliveries =
            IntCounterVec::new(Opts::new("enact_server_deliveries_total", "Deliveries by outcome."), &["outcome"])?;
        // Every outcome exists from the start, so that Prometheus sees its first delivery as an increase.
        for outcome in ACCEPTED.into_iter().chain(ProblemKind::ALL.map(ProblemKind::as_str)) {
            deliveries.with_label_values(&[outcome]);
        }
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        Ok(Self {
            requests: register(&registry, requests)?,
            duration: register(&registry, duration)?,
            deliveries: register(&registry, deliveries)?,
            in_flight: gauge("enact_server_requests_in_flight", "Requests in progress.")?,
            connections: gauge("enact_server_connections", "Open connections of pods.")?,
            read_connections: gauge("enact_server_read_connections", "Open connections of readers.")?,
            push_connections: gauge("enact_server_push_connections", "Open connections of Git hosts.")?,
            health_connections: gauge("enact_server_health_connections", "Open connections of probes.")?,
            registry,
        })
    }
}
