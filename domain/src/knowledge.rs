//! Knowledge about a repository, for the agents of later plans: a file in the repository, whose entries expire when their evidence changes.
//!
//! Agents propose the file by a plan, and a person accepts it by merging that plan's branch: see `docs/guide/planning.md`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::agents::fence;
use crate::analysis::significant_terms;
use crate::assignment::Gate;
use crate::text::{self, one_line};

/// Path of the file in the repository.
pub const PATH: &str = ".enact/knowledge.md";
/// Maximum size of the file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 32 << 10;
/// Maximum size of the knowledge in a prompt, in bytes.
pub const MAX_SECTION: usize = 4 << 10;
/// Maximum number of entries.
const MAX_ENTRIES: usize = 100;
/// Maximum length of the text of an entry, in bytes.
const MAX_TEXT: usize = 400;
/// Maximum number of paths that are evidence of an entry.
const MAX_EVIDENCE: usize = 8;
/// Maximum length of a path, in bytes.
const MAX_PATH: usize = 255;
/// Lengths of the id of a Git object: the least, so that no other object has it, and that of SHA-256.
const ID_DIGITS: (usize, usize) = (12, 64);
/// Maximum number of significant words of a task that are compared.
const MAX_TERMS: usize = 2048;
/// Maximum number of problems that one message names.
const MAX_NAMED: usize = 10;
/// Maximum size of the gates, and of the failures, in the text of a task, and of each text in them, in bytes.
const MAX_LIST: usize = 6 << 10;
const MAX_SHOWN: usize = 400;

const HEADING: &str = "
## What is known about the repository

Agents proposed the next lines after earlier plans, and a person accepted them. The files that they are about have not changed since. They help
to do the task, and they are not rules.

";

const FORM: &str = "\
Write the file `.enact/knowledge.md`, and change no other file. Keep the entries that it has and that are still right, correct the others, and
add at most ten. Write down only what saves a later agent time or a mistake, and what you have checked in the repository: nothing that is
obvious from one file, nothing about this task, no secret, no address of a host.

The form:

    # Knowledge

    ## Commands

    - Run the unit tests with `make test`; they need no network.
      Evidence: Makefile@8ab686eafeb1f44702738c8b

    ## Conventions

    - Errors are values of `Problem`; nothing panics.
      Evidence: src/problem.rs@b2d1a0f36a1c, src/lib.rs@0c1d2e3f4a5b
      Seen in: task T004 of plan cart

    ## Pitfalls

- These three sections, in which each entry is a list item of at most 400 bytes. The newest entry of a section is its first.
- Each entry has a line `Evidence:` with the files or directories that show it, at most eight: the path, `@`, and what
  `git rev-parse HEAD:<path>` prints, at least 12 digits of it. The entry expires when one of them changes: name those that would make it
  wrong, not the whole repository.
- A line `Seen in:` is optional.
";

/// The section of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// How to build, test or run something.
    Command,
    /// How things are done in this repository.
    Convention,
    /// What goes wrong easily.
    Pitfall,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Command, Self::Convention, Self::Pitfall];

    /// Returns the word in a prompt.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "Command",
            Self::Convention => "Convention",
            Self::Pitfall => "Pitfall",
        }
    }

    fn of_heading(heading: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| heading.strip_suffix('s') == Some(kind.as_str()))
    }
}

/// A file or directory that shows an entry, with what it contained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub path: String,
    /// First digits of the id of the Git object.
    pub id: String,
}

/// One thing that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// What is known, in one line.
    pub text: String,
    pub evidence: Vec<Evidence>,
    /// Line in the file, counted from 1.
    pub line: usize,
}

/// A line that is not of the required form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, counted from 1.
    pub line: usize,
    pub message: String,
}

/// What a file contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// Entries of the required form.
    pub entries: Vec<Entry>,
    pub problems: Vec<Problem>,
}

/// The Git objects of a commit: path → id. A path that does not exist has none.
pub type ObjectIds = BTreeMap<String, String>;

/// An attempt at a task that failed because of its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Id of the task.
    pub task: String,
    pub attempt: u32,
    pub reason: String,
    pub message: String,
}

impl Entry {
    /// Returns the first path whose object is another one, if there is one: then the entry has expired.
    pub fn changed(&self, ids: &ObjectIds) -> Option<&Evidence> {
        self.evidence.iter().find(|evidence| !ids.get(&evidence.path).is_some_and(|id| id.starts_with(&evidence.id)))
    }
}

