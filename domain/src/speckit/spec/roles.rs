//! Roles of sections and tables: whether identifiers in them define requirements and criteria, or refer to them.

use std::sync::LazyLock;

use super::identifiers::{Kind, definition};
use crate::speckit::markdown::{Markdown, Section};
use crate::speckit::words::Table;

/// Role of the identifiers in a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) purpose: Purpose,
    /// Whether the section is about statements that are usually defined elsewhere: a comparison, a status, an appendix.
    pub(super) repeats: bool,
    /// Kind of the statements, by the title of the section or of the nearest section around it.
    pub(super) kind: Option<Kind>,
    /// Kind of the statements with an identifier whose prefix is the project's own: `C001`, `M004`.
    pub(super) own: Option<Kind>,
    /// Whether the title of the section itself names the kind.
    pub(super) named: bool,
    /// Whether the section is a part about something else: assumptions, entities, notes.
    pub(super) other: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Defines,
    /// The identifiers refer to definitions elsewhere.
    Refers,
    Unknown,
}

/// Words in the titles of sections whose identifiers are defined elsewhere.
static REFERS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "coverage",
        "traceab",
        "clarification",
        "changelog",
        "change log",
        "change history",
        "revision history",
        "version history",
        "document history",
        "release notes",
        "追溯",
        "覆盖",
        "覆蓋",
        "变更记录",
        "變更記錄",
        "变更日志",
        "修订历史",
        "traçabilité",
        "journal des modifications",
        "historique",
        "rückverfolg",
        "änderungsprotokoll",
        "änderungshistorie",
        "trazabilidad",
        "historial de cambios",
        "rastreabilidade",
        "histórico de",
        "tracciabilità",
        "трассир",
        "変更履歴",
        "변경 이력",
    ])
});

/// Words in the titles of sections that usually repeat what is defined elsewhere.
static REPEATS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "matrix",
        "mapping",
        "actual",
        "planned",
        "vs",
        "versus",
        "comparison",
        "appendix",
        "annex",
        "status",
        "progress",
        "verification",
        "validation",
        "results",
        "compliance",
        "summary",
        "checklist",
        "evidence",
        "achieved",
        "achievement",
        "history",
        "review",
        "retrospective",
        "matrice",
        "annexe",
        "comparaison",
        "bilan",
        "anhang",
        "vergleich",
        "abgleich",
        "matriz",
        "anexo",
        "apéndice",
        "comparación",
        "resumen",
        "apêndice",
        "comparação",
        "resumo",
        "appendice",
        "confronto",
        "riepilogo",
        "приложени",
        "матриц",
        "сравнени",
        "итог",
        "付録",
        "対応表",
        "比較",
        "부록",
        "비교",
        "附录",
        "附錄",
        "对照",
        "對照",
        "比较",
        "矩阵",
        "矩陣",
    ])
});

/// Words in the titles of sections that define requirements.
static REQUIREMENTS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "requirement",
        "requisit",
        "exigence",
        "anforderung",
        "requerim",
        "требовани",
        "需求",
        "要求",
        "要件",
        "요구",
        "要求事項",
    ])
});

/// Words in the titles of sections that define criteria of success.
static SUCCESS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "success criteri",
        "success metric",
        "success measure",
        "success indicator",
        "measurable outcome",
        "critères de succès",
        "critères de réussite",
        "erfolgskriter",
        "criterios de éxito",
        "critérios de sucesso",
        "criteri di successo",
        "критерии успех",
        "成功标准",
        "成功標準",
        "成功基準",
        "成功指标",
        "成功指標",
        "성공 기준",
        "성공 지표",
    ])
});

/// Words in the titles of sections that define criteria of any kind.
static CRITERIA: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&["criteria", "critério", "criterios", "critères", "kriterien", "criteri", "критери", "기준"])
});

/// Words in the titles of sections with constraints, which are requirements if they have identifiers.
static CONSTRAINTS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "constraint",
        "contrainte",
        "einschränkung",
        "randbedingung",
        "restriccion",
        "restriçõ",
        "vincoli",
        "ограничени",
        "制約",
        "约束",
        "約束",
        "제약",
    ])
});

/// Returns the role of each section.
pub(super) fn of_sections(markdown: &Markdown) -> Vec<Role> {
    let mut roles: Vec<Role> = Vec::with_capacity(markdown.sections.len());
    for (index, section) in markdown.sections.iter().enumerate() {
        let above = section.parent.map(|parent| roles[parent]);
        roles.push(of(section, index == 0, above));
    }
    roles
}

