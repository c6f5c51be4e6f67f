//! Prometheus metrics. Labels are kinds, outcomes and reasons, never names of objects.

use prometheus::core::Collector;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};

/// A registry with `<program>_build_info{version}`. `program` starts the name of each of the program's metrics: `enact_server`.
///
/// # Errors
/// When `program` cannot be part of a metric's name.
pub fn registry(program: &str, version: &str) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    let info = IntGaugeVec::new(Opts::new(format!("{program}_build_info"), "The running release."), &["version"])?;
    info.with_label_values(&[version]).set(1);
    register(&registry, info)?;
    Ok(registry)
}

/// Registers a metric and gives it back.
///
/// # Errors
/// When there is one of its name already.
pub fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// All metrics in Prometheus' text format.
///
/// # Errors
/// When a metric cannot be written.
pub fn encode(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}
