//! What a reader's request names.

use enact_domain::names::{is_label, is_subdomain};
use enact_domain::record::Kind as Subject;
use enact_store::{ItemKind, RevisionSelector};
use serde::Deserialize;

use crate::access::plural;
use crate::problem::{Kind, Problem};

/// The kinds whose documents are recorded.
const DOCUMENTS: [Subject; 3] = [Subject::Constitution, Subject::Specification, Subject::Plan];
/// Most revisions on a page, and how many there are when nobody asks for more or fewer.
const PAGE: (u32, u32) = (50, 20);
/// Most hits of a search, and how many there are when nobody asks for more or fewer.
const HITS: (u32, u32) = (50, 10);
/// Longest text that is searched for, in bytes.
const MAX_QUERY_BYTES: usize = 2 << 10;
/// Most digits of a revision's number; more are the beginning of a digest.
const NUMBER_DIGITS: usize = 9;

/// The parameters of a query, all that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// Position of the last revision that was seen.
    pub before: Option<i64>,
    /// Most entries of the answer.
    pub limit: Option<u32>,
    /// What is searched for.
    pub q: Option<String>,
    /// Which items are searched.
    pub kind: Option<String>,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The namespace that it belongs to.
    pub namespace: String,
    /// What it is.
    pub what: What,
}

/// An object of a kind, in the target's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its kind.
    pub kind: Subject,
    /// Its name.
    pub name: String,
}

/// What is read of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A page of an object's revisions, newest first.
    Revisions {
        /// Whose.
        of: Place,
        /// Position of the last one that was seen.
        before: Option<i64>,
        /// Most of them.
        limit: u32,
    },
    /// What is known of one revision.
    Revision {
        /// Whose.
        of: Place,
        /// Which one.
        which: RevisionSelector,
    },
    /// The document of one revision.
    Content {
        /// Whose.
        of: Place,
        /// Which one.
        which: RevisionSelector,
    },
    /// What the analysis of one revision found.
    Findings {
        /// Whose.
        of: Place,
        /// Which one.
        which: RevisionSelector,
    },
    /// Objects whose documents are like an object's.
    Related {
        /// Whose.
        of: Place,
        /// Most of them.
        limit: u32,
    },
    /// Items of documents that fit a text.
    Search {
        /// The text.
        text: String,
        /// Which items; all when empty.
        kinds: Vec<ItemKind>,
        /// Most of them.
        limit: u32,
    },
}

impl What {
    /// A word for metrics and logs.
    pub fn route(&self) -> &'static str {
        match self {
            Self::Revisions { .. } => "revisions",
            Self::Revision { .. } => "revision",
            Self::Content { .. } => "content",
            Self::Findings { .. } => "findings",
            Self::Related { .. } => "related",
            Self::Search { .. } => "search",
        }
    }

    /// The object, when it is one object that is read.
    pub fn of(&self) -> Option<&Place> {
        match self {
            Self::Revisions { of, .. }
            | Self::Revision { of, .. }
            | Self::Content { of, .. }
            | Self::Findings { of, .. }
            | Self::Related { of, .. } => Some(of),
            Self::Search { .. } => None,
        }
    }

    /// Kinds whose objects the reader must be allowed to get.
    pub fn kinds(&self) -> Vec<Subject> {
        let Self::Search { kinds, .. } = self else { return self.of().map(|of| of.kind).into_iter().collect() };
        let searched = if kinds.is_empty() { ItemKind::ALL.as_slice() } else { kinds };
        let holds = |kind| searched.iter().any(|item| holder(*item) == kind);
        DOCUMENTS.into_iter().filter(|kind| holds(*kind)).collect()
    }
}

/// The kind of the objects that an item stands in.
fn holder(item: ItemKind) -> Subject {
    match item {
        ItemKind::Principle => Subject::Constitution,
        ItemKind::Requirement | ItemKind::Criterion | ItemKind::Story => Subject::Specification,
        ItemKind::Decision | ItemKind::Task => Subject::Plan,
    }
}

