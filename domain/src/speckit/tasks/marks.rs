//! Marks of tasks: what stands between the brackets of a box, signs before and after a title, words such as `DEFERRED`, and the legend of
//! a file.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::model::TaskState;

/// Marks between the brackets of a box, without a legend.
const BOXES: [(TaskState, &[&str]); 6] = [
    (TaskState::Open, &["", " ", "TODO", "todo", "⏳", "⬜"]),
    (TaskState::Done, &["x", "X", "х", "Х", "✓", "✔", "✅", "☑", "√", "v", "V", "DONE", "done"]),
    (TaskState::InProgress, &["/", "~", "◐", "🔄", "🚧", "WIP", "wip"]),
    (TaskState::Cancelled, &["-", "❌", "✗", "✘", "🚫"]),
    (TaskState::Deferred, &[">", "<", "⏸", "⏭", "⏩"]),
    (TaskState::Blocked, &["!", "⚠", "⛔", "🔒", "🛑"]),
];

/// Signs before an identifier or at the ends of a title. Signs of priority are not in it.
const SIGNS: [(TaskState, &[char]); 5] = [
    (TaskState::Done, &['✅', '✓', '✔', '☑']),
    (TaskState::InProgress, &['🔄', '🚧']),
    (TaskState::Cancelled, &['🚫', '✗', '✘']),
    (TaskState::Deferred, &['⏸', '⏭']),
    (TaskState::Blocked, &['⛔', '🔒']),
];

/// Words for a state in capitals, in brackets or behind a dash, and in legends. Han, kana and Hangul words are found anywhere in a legend.
const WORDS: [(TaskState, &[&str]); 6] = [
    (
        TaskState::InProgress,
        &[
            "in progress",
            "in-progress",
            "wip",
            "work in progress",
            "started",
            "ongoing",
            "partly",
            "partial",
            "partially",
            "half done",
            "en cours",
            "in arbeit",
            "en curso",
            "en progreso",
            "in corso",
            "em andamento",
            "em progresso",
            "в работе",
            "в процессе",
            "進行中",
            "作業中",
            "진행 중",
            "진행중",
            "进行中",
        ],
    ),
    (
        TaskState::Cancelled,
        &[
            "cancelled",
            "canceled",
            "superseded",
            "retired",
            "removed",
            "dropped",
            "obsolete",
            "reverted",
            "abandoned",
            "won't do",
            "wontfix",
            "not needed",
            "rejected",
            "skipped",
            "annulé",
            "annulée",
            "abandonné",
            "abgebrochen",
            "verworfen",
            "entfällt",
            "cancelado",
            "cancelada",
            "anulado",
            "annullato",
            "annullata",
            "отменено",
            "отменена",
            "中止",
            "取消",
            "キャンセル",
            "취소",
            "已取消",
            "废弃",
        ],
    ),
    (
        TaskState::Deferred,
        &[
            "deferred",
            "postponed",
            "moved",
            "went to",
            "backlog",
            "later",
            "forwarded",
            "scheduled",
            "out of scope",
            "reporté",
            "reportée",
            "verschoben",
            "zurückgestellt",
            "aplazado",
            "pospuesto",
            "rinviato",
            "rinviata",
            "adiado",
            "adiada",
            "отложено",
            "отложена",
            "延期",
            "保留",
            "보류",
            "연기",
            "推迟",
            "搁置",
        ],
    ),
    (
        TaskState::Blocked,
        &[
            "blocked",
            "on hold",
            "waiting",
            "bloqué",
            "bloquée",
            "blockiert",
            "bloqueado",
            "bloqueada",
            "bloccato",
            "bloccata",
            "заблокировано",
            "заблокирована",
            "ブロック",
            "차단",
            "阻塞",
            "受阻",
        ],
    ),
    (
        TaskState::Done,
        &[
            "done",
            "complete",
            "completed",
            "finished",
            "ready",
            "terminé",
            "fait",
            "erledigt",
            "fertig",
            "hecho",
            "completado",
            "terminado",
            "fatto",
            "completato",
            "feito",
            "concluído",
            "выполнено",
            "готово",
            "сделано",
            "完了",
            "済",
            "완료",
            "完成",
        ],
    ),
    (
        TaskState::Open,
        &[
            "open",
            "todo",
            "to do",
            "not started",
            "pending",
            "planned",
            "à faire",
            "offen",
            "pendiente",
            "da fare",
            "pendente",
            "a fazer",
            "не начато",
            "открыто",
            "未着手",
            "未完了",
            "미완료",
            "대기",
            "未开始",
            "待办",
            "未完成",
        ],
    ),
];

