//! Best of N: competing attempts at one task. Which attempt belongs to which contestant, and who wins.
//!
//! A contestant has a series of attempts of its own: its first attempt, and one more after each failure of the infrastructure. Contestant `c`
//! of `n` has the attempts `c`, `c + n`, `c + 2n` and so on. The number of an attempt thus names its contestant, and is unique in the task,
//! without any other label or record.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Least and most contestants of a task.
pub const CONTESTANTS: std::ops::RangeInclusive<u32> = 2..=9;
/// Most measurements of a task.
pub const MAX_MEASUREMENTS: usize = 8;
/// Maximum length of the name of a measurement, in bytes.
pub const MAX_NAME_BYTES: usize = 63;
/// Maximum length of a number that a measurement prints, in bytes.
const MAX_NUMBER_BYTES: usize = 64;

/// Returns the contestant of an attempt, from 1.
pub fn contestant_of(attempt: u32, contestants: u32) -> u32 {
    attempt.saturating_sub(1) % contestants.max(1) + 1
}

/// A number that the command of a measurement printed. It is finite.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Measured(f64);

/// A text is not a number that can be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a finite decimal number")]
pub struct NotANumber(String);

impl Measured {
    /// Returns the number on the last line of an output that is not blank.
    ///
    /// # Errors
    /// If that line is anything else than one finite number.
    pub fn of_output(output: &str) -> Result<Self, NotANumber> {
        output.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().parse()
    }
}

impl FromStr for Measured {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let number = Some(text).filter(|text| text.len() <= MAX_NUMBER_BYTES).and_then(|text| text.parse::<f64>().ok());
        // The sum turns -0 into 0, so that both are equal.
        number
            .filter(|number| number.is_finite())
            .map(|number| Self(number + 0.0))
            .ok_or_else(|| NotANumber(crate::text::truncated(text, MAX_NUMBER_BYTES).to_owned()))
    }
}

impl TryFrom<String> for Measured {
    type Error = NotANumber;

    fn try_from(text: String) -> Result<Self, NotANumber> {
        text.parse()
    }
}

impl From<Measured> for String {
    fn from(number: Measured) -> Self {
        number.to_string()
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Both forms have as many digits as it takes to read the same number again.
        if self.0 == 0.0 || (1e-6..1e15).contains(&self.0.abs()) {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:e}", self.0)
        }
    }
}

impl PartialEq for Measured {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Measured {}

impl PartialOrd for Measured {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Measured {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Which numbers of a measurement are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Better {
    #[default]
    Lower,
    Higher,
}

/// A measurement by which contestants are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// Name of the measurement.
    pub name: String,
    pub better: Better,
}

/// What a contestant achieved whose gates have passed, and what it used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Achievement {
    pub measurements: BTreeMap<String, Measured>,
    /// Cost of its successful attempt in micro-USD; none if the price of a part is unknown.
    pub cost_micro_usd: Option<u64>,
    /// Tokens of that attempt.
    pub tokens: u64,
}

/// The comparison that decided a contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// The gates of no other contestant passed.
    Gates,
    /// The measurement with this name.
    Measurement(String),
    /// The winner was cheaper.
    Cost,
    /// The winner used fewer tokens.
    Tokens,
    /// All else was equal; the winner has the lowest number.
    Number,
}

/// The winner of a contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner {
    /// Its successful attempt.
    pub attempt: u32,
    pub decided_by: DecidedBy,
}

/// Returns the winner among contestants whose gates have passed, by the numbers of their attempts; none if there is no contestant.
///
/// The measurements are compared in the order of `criteria`. A contestant without a number is behind all that have one. Of equal ones, the
/// cheaper wins, then the one with fewer tokens, then the one with the lower number. An unknown cost is behind every known one.
pub fn winner(criteria: &[Criterion], achievements: &BTreeMap<u32, Achievement>) -> Option<Winner> {
    let mut left: Vec<(u32, &Achievement)> =
        achievements.iter().map(|(attempt, achievement)| (*attempt, achievement)).collect();
    let (first, _) = *left.first()?;
    if left.len() == 1 {
        return Some(Winner { attempt: first, decided_by: DecidedBy::Gates });
    }
    for Criterion { name, better } in criteria {
        let number = |achievement: &Achievement| achievement.measurements.get(name).copied();
        match better {
            Better::Lower => keep_least(&mut left, |achievement| (number(achievement).is_none(), number(achievement))),
            Better::Higher => {
                keep_least(&mut left, |achievement| std::cmp::Reverse(number(achievement)));
            }
        }
        if let [(attempt, _)] = left[..] {
            return Some(Winner { attempt, decided_by: DecidedBy::Measurement(name.clone()) });
        }
    }
    keep_least(&mut left, |achievement| (achievement.cost_micro_usd.is_none(), achievement.cost_micro_usd));
    if let [(attempt, _)] = left[..] {
        return Some(Winner { attempt, decided_by: DecidedBy::Cost });
    }
    keep_least(&mut left, |achievement| achievement.tokens);
    // In the order of the map: the first one has the lowest number.
    let (attempt, _) = *left.first()?;
    let decided_by = if left.len() == 1 { DecidedBy::Tokens } else { DecidedBy::Number };
    Some(Winner { attempt, decided_by })
}

/// Keeps the entries with the least key.
fn keep_least<K: Ord>(left: &mut Vec<(u32, &Achievement)>, key: impl Fn(&Achievement) -> K) {
    if let Some(least) = left.iter().map(|(_, achievement)| key(achievement)).min() {
        left.retain(|(_, achievement)| key(achievement) == least);
    }
}

impl fmt::Display for DecidedBy {
    /// Writes why the winner won, after "attempt 2 won: ".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gates => f.write_str("no other contestant passed"),
            Self::Measurement(name) => write!(f, "it has the best {name}"),
            Self::Cost => f.write_str("the contestants are equal, and it was the cheapest"),
            Self::Tokens => f.write_str("the contestants are equal, and it used the fewest tokens"),
            Self::Number => f.write_str("the contestants are equal, and it has the lowest number"),
        }
    }
}

#[cfg(test)]
mod tests;
