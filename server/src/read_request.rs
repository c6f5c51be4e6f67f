//! The path and query of a reader's request.

use enact_domain::digest::Digest;
use enact_domain::names::{is_label, is_subdomain};
use enact_domain::record::Kind;
use enact_store::{DecisionFilter, Dimension, ItemKind, RequestLogFilter, RevisionSelector};
use serde::Deserialize;

use crate::access::plural;
use crate::problem::{Problem, ProblemKind};
use crate::usage::{UsageRequest, end_time, first_time};

/// The kinds whose documents are recorded.
const DOCUMENTS: [Kind; 3] = [Kind::Constitution, Kind::Specification, Kind::Plan];
/// Most revisions on a page, and the default.
const PAGE: (u32, u32) = (50, 20);
/// Most hits of a search, and the default.
const HITS: (u32, u32) = (50, 10);
/// Most texts of requests in one answer, and the default. Each can have half a MiB.
const REQUESTS: (u32, u32) = (20, 10);
/// Longest text of a search, in bytes.
const MAX_QUERY_BYTES: usize = 2 << 10;
/// Most digits of a revision's number; more are the prefix of a digest.
const NUMBER_DIGITS: usize = 9;

/// The query parameters of all paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// Position of the last revision of the page before.
    pub before: Option<i64>,
    /// Most entries of the response.
    pub limit: Option<u32>,
    /// The text to search for.
    pub q: Option<String>,
    /// The kind of items to search.
    pub kind: Option<String>,
    /// The first day, or the first time.
    pub from: Option<String>,
    /// The last day, or the first time that is not included.
    pub to: Option<String>,
    /// Dimensions of usage, separated by commas.
    pub by: Option<String>,
    /// Name of a Plan.
    pub plan: Option<String>,
    /// Name of a Specification.
    pub specification: Option<String>,
    /// Name of a Task.
    pub task: Option<String>,
    /// Name of an Agent, or `<namespace>/<name>`.
    pub agent: Option<String>,
    /// `json` or `csv`.
    pub format: Option<String>,
    /// A month, such as `2026-11`.
    pub month: Option<String>,
}

impl Parameters {
    /// Returns the names of the parameters that are set.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        let texts = [
            ("q", &self.q),
            ("kind", &self.kind),
            ("from", &self.from),
            ("to", &self.to),
            ("by", &self.by),
            ("plan", &self.plan),
            ("specification", &self.specification),
            ("task", &self.task),
            ("agent", &self.agent),
            ("format", &self.format),
            ("month", &self.month),
        ];
        let numbers = [("before", self.before.is_some()), ("limit", self.limit.is_some())];
        let set = texts.map(|(name, value)| (name, value.is_some())).into_iter().chain(numbers);
        set.filter(|(_, set)| *set).map(|(name, _)| name)
    }
}

/// A reader's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    pub namespace: String,
    pub resource: Resource,
}

/// The kind and name of an object in the namespace of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    pub kind: Kind,
    pub name: String,
}

/// The resource that a request reads in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A page of an object's revisions, newest first.
    Revisions {
        of: ObjectName,
        /// Position of the last revision of the page before.
        before: Option<i64>,
        limit: u32,
    },
    /// The metadata of one revision.
    Revision { of: ObjectName, which: RevisionSelector },
    /// The document of one revision.
    Content { of: ObjectName, which: RevisionSelector },
    /// The findings about one revision.
    Findings { of: ObjectName, which: RevisionSelector },
    /// Why agents were selected for the attempts at a task of a plan.
    Selections {
        of: ObjectName,
        /// Name of the Task.
        task: String,
    },
    /// The text of a proposal of a planner.
    Proposal { of: ObjectName, digest: Digest },
    /// Decisions of chosen proposals.
    Decisions(DecisionFilter),
    /// Choices that worked for a question.
    Recommendations { question: String },
    /// The attempts at a task of a plan.
    Attempts {
        of: ObjectName,
        /// Name of the Task.
        task: String,
    },
    /// What the pod of an attempt delivered: its transcript and the results of its gates.
    Log {
        of: ObjectName,
        /// Name of the Task; none for the integration of the plan.
        task: Option<String>,
        /// Number of the attempt.
        attempt: u32,
    },
    /// Objects whose documents are similar to an object's.
    Related { of: ObjectName, limit: u32 },
    /// Items of documents that match a text.
    Search {
        text: String,
        /// The kinds of items; all when empty.
        kinds: Vec<ItemKind>,
        limit: u32,
    },
    /// The usage of the namespace.
    Usage(UsageRequest),
    /// The texts of model requests and answers, newest first.
    Requests { filter: RequestLogFilter, limit: u32 },
    /// The budgets that concern the namespace.
    Budgets {
        /// The plan whose tasks are wanted.
        plan: Option<String>,
        /// The month of the monthly budgets; the present one when none.
        month: Option<String>,
    },
}

