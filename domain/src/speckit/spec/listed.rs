//! User stories that are items of a list or paragraphs: `- **US1** As a sailor, I want …` below a heading such as `User Stories`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::model::UserStory;
use super::roles::{self, Purpose, Role};
use super::{stories, unnumbered};
use crate::speckit::ids::StoryKey;
use crate::speckit::markdown::{Item, Markdown, Section, joined};
use crate::speckit::words::Table;

/// Words in the titles of sections with user stories.
static STORIES: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "user scenario",
        "user stor",
        "قصص المستخدم",
        "سيناريوهات المستخدم",
        "用户场景",
        "用户故事",
        "使用者場景",
        "使用者故事",
        "用戶故事",
        "cenários",
        "escenarios",
        "historias de usuario",
        "histórias de usuário",
        "histórias do usuário",
        "histórias do utilizador",
        "scénarios utilisateur",
        "histoires utilisateur",
        "récits utilisateur",
        "benutzerszenari",
        "benutzergeschichten",
        "nutzergeschichten",
        "anwendergeschichten",
        "scenari utente",
        "storie utente",
        "пользовательские сценарии",
        "пользовательские истории",
        "истории пользовател",
        "ユーザー",
        "사용자",
    ])
});

/// Words in the titles of sections whose stories are not those of the feature.
static ELSEWHERE: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "out of scope",
        "not in scope",
        "future",
        "deferred",
        "rejected",
        "non-goal",
        "example",
        "backlog",
        "dependenc",
        "mapping",
        "matrix",
        "overview",
        "summary",
        "status",
        "review",
    ])
});

/// Beginnings of a story without a number, in lower case, and a word that follows somewhere behind each.
const BEGINNINGS: [(&str, &[&str]); 16] = [
    ("as a ", &[" i ", " i'", " i’", " we "]),
    ("as an ", &[" i ", " i'", " i’", " we "]),
    ("as the ", &[" i ", " i'", " i’", " we "]),
    ("en tant qu", &["je ", "j'", "j’", "nous "]),
    ("als ", &[" ich", " wir"]),
    ("como ", &["quiero", "quero", "deseo", "desejo", "necesito", "preciso"]),
    ("come ", &["voglio", "vorrei", "desidero"]),
    ("in qualità di ", &["voglio", "vorrei", "desidero"]),
    ("in quanto ", &["voglio", "vorrei", "desidero"]),
    ("как ", &["хочу", "хотим", "могу"]),
    ("作为", &["我", "希望", "想"]),
    ("作為", &["我", "希望", "想"]),
    ("身為", &["我", "希望", "想"]),
    ("身为", &["我", "希望", "想"]),
    ("je veux ", &["en tant que "]),
    ("i want ", &["as a"]),
];

/// Words within a story of a language in which its beginning is the role.
const WITHIN: [(&str, &str); 2] = [("として", "たい"), ("로서", "싶")];

/// Returns whether a section is about the user stories of the feature.
pub(super) fn is_about(title: &str) -> bool {
    let lower = title.to_lowercase();
    STORIES.is_in(&lower) && !ELSEWHERE.is_in(&lower)
}

/// A line with the form of a story.
struct Line {
    /// Key, title and priority, if the line has a number.
    numbered: Option<(StoryKey, String, Option<String>)>,
    /// Whether the text itself says who wants what.
    says: bool,
    item: Item,
    /// One past its last line, as an index.
    end: usize,
}

/// Adds the stories that are written without headings. Beside stories with headings, lines about the same ones are mentions.
pub(super) fn add(markdown: &Markdown, roles: &[Role], found: &mut Vec<UserStory>) {
    let numbered = found.iter().any(|story| !stories::is_primary(&story.title.to_lowercase()));
    let mut about = vec![false; markdown.sections.len()];
    let mut listed: Vec<Vec<Line>> = Vec::new();
    // One past the last byte of the stories that have begun.
    let (mut begun, mut story_end) = (0, 0);
    for (at, section) in markdown.sections.iter().enumerate() {
        let above = section.parent.is_some_and(|parent| about[parent]);
        about[at] = is_about(&section.title)
            || (above && !roles::is_other(&section.title) && !stories::accepts(&section.title));
        let start = markdown.lines[section.heading].span.start;
        while let Some(story) = found.get(begun).filter(|story| story.span.start <= start) {
            (begun, story_end) = (begun + 1, story_end.max(story.span.end));
        }
        let refers = |at: usize| roles[at].purpose == Purpose::Refers;
        // What a sailor wants can contain any word.
        let wish = above && !numbered && start >= story_end && !section.parent.is_some_and(refers);
        if let Some(line) = wish.then(|| heading(markdown, section)).flatten() {
            story_end = line.item.span.end;
            listed.push(vec![line]);
            continue;
        }
        let title = at == 0 && section.level == 1;
        if about[at] && !title && !refers(at) && start >= story_end {
            let mut lines = lines(markdown, section);
            // Before the first heading of a story, roles and wishes are an overview of the stories below.
            lines.retain(|line| line.numbered.is_some() || !numbered || begun > 0);
            listed.push(lines);
        }
    }
    let mut taken: HashSet<StoryKey> = found.iter().map(|story| story.key.clone()).collect();
    let headings = taken.clone();
    taken.extend(listed.iter().flatten().filter_map(|line| Some(line.numbered.as_ref()?.0.clone())));
    let mut seen: HashMap<StoryKey, bool> = HashMap::new();
    let mut next = 1;
    for line in listed.into_iter().flatten() {
        let numbered = line.numbered.is_some();
        let (key, title, priority) = line.numbered.unwrap_or_else(|| {
            let number = |number: usize| StoryKey::from_number(&number.to_string());
            while taken.contains(&number(next)) {
                next += 1;
            }
            next += 1;
            let (title, priority) = stories::split_priority(&line.item.text);
            (number(next - 1), title, priority)
        });
        // Only two lines that both say who wants what are two stories with one number.
        let twice = seen.get(&key).is_some_and(|says| !(line.says && *says));
        if headings.contains(&key) || twice {
            continue;
        }
        seen.insert(key.clone(), line.says);
        let first = markdown.line_index(line.item.span.start);
        found.push(UserStory { numbered, ..stories::story(markdown, (key, title, priority), first..line.end) });
    }
    found.sort_by_key(|story| story.span.start);
}

