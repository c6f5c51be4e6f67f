use proptest::prelude::*;

use super::*;

fn agent(name: &str, capabilities: &[(&str, u8)]) -> Candidate {
    let capabilities = capabilities.iter().map(|(name, proficiency)| ((*name).to_owned(), *proficiency)).collect();
    Candidate { name: name.into(), capabilities, preference: 50, ..Candidate::default() }
}

fn stated(names: &[&str]) -> Needs {
    Needs::stated(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

fn derived(names: &[&str]) -> Needs {
    Needs { stated: false, ..stated(names) }
}

fn shown(needs: &Needs, pool: &[Candidate]) -> Vec<String> {
    let selection = select(needs, &pool.iter().collect::<Vec<_>>());
    let text = |evaluated: &Evaluated| match &evaluated.outcome {
        Outcome::Score(s) => format!(
            "{} {} = {} + {} + {} + {} + {}",
            evaluated.agent,
            s.total(),
            s.proficiency,
            s.success,
            s.load,
            s.price,
            s.preference
        ),
        Outcome::Excluded(exclusion) => format!("{} {}", evaluated.agent, exclusion.message),
    };
    selection.candidates.iter().map(text).collect()
}

fn history(attempts: u32, succeeded: u32, cost: Option<u64>) -> History {
    History { attempts, succeeded, median_cost_micro_usd: cost }
}

#[test]
fn components_add_up() {
    let mut cheap = agent("cheap", &[("rust", 40)]);
    cheap.history.insert("rust".into(), history(8, 4, Some(10_000)));
    let mut good = agent("good", &[("rust", 90)]);
    good.history.insert("rust".into(), history(8, 8, Some(40_000)));
    (good.concurrency, good.running) = (Some(4), 3);
    let unknown = agent("unknown", &[("rust", 90)]);
    assert_eq!(
        shown(&stated(&["rust"]), &[cheap, good, unknown]),
        [
            "good 730 = 360 + 270 + 25 + 25 + 50",
            "unknown 710 = 360 + 150 + 100 + 50 + 50",
            "cheap 560 = 160 + 150 + 100 + 100 + 50",
        ]
    );
}

#[test]
fn exclusions_name_their_cause() {
    let busy = Candidate { concurrency: Some(2), running: 2, ..agent("busy", &[("rust", 90)]) };
    let broken = Candidate { unusable: Some("its image cannot be pulled".into()), ..agent("broken", &[("rust", 90)]) };
    let exhausted = Candidate { exhausted_until: Some(Millis(1_796_083_199_999)), ..agent("used", &[("rust", 90)]) };
    let suspended = Candidate { concurrency: Some(0), ..agent("paused", &[("rust", 90)]) };
    let pool = [agent("docs", &[("docs", 90)]), busy, broken, exhausted, suspended];
    let needs = stated(&["rust"]);
    let expected = [
        "broken cannot be used: its image cannot be pulled",
        "busy is busy (2 of 2 attempts)",
        "docs lacks rust",
        "paused is suspended (spec.suspend of the Agent)",
        "used has used up its quota, which is reset at 2026-11-30 23:59 UTC",
    ];
    assert_eq!(shown(&needs, &pool), expected);
    let selection = select(&needs, &pool.iter().collect::<Vec<_>>());
    assert_eq!(selection.eligible().count(), 0);
    assert_eq!(selection.obstacles(), expected.join(", "));
}

#[test]
fn derived_needs_exclude_only_while_an_agent_has_them() {
    let pool = [agent("backend", &[("rust", 80), ("sql", 50)]), agent("writer", &[("docs", 80)])];
    let pool: Vec<&Candidate> = pool.iter().collect();
    let needs = |names| select(&derived(names), &pool).needs;
    assert_eq!(needs(&["rust", "docs", "sql"]), ["rust", "sql"], "no agent has rust and docs");
    assert_eq!(needs(&["cobol", "docs"]), ["docs"], "no agent has cobol");
    assert_eq!(select(&derived(&["rust", "docs"]), &pool).eligible().collect::<Vec<_>>(), ["backend"]);
    assert_eq!(select(&stated(&["rust", "docs"]), &pool).eligible().count(), 0, "stated needs always count");
}

#[test]
fn a_declared_cost_counts_until_costs_are_recorded() {
    let declared = |name: &str, cost: u64| Candidate {
        expected_costs: [("rust".to_owned(), cost)].into(),
        ..agent(name, &[("rust", 50)])
    };
    let points = |pool: &[Candidate]| {
        let selection = select(&stated(&["rust"]), &pool.iter().collect::<Vec<_>>());
        let price = |evaluated: Evaluated| match evaluated.outcome {
            Outcome::Score(score) => (evaluated.agent, score.price),
            Outcome::Excluded(exclusion) => panic!("{exclusion:?}"),
        };
        selection.candidates.into_iter().map(price).collect::<BTreeMap<_, _>>()
    };
    let expected = |pairs: &[(&str, u32)]| -> BTreeMap<String, u32> {
        pairs.iter().map(|(name, price)| ((*name).to_owned(), *price)).collect()
    };
    let mut pool = [declared("cheap", 100_000), declared("dear", 400_000), agent("unknown", &[("rust", 50)])];
    assert_eq!(points(&pool), expected(&[("cheap", 100), ("dear", 25), ("unknown", 50)]));
    pool[1].history = [("rust".to_owned(), history(1, 1, Some(50_000)))].into();
    assert_eq!(points(&pool), expected(&[("cheap", 50), ("dear", 100), ("unknown", 50)]), "the record counts more");
}

#[test]
fn a_late_exclusion_moves_an_agent_back() {
    let pool = [agent("a", &[]), agent("b", &[]), agent("c", &[])];
    let mut selection = select(&Needs::default(), &pool.iter().collect::<Vec<_>>());
    let exclusion = Exclusion { reason: ExclusionReason::BudgetExceeded, message: "has no budget".into() };
    selection.exclude("a", exclusion);
    assert_eq!(selection.eligible().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(selection.candidates[2].agent, "a");
}

#[test]
fn the_record_can_read_it_again() {
    let busy = Candidate { concurrency: Some(1), running: 1, ..agent("busy", &[]) };
    let pool = [agent("a", &[]), busy];
    let selection = select(&Needs::default(), &pool.iter().collect::<Vec<_>>());
    let json = serde_json::to_value(&selection).unwrap();
    assert_eq!(json["candidates"][1]["excluded"]["reason"], "Busy");
    assert!(json["candidates"][0]["score"]["load"].is_u64());
    assert_eq!(serde_json::from_value::<Selection>(json).unwrap(), selection);
}

prop_compose! {
    fn candidate(names: &'static [&'static str])(
        name in proptest::sample::select(names),
        rust in proptest::option::of(1u8..=100),
        concurrency in proptest::option::of(1u32..5),
        running in 0u32..6,
        preference in 0u8..=100,
        attempts in 0u32..1000,
        share in 0u32..=100,
        cost in proptest::option::of(0u64..u64::MAX),
        broken in proptest::bool::weighted(0.2),
        exhausted in proptest::bool::weighted(0.2),
    ) -> Candidate {
        let history = history(attempts, attempts * share / 100, cost);
        Candidate {
            name: name.to_owned(),
            capabilities: rust.into_iter().map(|rust| ("rust".to_owned(), rust)).collect(),
            concurrency, running, preference,
            history: [("rust".to_owned(), history)].into(),
            expected_costs: BTreeMap::new(),
            unusable: broken.then(|| "it is broken".to_owned()),
            exhausted_until: exhausted.then_some(Millis(1)),
        }
    }
}

fn pool() -> impl Strategy<Value = Vec<Candidate>> {
    proptest::collection::vec(candidate(&["a", "b", "c", "d", "e", "f"]), 1..6).prop_map(|mut pool| {
        pool.sort_by(|a, b| a.name.cmp(&b.name));
        pool.dedup_by(|a, b| a.name == b.name);
        pool
    })
}

proptest! {
    #[test]
    fn the_order_of_candidates_does_not_matter(pool in pool(), turn in 0usize..6) {
        let needs = stated(&["rust"]);
        let mut turned = pool.clone();
        turned.rotate_left(turn % pool.len());
        turned.reverse();
        let select = |pool: &[Candidate]| select(&needs, &pool.iter().collect::<Vec<_>>());
        prop_assert_eq!(select(&pool), select(&turned));
    }

    #[test]
    fn more_success_never_lowers_the_position(pool in pool(), which in 0usize..6) {
        let needs = stated(&["rust"]);
        let name = pool[which % pool.len()].name.clone();
        let position = |pool: &[Candidate]| {
            select(&needs, &pool.iter().collect::<Vec<_>>()).candidates.iter().position(|c| c.agent == name)
        };
        let mut better = pool.clone();
        let history = better[which % pool.len()].history.get_mut("rust").unwrap();
        history.attempts += 1;
        history.succeeded += 1;
        prop_assert!(position(&better) <= position(&pool));
    }

    #[test]
    fn the_excluded_never_win(pool in pool()) {
        let selection = select(&stated(&["rust"]), &pool.iter().collect::<Vec<_>>());
        for name in selection.eligible() {
            let candidate = pool.iter().find(|candidate| candidate.name == name).unwrap();
            prop_assert!(candidate.unusable.is_none() && candidate.exhausted_until.is_none());
            prop_assert!(candidate.capabilities.contains_key("rust"));
            prop_assert!(candidate.concurrency.is_none_or(|most| candidate.running < most));
        }
        prop_assert_eq!(selection.candidates.len(), pool.len());
    }

    #[test]
    fn components_stay_in_their_bounds(pool in pool()) {
        for evaluated in select(&derived(&["rust"]), &pool.iter().collect::<Vec<_>>()).candidates {
            if let Outcome::Score(score) = evaluated.outcome {
                prop_assert!(score.proficiency <= MAX_PROFICIENCY && score.success <= MAX_SUCCESS);
                prop_assert!(score.load <= MAX_LOAD && score.price <= MAX_PRICE && score.preference <= MAX_PREFERENCE);
            }
        }
    }
}
