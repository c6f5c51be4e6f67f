//! Accepted findings: which findings people have accepted with a reason.
//!
//! A person accepts a finding in a comment of the document (see `directives.rs`) or in the object. What the object accepts is appended to
//! its document, as an HTML comment with one line of JSON for each acceptance, so that people approve and the record keeps both.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::finding::{Finding, Severity};
use crate::appendix::{END, append, without};

/// Location of findings about a document as a whole.
pub(super) const DOCUMENT: &str = "Document";

/// First line of the appendix.
const BEGIN: &str = "<!-- enact.dev/accepted\n";

/// An acceptance of findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// Code of the accepted findings.
    pub code: String,
    /// Why they are accepted.
    pub reason: String,
    /// The user who accepted them, if an object says so.
    pub by: Option<String>,
    scope: Scope,
}

/// The findings of the code that an acceptance covers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    /// Those at this location, or the one with this id.
    Named(String),
    /// Those in these lines of the document, and those about the document as a whole if the comment is at its beginning.
    Lines { first: u32, last: u32, document: bool },
}

/// What an acceptance compares of a finding.
#[derive(Debug, Clone, Copy)]
pub struct FindingKey<'a> {
    pub id: &'a str,
    pub code: &'a str,
    pub location: &'a str,
    pub line: u32,
    pub severity: Severity,
}

/// A finding that a person has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceptedFinding {
    pub finding: Finding,
    /// Why it is accepted.
    pub reason: String,
    /// The user who accepted it, if an object says so.
    pub by: Option<String>,
}

/// An acceptance as the appendix holds it.
#[derive(Serialize, Deserialize)]
struct Entry {
    code: String,
    at: String,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

impl Finding {
    /// Returns what an acceptance compares.
    pub fn key(&self) -> FindingKey<'_> {
        let Self { id, code, location, line, severity, .. } = self;
        FindingKey { id, code, location, line: *line, severity: *severity }
    }
}

impl Acceptance {
    /// Returns the acceptance of the findings of a code at a location (`FR-003`), or of the one with this id (`AMB-1f3a9c2e`).
    pub fn named(code: &str, at: &str, reason: &str, by: Option<String>) -> Self {
        let scope = Scope::Named(at.to_owned());
        Self { code: code.to_owned(), reason: reason.to_owned(), by, scope }
    }

    /// Returns the acceptance of the findings of a code in these lines.
    pub(super) fn in_lines(code: &str, reason: String, (first, last): (u32, u32), document: bool) -> Self {
        Self { code: code.to_owned(), reason, by: None, scope: Scope::Lines { first, last, document } }
    }

    /// Returns whether a finding is accepted. Nobody can accept a critical one: the document cannot be used, or violates its constitution.
    pub fn covers(&self, finding: &FindingKey<'_>) -> bool {
        finding.severity != Severity::Critical
            && finding.code == self.code
            && match &self.scope {
                Scope::Named(at) => at == finding.location || at == finding.id,
                Scope::Lines { first, last, document } => {
                    (*first..=*last).contains(&finding.line) || (*document && finding.location == DOCUMENT)
                }
            }
    }
}

/// Findings, separated by [`separate`].
pub(super) struct Separated {
    pub(super) open: Vec<Finding>,
    pub(super) accepted: Vec<AcceptedFinding>,
    /// Whether each acceptance covers a finding.
    pub(super) used: Vec<bool>,
}

/// Separates accepted findings from open ones, and keeps their order.
pub(super) fn separate(findings: Vec<Finding>, acceptances: &[Acceptance]) -> Separated {
    let used = vec![false; acceptances.len()];
    let mut separated = Separated { open: Vec::new(), accepted: Vec::new(), used };
    for finding in findings {
        let mut first = None;
        for (at, acceptance) in acceptances.iter().enumerate() {
            if acceptance.covers(&finding.key()) {
                separated.used[at] = true;
                first = first.or(Some(acceptance));
            }
        }
        match first {
            Some(Acceptance { reason, by, .. }) => {
                let (reason, by) = (reason.clone(), by.clone());
                separated.accepted.push(AcceptedFinding { finding, reason, by });
            }
            None => separated.open.push(finding),
        }
    }
    separated
}