impl Target {
    /// What a path and a query name.
    ///
    /// # Errors
    /// When there is no such path, or a part of it cannot be what it should.
    pub fn parse(path: &str, query: &Parameters) -> Result<Self, Problem> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let ["v1", "namespaces", namespace, rest @ ..] = parts.as_slice() else { return Err(nowhere()) };
        if !is_label(namespace) {
            return Err(bad("a namespace's name has 1 to 63 of a-z, 0-9 and -"));
        }
        let what = match rest {
            ["search"] => search(query)?,
            [kind, name, "related"] => What::Related { of: place(kind, name)?, limit: bounded(query.limit, HITS)? },
            [kind, name, "revisions", rest @ ..] => revisions(place(kind, name)?, rest, query)?,
            _ => return Err(nowhere()),
        };
        what.check(query)?;
        Ok(Self { namespace: (*namespace).to_owned(), what })
    }
}

impl What {
    /// Refuses parameters that mean nothing here.
    fn check(&self, query: &Parameters) -> Result<(), Problem> {
        let (before, limit, search) = match self {
            Self::Revisions { .. } => (true, true, false),
            Self::Related { .. } => (false, true, false),
            Self::Search { .. } => (false, true, true),
            _ => (false, false, false),
        };
        let searches = query.q.is_some() || query.kind.is_some();
        if (query.before.is_some() && !before) || (query.limit.is_some() && !limit) || (searches && !search) {
            return Err(bad("the query holds a parameter that means nothing for this path"));
        }
        Ok(())
    }
}

fn revisions(of: Place, rest: &[&str], query: &Parameters) -> Result<What, Problem> {
    Ok(match rest {
        [] => What::Revisions { of, before: query.before, limit: bounded(query.limit, PAGE)? },
        [which] => What::Revision { of, which: selector(which)? },
        [which, "content"] => What::Content { of, which: selector(which)? },
        [which, "findings"] => What::Findings { of, which: selector(which)? },
        _ => return Err(nowhere()),
    })
}

fn search(query: &Parameters) -> Result<What, Problem> {
    let text = query.q.clone().filter(|text| !text.trim().is_empty() && text.len() <= MAX_QUERY_BYTES);
    let text = text.ok_or_else(|| bad(format!("q is what to search for, 1 to {MAX_QUERY_BYTES} bytes")))?;
    let kinds = match &query.kind {
        None => Vec::new(),
        Some(word) => {
            let found = ItemKind::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(word));
            vec![found.ok_or_else(|| bad("kind is principle, requirement, criterion, story, decision or task"))?]
        }
    };
    Ok(What::Search { text, kinds, limit: bounded(query.limit, HITS)? })
}

fn place(kind: &str, name: &str) -> Result<Place, Problem> {
    let kind = DOCUMENTS.into_iter().find(|known| plural(*known) == kind).ok_or_else(nowhere)?;
    if !is_subdomain(name) {
        return Err(bad("an object's name has 1 to 253 of a-z, 0-9, - and ."));
    }
    Ok(Place { kind, name: name.to_owned() })
}

fn bounded(limit: Option<u32>, (most, usual): (u32, u32)) -> Result<u32, Problem> {
    match limit.unwrap_or(usual) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(bad(format!("limit is 1 to {most}"))),
    }
}

/// A few decimal digits are a number, anything else is the beginning of a digest; `sha256:` before it says that it is one in any case.
fn selector(text: &str) -> Result<RevisionSelector, Problem> {
    let digits = text.len() <= NUMBER_DIGITS && text.bytes().all(|c| c.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number > 0 => Ok(RevisionSelector::Number(number)),
        _ if digits => Err(bad("revisions are numbered from 1")),
        _ => Ok(RevisionSelector::DigestPrefix(text.to_owned())),
    }
}

fn nowhere() -> Problem {
    Problem::new(Kind::NotFound, "see docs/reference/server.md for the paths that there are")
}

