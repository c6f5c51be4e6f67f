//! Documents by section: the differences of two, and the merge of two edits of one.
//!
//! A section is a heading with the text below it up to the next heading of any level. The text before the first heading is also a section.

mod diff;
mod lines;
mod merge;
mod model;
mod pair;
mod render;
mod split;

pub use diff::diff;
pub use merge::merge;
pub use model::{Conflict, DiffLine, Hunk, Mark, Merge, Piece, SectionChange, SectionKind, Style};
pub use render::render;
pub(super) use split::split;
