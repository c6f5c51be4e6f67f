//! Display options: colours, width and length.

use std::io;

use crate::terminal::{Line, Paint};

/// Columns if standard output is not a terminal.
const DEFAULT_WIDTH: usize = 160;

/// Display options of a table or tree.
#[derive(Clone, Copy, Debug)]
pub struct Display {
    pub paint: Paint,
    /// Columns of the terminal.
    pub width: usize,
    pub length: Length,
}

impl Display {
    /// Returns the options that fit the terminal.
    pub fn of_terminal() -> Self {
        let size = terminal_size::terminal_size_of(io::stdout());
        Self {
            paint: Paint::for_stream(&io::stdout()),
            width: size.map_or(DEFAULT_WIDTH, |(width, _)| width.0.into()),
            // One line stays free for the cursor.
            length: size.map_or(Length::Whole, |(_, height)| Length::Cut(usize::from(height.0).saturating_sub(1))),
        }
    }

    /// Returns an empty line of this width.
    pub fn line(self) -> Line {
        Line::new(self.paint, self.width)
    }
}

/// The number of lines to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Every task.
    Whole,
    /// Folded if there would be more lines than this. The folded tree may still be longer.
    Folded(usize),
    /// Folded and then cut to this number of lines.
    Cut(usize),
}
