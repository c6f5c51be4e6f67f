//! `research.md`: the decisions before the plan, their reasons and their alternatives.

use serde::Serialize;

use super::diagnostic::{Diagnostic, Parsed};
use super::markdown::{self, Item, LineKind, Markdown, Section, Span, joined, strip_marker};
use crate::text::truncated;

/// The research of a plan's phase 0.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Research {
    /// The document, unchanged.
    pub source: String,
    /// Title after `# Research:`.
    pub title: Option<Item>,
    /// Decisions in the order of the document.
    pub decisions: Vec<Decision>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Decision {
    /// Topic: the heading, without a number and without the word `Decision`.
    pub title: String,
    /// The decision: the text after `**Decision**`, or the heading `Decision: …` itself.
    pub decision: Option<Item>,
    pub rationale: Option<Item>,
    /// What follows from the decision, for better or worse.
    pub consequences: Option<Item>,
    /// Alternatives that were considered and rejected.
    pub alternatives: Vec<Item>,
    /// Names of what it was taken from: the text after `**Taken from**`, with which Enact asks for the sources of a synthesis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<Item>,
    /// Line of its heading or label, counted from 1.
    pub line: u32,
    /// Span from the heading or label to the end of the decision.
    pub span: Span,
}

/// Words in the title before the name of the feature.
const TITLES: [&str; 12] = [
    "research",
    "recherche",
    "investigación",
    "pesquisa",
    "ricerca",
    "исследование",
    "研究",
    "调研",
    "調研",
    "調査",
    "조사",
    "연구",
];

/// Reads the research of a feature.
pub fn parse(bytes: &[u8]) -> Parsed<Research> {
    let (markdown, mut diagnostics) = match markdown::read(bytes) {
        Ok(read) => read,
        Err(diagnostic) => return Parsed::new(Research::default(), vec![diagnostic]),
    };
    let decisions = decisions(&markdown);
    check(&decisions, &mut diagnostics);
    diagnostics.extend(markdown.placeholders());
    let title = markdown.title(&TITLES);
    Parsed::new(Research { source: markdown.source, title, decisions }, diagnostics)
}

/// A part of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Decision,
    Rationale,
    Consequences,
    Alternatives,
    TakenFrom,
}

/// The label of the sources of a decision, in lower case.
const TAKEN_FROM: &str = "taken from";
const ALTERNATIVES: [&str; 18] = [
    "alternative",
    "rejected",
    "options considered",
    "alternativas",
    "alternativen",
    "opciones consideradas",
    "opções consideradas",
    "альтернатив",
    "替代",
    "备选",
    "備選",
    "考虑过的",
    "考虑的",
    "考慮的",
    "代替案",
    "検討した",
    "대안",
    "고려한 대안",
];
const CONSEQUENCES: [&str; 6] =
    ["consequence", "implication", "consecuencia", "conséquence", "konsequenz", "auswirkung"];

impl Part {
    /// Returns the part that a label or a heading names.
    fn named(name: &str) -> Option<Self> {
        const DECISION: [&str; 20] = [
            "decision",
            "chosen",
            "choice",
            "chosen approach",
            "selected",
            "recommended",
            "decisión",
            "décision",
            "entscheidung",
            "decisione",
            "decisão",
            "решение",
            "决策",
            "決策",
            "决定",
            "決定",
            "決定事項",
            "결정",
            "결정 사항",
            "选择",
        ];
        const RATIONALE: [&str; 23] = [
            "rationale",
            "why chosen",
            "reason",
            "racional",
            "justificación",
            "razón",
            "razones",
            "justification",
            "raison",
            "begründung",
            "motivazione",
            "giustificazione",
            "justificativa",
            "razão",
            "обоснование",
            "причина",
            "理由",
            "选择理由",
            "選擇理由",
            "原因",
            "根拠",
            "근거",
            "이유",
        ];
        let name = name.trim().trim_matches(['*', '_', '.']).to_lowercase();
        let starts = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
        if DECISION.contains(&name.as_str()) {
            Some(Self::Decision)
        } else if starts(&ALTERNATIVES) {
            Some(Self::Alternatives)
        } else if starts(&RATIONALE) {
            Some(Self::Rationale)
        } else if starts(&CONSEQUENCES) {
            Some(Self::Consequences)
        } else if name == TAKEN_FROM {
            Some(Self::TakenFrom)
        } else {
            None
        }
    }
}

/// A piece of the document with one part of a decision.
struct Piece {
    part: Part,
    /// Index of the section whose decision it belongs to.
    section: usize,
    /// First line and one past the last, as indices.
    first: usize,
    end: usize,
    item: Item,
    /// List items below the piece.
    items: Vec<Item>,
}

