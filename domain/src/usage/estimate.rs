//! Estimate of a plan: what its tasks will probably use of models and how long they will take, from finished tasks of the same tenant.
//!
//! All numbers are integers. Amounts are sums of means, since a rare expensive task costs real money and a median ignores it. Durations use
//! medians: a single task that waited for hours says nothing about the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::graph::{Graph, NodeId};

/// Least number of finished tasks from which an estimate is made.
pub const MIN_SAMPLES: usize = 5;
/// Most tokens, micro-USD or seconds of one sample. With it, no sum or product below can overflow.
const MAX_AMOUNT: u64 = 10_000_000_000_000;

/// A task of the past that has succeeded, with all its attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub worker: Worker,
    pub tokens: u64,
    /// None if the price of a part is unknown.
    pub cost_micro_usd: Option<u64>,
    /// Sum of the durations of its attempts.
    pub seconds: u64,
}

/// The agent of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worker {
    /// `<namespace>/<name>` of the Agent.
    pub agent: String,
    /// What similar agents share: adapter and model. Empty if it is unknown.
    pub model: String,
    /// Whether it uses models.
    pub metered: bool,
}

/// Which finished tasks an estimate is made from. A later value is less certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Those of the same Agent.
    #[default]
    Agent,
    /// Those of Agents with the same adapter and model.
    Model,
    /// Those of all the tenant's Agents that use models.
    Tenant,
    /// There are too few.
    Unknown,
}

/// An expected value and its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub low: u64,
    pub expected: u64,
    pub high: u64,
}

/// The estimate of a plan. A value is none if there are too few samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    pub tokens: Option<Range>,
    /// None also if the price of a model is unknown.
    pub cost_micro_usd: Option<Range>,
    pub seconds: Option<Range>,
    /// Number of finished tasks behind the least certain part.
    pub samples: usize,
    /// The least certain basis of the tasks that use models.
    pub basis: Basis,
}

/// The tasks of a plan.
#[derive(Clone, Debug)]
pub struct Work<'a> {
    pub graph: &'a Graph,
    /// The agents of the tasks, in the order of the tasks.
    pub workers: Vec<Worker>,
    /// The agents of further contestants of tasks with competing attempts: they use models too, and take no further time.
    pub contestants: Vec<Worker>,
    /// The priorities of the tasks, in the same order.
    pub priorities: Vec<i32>,
    /// Maximum number of attempts at once.
    pub parallelism: u32,
}

/// Estimates the tasks of a plan from finished tasks.
///
/// Tasks that use models count with the mean of the samples of their Agent; of Agents with the same adapter and model if their own Agent has
/// fewer than [`MIN_SAMPLES`]; else of all the tenant's Agents that use models. The bounds of tokens and cost hold for at least four of five
/// plans whose tasks are like the samples and independent of each other. The duration is that of a simulated run without waiting for people
/// or for other plans, and without the integration; its bounds are runs in which every task takes the lower or the upper quartile.
pub fn estimate<'a>(samples: &'a [Sample], work: &Work<'_>) -> Estimate {
    let mut pools: BTreeMap<&Worker, Option<Pool<'a>>> = BTreeMap::new();
    for worker in work.workers.iter().chain(&work.contestants) {
        pools.entry(worker).or_insert_with(|| Pool::of(samples, worker));
    }
    let Some(groups) = groups(work, &pools) else {
        let known = samples.iter().filter(|sample| sample.worker.metered).count();
        return Estimate { samples: known, basis: Basis::Unknown, ..Estimate::default() };
    };
    let sum = |amounts: fn(&Pool<'a>) -> Vec<u64>| {
        let parts = groups.iter().map(|(count, pool)| Sum::of(*count, &amounts(pool)));
        Some(Sum::total(&parts.collect::<Option<Vec<Sum>>>()?))
    };
    Estimate {
        tokens: sum(Pool::tokens),
        cost_micro_usd: sum(Pool::costs),
        seconds: duration(work, &pools),
        samples: groups.iter().map(|(_, pool)| pool.samples.len()).min().unwrap_or(0),
        basis: groups.iter().map(|(_, pool)| pool.basis).max().unwrap_or_default(),
    }
}

/// Counts the tasks that use models by the samples that they share; none if there are no samples for one of them.
fn groups<'p, 'a>(
    work: &'p Work<'_>,
    pools: &'p BTreeMap<&Worker, Option<Pool<'a>>>,
) -> Option<Vec<(u64, &'p Pool<'a>)>> {
    let mut groups: BTreeMap<(Basis, &str), (u64, &Pool<'a>)> = BTreeMap::new();
    for worker in work.workers.iter().chain(&work.contestants).filter(|worker| worker.metered) {
        let pool = pools[worker].as_ref()?;
        let shared = match pool.basis {
            Basis::Agent => worker.agent.as_str(),
            Basis::Model => worker.model.as_str(),
            Basis::Tenant | Basis::Unknown => "",
        };
        groups.entry((pool.basis, shared)).or_insert((0, pool)).0 += 1;
    }
    Some(groups.into_values().collect())
}

/// The samples for tasks of one agent.
struct Pool<'a> {
    basis: Basis,
    samples: Vec<&'a Sample>,
}