impl Resource {
    /// Returns the route's name for metrics and logs.
    pub fn route(&self) -> &'static str {
        match self {
            Self::Revisions { .. } => "revisions",
            Self::Revision { .. } => "revision",
            Self::Content { .. } => "content",
            Self::Findings { .. } => "findings",
            Self::Selections { .. } => "selections",
            Self::Proposal { .. } => "proposal",
            Self::Decisions(_) => "decisions",
            Self::Recommendations { .. } => "recommendations",
            Self::Attempts { .. } => "attempts",
            Self::Log { .. } => "log",
            Self::Related { .. } => "related",
            Self::Search { .. } => "search",
            Self::Usage(_) => "usage",
            Self::Requests { .. } => "requests",
            Self::Budgets { .. } => "budgets",
        }
    }

    /// Returns the object, when the request reads one object.
    pub fn object(&self) -> Option<&ObjectName> {
        match self {
            Self::Revisions { of, .. }
            | Self::Revision { of, .. }
            | Self::Content { of, .. }
            | Self::Findings { of, .. }
            | Self::Selections { of, .. }
            | Self::Proposal { of, .. }
            | Self::Attempts { of, .. }
            | Self::Log { of, .. }
            | Self::Related { of, .. } => Some(of),
            Self::Decisions(_)
            | Self::Recommendations { .. }
            | Self::Search { .. }
            | Self::Usage(_)
            | Self::Requests { .. }
            | Self::Budgets { .. } => None,
        }
    }

    /// Returns the kinds whose objects the reader must be allowed to get.
    pub fn kinds(&self) -> Vec<Kind> {
        let kinds = match self {
            Self::Search { kinds, .. } => kinds,
            // Usage, decisions and what they recommend belong to plans.
            Self::Usage(_) | Self::Budgets { .. } | Self::Decisions(_) | Self::Recommendations { .. } => {
                return vec![Kind::Plan];
            }
            // The texts quote the documents, and those of drafts belong to no plan.
            Self::Requests { .. } => return vec![Kind::Plan, Kind::Specification],
            _ => return self.object().map(|object| object.kind).into_iter().collect(),
        };
        let searched = if kinds.is_empty() { ItemKind::ALL.as_slice() } else { kinds };
        let holds = |kind| searched.iter().any(|item| holder(*item) == kind);
        DOCUMENTS.into_iter().filter(|kind| holds(*kind)).collect()
    }
}

/// Returns the kind of the objects that hold an item.
fn holder(item: ItemKind) -> Kind {
    match item {
        ItemKind::Principle => Kind::Constitution,
        ItemKind::Requirement | ItemKind::Criterion | ItemKind::Story => Kind::Specification,
        ItemKind::Decision | ItemKind::Task => Kind::Plan,
    }
}

