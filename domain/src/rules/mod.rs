//! The rules of a constitution: expressions of the [Common Expression Language](https://cel.dev) over typed documents.
//!
//! [`compile`] checks a rule against the schema of the documents: names, types and cost. A [`Program`] is then evaluated on a
//! [`Document`] as often as needed. Every expression has one type that is known before the evaluation, which excludes most errors at run
//! time. The cost of a rule on a document is estimated before the evaluation, which is refused above [`MAX_COST`].
//!
//! Users write the expressions, and agents write the documents: the size and cost of both are limited here.

pub mod appendix;
mod check;
mod cost;
mod document;
mod expression;
mod inherit;
mod library;
mod macros;
mod model;
mod program;
mod schema;
mod value;

pub use document::{Decision, Document, DocumentMetadata, FindingPolicy, Gate, PlanInput, TaskInput, Workspace};
pub use inherit::{LoosenedRule, inherit};
pub use library::builtin;
pub use model::{
    MAX_COST, MAX_DEPTH, MAX_EXPRESSION_BYTES, MAX_ITEMS, MAX_MESSAGE_BYTES, MAX_PATTERNS, MAX_PRINCIPLE_BYTES,
    MAX_RULES, MAX_TOTAL_COST, MAX_VALUE_BYTES, Rule, RuleError, Scope, Strength,
};
pub use program::{Budget, Outcome, Program, RequiredDocuments, compile, compile_all};
pub use schema::{Field, Record, Type, records};
