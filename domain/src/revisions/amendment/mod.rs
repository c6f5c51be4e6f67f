//! Amendments of a constitution: the changes, the version step that they require, and the check of the version.
//!
//! The steps are those of Spec Kit's constitution command: MAJOR for principles and governance that are removed or redefined, MINOR for
//! additions, PATCH for wording.

mod compare;
mod model;
mod parts;
mod prose;
mod version;

pub use compare::compare;
pub use model::{Amendment, Change, ChangeKind, Level, Rule, RulesChange};
pub use version::{Accepted, VersionMismatch, check_version};