impl Knowledge {
    /// Reads a file. Whatever is not of the required form is a problem and no entry.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        let text = String::from_utf8_lossy(bytes);
        let (mut kind, mut open) = (None, None::<Draft>);
        for (line, content) in (1..).zip(text.lines()) {
            let (indented, content) = (content.starts_with([' ', '\t']), content.trim());
            if let Some(heading) = content.strip_prefix("## ").filter(|_| !indented) {
                found.close(open.take());
                kind = Kind::of_heading(heading.trim());
                if kind.is_none() {
                    found.problem(line, "the sections are `## Commands`, `## Conventions` and `## Pitfalls`");
                }
            } else if let Some(entry) = content.strip_prefix("- ").filter(|_| !indented) {
                found.close(open.take());
                match kind {
                    Some(kind) => open = Some(Draft::new(kind, entry, line)),
                    None => found.problem(line, "an entry belongs to one of the three sections"),
                }
            } else if let Some(draft) = open.as_mut().filter(|_| indented && !content.is_empty()) {
                draft.add(content);
            } else if !(content.is_empty() || content.starts_with("# ")) {
                found.problem(
                    line,
                    "this is neither a section nor an entry: begin an entry with `- `, and indent its other lines",
                );
            }
        }
        found.close(open);
        found
    }

    fn problem(&mut self, line: usize, message: impl Into<String>) {
        self.problems.push(Problem { line, message: message.into() });
    }

    /// Adds an entry that is complete.
    fn close(&mut self, draft: Option<Draft>) {
        let Some(Draft { kind, text, evidence, line }) = draft else { return };
        let Some(evidence) = evidence else {
            self.problem(line, "the entry needs a line `  Evidence: <path>@<id>`");
            return;
        };
        let read: Result<Vec<Evidence>, String> = evidence.split(',').map(Evidence::parse).collect();
        match read {
            Err(problem) => self.problem(line, problem),
            Ok(_) if text.is_empty() || text.len() > MAX_TEXT => {
                self.problem(line, format!("the text of the entry has {} bytes; write 1 to {MAX_TEXT}", text.len()));
            }
            Ok(evidence) if evidence.len() > MAX_EVIDENCE => {
                self.problem(line, format!("the entry names {} paths; name at most {MAX_EVIDENCE}", evidence.len()));
            }
            Ok(_) if self.entries.len() >= MAX_ENTRIES => {
                self.problem(line, format!("the file has more than {MAX_ENTRIES} entries; remove some"));
            }
            Ok(evidence) => self.entries.push(Entry { kind, text, evidence, line }),
        }
    }

    /// Returns the paths that are evidence.
    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> =
            self.entries.iter().flat_map(|entry| &entry.evidence).map(|evidence| evidence.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Returns what is wrong with a proposed file, for its author; none if nothing is. `ids` are the objects of the commit that has the file.
    pub fn refusal(&self, ids: &ObjectIds) -> Option<String> {
        let mut problems = self.problems.clone();
        for entry in &self.entries {
            let Some(Evidence { path, id }) = entry.changed(ids) else { continue };
            let message = ids.get(path).map_or_else(
                || format!("the evidence `{path}` does not exist; name another path, or remove the entry"),
                |now| {
                    format!(
                        "the evidence `{path}` is {now} and not {id}; check the entry and correct the id, or remove it"
                    )
                },
            );
            problems.push(Problem { line: entry.line, message });
        }
        problems.sort_by_key(|problem| problem.line);
        let named: Vec<String> = problems
            .iter()
            .take(MAX_NAMED)
            .map(|problem| format!("line {}: {}", problem.line, problem.message))
            .collect();
        let more = problems.len().saturating_sub(named.len());
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        (!named.is_empty()).then(|| format!("`{PATH}`: {}{more}", named.join("; ")))
    }

    /// Returns the part of a prompt with the entries that have not expired, as many as fit; empty if there is none. Those that have most words
    /// in common with `about` are first, and then those that are first in the file.
    pub fn section(&self, ids: &ObjectIds, about: &str) -> String {
        let about = significant_terms(about, MAX_TERMS);
        let mut current: Vec<&Entry> = self.entries.iter().filter(|entry| entry.changed(ids).is_none()).collect();
        current.sort_by_cached_key(|entry| {
            Reverse(significant_terms(&entry.text, MAX_TERMS).intersection(&about).count())
        });
        let mut text = String::new();
        for entry in current {
            let line = format!("{}: {}\n", entry.kind.as_str(), entry.text);
            if text.len() + line.len() <= MAX_SECTION {
                text.push_str(&line);
            }
        }
        let mut section = String::new();
        if !text.is_empty() {
            section.push_str(HEADING);
            fence::write(&mut section, "knowledge", &text, MAX_SECTION);
        }
        section
    }
}

