//! Output on the terminal, and its colours.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use anyhow::{Result, bail};

use crate::text::{cut, safe, width};

/// A switch for colours.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    enabled: bool,
}

impl Paint {
    pub const fn new(enabled: bool) -> Self {
        Self { enabled }
    }

    /// Enables colours if `stream` is a terminal and NO_COLOR is not set (<https://no-color.org>).
    pub fn for_stream(stream: &impl io::IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::new(stream.is_terminal() && !unwanted)
    }

    /// Applies the style to the text if colours are enabled.
    pub fn with(self, style: Style, text: &str) -> String {
        if self.enabled && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Style of errors and failures.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style of warnings.
pub const WARNING: Style = AnsiColor::Yellow.on_default();

/// A line of styled parts, limited to a number of columns and free of terminal control characters.
#[derive(Debug)]
pub struct Line {
    paint: Paint,
    /// Columns that are left.
    room: usize,
    text: String,
}

impl Line {
    pub const fn new(paint: Paint, columns: usize) -> Self {
        Self { paint, room: columns, text: String::new() }
    }

    pub const fn room(&self) -> usize {
        self.room
    }

    /// Appends as much of the text as fits.
    #[must_use]
    pub fn add(mut self, style: Style, text: &str) -> Self {
        let shown = cut(text, self.room);
        // A text that was cut ends the line: nothing follows its `…`.
        let is_whole = width(text) <= self.room;
        self.room = if is_whole { self.room - width(&shown).min(self.room) } else { 0 };
        self.text.push_str(&self.paint.with(style, &shown));
        self
    }

    /// Appends text without a style.
    #[must_use]
    pub fn plain(self, text: &str) -> Self {
        self.add(Style::new(), text)
    }

    /// Returns the line without trailing spaces.
    pub fn end(self) -> String {
        self.text.trim_end().to_owned()
    }
}

/// Writes text to standard output, unchanged.
pub fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// Writes text that others have written to standard output: without control characters if it is a terminal. A file or pipe gets it
/// unchanged, so that it can be edited and applied.
pub fn print_untrusted(text: &str) -> Result<()> {
    print(&shown(text, io::stdout().is_terminal()))
}

fn shown(text: &str, is_terminal: bool) -> Cow<'_, str> {
    if is_terminal { safe(text) } else { Cow::Borrowed(text) }
}

/// Writes bytes to standard output, unchanged.
pub fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes one line to standard output, without terminal control characters.
pub fn print_line(line: &str) -> Result<()> {
    print(&format!("{}\n", safe(line)))
}

/// Returns whether a person can answer questions.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// Asks a yes-or-no question on the terminal.
///
/// # Errors
/// When standard input is not a terminal. Scripts use `--yes` instead.
pub fn confirm(question: &str) -> Result<bool> {
    if !is_interactive() {
        bail!("standard input is not a terminal, so nobody can answer `{question}`; add --yes to confirm");
    }
    // The question goes to standard error, so that the output in a pipe contains only the result.
    let mut errors = io::stderr();
    write!(errors, "{} [y/N] ", safe(question))?;
    errors.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Writes one line to standard error, so that the output in a pipe stays clean.
pub fn note(line: &str) {
    // There is no other place to report a failure of standard error.
    let _ = writeln!(io::stderr(), "{}", safe(line));
}

/// Writes text to standard error, unchanged.
pub fn note_text(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes one line to standard error with one styled word.
pub fn note_styled(before: &str, style: Style, word: &str, after: &str) {
    let word = Paint::for_stream(&io::stderr()).with(style, &safe(word));
    let _ = writeln!(io::stderr(), "{}{word}{}", safe(before), safe(after));
}

/// Writes an error with its causes to standard error.
pub fn report_error(error: &anyhow::Error) {
    note_styled("", BAD, "error:", &format!(" {error:#}"));
}

/// Returns whether the reader of standard output has closed the pipe, as `head` does. This is not an error.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_get_control_characters() {
        let text = "# A cart\u{1b}]0;title\u{7}\r\n\u{1b}[2J\u{202e}y\n";
        assert_eq!(shown(text, true), "# A cart\u{fffd}]0;title\u{fffd}\n\u{fffd}[2J\u{fffd}y\n");
        assert_eq!(shown(text, false), text);
    }

    /// A terminal is hard to have in a test, so this looks at the sources of the commands that print nothing but such text.
    #[test]
    fn documents_and_prompts_are_printed_as_untrusted() {
        for source in [include_str!("prompt.rs"), include_str!("edit/patch.rs"), include_str!("import/mod.rs")] {
            assert!(source.contains("terminal::print_untrusted("));
            for raw in ["terminal::print(", "print_bytes(", "note_text(", "println!("] {
                assert!(!source.contains(raw), "{raw}");
            }
        }
    }

    #[test]
    fn line_ends_at_its_last_column() {
        let line = Line::new(Paint::new(false), 8).plain("one ").add(BAD, "two\u{1b}[1m three").plain("four");
        assert_eq!(line.room(), 0);
        assert_eq!(line.end(), "one two…");
        let painted = Line::new(Paint::new(true), 8).add(BAD, "bad").plain(" x");
        assert_eq!((painted.room(), painted.end().as_str()), (3, "\u{1b}[1m\u{1b}[31mbad\u{1b}[0m x"));
    }
}