impl<'a> Pool<'a> {
    /// Returns the most similar samples of which there are enough.
    fn of(samples: &'a [Sample], worker: &Worker) -> Option<Self> {
        let is_similar = |basis: Basis, sample: &Sample| match basis {
            Basis::Agent => sample.worker.agent == worker.agent && sample.worker.metered == worker.metered,
            Basis::Model => !worker.model.is_empty() && sample.worker.model == worker.model,
            // Scripts take seconds and agents minutes: neither says anything about the other.
            Basis::Tenant => worker.metered && sample.worker.metered,
            Basis::Unknown => false,
        };
        [Basis::Agent, Basis::Model, Basis::Tenant].into_iter().find_map(|basis| {
            let samples: Vec<&Sample> = samples.iter().filter(|sample| is_similar(basis, sample)).collect();
            (samples.len() >= MIN_SAMPLES).then_some(Self { basis, samples })
        })
    }

    fn tokens(&self) -> Vec<u64> {
        self.samples.iter().map(|sample| sample.tokens).collect()
    }

    /// Returns the known costs.
    fn costs(&self) -> Vec<u64> {
        self.samples.iter().filter_map(|sample| sample.cost_micro_usd).collect()
    }

    /// Returns the lower quartile, the median and the upper quartile of the durations.
    fn seconds(&self) -> [u64; 3] {
        let mut seconds: Vec<u64> = self.samples.iter().map(|sample| sample.seconds.min(MAX_AMOUNT)).collect();
        seconds.sort_unstable();
        [1, 2, 3].map(|quarter| seconds[(seconds.len() - 1) * quarter / 4])
    }
}

/// The sum of what several tasks use.
#[derive(Clone, Copy, Default)]
struct Sum {
    expected: u128,
    variance: u128,
}

impl Sum {
    /// Returns the sum of `count` tasks like the samples; none if these are too few.
    fn of(count: u64, amounts: &[u64]) -> Option<Self> {
        if amounts.len() < MIN_SAMPLES {
            return None;
        }
        let (count, samples) = (u128::from(count), amounts.len() as u128);
        let amounts = || amounts.iter().map(|amount| u128::from((*amount).min(MAX_AMOUNT)));
        let (sum, squares) = (amounts().sum::<u128>(), amounts().map(|amount| amount * amount).sum::<u128>());
        // The variance of one task, of Σ(x - mean)² = Σx² - (Σx)²/n.
        let variance = (squares - (sum * sum / samples).min(squares)).div_ceil(samples - 1);
        // The mean of the samples has an error itself, which all tasks share: count² × variance / samples.
        let variance = variance.saturating_mul(count * (samples + count)).div_ceil(samples);
        Some(Self { expected: (sum * count).div_ceil(samples), variance })
    }

    /// Returns the range of the sum of independent parts. Its bounds are one and a half standard deviations from the expected value: Student's
    /// t for 80 % and the least number of samples.
    fn total(parts: &[Self]) -> Range {
        let expected = parts.iter().map(|part| part.expected).fold(0, u128::saturating_add);
        let variance = parts.iter().map(|part| part.variance).fold(0, u128::saturating_add);
        let error = variance.isqrt().saturating_mul(3).div_ceil(2);
        let number = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
        Range {
            low: number(expected.saturating_sub(error)),
            expected: number(expected),
            high: number(expected.saturating_add(error)),
        }
    }
}

/// Returns the duration of a run; none if the durations of a task's agent are unknown.
fn duration(work: &Work<'_>, pools: &BTreeMap<&Worker, Option<Pool<'_>>>) -> Option<Range> {
    let quartiles: BTreeMap<&Worker, [u64; 3]> =
        pools.iter().map(|(worker, pool)| Some((*worker, pool.as_ref()?.seconds()))).collect::<Option<_>>()?;
    let [low, expected, high] = [0, 1, 2].map(|quartile| {
        let seconds: Vec<u64> = work.workers.iter().map(|worker| quartiles[worker][quartile]).collect();
        simulate(work, &seconds)
    });
    // Shorter tasks can start in another order and then take longer together.
    Some(Range { low: low.min(expected), expected, high: high.max(expected) })
}

