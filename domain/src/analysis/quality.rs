//! How good a document is, as a number with its reasons.

use serde::Serialize;

/// How good a document is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Quality {
    /// 0 to 100: the mean of the parts by their weights, rounded.
    pub score: u8,
    /// What the score is made of.
    pub parts: Vec<Part>,
}

/// One part of the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Name: `Completeness`, `Clarity`, `Testability`, `Consistency`, `Coverage`.
    pub name: &'static str,
    /// 0 to 100.
    pub score: u8,
    /// Its weight in percent; the weights of all parts add up to 100.
    pub weight: u8,
    /// The figures behind it, in words.
    pub explanation: String,
}