impl ReadRequest {
    /// Parses a path and a query.
    ///
    /// # Errors
    /// When the path does not exist, or a part of it is invalid.
    pub fn parse(path: &str, query: &Parameters) -> Result<Self, Problem> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let ["v1", "namespaces", namespace, rest @ ..] = parts.as_slice() else { return Err(no_such_path()) };
        if !is_label(namespace) {
            return Err(bad("the name of a namespace must have 1 to 63 characters of a-z, 0-9 and -"));
        }
        let resource = match rest {
            ["search"] => search(query)?,
            ["usage"] => Resource::Usage(usage(namespace, query)?),
            ["requests"] => requests(namespace, query)?,
            ["decisions"] => {
                let (plan, specification) = (plan(query)?, specification(query)?);
                Resource::Decisions(DecisionFilter { plan, specification })
            }
            ["recommendations"] => Resource::Recommendations { question: searched_text(query)? },
            ["budgets"] => Resource::Budgets { plan: plan(query)?, month: month(query)? },
            ["plans", name, "tasks", task, "selections"] => {
                Resource::Selections { of: object_name("plans", name)?, task: task_name(task)? }
            }
            ["plans", name, "proposals", digest] => {
                let of = object_name("plans", name)?;
                let digest = Digest::from((*digest).to_owned());
                if !digest.is_valid() {
                    return Err(bad("the digest of a proposal must be `sha256:` and 64 hex digits"));
                }
                Resource::Proposal { of, digest }
            }
            ["plans", name, "tasks", task, "attempts"] => {
                Resource::Attempts { of: object_name("plans", name)?, task: task_name(task)? }
            }
            ["plans", name, "tasks", task, "attempts", number, "log"] => {
                let of = object_name("plans", name)?;
                Resource::Log { of, task: Some(task_name(task)?), attempt: attempt(number)? }
            }
            ["plans", name, "integration", "attempts", number, "log"] => {
                Resource::Log { of: object_name("plans", name)?, task: None, attempt: attempt(number)? }
            }
            [kind, name, "related"] => {
                Resource::Related { of: object_name(kind, name)?, limit: bounded(query.limit, HITS)? }
            }
            [kind, name, "revisions", rest @ ..] => revisions(object_name(kind, name)?, rest, query)?,
            _ => return Err(no_such_path()),
        };
        resource.check(query)?;
        Ok(Self { namespace: (*namespace).to_owned(), resource })
    }
}

impl Resource {
    /// Refuses parameters that have no meaning for this path.
    fn check(&self, query: &Parameters) -> Result<(), Problem> {
        let allowed: &[&str] = match self {
            Self::Revisions { .. } => &["before", "limit"],
            Self::Related { .. } => &["limit"],
            Self::Search { .. } => &["limit", "q", "kind"],
            Self::Usage(_) => &["from", "to", "by", "plan", "agent", "format"],
            Self::Requests { .. } => &["limit", "plan", "task", "agent"],
            Self::Budgets { .. } => &["plan", "month"],
            Self::Decisions(_) => &["plan", "specification"],
            Self::Recommendations { .. } => &["q"],
            _ => &[],
        };
        if query.names().any(|name| !allowed.contains(&name)) {
            return Err(bad("the query holds a parameter that has no meaning for this path; remove it"));
        }
        Ok(())
    }
}

fn task_name(name: &str) -> Result<String, Problem> {
    let problem = || bad("the name of a Task must have 1 to 63 characters of a-z, 0-9 and -");
    if is_label(name) { Ok(name.to_owned()) } else { Err(problem()) }
}

fn attempt(number: &str) -> Result<u32, Problem> {
    let parsed = number.parse::<u32>().ok().filter(|parsed| *parsed > 0 && i32::try_from(*parsed).is_ok());
    parsed.ok_or_else(|| bad("the number of an attempt must be a number from 1"))
}

fn revisions(of: ObjectName, rest: &[&str], query: &Parameters) -> Result<Resource, Problem> {
    Ok(match rest {
        [] => Resource::Revisions { of, before: query.before, limit: bounded(query.limit, PAGE)? },
        [which] => Resource::Revision { of, which: selector(which)? },
        [which, "content"] => Resource::Content { of, which: selector(which)? },
        [which, "findings"] => Resource::Findings { of, which: selector(which)? },
        _ => return Err(no_such_path()),
    })
}

fn searched_text(query: &Parameters) -> Result<String, Problem> {
    let text = query.q.clone().filter(|text| !text.trim().is_empty() && text.len() <= MAX_QUERY_BYTES);
    text.ok_or_else(|| bad(format!("q must hold the text to search for, 1 to {MAX_QUERY_BYTES} bytes")))
}

fn search(query: &Parameters) -> Result<Resource, Problem> {
    let text = searched_text(query)?;
    let kinds = match &query.kind {
        None => Vec::new(),
        Some(word) => {
            let found = ItemKind::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(word));
            vec![found.ok_or_else(|| bad("kind must be principle, requirement, criterion, story, decision or task"))?]
        }
    };
    Ok(Resource::Search { text, kinds, limit: bounded(query.limit, HITS)? })
}

