//! Headings of `tasks.md`: those that open a phase, and those of notes.

use std::sync::LazyLock;

use super::model::PhaseKind;
use crate::speckit::ids::{self, StoryKey};
use crate::speckit::words::{self, Table};

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

/// Words before the number of a phase.
const PHASE_WORDS: [&str; 24] = [
    "phase",
    "stage",
    "milestone",
    "sprint",
    "wave",
    "iteration",
    "étape",
    "jalon",
    "stufe",
    "meilenstein",
    "fase",
    "etapa",
    "hito",
    "tappa",
    "этап",
    "фаза",
    "спринт",
    "フェーズ",
    "段階",
    "단계",
    "페이즈",
    "阶段",
    "階段",
    "里程碑",
];

/// Headings of phases of the template without a number.
const NAMED: [&str; 3] = ["setup", "foundational", "polish"];

/// Parses the heading of a phase: `Phase 3: User Story 1 - T (Priority: P1)`, `Phase A: T`, `第一阶段：T`, `Final Phase - Polish`,
/// `User Story 2 - T`.
pub(super) fn heading(title: &str) -> Option<PhaseHeading> {
    let plain = title.trim_start_matches(|c: char| !c.is_alphanumeric());
    let lower = plain.to_lowercase();
    for word in PHASE_WORDS {
        // Lower case can have another length in bytes, so its rest is used only to find the number.
        if let Some(rest) = lower.strip_prefix(word)
            && let Some(after) = plain.get(plain.len().saturating_sub(rest.len())..)
        {
            let after = after.trim_start();
            let len = number_len(after);
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
    if let Some(found) = ordinal(plain) {
        return Some(found);
    }
    if lower.starts_with("final phase") {
        let title = title_text(plain.get("final phase".len()..).unwrap_or_default());
        return Some(PhaseHeading { number: None, kind: PhaseKind::Polish, title });
    }
    let starts_story = story(&lower).is_some();
    let named = NAMED.iter().any(|name| lower.starts_with(name));
    (starts_story || named).then(|| PhaseHeading { number: None, title: title_text(plain), kind: kind(plain) })
}

/// Returns the length of the number of a phase: `3`, `3.1`, `4a`, or a letter or Roman number of its own: `A`, `IV`.
fn number_len(text: &str) -> usize {
    let len = ids::story_number_len(text);
    if len > 0 {
        return len;
    }
    let len = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let word = &text[..len];
    let letter = len == 1 && word.bytes().all(|b| b.is_ascii_uppercase() && !matches!(b, b'N' | b'X'));
    let roman = (1..=4).contains(&len) && word.bytes().all(|b| matches!(b, b'I' | b'V' | b'X'));
    let marked = text[len..].trim_start().chars().next().is_none_or(|c| ":：-–—.()（".contains(c));
    if (letter || roman && word != "X") && marked { len } else { 0 }
}

/// Parses `第1フェーズ：T`, `第一阶段：T` and `1단계: T`.
fn ordinal(plain: &str) -> Option<PhaseHeading> {
    const HAN: [&str; 10] = ["一", "二", "三", "四", "五", "六", "七", "八", "九", "十"];
    let rest = plain.strip_prefix('第').unwrap_or(plain);
    let (number, rest) = match ids::story_number_len(rest) {
        0 => {
            let at = HAN.iter().position(|han| plain.starts_with('第') && rest.starts_with(han))?;
            ((at + 1).to_string(), &rest[HAN[at].len()..])
        }
        len => (rest[..len].to_owned(), &rest[len..]),
    };
    let rest = rest.trim_start();
    let after = PHASE_WORDS.iter().filter(|word| !word.is_ascii()).find_map(|word| rest.strip_prefix(word))?;
    let title = title_text(after);
    Some(PhaseHeading { number: Some(number), kind: kind(&title), title })
}

/// Parses a heading such as `2. Door` or `3) Lock`, which opens a phase if its section contains tasks, as in `OpenSpec`.
pub(super) fn numbered(title: &str) -> Option<PhaseHeading> {
    let len = ids::outline_len(title)?;
    let rest = title[len..].strip_prefix(['.', ')', ':']).or_else(|| title[len..].strip_prefix(' '))?;
    if role(title) != Role::Work {
        return None;
    }
    let title_text = title_text(rest);
    (!title_text.is_empty()).then(|| PhaseHeading {
        number: Some(title[..len].to_owned()),
        kind: kind(&title_text),
        title: title_text,
    })
}

/// Words in the headings of sections about order.
static DEPENDENCIES: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "dependenc",
        "execution order",
        "parallel",
        "dépendance",
        "ordre d'exécution",
        "abhängigkeit",
        "reihenfolge",
        "dependencia",
        "orden de ejecución",
        "dipendenz",
        "dependência",
        "ordem de execução",
        "зависимост",
        "依赖",
        "依賴",
        "依存",
        "의존",
        "并行",
    ])
});

