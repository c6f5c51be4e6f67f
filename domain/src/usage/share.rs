use super::tokens::{Charge, Tokens};

/// Returns a part of `charge` for each of `parts` receivers. The parts add up to the charge: the first ones receive what the division
/// leaves over.
pub fn share(charge: &Charge, parts: usize) -> Vec<Charge> {
    let count = u64::try_from(parts).unwrap_or(u64::MAX);
    (0..count)
        .map(|index| {
            let part = |whole: u64| whole / count + u64::from(index < whole % count);
            let Tokens { input, cached_input, cache_write, cache_write_hour, output, reasoning } = charge.tokens;
            Charge {
                tokens: Tokens {
                    input: part(input),
                    cached_input: part(cached_input),
                    cache_write: part(cache_write),
                    cache_write_hour: part(cache_write_hour),
                    output: part(output),
                    reasoning: part(reasoning),
                },
                cost_micro_usd: charge.cost_micro_usd.map(part),
            }
        })
        .collect()
}