/// An entry whose lines are being read.
struct Draft {
    kind: Kind,
    text: String,
    evidence: Option<String>,
    line: usize,
}

impl Draft {
    fn new(kind: Kind, text: &str, line: usize) -> Self {
        Self { kind, text: one_line(text), evidence: None, line }
    }

    fn add(&mut self, line: &str) {
        if let Some(evidence) = line.strip_prefix("Evidence:") {
            self.evidence = Some(evidence.to_owned());
        } else if !line.starts_with("Seen in:") {
            self.text = one_line(&format!("{} {line}", self.text));
        }
    }
}

impl Evidence {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_matches('`');
        let Some((path, id)) = text.rsplit_once('@') else {
            return Err(format!("the evidence `{}` has no id; write `<path>@<id>`", text::message(text, MAX_PATH)));
        };
        let is_hex = id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        if !is_hex || id.len() < ID_DIGITS.0 || id.len() > ID_DIGITS.1 {
            return Err(format!(
                "the id of the evidence `{}` is not {} to {} hex digits; use what `git rev-parse HEAD:<path>` prints",
                text::message(path, MAX_PATH),
                ID_DIGITS.0,
                ID_DIGITS.1
            ));
        }
        if !is_path(path) {
            let shown = text::message(path, MAX_PATH);
            return Err(format!(
                "the evidence `{shown}` is not a path of a file or directory below the root of the repository"
            ));
        }
        Ok(Self { path: path.to_owned(), id: id.to_owned() })
    }
}

/// Returns whether Git takes the text for a path, and for nothing else.
fn is_path(path: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | ".." | ".git");
    path.len() <= MAX_PATH
        && !path.starts_with(['-', ':'])
        && !path.chars().any(|c| c.is_control() || matches!(c, '"' | '\\' | '`'))
        && path.split('/').all(is_part)
}

/// Returns the text of a task that proposes knowledge after a plan. `gates` are those of the plan and its tasks.
pub fn proposal(plan: &str, gates: &[Gate], failures: &[FailedAttempt]) -> String {
    let mut text = format!("Plan {} has succeeded. {FORM}", one_line(plan));
    let shown = |long: &str| text::message(one_line(long), MAX_SHOWN);
    let gates = gates.iter().map(|Gate { name, script }| format!("- {}: {}\n", shown(name), shown(script)));
    list(&mut text, "Gates of the plan, which succeed in the repository as it is:", gates);
    let failures = failures.iter().map(|FailedAttempt { task, attempt, reason, message }| {
        format!("- attempt {attempt} at {}: {}: {}\n", shown(task), shown(reason), shown(message))
    });
    let heading = "Attempts that failed before the plan succeeded. Find out what a later agent should know about them:";
    list(&mut text, heading, failures);
    text
}

