//! What is printed, and whether it may be coloured.

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use anyhow::{Result, bail};

use crate::text::{cut, safe, width};

/// Styles a text where colours are wanted, and leaves it alone elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    enabled: bool,
}

impl Paint {
    /// Colours, or none.
    pub const fn new(enabled: bool) -> Self {
        Self { enabled }
    }

    /// Colours when a person watches `stream` and has not said otherwise (<https://no-color.org>).
    pub fn of(stream: &impl io::IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::new(stream.is_terminal() && !unwanted)
    }

    /// The text in this style.
    pub fn with(self, style: Style, text: &str) -> String {
        if self.enabled && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Something went wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Somebody should look.
pub const WARNING: Style = AnsiColor::Yellow.on_default();

/// A line that is put together of styled parts, holds nothing that a terminal would obey, and ends where its columns do.
#[derive(Debug)]
pub struct Line {
    paint: Paint,
    room: usize,
    text: String,
}

impl Line {
    /// An empty line of so many columns.
    pub const fn new(paint: Paint, columns: usize) -> Self {
        Self { paint, room: columns, text: String::new() }
    }

    /// Columns that are left.
    pub const fn room(&self) -> usize {
        self.room
    }

    /// The line with this text after it, as far as there is room.
    #[must_use]
    pub fn add(mut self, style: Style, text: &str) -> Self {
        let shown = cut(text, self.room);
        let is_whole = width(text) <= self.room;
        self.room = if is_whole { self.room - width(&shown).min(self.room) } else { 0 };
        self.text.push_str(&self.paint.with(style, &shown));
        self
    }

    /// The line with this text after it, in no style.
    #[must_use]
    pub fn plain(self, text: &str) -> Self {
        self.add(Style::new(), text)
    }

    /// The finished line.
    pub fn end(self) -> String {
        self.text.trim_end().to_owned()
    }
}

/// Writes to standard output, as it is.
pub fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// Writes to standard output what need not be text, as it is.
pub fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes one line to standard output, with nothing in it that a terminal would obey.
pub fn say(line: &str) -> Result<()> {
    print(&format!("{}\n", safe(line)))
}

/// Asks a person at the terminal.
///
/// # Errors
/// Where nobody can answer: a call from a script says with `--yes` that its author has decided.
pub fn confirm(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask `{question}` at; say --yes");
    }
    let mut errors = io::stderr();
    write!(errors, "{} [y/N] ", safe(question))?;
    errors.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Writes one line to standard error; a person who reads along learns from it, a pipe is not disturbed.
pub fn note(line: &str) {
    // Nobody is left to tell when this fails.
    let _ = writeln!(io::stderr(), "{}", safe(line));
}

/// Writes to standard error, as it is.
pub fn aside(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes one line to standard error, with a word of it in a style.
pub fn mark(before: &str, style: Style, word: &str, after: &str) {
    let word = Paint::of(&io::stderr()).with(style, &safe(word));
    let _ = writeln!(io::stderr(), "{}{word}{}", safe(before), safe(after));
}

/// Says on standard error what went wrong.
pub fn complain(error: &anyhow::Error) {
    mark("", BAD, "error:", &format!(" {error:#}"));
}

/// Whether the reader of standard output has gone, as `head` does: no failure of ours.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_its_columns() {
        let line = Line::new(Paint::new(false), 8).plain("one ").add(BAD, "two\u{1b}[1m three").plain("four");
        assert_eq!(line.room(), 0);
        assert_eq!(line.end(), "one two…");
        let painted = Line::new(Paint::new(true), 8).add(BAD, "bad").plain(" x");
        assert_eq!((painted.room(), painted.end().as_str()), (3, "\u{1b}[1m\u{1b}[31mbad\u{1b}[0m x"));
    }
}
