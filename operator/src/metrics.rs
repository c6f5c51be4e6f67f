//! Prometheus metrics. Labels are kinds, outcomes and reasons, never names of objects.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// Every metric of the operator.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Reconciles by kind and outcome (`ok`, or an error's category).
    pub reconciles: IntCounterVec,
    /// Time of a reconcile by kind, in seconds.
    pub reconcile_seconds: HistogramVec,
    /// Attempts that ended, by reason.
    pub attempts: IntCounterVec,
    /// Writes to the API server by verb and kind.
    pub api_writes: IntCounterVec,
    /// Reconciles under way, by kind.
    pub reconciling: IntGaugeVec,
    /// From the news of an attempt's end to the creation of a pod that waited for it, in seconds.
    pub step_latency: Histogram,
    /// Attempts under way of all tenants.
    pub running: IntGauge,
    /// Plans that could start more if their tenant had room.
    pub waiting_plans: IntGauge,
    /// 1 while this process leads.
    pub leader: IntGauge,
    /// Watches that broke and were taken up again, by kind.
    pub watch_errors: IntCounterVec,
    /// Round trips to Postgres.
    pub database_round_trips: IntCounter,
    /// Records written to Postgres.
    pub records: IntCounter,
}

impl Metrics {
    /// New metrics in a registry of their own.
    ///
    /// # Errors
    /// When a metric is declared twice, which a test would show.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let seconds =
            |name: &str, help: &str, buckets: &[f64]| HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let metrics = Self {
            reconciles: IntCounterVec::new(
                Opts::new("enact_reconciles_total", "Reconciles by kind and outcome."),
                &["kind", "outcome"],
            )?,
            reconcile_seconds: HistogramVec::new(
                seconds("enact_reconcile_duration_seconds", "Time of a reconcile.", &buckets),
                &["kind"],
            )?,
            attempts: IntCounterVec::new(
                Opts::new("enact_attempts_total", "Attempts that ended, by reason."),
                &["reason"],
            )?,
            api_writes: IntCounterVec::new(
                Opts::new("enact_api_writes_total", "Writes to the API server by verb and kind."),
                &["verb", "kind"],
            )?,
            reconciling: IntGaugeVec::new(
                Opts::new("enact_reconciles_in_progress", "Reconciles under way."),
                &["kind"],
            )?,
            step_latency: Histogram::with_opts(seconds(
                "enact_step_latency_seconds",
                "From the news of an attempt's end to the creation of a pod that waited for it.",
                &buckets,
            ))?,
            running: IntGauge::new("enact_running_attempts", "Attempts under way.")?,
            waiting_plans: IntGauge::new(
                "enact_waiting_plans",
                "Plans that could start more if their tenant had room.",
            )?,
            leader: IntGauge::new("enact_leader", "1 while this process leads.")?,
            watch_errors: IntCounterVec::new(
                Opts::new("enact_watch_errors_total", "Watches that broke and were taken up again."),
                &["kind"],
            )?,
            database_round_trips: IntCounter::new(
                "enact_database_round_trips_total",
                "Round trips to Postgres since the start.",
            )?,
            records: IntCounter::new("enact_records_total", "Records written to Postgres.")?,
            registry,
        };
        let info = IntGaugeVec::new(Opts::new("enact_build_info", "The running release."), &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let m = &metrics;
        let all: [Box<dyn prometheus::core::Collector>; 13] = [
            Box::new(m.reconciles.clone()),
            Box::new(m.reconcile_seconds.clone()),
            Box::new(m.attempts.clone()),
            Box::new(m.api_writes.clone()),
            Box::new(m.reconciling.clone()),
            Box::new(m.step_latency.clone()),
            Box::new(m.running.clone()),
            Box::new(m.waiting_plans.clone()),
            Box::new(m.leader.clone()),
            Box::new(m.watch_errors.clone()),
            Box::new(m.database_round_trips.clone()),
            Box::new(m.records.clone()),
            Box::new(info),
        ];
        for collector in all {
            m.registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// The metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When they cannot be encoded.
    pub fn encode(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Counts a write to the API server.
    pub fn wrote(&self, verb: &str, kind: &str) {
        self.api_writes.with_label_values(&[verb, kind]).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The names of metrics in a text, without what Prometheus appends to those of histograms.
    fn names(text: &str) -> BTreeSet<&str> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| w.starts_with("enact_"));
        let plain = |w| ["_bucket", "_sum", "_count"].iter().find_map(|s| str::strip_suffix(w, s)).unwrap_or(w);
        words.map(plain).collect()
    }

    #[test]
    fn alerts_and_dashboard_name_metrics_that_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        let sources = [include_str!("metrics.rs").to_owned(), read("webhook/src/metrics.rs")].concat();
        let known = names(&sources);
        for file in ["charts/enact/files/alerts.yaml", "charts/enact/files/dashboard.json"] {
            let text = read(file);
            let used = names(&text);
            assert!(used.len() > 5, "{file}: {used:?}");
            let unknown: Vec<_> = used.difference(&known).collect();
            assert!(unknown.is_empty(), "{file} names metrics that nothing exports: {unknown:?}");
        }
    }

    #[test]
    fn every_metric_is_registered_and_named_by_the_rules() {
        let metrics = super::Metrics::new().unwrap();
        let text = metrics.encode().unwrap();
        assert!(text.contains("enact_build_info{version="), "{text}");
        for line in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            match kind {
                "counter" => assert!(name.ends_with("_total"), "{name}"),
                "histogram" => assert!(name.ends_with("_seconds"), "{name}"),
                _ => assert!(!name.ends_with("_total"), "{name}"),
            }
        }
    }
}
