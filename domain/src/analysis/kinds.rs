//! The kinds of findings, with their category and severity.

use super::finding::{Category, Severity};

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FindingKind {
    /// Stable name, in `CamelCase`.
    pub code: &'static str,
    pub category: Category,
    pub severity: Severity,
}

macro_rules! kinds {
    ($($name:ident = $code:literal, $category:ident, $severity:ident;)*) => {
        $(pub(super) const $name: FindingKind = FindingKind { code: $code, category: Category::$category, severity: Severity::$severity };)*

        /// All kinds of findings, without the parser's, which are also of [`Category::Format`].
        pub const FINDING_KINDS: &[FindingKind] = &[$($name),*];
    };
}

kinds! {
    DUPLICATE_STATEMENT = "DuplicateStatement", Duplication, High;
    SIMILAR_STATEMENT = "SimilarStatement", Duplication, High;
    DUPLICATE_ENTITY = "DuplicateEntity", Duplication, Medium;
    DUPLICATE_PRINCIPLE = "DuplicatePrinciple", Duplication, High;

    OPEN_MARKER = "OpenMarker", Ambiguity, High;
    PLACEHOLDER = "Placeholder", Ambiguity, High;
    VAGUE_PERFORMANCE = "VaguePerformance", Ambiguity, High;
    VAGUE_SECURITY = "VagueSecurity", Ambiguity, High;
    VAGUE_QUALITY = "VagueQuality", Ambiguity, Medium;
    VAGUE_TIME = "VagueTime", Ambiguity, Medium;
    ESCAPE_CLAUSE = "EscapeClause", Ambiguity, Medium;
    OPEN_LIST = "OpenList", Ambiguity, Medium;

    EMPTY_STATEMENT = "EmptyStatement", Underspecification, High;
    NO_OBLIGATION = "NoObligation", Underspecification, Medium;
    UNTESTABLE_CRITERION = "UntestableCriterion", Underspecification, High;
    NO_SCENARIO = "NoScenario", Underspecification, High;
    NO_INDEPENDENT_TEST = "NoIndependentTest", Underspecification, Medium;
    INCOMPLETE_SCENARIO = "IncompleteScenario", Underspecification, Low;
    NO_PRIORITY = "NoPriority", Underspecification, Low;
    UNCOVERED_REQUIREMENT = "UncoveredRequirement", Underspecification, Medium;
    UNUSED_ENTITY = "UnusedEntity", Underspecification, Low;
    EMPTY_PRINCIPLE = "EmptyPrinciple", Underspecification, High;

    UNKNOWN_REFERENCE = "UnknownReference", Inconsistency, Medium;
    CONFLICTING_NUMBERS = "ConflictingNumbers", Inconsistency, High;
    CONTRADICTION = "Contradiction", Inconsistency, High;

    FORBIDDEN_BY_CONSTITUTION = "ForbiddenByConstitution", Constitution, Critical;
    REFUSES_CONSTITUTION = "RefusesConstitution", Constitution, Critical;

    REQUIREMENT_WITHOUT_TASK = "RequirementWithoutTask", Coverage, High;
    UNKNOWN_ID_IN_TASK = "UnknownIdInTask", Coverage, Medium;

    SHARED_ENTITY = "SharedEntity", Overlap, Medium;
    SHARED_PATH = "SharedPath", Overlap, Medium;
    SIMILAR_REQUIREMENT = "SimilarRequirement", Overlap, High;

    INVALID_ACCEPTANCE = "InvalidAcceptance", Format, Medium;
    UNUSED_ACCEPTANCE = "UnusedAcceptance", Format, Low;
}