/// Returns how long the tasks take if each takes these seconds and starts in the scheduler's order: by priority, longest chain of
/// dependents, and position.
fn simulate(work: &Work<'_>, seconds: &[u64]) -> u64 {
    let graph = work.graph;
    let mut unmet: Vec<usize> = (0..graph.len()).map(|i| graph.dependencies(NodeId::Task(i)).len()).collect();
    let mut dependents = vec![Vec::new(); graph.len()];
    for task in 0..graph.len() {
        graph.dependencies(NodeId::Task(task)).iter().for_each(|&dependency| dependents[dependency].push(task));
    }
    let key = |task: usize| (work.priorities[task], graph.remaining(NodeId::Task(task)), Reverse(task));
    let mut ready: BinaryHeap<_> = (0..graph.len()).filter(|&task| unmet[task] == 0).map(key).collect();
    let mut running: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let slots = usize::try_from(work.parallelism).unwrap_or(usize::MAX).max(1);
    let mut now = 0;
    loop {
        while running.len() < slots
            && let Some((_, _, Reverse(task))) = ready.pop()
        {
            running.push(Reverse((u64::saturating_add(now, seconds[task]), task)));
        }
        let Some(Reverse((end, task))) = running.pop() else { return now };
        now = end;
        for &dependent in &dependents[task] {
            unmet[dependent] -= 1;
            if unmet[dependent] == 0 {
                ready.push(key(dependent));
            }
        }
    }
}

impl Range {
    /// Returns the range with two significant digits, so that it changes only when it matters. The bounds are rounded outwards.
    #[must_use]
    pub fn rounded(self) -> Self {
        let Self { low, expected, high } = self;
        let step = |number: u64| number.checked_ilog10().map_or(1, |digits| 10_u64.pow(digits.saturating_sub(1)));
        let down = |number: u64| number / step(number) * step(number);
        let up = |number: u64| number.div_ceil(step(number)).saturating_mul(step(number));
        let nearest =
            |number: u64| if number - down(number) >= step(number).div_ceil(2) { up(number) } else { down(number) };
        Self { low: down(low), expected: nearest(expected), high: up(high) }
    }
}

impl Estimate {
    /// Returns the estimate with two significant digits in each number.
    #[must_use]
    pub fn rounded(self) -> Self {
        let rounded = |range: Option<Range>| range.map(Range::rounded);
        Self {
            tokens: rounded(self.tokens),
            cost_micro_usd: rounded(self.cost_micro_usd),
            seconds: rounded(self.seconds),
            ..self
        }
    }
}

