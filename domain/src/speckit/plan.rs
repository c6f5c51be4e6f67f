//! `plan.md`: the technical context, the gate of the constitution, the structure, and the accepted complexity.

use serde::Serialize;

use super::diagnostic::{Diagnostic, MISSING_SECTION, NEEDS_CLARIFICATION, Parsed};
use super::markdown::{self, Item, LineKind, Markdown, Section, Span, joined, strip_marker};

/// An implementation plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// The document, unchanged.
    pub source: String,
    /// Title after `# Implementation Plan:`.
    pub title: Option<Item>,
    /// `**Branch**`, without quotes.
    pub branch: Option<Item>,
    /// `**Date**`, as written.
    pub date: Option<Item>,
    /// `**Spec**`, as written.
    pub spec: Option<Item>,
    pub summary: Option<Item>,
    /// Entries of the technical context, in the order of the document.
    pub context: Vec<ContextEntry>,
    /// The gate of the constitution, when the plan has one.
    pub constitution_check: Option<Item>,
    /// `**Structure Decision**`.
    pub structure_decision: Option<Item>,
    /// Rows of the complexity table.
    pub complexity: Vec<Complexity>,
}

/// One entry of the technical context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContextEntry {
    /// Key, such as `Language/Version`.
    pub key: String,
    /// Value, with list items and wrapped lines joined.
    pub value: String,
    /// Whether the value still contains `NEEDS CLARIFICATION`.
    pub needs_clarification: bool,
    /// First line, counted from 1.
    pub line: u32,
    pub span: Span,
}

/// A violation of the constitution that the plan justifies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Complexity {
    /// Description of the violation.
    pub violation: String,
    /// Reason why it is needed.
    pub reason: String,
    /// The simpler alternative that was rejected, and the reason.
    pub alternative: String,
    /// Line of the row, counted from 1.
    pub line: u32,
    pub span: Span,
}

pub fn parse(bytes: &[u8]) -> Parsed<Plan> {
    let (markdown, mut diagnostics) = match markdown::read(bytes) {
        Ok(read) => read,
        Err(diagnostic) => return Parsed::new(Plan::default(), vec![diagnostic]),
    };
    let mut plan = Plan {
        title: markdown.title(&["plan", "piano", "план", "计划", "計畫", "計劃", "計画", "계획"]),
        ..Plan::default()
    };
    header(&markdown, &mut plan);
    for section in &markdown.sections {
        read_section(&markdown, section, &mut plan);
    }
    plan.structure_decision = markdown.labelled(0..markdown.lines.len(), &["structure decision", "结构决策"]);
    check(&markdown, &plan, &mut diagnostics);
    plan.source = markdown.source;
    Parsed::new(plan, diagnostics)
}

fn header(markdown: &Markdown, plan: &mut Plan) {
    let end = markdown.sections.iter().find(|s| s.level > 1).map_or(markdown.lines.len(), |s| s.heading);
    for line in markdown.lines[..end].iter().filter(|l| l.kind == LineKind::Text) {
        for (name, value) in markdown::fields(markdown.clean(line.span)) {
            let field = match name.as_str() {
                "branch" | "feature branch" | "分支" => &mut plan.branch,
                "date" | "日期" | "data" => &mut plan.date,
                "spec" | "规格" => &mut plan.spec,
                _ => continue,
            };
            if field.is_none() {
                *field = Some(Item { text: value.trim_matches('`').to_owned(), line: line.number, span: line.span });
            }
        }
    }
}

fn read_section(markdown: &Markdown, section: &Section, plan: &mut Plan) {
    let title = section.title.to_lowercase();
    let title = title.trim_start_matches(|c: char| !c.is_alphabetic());
    let starts = |words: &[&str]| words.iter().any(|w| title.starts_with(w));
    let (own, whole) = (section.heading + 1..section.own_end, section.heading + 1..section.end);
    if starts(&["summary", "摘要", "resumo", "概要"]) && plan.summary.is_none() {
        plan.summary = markdown.prose(own);
    } else if starts(&["technical context", "技术上下文", "技术背景", "contexto técnico"]) && plan.context.is_empty()
    {
        plan.context = context(markdown, section);
    } else if title.contains("constitution check") || starts(&["宪法检查", "宪章检查", "verificação da constituição"])
    {
        if plan.constitution_check.is_none() {
            let span = markdown.span_of(section.heading..section.end);
            let text = joined(markdown.clean(markdown.span_of(whole)));
            plan.constitution_check = Some(Item { text, line: markdown.lines[section.heading].number, span });
        }
    } else if starts(&["complexity tracking", "复杂度", "复杂性", "rastreamento de complexidade"]) {
        plan.complexity.extend(complexity(markdown, section));
    }
}

