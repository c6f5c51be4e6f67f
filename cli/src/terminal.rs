//! What is printed, and whether it may be coloured.

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use anyhow::Result;

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
        if self.enabled { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Something went wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Somebody should look.
pub const WARNING: Style = AnsiColor::Yellow.on_default();

/// Writes to standard output.
pub fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// Writes to standard output what need not be text.
pub fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Asks a person at the terminal; where none is, whoever wrote the call has decided already.
pub fn confirm(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    let mut errors = io::stderr();
    write!(errors, "{question} [y/N] ")?;
    errors.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Writes one line to standard error; a person who reads along learns from it, a pipe is not disturbed.
pub fn note(line: &str) {
    // Nobody is left to tell when this fails.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Says on standard error what went wrong.
pub fn complain(error: &anyhow::Error) {
    let paint = Paint::of(&io::stderr());
    note(&format!("{} {error:#}", paint.with(BAD, "error:")));
}

/// Whether the reader of standard output has gone, as `head` does: no failure of ours.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
