use proptest::prelude::*;

use super::*;

const NOW: Millis = Millis(10_000_000);

fn template() -> Digest {
    Digest::of_bytes(b"template")
}

/// Returns a pod that was created so many seconds ago.
fn pod(stage: Stage, seconds: i64) -> PoolPod {
    PoolPod { template: template().to_string(), created: Millis(NOW.0 - seconds * 1000), stage }
}

#[test]
fn a_pool_is_filled_to_its_size() {
    assert_eq!(upkeep(&[], 2, Some(&template()), NOW).create, 2);
    let pods = [pod(Stage::Ready, 20), pod(Stage::Starting, 1)];
    let upkeep = upkeep(&pods, 3, Some(&template()), NOW);
    assert_eq!((upkeep.create, upkeep.delete.as_slice()), (1, &[][..]));
    assert_eq!(upkeep.again_at, Some(Millis(NOW.0 - 20_000).plus_seconds(MAX_AGE_SECONDS)));
}

#[test]
fn old_and_different_pods_are_replaced() {
    let different = PoolPod { template: "sha256:other".into(), ..pod(Stage::Ready, 1) };
    let age = i64::from(MAX_AGE_SECONDS);
    let pods = [different, pod(Stage::Ready, age), pod(Stage::Ready, age - 1)];
    let upkeep = upkeep(&pods, 2, Some(&template()), NOW);
    assert_eq!((upkeep.create, upkeep.delete), (1, vec![0, 1]));
}

#[test]
fn a_pod_that_failed_keeps_its_place_for_a_minute() {
    let ended = |seconds: i64| pod(Stage::Ended(Millis(NOW.0 - seconds * 1000)), 100);
    let soon = upkeep(&[ended(59)], 1, Some(&template()), NOW);
    assert_eq!((soon.create, soon.delete.len(), soon.again_at), (0, 0, Some(Millis(NOW.0 + 1000))));
    let later = upkeep(&[ended(60)], 1, Some(&template()), NOW);
    assert_eq!((later.create, later.delete), (1, vec![0]));
}

#[test]
fn a_smaller_pool_keeps_the_pods_that_are_ready() {
    let pods = [pod(Stage::Starting, 50), pod(Stage::Ready, 10), pod(Stage::Ready, 30), pod(Stage::Deleting, 1)];
    let smaller = upkeep(&pods, 1, Some(&template()), NOW);
    assert_eq!((smaller.create, smaller.delete), (0, vec![0, 1]));
    // An agent that cannot be used has no pods.
    let unusable = upkeep(&pods, 3, None, NOW);
    assert_eq!((unusable.create, unusable.delete), (0, vec![0, 1, 2]));
}

#[test]
fn an_attempt_gets_the_pod_that_has_waited_longest() {
    let different = PoolPod { template: "sha256:other".into(), ..pod(Stage::Ready, 60) };
    let pods = [
        ("a", pod(Stage::Ready, 5)),
        ("b", pod(Stage::Ready, 9)),
        ("c", pod(Stage::Starting, 60)),
        ("d", pod(Stage::Ready, i64::from(MAX_AGE_SECONDS))),
        ("e", different),
        ("f", pod(Stage::Deleting, 60)),
    ];
    let chosen = |pods: &[(&'static str, PoolPod)]| {
        choose(pods.iter().map(|(name, pod)| (*name, pod)), &template(), NOW).map(str::to_owned)
    };
    assert_eq!(chosen(&pods).as_deref(), Some("b"));
    assert_eq!(chosen(&pods[2..]), None);
}

#[test]
fn the_time_limit_counts_from_the_assignment() {
    assert_eq!(deadline_seconds(60, Some(Millis(NOW.0 - 1_500)), NOW), 62);
    assert_eq!(deadline_seconds(60, Some(Millis(NOW.0 + 5_000)), NOW), 60, "the node's clock is ahead");
    assert_eq!(deadline_seconds(60, None, NOW), 60);
}

/// A pod of the pool in the simulated cluster. Each change makes a new version.
#[derive(Clone, Copy, Debug)]
struct Simulated {
    version: u32,
    found: Found,
}

/// The cluster and the record.
#[derive(Debug)]
struct World {
    pods: Vec<Simulated>,
    /// The pod that the first record of the start names, if the start is recorded; none for the attempt's own.
    #[allow(
        clippy::option_option,
        reason = "a start that is not recorded differs from one with the attempt's own pod"
    )]
    recorded: Option<Option<usize>>,
    /// Whether the attempt's own pod exists.
    own: bool,
}

