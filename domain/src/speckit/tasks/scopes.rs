//! Scopes of lines: the effect of the headings and labels above them.

use super::line;
use super::marks::Legend;
use super::model::PhaseKind;
use super::phase::{self, PhaseHeading, Role};
use crate::speckit::markdown::{self, LineKind, Markdown, strip_marker};

/// Scope of a line: the effect of the headings above it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    /// Line index of the heading of the phase.
    pub(super) phase: Option<usize>,
    pub(super) role: Role,
    /// Whether that phase is the phase of a story.
    in_story: bool,
    /// Line index of the nearest heading.
    pub(super) heading: usize,
}

/// Returns the scope of every line, and the headings that open phases: each with the index of its section.
pub(super) fn find(markdown: &Markdown, legend: &Legend) -> (Vec<Scope>, Vec<(usize, PhaseHeading)>) {
    let outside = Scope { phase: None, role: Role::Work, in_story: false, heading: 0 };
    let mut scopes = vec![outside; markdown.lines.len()];
    let mut of_section: Vec<Scope> = Vec::with_capacity(markdown.sections.len());
    let mut headings = Vec::new();
    let mut opened = None;
    let boxes = boxes(markdown);
    for (index, section) in markdown.sections.iter().enumerate() {
        let above = section.parent.map_or(outside, |parent| of_section[parent]);
        // A phase inside another one ends the outer phase.
        let phase = above.phase.filter(|phase| opened == Some(*phase));
        let above = Scope { phase, in_story: above.in_story && phase.is_some(), heading: section.heading, ..above };
        let task = line::parse(markdown.text(section.heading), true, legend).is_some();
        let numbered = || {
            let work = boxes[section.end] > boxes[section.heading];
            phase::numbered(&section.title).filter(|_| above.phase.is_none() && section.level > 1 && work && !task)
        };
        let heading = if above.role == Role::Work { phase::heading(&section.title).or_else(numbered) } else { None };
        let scope = if let Some(heading) = heading.filter(|heading| opens(heading, above)) {
            opened = Some(section.heading);
            let in_story = matches!(heading.kind, PhaseKind::Story(_));
            headings.push((index, heading));
            Scope { phase: opened, in_story, ..above }
        } else if section.level == 1 && section.parent.is_none() || task {
            above
        } else {
            match phase::role(&section.title) {
                Role::Work => above,
                role => Scope { role, ..above },
            }
        };
        of_section.push(scope);
        scopes[section.heading..section.own_end].fill(scope);
    }
    below_labels(markdown, &mut scopes);
    (scopes, headings)
}

/// Returns for each line, and for the end, the number of boxes above it.
fn boxes(markdown: &Markdown) -> Vec<usize> {
    let mut counts = Vec::with_capacity(markdown.lines.len() + 1);
    let mut count = 0;
    for (index, line) in markdown.lines.iter().enumerate() {
        counts.push(count);
        let text = if line.kind == LineKind::Text { strip_marker(markdown.text(index)) } else { "" };
        count += usize::from(text.starts_with("[ ]") || text.starts_with("[x]") || text.starts_with("[X]"));
    }
    counts.push(count);
    counts
}

/// Returns whether a heading opens a phase. A heading without a number inside a phase is only a part of that phase, unless it names a
/// story and the outer phase is not a story.
fn opens(heading: &PhaseHeading, above: Scope) -> bool {
    let names_story = matches!(heading.kind, PhaseKind::Story(_));
    above.phase.is_none() || heading.number.is_some() || (names_story && !above.in_story)
}

/// Makes the lists below labels such as `Phase A gate:` and `**Acceptance criteria**:` conditions, up to the next heading or paragraph.
fn below_labels(markdown: &Markdown, scopes: &mut [Scope]) {
    let mut conditions = false;
    let mut apart = true;
    for (index, line) in markdown.lines.iter().enumerate() {
        match line.kind {
            LineKind::Heading(_) => conditions = false,
            LineKind::Text => {
                let text = markdown.text(index);
                let begins = !text.starts_with([' ', '\t']) && strip_marker(text).len() == text.len();
                if begins && apart {
                    conditions = announces_conditions(text);
                }
            }
            _ => {}
        }
        apart = line.kind != LineKind::Text || !apart && conditions;
        if conditions && line.kind == LineKind::Text && scopes[index].role == Role::Work {
            scopes[index].role = Role::Notes;
        }
    }
}

/// Returns whether a paragraph is a label of conditions.
fn announces_conditions(text: &str) -> bool {
    const MAX_LABEL: usize = 80;
    let plain = text.trim_matches(['*', '_', ' ']);
    let name = match markdown::label(text) {
        Some((name, "")) => Some(name),
        Some(_) => None,
        None => plain.strip_suffix([':', '：']),
    };
    name.is_some_and(|name| name.len() <= MAX_LABEL && phase::is_conditions(&name.to_lowercase()))
}