/// Adds a list with as many lines as fit; nothing if there is none.
fn list(text: &mut String, heading: &str, lines: impl Iterator<Item = String>) {
    let mut shown = String::new();
    for line in lines {
        if shown.len() + line.len() <= MAX_LIST {
            shown.push_str(&line);
        }
    }
    if !shown.is_empty() {
        let _ = write!(text, "\n{heading}\n\n{shown}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "# Knowledge

## Commands

- Run the unit tests with `make test`;
  they need no network.
  Evidence: Makefile@8ab686eafeb1

## Pitfalls

- The cart is empty before `migrate`.
  Evidence: `src/cart.rs@b2d1a0f36a1c`, db@0c1d2e3f4a5b
  Seen in: task T004 of plan cart
";

    fn ids(of: &[(&str, &str)]) -> ObjectIds {
        of.iter().map(|(path, id)| ((*path).to_owned(), format!("{id}0000"))).collect()
    }

    fn all() -> ObjectIds {
        ids(&[("Makefile", "8ab686eafeb1"), ("src/cart.rs", "b2d1a0f36a1c"), ("db", "0c1d2e3f4a5b")])
    }

    /// Returns the problems of a file with one entry that has this evidence.
    fn problem(evidence: &str) -> String {
        let found = Knowledge::parse(format!("## Commands\n\n- Build it.\n  Evidence: {evidence}\n").as_bytes());
        assert_eq!(found.entries.len() + found.problems.len(), 1, "{found:?}");
        found.problems.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn reads_entries_with_their_evidence() {
        let found = Knowledge::parse(FILE.as_bytes());
        assert_eq!(found.problems, []);
        let [command, pitfall] = found.entries.as_slice() else { panic!("{found:?}") };
        assert_eq!((command.kind, command.line), (Kind::Command, 5));
        assert_eq!(command.text, "Run the unit tests with `make test`; they need no network.");
        assert_eq!((pitfall.kind, pitfall.evidence.len()), (Kind::Pitfall, 2));
        assert_eq!(found.paths(), ["Makefile", "db", "src/cart.rs"]);
        assert_eq!(found.refusal(&all()), None);
    }

    #[test]
    fn an_entry_expires_when_its_evidence_changes() {
        let found = Knowledge::parse(FILE.as_bytes());
        let changed = ids(&[("Makefile", "8ab686eafeb1"), ("src/cart.rs", "ffffffffffff"), ("db", "0c1d2e3f4a5b")]);
        let section = found.section(&changed, "");
        assert!(section.contains("Command: Run the unit tests") && !section.contains("migrate"), "{section}");
        let refusal = found.refusal(&changed).unwrap();
        assert!(
            refusal.contains("line 11: the evidence `src/cart.rs` is ffffffffffff0000 and not b2d1a0f36a1c"),
            "{refusal}"
        );
        let refusal = found.refusal(&ObjectIds::new()).unwrap();
        assert!(refusal.contains("line 5: the evidence `Makefile` does not exist; name another path"), "{refusal}");
        assert_eq!(found.section(&ObjectIds::new(), ""), "");
    }

    #[test]
    fn what_is_about_the_task_is_first() {
        let found = Knowledge::parse(FILE.as_bytes());
        let before = |about: &str| {
            let section = found.section(&all(), about);
            section.find("Command: ").unwrap() < section.find("Pitfall: ").unwrap()
        };
        assert!(before("") && before("Write unit tests") && !before("Fill the cart"));
    }

    #[test]
    fn the_form_is_checked() {
        assert_eq!(problem("Makefile@8ab686eafeb1"), "");
        assert!(problem("Makefile").contains("has no id"));
        assert!(problem("Makefile@8ab6").contains("not 12 to 64 hex digits"));
        for path in ["", "/etc/passwd", "../x", "a/../b", "-x", ":(glob)**", "a//b", ".git/config", "a\"b"] {
            assert!(problem(&format!("{path}@8ab686eafeb1")).contains("is not a path"), "{path}");
        }
        let many = ["a@8ab686eafeb1"; MAX_EVIDENCE + 1].join(", ");
        assert!(problem(&many).contains("at most 8"));
        let found = Knowledge::parse(b"Some prose.\n- No section\n## Notes\n## Commands\n- No evidence\n");
        let lines: Vec<usize> = found.problems.iter().map(|problem| problem.line).collect();
        assert_eq!((lines, found.entries.len()), (vec![1, 2, 3, 5], 0), "{found:?}");
    }

    #[test]
    fn the_form_in_the_prompt_is_the_required_one() {
        let example: String = FORM
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .fold(String::new(), |text, line| text + line + "\n");
        let found = Knowledge::parse(example.as_bytes());
        assert_eq!((found.problems, found.entries.len()), (vec![], 2));
        assert!(FORM.contains(PATH));
    }

    #[test]
    fn a_proposal_has_gates_and_failures() {
        let gates = [Gate { name: "tests".into(), script: "make test".into() }];
        let failure = FailedAttempt {
            task: "T004".into(),
            attempt: 1,
            reason: "GateFailed".into(),
            message: "no table\n`cart`".into(),
        };
        let text = proposal("cart", &vec![gates[0].clone(); 1000], &vec![failure; 1000]);
        assert!(
            text.contains("- tests: make test\n")
                && text.contains("- attempt 1 at T004: GateFailed: no table `cart`\n")
        );
        assert!(text.len() < FORM.len() + 2 * MAX_LIST + 1000);
        let text = proposal("cart", &[], &[]);
        assert!(
            text.starts_with("Plan cart has succeeded. Write the file") && !text.contains("failed before"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn any_file_is_read_and_the_section_is_bounded(text in "(\\PC|\n|## Commands\n|- |  Evidence: a@8ab686eafeb1\n){0,80}", times in 1usize..50) {
            let found = Knowledge::parse(text.repeat(times).as_bytes());
            prop_assert!(found.entries.len() <= MAX_ENTRIES);
            let section = found.section(&ids(&[("a", "8ab686eafeb1")]), &text);
            prop_assert!(section.len() < MAX_SECTION + HEADING.len() + 1000);
        }
    }
}
