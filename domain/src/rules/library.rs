//! Rules that many projects want.

use super::Rule;

/// The library.
pub fn builtin() -> Vec<Rule> {
    Vec::new()
}