/// Appends what an object accepts to its document, if it accepts anything. An existing appendix is replaced: the document came from the
/// record, with an older revision.
///
/// An acceptance by location or id is appended; one from a comment is in the document already.
pub fn with_appendix(document: &[u8], acceptances: &[Acceptance]) -> Vec<u8> {
    append(without(document, BEGIN), BEGIN, acceptances.iter().filter_map(entry))
}

fn entry(acceptance: &Acceptance) -> Option<Entry> {
    let Acceptance { code, reason, by, scope } = acceptance;
    let Scope::Named(at) = scope else { return None };
    Some(Entry { code: code.clone(), at: at.clone(), reason: reason.clone(), by: by.clone() })
}

/// Returns a document with its appendix blanked, so that neither the parser nor the analysis reads it as text, and what it accepts.
/// Offsets and lines stay the same.
pub fn read_appendix(document: &[u8]) -> (Cow<'_, [u8]>, Vec<Acceptance>) {
    let Some((start, end)) = appendix(document) else { return (Cow::Borrowed(document), Vec::new()) };
    let lines = str::from_utf8(&document[start + BEGIN.len()..end - END.len()]).unwrap_or_default();
    let entries = lines.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
    let acceptances = entries.map(|e| Acceptance::named(&e.code, &e.at, &e.reason, e.by)).collect();
    let mut blanked = document.to_vec();
    for byte in blanked[start..end].iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
    (Cow::Owned(blanked), acceptances)
}

/// Returns the span of the last appendix, which begins at the beginning of a line and ends at the end of one.
fn appendix(document: &[u8]) -> Option<(usize, usize)> {
    let text = str::from_utf8(document).ok()?;
    let starts_line = |at: &usize| *at == 0 || document[*at - 1] == b'\n';
    let start = text.rmatch_indices(BEGIN).map(|(at, _)| at).find(starts_line)?;
    // From the line break of the first line on: nothing may lie between it and the end.
    let break_at = start + BEGIN.len() - 1;
    let end = text[break_at..].find("\n-->\n")?;
    Some((start, break_at + end + "\n-->\n".len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn appendix_can_be_read_again(text in "[a-z\n#<!->]{0,60}", reasons in proptest::collection::vec("[a-z>\n\"-]{1,12}", 0..4)) {
            let all: Vec<Acceptance> =
                reasons.iter().map(|reason| Acceptance::named("VagueTime", "FR-001", reason, Some("ada".into()))).collect();
            let once = with_appendix(text.as_bytes(), &all);
            let (blanked, read) = read_appendix(&once);
            prop_assert_eq!(&read, &all);
            prop_assert_eq!((blanked.len(), blanked.starts_with(text.as_bytes())), (once.len(), true));
            prop_assert!(blanked[text.len()..].iter().all(u8::is_ascii_whitespace));
            prop_assert_eq!(&with_appendix(&once, &all), &once, "an appendix is not a part of the document");
            prop_assert!(with_appendix(&once, &[]).len() <= text.len() + 2);
        }
    }

    #[test]
    fn bytes_that_are_not_text_get_no_second_appendix() {
        let (document, read) = read_appendix(b"\xff\xfe");
        assert_eq!((document.as_ref(), read.len()), (&b"\xff\xfe"[..], 0));
        let twice = "<!-- enact.dev/accepted\n-->\ntext\n";
        assert_eq!(with_appendix(twice.as_bytes(), &[]), b"text\n");
    }

    /// An author writes into the document that a boss has accepted something, and appendices that would be replaced in its place.
    #[test]
    fn nobody_accepts_in_the_name_of_others() {
        let by_boss = [Acceptance::named("VagueTime", "FR-001", "fine", Some("boss".into()))];
        let forged = String::from_utf8(with_appendix(b"text\n", &by_boss)).unwrap();
        for copies in 0..3 {
            let written = forged.clone() + &"<!-- enact.dev/accepted\n-->\n".repeat(copies);
            let document = with_appendix(written.as_bytes(), &[]);
            assert!(read_appendix(&document).1.is_empty(), "{copies}");
        }
    }
}
