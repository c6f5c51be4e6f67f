//! Metrics, without names of objects in labels.

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Every metric of the webhook.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// `enact_webhook_request_duration_seconds{webhook,kind,operation,outcome}`.
    pub duration: HistogramVec,
    /// `enact_webhook_certificate_expiry_timestamp_seconds`: 0 while unknown.
    pub certificate_expiry: IntGauge,
    /// `enact_webhook_certificate_events_total{event}`: what was done about certificates (`loaded`, `renewed`, `failed`, …).
    pub certificate_events: IntCounterVec,
    /// `enact_webhook_connections`: connections that are open.
    pub connections: IntGauge,
}

impl Metrics {
    /// Metrics in a registry of their own.
    ///
    /// # Errors
    /// When two metrics share a name, which is a mistake of this crate.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let duration = HistogramVec::new(
            HistogramOpts::new("enact_webhook_request_duration_seconds", "Time to answer an admission request.")
                .buckets(vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]),
            &["webhook", "kind", "operation", "outcome"],
        )?;
        let certificate_expiry = IntGauge::new(
            "enact_webhook_certificate_expiry_timestamp_seconds",
            "When the serving certificate ends; 0 while that is not known.",
        )?;
        let certificate_events = IntCounterVec::new(
            Opts::new("enact_webhook_certificate_events_total", "What was done about certificates."),
            &["event"],
        )?;
        let connections = IntGauge::new("enact_webhook_connections", "Open connections.")?;
        let build = IntGaugeVec::new(Opts::new("enact_webhook_build_info", "The running release."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(certificate_expiry.clone()))?;
        registry.register(Box::new(certificate_events.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(build))?;
        Ok(Self { registry, duration, certificate_expiry, certificate_events, connections })
    }

    /// All metrics in the text format of Prometheus.
    ///
    /// # Errors
    /// When a metric cannot be written, which is a mistake of this crate.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
