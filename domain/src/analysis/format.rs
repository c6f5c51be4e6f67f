//! The parser's diagnostics as findings: one for each problem, not one for each line.

use std::collections::{HashMap, HashSet};

use super::finding::shortened;
use super::statements::headings;
use super::text::{self, is_one_of};
use crate::speckit::{
    DELTA_DOCUMENT, Diagnostic, MISSING_SECTION, MISSING_TITLE, MISSING_VERSION, NEEDS_CLARIFICATION, OPEN_QUESTION,
    Severity, SpecPart, TEMPLATE_NOT_FILLED, UNCLEAR_MENTION, UNFILLED_TEMPLATE, WRONG_DOCUMENT,
};

/// Number of diagnostics of one kind in a document up to which each is a finding of its own. More have one cause, such as tasks whose
/// identifiers are in another form.
const MANY: usize = 5;

/// Returns the diagnostics that become findings or hints. Open questions are left out, since the ambiguity pass reports them. The placeholders of a
/// template are one diagnostic, and the missing parts of a document are one. A document of another kind lacks the parts of a specification
/// only because of that.
pub(super) fn readable(parsed: &[Diagnostic], source: &str) -> Vec<Diagnostic> {
    let lines: Vec<&str> = source.lines().collect();
    let line = |d: &Diagnostic| {
        let at = usize::try_from(d.line).unwrap_or_default();
        at.checked_sub(1).and_then(|at| lines.get(at)).copied().unwrap_or_default()
    };
    let empty = parsed.iter().any(|d| d.code == TEMPLATE_NOT_FILLED);
    let early = is_early_layout(source);
    let other = is_other_document(parsed);
    let applies = |d: &&Diagnostic| match d.code {
        OPEN_QUESTION => false,
        MISSING_TITLE | MISSING_SECTION if other => false,
        NEEDS_CLARIFICATION => !line(d).to_lowercase().contains("no needs clarification"),
        UNFILLED_TEMPLATE => !empty && !is_remark(line(d)),
        MISSING_VERSION => !says_version(source),
        MISSING_SECTION => !early || d.missing != Some(SpecPart::SuccessCriteria),
        _ => true,
    };
    let mut found: Vec<Diagnostic> = Vec::new();
    for diagnostic in parsed.iter().filter(applies) {
        let mut diagnostic = diagnostic.clone();
        if diagnostic.code == MISSING_SECTION {
            let announced = unread(source, diagnostic.missing);
            // Many documents do without success criteria.
            if announced.is_empty() && diagnostic.missing == Some(SpecPart::SuccessCriteria) {
                diagnostic.severity = Severity::Info;
            }
            diagnostic.message.push_str(&announced);
            if let Some(earlier) = found.iter_mut().find(|d| d.code == MISSING_SECTION && d.line == diagnostic.line) {
                earlier.message = format!("{}; {}", earlier.message, diagnostic.message);
                earlier.remedy = format!("{}; {}", earlier.remedy, diagnostic.remedy);
                continue;
            }
        }
        found.push(diagnostic);
    }
    without_repetitions(found)
}

/// Replaces many diagnostics of one kind by the first of them, which says where the others are.
fn without_repetitions(diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    /// Number of lines that a message lists.
    const SHOWN: usize = 8;
    let kind = |d: &Diagnostic| (d.code, d.severity);
    let mut lines: HashMap<(&str, Severity), Vec<u32>> = HashMap::new();
    for diagnostic in &diagnostics {
        lines.entry(kind(diagnostic)).or_default().push(diagnostic.line);
    }
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for mut diagnostic in diagnostics {
        let all = lines.get(&kind(&diagnostic)).map(Vec::as_slice).unwrap_or_default();
        let first = seen.insert(kind(&diagnostic));
        if diagnostic.code == UNFILLED_TEMPLATE && first && all.len() > 1 {
            let message = format!("{}, and {} lines have placeholders in all", diagnostic.message, all.len());
            found.push(Diagnostic { message, ..diagnostic });
        } else if diagnostic.code != UNFILLED_TEMPLATE && first && all.len() > MANY {
            let others: Vec<String> = all[1..].iter().take(SHOWN).map(u32::to_string).collect();
            let more = if all.len() > SHOWN + 1 { ", …" } else { "" };
            diagnostic.message.push_str(&format!(
                "; {} lines have this problem in all, also lines {}{more}",
                all.len(),
                others.join(", ")
            ));
            found.push(diagnostic);
        } else if first || (diagnostic.code != UNFILLED_TEMPLATE && all.len() <= MANY) {
            found.push(diagnostic);
        }
    }
    found
}

