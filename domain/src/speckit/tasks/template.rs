//! Placeholders of the template of task lists.

use super::model::{PhaseKind, TasksFile};
use crate::speckit::diagnostic::{Diagnostic, TEMPLATE_NOT_FILLED, UNFILLED_TEMPLATE};
use crate::speckit::markdown::{LineKind, Markdown};

/// Placeholders that other documents do not have.
#[rustfmt::skip]
const PLACEHOLDERS: [&str; 20] = [
    "[FEATURE NAME]", "[###-feature-name]", "[Title]", "[Brief description of what this story delivers]", "[How to verify this story works on its own]",
    "[language]", "[framework]", "[Entity1]", "[Entity2]", "[Service]", "[service]", "[endpoint]", "[endpoint/feature]", "[user journey]",
    "[entity1]", "[entity2]", "[location]/[file]", "[Story]?", "[name].py", "[Exact File Path]",
];

/// Returns a warning for each line with a placeholder, and an error if title and stories are all placeholders.
pub(super) fn check(markdown: &Markdown, file: &TasksFile) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (index, line) in markdown.lines.iter().enumerate() {
        let text = markdown.text(index);
        if !matches!(line.kind, LineKind::Text | LineKind::Heading(_)) {
            continue;
        }
        let code = |at: usize| markdown.in_code_span(line.span.start + at);
        // Few brackets are placeholders, so each bracket is compared, and not each placeholder searched.
        let initial = |byte: &u8| PLACEHOLDERS.iter().any(|name| name.as_bytes()[1] == *byte);
        let longer = |at: &usize| text.as_bytes().get(at + 2).is_some_and(|byte| *byte != b']');
        let begins = |at: &usize| longer(at) && text.as_bytes().get(at + 1).is_some_and(initial);
        let opened: Vec<usize> = memchr::memchr_iter(b'[', text.as_bytes()).filter(begins).collect();
        if opened.is_empty() {
            continue;
        }
        let here = |name: &str, at: usize| text[at..].starts_with(name) && (!code(at) || name.starts_with("[###"));
        let names: Vec<&str> =
            PLACEHOLDERS.iter().filter(|name| opened.iter().any(|at| here(name, *at))).copied().collect();
        if !names.is_empty() {
            let message = format!("the placeholder {} of the template is not filled in", names.join(", "));
            found.push(Diagnostic::warning(line.number, UNFILLED_TEMPLATE, message, "replace it, or remove the line"));
        }
    }
    let lines: Vec<u32> = found.iter().map(|d| d.line).collect();
    let unfilled = |line: u32| lines.binary_search(&line).is_ok();
    let title = markdown.sections.iter().find(|s| s.level == 1).map(|s| markdown.lines[s.heading].number);
    let stories: Vec<u32> =
        file.phases.iter().filter(|p| matches!(p.kind, PhaseKind::Story(_))).map(|p| p.line).collect();
    if title.is_some_and(unfilled) && stories.iter().all(|line| unfilled(*line)) {
        found.push(Diagnostic::error(
            title.unwrap_or(1),
            TEMPLATE_NOT_FILLED,
            "the title and every story are still placeholders of the template",
            "write the tasks of the feature, or remove the document",
        ));
    }
    found
}
