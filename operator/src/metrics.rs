//! Prometheus metrics. Labels are kinds, outcomes and reasons, never names of objects.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use enact_service::metrics::{add, register, registry};
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// The metrics of the operator. The help texts below describe them.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub registry: Registry,
    pub reconciles: IntCounterVec,
    pub reconcile_seconds: HistogramVec,
    pub attempts: IntCounterVec,
    pub api_writes: IntCounterVec,
    pub reconciling: IntGaugeVec,
    pub step_latency: Histogram,
    pub running: IntGauge,
    pub waiting_plans: IntGauge,
    pub warm_pool_waiting: IntGauge,
    pub warm_pool_attempts: IntCounterVec,
    pub warm_pool_assignment: Histogram,
    pub leader: IntGauge,
    pub watch_errors: IntCounterVec,
    pub records: IntCounter,
    pub erased_rows: IntCounter,
    pub health_connections: IntGauge,
}

impl Metrics {
    /// Registers the metrics in a new registry.
    ///
    /// # Errors
    /// When a metric is declared twice, which a test detects.
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
            seconds("enact_reconcile_duration_seconds", "Duration of a reconcile in seconds, by kind.", &buckets),
            &["kind"],
        )?;
        let reconciling = IntGaugeVec::new(
            Opts::new("enact_reconciles_in_progress", "Reconciles that run now, by kind."),
            &["kind"],
        )?;
        let step_latency = Histogram::with_opts(seconds(
            "enact_step_latency_seconds",
            "Seconds from the event of an attempt's end to the creation of a pod that depended on it.",
            &buckets,
        ))?;
        let warm_pool_assignment = Histogram::with_opts(seconds(
            "enact_warm_pool_assignment_seconds",
            "Seconds from the reconcile that found that an attempt may start to the assignment of a waiting pod.",
            &buckets,
        ))?;
        let records = IntCounter::new("enact_records_total", "Records written to Postgres.")?;
        let erased_rows = IntCounter::new(
            "enact_record_erased_rows_total",
            "Rows of former tenants erased from the record because another Tenant has their name.",
        )?;
        Ok(Self {
            reconciles: counters(
                "enact_reconciles_total",
                "Reconciles by kind and outcome: ok, or the category of the error.",
                &["kind", "outcome"],
            )?,
            reconcile_seconds: register(&registry, reconcile_seconds)?,
            attempts: counters("enact_attempts_total", "Attempts that ended, by reason.", &["reason"])?,
            api_writes: counters(
                "enact_api_writes_total",
                "Writes to the API server by verb and kind.",
                &["verb", "kind"],
            )?,
            reconciling: register(&registry, reconciling)?,
            step_latency: register(&registry, step_latency)?,
            running: gauge("enact_running_attempts", "Running attempts of all tenants.")?,
            waiting_plans: gauge("enact_waiting_plans", "Plans that wait for a free slot of their tenant.")?,
            warm_pool_waiting: gauge("enact_warm_pool_waiting_pods", "Pods of warm pools that wait for an attempt.")?,
            warm_pool_attempts: counters(
                "enact_warm_pool_attempts_total",
                "Attempts of agents with a warm pool that started, by outcome: assigned (a waiting pod), none (no pod fits), \
                 or lost (the pod was gone before it could be assigned).",
                &["outcome"],
            )?,
            warm_pool_assignment: register(&registry, warm_pool_assignment)?,
            leader: gauge("enact_leader", "1 while this process is the leader.")?,
            watch_errors: counters(
                "enact_watch_errors_total",
                "Watches that failed and were restarted, by kind.",
                &["kind"],
            )?,
            records: register(&registry, records)?,
            erased_rows: register(&registry, erased_rows)?,
            health_connections: gauge("enact_health_connections", "Open connections to the health endpoint.")?,
            registry,
        })
    }

    /// Registers a counter of the round trips to Postgres; each scrape calls `read`.
    ///
    /// # Errors
    /// When the counter is registered already.
    pub fn register_round_trips(&self, read: impl Fn() -> u64 + Send + Sync + 'static) -> prometheus::Result<()> {
        let counter = IntCounter::new("enact_database_round_trips_total", "Round trips to Postgres since the start.")?;
        add(&self.registry, Box::new(MirroredCounter { counter, last: AtomicU64::new(0), read }))
    }

    /// Registers a gauge of the plans that wait, by reason; each scrape calls `read`.
    ///
    /// # Errors
    /// When the gauge is registered already.
    pub fn register_waits(
        &self,
        read: impl Fn() -> BTreeMap<String, i64> + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        let help = "Plans that wait, or one of whose attempts cannot start, by the reason in status.waiting.";
        let gauge = IntGaugeVec::new(Opts::new("enact_plan_waits", help), &["reason"])?;
        add(&self.registry, Box::new(ReadGauge { gauge, turn: Mutex::default(), read }))
    }

    /// Counts a write to the API server.
    pub fn wrote(&self, verb: &str, kind: &str) {
        self.api_writes.with_label_values(&[verb, kind]).inc();
    }
}

/// A counter whose value is counted elsewhere.
struct MirroredCounter<F> {
    counter: IntCounter,
    /// The last value that was read.
    last: AtomicU64,
    read: F,
}

impl<F: Fn() -> u64 + Send + Sync> Collector for MirroredCounter<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.counter.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = (self.read)();
        // Two concurrent scrapes must not add the same difference twice.
        let before = self.last.fetch_max(now, Ordering::Relaxed);
        self.counter.inc_by(now.saturating_sub(before));
        self.counter.collect()
    }
}

/// A gauge by reason whose values are counted at each scrape.
struct ReadGauge<F> {
    gauge: IntGaugeVec,
    /// Held during a scrape: another one must not see the gauge without values.
    turn: Mutex<()>,
    read: F,
}

impl<F: Fn() -> BTreeMap<String, i64> + Send + Sync> Collector for ReadGauge<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _turn = self.turn.lock();
        self.gauge.reset();
        for (reason, number) in (self.read)() {
            self.gauge.with_label_values(&[reason.as_str()]).set(number);
        }
        self.gauge.collect()
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
    fn alerts_and_dashboard_use_existing_metrics() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        let others = ["webhook/src/metrics.rs", "gateway/src/metrics.rs"].map(read);
        let sources = include_str!("metrics.rs").to_owned() + &others.concat();
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
    fn metric_names_follow_the_conventions() {
        let metrics = super::Metrics::new().unwrap();
        metrics.register_round_trips(|| 7).unwrap();
        metrics.register_waits(|| [("Unschedulable".to_owned(), 2)].into()).unwrap();
        assert!(encode(&metrics.registry).unwrap().contains("enact_plan_waits{reason=\"Unschedulable\"} 2\n"));
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
    async fn metrics_contain_no_object_names() {
        let mut bench = Bench::new().await;
        bench.agent("canary-agent");
        let task = json!({"id": "CANARY", "title": "canary", "script": "true"});
        let spec = json!({"agentRef": {"name": "canary-agent"}, "tasks": [task]});
        bench.put_plan_with("canary", &json!({"uid": "canary-uid"}), &spec);
        bench.plan("canary").await.unwrap();
        bench.plan("canary").await.unwrap();
        bench.succeed("canary-canary-1").await;
        bench.plan("canary").await.unwrap();
        let text = encode(&bench.contexts.common.metrics.registry).unwrap();
        assert!(text.contains("enact_attempts_total{reason=\"Succeeded\"} 1\n"), "{text}");
        assert!(!text.to_lowercase().contains("canary") && !text.contains("\"ns\""), "{text}");
    }
}
