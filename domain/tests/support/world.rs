//! Plans of any shape for the simulation.

use enact_domain::graph::Graph;
use enact_domain::plan::OnFailure;
use proptest::prelude::*;

/// A plan, and the events around it.
#[derive(Clone, Debug)]
pub struct World {
    pub edges: Vec<Vec<usize>>,
    /// The number of failures of each task before it succeeds, if `trouble` is false.
    pub failures_first: Vec<u32>,
    pub external_effect: Vec<bool>,
    pub integration: bool,
    pub limit: u32,
    pub parallelism: u32,
    pub on_failure: OnFailure,
    /// Whether pods end in any way, people change their requests, and actions fail.
    pub trouble: bool,
}

pub fn world(trouble: bool) -> impl Strategy<Value = World> {
    (2usize..14).prop_flat_map(move |n| {
        (
            proptest::collection::vec((0..n, 0..n), 0..n * 2),
            proptest::collection::vec(prop_oneof![4 => Just(0u32), 1 => 1u32..4], n),
            proptest::collection::vec(any::<bool>(), n),
            0u32..3,
            1u32..6,
            prop_oneof![Just(OnFailure::Halt), Just(OnFailure::Continue), Just(OnFailure::Stop)],
            any::<bool>(),
        )
            .prop_map(
                move |(pairs, failures_first, external_effect, limit, parallelism, on_failure, integration)| {
                    let mut edges = vec![Vec::new(); n];
                    for (a, b) in pairs {
                        if a != b {
                            edges[a.max(b)].push(a.min(b));
                        }
                    }
                    World {
                        edges,
                        failures_first,
                        external_effect,
                        integration,
                        limit,
                        parallelism,
                        on_failure,
                        trouble,
                    }
                },
            )
    })
}

pub fn graph(world: &World) -> Graph {
    let ids: Vec<String> = (0..world.edges.len()).map(|i| format!("T{i:03}")).collect();
    let list = ids
        .iter()
        .zip(&world.edges)
        .map(|(id, e)| (id.as_str(), e.iter().map(|&d| ids[d].as_str()).collect::<Vec<_>>()));
    let graph = Graph::build(list).expect("edges to earlier tasks only");
    if world.integration { graph.with_integration() } else { graph }
}
