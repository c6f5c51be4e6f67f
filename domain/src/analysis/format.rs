//! The parser's diagnostics as findings: one for each problem, not one for each line.

use super::finding::shortened;
use super::statements::headings;
use super::text::is_one_of;
use crate::speckit::Diagnostic;

/// Code of the parser for a line with placeholders of the template.
pub(super) const UNFILLED: &str = "UnfilledTemplate";

/// Code of the parser for a constitution that only has placeholders.
pub(super) const NOT_FILLED: &str = "TemplateNotFilled";

/// Code of the parser for a part of a specification that is missing.
const MISSING: &str = "MissingSection";

/// Returns the diagnostics that become findings. Open questions are left out, since the ambiguity pass reports them. The placeholders of a
/// template are one diagnostic, and the missing parts of a document are one.
pub(super) fn readable(parsed: &[Diagnostic], source: &str) -> Vec<Diagnostic> {
    let lines: Vec<&str> = source.lines().collect();
    let line = |d: &Diagnostic| {
        let at = usize::try_from(d.line).unwrap_or_default();
        at.checked_sub(1).and_then(|at| lines.get(at)).copied().unwrap_or_default()
    };
    let empty = parsed.iter().any(|d| d.code == NOT_FILLED);
    let early = is_early_layout(source);
    let applies = |d: &&Diagnostic| match d.code {
        "OpenQuestion" => false,
        UNFILLED => !empty && !is_remark(line(d)),
        MISSING => !early || !d.message.contains("success criteria"),
        _ => true,
    };
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut unfilled = 0;
    for diagnostic in parsed.iter().filter(applies) {
        let mut diagnostic = diagnostic.clone();
        unfilled += usize::from(diagnostic.code == UNFILLED);
        if diagnostic.code == UNFILLED && unfilled > 1 {
            continue;
        }
        if diagnostic.code == MISSING {
            diagnostic.message.push_str(&unread(source, &diagnostic.message));
            if let Some(earlier) = found.iter_mut().find(|d| d.code == MISSING && d.line == diagnostic.line) {
                earlier.message = format!("{}; {}", earlier.message, diagnostic.message);
                earlier.remedy = format!("{}; {}", earlier.remedy, diagnostic.remedy);
                continue;
            }
        }
        found.push(diagnostic);
    }
    if let Some(first) = found.iter_mut().find(|d| d.code == UNFILLED && unfilled > 1) {
        first.message = format!("{}, and {unfilled} lines have placeholders in all", first.message);
    }
    found
}

/// Returns what to add to a message about missing parts of a specification if a heading announces them.
fn unread(source: &str, message: &str) -> String {
    let words: &[&str] = match message {
        m if m.contains("success criteria") => &["success", "criteria", "outcome"],
        m if m.contains("no requirements") => &["requirement"],
        m if m.contains("user stories") => &["scenario", "story", "stories"],
        _ => return String::new(),
    };
    // The title of the document announces nothing.
    let section = |start: usize| source[start..].starts_with("##");
    let announces = |title: &str| words.iter().any(|word| title.to_lowercase().contains(word));
    let found = headings(source).into_iter().find(|(start, title)| section(*start) && announces(title));
    found.map_or_else(String::new, |(start, title)| {
        let line = source[..start].matches('\n').count() + 1;
        format!(", although the heading \"{}\" on line {line} has content in another form", shortened(title))
    })
}

/// Returns whether a document has Spec Kit's layout of September 2025, which has no success criteria.
fn is_early_layout(source: &str) -> bool {
    source.contains("## Review & Acceptance Checklist") || source.contains("## Execution Flow (main)")
}

/// Returns whether the brackets of a line are no placeholder: they are inside quotation marks, as in the title of an issue, or state what
/// became of the line, as in `[OUT OF SCOPE]`.
fn is_remark(line: &str) -> bool {
    const STATES: &str = "DEFERRED OUT REMOVED RETIRED SUPERSEDED DROPPED POSTPONED CANCELLED CANCELED OPTIONAL DONE COMPLETE COMPLETED \
        IMPLEMENTED PENDING BLOCKED NEW UPDATED CHANGED ADDED MODIFIED DEPRECATED FUTURE MVP RESOLVED CRITICAL IMPORTANT BREAKING NOTE";
    line.find('[').is_some_and(|at| {
        let (before, after) = line.split_at(at);
        let quoted = (before.matches('"').count() % 2 == 1 || before.contains('“')) && after.contains(['"', '”']);
        let state = after[1..].split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        quoted || is_one_of(STATES, state)
    })
}
