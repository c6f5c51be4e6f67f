//! Words that state the order of tasks, in the languages of the documents: one table for each position in a sentence.
//!
//! All words are in lower case. Comparison ignores case.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Where a phrase states an order in the text of a task. In a section about order, every phrase does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// Anywhere.
    Anywhere,
    /// Directly before an identifier.
    Adjacent,
    /// At the beginning of a sentence or of a remark in brackets.
    Beginning,
}

use Position::{Adjacent, Anywhere, Beginning};

/// A phrase before or behind a reference.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relation {
    pub(super) words: &'static str,
    /// Whether the subject waits for the reference (`true`) or the reference for the subject (`false`).
    pub(super) waits: bool,
    pub(super) position: Position,
}

type Table = &'static [(Position, &'static [&'static str])];

/// Phrases before a reference for which the subject waits: English, French, German, Spanish, Italian, Portuguese, Russian, Japanese and
/// Chinese.
#[rustfmt::skip]
const WAITS: Table = &[
    (
        Anywhere,
        &[
            "depends on", "depends only on", "depends upon", "depend on", "depend only on", "dependent on", "dependent only on",
            "depending on", "dependency on", "dependencies on", "waits for", "wait for", "waits on", "wait on", "waiting for",
            "waiting on", "blocked by", "blocked on",
        ],
    ),
    (
        Adjacent,
        &[
            "after", "needs", "need", "requires", "require", "requiring", "req", "uses", "using", "use", "builds on", "build on",
            "building on", "builds upon", "based on", "extends", "extending", "following", "follows", "until", "continues",
        ],
    ),
    (Beginning, &["once", "when"]),
    (
        Anywhere,
        &[
            "dépend de", "dépend uniquement de", "dépendent de", "dépendant de", "dépendante de", "bloqué par", "bloquée par",
            "a besoin de", "nécessite",
        ],
    ),
    (Adjacent, &[
            "après", "requiert", "attend", "suit", "basé sur", "basée sur", "utilise", "à la suite de",
        ]),
    (Beginning, &["une fois"]),
    (
        Anywhere,
        &[
            "hängt ab von", "hängt von", "hängen von", "abhängig von", "wartet auf", "warten auf", "blockiert durch", "blockiert von",
        ],
    ),
    (
        Adjacent,
        &[
            "nach", "benötigt", "braucht", "erfordert", "setzt", "basiert auf", "baut auf", "folgt auf", "nutzt", "verwendet",
        ],
    ),
    (Beginning, &["sobald"]),
    (Anywhere, &["depende de", "dependen de", "dependiente de", "bloqueado por", "bloqueada por", "espera a"]),
    (Adjacent, &[
            "después de", "tras", "requiere", "necesita", "basado en", "basada en", "sigue a", "usa",
        ]),
    (Beginning, &["una vez"]),
    (Anywhere, &["dipende da", "dipendono da", "dipendente da", "bloccato da", "bloccata da", "attende"]),
    (Adjacent, &["dopo", "richiede", "necessita di", "basato su", "basata su", "segue"]),
    (Anywhere, &["depende da", "depende do", "dependem de", "dependente de", "aguarda"]),
    (
        Adjacent,
        &[
            "após", "depois de", "depois da", "depois do", "requer", "precisa de", "necessita de", "baseado em", "baseada em",
        ],
    ),
    (Anywhere, &[
            "зависит от", "зависят от", "зависит только от", "блокируется", "ожидает", "ждёт", "ждет",
        ]),
    (Adjacent, &[
            "после", "требует", "на основе", "использует", "нуждается в", "нужен", "нужна", "нужно",
        ]),
    (Anywhere, &[
            "依赖于", "依赖", "依賴於", "依賴", "依存", "取决于", "取決於",
        ]),
    (Adjacent, &[
            "需要", "基于", "基於", "先完成", "等待", "前提は", "前提:",
        ]),
];

/// Phrases before a reference that waits for the subject.
#[rustfmt::skip]
const BLOCKS: Table = &[
    (Adjacent, &[
            "before", "blocks", "block", "unblocks", "required by", "needed by", "used by",
        ]),
    (
        Adjacent,
        &[
            "avant", "bloque", "vor", "blockiert", "antes de", "bloquea", "prima di", "blocca", "bloqueia", "перед", "блокирует",
        ],
    ),
    (Adjacent, &["阻塞", "先于"]),
];

/// Phrases behind a reference for which the subject waits: Japanese, Korean and Chinese. A German verb has its second part there.
#[rustfmt::skip]
const WAITS_BEHIND: [&str; 32] = [
    "に依存", "への依存", "の完了後", "が完了後", "完了後", "完了してから", "の後", "後に", "を待", "が必要", "の次", "を前提", "が前提", "に続", "에 의존", "에 종속", "완료 후", "완료 이후",
    "완료되면", "이후", "후에", "다음에", "가 필요", "이 필요", "을 기다", "를 기다", "完成之后", "完成后", "之后", "以后", "之後", "完成後",
];

/// Phrases behind a reference that waits for the subject.
#[rustfmt::skip]
const BLOCKS_BEHIND: [&str; 9] =
    ["の前に", "より前", "より先", "をブロック", "전에", "이전에", "보다 먼저", "之前", "以前"];

/// Beginnings of the rest of a sentence that take back a phrase before it: `に依存しない`.
#[rustfmt::skip]
const NEGATED_BEHIND: [&str; 12] =
    ["しない", "せず", "しません", "はない", "がない", "ではない", "하지 않", "이 없", "는 없", "없", "不需要", "无关"];

/// Labels such as `**Dependencies**: T001`, whose task waits.
#[rustfmt::skip]
const WAITING_LABELS: [&str; 74] = [
    "dependencies", "dependency", "depends", "depends on", "depends-on", "dependson", "deps", "dep", "prerequisites", "prerequisite",
    "prereqs", "prereq", "requires", "required", "required tasks", "blocked by", "blocked-by", "blockedby", "blocked on", "needs",
    "after", "waits for", "task", "tasks", "predecessor", "predecessors", "preconditions", "precondition", "builds on", "dépendances",
    "dépendance", "dépend de", "prérequis", "préalables", "préalable", "bloqué par", "après", "abhängigkeiten", "abhängigkeit",
    "abhängig von", "voraussetzungen", "voraussetzung", "vorgänger", "blockiert durch", "benötigt", "dependencias", "dependencia",
    "depende de", "requisitos previos", "prerrequisitos", "requiere", "dipendenze", "dipendenza", "dipende da", "prerequisiti",
    "dependências", "dependência", "pré-requisitos", "pré-requisito", "requer", "зависимости", "зависимость", "зависит от", "предусловия",
    "требует", "依存関係", "依存", "前提", "前提条件", "先行タスク", "의존성", "선행 작업", "依赖", "前置任务",
];

/// Further labels in Japanese, Korean and Chinese, which can be parts of longer ones.
#[rustfmt::skip]
const WAITING_PARTS: [&str; 10] =
    ["依存", "의존", "선행", "종속", "依赖", "依賴", "前置", "先行", "bloqueado por", "bloqueada por"];

/// Labels such as `**Blocks**: T005`, whose task the others wait for.
#[rustfmt::skip]
const BLOCKING_LABELS: [&str; 20] = [
    "blocks", "blocking", "unblocks", "required by", "needed by", "used by", "successor", "successors", "before", "bloque", "blockiert",
    "nachfolger", "bloquea", "blocca", "bloqueia", "блокирует", "ブロック", "차단", "阻塞", "被依赖",
];

/// Words that say that a label has no reference: `None (parallel with T003)`.
#[rustfmt::skip]
const NONE: [&str; 30] = [
    "none", "no ", "no.", "n/a", "nothing", "nil", "not ", "independent", "aucun", "pas de", "sans", "keine", "nichts", "ningun", "sin ",
    "nessun", "nenhum", "não", "sem ", "нет", "отсутств", "не ", "なし", "無し", "없음", "없", "无", "無", "不需要", "特になし",
];

/// Words that end the references after a phrase, each with the spaces around it.
#[rustfmt::skip]
const ENDS: [&str; 60] = [
    " but ", " independent", " not ", " without ", " unless ", " while ", " in parallel", " parallel with", " parallel to", " because ",
    " so ", " if ", " may ", " can ", " then ", " except ", " excluding ", " was ", " were ", " formerly ", " previously ", " instead ",
    " unlike ", " rather than ", " alongside ", " mais ", " sauf ", " sans ", " en parallèle", " parce que ", " était ", " aber ",
    " außer ", " ohne ", " parallel zu", " weil ", " war ", " nicht ", " pero ", " excepto ", " salvo ", " sin ", " en paralelo", " era ",
    " ma ", " eccetto ", " tranne ", " in parallelo", " mas ", " exceto ", " sem ", " em paralelo", " но ", " кроме ", " без ",
    " параллельно", " а не ", " не ", " был", " only if ",
];

/// Words directly behind a reference that take it back: `T003 is not needed`.
#[rustfmt::skip]
pub(super) const TAKEN_BACK: [&str; 20] = [
    "is not", "not ", "isn't", "isn’t", "are not", "aren't", "n'est pas", "n’est pas", "ist nicht", "nicht", "no es", "non è", "não é",
    "не ", "不需要", "は不要", "不要", "불필요", "는 필요 없", "was ",
];

/// Words before a phrase that negate it.
#[rustfmt::skip]
pub(super) const NEGATIONS: [&str; 28] = [
    "no", "not", "never", "without", "neither", "nor", "nicht", "kein", "keine", "ohne", "ne", "n", "pas", "aucune", "aucun", "sans",
    "sin", "ningún", "ninguna", "non", "senza", "nessuna", "não", "sem", "nenhuma", "не", "без", "нет",
];

/// Words before references that are parallel; each begins with a space.
#[rustfmt::skip]
pub(super) const BESIDE: [&str; 10] = [
    " parallel with", " parallel to", " alongside", " independent of", " together with", " independently of", " en parallèle avec",
    " parallel zu", " en paralelo con", " параллельно с",
];

/// Words before a statement that make it a recommendation, not a dependency.
pub(super) const ADVICE: [&str; 8] =
    ["recommend", "sequentially", "in practice", "ideally", "suggest", "priority order", "benefit", "developer"];

/// Words after a statement that make it a recommendation, or a statement about something else.
pub(super) const SOFT: [&str; 4] = ["easiest", "easier", "working sequentially", "from passing"];

/// Pronouns for the tasks that a sentence names first.
#[rustfmt::skip]
pub(super) const PRONOUNS: [&str; 12] =
    ["them", "these", "those", "both", "it ", "that.", "ceux-ci", "diesen", "estas", "estos", "них", "它们"];

/// Conjunctions between references.
#[rustfmt::skip]
pub(super) const JOINTS: [&str; 16] =
    ["", "and", "or", "then", "plus", "et", "und", "oder", "y", "e", "и", "と", "및", "和", "与", "及"];

/// Words directly before an identifier that make it a plain mention.
#[rustfmt::skip]
const PLAIN: [&str; 50] = [
    "see", "like", "as in", "as", "same as", "same file as", "similar to", "cf.", "cf", "per", "unlike", "vs", "vs.", "than", "mirrors",
    "mirror", "with", "to", "by", "of", "in", "into", "for", "from", "alongside", "not", "except", "and", "or", "covers", "covered by",
    "supersedes", "replaces", "replaced by", "superseded by", "merged into", "moved to", "was", "formerly", "voir", "comme", "siehe",
    "wie", "ver", "como", "vedi", "come", "см.", "参照", "见",
];

/// Phrases by their beginnings.
#[derive(Default)]
struct ByBeginning {
    /// By the byte of a lower-case ASCII letter and the class of the next one, since most words begin with two.
    ascii: Vec<Vec<Relation>>,
    other: HashMap<char, Vec<Relation>>,
}

/// The number of classes of a second letter: 26 letters, and everything else.
const CLASSES: usize = 27;

/// Returns the class of the second letter of a word.
fn class(second: Option<u8>) -> usize {
    let letter = second.map_or(0, |byte| byte.to_ascii_lowercase());
    if letter.is_ascii_lowercase() { usize::from(letter - b'a') } else { CLASSES - 1 }
}

/// Every phrase before a reference.
static BEFORE: LazyLock<ByBeginning> = LazyLock::new(|| {
    let mut found = ByBeginning { ascii: vec![Vec::new(); 128 * CLASSES], other: HashMap::new() };
    for (table, waits) in [(WAITS, true), (BLOCKS, false)] {
        for (position, phrases) in table {
            for words in *phrases {
                let Some(first) = words.chars().next() else { continue };
                let relation = Relation { words, waits, position: *position };
                match found.ascii.get_mut(first as usize * CLASSES + class(words.as_bytes().get(1).copied())) {
                    Some(list) if first.is_ascii() => list.push(relation),
                    _ => found.other.entry(first).or_default().push(relation),
                }
            }
        }
    }
    found
});

/// The words of [`ENDS`] by the class of their first letter, which is behind a space.
static ENDS_BY_LETTER: LazyLock<Vec<Vec<&'static str>>> = LazyLock::new(|| {
    let mut found = vec![Vec::new(); CLASSES];
    for words in ENDS {
        found[class(words.as_bytes().get(1).copied())].push(words);
    }
    found
});

