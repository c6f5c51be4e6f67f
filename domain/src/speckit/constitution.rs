//! `constitution.md`: version, principles, and their demands.

use serde::Serialize;

use super::diagnostic::{Diagnostic, MISSING_VERSION, Parsed, TEMPLATE_NOT_FILLED};
use super::markdown::{self, Item, LineKind, Markdown, Section, Span, joined, strip_marker};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Constitution {
    /// The document, unchanged.
    pub source: String,
    /// Title, without the word `Constitution`.
    pub title: Option<Item>,
    /// Version as written.
    pub version: Option<Item>,
    /// Date of ratification as written; `YYYY-MM-DD` unless there is a diagnostic about it.
    pub ratified: Option<Item>,
    /// Date of the last amendment as written; `YYYY-MM-DD` unless there is a diagnostic about it.
    pub last_amended: Option<Item>,
    /// Principles in the order of the document.
    pub principles: Vec<Principle>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Principle {
    /// Number as written (`I`, `4`), when there is one.
    pub number: Option<String>,
    /// Name without number.
    pub name: String,
    /// Line of the heading, counted from 1.
    pub line: u32,
    /// Heading and body.
    pub span: Span,
    /// Text below the heading.
    pub body: Span,
    /// Sentences with MUST or SHALL.
    pub musts: Vec<Item>,
}

pub fn parse(bytes: &[u8]) -> Parsed<Constitution> {
    let (markdown, mut diagnostics) = match markdown::read(bytes) {
        Ok(read) => read,
        Err(diagnostic) => return Parsed::new(Constitution::default(), vec![diagnostic]),
    };
    let mut constitution = Constitution { title: title(&markdown), ..Constitution::default() };
    footer(&markdown, &mut constitution, &mut diagnostics);
    constitution.principles = principles(&markdown);
    check(&markdown, &constitution, &mut diagnostics);
    constitution.source = markdown.source;
    Parsed::new(constitution, diagnostics)
}

fn title(markdown: &Markdown) -> Option<Item> {
    let section = markdown.sections.iter().find(|s| s.level == 1)?;
    let line = markdown.lines[section.heading];
    let text = section.title.trim_end_matches("Constitution").trim_end_matches([' ', '-', '–', '—', ':']);
    let text = if text.is_empty() { &section.title } else { text };
    Some(Item { text: text.to_owned(), line: line.number, span: line.span })
}

/// Words for the version, in lower case.
const VERSION: [&str; 8] = ["version", "versão", "versión", "versione", "версия", "版本", "バージョン", "버전"];

/// Returns whether a label in lower case is that of the version: `version`, `constitution version`, `宪章版本`.
fn is_version_label(label: &str) -> bool {
    const ENDS: [&str; 3] = ["版本", "バージョン", "버전"];
    let han = ENDS.iter().find_map(|end| label.strip_suffix(end)).is_some_and(|name| name.chars().count() <= 3);
    VERSION.contains(&label) || label == "constitution version" || han
}

/// Returns the version that is the paragraph below a heading: `## Version`.
fn below_heading(markdown: &Markdown) -> Option<Item> {
    let section = markdown.sections.iter().find(|s| VERSION.contains(&s.title.to_lowercase().as_str()))?;
    let item = markdown.paragraphs(section.heading + 1..section.own_end).next()?;
    let text = item.text.trim_matches(['*', '`', ' ']).to_owned();
    is_version(&text).then_some(Item { text, ..item })
}

/// Reads every line with the form of the footer; the last one is used.
fn footer(markdown: &Markdown, constitution: &mut Constitution, diagnostics: &mut Vec<Diagnostic>) {
    for line in markdown.lines.iter().filter(|l| l.kind == LineKind::Text) {
        let text = markdown.clean(line.span);
        let marked = text.contains('|') || text.trim_start().starts_with("**");
        for (name, value) in markdown::fields(text) {
            // A translation can stand in brackets: `宪章版本（Constitution Version）`.
            let plain = name.split(['(', '（']).next().unwrap_or_default().trim();
            let field = match plain {
                name if is_version_label(name) => &mut constitution.version,
                "ratified" | "ratification_date" | "ratificada" | "ratificado" | "ratifiée" | "ratifié"
                | "ratifiziert" | "ratificata" | "принята" | "批准日期" | "批准" | "制定日" | "制定日期" | "비준"
                | "제정일" => &mut constitution.ratified,
                "last amended"
                | "last_amended_date"
                | "amended"
                | "última emenda"
                | "última enmienda"
                | "dernière modification"
                | "zuletzt geändert"
                | "ultima modifica"
                | "последняя поправка"
                | "изменена"
                | "最后修订"
                | "最後修訂"
                | "最終改定"
                | "최종 개정" => &mut constitution.last_amended,
                _ => continue,
            };
            let value = value.trim_matches(['*', '`', ' ']).to_owned();
            // Prose can begin with `Version: …`; a plain footer has a version or a day.
            if !marked && !is_version(&value) && !is_date(&value) {
                continue;
            }
            if let Some(earlier) = field.as_ref().filter(|f| f.text != value) {
                diagnostics.push(Diagnostic::warning(
                    line.number,
                    "ConflictingFooter",
                    format!(
                        "{name} is {value} on this line, but {} on line {}; the last value is used",
                        earlier.text, earlier.line
                    ),
                    "keep one footer, at the end",
                ));
            }
            *field = Some(Item { text: value, line: line.number, span: line.span });
        }
    }
    constitution.version = constitution.version.take().or_else(|| below_heading(markdown));
}

fn principles(markdown: &Markdown) -> Vec<Principle> {
    // Computed once for each title, because many sections may be below a long one.
    let holding: Vec<bool> = markdown.sections.iter().map(|section| holds_principles(&section.title)).collect();
    let found = named_principles(markdown, &holding);
    if found.is_empty() { plain_principles(markdown) } else { found }
}

/// Returns the sections of a constitution that has no heading about principles: those with a number, `## 1. Doors first`, else those of a
/// flat document, which has nothing but sections with text. Sections about the document itself are not principles.
fn plain_principles(markdown: &Markdown) -> Vec<Principle> {
    const FEWEST: usize = 2;
    let level = |section: &&Section| section.level == 2 && !is_about_document(&section.title);
    let sections: Vec<&Section> = markdown.sections.iter().filter(level).collect();
    let is_numbered = |section: &&Section| numbered(&section.title).0.is_some();
    let several = sections.iter().copied().filter(|section| is_numbered(section)).count() >= FEWEST;
    let says = |section: &Section| markdown.prose(section.heading + 1..section.end).is_some();
    let flat = sections.iter().all(|section| section.own_end == section.end && says(section));
    if sections.len() < FEWEST || !(several || flat) {
        return Vec::new();
    }
    let chosen = sections.into_iter().filter(|section| !several || is_numbered(section));
    chosen.map(|section| principle(markdown, section)).collect()
}

/// Returns whether a section of a constitution is about the document: its scope, its history, how it changes.
fn is_about_document(title: &str) -> bool {
    const WORDS: [&str; 35] = [
        "governance",
        "version",
        "amendment",
        "purpose",
        "preamble",
        "overview",
        "introduction",
        "history",
        "ratification",
        "scope",
        "compliance",
        "enforcement",
        "references",
        "glossary",
        "changelog",
        "project",
        "summary",
        "context",
        "table of contents",
        "document",
        "gouvernance",
        "préambule",
        "gobernanza",
        "governança",
        "управление",
        "преамбула",
        "治理",
        "治理",
        "概述",
        "修订",
        "거버넌스",
        "개정",
        "ガバナンス",
        "改定",
        "目次",
    ];
    let lower = title.to_lowercase();
    WORDS.iter().any(|word| lower.contains(word))
}

/// Returns the principles below headings about them, and those with Roman numbers.
fn named_principles(markdown: &Markdown, holding: &[bool]) -> Vec<Principle> {
    let mut found = Vec::new();
    for (section, holds) in markdown.sections.iter().zip(holding) {
        let number = numbered(&section.title).0;
        let below = section.parent.is_some_and(|parent| holding[parent]);
        // Roman numbers mark a principle in any section; other numbers are common in all sections.
        let letter = |n: &String| n.starts_with(|c: char| c.is_ascii_alphabetic());
        let roman = section.level <= 3 && number.as_ref().is_some_and(letter);
        // `Hiring Principles` below `Operating Principles` is a principle, unless it has parts of its own.
        let has_parts = section.own_end < section.end;
        if section.level < 2 || (*holds && (!below || has_parts)) || !(below || roman) {
            continue;
        }
        found.push(principle(markdown, section));
    }
    found
}

fn principle(markdown: &Markdown, section: &Section) -> Principle {
    let (number, name) = numbered(&section.title);
    let (heading, span) = (markdown.lines[section.heading], markdown.span_of(section.heading..section.end));
    let body = Span { start: heading.span.end.min(span.end), end: span.end };
    let musts = musts(markdown, section.heading + 1..section.end);
    Principle { number, name, line: heading.number, span, body, musts }
}

fn holds_principles(title: &str) -> bool {
    let title = title.to_lowercase();
    let words = [
        "core principle",
        "principles",
        "core values",
        "core rules",
        "valeurs fondamentales",
        "grundwerte",
        "kernwerte",
        "valores fundamentales",
        "valores fundamentais",
        "valori fondamentali",
        "основные ценности",
        "核心价值",
        "核心價值",
        "핵심 가치",
        "コアバリュー",
        "articles",
        "princípios",
        "principios",
        "principes",
        "grundsätze",
        "prinzipien",
        "principi",
        "принципы",
        "원칙",
        "原则",
        "原則",
    ];
    words.iter().any(|word| title.contains(word))
}

/// Splits `IV. Name`, `4) Name` or `Article IV — Name` into number and name.
fn numbered(title: &str) -> (Option<String>, String) {
    let plain = title.trim_start_matches(|c: char| !(c.is_alphanumeric() || c == '[')).trim();
    let worded = [
        "Article ",
        "Principle ",
        "Artigo ",
        "Princípio ",
        "Artículo ",
        "Principio ",
        "Principe ",
        "Artikel ",
        "Prinzip ",
        "Articolo ",
        "Статья ",
        "Принцип ",
    ]
    .iter()
    .find_map(|w| plain.strip_prefix(w));
    let rest = worded.unwrap_or(plain);
    let han = rest.find(|c: char| !"一二三四五六七八九十".contains(c)).unwrap_or(0);
    if let Some(name) = rest[han..].strip_prefix(['、', '.', '．']).filter(|_| han > 0) {
        return (Some(rest[..han].to_owned()), name.trim_start().to_owned());
    }
    let len = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let number = &rest[..len];
    let roman = !number.is_empty() && number.len() <= 6 && number.bytes().all(|b| b"IVXLC".contains(&b));
    let arabic = !number.is_empty() && number.len() <= 3 && number.bytes().all(|b| b.is_ascii_digit());
    let after = rest[len..].trim_start();
    let marked = rest[len..].starts_with(['.', ')', ':'])
        || (worded.is_some() && (after.is_empty() || after.starts_with(['—', '–', '-'])));
    if !(roman || arabic) || !marked {
        return (None, plain.to_owned());
    }
    let name = after.trim_start_matches(['.', ')', ':', '—', '–', '-', ' ']);
    (Some(number.to_owned()), name.to_owned())
}

/// Returns the sentences that contain a demand, each with the line on which it begins.
fn musts(markdown: &Markdown, lines: std::ops::Range<usize>) -> Vec<Item> {
    let mut found = Vec::new();
    for paragraph in markdown.paragraphs(lines) {
        let text = markdown.clean(paragraph.span);
        let mut start = 0;
        while start < text.len() {
            let end = sentence_end(&text[start..]) + start;
            let sentence = joined(strip_marker(&text[start..end]));
            if demands(&sentence) {
                let begin =
                    paragraph.span.start + start + (text[start..end].len() - text[start..end].trim_start().len());
                let span = Span { start: begin, end: paragraph.span.start + start + text[start..end].trim_end().len() };
                found.push(Item { text: sentence, line: markdown.line_number(begin), span });
            }
            start = end;
        }
    }
    found
}

/// Returns one past the end of the first sentence: a full stop before white space, or a full-width one.
pub(crate) fn sentence_end(text: &str) -> usize {
    // The text is searched by its bytes, since most are letters. The last one is the first byte of `。`.
    let mark = |byte: &u8| matches!(byte, b'.' | b'!' | b'?' | 0xE3);
    let mut from = 0;
    while let Some(at) = text.as_bytes()[from..].iter().position(mark).map(|at| from + at) {
        from = at + 1;
        if text[at..].starts_with('。') {
            return at + '。'.len_utf8();
        }
        let spaced = text.get(from..).is_some_and(|rest| rest.chars().next().is_none_or(char::is_whitespace));
        // The full stop of `e.g.` and `i.e.` does not end a sentence.
        if spaced && !text[..at].ends_with("e.g") && !text[..at].ends_with("i.e") {
            return from;
        }
    }
    text.len()
}

/// Words of a demand in capitals, and words of languages without spaces.
const DEMANDS: [&str; 18] = [
    "MUST",
    "SHALL",
    "REQUIRED",
    "DEVE",
    "DEVEM",
    "DEVONO",
    "DEBE",
    "DEBEN",
    "DEBERÁ",
    "DOIT",
    "DOIVENT",
    "MUSS",
    "MÜSSEN",
    "ДОЛЖЕН",
    "ДОЛЖНА",
    "ДОЛЖНО",
    "ДОЛЖНЫ",
    "ОБЯЗАН",
];
const HAN_DEMANDS: [&str; 6] = ["必须", "必須", "なければならない", "しなければなら", "반드시", "해야 합니다"];

/// Returns whether a sentence contains a demand, in the words of RFC 2119 or their equivalents in other languages.
pub(crate) fn demands(sentence: &str) -> bool {
    // Few words begin with two capitals.
    let capitals = |word: &str| word.bytes().take(2).all(|byte| !byte.is_ascii_lowercase());
    let mut words = sentence.split(|c: char| !c.is_alphanumeric());
    words.any(|word| capitals(word) && DEMANDS.contains(&word))
        || !sentence.is_ascii() && HAN_DEMANDS.iter().any(|word| sentence.contains(word))
}

fn check(markdown: &Markdown, constitution: &Constitution, diagnostics: &mut Vec<Diagnostic>) {
    let placeholders = markdown.placeholders();
    // A placeholder has a diagnostic of its own, so its line gets no second one.
    let unfilled = |line: u32| placeholders.binary_search_by_key(&line, |d| d.line).is_ok();
    if !constitution.principles.is_empty() && constitution.principles.iter().all(|p| unfilled(p.line)) {
        diagnostics.push(Diagnostic::error(
            constitution.principles[0].line,
            TEMPLATE_NOT_FILLED,
            "every principle is still a placeholder of the template",
            "write the principles, or remove the document",
        ));
    }
    if constitution.principles.is_empty() {
        let remedy = "write `### I. <name>` under `## Core Principles`";
        diagnostics.push(Diagnostic::warning(1, "NoPrinciples", "no section could be read as a principle", remedy));
    }
    match &constitution.version {
        None => {
            let remedy =
                "add the footer `**Version**: 1.0.0 | **Ratified**: YYYY-MM-DD | **Last Amended**: YYYY-MM-DD`";
            diagnostics.push(Diagnostic::warning(1, MISSING_VERSION, "the constitution has no version", remedy));
        }
        Some(version) if !is_version(&version.text) && !unfilled(version.line) => {
            let message = format!("version {:?} is not of the form MAJOR.MINOR.PATCH", version.text);
            diagnostics.push(Diagnostic::warning(version.line, "InvalidVersion", message, "write it like 1.2.0"));
        }
        Some(_) => {}
    }
    for (what, date) in [("ratification", &constitution.ratified), ("last amendment", &constitution.last_amended)] {
        if let Some(date) = date.as_ref().filter(|d| !is_date(&d.text) && !unfilled(d.line)) {
            diagnostics.push(Diagnostic::warning(
                date.line,
                "InvalidDate",
                format!("the date of {what}, {:?}, is not a date", date.text),
                "write it as YYYY-MM-DD",
            ));
        }
    }
    diagnostics.extend(placeholders);
}

fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.trim_start_matches('v').split('.').collect();
    parts.len() == 3 && parts.iter().all(|p| !p.is_empty() && p.len() < 6 && p.bytes().all(|b| b.is_ascii_digit()))
}

/// Returns whether a text is a day of the Gregorian calendar, written `YYYY-MM-DD`.
pub(super) fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    let shape = [(year, 4), (month, 2), (day, 2)]
        .iter()
        .all(|(p, len)| p.len() == *len && p.bytes().all(|b| b.is_ascii_digit()));
    let (Ok(year), Ok(month), Ok(day)) = (year.parse::<u16>(), month.parse::<u8>(), day.parse::<u8>()) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u8::from(leap),
        _ => 0,
    };
    shape && (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_principles() {
        let read = |title: &str| numbered(title).0;
        assert_eq!(read("I. Doors first").as_deref(), Some("I"));
        assert_eq!(read("4. Doors first").as_deref(), Some("4"));
        assert_eq!(read("Article IX — Doors").as_deref(), Some("IX"));
        assert_eq!(read("Doors first"), None);
        assert_eq!(read("Civil doors"), None);
    }

    #[test]
    fn dates_are_days_of_the_calendar() {
        assert!(is_date("2024-02-29") && is_date("2026-12-31"));
        assert!(!is_date("2026-02-29") && !is_date("2026-13-01") && !is_date("2026-1-01") && !is_date("soon"));
    }
}
