//! The webhook's metrics. Their labels hold no names of objects.

use enact_service::metrics::{register, registry};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

#[derive(Clone, Debug)]
pub struct Metrics {
    pub registry: Registry,
    /// `enact_webhook_request_duration_seconds{webhook,kind,operation,outcome}`.
    pub duration: HistogramVec,
    /// `enact_webhook_certificate_expiry_timestamp_seconds`: 0 while unknown.
    pub certificate_expiry: IntGauge,
    /// `enact_webhook_certificate_events_total{event}`:
    /// `loaded`, `created`, `ca_renewed`, `serving_certificate_renewed`, `published`, `failed`.
    pub certificate_events: IntCounterVec,
    /// `enact_webhook_connections`: open connections for admission.
    pub connections: IntGauge,
    /// `enact_webhook_health_connections`: open connections of probes.
    pub health_connections: IntGauge,
}

impl Metrics {
    /// Registers the metrics in a new registry.
    ///
    /// # Errors
    /// When two metrics share a name, which is a bug of this crate.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = registry("enact_webhook", env!("CARGO_PKG_VERSION"))?;
        let duration = HistogramVec::new(
            HistogramOpts::new("enact_webhook_request_duration_seconds", "Time to answer an admission request.")
                .buckets(vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]),
            &["webhook", "kind", "operation", "outcome"],
        )?;
        let certificate_events = IntCounterVec::new(
            Opts::new(
                "enact_webhook_certificate_events_total",
                "Certificates loaded, created, renewed and published, and failures.",
            ),
            &["event"],
        )?;
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        Ok(Self {
            duration: register(&registry, duration)?,
            certificate_expiry: gauge(
                "enact_webhook_certificate_expiry_timestamp_seconds",
                "When the serving certificate expires; 0 while unknown.",
            )?,
            certificate_events: register(&registry, certificate_events)?,
            connections: gauge("enact_webhook_connections", "Open connections for admission.")?,
            health_connections: gauge("enact_webhook_health_connections", "Open connections of probes.")?,
            registry,
        })
    }
}