/// Returns the Agent of a query as `<namespace>/<name>`.
fn agent(namespace: &str, query: &Parameters) -> Result<Option<String>, Problem> {
    let agent = query.agent.as_ref().map(|agent| {
        let agent = if agent.contains('/') { agent.clone() } else { format!("{namespace}/{agent}") };
        let valid = agent.split_once('/').is_some_and(|(namespace, name)| is_label(namespace) && is_subdomain(name));
        if valid { Ok(agent) } else { Err(bad("agent must be the name of an Agent, or NAMESPACE/NAME")) }
    });
    agent.transpose()
}

fn requests(namespace: &str, query: &Parameters) -> Result<Resource, Problem> {
    if query.task.as_ref().is_some_and(|task| !is_subdomain(task)) {
        return Err(bad("task must be the name of a Task"));
    }
    let filter = RequestLogFilter {
        namespace: namespace.to_owned(),
        plan: plan(query)?,
        task: query.task.clone(),
        agent: agent(namespace, query)?,
    };
    Ok(Resource::Requests { filter, limit: bounded(query.limit, REQUESTS)? })
}

fn usage(namespace: &str, query: &Parameters) -> Result<UsageRequest, Problem> {
    let by = query.by.as_deref().unwrap_or("plan");
    let group_by =
        by.split(',').map(|word| word.trim().parse().map_err(|_| bad_dimension())).collect::<Result<_, _>>()?;
    let bad_time =
        |name| bad(format!("{name} must be a day such as 2026-11-30, or a time such as 2026-11-30T12:00:00Z"));
    let csv = match query.format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(bad("format must be json or csv")),
    };
    Ok(UsageRequest {
        from: query.from.as_deref().map(|text| first_time(text).ok_or_else(|| bad_time("from"))).transpose()?,
        to: query.to.as_deref().map(|text| end_time(text).ok_or_else(|| bad_time("to"))).transpose()?,
        group_by,
        plan: plan(query)?,
        agent: agent(namespace, query)?,
        csv,
    })
}

fn bad_dimension() -> Problem {
    let known: Vec<&str> = Dimension::ALL.iter().map(|dimension| dimension.as_str()).collect();
    bad(format!("by must be a list, separated by commas, of {}", known.join(", ")))
}

fn plan(query: &Parameters) -> Result<Option<String>, Problem> {
    match &query.plan {
        Some(name) if !is_subdomain(name) => Err(bad("plan must be the name of a Plan")),
        plan => Ok(plan.clone()),
    }
}

fn specification(query: &Parameters) -> Result<Option<String>, Problem> {
    match &query.specification {
        Some(name) if !is_subdomain(name) => Err(bad("specification must be the name of a Specification")),
        specification => Ok(specification.clone()),
    }
}

fn month(query: &Parameters) -> Result<Option<String>, Problem> {
    match &query.month {
        Some(month) if month.len() != 7 || first_time(&format!("{month}-01")).is_none() => {
            Err(bad("month must be a month such as 2026-11"))
        }
        month => Ok(month.clone()),
    }
}

fn object_name(kind: &str, name: &str) -> Result<ObjectName, Problem> {
    let kind = DOCUMENTS.into_iter().find(|known| plural(*known) == kind).ok_or_else(no_such_path)?;
    if !is_subdomain(name) {
        return Err(bad("the name of an object must have 1 to 253 characters of a-z, 0-9, - and ."));
    }
    Ok(ObjectName { kind, name: name.to_owned() })
}

fn bounded(limit: Option<u32>, (max, default): (u32, u32)) -> Result<u32, Problem> {
    match limit.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(bad(format!("limit must be 1 to {max}"))),
    }
}

/// Parses the revision in a path: a few decimal digits are a number, anything else is the prefix of a digest. With `sha256:` before it, it
/// is always a digest.
fn selector(text: &str) -> Result<RevisionSelector, Problem> {
    let digits = text.len() <= NUMBER_DIGITS && text.bytes().all(|c| c.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number > 0 => Ok(RevisionSelector::Number(number)),
        _ if digits => Err(bad("the number of a revision must be at least 1")),
        _ => Ok(RevisionSelector::DigestPrefix(text.to_owned())),
    }
}

fn no_such_path() -> Problem {
    Problem::new(ProblemKind::NotFound, "the path does not exist; see docs/reference/server.md for the paths")
}

fn bad(why: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::BadParameter, why)
}

#[cfg(test)]
mod tests;