fn of(section: &Section, first: bool, above: Option<Role>) -> Role {
    let outside = Role { purpose: Purpose::Unknown, repeats: false, kind: None, own: None, named: false, other: false };
    let above = above.unwrap_or(outside);
    let title = section.title.to_lowercase();
    let is = |words: &Table| words.is_in(&title);
    // The title of the document often contains `Specification` and `Requirements`.
    let about = |words: &Table| about(&section.title, &title, words);
    if section.level == 1 && (first || !(about(&REFERS) || about(&REPEATS))) {
        return outside;
    }
    if above.purpose == Purpose::Refers || about(&REFERS) {
        return Role { purpose: Purpose::Refers, repeats: true, ..outside };
    }
    let repeats = above.repeats || about(&REPEATS);
    let kind = if definition(&section.title).is_some() {
        None
    } else if is(&SUCCESS) {
        Some(Kind::Criterion)
    } else if is(&REQUIREMENTS) {
        Some(Kind::Requirement)
    } else {
        None
    };
    // Requirements of tests say how to check the feature, not what it does.
    let tests = ["test requirements", "testing requirements"].iter().any(|words| title.ends_with(words));
    let other = above.other
        || kind.is_none() && is(&OTHER)
        || title == "section requirements"
        || tests
        || title.starts_with("scenario:");
    let criteria = is(&CRITERIA).then_some(Kind::Criterion);
    let constraints = is(&CONSTRAINTS).then_some(Kind::Requirement);
    let own = kind.or(criteria).or(constraints).or(above.own);
    let purpose = if own.is_some() { Purpose::Defines } else { Purpose::Unknown };
    Role { purpose, repeats, kind: kind.or(above.kind), own, named: kind.is_some(), other }
}

/// Returns whether a section is about what these words say: `Requirements coverage` and `Appendix: Requirements`, but neither `Test coverage
/// requirements` nor `NFR-2: Test coverage`.
fn about(title: &str, lower: &str, words: &Table) -> bool {
    if !words.begins_in(lower) {
        return false;
    }
    let mut parts = lower.split([':', '：', '—', '–', '(']).flat_map(|part| part.split(" - "));
    let said = |part: &str| !part.trim_end().ends_with("requirements") && words.begins_in(part);
    parts.any(said) && definition(title).is_none()
}

/// Words in the titles of parts of a section about requirements that are about something else.
static OTHER: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "entit",
        "entidad",
        "entità",
        "сущност",
        "实体",
        "實體",
        "エンティティ",
        "엔",
        "assumption",
        "premissa",
        "supuesto",
        "hypoth",
        "annahme",
        "допущен",
        "假设",
        "假設",
        "前提",
        "가정",
        "edge case",
        "out of scope",
        "scope",
        "non-goal",
        "dependenc",
        "note",
        "rationale",
        "decision",
        "glossary",
        "question",
        "risk",
        "example",
        "overview",
        "context",
        "background",
        "reference",
        "acceptance",
        "priorit",
        "边界",
        "依赖",
        "エッジケース",
    ])
});

/// Returns whether a title is that of a part about something else: assumptions, entities, notes.
pub(super) fn is_other(title: &str) -> bool {
    OTHER.is_in(&title.to_lowercase())
}

/// Words in the headers of columns with the text of a statement.
static TEXTS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "requirement",
        "description",
        "statement",
        "criteri",
        "metric",
        "outcome",
        "measure",
        "target",
        "goal",
        "indicator",
        "text",
        "what",
        "exigence",
        "description",
        "énoncé",
        "anforderung",
        "beschreibung",
        "kriteri",
        "requisito",
        "descripción",
        "métrica",
        "descrição",
        "critério",
        "descrizione",
        "требовани",
        "описани",
        "критери",
        "需求",
        "要求",
        "描述",
        "说明",
        "标准",
        "指标",
        "要件",
        "기준",
    ])
});

/// Words in the headers of columns about what became of a statement, or where it is used.
static USES: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        "status",
        "actual",
        "planned",
        "result",
        "cover",
        "task",
        "test",
        "story",
        "stories",
        "evidence",
        "verif",
        "validat",
        "implement",
        "section",
        "map",
        "scenario",
        "file",
        "component",
        "change",
        "plan",
        "phase",
        "endpoint",
        "commit",
        "module",
        "state",
        "trace",
        "done",
        "statut",
        "tâche",
        "aufgabe",
        "estado",
        "tarea",
        "状态",
        "任务",
    ])
});

/// Returns whether one of the headers, other than that of the identifiers, names the text of a statement.
pub(super) fn has_texts(headers: &[String], id_at: Option<usize>) -> bool {
    others(headers, id_at).any(|header| TEXTS.is_in(&header))
}

/// Returns whether a table is about the use of statements that are defined elsewhere: a table of tasks and tests for each requirement.
pub(super) fn refers(headers: &[String], id_at: usize) -> bool {
    let uses = |header: String| USES.begins_in(&header);
    !has_texts(headers, Some(id_at)) && others(headers, Some(id_at)).any(uses)
}

fn others(headers: &[String], id_at: Option<usize>) -> impl Iterator<Item = String> {
    headers.iter().enumerate().filter(move |(at, _)| Some(*at) != id_at).map(|(_, header)| header.to_lowercase())
}
