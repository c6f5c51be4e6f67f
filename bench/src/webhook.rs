//! The running webhook: latency and memory at 500 reviews a second, the largest Plan, and a flood of documents by another tenant.

mod client;
mod reviews;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use kube::Client;
use serde_json::Value;
use tokio::task::JoinSet;

use self::client::{Answer, Call, Webhook};
use crate::figures::{Figure, Figures, Times};
use crate::namespace::{self, Namespace};
use crate::process::Process;

/// Reviews a second, and for how many seconds in each repeat.
const RATE: u32 = 500;
const SECONDS: u32 = 5;
/// The largest Plans of a repeat, one after the other.
const PLANS: usize = 100;
/// The tenant that floods, and its authors.
const FLOODING: &str = "enact-bench-flood";
const AUTHORS: u32 = 8;
/// Reviews a second of the other tenant during the flood, and for how many seconds in each repeat.
const OTHER_RATE: u32 = 20;
const FLOOD_SECONDS: u32 = 10;
/// The document of the other tenant: large enough to wait for a slot of the parser.
const OTHER_BYTES: usize = 24 << 10;
/// The documents of the flood, with their sizes in bytes: the largest that an object has, and the largest that the webhook parses.
const FLOODS: [(&str, usize); 2] = [("1 MiB", 1 << 20), ("256 KiB", 256 << 10)];

/// The measured percentiles of each repeat, in milliseconds.
#[derive(Clone, Default)]
struct Percentiles {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Percentiles {
    fn add(&mut self, seconds: Vec<f64>) {
        let times = Times::new(seconds);
        self.p50.push(times.percentile(50) * 1000.0);
        self.p99.push(times.percentile(99) * 1000.0);
    }