/// Returns whether a text begins with a space and words that end the references after a phrase.
pub(super) fn ends(text: &str) -> bool {
    let words = ENDS_BY_LETTER.get(class(text.as_bytes().get(1).copied()));
    words.is_some_and(|words| words.iter().any(|words| prefix_len(text, words).is_some()))
}

/// Returns the length of `words` at the start of `text`, ignoring case.
pub(super) fn prefix_len(text: &str, words: &str) -> Option<usize> {
    // Most texts already differ in their first letter.
    if let (Some(first), Some(wanted)) = (text.as_bytes().first(), words.as_bytes().first())
        && first.is_ascii()
        && !first.eq_ignore_ascii_case(wanted)
    {
        return None;
    }
    if words.is_ascii() {
        let start = text.as_bytes().get(..words.len())?;
        return start.eq_ignore_ascii_case(words.as_bytes()).then_some(words.len());
    }
    let mut rest = text.chars();
    for wanted in words.chars() {
        let c = rest.next()?;
        if c != wanted && !c.to_lowercase().eq(std::iter::once(wanted)) {
            return None;
        }
    }
    Some(text.len() - rest.as_str().len())
}

/// Returns the longest phrase at the start of `text`, with its length.
pub(super) fn phrase(text: &str) -> Option<(Relation, usize)> {
    let first = text.chars().next()?;
    let list = if first.is_ascii() {
        BEFORE.ascii.get(first.to_ascii_lowercase() as usize * CLASSES + class(text.as_bytes().get(1).copied()))?
    } else {
        BEFORE.other.get(&first.to_lowercase().next()?)?
    };
    let here = list.iter().filter_map(|relation| {
        let len = prefix_len(text, relation.words)?;
        let spaced = relation.words.chars().next_back().is_some_and(|c| u32::from(c) < 0x2E80);
        let ends = !spaced
            || !text[len..].starts_with(|c: char| c.is_alphanumeric() && u32::from(c) < 0x2E80 || c == '_' || c == '-');
        ends.then_some((*relation, len))
    });
    here.max_by_key(|(_, len)| *len)
}

