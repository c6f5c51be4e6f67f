use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::scope::day;
use super::tokens::Tokens;
use crate::time::Millis;

/// Words that vendors append to the name of a model for a version of it.
const VERSION_WORDS: [&str; 4] = ["latest", "preview", "exp", "thinking"];
/// Prefixes of models on Bedrock, before the name that the vendor gives them.
const VENDORS: [&str; 2] = ["anthropic.", "openai."];
/// Prefixes of Bedrock's inference profiles, before the vendor.
const REGIONS: [&str; 6] = ["us.", "eu.", "apac.", "jp.", "au.", "global."];

/// Prices of a model, in micro-USD per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    pub input: u64,
    /// Price of input that the provider reads from its cache.
    pub cached_input: u64,
    /// Price of input that the provider writes to its cache.
    pub cache_write: u64,
    /// Price of input that the provider writes to its cache for an hour; none if it is that of `cache_write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_hour: Option<u64>,
    pub output: u64,
}

impl Price {
    /// Returns the price of `tokens` in micro-USD, rounded up.
    pub fn cost(&self, tokens: &Tokens) -> u64 {
        // Each product is at most 2^128 / 8, so that their sum cannot overflow.
        let product = |tokens: u64, price: u64| (u128::from(tokens) * u128::from(price)).min(u128::MAX / 8);
        let hour = tokens.cache_write_hour.min(tokens.cache_write);
        let millionths = product(tokens.input, self.input)
            + product(tokens.cached_input, self.cached_input)
            + product(tokens.cache_write - hour, self.cache_write)
            + product(hour, self.cache_write_hour.unwrap_or(self.cache_write))
            + product(tokens.output, self.output);
        u64::try_from(millionths.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// The prices of one vendor.
#[derive(Deserialize)]
struct Vendor {
    models: Vec<Entry>,
}

/// An entry of the price table.
#[derive(Deserialize)]
struct Entry {
    /// The model's name without its version.
    model: String,
    /// The first day of these prices, such as `2026-11-30`. An earlier day where it is not known.
    from: String,
    tiers: Vec<Tier>,
}

/// The price of requests whose prompt has more tokens than `above`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Tier {
    pub above: u64,
    #[serde(flatten)]
    pub price: Price,
}

/// Returns the price of a request whose prompt has this number of tokens; none without tiers. The tiers are in the order of `above`, which is 0
/// in the first one.
pub fn of_tiers(tiers: &[Tier], prompt: u64) -> Option<Price> {
    tiers.iter().rfind(|tier| tier.above == 0 || tier.above < prompt).map(|tier| tier.price)
}

/// The tiers of a model from a day on, for each such day.
type Periods = BTreeMap<String, Vec<Tier>>;

/// The table. One that cannot be read would be empty; a test reads it.
static TABLE: LazyLock<BTreeMap<String, Periods>> = LazyLock::new(|| {
    let vendors: BTreeMap<String, Vendor> = serde_json::from_str(include_str!("prices.json")).unwrap_or_default();
    let mut table: BTreeMap<String, Periods> = BTreeMap::new();
    for entry in vendors.into_values().flat_map(|vendor| vendor.models) {
        table.entry(entry.model).or_default().insert(entry.from, entry.tiers);
    }
    table
});

/// Returns the public list price of a request; none if the table does not have the model. `prompt` is the number of tokens of the prompt,
/// [`Tokens::prompt`], since some models cost more for long prompts.
///
/// The longest name in the table that the model's name begins with decides, if only a version follows: `claude-sonnet-4-5-20250929` has
/// the price of `claude-sonnet-4-5`, and `gpt-5-turbo` not that of `gpt-5`. Prefixes of routers and of Bedrock are ignored.
pub fn price(model: &str, at: Millis, prompt: u64) -> Option<Price> {
    let (model, day) = (base_name(model).to_ascii_lowercase(), day(at));
    let ends = (1..=model.len()).rev().filter(|end| model.is_char_boundary(*end));
    let (_, tiers) = ends
        .filter(|end| is_version(&model[*end..]))
        .find_map(|end| TABLE.get(&model[..end])?.range(..=day.clone()).next_back())?;
    of_tiers(tiers, prompt)
}

/// Returns the model's name without the prefixes of routers (`openai/gpt-5`) and of Bedrock (`eu.anthropic.claude-…`).
fn base_name(model: &str) -> &str {
    let name = model.rsplit('/').next().unwrap_or(model);
    let regional = REGIONS.iter().find_map(|region| name.strip_prefix(region)).unwrap_or(name);
    VENDORS.iter().find_map(|vendor| regional.strip_prefix(vendor)).unwrap_or(name)
}

/// Returns whether the rest of a model's name only states a version: numbers and words such as `latest`.
fn is_version(rest: &str) -> bool {
    const SEPARATORS: [char; 3] = ['-', '@', ':'];
    if rest.is_empty() {
        return true;
    }
    let is_part = |part: &str| {
        let digits = part.strip_prefix('v').unwrap_or(part);
        VERSION_WORDS.contains(&part) || (!digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()))
    };
    // Fewer digits would be another model: `claude-opus-4-1`.
    let is_first = |part: &str| part.len() >= 3 && is_part(part);
    rest.strip_prefix(SEPARATORS).is_some_and(|rest| {
        let mut parts = rest.split(SEPARATORS);
        parts.next().is_some_and(is_first) && parts.all(is_part)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// 2026-11-30.
    const NOW: Millis = Millis(1_796_000_000_000);

    fn output(model: &str) -> Option<u64> {
        price(model, NOW, 1000).map(|price| price.output)
    }

    #[test]
    fn the_table_can_be_read() {
        let vendors: BTreeMap<String, Value> = serde_json::from_str(include_str!("prices.json")).unwrap();
        assert_eq!(vendors.keys().collect::<Vec<_>>(), ["Anthropic", "Google", "OpenAI", "Qwen"]);
        let is_day = |text: &str| text.len() == 10 && text.starts_with("20") && text.split('-').count() == 3;
        for (name, vendor) in vendors {
            let text = |field: &str| vendor[field].as_str().unwrap().to_owned();
            let compared = text("compared");
            assert!(text("page").starts_with("https://"), "{name} names the vendor's page");
            assert!(
                !text("comparedWith").is_empty() && is_day(&compared),
                "{name} says with what it was compared, and when"
            );
            let Vendor { models } = serde_json::from_value(vendor).unwrap();
            for Entry { model, from, tiers } in models {
                assert!(is_day(&from) && model == model.to_ascii_lowercase(), "{model} {from}");
                assert_eq!(tiers[0].above, 0, "{model}");
                assert!(tiers.is_sorted_by_key(|tier| (tier.above, tier.price.input)), "{model}");
                for price in tiers.iter().map(|tier| tier.price) {
                    let Price { input, cached_input, cache_write, cache_write_hour, output } = price;
                    assert!(0 < cached_input && cached_input <= input && input < output, "{model}");
                    assert!(input <= cache_write && cache_write <= input * 2, "{model}");
                    assert_eq!(cache_write_hour, (name == "Anthropic").then_some(input * 2), "{model}");
                    assert!((10_000..200_000_000).contains(&output), "{model}: in micro-USD per million tokens");
                }
                assert!(price(&model, NOW, 0).is_some() || from.as_str() > "2026-11-30", "{model}");
            }
        }
    }

    #[test]
    fn long_prompts_cost_more() {
        let input = |model, prompt| price(model, NOW, prompt).map(|price| price.input);
        assert_eq!(input("gemini-2.5-pro", 200_000), Some(1_250_000));
        assert_eq!(input("gemini-2.5-pro", 200_001), Some(2_500_000));
        assert_eq!(input("qwen3-coder-plus", 1_000_000), Some(6_000_000));
    }

    #[test]
    fn versions_have_the_price_of_their_model() {
        let sonnet = Some(15_000_000);
        for model in [
            "claude-sonnet-4-5",
            "claude-sonnet-4-5-20250929",
            "claude-sonnet-4-5@20250929",
            "anthropic/claude-sonnet-4-5",
            "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "Claude-Sonnet-4-5",
        ] {
            assert_eq!(output(model), sonnet, "{model}");
        }
        assert_eq!(output("gpt-5-2025-08-07"), Some(10_000_000));
        assert_eq!(output("gpt-5-mini-2025-08-07"), Some(2_000_000));
        assert_eq!(output("gemini-2.5-flash-preview-09-2025"), Some(2_500_000));
    }

    #[test]
    fn other_models_have_no_price() {
        for model in
            ["", "-", "gpt", "gpt-5-turbo", "gpt-50", "gpt-5.9", "claude-opus-4-99", "llama", "ä", "gpt-5-", "/"]
        {
            assert_eq!(output(model), None, "{model}");
        }
    }

    #[test]
    fn a_price_applies_from_its_first_day() {
        // 2026-10-06 and 2026-10-07.
        let cached =
            |seconds: i64| price("claude-sonnet-5-5", Millis(seconds * 1000), 0).map(|price| price.cached_input);
        assert_eq!((cached(1_791_244_800), cached(1_791_331_200)), (Some(200_000), Some(100_000)));
        let first = 1_754_524_800_000;
        assert_eq!(price("gpt-5", Millis(first - 1), 0), None);
        assert!(price("gpt-5", Millis(first), 0).is_some());
    }

    #[test]
    fn costs_are_rounded_up() {
        let price = Price {
            input: 3_000_000,
            cached_input: 300_000,
            cache_write: 3_750_000,
            cache_write_hour: None,
            output: 15_000_000,
        };
        let tokens = |input, cached_input, output| Tokens { input, cached_input, output, ..Tokens::default() };
        assert_eq!(price.cost(&tokens(0, 0, 0)), 0);
        assert_eq!(price.cost(&tokens(0, 1, 0)), 1);
        assert_eq!(price.cost(&tokens(1000, 10, 100)), 3000 + 3 + 1500);
        let all = Tokens {
            input: u64::MAX,
            cached_input: u64::MAX,
            cache_write: u64::MAX,
            cache_write_hour: u64::MAX,
            output: u64::MAX,
            reasoning: 0,
        };
        let most = Some(u64::MAX);
        assert_eq!(Price { input: u64::MAX, cache_write_hour: most, ..price }.cost(&all), u64::MAX);
    }

    #[test]
    fn a_cache_of_an_hour_costs_twice_the_input() {
        let written = |model: &str, cache_write_hour| {
            let tokens = Tokens { cache_write: 1_000_000, cache_write_hour, ..Tokens::default() };
            price(model, NOW, tokens.prompt()).unwrap().cost(&tokens)
        };
        assert_eq!(written("claude-sonnet-4-5", 0), 3_750_000);
        assert_eq!(written("claude-sonnet-4-5", 1_000_000), 6_000_000);
        assert_eq!(written("claude-sonnet-4-5", 400_000), 2_250_000 + 2_400_000);
        assert_eq!(written("claude-sonnet-4-5", 2_000_000), 6_000_000, "a part is not more than the whole");
        assert_eq!(written("gemini-2.5-flash", 1_000_000), written("gemini-2.5-flash", 0), "it has one price");
    }
}
