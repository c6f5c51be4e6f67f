//! Prometheus metrics. Labels are kinds, outcomes and reasons, never names of objects.

use std::sync::atomic::{AtomicU64, Ordering};

use enact_service::metrics::{add, register, registry};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Every metric of the operator.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// All of them.
    pub registry: Registry,
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
    /// Records written to Postgres.
    pub records: IntCounter,
    /// Open connections of probes.
    pub health_connections: IntGauge,
}

impl Metrics {
    /// New metrics in a registry of their own.
    ///
    /// # Errors
    /// When a metric is declared twice, which a test would show.
    pub fn new() -> prometheus::Result<Self> {
        let registry = registry("enact", env!("CARGO_PKG_VERSION"))?;
        let seconds =
            |name: &str, help: &str, buckets: &[f64]| HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        let reconcile_seconds = HistogramVec::new(
            seconds("enact_reconcile_duration_seconds", "Time of a reconcile.", &buckets),
            &["kind"],
        )?;
        let reconciling =
            IntGaugeVec::new(Opts::new("enact_reconciles_in_progress", "Reconciles under way."), &["kind"])?;
        let step_latency = Histogram::with_opts(seconds(
            "enact_step_latency_seconds",
            "From the news of an attempt's end to the creation of a pod that waited for it.",
            &buckets,
        ))?;
        let records = IntCounter::new("enact_records_total", "Records written to Postgres.")?;
        Ok(Self {
            reconciles: counters("enact_reconciles_total", "Reconciles by kind and outcome.", &["kind", "outcome"])?,
            reconcile_seconds: register(&registry, reconcile_seconds)?,
            attempts: counters("enact_attempts_total", "Attempts that ended, by reason.", &["reason"])?,
            api_writes: counters(
                "enact_api_writes_total",
                "Writes to the API server by verb and kind.",
                &["verb", "kind"],
            )?,
            reconciling: register(&registry, reconciling)?,
            step_latency: register(&registry, step_latency)?,
            running: gauge("enact_running_attempts", "Attempts under way.")?,
            waiting_plans: gauge("enact_waiting_plans", "Plans that could start more if their tenant had room.")?,
            leader: gauge("enact_leader", "1 while this process leads.")?,
            watch_errors: counters(
                "enact_watch_errors_total",
                "Watches that broke and were taken up again.",
                &["kind"],
            )?,
            records: register(&registry, records)?,
            health_connections: gauge("enact_health_connections", "Open connections of probes.")?,
            registry,
        })
    }

    /// Shows the round trips to Postgres, which `read` tells whenever somebody asks for the metrics.
    ///
    /// # Errors
    /// When they are shown already.
    pub fn register_round_trips(&self, read: impl Fn() -> u64 + Send + Sync + 'static) -> prometheus::Result<()> {
        let shown = IntCounter::new("enact_database_round_trips_total", "Round trips to Postgres since the start.")?;
        add(&self.registry, Box::new(Followed { shown, told: AtomicU64::new(0), read }))
    }

    /// Counts a write to the API server.
    pub fn wrote(&self, verb: &str, kind: &str) {
        self.api_writes.with_label_values(&[verb, kind]).inc();
    }
}

/// A counter of what is counted elsewhere.
struct Followed<F> {
    shown: IntCounter,
    /// How much of it is shown.
    told: AtomicU64,
    read: F,
}

impl<F: Fn() -> u64 + Send + Sync> Collector for Followed<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.shown.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = (self.read)();
        // Of two that ask at once, each adds what the other did not.
        let before = self.told.fetch_max(now, Ordering::Relaxed);
        self.shown.inc_by(now.saturating_sub(before));
        self.shown.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use enact_service::metrics::encode;
    use serde_json::json;

    use crate::testing::Bench;

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
        metrics.register_round_trips(|| 7).unwrap();
        let text = encode(&metrics.registry).unwrap();
        assert!(text.contains("enact_build_info{version="), "{text}");
        assert!(encode(&metrics.registry).unwrap().contains("\nenact_database_round_trips_total 7\n"), "{text}");
        for line in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            match kind {
                "counter" => assert!(name.ends_with("_total"), "{name}"),
                "histogram" => assert!(name.ends_with("_seconds"), "{name}"),
                _ => assert!(!name.ends_with("_total"), "{name}"),
            }
        }
    }

    #[tokio::test]
    async fn what_happens_to_objects_is_counted_without_their_names() {
        let mut bench = Bench::new().await;
        bench.agent("canary-agent");
        let task = json!({"id": "CANARY", "title": "canary", "script": "true"});
        bench.api.put(
            "plans/canary",
            json!({"apiVersion": "enact.dev/v1alpha1", "kind": "Plan",
                "metadata": {"name": "canary", "namespace": "ns", "generation": 1, "uid": "canary-uid"},
                "spec": {"agentRef": {"name": "canary-agent"}, "tasks": [task]}}),
        );
        bench.plan("canary").await.unwrap();
        bench.plan("canary").await.unwrap();
        bench.succeed("canary-canary-1").await;
        bench.plan("canary").await.unwrap();
        let text = encode(&bench.contexts.common.metrics.registry).unwrap();
        assert!(text.contains("enact_attempts_total{reason=\"Succeeded\"} 1\n"), "{text}");
        assert!(!text.to_lowercase().contains("canary") && !text.contains("\"ns\""), "{text}");
    }
}
