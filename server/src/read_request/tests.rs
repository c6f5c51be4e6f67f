//! Paths and queries of readers' requests.

use enact_domain::time::Millis;

use super::*;

fn parsed(path: &str) -> Result<Resource, ProblemKind> {
    ReadRequest::parse(path, &Parameters::default()).map(|request| request.resource).map_err(|problem| problem.kind)
}

#[test]
fn paths_name_revisions() {
    let of = || ObjectName { kind: Kind::Specification, name: "shop.v2".into() };
    let base = "/v1/namespaces/team/specifications/shop.v2/revisions";
    assert_eq!(parsed(base), Ok(Resource::Revisions { of: of(), before: None, limit: 20 }));
    let number = || RevisionSelector::Number(12);
    assert_eq!(parsed(&format!("{base}/12")), Ok(Resource::Revision { of: of(), which: number() }));
    assert_eq!(parsed(&format!("{base}/12/content")), Ok(Resource::Content { of: of(), which: number() }));
    let prefix = |text: &str| RevisionSelector::DigestPrefix(text.into());
    for digest in ["abcd", "sha256:1234", "1234567890"] {
        let found = parsed(&format!("{base}/{digest}/findings"));
        assert_eq!(found, Ok(Resource::Findings { of: of(), which: prefix(digest) }), "{digest}");
    }
}

#[test]
fn a_proposal_has_a_whole_digest() {
    let of = ObjectName { kind: Kind::Plan, name: "shop".into() };
    let digest = Digest::of_bytes(b"# Tasks: Shop");
    let found = parsed(&format!("/v1/namespaces/team/plans/shop/proposals/{digest}"));
    assert_eq!(found, Ok(Resource::Proposal { of, digest }));
    assert_eq!(parsed("/v1/namespaces/team/plans/shop/proposals/sha256:12"), Err(ProblemKind::BadParameter));
    assert_eq!(parsed("/v1/namespaces/team/specifications/shop/proposals/a"), Err(ProblemKind::NotFound));
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
        "/v1/namespaces/team/specifications/shop/tasks/a/selections",
        "/v1/namespaces/team/specifications/shop/tasks/a/attempts",
    ] {
        assert_eq!(parsed(path), Err(ProblemKind::NotFound), "{path}");
    }
    for path in [
        "/v1/namespaces//plans/shop/revisions",
        "/v1/namespaces/te%61m/plans/shop/revisions",
        "/v1/namespaces/team/plans/../revisions",
        "/v1/namespaces/team/plans/Shop/revisions",
        "/v1/namespaces/team/plans/shop/tasks/T001/selections",
        "/v1/namespaces/team/plans/shop/revisions/0",
    ] {
        assert_eq!(parsed(path), Err(ProblemKind::BadParameter), "{path}");
    }
}

#[test]
fn pages_are_bounded() {
    let path = "/v1/namespaces/team/plans/shop/revisions";
    let limit =
        |limit| ReadRequest::parse(path, &Parameters { limit: Some(limit), before: Some(3), ..Parameters::default() });
    let Ok(ReadRequest { resource: Resource::Revisions { limit: 50, before: Some(3), .. }, .. }) = limit(50) else {
        panic!("{:?}", limit(50));
    };
    assert!(limit(0).is_err() && limit(51).is_err());
    let parameters = Parameters { limit: Some(1), ..Parameters::default() };
    let one = ReadRequest::parse(&format!("{path}/1"), &parameters);
    assert!(one.unwrap_err().detail.contains("has no meaning for this path"));
}

#[test]
fn usage_is_of_a_time() {
    let usage = |query: Parameters| match ReadRequest::parse("/v1/namespaces/team/usage", &query) {
        Ok(ReadRequest { resource: Resource::Usage(usage), .. }) => Ok(usage),
        Ok(other) => panic!("{other:?}"),
        Err(problem) => Err(problem.detail),
    };
    let text = |text: &str| Some(text.to_owned());
    let all = usage(Parameters {
        from: text("2026-11-29"),
        to: text("2026-11-30"),
        by: text("task,model"),
        agent: text("coder"),
        format: text("csv"),
        ..Parameters::default()
    });
    let all = all.unwrap();
    assert_eq!((all.from, all.to), (Some(Millis(1_795_910_400_000)), Some(Millis(1_796_083_200_000))));
    assert_eq!((all.group_by, all.agent), (vec![Dimension::Task, Dimension::Model], text("team/coder")));
    assert_eq!(usage(Parameters::default()).unwrap().group_by, [Dimension::Plan]);
    for wrong in [
        Parameters { by: text("secret"), ..Parameters::default() },
        Parameters { by: text(""), ..Parameters::default() },
        Parameters { from: text("yesterday"), ..Parameters::default() },
        Parameters { agent: text("a/b/c"), ..Parameters::default() },
        Parameters { plan: text("A"), ..Parameters::default() },
        Parameters { format: text("xml"), ..Parameters::default() },
        Parameters { month: text("2026-11"), ..Parameters::default() },
    ] {
        assert!(usage(wrong.clone()).is_err(), "{wrong:?}");
    }
    let month = |month: &str| {
        let query = Parameters { month: text(month), ..Parameters::default() };
        ReadRequest::parse("/v1/namespaces/team/budgets", &query).is_ok()
    };
    assert_eq!(["2026-11", "2026-13", "2026-1", "26-11-1"].map(month), [true, false, false, false]);
}