fn decisions(markdown: &Markdown) -> Vec<Decision> {
    let mut found: Vec<(usize, Decision)> = Vec::new();
    for (index, section) in markdown.sections.iter().enumerate() {
        if let Some(title) = decided(&section.title) {
            let line = markdown.lines[section.heading];
            let text = Item { text: title.clone(), line: line.number, span: line.span };
            let decision =
                Decision { title, decision: Some(text), line: line.number, span: line.span, ..Decision::default() };
            found.push((index, decision));
        }
        for piece in pieces(markdown, index, section) {
            add(markdown, &mut found, piece);
        }
    }
    found.into_iter().map(|(_, decision)| decision).collect()
}

/// Returns the decision in a heading such as `Decision 2: Use oak`. `Decision` alone is a part of the section above.
fn decided(title: &str) -> Option<String> {
    let plain = unnumbered(title);
    let rest = [
        "Decision",
        "DECISION",
        "Decisión",
        "Décision",
        "Entscheidung",
        "Decisione",
        "Decisão",
        "Решение",
        "决策",
        "決策",
        "決定",
        "결정",
    ]
    .iter()
    .find_map(|word| plain.strip_prefix(word))?;
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ' ' | '-' | '#' | '.'));
    let rest = rest.strip_prefix([':', '：', '—', '–', ')'])?.trim();
    (!rest.is_empty()).then(|| rest.to_owned())
}

/// Returns a heading without `3.`, `R1:` or `R-003 —` before it.
fn unnumbered(title: &str) -> &str {
    let plain = title.trim_start_matches(|c: char| !c.is_alphanumeric());
    let len = plain.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))).unwrap_or(plain.len());
    let number = plain[..len].trim_end_matches(['.', '-']);
    let numeric = number.ends_with(|c: char| c.is_ascii_digit()) && number.len() <= 8;
    let rest = &plain[number.len()..];
    let marked = rest.trim_start().starts_with(['.', ':', ')', '：', '—', '–', '-']);
    let rest = rest.trim_start_matches(['.', ':', ')', '：', '—', '–', '-', ' ']);
    if numeric && marked && !rest.is_empty() { rest } else { plain }
}

/// Returns the labelled parts in a section, or the whole of it when its heading names a part.
fn pieces(markdown: &Markdown, index: usize, section: &Section) -> Vec<Piece> {
    let lines = section.heading + 1..section.own_end;
    if let (Some(part), Some(parent)) = (Part::named(unnumbered(&section.title)), section.parent) {
        let heading = markdown.lines[section.heading];
        let bare = || Item { text: String::new(), line: heading.number, span: heading.span };
        let item = markdown.prose(lines.clone()).unwrap_or_else(bare);
        let items = markdown.top_items(lines);
        return vec![Piece { part, section: parent, first: section.heading, end: section.own_end, item, items }];
    }
    let mut opened: Vec<(usize, Part, Shape)> = Vec::new();
    let mut found = Vec::new();
    let close = |opened: &mut Vec<(usize, Part, Shape)>, end: usize| {
        let (first, part, _) = opened.pop()?;
        Some(labelled(markdown, index, part, first..end))
    };
    for at in lines.clone() {
        let Some((name, shape)) = label_of(markdown, at) else { continue };
        // An alternative may name its own consequences.
        let nested = opened.last().is_some_and(|(_, _, opener)| *opener != shape);
        let part = Part::named(name).filter(|part| !nested || *part != Part::Consequences);
        let over = opened.last().is_some_and(|(_, _, opener)| part.is_some() || *opener == shape);
        if over {
            found.extend(close(&mut opened, at));
        }
        if let Some(part) = part {
            opened.push((at, part, shape));
        }
    }
    found.extend(close(&mut opened, lines.end));
    found
}

/// The position of a label on its line. Labels of one list, or of paragraphs, have the same shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    indent: usize,
    item: bool,
}

/// Returns the label at the start of a line: `**Decision**: …`, `- Rationale: …`.
fn label_of(markdown: &Markdown, at: usize) -> Option<(&str, Shape)> {
    if markdown.lines[at].kind != LineKind::Text {
        return None;
    }
    let text = markdown.text(at);
    let plain = strip_marker(text.trim_start_matches(['>', ' ', '\t']));
    let shape = Shape { indent: text.len() - text.trim_start().len(), item: plain.len() < text.trim_start().len() };
    if let Some((name, _)) = markdown::label(plain) {
        return Some((name, shape));
    }
    // `**Decision.** …`
    let sentence = markdown::bold(plain).and_then(|(name, _)| Part::named(name.strip_suffix('.')?).map(|_| name));
    if let Some(name) = sentence {
        return Some((name, shape));
    }
    // `Decision: …` and `**Decision** — …` are labels only with the three words themselves.
    let (name, _) = plain.split_once(SEPARATORS)?;
    Part::named(name).filter(|_| name.len() <= 32).map(|_| (name, shape))
}

