//! Headings of `tasks.md`: those that open a phase, and those of notes.

use super::model::PhaseKind;
use crate::speckit::ids::{self, StoryKey};

/// A heading that opens a phase.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PhaseHeading {
    pub(super) number: Option<String>,
    pub(super) title: String,
    pub(super) kind: PhaseKind,
}

/// Role of the lines below a heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The lines contain tasks.
    Work,
    /// The lines state the order of tasks.
    Dependencies,
    /// The lines are explanations, summaries or advice.
    Notes,
}

const PHASE_WORDS: [&str; 8] = ["phase", "stage", "阶段", "フェーズ", "fase", "этап", "étape", "단계"];

/// Parses the heading of a phase: `Phase 3: User Story 1 - T (Priority: P1)`, `Final Phase - Polish`, `User Story 2 - T`.
pub(super) fn heading(title: &str) -> Option<PhaseHeading> {
    let plain = title.trim_start_matches(|c: char| !c.is_alphanumeric());
    let lower = plain.to_lowercase();
    for word in PHASE_WORDS {
        // Lower case can have another length in bytes, so its rest is used only to find the number.
        if let Some(rest) = lower.strip_prefix(word)
            && let Some(after) = plain.get(plain.len().saturating_sub(rest.len())..)
        {
            let after = after.trim_start();
            let len = ids::story_number_len(after);
            if len > 0 {
                let title = title_text(&after[len..]);
                return Some(PhaseHeading { number: Some(after[..len].to_owned()), kind: kind(&title), title });
            }
            if word == "phase" && after.starts_with(['N', 'n', 'X']) && !after[1..].starts_with(char::is_alphanumeric) {
                let title = title_text(&after[1..]);
                return Some(PhaseHeading { number: None, kind: kind(&title), title });
            }
        }
    }
    if lower.starts_with("final phase") {
        let title = title_text(plain.get("final phase".len()..).unwrap_or_default());
        return Some(PhaseHeading { number: None, kind: PhaseKind::Polish, title });
    }
    let starts_story = story(&lower, &["user story ", "story "]).is_some();
    let named = ["setup", "foundational", "polish"].iter().any(|name| lower.starts_with(name));
    (starts_story || named).then(|| PhaseHeading { number: None, title: title_text(plain), kind: kind(plain) })
}

/// Returns the role of the lines below a heading that does not open a phase.
pub(super) fn role(title: &str) -> Role {
    const DEPENDENCIES: [&str; 6] = ["dependenc", "execution order", "parallel", "依赖", "依存", "并行"];
    const NOTES: [&str; 16] = [
        "strategy",
        "note",
        "format",
        "convention",
        "summary",
        "mvp",
        "legend",
        "traceab",
        "coverage",
        "critical path",
        "validation checklist",
        "task count",
        "incremental",
        "next step",
        "策略",
        "说明",
    ];
    let lower = title.to_lowercase();
    if DEPENDENCIES.iter().any(|word| lower.contains(word)) {
        Role::Dependencies
    } else if NOTES.iter().any(|word| lower.contains(word)) {
        Role::Notes
    } else {
        Role::Work
    }
}

/// Returns the key of the story that follows one of these words at the beginning of `text`.
fn story(text: &str, words: &[&str]) -> Option<StoryKey> {
    words.iter().find_map(|word| {
        let after = text.strip_prefix(word)?.trim_start();
        let len = ids::story_number_len(after);
        (len > 0).then(|| StoryKey::from_number(&after[..len]))
    })
}

fn kind(title: &str) -> PhaseKind {
    let lower = title.to_lowercase();
    let starts = |words: &[&str]| words.iter().any(|word| lower.starts_with(word));
    if let Some(key) = story_in(title, &lower) {
        PhaseKind::Story(key)
    } else if starts(&["setup", "project setup"]) || lower.contains("(setup") {
        PhaseKind::Setup
    } else if lower.contains("foundational") || starts(&["foundation"]) || lower.contains("blocking prerequisite") {
        PhaseKind::Foundational
    } else if lower.contains("polish") || lower.contains("cross-cutting") {
        PhaseKind::Polish
    } else {
        PhaseKind::Other
    }
}

/// Returns the story a phase title names: `User Story 1 - …`, `US1: …`, `Tokens (US1)`; `lower` is the title in lower case.
fn story_in(title: &str, lower: &str) -> Option<StoryKey> {
    if let Some(key) = lower.find("user story ").and_then(|at| story(&lower[at..], &["user story "])) {
        return Some(key);
    }
    let mut stories = title.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-')).filter_map(|word| {
        let word = word.trim_end_matches(['.', '-']);
        StoryKey::parse(word).filter(|key| key.as_str().contains(|c: char| c.is_ascii_digit()))
    });
    // A phase that names several stories is not the phase of one of them.
    stories.next().filter(|_| stories.next().is_none())
}

fn title_text(text: &str) -> String {
    text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '：' | '-' | '–' | '—' | '.' | '、' | ')'))
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(title: &str) -> Option<(Option<String>, PhaseKind)> {
        heading(title).map(|h| (h.number, h.kind))
    }

    fn story(number: &str) -> PhaseKind {
        PhaseKind::Story(StoryKey::from_number(number))
    }

    #[test]
    fn phases_are_recognised_in_their_many_spellings() {
        let numbered = |n: &str, kind| Some((Some(n.to_owned()), kind));
        assert_eq!(read("Phase 1: Setup (Shared)"), numbered("1", PhaseKind::Setup));
        assert_eq!(read("Phase 2 — Foundational (blocks every story)"), numbered("2", PhaseKind::Foundational));
        assert_eq!(read("Phase 3: User Story 1 - Open the door (Priority: P1) 🎯 MVP"), numbered("3", story("1")));
        assert_eq!(read("Phase 3.1: Setup"), numbered("3.1", PhaseKind::Setup));
        assert_eq!(read("Phase 4a: Doors (US5a)"), numbered("4a", story("5a")));
        assert_eq!(read("阶段 2：基础"), numbered("2", PhaseKind::Other));
        assert_eq!(read("✅ PHASE 6: US1.5 Windows"), numbered("6", story("1.5")));
        assert_eq!(read("Final Phase - Polish & Cross-cutting"), Some((None, PhaseKind::Polish)));
        assert_eq!(read("Phase N: Polish"), Some((None, PhaseKind::Polish)));
        assert_eq!(read("User Story 2 - Close it (P2)"), Some((None, story("2"))));
        assert_eq!(read("Phase 7: Doors (US3+US4)"), numbered("7", PhaseKind::Other));
    }

    #[test]
    fn other_headings_are_no_phases() {
        for title in
            ["Phase Dependencies", "User Story Dependencies", "Tests for User Story 1", "Notes", "Phased rollout"]
        {
            assert_eq!(read(title), None, "{title}");
        }
        assert_eq!(role("Dependencies & Execution Order"), Role::Dependencies);
        assert_eq!(role("Implementation Strategy"), Role::Notes);
        assert_eq!(role("Tests for User Story 1"), Role::Work);
    }
}