/// Returns whether a phrase behind a reference begins `text`, and whether its subject waits.
pub(super) fn behind(text: &str) -> Option<bool> {
    let find = |words: &[&str]| words.iter().filter(|w| text.starts_with(**w)).map(|w| w.len()).max();
    let (waits, len) = match (find(&WAITS_BEHIND), find(&BLOCKS_BEHIND)) {
        (Some(waits), Some(blocks)) if blocks > waits => (false, blocks),
        (Some(len), _) => (true, len),
        (None, Some(len)) => (false, len),
        (None, None) => return None,
    };
    (!NEGATED_BEHIND.iter().any(|word| text[len..].starts_with(word))).then_some(waits)
}

/// Returns whether the task of a label waits for the references after it, or they for the task.
pub(super) fn label(name: &str) -> Option<bool> {
    let lower = name.to_lowercase();
    let name = lower.split(['(', '（']).next().unwrap_or_default().trim();
    if WAITING_LABELS.contains(&name) || WAITING_PARTS.iter().any(|part| name.starts_with(part)) {
        return Some(true);
    }
    BLOCKING_LABELS.contains(&name).then_some(false)
}

/// Returns whether the text after a label says that there is none.
pub(super) fn is_none(text: &str) -> bool {
    let lower = text.trim_matches(|c: char| c.is_whitespace() || "*_`([".contains(c)).to_lowercase();
    let undashed = lower.trim_start_matches(['-', '–', '—', ' ']);
    let dash = undashed.trim_matches(['.', ')', ' ']).is_empty()
        || (undashed.len() < lower.len() && undashed.starts_with(['(', '（']));
    dash || NONE.iter().any(|word| lower.starts_with(word)) || lower == "no"
}

/// Returns whether the text before an identifier makes it a plain mention: `see T003`, `as T003`.
pub(super) fn is_plain(before: &str) -> bool {
    const LONGEST: usize = 24;
    let plain = before.trim_end_matches([' ', '*', '`', '(', '[', '_']);
    let from = (plain.len().saturating_sub(LONGEST)..plain.len())
        .find(|at| plain.is_char_boundary(*at))
        .unwrap_or(plain.len());
    let tail = plain[from..].to_lowercase();
    PLAIN.iter().any(|word| {
        let before = tail.strip_suffix(word);
        before.is_some_and(|before| !word.is_ascii() || !before.ends_with(char::is_alphanumeric))
    })
}