const SEPARATORS: [char; 4] = [':', '：', '—', '–'];

fn labelled(markdown: &Markdown, section: usize, part: Part, lines: std::ops::Range<usize>) -> Piece {
    let rule = lines.clone().find(|i| markdown::is_rule(markdown.text(*i)));
    let end = rule.unwrap_or(lines.end);
    let span = markdown.span_of(lines.start..end);
    let whole = strip_marker(markdown.clean(span).trim_start_matches(['>', ' ']));
    let named = |name: &str| name.strip_suffix('.').is_some_and(|name| Part::named(name).is_some());
    let sentence = || markdown::bold(whole).filter(|(name, _)| named(name)).map(|(_, text)| text.trim_start());
    let text = markdown::label(whole)
        .map(|(_, text)| text)
        .or_else(sentence)
        .or_else(|| whole.split_once(SEPARATORS).map(|(_, t)| t));
    let item = Item { text: joined(text.unwrap_or_default()), line: markdown.lines[lines.start].number, span };
    let items = markdown.top_items(lines.start + 1..end);
    Piece { part, section, first: lines.start, end, item, items }
}

/// Adds a piece to its decision, or begins another decision with it.
fn add(markdown: &Markdown, found: &mut Vec<(usize, Decision)>, piece: Piece) {
    let last = found.last().filter(|(at, _)| {
        let (decided, said) = (&markdown.sections[*at], &markdown.sections[piece.section]);
        // A heading `### Rationale` on the same level as `### Decision: …` belongs to that decision.
        *at == piece.section || decided.holds(said) || decided.parent == Some(piece.section)
    });
    let fresh = last.is_none_or(|(_, known)| match (piece.part, &known.decision) {
        // A heading with a decision may be followed by the decision in detail, and a decision may come last.
        (Part::Decision, Some(item)) => item.text != known.title,
        (Part::Rationale, _) => known.rationale.is_some(),
        (Part::Decision | Part::Alternatives | Part::Consequences | Part::TakenFrom, _) => false,
    });
    if fresh && matches!(piece.part, Part::Consequences | Part::TakenFrom) {
        // Other sections have consequences and sources too: they alone are no decision.
        return;
    }
    if fresh {
        let section = &markdown.sections[piece.section];
        let line = markdown.lines[piece.first];
        let title = truncated(unnumbered(&section.title), MAX_TITLE_BYTES).to_owned();
        found.push((piece.section, Decision { title, line: line.number, span: line.span, ..Decision::default() }));
    }
    let Some((_, decision)) = found.last_mut() else { return };
    decision.span.end = decision.span.end.max(markdown.span_of(piece.first..piece.end).end);
    match piece.part {
        Part::Decision => decision.decision = Some(piece.item),
        Part::Rationale => decision.rationale = Some(piece.item),
        Part::Consequences => decision.consequences = Some(piece.item),
        Part::TakenFrom => decision.taken_from = Some(piece.item),
        Part::Alternatives if piece.items.is_empty() => decision.alternatives.push(piece.item),
        Part::Alternatives => decision.alternatives.extend(piece.items),
    }
}

/// Maximum length of the heading that each decision keeps. The limit matters when one long heading has thousands of decisions.
const MAX_TITLE_BYTES: usize = 256;

fn check(decisions: &[Decision], diagnostics: &mut Vec<Diagnostic>) {
    if decisions.is_empty() {
        let remedy = "write `## Decision: …` with `**Rationale**:` and `**Alternatives considered**:`";
        diagnostics.push(Diagnostic::warning(1, "NoDecisions", "no decision was found", remedy));
    }
    for decision in decisions {
        let missing = [
            (decision.decision.is_none(), "decision"),
            (decision.rationale.is_none(), "rationale"),
            (decision.alternatives.is_empty(), "alternatives"),
        ];
        let missing: Vec<&str> = missing.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
        if !missing.is_empty() {
            diagnostics.push(Diagnostic::info(
                decision.line,
                "IncompleteDecision",
                format!("the decision {:?} has no {}", decision.title, missing.join(", no ")),
                "add the missing parts: `**Decision**`, `**Rationale**`, `**Alternatives considered**`",
            ));
        }
    }
}