/// Returns the entries `**Key**: value`; the text after an entry up to the next one belongs to it.
fn context(markdown: &Markdown, section: &Section) -> Vec<ContextEntry> {
    let lines = section.heading + 1..section.end;
    let key = |index: usize| {
        let entry = markdown.lines[index].kind == LineKind::Text && !markdown.text(index).starts_with("  ");
        let (key, _) = markdown::label(strip_marker(markdown.text(index))).filter(|_| entry)?;
        Some(key.to_owned())
    };
    let starts: Vec<(usize, String)> = lines.clone().filter_map(|i| Some((i, key(i)?))).collect();
    let mut entries = Vec::with_capacity(starts.len());
    for (at, (index, key)) in starts.iter().enumerate() {
        let next = starts.get(at + 1).map_or(lines.end, |(next, _)| *next);
        let heading = |i: &usize| matches!(markdown.lines[*i].kind, LineKind::Heading(_));
        let end = (index + 1..next).find(heading).unwrap_or(next);
        let span = markdown.span_of(*index..end);
        let value = markdown::label(strip_marker(markdown.clean(span))).map(|(_, v)| joined(v)).unwrap_or_default();
        let needs_clarification = value.contains("NEEDS CLARIFICATION")
            && !["or NEEDS", "No NEEDS", "no NEEDS", "without NEEDS"].iter().any(|words| value.contains(words));
        let line = markdown.lines[*index].number;
        entries.push(ContextEntry { key: key.clone(), value, needs_clarification, line, span });
    }
    if entries.is_empty() {
        entries.extend(markdown.rows_in(lines).iter().filter_map(|row| {
            let [key, value, ..] = row.cells.as_slice() else {
                return None;
            };
            let key = key.trim_matches(['*', '`', ' ']).to_owned();
            let needs_clarification = value.contains("NEEDS CLARIFICATION");
            Some(ContextEntry { key, value: value.clone(), needs_clarification, line: row.line, span: row.span })
        }));
    }
    entries
}

fn complexity<'a>(markdown: &'a Markdown, section: &Section) -> impl Iterator<Item = Complexity> + 'a {
    let rows = markdown.rows_in(section.heading + 1..section.end).iter();
    rows.filter(|row| {
        let header =
            markdown.headers.get(row.table).and_then(|h| h.first()).map(|h| h.to_lowercase()).unwrap_or_default();
        ["violation", "违", "violação"].iter().any(|w| header.contains(w))
    })
    .filter_map(|row| {
        let [violation, reason, alternative, ..] = row.cells.as_slice() else {
            return None;
        };
        let blank = |cell: &str| cell.trim_matches(['-', '—', '–', ' ', '*', '_']).is_empty();
        let plain = violation.trim_matches(['(', ')', '[', ']', '*', '_', ' ', '.']).to_lowercase();
        if blank(violation)
            || matches!(
                plain.as_str(),
                "none" | "n/a" | "no violations" | "无" | "無" | "なし" | "없음" | "нет" | "nenhuma" | "ninguna"
            )
            || violation.starts_with("[e.g.")
        {
            return None;
        }
        let (violation, reason, alternative) = (violation.clone(), reason.clone(), alternative.clone());
        Some(Complexity { violation, reason, alternative, line: row.line, span: row.span })
    })
}

fn check(markdown: &Markdown, plan: &Plan, diagnostics: &mut Vec<Diagnostic>) {
    let missing =
        |what: &str, remedy: &str| Diagnostic::warning(1, MISSING_SECTION, format!("the plan has no {what}"), remedy);
    if plan.summary.is_none() {
        diagnostics.push(missing("summary", "add `## Summary`"));
    }
    if plan.context.is_empty() {
        diagnostics.push(missing(
            "technical context",
            "add `## Technical Context` with lines such as `**Language/Version**: …`",
        ));
    }
    if plan.constitution_check.is_none() {
        diagnostics.push(missing(
            "constitution check",
            "add `## Constitution Check`, and state how the plan meets each principle",
        ));
    }
    for entry in plan.context.iter().filter(|e| e.needs_clarification) {
        let message = format!("{} still needs clarification", entry.key);
        diagnostics.push(Diagnostic::warning(entry.line, NEEDS_CLARIFICATION, message, "choose a value, and write it"));
    }
    for row in &plan.complexity {
        if row.reason.is_empty() || row.alternative.is_empty() {
            let message = format!("the violation {:?} is not justified", row.violation);
            diagnostics.push(Diagnostic::warning(
                row.line,
                "UnjustifiedComplexity",
                message,
                "state why it is needed and why the simpler alternative was rejected",
            ));
        }
    }
    diagnostics.extend(markdown.placeholders());
}