/// Returns by how many percent `actual` is above `expected`; negative if it is below. None if nothing was expected.
pub fn deviation_percent(expected: u64, actual: u64) -> Option<i64> {
    let difference = i128::from(actual) - i128::from(expected);
    let percent = (difference * 100).checked_div(i128::from(expected))?;
    Some(i64::try_from(percent).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(agent: &str, model: &str) -> Worker {
        Worker { agent: agent.into(), model: model.into(), metered: !model.starts_with("Command") }
    }

    fn samples(worker: &Worker, amounts: &[u64]) -> Vec<Sample> {
        let sample = |&amount: &u64| Sample {
            worker: worker.clone(),
            tokens: amount,
            cost_micro_usd: Some(amount * 10),
            seconds: amount,
        };
        amounts.iter().map(sample).collect()
    }

    fn graph(tasks: &[(&str, &[&str])]) -> Graph {
        Graph::build(tasks.iter().map(|(id, needs)| (*id, needs.iter().copied()))).unwrap()
    }

    fn work<'a>(graph: &'a Graph, worker: &Worker, parallelism: u32) -> Work<'a> {
        let workers = vec![worker.clone(); graph.len()];
        Work { graph, workers, contestants: Vec::new(), priorities: vec![0; graph.len()], parallelism }
    }

    #[test]
    fn an_amount_is_the_sum_of_means() {
        let (coder, graph) = (worker("shop/coder", "Codex/gpt-5"), graph(&[("a", &[]), ("b", &[])]));
        let same = estimate(&samples(&coder, &[100; 5]), &work(&graph, &coder, 2));
        assert_eq!(same.tokens, Some(Range { low: 200, expected: 200, high: 200 }), "no difference, no error");
        assert_eq!((same.samples, same.basis), (5, Basis::Agent));
        // Mean 30 and variance 250 of one task; 2 × 250 × (1 + 2/5) of two, whose root is 26.
        let spread = estimate(&samples(&coder, &[10, 20, 30, 40, 50]), &work(&graph, &coder, 2));
        assert_eq!(spread.tokens, Some(Range { low: 60 - 39, expected: 60, high: 60 + 39 }));
        assert_eq!(spread.cost_micro_usd.unwrap().expected, 600);
        assert_eq!(spread.seconds, Some(Range { low: 20, expected: 30, high: 40 }), "quartiles, both at once");
    }

    #[test]
    fn too_few_samples_are_no_estimate() {
        let (coder, graph) = (worker("shop/coder", "Codex/gpt-5"), graph(&[("a", &[])]));
        let unknown = estimate(&samples(&coder, &[100; 4]), &work(&graph, &coder, 1));
        let expected = Estimate { samples: 4, basis: Basis::Unknown, ..Estimate::default() };
        assert_eq!(unknown, expected);
        let mut unpriced = samples(&coder, &[100; 9]);
        unpriced[4..].iter_mut().for_each(|sample| sample.cost_micro_usd = None);
        let estimated = estimate(&unpriced, &work(&graph, &coder, 1));
        assert_eq!(estimated.cost_micro_usd, None, "an unknown price is not zero");
        assert_eq!(estimated.tokens.unwrap().expected, 100);
    }

    #[test]
    fn similar_agents_replace_missing_samples() {
        let (coder, graph) = (worker("shop/coder", "Codex/gpt-5"), graph(&[("a", &[])]));
        let other = samples(&worker("other/claude", "ClaudeCode/opus"), &[100; 5]);
        let of_tenant = estimate(&other, &work(&graph, &coder, 1));
        assert_eq!((of_tenant.tokens.unwrap().expected, of_tenant.basis), (100, Basis::Tenant));
        let twin = samples(&worker("other/coder", "Codex/gpt-5"), &[200; 5]);
        let of_model = estimate(&[other.clone(), twin].concat(), &work(&graph, &coder, 1));
        assert_eq!((of_model.tokens.unwrap().expected, of_model.basis), (200, Basis::Model));
        let scripts = samples(&worker("shop/scripts", "Command"), &[1; 9]);
        assert_eq!(estimate(&scripts, &work(&graph, &coder, 1)).basis, Basis::Unknown, "scripts use no models");
    }

    #[test]
    fn agents_with_the_same_samples_share_their_error() {
        let (one, two) = (worker("shop/one", "Codex/gpt-5"), worker("shop/two", "ClaudeCode/opus"));
        let others = samples(&worker("other/agent", "QwenCode/qwen3"), &[10, 20, 30, 40, 50]);
        let graph = graph(&[("a", &[]), ("b", &[])]);
        let mut mixed = work(&graph, &one, 2);
        mixed.workers[1] = two;
        assert_eq!(estimate(&others, &mixed), estimate(&others, &work(&graph, &one, 2)));
    }

    #[test]
    fn a_script_costs_nothing_and_takes_time() {
        let (coder, script) = (worker("shop/coder", "Codex/gpt-5"), worker("shop/scripts", "Command"));
        let graph = graph(&[("a", &[]), ("b", &["a"])]);
        let mut work = work(&graph, &coder, 1);
        work.workers[1] = script.clone();
        let estimated = estimate(&[samples(&coder, &[60; 5]), samples(&script, &[5; 5])].concat(), &work);
        assert_eq!((estimated.tokens.unwrap().expected, estimated.seconds.unwrap().expected), (60, 65));
        let unknown = estimate(&samples(&coder, &[60; 5]), &work);
        assert_eq!(
            (unknown.tokens.unwrap().expected, unknown.seconds),
            (60, None),
            "nobody knows how long the script runs"
        );
    }

    #[test]
    fn the_duration_is_the_critical_path() {
        let coder = worker("shop/coder", "Codex/gpt-5");
        let graph = graph(&[("a", &[]), ("b", &[]), ("c", &["a"]), ("d", &["c"]), ("e", &[])]);
        let seconds = |parallelism| simulate(&work(&graph, &coder, parallelism), &[10, 1, 10, 10, 1]);
        assert_eq!((seconds(9), seconds(2), seconds(1), seconds(0)), (30, 30, 32, 32));
        let mut later = work(&graph, &coder, 1);
        later.priorities = vec![0, 5, 0, 0, 0];
        assert_eq!(simulate(&later, &[10, 1, 10, 10, 1]), 32);
        later.parallelism = 2;
        assert_eq!(simulate(&later, &[10, 9, 10, 10, 30]), 39, "b and a, then e");
    }

    #[test]
    fn numbers_have_two_digits() {
        let range = Range { low: 1999, expected: 12_499, high: 98_001 };
        assert_eq!(range.rounded(), Range { low: 1900, expected: 12_000, high: 99_000 });
        let small = Range { low: 0, expected: 7, high: 99 };
        assert_eq!(small.rounded(), small);
        assert_eq!(Range { low: 0, expected: 125, high: 991 }.rounded(), Range { low: 0, expected: 130, high: 1000 });
    }

    #[test]
    fn a_deviation_is_in_percent() {
        let all = [(100, 125), (100, 80), (0, 5), (1, u64::MAX), (3, 3)]
            .map(|(expected, actual)| deviation_percent(expected, actual));
        assert_eq!(all[..3], [Some(25), Some(-20), None]);
        assert_eq!(all[4], Some(0));
    }
}
