//! Prometheus metrics. Labels are kinds, outcomes and reasons, never names of objects.

use prometheus::core::Collector;
use prometheus::proto::LabelPair;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};

/// All labels that metrics may have. No label contains the name of an object: only users who may read an object may see its name, and each
/// name would be another time series.
const LABELS: [&str; 10] =
    ["event", "kind", "operation", "outcome", "reason", "route", "status", "verb", "version", "webhook"];

/// Makes a registry with `<program>_build_info{version}`. `program` is the prefix of the program's metrics: `enact_server`.
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

/// Registers a metric and returns it.
///
/// # Errors
/// As [`add`].
pub fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    add(registry, Box::new(metric.clone()))?;
    Ok(metric)
}

/// Registers a collector. Every metric passes through here.
///
/// # Errors
/// When its name is taken, or it has a label that is not in [`LABELS`].
pub fn add(registry: &Registry, metric: Box<dyn Collector>) -> prometheus::Result<()> {
    for desc in metric.desc() {
        let constant = desc.const_label_pairs.iter().map(LabelPair::name);
        let mut labels = desc.variable_labels.iter().map(String::as_str).chain(constant);
        if let Some(label) = labels.find(|label| !LABELS.contains(label)) {
            let problem = format!(
                "metric {} has the label `{label}`; labels are kinds, outcomes and reasons, never names: see LABELS in service/src/metrics.rs",
                desc.fq_name
            );
            return Err(prometheus::Error::Msg(problem));
        }
    }
    registry.register(metric)
}

/// Encodes all metrics in Prometheus' text format.
///
/// # Errors
/// When a metric cannot be written.
pub fn encode(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounterVec;

    use super::*;

    #[test]
    fn rejects_a_label_that_would_hold_names() {
        let registry = registry("enact", "1").unwrap();
        let with = |opts: Opts, labels: &[&str]| register(&registry, IntCounterVec::new(opts, labels).unwrap());
        let opts = |name: &str| Opts::new(name, "Of a test.");
        for label in ["namespace", "name", "uid", "plan", "task", "tenant", "user", "url"] {
            let error = with(opts("enact_a_total"), &["kind", label]).unwrap_err().to_string();
            assert!(error.contains("enact_a_total") && error.contains(&format!("`{label}`")), "{error}");
            with(opts("enact_a_total").const_label(label, "x"), &["kind"]).unwrap_err();
        }
        with(opts("enact_a_total"), &["kind", "outcome"]).unwrap().with_label_values(&["Plan", "ok"]).inc();
        let text = encode(&registry).unwrap();
        assert!(text.contains("enact_a_total{kind=\"Plan\",outcome=\"ok\"} 1\n"), "{text}");
    }
}