/// All words for states by their first characters.
static BY_FIRST: LazyLock<HashMap<char, Vec<(TaskState, &'static str)>>> = LazyLock::new(|| {
    let mut found: HashMap<char, Vec<(TaskState, &'static str)>> = HashMap::new();
    for (state, words) in WORDS {
        for word in words {
            found.entry(word.chars().next().unwrap_or_default()).or_default().push((state, word));
        }
    }
    found
});

/// Returns the state that these words begin with, ignoring case.
pub(super) fn worded(text: &str) -> Option<TaskState> {
    const LONGEST: usize = 32;
    let plain = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    let words = BY_FIRST.get(&plain.chars().next()?.to_lowercase().next()?)?;
    let lower = plain[..plain.floor_char_boundary(LONGEST)].to_lowercase();
    let begins = |word: &str| {
        let ends =
            |rest: &str| word.chars().any(|c| u32::from(c) >= 0x2E80) || !rest.starts_with(char::is_alphanumeric);
        lower.strip_prefix(word).is_some_and(ends)
    };
    // `未完成` contains `完成`, so the longest word decides.
    words.iter().filter(|(_, word)| begins(word)).max_by_key(|(_, word)| word.len()).map(|(state, _)| *state)
}

/// Returns the state of a sign, such as `✅`.
pub(super) fn sign(c: char) -> Option<TaskState> {
    SIGNS.iter().find(|(_, signs)| signs.contains(&c)).map(|(state, _)| *state)
}

/// Returns the state that a remark states: `DEFERRED (needs a device)`, `SUPERSEDED by T031`, `deferred to 2.0`. A dependency such as
/// `blocked by T003` does not.
pub(super) fn remark(text: &str) -> Option<TaskState> {
    let text = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    let state = worded(text)?;
    match state {
        TaskState::Cancelled | TaskState::Deferred | TaskState::InProgress => Some(state),
        TaskState::Blocked => {
            let lower = text.get(..24.min(text.len())).unwrap_or(text).to_lowercase();
            (!lower.starts_with("blocked by") && !lower.starts_with("waiting")).then_some(state)
        }
        TaskState::Done | TaskState::Open => None,
    }
}

/// Returns the text between the bracket at this position and the next one, if they are close to each other: the limit keeps the time linear.
pub(super) fn mark_at(line: &str, open: usize) -> Option<&str> {
    const LONGEST: usize = 12;
    let rest = &line[open + 1..];
    let end = rest.char_indices().take(LONGEST).find(|(_, c)| *c == ']')?.0;
    Some(&rest[..end])
}

/// Maximum length of an entry of a legend that has no sign between mark and meaning.
const MAX_LEGEND: usize = 30;

/// The marks of a file, by its legend and otherwise by the usual meaning, and how it writes numbers of tasks.
#[derive(Debug, Default)]
pub(super) struct Legend {
    marks: BTreeMap<String, TaskState>,
    /// Whether numbers of tasks have hyphens between their parts: `Task 1-2` is one task and no range.
    pub(super) parted: bool,
    /// Whether tasks are headings such as `Issue 3`.
    pub(super) issues: bool,
}

impl Legend {
    /// Returns whether a line contains a mark that a legend can explain. Most lines with brackets contain only `[ ]`, `[P]` and tags.
    pub(super) fn may_explain(line: &str) -> bool {
        memchr::memchr_iter(b'[', line.as_bytes()).any(|at| {
            mark_at(line, at)
                .is_some_and(|mark| mark.chars().count() <= 2 && !matches!(mark.trim(), "" | "x" | "X" | "P"))
        })
    }