impl World {
    /// Returns the number of pods that the attempt has, or had.
    fn pods_of_the_attempt(&self) -> usize {
        self.pods.iter().filter(|pod| pod.found == Found::Assigned).count() + usize::from(self.own)
    }

    fn set(&mut self, pod: usize, found: Found) {
        self.pods[pod].version += 1;
        self.pods[pod].found = found;
    }

    /// Changes a pod if it still has this version.
    fn set_if(&mut self, pod: usize, version: u32, found: Found) {
        if self.pods[pod].version == version {
            self.set(pod, found);
        }
    }
}

/// A process that believes that it leads, between two of its requests.
#[derive(Clone, Copy, Debug)]
enum Leader {
    /// It has decided to start the attempt with this pod, or with the attempt's own.
    Decided(Option<usize>),
    /// The start is recorded, by this process or by another.
    Recorded,
    /// It looks at the recorded pod.
    Looking(usize),
    /// It saw this.
    Looked(usize, Simulated),
    Creating,
    Done,
}

/// Makes the next request of a leader.
fn advance(leader: Leader, world: &mut World) -> Leader {
    match leader {
        Leader::Decided(pod) => {
            world.recorded.get_or_insert(pod);
            Leader::Recorded
        }
        Leader::Recorded => world.recorded.flatten().map_or(Leader::Creating, Leader::Looking),
        Leader::Looking(pod) => Leader::Looked(pod, world.pods[pod]),
        Leader::Looked(pod, seen) => match next_step(seen.found) {
            Step::Assign => {
                world.set_if(pod, seen.version, Found::Assigned);
                // Whatever the answer was, the next look shows who has the pod.
                Leader::Looking(pod)
            }
            Step::Discard => {
                world.set_if(pod, seen.version, Found::Missing);
                Leader::Looking(pod)
            }
            Step::Done => Leader::Done,
            Step::Create => {
                world.own = true;
                Leader::Done
            }
        },
        Leader::Creating => {
            world.own = true;
            Leader::Done
        }
        Leader::Done => Leader::Done,
    }
}

/// Something that happens in the simulation.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A leader makes its next request.
    Request(usize),
    /// A leader is replaced by a process that would choose this pod.
    Restart(usize, Option<usize>),
    /// Something else happens to a waiting pod.
    Change(usize, Found),
}

fn happening() -> impl Strategy<Value = Happening> {
    let other = prop_oneof![
        Just(Found::Missing),
        Just(Found::Other),
        Just(Found::Waiting { usable: false }),
        Just(Found::Waiting { usable: true })
    ];
    prop_oneof![
        6 => (0usize..2).prop_map(Happening::Request),
        1 => (0usize..2, prop::option::of(0usize..3)).prop_map(|(leader, pod)| Happening::Restart(leader, pod)),
        1 => (0usize..3, other).prop_map(|(pod, found)| Happening::Change(pod, found)),
    ]
}

proptest! {
    /// Two processes that both believe that they lead choose different pods, crash and start again at any time, while pods vanish, get old
    /// and are taken by other attempts.
    #[test]
    fn an_attempt_has_one_pod(
        first in prop::option::of(0usize..3), second in prop::option::of(0usize..3), happenings in prop::collection::vec(happening(), 0..60),
    ) {
        let pod = Simulated { version: 0, found: Found::Waiting { usable: true } };
        let mut world = World { pods: vec![pod; 3], recorded: None, own: false };
        let mut leaders = [Leader::Decided(first), Leader::Decided(second)];
        for happening in happenings {
            match happening {
                Happening::Request(leader) => leaders[leader] = advance(leaders[leader], &mut world),
                Happening::Restart(leader, pod) => leaders[leader] = Leader::Decided(pod),
                // What is gone or in use does not wait again.
                Happening::Change(pod, found) if matches!(world.pods[pod].found, Found::Waiting { .. }) => {
                    world.set(pod, found);
                }
                Happening::Change(..) => {}
            }
            prop_assert!(world.pods_of_the_attempt() <= 1, "{world:?}");
        }
        for leader in &mut leaders {
            for _ in 0..8 {
                *leader = advance(*leader, &mut world);
            }
            prop_assert!(matches!(leader, Leader::Done), "{leader:?} {world:?}");
        }
        prop_assert_eq!(world.pods_of_the_attempt(), 1, "{:?}", world);
    }
}
