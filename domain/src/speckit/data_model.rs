//! `data-model.md`: the entities of a feature.

use serde::Serialize;

use super::diagnostic::{Diagnostic, Parsed};
use super::markdown::{self, Item, Markdown, Section};
use super::spec::Entity;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct DataModel {
    /// The document, unchanged.
    pub source: String,
    /// Title after `# Data Model:`.
    pub title: Option<Item>,
    /// Entities in the order of the document, each name once.
    pub entities: Vec<Entity>,
}

/// Words in the title before the name of the feature.
const TITLES: [&str; 10] = [
    "data model",
    "datenmodell",
    "modèle de données",
    "modelo de datos",
    "modelo de dados",
    "modello",
    "модель данных",
    "数据模型",
    "資料模型",
    "データモデル",
];

pub fn parse(bytes: &[u8]) -> Parsed<DataModel> {
    let (markdown, mut diagnostics) = match markdown::read(bytes) {
        Ok(read) => read,
        Err(diagnostic) => return Parsed::new(DataModel::default(), vec![diagnostic]),
    };
    let entities = entities(&markdown);
    if entities.is_empty() {
        let remedy = "write each entity as a heading `### <name>` under `## Entities`";
        diagnostics.push(Diagnostic::info(1, "NoEntities", "no entity was found", remedy));
    }
    diagnostics.extend(markdown.placeholders());
    let title = markdown.title(&TITLES);
    Parsed::new(DataModel { source: markdown.source, title, entities }, diagnostics)
}

/// Returns the entities: headings `Entity: …`, or else the sections directly below a heading such as `Entities`, or else the headings of
/// level 2 that have no other known purpose.
fn entities(markdown: &Markdown) -> Vec<Entity> {
    let worded = |section: &Section| worded(&section.title).map(str::to_owned);
    let holds: Vec<bool> = markdown.sections.iter().map(|section| section.level > 1 && holds(&section.title)).collect();
    let below = |section: &Section| section.parent.filter(|parent| holds[*parent]).and_then(|_| name(&section.title));
    let main = |section: &Section| name(&section.title).filter(|_| section.level == 2);
    let all = |of: &dyn Fn(&Section) -> Option<String>| -> Vec<Entity> {
        let sections = markdown.sections.iter();
        sections.filter_map(|section| Some(read(markdown, section, of(section)?))).collect()
    };
    let mut found = all(&worded);
    if found.is_empty() {
        found = all(&below);
        for (section, _) in markdown.sections.iter().zip(&holds).filter(|(_, holds)| **holds) {
            let items = markdown.top_items(section.heading + 1..section.own_end);
            found.extend(items.into_iter().filter(|i| i.text.starts_with("**")).map(super::spec::entity));
        }
    }
    if found.is_empty() {
        found = all(&main);
    }
    found.sort_by_key(|entity| entity.line);
    let mut seen = std::collections::HashSet::new();
    found.retain(|entity| seen.insert(entity.name.clone()));
    found
}

fn read(markdown: &Markdown, section: &Section, name: String) -> Entity {
    let first = markdown.paragraphs(section.heading + 1..section.own_end).next();
    Entity {
        name,
        text: first.map(|paragraph| paragraph.text).unwrap_or_default(),
        line: markdown.lines[section.heading].number,
        span: markdown.span_of(section.heading..section.end),
    }
}

/// Returns the name in a heading such as `Entity: Item` or `Entity 3 — Item`: `Item`.
fn worded(title: &str) -> Option<&str> {
    let rest = [
        "Entity",
        "实体",
        "實體",
        "Entidade",
        "Entidad",
        "Entité",
        "Entität",
        "Entità",
        "Сущность",
        "エンティティ",
        "엔터티",
        "엔티티",
    ]
    .iter()
    .find_map(|word| title.strip_prefix(word))?;
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ' ' | '.'));
    let rest = rest.strip_prefix([':', '：', '—', '–'])?.trim_matches(['`', '*', ' ']);
    (!rest.is_empty()).then_some(rest)
}

fn holds(title: &str) -> bool {
    let title = title.to_lowercase();
    [
        "entities",
        "entity definition",
        "实体",
        "實體",
        "entidades",
        "entités",
        "entitäten",
        "entità",
        "сущности",
        "エンティティ",
        "엔터티",
        "엔티티",
    ]
    .iter()
    .any(|word| title.contains(word))
        && !title.contains("relationship")
}

/// Returns the name of the entity in a heading, without number, quotes and a remark in brackets. None for headings with another purpose.
fn name(title: &str) -> Option<String> {
    const OTHER: [&str; 24] = [
        "overview",
        "relationship",
        "validation",
        "state ",
        "states",
        "schema",
        "migration",
        "query",
        "index",
        "note",
        "summary",
        "reference",
        "rules",
        "diagram",
        "flow",
        "constants",
        "constraint",
        "file",
        "example",
        "change",
        "lifecycle",
        "invariant",
        "storage",
        "assumption",
    ];
    let plain = title.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ')' | ' '));
    let plain = plain.split([':', '：', '(', '（']).next().unwrap_or(plain).split(" — ").next().unwrap_or(plain);
    let plain = plain.trim_matches(['`', '*', ' ']);
    let lower = plain.to_lowercase();
    let other = plain.is_empty() || OTHER.iter().any(|word| lower.contains(word)) || lower.contains("entit");
    (!other).then(|| plain.to_owned())
}