/// Returns whether a diagnostic becomes a hint: it only informs, or the document can be right as it is.
pub(super) fn is_hint(diagnostic: &Diagnostic) -> bool {
    // A plan.md has no part that Enact needs.
    let of_plan = diagnostic.code == MISSING_SECTION && diagnostic.missing.is_none();
    diagnostic.severity == Severity::Info || diagnostic.code == UNCLEAR_MENTION || of_plan
}

/// Returns what to add to a message about a missing part of a specification if a heading announces it.
fn unread(source: &str, missing: Option<SpecPart>) -> String {
    let announcing: &[&str] = match missing {
        Some(SpecPart::SuccessCriteria) => &["success criteria", "success metrics", "measurable outcomes"],
        Some(SpecPart::Requirements) => &["requirement"],
        Some(SpecPart::Stories) => &[
            "scenario",
            "story",
            "stories",
            "用户故事",
            "使用者故事",
            "ユーザーストーリー",
            "사용자 스토리",
            "historias de usuario",
            "histórias de usuário",
            "histoires utilisateur",
            "пользовательские истории",
        ],
        None => return String::new(),
    };
    // The title of the document announces nothing.
    let section = |start: usize| source[start..].starts_with("##");
    let announces = |title: &str| {
        let title: String = text::words(title).iter().map(|w| format!(" {}", w.lower)).collect();
        announcing.iter().any(|phrase| title.contains(&format!(" {phrase}")))
    };
    let found = headings(source).into_iter().find(|(start, title)| section(*start) && announces(title));
    found.map_or_else(String::new, |(start, title)| {
        let line = source[..start].matches('\n').count() + 1;
        format!(", although the heading \"{}\" on line {line} has content in another form", shortened(title))
    })
}

/// Returns whether a line of a constitution begins with its version, in another form than Spec Kit's: `--- Version 1.2.0 Ratified …`.
fn says_version(source: &str) -> bool {
    source.lines().any(|line| {
        let words = text::words(line);
        let at = |index: usize| words.get(index).map_or("", |w| w.lower.as_str());
        at(0) == "version" && at(1).contains('.') && at(1).starts_with(|c: char| c.is_ascii_digit())
    })
}

/// Returns whether a document has Spec Kit's layout of September 2025, which has no success criteria.
fn is_early_layout(source: &str) -> bool {
    source.contains("## Review & Acceptance Checklist") || source.contains("## Execution Flow (main)")
}

/// Returns whether the brackets of a line are no placeholder: they are inside quotation marks, as in the title of an issue, are a part of a
/// path, or state what became of the line, as in `[OUT OF SCOPE]`.
fn is_remark(line: &str) -> bool {
    const STATES: &str = "DEFERRED OUT REMOVED RETIRED SUPERSEDED DROPPED POSTPONED CANCELLED CANCELED OPTIONAL DONE COMPLETE COMPLETED \
        IMPLEMENTED PENDING BLOCKED NEW UPDATED CHANGED ADDED MODIFIED DEPRECATED FUTURE MVP RESOLVED CRITICAL IMPORTANT BREAKING NOTE";
    line.find('[').is_some_and(|at| {
        let (before, after) = line.split_at(at);
        let pairs = [('“', '”'), ('「', '」'), ('『', '』'), ('«', '»'), ('„', '“')];
        let quoted = (before.matches('"').count() % 2 == 1 && after.contains('"'))
            || pairs.iter().any(|(open, close)| before.contains(*open) && after.contains(*close));
        let path = before.ends_with('/') || after.split_once(']').is_some_and(|(_, rest)| rest.starts_with('/'));
        let state = after[1..].split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        // Names of the template begin with a letter, but `[1 SELECT]` says how often.
        let counted = after[1..].starts_with(|c: char| c.is_ascii_digit());
        quoted || path || counted || is_one_of(STATES, state)
    })
}

/// Returns whether a document is of another kind than its name says, so that its statements mean something else.
pub(super) fn is_other_document(parsed: &[Diagnostic]) -> bool {
    parsed.iter().any(|d| d.code == DELTA_DOCUMENT || d.code == WRONG_DOCUMENT)
}