#[test]
fn the_log_of_an_attempt_belongs_to_its_plan() {
    let log = |path: &str| {
        ReadRequest::parse(&format!("/v1/namespaces/team/plans/p/{path}"), &Parameters::default())
            .map(|request| request.resource)
    };
    let of = ObjectName { kind: Kind::Plan, name: "p".into() };
    let task = Some("p-t001".to_owned());
    assert_eq!(log("tasks/p-t001/attempts/2/log"), Ok(Resource::Log { of: of.clone(), task, attempt: 2 }));
    let integration = log("integration/attempts/1/log").unwrap();
    assert_eq!(integration.kinds(), [Kind::Plan]);
    assert_eq!(integration, Resource::Log { of, task: None, attempt: 1 });
    for wrong in ["tasks/p-t001/attempts/0/log", "tasks/P/attempts/1/log", "integration/attempts/9999999999/log"] {
        assert_eq!(log(wrong).unwrap_err().kind, ProblemKind::BadParameter, "{wrong}");
    }
}

#[test]
fn texts_of_requests_need_more_rights_than_usage() {
    let requests =
        |query: Parameters| ReadRequest::parse("/v1/namespaces/team/requests", &query).map(|request| request.resource);
    let text = |text: &str| Some(text.to_owned());
    let found = requests(Parameters { task: text("shop-t001"), agent: text("coder"), ..Parameters::default() });
    let found = found.unwrap();
    assert_eq!(found.kinds(), [Kind::Plan, Kind::Specification]);
    let filter =
        RequestLogFilter { namespace: "team".into(), plan: None, task: text("shop-t001"), agent: text("team/coder") };
    assert_eq!(found, Resource::Requests { filter, limit: 10 });
    for wrong in [
        Parameters { task: text("A B"), ..Parameters::default() },
        Parameters { limit: Some(21), ..Parameters::default() },
        Parameters { by: text("task"), ..Parameters::default() },
    ] {
        assert!(requests(wrong.clone()).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_search_asks_for_rights_on_what_it_searches() {
    let search = |q: &str, kind: Option<&str>| {
        let query = Parameters { q: Some(q.into()), kind: kind.map(str::to_owned), ..Parameters::default() };
        ReadRequest::parse("/v1/namespaces/team/search", &query).map(|request| request.resource)
    };
    let kinds = |kind| search("carts", kind).map(|resource| resource.kinds());
    assert_eq!(kinds(None), Ok(DOCUMENTS.to_vec()));
    assert_eq!(kinds(Some("principle")), Ok(vec![Kind::Constitution]));
    assert_eq!(kinds(Some("Story")), Ok(vec![Kind::Specification]));
    assert_eq!(kinds(Some("task")), Ok(vec![Kind::Plan]));
    let long = "a".repeat(MAX_QUERY_BYTES + 1);
    for wrong in [search("", None), search(" ", None), search(&long, None), search("a", Some("secret"))] {
        assert_eq!(wrong.unwrap_err().kind, ProblemKind::BadParameter);
    }
    assert_eq!(
        ReadRequest::parse("/v1/namespaces/team/search", &Parameters::default()).unwrap_err().kind,
        ProblemKind::BadParameter
    );
}

#[test]
fn recommendations_need_a_question_and_the_right_to_get_plans() {
    let path = "/v1/namespaces/team/recommendations";
    let asked = |text: &str| Parameters { q: Some(text.to_owned()), ..Parameters::default() };
    let found = ReadRequest::parse(path, &asked("storage of carts")).unwrap().resource;
    assert_eq!(found, Resource::Recommendations { question: "storage of carts".into() });
    assert_eq!((found.kinds(), found.object()), (vec![Kind::Plan], None));
    for wrong in
        [Parameters::default(), asked(" "), asked(&"x".repeat(3000)), Parameters { limit: Some(1), ..asked("storage") }]
    {
        assert_eq!(ReadRequest::parse(path, &wrong).unwrap_err().kind, ProblemKind::BadParameter, "{wrong:?}");
    }
}

#[test]
fn decisions_need_the_right_to_get_plans() {
    let decisions =
        |query: Parameters| ReadRequest::parse("/v1/namespaces/team/decisions", &query).map(|request| request.resource);
    let text = |text: &str| Some(text.to_owned());
    let found = decisions(Parameters { specification: text("shop"), ..Parameters::default() }).unwrap();
    assert_eq!(found.kinds(), [Kind::Plan]);
    assert_eq!(found, Resource::Decisions(DecisionFilter { plan: None, specification: text("shop") }));
    for wrong in [
        Parameters { specification: text("A"), ..Parameters::default() },
        Parameters { plan: text("a b"), ..Parameters::default() },
        Parameters { agent: text("coder"), ..Parameters::default() },
    ] {
        assert_eq!(decisions(wrong.clone()).unwrap_err().kind, ProblemKind::BadParameter, "{wrong:?}");
    }
}
