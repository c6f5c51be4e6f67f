//! Properties of estimates, with any history and any plan.

use enact_domain::graph::Graph;
use enact_domain::usage::{Basis, Estimate, MIN_SAMPLES, Range, Sample, Work, Worker, estimate};
use proptest::prelude::*;

/// Numbers of usual size, and of any size.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..100_000, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn worker() -> impl Strategy<Value = Worker> {
    (0_usize..3, 0_usize..2).prop_map(|(agent, model)| Worker {
        agent: format!("shop/{agent}"),
        model: ["Codex/gpt-5", "ClaudeCode/opus"][model].into(),
        metered: true,
    })
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let sample = (worker(), number(), prop::option::weighted(0.9, number()), number())
        .prop_map(|(worker, tokens, cost_micro_usd, seconds)| Sample { worker, tokens, cost_micro_usd, seconds });
    prop::collection::vec(sample, 0..30)
}

/// A task with its agent, its priority, and numbers that choose the earlier tasks that it waits for.
type Task = (Worker, i32, Vec<usize>);

fn tasks() -> impl Strategy<Value = Vec<Task>> {
    prop::collection::vec((worker(), -2_i32..3, prop::collection::vec(any::<usize>(), 0..3)), 1..25)
}

fn graph(tasks: &[Task]) -> Graph {
    let ids: Vec<String> = (0..tasks.len()).map(|task| format!("T{task:03}")).collect();
    let needs = |task: usize| tasks[task].2.iter().filter(move |_| task > 0).map(move |need| need % task.max(1));
    Graph::build((0..tasks.len()).map(|task| (ids[task].as_str(), needs(task).map(|need| ids[need].as_str()))))
        .expect("each task waits for earlier ones only")
}

fn estimate_of(samples: &[Sample], tasks: &[Task], parallelism: u32) -> Estimate {
    let graph = graph(tasks);
    let workers = tasks.iter().map(|(worker, ..)| worker.clone()).collect();
    let priorities = tasks.iter().map(|(_, priority, _)| *priority).collect();
    estimate(samples, &Work { graph: &graph, workers, contestants: Vec::new(), priorities, parallelism })
}

#[test]
fn each_contestant_costs_and_takes_no_further_time() {
    let worker = Worker { agent: "shop/coder".into(), model: String::new(), metered: true };
    let sample = Sample { worker: worker.clone(), tokens: 1000, cost_micro_usd: Some(50), seconds: 60 };
    let samples = vec![sample; MIN_SAMPLES];
    let graph = graph(&[(worker.clone(), 0, vec![])]);
    let of = |contestants: usize| {
        let (workers, contestants) = (vec![worker.clone()], vec![worker.clone(); contestants - 1]);
        let work = Work { graph: &graph, workers, contestants, priorities: vec![0], parallelism: 9 };
        ranges(&estimate(&samples, &work)).map(|range| range.map(|range| range.expected))
    };
    assert_eq!((of(1), of(3)), ([Some(1000), Some(50), Some(60)], [Some(3000), Some(150), Some(60)]));
}

fn ranges(estimate: &Estimate) -> [Option<Range>; 3] {
    [estimate.tokens, estimate.cost_micro_usd, estimate.seconds]
}

proptest! {
    #[test]
    fn bounds_contain_the_expected_value(samples in samples(), tasks in tasks(), parallelism in 0_u32..9) {
        let estimate = estimate_of(&samples, &tasks, parallelism);
        for range in [ranges(&estimate), ranges(&estimate.rounded())].concat().into_iter().flatten() {
            prop_assert!(range.low <= range.expected && range.expected <= range.high, "{range:?}");
        }
        prop_assert_eq!(estimate.rounded().rounded(), estimate.rounded());
    }

    #[test]
    fn too_few_samples_are_unknown(samples in samples(), tasks in tasks()) {
        let estimate = estimate_of(&samples, &tasks, 4);
        prop_assert_eq!(samples.len() < MIN_SAMPLES, estimate.basis == Basis::Unknown);
        prop_assert_eq!(estimate.basis == Basis::Unknown, estimate.tokens.is_none());
        if estimate.basis == Basis::Unknown {
            prop_assert_eq!(estimate, Estimate { samples: samples.len(), basis: Basis::Unknown, ..Estimate::default() });
        } else {
            prop_assert!(estimate.samples >= MIN_SAMPLES);
        }
    }

    #[test]
    fn another_task_never_costs_less(samples in samples(), mut tasks in tasks()) {
        let before = estimate_of(&samples, &tasks, 4);
        let more = tasks[0].clone();
        tasks.push(more);
        let after = estimate_of(&samples, &tasks, 4);
        for (before, after) in [(before.tokens, after.tokens), (before.cost_micro_usd, after.cost_micro_usd)] {
            prop_assert_eq!(before.is_some(), after.is_some());
            if let (Some(before), Some(after)) = (before, after) {
                prop_assert!(after.expected >= before.expected && after.high >= before.high, "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn more_expensive_samples_never_cost_less(mut samples in samples(), tasks in tasks(), which in any::<prop::sample::Index>(), more in number()) {
        prop_assume!(!samples.is_empty());
        let before = estimate_of(&samples, &tasks, 4);
        let sample = which.index(samples.len());
        samples[sample].tokens = samples[sample].tokens.saturating_add(more);
        let after = estimate_of(&samples, &tasks, 4);
        prop_assert!(after.tokens.map(|range| range.expected) >= before.tokens.map(|range| range.expected));
    }

    #[test]
    fn the_duration_lies_between_the_longest_chain_and_the_sum(tasks in tasks(), parallelism in 1_u32..9, seconds in 1_u64..1000) {
        let of = |(worker, ..): &Task| Sample { worker: worker.clone(), seconds, ..Sample::default() };
        let samples: Vec<Sample> = tasks.iter().cycle().take(tasks.len() * MIN_SAMPLES).map(of).collect();
        let duration = estimate_of(&samples, &tasks, parallelism).seconds.expect("every agent has samples");
        let (chain, all) = (graph(&tasks).critical_path().len() as u64, tasks.len() as u64);
        prop_assert_eq!((duration.low, duration.high), (duration.expected, duration.expected));
        prop_assert!(duration.expected >= chain * seconds && duration.expected <= all * seconds);
        prop_assert!(duration.expected * u64::from(parallelism) >= all * seconds);
        let alone = estimate_of(&samples, &tasks, 10_000).seconds.map(|range| range.expected);
        prop_assert_eq!(alone, Some(chain * seconds));
    }
}