    /// Reads the legend in a line: `` `[~]` is work in progress, `[>]` went to 019 ``, `- [-]: cancelled`, `🔴 blocked`.
    pub(super) fn read(&mut self, line: &str) {
        let mut marks: Vec<(usize, usize, &str)> = Vec::new();
        for (at, _) in line.match_indices('[') {
            let Some(mark) = mark_at(line, at).filter(|mark| mark.chars().count() <= 2) else {
                continue;
            };
            // `[ ]` and `[x]` have one meaning everywhere.
            let plain = mark.trim_matches(['\u{fe0f}', ' ']);
            if !plain.is_empty() && !plain.contains('[') && !plain.eq_ignore_ascii_case("x") {
                marks.push((at, at + mark.len() + 2, plain));
            }
        }
        if marks.is_empty() {
            return;
        }
        let mut found = Vec::new();
        for (index, (_, end, mark)) in marks.iter().enumerate() {
            let until = marks.get(index + 1).map_or(line.len(), |next| next.0);
            let rest = &line[*end..until];
            // A task in progress can begin with a word for a state, so a legend has a sign of its own, or is nothing else.
            let quoted =
                rest.starts_with('`') || rest.trim_start().starts_with(['=', ':', '：', '|', '-', '–', '—', '→', '(']);
            if !quoted && rest.trim().len() > MAX_LEGEND {
                continue;
            }
            let text = rest.trim_start_matches(|c: char| " `*=:：|-–—→()".contains(c));
            let text =
                ["is ", "means ", "marks ", "for ", "stands for ", "signifie ", "bedeutet ", "significa ", "означает "]
                    .iter()
                    .find_map(|word| text.strip_prefix(word))
                    .unwrap_or(text);
            let text = text.strip_prefix("a task ").unwrap_or(text);
            found.extend(worded(text).map(|state| ((*mark).to_owned(), state)));
        }
        for (mark, state) in found {
            self.marks.entry(mark).or_insert(state);
        }
    }

    /// Returns the state of a mark between the brackets of a box; none if nobody knows it.
    pub(super) fn state(&self, mark: &str) -> Option<TaskState> {
        let mark = mark.trim_matches('\u{fe0f}');
        let plain = if mark.trim().is_empty() { " " } else { mark.trim() };
        if let Some(state) = self.marks.get(plain) {
            return Some(*state);
        }
        BOXES.iter().find(|(_, marks)| marks.contains(&plain)).map(|(state, _)| *state)
    }

    /// Uses the marks of Kiro, where `[-]` is in progress, unless the file says otherwise.
    pub(super) fn kiro(&mut self) {
        self.marks.entry("-".to_owned()).or_insert(TaskState::InProgress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legend(line: &str) -> Legend {
        let mut legend = Legend::default();
        legend.read(line);
        legend
    }

    #[test]
    fn marks_have_their_usual_meaning_without_a_legend() {
        let plain = Legend::default();
        for (mark, state) in [
            (" ", TaskState::Open),
            ("", TaskState::Open),
            ("X", TaskState::Done),
            ("✔", TaskState::Done),
            ("~", TaskState::InProgress),
            ("/", TaskState::InProgress),
            ("-", TaskState::Cancelled),
            (">", TaskState::Deferred),
            ("!", TaskState::Blocked),
            ("⚠\u{fe0f}", TaskState::Blocked),
        ] {
            assert_eq!(plain.state(mark), Some(state), "{mark}");
        }
        assert_eq!(plain.state("D"), None);
    }

    #[test]
    fn a_legend_decides_in_many_forms_and_languages() {
        for (line, mark, state) in [
            ("`[~]` means cancelled, `[-]` means in progress", "-", TaskState::InProgress),
            ("`[~]` means cancelled, `[-]` means in progress", "~", TaskState::Cancelled),
            ("- [D]: deferred to the next release", "D", TaskState::Deferred),
            ("| [~] | Blocked |", "~", TaskState::Blocked),
            ("`[~]` : en cours", "~", TaskState::InProgress),
            ("[~] = verschoben", "~", TaskState::Deferred),
            ("[~] — 未完成", "~", TaskState::Open),
            ("[~] 已取消", "~", TaskState::Cancelled),
        ] {
            assert_eq!(legend(line).state(mark), Some(state), "{line}");
        }
        assert_eq!(legend("see [1] for more").state("1"), None);
        assert_eq!(legend("- [ ] done by hand").state(" "), Some(TaskState::Open));
        assert_eq!(
            legend("- [~] moved the winch to the other side of the deck").state("~"),
            Some(TaskState::InProgress)
        );
    }

    #[test]
    fn a_remark_states_what_happened() {
        assert_eq!(remark("DEFERRED (needs a device)"), Some(TaskState::Deferred));
        assert_eq!(remark("SUPERSEDED by T031"), Some(TaskState::Cancelled));
        assert_eq!(remark("RETIRED"), Some(TaskState::Cancelled));
        assert_eq!(remark("blocked by T003"), None);
        assert_eq!(remark("retirement plan"), None);
    }
}
