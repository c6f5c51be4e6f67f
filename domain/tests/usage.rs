//! Properties of prices, balances and the admission of requests, with any numbers that a model server or a user can send.

use std::collections::HashMap;

use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Charge, Demand, Limit, Price, Scope, Tokens, admit, day, price, share};
use proptest::prelude::*;

/// Numbers of any size, often at the bounds.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..1000, Just(u64::MAX), Just(0), any::<u64>()]
}

fn tokens() -> impl Strategy<Value = Tokens> {
    (number(), number(), number(), number(), number(), number()).prop_map(
        |(input, cached_input, cache_write, hour, output, reasoning)| Tokens {
            input,
            cached_input,
            cache_write,
            cache_write_hour: hour.min(cache_write),
            output,
            reasoning,
        },
    )
}

fn charge() -> impl Strategy<Value = Charge> {
    (tokens(), proptest::option::of(number())).prop_map(|(tokens, cost_micro_usd)| Charge { tokens, cost_micro_usd })
}

fn small_charge() -> impl Strategy<Value = Charge> {
    (0_u64..50, 0_u64..50, proptest::option::of(0_u64..50)).prop_map(|(input, output, cost_micro_usd)| Charge {
        tokens: Tokens { input, output, ..Tokens::default() },
        cost_micro_usd,
    })
}

fn limit() -> impl Strategy<Value = Limit> {
    let part = || proptest::option::of(prop_oneof![0_u64..300, number()]);
    (part(), part()).prop_map(|(tokens, cost_micro_usd)| Limit { tokens, cost_micro_usd })
}

proptest! {
    #[test]
    fn a_cost_is_the_exact_product_rounded_up(
        input in 0_u64..1 << 40, output in 0_u64..1 << 40, in_price in 0_u64..1 << 30, out_price in 0_u64..1 << 30,
    ) {
        let price = Price { input: in_price, output: out_price, ..Price::default() };
        let exact = u128::from(input) * u128::from(in_price) + u128::from(output) * u128::from(out_price);
        let cost = u128::from(price.cost(&Tokens { input, output, ..Tokens::default() })) * 1_000_000;
        prop_assert!(exact <= cost && cost < exact + 1_000_000);
    }

    #[test]
    fn more_tokens_never_cost_less(
        one in tokens(), more in tokens(),
        (input, cached_input, cache_write, output) in (number(), number(), number(), number()),
    ) {
        let price = Price { input, cached_input, cache_write, cache_write_hour: Some(cache_write.max(input)), output };
        let mut both = one;
        both.add(&more);
        prop_assert!(price.cost(&both) >= price.cost(&one));
        prop_assert!(both.total() >= one.total());
    }

    #[test]
    fn an_allowed_request_stays_in_the_limit(
        limit in limit(), spent in charge(), reserved in charge(), request in charge(),
    ) {
        let mut balance = Balance { limit, spent, reserved, unpriced_tokens: 0 };
        let allowed = balance.allows(&request);
        balance.reserve(&request);
        if allowed {
            prop_assert!(limit.tokens.is_none_or(|limit| balance.used_tokens() <= limit));
            prop_assert!(limit.cost_micro_usd.is_none_or(|limit| request.cost_micro_usd.is_none() || balance.used_cost() <= limit));
        }
        prop_assert!(balance.remaining_tokens().is_none_or(|left| left <= limit.tokens.unwrap_or(0)));
        prop_assert_eq!(balance.spent_permille().is_none(), limit.is_unlimited());
        if balance.is_exhausted() {
            let free = Charge { cost_micro_usd: Some(0), ..Charge::default() };
            prop_assert!(!balance.allows(&free));
        }
    }

    #[test]
    fn a_batch_never_exceeds_a_limit(
        plan_limit in limit(), task_limits in prop::collection::vec(limit(), 3),
        requests in prop::collection::vec((0_usize..3, small_charge()), 0..40),
    ) {
        let plan = Scope::Plan { uid: "p".into() };
        let task = |at: usize| Scope::Task { uid: format!("t{at}") };
        let empty = |limit| Balance { limit, ..Balance::default() };
        let mut balances: HashMap<Scope, Balance> =
            task_limits.iter().enumerate().map(|(at, limit)| (task(at), empty(*limit))).collect();
        balances.insert(plan.clone(), empty(plan_limit));
        let demands: Vec<Demand> = requests
            .iter()
            .map(|(at, estimate)| Demand { scopes: vec![task(*at), plan.clone()], estimate: *estimate })
            .collect();
        let outcomes = admit(&mut balances, &demands);
        prop_assert_eq!(outcomes.len(), demands.len());
        for balance in balances.values() {
            prop_assert!(balance.limit.tokens.is_none_or(|limit| balance.used_tokens() <= limit));
            prop_assert!(balance.limit.cost_micro_usd.is_none_or(|limit| balance.used_cost() <= limit));
        }
        let accepted = demands.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_none());
        let reserved: u64 = accepted.map(|(demand, _)| demand.estimate.tokens.total()).sum();
        prop_assert_eq!(balances[&plan].used_tokens(), reserved);
        let refusals = demands.iter().zip(&outcomes).filter_map(|(demand, outcome)| Some((demand, outcome.as_ref()?)));
        for (demand, (scope, balance)) in refusals {
            prop_assert!(demand.scopes.contains(scope) && !balance.allows(&demand.estimate));
        }
    }

    #[test]
    fn parts_add_up(charge in charge(), count in 1_usize..20) {
        let parts = share(&charge, count);
        prop_assert_eq!(parts.len(), count);
        let mut sum = Charge::default();
        for part in &parts {
            sum.add(part);
        }
        prop_assert_eq!(sum, charge);
    }

    #[test]
    fn any_name_and_time_has_a_price_or_none(model in "\\PC{0,80}", at in any::<i64>(), prompt in any::<u64>()) {
        prop_assert!(price(&model, Millis(at), prompt).is_none_or(|price| price.input > 0));
    }

    #[test]
    fn days_have_the_order_of_times(one in any::<i64>(), other in any::<i64>()) {
        let (earlier, later) = (one.min(other), one.max(other));
        prop_assert!(day(Millis(earlier)) <= day(Millis(later)));
        prop_assert_eq!(day(Millis(one)).len(), 10);
    }

    #[test]
    fn keys_can_be_read(uid in "[0-9a-f-]{1,36}", name in "[a-z0-9.-]{1,40}", number in any::<u32>()) {
        for scope in [
            Scope::Agent { namespace: name.clone(), name: name.clone(), month: "2026-11".into() },
            Scope::Attempt { uid: uid.clone(), number },
        ] {
            prop_assert_eq!(scope.key().parse::<Scope>(), Ok(scope));
        }
    }
}

#[test]
fn nothing_is_shared_among_nobody() {
    assert_eq!(share(&Charge::default(), 0), []);
}