/// Returns the heading of a section as a story, if it says who wants what: `### As a sailor, I want …`, or `### As a sailor` with wishes
/// below it.
fn heading(markdown: &Markdown, section: &Section) -> Option<Line> {
    let whole = section.heading..section.end;
    let begins = |title: &str| BEGINNINGS.iter().any(|(begin, _)| title.starts_with(begin));
    let title = section.title.trim_start_matches(|c: char| !c.is_alphanumeric());
    let span = markdown.span_of(whole.clone());
    let says = begins(&title.to_lowercase()) && says(&joined(markdown.clean(span)));
    let item = Item { text: title.to_owned(), line: markdown.lines[section.heading].number, span };
    says.then_some(Line { numbered: None, says, item, end: whole.end })
}

/// Returns the lines of a section with the form of a story.
fn lines(markdown: &Markdown, section: &Section) -> Vec<Line> {
    let lines = section.heading + 1..section.own_end;
    let items = markdown.items_in(lines.clone());
    let mut found: Vec<Line> = Vec::new();
    for item in markdown.paragraphs(lines) {
        let first = markdown.line_index(item.span.start);
        if found.last().is_some_and(|last| first < last.end && last.end < usize::MAX) {
            continue;
        }
        let text = unnumbered::without_box(&item.text);
        let plain = priority_last(&text.replace(['*', '`'], ""));
        let numbered = numbered(text, &plain);
        let says = says(numbered.as_ref().map_or(plain.as_str(), |(_, title, _)| title));
        if numbered.is_none() && !says {
            continue;
        }
        // The innermost item that begins on this line. A paragraph goes on until the next story.
        let own = items.partition_point(|own| markdown.line_index(own.span.start) <= first).checked_sub(1);
        let own = own.map(|at| items[at]).filter(|own| markdown.line_index(own.span.start) == first);
        let end = own.map(|own| markdown.line_index(own.span.end.saturating_sub(1).max(own.span.start)) + 1);
        let item = Item { text: plain, ..item };
        if let Some(last) = found.last_mut().filter(|last| last.end == usize::MAX) {
            last.end = first;
        }
        found.push(Line { numbered, says, item, end: end.unwrap_or(usize::MAX) });
    }
    for line in &mut found {
        line.end = line.end.min(section.own_end);
    }
    found
}

/// Returns the text of a story with its priority at the end: `As a sailor, … (P1)` for `P1: As a sailor, …`.
fn priority_last(text: &str) -> String {
    let inner = text.strip_prefix('[').unwrap_or(text);
    let digits = inner.strip_prefix('P').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let after = inner.get(digits + 1..).map(|rest| rest.trim_start_matches([']', ')']));
    match after.and_then(|rest| rest.strip_prefix([':', '：', ' '])) {
        Some(rest) if digits == 1 && says(rest.trim_start()) => {
            format!("{} ({})", rest.trim_start(), &inner[..=digits])
        }
        _ => text.to_owned(),
    }
}

/// Returns the key, title and priority of `**US1**: …`, `US1 - …`, `[US1] …`, `User Story 1 (P1): …`; none for a text about several stories,
/// or that begins with the number of one.
fn numbered(text: &str, plain: &str) -> Option<(StoryKey, String, Option<String>)> {
    let (key, rest) = stories::numbered(plain.trim_start_matches(['[', ' ']))?;
    let marked = text.starts_with(['*', '[', '`']) || rest.starts_with([':', '：', '-', '–', '—', '.', '(', '（', ')']);
    let behind = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
    let list = rest.trim_start().starts_with([',', '/', '+', '&', '、', '，'])
        || stories::numbered(behind).is_some()
        || ["and ", "to ", "depends"].iter().any(|word| behind.starts_with(word));
    if list || !(marked || says(behind)) {
        return None;
    }
    let (title, priority) = stories::split_priority(rest.trim_start_matches(stories::is_joint));
    (!title.is_empty()).then_some((key, title, priority))
}

/// Returns whether a text says who wants what: `As a sailor, I want …`.
fn says(text: &str) -> bool {
    // The text of an open question is not that of the story.
    let (first, rest) = text.split_once("[NEEDS CLARIFICATION").unwrap_or((text, ""));
    let rest = rest.split("[NEEDS CLARIFICATION").filter_map(|part| part.split_once(']')).map(|(_, rest)| rest);
    let text = [first].into_iter().chain(rest).collect::<String>();
    let lower = text.trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let begins = |(begin, then): &(&str, &[&str])| {
        lower.strip_prefix(begin).is_some_and(|rest| then.iter().any(|word| rest.contains(word)))
    };
    let within = |(role, wish): &(&str, &str)| lower.split_once(role).is_some_and(|(_, rest)| rest.contains(wish));
    BEGINNINGS.iter().any(begins) || WITHIN.iter().any(within)
}
