//! The rules of a constitution: expressions of the [Common Expression Language](https://cel.dev) over typed documents.
//!
//! [`compile`] checks a rule against what the documents have: names, types, and what it may cost. A [`Program`] is then evaluated on a
//! [`Document`] as often as needed. Every expression has one type that is known before it runs, so that little can go wrong when it does;
//! what a rule costs on a document is estimated before it is evaluated, and refused above [`MAX_COST`].
//!
//! The expressions are those of users, and the documents those of agents: both are bounded here, whatever they hold.

mod check;
mod cost;
mod document;
mod each;
mod inherit;
mod library;
mod program;
mod schema;
mod source;
mod value;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use document::{Decision, Document, Gate, Meta, PlanInput, TaskInput, Workspace};
pub use inherit::{Loosened, inherit};
pub use library::builtin;
pub use program::{Budget, Needs, Outcome, Program, compile, compile_all};
pub use schema::{Field, Record, Type, records};

/// Most rules of one constitution, its parent's counted.
pub const MAX_RULES: usize = 64;
/// Largest expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 4096;
/// Largest message of a rule, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024;
/// Largest name of a principle, in bytes.
pub const MAX_PRINCIPLE_BYTES: usize = 256;
/// Most brackets and operators inside one another in an expression.
pub const MAX_DEPTH: usize = 32;
/// Most patterns in an expression.
pub const MAX_PATTERNS: usize = 8;
/// Most that one evaluation of one rule may cost. One unit is about a step of the evaluation; looking at 64 bytes of text is one too.
pub const MAX_COST: u64 = 10_000_000;
/// Most that all evaluations with one [`Budget`] may cost.
pub const MAX_TOTAL_COST: u64 = 50_000_000;
/// Largest text or list that an expression may make on the way, in bytes.
pub const MAX_VALUE_BYTES: u64 = 4 << 20;
/// Most items that a violation names.
pub const MAX_ITEMS: usize = 20;

/// How much a rule binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strength {
    /// A violation blocks.
    #[serde(rename = "MUST")]
    Must,
    /// A violation warns.
    #[serde(rename = "SHOULD")]
    Should,
}

/// What a rule applies to: the variable of the same name, in small letters, is the document that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// The document, whose name is that of the variable.
    pub fn record(self) -> &'static Record {
        match self {
            Self::Constitution => &schema::CONSTITUTION,
            Self::Specification => &schema::SPECIFICATION,
            Self::Plan => &schema::PLAN,
            Self::Task => &schema::TASK,
        }
    }

    /// What a rule with this scope can see: the document itself, and those that it stands on.
    pub fn sees(self) -> &'static [Self] {
        match self {
            Self::Constitution => &[Self::Constitution],
            Self::Specification => &[Self::Specification, Self::Constitution],
            Self::Plan => &[Self::Plan, Self::Specification, Self::Constitution],
            Self::Task => &[Self::Task, Self::Plan, Self::Specification, Self::Constitution],
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Its name, unique among the rules: an RFC 1123 label.
    pub name: String,
    /// What it applies to.
    #[serde(rename = "appliesTo")]
    pub scope: Scope,
    /// What must hold: an expression of CEL whose result is a boolean.
    pub expression: String,
    /// What a person is told when it does not hold.
    pub message: String,
    /// How much it binds.
    #[serde(rename = "severity")]
    pub strength: Strength,
    /// The principle that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principle: Option<String>,
}

impl Rule {
    /// Returns the sentence for a document, called `name`, that breaks this rule with these items.
    pub fn violation(&self, name: &str, message: &str, items: &[String]) -> String {
        let principle = self.principle.as_ref().map(|p| format!(" of principle \"{p}\"")).unwrap_or_default();
        let items = if items.is_empty() { String::new() } else { format!(": {}", items.join(", ")) };
        format!("{name} violates rule {}{principle}: {message}{items}", self.name)
    }
}

/// Why a rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule:?}, line {line}, column {column}: {problem}; {remedy}")]
pub struct RuleError {
    /// Name of the rule.
    pub rule: String,
    /// Line of its expression, counted from 1.
    pub line: u32,
    /// Column in that line in characters, counted from 1.
    pub column: u32,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}