/// Words in the headings of explanations and summaries.
static NOTES: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "strateg",
        "note",
        "format",
        "convention",
        "summary",
        "mvp",
        "legend",
        "traceab",
        "coverage",
        "critical path",
        "task count",
        "incremental",
        "next step",
        "stratégie",
        "remarque",
        "résumé",
        "hinweis",
        "zusammenfassung",
        "estrategia",
        "resumen",
        "nota",
        "estratégia",
        "resumo",
        "riepilogo",
        "стратеги",
        "примечани",
        "итог",
        "戦略",
        "備考",
        "전략",
        "策略",
        "说明",
    ])
});

/// Words in the headings and labels of conditions: boxes below them are checked by people, and are not tasks.
static CONDITIONS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "checklist",
        "definition of done",
        "done when",
        "acceptance",
        "criteria",
        "criterion",
        "gate",
        "gates",
        "validation",
        "verification",
        "sign-off",
        "sign off",
        "readiness",
        "checkpoint",
        "checkpoints",
        "success metrics",
        "before merging",
        "prerequisites check",
        "critères",
        "liste de contrôle",
        "validation",
        "abnahme",
        "kriterien",
        "prüfliste",
        "criterios",
        "lista de verificación",
        "criteri",
        "lista di controllo",
        "critérios",
        "lista de verificação",
        "критери",
        "проверк",
        "чек-лист",
        "чеклист",
        "チェックリスト",
        "受け入れ",
        "完了条件",
        "체크리스트",
        "완료 조건",
        "检查清单",
        "檢查清單",
        "验收",
        "驗收",
        "完成标准",
        "完成標準",
    ])
});

/// Returns the role of the lines below a heading that does not open a phase.
pub(super) fn role(title: &str) -> Role {
    let lower = title.to_lowercase();
    if DEPENDENCIES.is_in(&lower) {
        Role::Dependencies
    } else if NOTES.begins_in(&lower) || is_conditions(&lower) {
        Role::Notes
    } else {
        Role::Work
    }
}

/// Returns whether a heading or label, in lower case, announces conditions.
pub(super) fn is_conditions(lower: &str) -> bool {
    // `Gateway` is not a gate.
    CONDITIONS.accepts(lower, |word, after| !word.ends_with("gate") || !after.starts_with(char::is_alphanumeric))
}

/// Returns the key of the story at the beginning of a text in lower case.
fn story(lower: &str) -> Option<StoryKey> {
    let after = words::after_story(lower)?.trim_start();
    let len = ids::story_number_len(after);
    (len > 0).then(|| StoryKey::from_number(&after[..len]))
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
    // Only the word of the template stands anywhere in a title; translations begin it.
    if let Some(key) = lower.find("user story ").and_then(|at| story(&lower[at..])).or_else(|| story(lower)) {
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
        assert_eq!(read("Phase A: Doors"), numbered("A", PhaseKind::Other));
        assert_eq!(read("Phase IV — Doors"), numbered("IV", PhaseKind::Other));
        assert_eq!(read("第二阶段：门"), numbered("2", PhaseKind::Other));
        assert_eq!(read("3단계: 사용자 스토리 1 - 문"), numbered("3", story("1")));
        assert_eq!(read("Этап 3: Пользовательская история 2 - Двери"), numbered("3", story("2")));
    }

    #[test]
    fn other_headings_are_no_phases() {
        for title in [
            "Phase Dependencies",
            "Phase a door",
            "User Story Dependencies",
            "Tests for User Story 1",
            "Notes",
            "Phased rollout",
        ] {
            assert_eq!(read(title), None, "{title}");
        }
        assert_eq!(role("Dependencies & Execution Order"), Role::Dependencies);
        assert_eq!(role("Implementation Strategy"), Role::Notes);
        assert_eq!(role("Definition of done"), Role::Notes);
        assert_eq!(role("Navigation and aggregates"), Role::Work);
        assert_eq!(role("Abhängigkeiten"), Role::Dependencies);
        assert_eq!(role("Tests for User Story 1"), Role::Work);
    }
}
