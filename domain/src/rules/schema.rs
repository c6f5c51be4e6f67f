//! The fields of the documents: names, types, meaning and usual size.

use std::fmt;

/// The type of an expression or field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    Int,
    /// A number with a fraction.
    Double,
    String,
    Strings,
    Ints,
    Doubles,
    Bools,
    Record(&'static Record),
    Records(&'static Record),
}

impl Type {
    /// Returns the type of the elements, when this is a list.
    pub(super) fn element(self) -> Option<Self> {
        Some(match self {
            Self::Strings => Self::String,
            Self::Ints => Self::Int,
            Self::Doubles => Self::Double,
            Self::Bools => Self::Bool,
            Self::Records(record) => Self::Record(record),
            _ => return None,
        })
    }

    /// Returns the list of such elements; none for lists, which do not nest.
    pub(super) fn list(self) -> Option<Self> {
        Some(match self {
            Self::String => Self::Strings,
            Self::Int => Self::Ints,
            Self::Double => Self::Doubles,
            Self::Bool => Self::Bools,
            Self::Record(record) => Self::Records(record),
            _ => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Record(record) => f.write_str(record.name),
            list => write!(f, "list of {}", list.element().unwrap_or(Self::Bool)),
        }
    }
}

/// A record: what a variable, or an element of a list, is made of.
#[derive(Debug)]
pub struct Record {
    /// Name of the type. Of the four documents, the name of the variable as well.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Fields of the record. The first one identifies a record: messages show it, and `has()` tests it.
    pub fields: &'static [Field],
}

/// A field of a record.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub of: Type,
    /// What it holds. A text that a document does not have is empty, a number 0.
    pub about: &'static str,
    /// How large it usually is: bytes of a text, elements of a list. What a rule costs on a document of this size must be affordable.
    pub(super) usual: u64,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Record {}

impl Record {
    /// Returns the field of this name, with its place.
    pub(super) fn field(&self, name: &str) -> Option<(usize, &'static Field)> {
        self.fields.iter().enumerate().find(|(_, field)| field.name == name)
    }
}

/// Returns every record that rules can see, the four documents first.
pub fn records() -> [&'static Record; 16] {
    [
        &SPECIFICATION,
        &PLAN,
        &TASK,
        &CONSTITUTION,
        &STORY,
        &SCENARIO,
        &REQUIREMENT,
        &CRITERION,
        &ENTITY,
        &QUESTION,
        &CLARIFICATION,
        &DECISION,
        &GATE,
        &WORKSPACE,
        &PRINCIPLE,
        &FINDING_POLICY,
    ]
}

const fn text(name: &'static str, usual: u64, about: &'static str) -> Field {
    Field { name, of: Type::String, about, usual }
}

const fn number(name: &'static str, about: &'static str) -> Field {
    Field { name, of: Type::Int, about, usual: 0 }
}

const fn flag(name: &'static str, about: &'static str) -> Field {
    Field { name, of: Type::Bool, about, usual: 0 }
}

const fn texts(name: &'static str, usual: u64, about: &'static str) -> Field {
    Field { name, of: Type::Strings, about, usual }
}

const fn many(name: &'static str, of: &'static Record, usual: u64, about: &'static str) -> Field {
    Field { name, of: Type::Records(of), about, usual }
}

const LINE: Field = number("line", "its line in the document, counted from 1");

pub(super) static SPECIFICATION: Record = Record {
    name: "specification",
    about: "A feature specification, as spec.md.",
    fields: &[
        text("name", 63, "name of the Specification object"),
        text("title", 80, "title of the document"),
        text("branch", 60, "`Feature Branch` of its head"),
        text("created", 10, "`Created` of its head, as written"),
        text("status", 10, "`Status` of its head, as written"),
        text("input", 500, "`Input` of its head: the request that it was made from"),
        many("stories", &STORY, 10, "user stories, in order"),
        many("requirements", &REQUIREMENT, 50, "requirements of every kind, in order"),
        many("criteria", &CRITERION, 10, "success criteria, in order"),
        many("entities", &ENTITY, 10, "key entities, in order"),
        texts("edgeCases", 10, "edge cases, in order"),
        texts("assumptions", 10, "assumptions, in order"),
        many("openQuestions", &QUESTION, 3, "`[NEEDS CLARIFICATION]` markers that are still in the text"),
        many("clarifications", &CLARIFICATION, 5, "questions that were asked and answered"),
        text("source", 20_000, "the whole document, unchanged"),
    ],
};

pub(super) static STORY: Record = Record {
    name: "story",
    about: "A user story.",
    fields: &[
        text("key", 6, "its key: `US1`"),
        text("title", 80, "its title, without number and priority"),
        text("priority", 2, "its priority as written: `P1`"),
        text("independentTest", 200, "what stands after `Independent Test`"),
        many("scenarios", &SCENARIO, 4, "its acceptance scenarios, in order"),
        LINE,
    ],
};

pub(super) static SCENARIO: Record = Record {
    name: "scenario",
    about: "An acceptance scenario.",
    fields: &[
        text("key", 10, "its key in the document: `US1/AC2`"),
        text("text", 200, "the whole scenario"),
        text("given", 60, "what stands after `Given`, when the scenario has all three parts"),
        text("when", 60, "what stands after `When`, likewise"),
        text("then", 60, "what stands after `Then`, likewise"),
        LINE,
    ],
};

pub(super) static REQUIREMENT: Record = Record {
    name: "requirement",
    about: "A requirement.",
    fields: &[
        text("id", 8, "its identifier: `FR-001`"),
        text("text", 200, "the statement, without its identifier"),
        text("section", 40, "title of the section that it stands in"),
        LINE,
    ],
};

pub(super) static CRITERION: Record = Record {
    name: "criterion",
    about: "A success criterion.",
    fields: &[
        text("id", 8, "its identifier: `SC-001`"),
        text("text", 200, "the statement, without its identifier"),
        LINE,
    ],
};

pub(super) static ENTITY: Record = Record {
    name: "entity",
    about: "A key entity.",
    fields: &[text("name", 30, "its name"), text("text", 200, "what it is"), LINE],
};

pub(super) static QUESTION: Record =
    Record { name: "question", about: "An open question.", fields: &[text("text", 200, "the question"), LINE] };

pub(super) static CLARIFICATION: Record = Record {
    name: "clarification",
    about: "A question that was asked and answered.",
    fields: &[
        text("question", 200, "the question"),
        text("answer", 200, "the answer"),
        text("session", 10, "the day of the session, `YYYY-MM-DD`"),
        LINE,
    ],
};

pub(super) static PLAN: Record = Record {
    name: "plan",
    about: "A plan with its tasks.",
    fields: &[
        text("name", 52, "name of the Plan object"),
        many("tasks", &TASK, 500, "its tasks, in order"),
        many("decisions", &DECISION, 10, "decisions that were made for it (research.md), in order"),
        many("gates", &GATE, 3, "commands that must succeed on the merged work before it is published"),
        Field {
            name: "workspace",
            of: Type::Record(&WORKSPACE),
            about: "the repository that its tasks work on",
            usual: 1,
        },
        number("parallelism", "most attempts at once"),
        flag("approvalRequired", "whether people must approve it before its first task starts"),
        number("requiredApprovals", "people who must approve it, by its policy and the minimum of its Tenant"),
        flag("fourEyes", "whether its author may not approve it"),
        texts("approverGroups", 2, "groups whose members may approve it; empty: everybody who may create Approvals"),
        texts("approverMachines", 1, "machine users, such as service accounts, who may approve it"),
        number("approvalExpiresAfterSeconds", "after how many seconds its approvals expire; 0: never"),
        many("approvalsWithFindings", &FINDING_POLICY, 2, "further approvals that it requires while findings are open"),
    ],
};

pub(super) static FINDING_POLICY: Record = Record {
    name: "findingPolicy",
    about: "Further approvals that are required while findings of a severity are open.",
    fields: &[
        text("atLeast", 8, "the mildest severity that requires them: `High`"),
        number("required", "people who must approve"),
        texts("groups", 2, "groups whose members count; empty: those of the plan"),
    ],
};

pub(super) static TASK: Record = Record {
    name: "task",
    about: "A task of a plan.",
    fields: &[
        text("id", 8, "its id, unique in the plan: `T001`"),
        text("title", 100, "one line for people"),
        text("text", 300, "the agent's prompt in addition to the title, or the script that it runs"),
        text("phase", 40, "phase of tasks.md that it stands in"),
        text("story", 6, "key of the user story that it serves: `US1`"),
        texts("dependsOn", 3, "ids of the tasks that must have succeeded before it starts"),
        texts("paths", 3, "files and folders that its title and text name"),
        many("gates", &GATE, 1, "commands that must succeed in its working tree before its work counts"),
        flag("externalEffect", "whether its work reaches beyond the workspace"),
        number("retryLimit", "further attempts after failures of the work itself, its own or the plan's"),
        number("timeoutSeconds", "longest time of one attempt, its own or the plan's"),
    ],
};

pub(super) static DECISION: Record = Record {
    name: "decision",
    about: "A decision that was made for a plan.",
    fields: &[
        text("title", 80, "what it is about"),
        text("decision", 200, "what was decided"),
        text("rationale", 300, "why"),
        texts("alternatives", 3, "what else was considered"),
    ],
};

pub(super) static GATE: Record = Record {
    name: "gate",
    about: "A command that must succeed before work counts.",
    fields: &[text("name", 20, "its name"), text("script", 100, "the script that is run")],
};

pub(super) static WORKSPACE: Record = Record {
    name: "workspace",
    about: "A Git repository, and where the merged work goes.",
    fields: &[
        text("url", 80, "URL of the repository"),
        text("revision", 20, "branch, tag or commit to start from"),
        text("branch", 40, "branch that receives the merged work, `plan/<name>` by default"),
    ],
};

pub(super) static CONSTITUTION: Record = Record {
    name: "constitution",
    about: "The constitution that the rule stands in.",
    fields: &[
        text("version", 10, "its version, as written"),
        text("title", 60, "its title, without the word `Constitution`"),
        text("ratified", 10, "day of ratification, as written"),
        text("lastAmended", 10, "day of the last amendment, as written"),
        many("principles", &PRINCIPLE, 10, "its principles, in order"),
        text("source", 10_000, "the whole document, unchanged"),
    ],
};

pub(super) static PRINCIPLE: Record = Record {
    name: "principle",
    about: "A principle of a constitution.",
    fields: &[
        text("name", 40, "its name, without its number"),
        text("number", 4, "its number as written: `I`, `4`"),
        text("text", 1000, "what stands below its heading"),
        texts("musts", 4, "its sentences that say MUST or SHALL"),
        LINE,
    ],
};