fn bad(why: impl Into<String>) -> Problem {
    Problem::new(Kind::BadParameter, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Result<What, Kind> {
        Target::parse(path, &Parameters::default()).map(|target| target.what).map_err(|problem| problem.kind)
    }

    #[test]
    fn paths_name_revisions() {
        let of = || Place { kind: Subject::Specification, name: "shop.v2".into() };
        let base = "/v1/namespaces/team/specifications/shop.v2/revisions";
        assert_eq!(parsed(base), Ok(What::Revisions { of: of(), before: None, limit: 20 }));
        let number = || RevisionSelector::Number(12);
        assert_eq!(parsed(&format!("{base}/12")), Ok(What::Revision { of: of(), which: number() }));
        assert_eq!(parsed(&format!("{base}/12/content")), Ok(What::Content { of: of(), which: number() }));
        let prefix = |text: &str| RevisionSelector::DigestPrefix(text.into());
        for digest in ["abcd", "sha256:1234", "1234567890"] {
            let found = parsed(&format!("{base}/{digest}/findings"));
            assert_eq!(found, Ok(What::Findings { of: of(), which: prefix(digest) }), "{digest}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in [
            "",
            "/",
            "/v1",
            "/v2/namespaces/team/plans/shop/revisions",
            "/v1/namespaces/team",
            "/v1/namespaces/team/agents/shop/revisions",
            "/v1/namespaces/team/plans/shop",
            "/v1/namespaces/team/plans/shop/revisions/1/content/more",
            "/v1/namespaces/team/plans/shop/revisions/1/secrets",
        ] {
            assert_eq!(parsed(path), Err(Kind::NotFound), "{path}");
        }
        for path in [
            "/v1/namespaces//plans/shop/revisions",
            "/v1/namespaces/te%61m/plans/shop/revisions",
            "/v1/namespaces/team/plans/../revisions",
            "/v1/namespaces/team/plans/Shop/revisions",
            "/v1/namespaces/team/plans/shop/revisions/0",
        ] {
            assert_eq!(parsed(path), Err(Kind::BadParameter), "{path}");
        }
    }

    #[test]
    fn pages_are_bounded() {
        let path = "/v1/namespaces/team/plans/shop/revisions";
        let limit =
            |limit| Target::parse(path, &Parameters { limit: Some(limit), before: Some(3), ..Parameters::default() });
        let Ok(Target { what: What::Revisions { limit: 50, before: Some(3), .. }, .. }) = limit(50) else {
            panic!("{:?}", limit(50));
        };
        assert!(limit(0).is_err() && limit(51).is_err());
        let parameters = Parameters { limit: Some(1), ..Parameters::default() };
        let one = Target::parse(&format!("{path}/1"), &parameters);
        assert!(one.unwrap_err().detail.contains("means nothing for this path"));
    }

    #[test]
    fn a_search_asks_for_rights_on_what_it_searches() {
        let search = |q: &str, kind: Option<&str>| {
            let query = Parameters { q: Some(q.into()), kind: kind.map(str::to_owned), ..Parameters::default() };
            Target::parse("/v1/namespaces/team/search", &query).map(|target| target.what)
        };
        let kinds = |kind| search("carts", kind).map(|what| what.kinds());
        assert_eq!(kinds(None), Ok(DOCUMENTS.to_vec()));
        assert_eq!(kinds(Some("principle")), Ok(vec![Subject::Constitution]));
        assert_eq!(kinds(Some("Story")), Ok(vec![Subject::Specification]));
        assert_eq!(kinds(Some("task")), Ok(vec![Subject::Plan]));
        let long = "a".repeat(MAX_QUERY_BYTES + 1);
        for wrong in [search("", None), search(" ", None), search(&long, None), search("a", Some("secret"))] {
            assert_eq!(wrong.unwrap_err().kind, Kind::BadParameter);
        }
        assert_eq!(
            Target::parse("/v1/namespaces/team/search", &Parameters::default()).unwrap_err().kind,
            Kind::BadParameter
        );
    }
}
