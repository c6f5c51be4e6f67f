//! The cache's metrics. Their labels hold no names of objects.

use enact_service::metrics::{register, registry};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

#[derive(Clone, Debug)]
pub struct Metrics {
    pub registry: Registry,
    /// `enact_cache_requests_total{route,status}`.
    pub requests: IntCounterVec,
    /// `enact_cache_clones_total{outcome}`: `hit` or `miss`.
    pub clones: IntCounterVec,
    /// `enact_cache_packs_total{outcome}`: packs that arrived, `stored` or `refused`.
    pub packs: IntCounterVec,
    /// `enact_cache_removed_total{reason}`: repositories that were removed, for `space`, `idle` or `packs`.
    pub removed: IntCounterVec,
    /// `enact_cache_sent_bytes_total`.
    pub sent: IntCounter,
    /// `enact_cache_bytes`: size of all packs.
    pub bytes: IntGauge,
    /// `enact_cache_repositories`.
    pub repositories: IntGauge,
    /// `enact_cache_connections`: open connections of runners.
    pub connections: IntGauge,
    /// `enact_cache_health_connections`: open connections of probes.
    pub health_connections: IntGauge,
}

impl Metrics {
    /// Registers the metrics in a new registry.
    ///
    /// # Errors
    /// When two metrics share a name, which is a bug of this crate.
    pub fn new() -> prometheus::Result<Self> {
        let registry = registry("enact_cache", env!("CARGO_PKG_VERSION"))?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        Ok(Self {
            requests: counters("enact_cache_requests_total", "Requests by route and status.", &["route", "status"])?,
            clones: counters("enact_cache_clones_total", "Requested clones by outcome.", &["outcome"])?,
            packs: counters("enact_cache_packs_total", "Packs that arrived, by outcome.", &["outcome"])?,
            removed: counters("enact_cache_removed_total", "Removed repositories by reason.", &["reason"])?,
            sent: register(&registry, IntCounter::new("enact_cache_sent_bytes_total", "Bytes sent to runners.")?)?,
            bytes: gauge("enact_cache_bytes", "Size of all packs, in bytes.")?,
            repositories: gauge("enact_cache_repositories", "Cached repositories.")?,
            connections: gauge("enact_cache_connections", "Open connections of runners.")?,
            health_connections: gauge("enact_cache_health_connections", "Open connections of probes.")?,
            registry,
        })
    }
}