    /// Adds the figures of a work and of its reference.
    fn print(self, work: &str, (name, reference): (&'static str, Self), goal: &'static str, figures: &mut Figures) {
        figures.push(Figure::new(format!("{work}, p50"), "ms", self.p50).against(name, reference.p50));
        figures.push(Figure::new(format!("{work}, p99"), "ms", self.p99).against(name, reference.p99).goal(goal));
    }
}

/// Measures the webhook of an installation in a cluster.
///
/// # Errors
/// If the webhook refuses a review, ends, or has not exactly one pod.
pub async fn measure(cluster: &Client, operator: &str, repeats: u32, figures: &mut Figures) -> Result<()> {
    let own = Namespace::set(cluster, namespace::NAME).await?;
    let flooding = Namespace::set(cluster, FLOODING).await?;
    // The process of an earlier installation ends some seconds after its pod is replaced.
    namespace::wait("the only process of the webhook", || async { Ok(Process::find(&["enact-webhook"]).is_ok()) })
        .await?;
    let process = Process::find(&["enact-webhook"])?;
    let webhook = Webhook::find(cluster).await?;
    steady(&webhook, &process, operator, repeats, figures).await?;
    largest(&webhook, repeats, figures).await?;
    for documents in FLOODS {
        flood(&webhook, documents, repeats, figures).await?;
    }
    figures.push(Figure::new("webhook: memory after the floods, peak", "MiB", vec![process.peak_mebibytes()?]));
    own.clear().await?;
    flooding.clear().await
}

/// Measures latency and memory at a steady rate.
async fn steady(
    webhook: &Webhook,
    process: &Process,
    operator: &str,
    repeats: u32,
    figures: &mut Figures,
) -> Result<()> {
    let status = Arc::new(Call::Review(reviews::task_status(namespace::NAME, operator)));
    let plan = Arc::new(Call::Review(reviews::plan(namespace::NAME, 10)));
    let unknown = Arc::new(Call::Unknown);
    let (mut statuses, mut plans, mut bare) = (Percentiles::default(), Percentiles::default(), Percentiles::default());
    let (mut idle, mut peak) = (Vec::new(), Vec::new());
    for call in [&unknown, &status, &plan] {
        webhook.at_rate(call, RATE, 1).await?;
    }
    for _ in 0..repeats {
        bare.add(seconds(webhook.at_rate(&unknown, RATE, SECONDS).await?));
        idle.push(process.resident_mebibytes()?);
        process.forget_peak()?;
        statuses.add(seconds(webhook.at_rate(&status, RATE, SECONDS).await?));
        plans.add(seconds(webhook.at_rate(&plan, RATE, SECONDS).await?));
        peak.push(process.peak_mebibytes()?);
    }
    let name = "unknown path at the same rate";
    statuses.print("webhook: 500 reviews a second of Task statuses", (name, bare.clone()), "≤ 2 ms", figures);
    plans.print("webhook: 500 reviews a second of Plans of 10 tasks", (name, bare), "≤ 2 ms", figures);
    figures.push(
        Figure::new("webhook: memory at 500 reviews a second, peak", "MiB", peak)
            .against("before", idle)
            .goal("≤ 32 MiB"),
    );
    Ok(())
}

/// Measures the largest Plan, without other load.
async fn largest(webhook: &Webhook, repeats: u32, figures: &mut Figures) -> Result<()> {
    let review = reviews::largest_plan(namespace::NAME);
    let work = format!("webhook: a Plan of 5,000 tasks (review of {} KiB)", review.len() >> 10);
    let call = Call::Review(review.clone());
    let (mut plans, mut parsed) = (Percentiles::default(), Percentiles::default());
    for _ in 0..repeats {
        let (mut answered, mut read) = (Vec::with_capacity(PLANS), Vec::with_capacity(PLANS));
        for _ in 0..PLANS {
            answered.push(webhook.send(&call).await?.seconds);
            let began = Instant::now();
            std::hint::black_box(serde_json::from_slice::<Value>(&review)?);
            read.push(began.elapsed().as_secs_f64());
        }
        plans.add(answered);
        parsed.add(read);
    }
    plans.print(&work, ("serde_json reads the review", parsed), "≤ 50 ms", figures);
    Ok(())
}

/// Measures a tenant's reviews while the authors of another tenant send documents of this size without a pause.
async fn flood(webhook: &Webhook, (size, bytes): (&str, usize), repeats: u32, figures: &mut Figures) -> Result<()> {
    let other = reviews::specification(namespace::NAME, "dana@example.org", OTHER_BYTES);
    let other = Arc::new(Call::Review(other));
    let (mut alone, mut beside) = (Percentiles::default(), Percentiles::default());
    let (mut unparsed, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        alone.add(seconds(webhook.at_rate(&other, OTHER_RATE, FLOOD_SECONDS).await?));
        let stop = Arc::new(AtomicBool::new(false));
        let mut authors = JoinSet::new();
        for author in 0..AUTHORS {
            let review = reviews::specification(FLOODING, &format!("author-{author}@example.org"), bytes);
            let (webhook, stop, call) = (webhook.clone(), Arc::clone(&stop), Call::Review(review));
            authors.spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    webhook.send(&call).await?;
                    sent += 1;
                }
                anyhow::Ok(sent)
            });
        }
        let answers = webhook.at_rate(&other, OTHER_RATE, FLOOD_SECONDS).await;
        stop.store(true, Ordering::Relaxed);
        let sent: Vec<u32> = authors.join_all().await.into_iter().collect::<Result<_>>()?;
        rates.push(f64::from(sent.iter().sum::<u32>()) / f64::from(FLOOD_SECONDS));
        let answers = answers?;
        let late = answers.iter().filter(|answer| answer.is_unparsed).count();
        unparsed.push(100.0 * f64::from(u32::try_from(late)?) / f64::from(OTHER_RATE * FLOOD_SECONDS));
        beside.add(seconds(answers));
    }
    let work = format!("webhook: eight authors flood with {size}");
    figures.push(Figure::new(format!("{work}: documents of the flood"), "/s", rates));
    beside.print(&format!("{work}: another tenant's document of 24 KiB"), ("alone", alone), "≤ 250 ms", figures);
    figures.push(Figure::new(format!("{work}: the other's documents that are left to the operator"), "%", unparsed));
    Ok(())
}

fn seconds(answers: Vec<Answer>) -> Vec<f64> {
    answers.into_iter().map(|answer| answer.seconds).collect()
}
