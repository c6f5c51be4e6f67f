//! Rules as they are written, and the limits of their size and cost.

use serde::{Deserialize, Serialize};

use super::schema::{CONSTITUTION, PLAN, Record, SPECIFICATION, TASK};

/// Maximum number of rules of one constitution, including its parent's.
pub const MAX_RULES: usize = 64;
/// Maximum length of an expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 4096;
/// Maximum length of the message of a rule, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024;
/// Maximum length of the name of a principle, in bytes.
pub const MAX_PRINCIPLE_BYTES: usize = 256;
/// Maximum depth of nested brackets and operators in an expression.
pub const MAX_DEPTH: usize = 32;
/// Maximum number of patterns in an expression.
pub const MAX_PATTERNS: usize = 8;
/// Maximum cost of one evaluation of one rule. One unit is about one step of the evaluation, or reading 64 bytes of text.
pub const MAX_COST: u64 = 10_000_000;
/// Maximum cost of all evaluations with one [`Budget`].
pub const MAX_TOTAL_COST: u64 = 50_000_000;
/// Maximum size of an intermediate text or list, in bytes.
pub const MAX_VALUE_BYTES: u64 = 4 << 20;
/// Maximum number of items that a violation names.
pub const MAX_ITEMS: usize = 20;

/// The strength of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strength {
    /// A violation blocks.
    #[serde(rename = "MUST")]
    Must,
    /// A violation warns.
    #[serde(rename = "SHOULD")]
    Should,
}

/// The kind of document that a rule applies to. The variable with the same name, in lower case, is the document under evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display)]
pub enum Scope {
    /// The constitution itself.
    Constitution,
    /// Every specification.
    Specification,
    /// Every plan.
    Plan,
    /// Every task of every plan.
    Task,
}

impl Scope {
    /// Returns the document type, whose name is that of the variable.
    pub fn record(self) -> &'static Record {
        match self {
            Self::Constitution => &CONSTITUTION,
            Self::Specification => &SPECIFICATION,
            Self::Plan => &PLAN,
            Self::Task => &TASK,
        }
    }

    /// Returns the documents that a rule with this scope can read: the document itself, and those that it is based on.
    pub fn sees(self) -> &'static [Self] {
        match self {
            Self::Constitution => &[Self::Constitution],
            Self::Specification => &[Self::Specification, Self::Constitution],
            Self::Plan => &[Self::Plan, Self::Specification, Self::Constitution],
            Self::Task => &[Self::Task, Self::Plan, Self::Specification, Self::Constitution],
        }
    }
}

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Unique name: an RFC 1123 label.
    pub name: String,
    #[serde(rename = "appliesTo")]
    pub scope: Scope,
    /// CEL expression of type bool that must be true.
    pub expression: String,
    /// Message for a person when the rule is violated.
    pub message: String,
    #[serde(rename = "severity")]
    pub strength: Strength,
    /// The principle that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principle: Option<String>,
}

impl Rule {
    /// Returns the sentence that states that the document called `name` violates this rule with these items.
    pub fn violation(&self, name: &str, message: &str, items: &[String]) -> String {
        let principle = self.principle.as_ref().map(|p| format!(" of principle \"{p}\"")).unwrap_or_default();
        let items = if items.is_empty() { String::new() } else { format!(": {}", items.join(", ")) };
        format!("{name} violates rule {}{principle}: {message}{items}", self.name)
    }
}

/// Reason why a rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule:?}, line {line}, column {column}: {problem}; {remedy}")]
pub struct RuleError {
    pub rule: String,
    /// Line of its expression, counted from 1.
    pub line: u32,
    /// Column in that line in characters, counted from 1.
    pub column: u32,
    pub problem: String,
    /// Action that solves the problem.
    pub remedy: String,
}
