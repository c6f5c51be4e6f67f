use proptest::prelude::*;

use super::*;

fn measured(text: &str) -> Measured {
    text.parse().expect("a number")
}

fn criterion(name: &str, better: Better) -> Criterion {
    Criterion { name: name.into(), better }
}

fn achievement(measurements: &[(&str, &str)], cost: Option<u64>, tokens: u64) -> Achievement {
    let measurements = measurements.iter().map(|(name, text)| ((*name).to_owned(), measured(text))).collect();
    Achievement { measurements, cost_micro_usd: cost, tokens }
}

fn decided(criteria: &[Criterion], achievements: &[(u32, Achievement)]) -> Option<(u32, DecidedBy)> {
    let achievements = achievements.iter().cloned().collect();
    winner(criteria, &achievements).map(|winner| (winner.attempt, winner.decided_by))
}

#[test]
fn attempts_name_their_contestant() {
    let of_three: Vec<u32> = (1..=7).map(|attempt| contestant_of(attempt, 3)).collect();
    assert_eq!(of_three, [1, 2, 3, 1, 2, 3, 1]);
    assert_eq!((contestant_of(1, 1), contestant_of(9, 1)), (1, 1), "without a contest, all attempts are of one series");
}

#[test]
fn a_measurement_prints_its_number_last() {
    let of = |output: &str| Measured::of_output(output).map(|number| number.to_string());
    assert_eq!(of("warming up\n  12.50 \n\n").as_deref(), Ok("12.5"));
    assert_eq!(of("-0").as_deref(), Ok("0"));
    assert_eq!(of("1e300").as_deref(), Ok("1e300"));
    for wrong in ["", "\n", "12 ms", "12\nms", "NaN", "inf", "-infinity", "1e999", &"1".repeat(65)] {
        assert!(of(wrong).is_err(), "{wrong:?}");
    }
    let json = serde_json::to_string(&measured("0.1")).unwrap();
    assert_eq!((json.as_str(), serde_json::from_str::<Measured>(&json).unwrap()), (r#""0.1""#, measured("0.1")));
    assert!(serde_json::from_str::<Measured>(r#""NaN""#).is_err());
}

#[test]
fn the_best_of_those_that_passed_wins() {
    let criteria = [criterion("p95", Better::Lower), criterion("coverage", Better::Higher)];
    let contest = |achievements: &[(u32, Achievement)]| decided(&criteria, achievements);
    assert_eq!(contest(&[]), None);
    assert_eq!(contest(&[(5, achievement(&[], None, 0))]), Some((5, DecidedBy::Gates)));
    let slow = achievement(&[("p95", "30"), ("coverage", "99")], Some(1), 1);
    let fast = achievement(&[("p95", "4.5"), ("coverage", "70")], Some(9), 9);
    let covered = achievement(&[("p95", "4.5"), ("coverage", "71")], Some(9), 9);
    let p95 = DecidedBy::Measurement("p95".into());
    assert_eq!(contest(&[(1, slow.clone()), (2, fast.clone())]), Some((2, p95)), "the first measurement comes first");
    let coverage = DecidedBy::Measurement("coverage".into());
    assert_eq!(contest(&[(1, slow), (2, fast.clone()), (3, covered)]), Some((3, coverage.clone())));
    let unmeasured = achievement(&[("p95", "4.5")], Some(1), 1);
    assert_eq!(contest(&[(1, unmeasured), (2, fast)]), Some((2, coverage)), "no number is behind every number");
}

#[test]
fn equal_contestants_are_decided_by_what_they_used() {
    let contest = |achievements: &[(u32, Achievement)]| decided(&[], achievements);
    let used = |cost, tokens| achievement(&[], cost, tokens);
    assert_eq!(contest(&[(1, used(Some(5), 1)), (2, used(Some(4), 9))]), Some((2, DecidedBy::Cost)));
    assert_eq!(contest(&[(1, used(None, 1)), (2, used(Some(4), 9))]), Some((2, DecidedBy::Cost)), "unknown is last");
    assert_eq!(contest(&[(1, used(None, 2)), (2, used(None, 1))]), Some((2, DecidedBy::Tokens)));
    assert_eq!(contest(&[(4, used(None, 1)), (2, used(None, 1))]), Some((2, DecidedBy::Number)));
}

fn achievements() -> impl Strategy<Value = BTreeMap<u32, Achievement>> {
    let number = proptest::option::of((0i32..4).prop_map(|n| measured(&n.to_string())));
    let one =
        (number.clone(), number, proptest::option::of(0u64..3), 0u64..3).prop_map(|(a, b, cost_micro_usd, tokens)| {
            let measurements =
                [("a", a), ("b", b)].into_iter().filter_map(|(name, n)| Some((name.to_owned(), n?))).collect();
            Achievement { measurements, cost_micro_usd, tokens }
        });
    proptest::collection::btree_map(1u32..20, one, 0..6)
}

proptest! {
    #[test]
    fn nobody_is_better_than_the_winner(achievements in achievements()) {
        let criteria = [criterion("a", Better::Lower), criterion("b", Better::Higher)];
        // The whole order as one key; less is better.
        let key = |attempt: u32| {
            let Achievement { measurements, cost_micro_usd, tokens } = &achievements[&attempt];
            let (a, b) = (measurements.get("a").copied(), measurements.get("b").copied());
            ((a.is_none(), a), std::cmp::Reverse(b), (cost_micro_usd.is_none(), *cost_micro_usd), *tokens, attempt)
        };
        let best = achievements.keys().copied().min_by_key(|attempt| key(*attempt));
        prop_assert_eq!(winner(&criteria, &achievements).map(|winner| winner.attempt), best);
    }

    #[test]
    fn a_contestant_that_loses_makes_no_difference(achievements in achievements(), which in 0usize..6) {
        let criteria = [criterion("a", Better::Lower)];
        let Some(before) = winner(&criteria, &achievements) else { return Ok(()) };
        let losers: Vec<u32> = achievements.keys().copied().filter(|attempt| *attempt != before.attempt).collect();
        let mut fewer = achievements;
        if let Some(loser) = losers.get(which) {
            fewer.remove(loser);
        }
        prop_assert_eq!(winner(&criteria, &fewer).map(|winner| winner.attempt), Some(before.attempt));
    }

    #[test]
    fn numbers_are_read_as_they_are_written(number in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
        let first = measured(&format!("{number:e}"));
        prop_assert_eq!(first.to_string().parse::<Measured>(), Ok(first));
    }
}
