//! The record over HTTP: who may read which data.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use enact_domain::agents::selection::Selection;
use enact_domain::decisions::Decision;
use enact_domain::digest::Digest;
use enact_domain::record::{Event, Kind, Record};
use enact_domain::time::Millis;
use enact_store::{Item, ItemKind};
use serde_json::{Value, json};
use sqlx::Executor as _;
use support::api::{Api, FakeCluster};
use support::database::{self, Database, record};
use support::http::{self, Request};
use support::{SUBJECT, Server, begun, result, until};

const SHOP: &str = "team/specifications/shop";

/// Starts a server. The tenant `acme` has three revisions of a specification `shop` in `team`, the third with the content of the first,
/// which `kim` approved. `reader` may read it.
async fn scene() -> (Database, Api, Server) {
    let database = Database::migrated().await;
    let store = database.store();
    for (at, content) in [(1_000, "# One\n"), (2_000, "# Two\n"), (3_000, "# One\n")] {
        store.record(vec![revision("acme", "team", at, content)]).await.unwrap();
    }
    let decision = Event::Approval {
        kind: Kind::Specification,
        name: "shop".into(),
        digest: Digest::of_bytes(b"# One\n"),
        approved: true,
        comment: "as discussed".into(),
    };
    let by_kim =
        Record { actor: "kim".into(), ..record("acme", database::subject(Kind::Approval, "a"), 1_500, decision) };
    let finding = json!({ "id": "AMB-1", "line": 1, "message": "vague" });
    let findings = Event::Findings {
        digest: Digest::of_bytes(b"# Two\n"),
        analyser: "analysis/1".into(),
        findings: json!([finding]),
    };
    let found = record("acme", database::subject(Kind::Specification, "shop"), 2_500, findings);
    store.record(vec![by_kim, found]).await.unwrap();
    let mut cluster = FakeCluster::with_pod("pod", "shop-t001-1", SUBJECT, 1);
    cluster.reader("reader", "team", &["specifications", "constitutions", "plans"]);
    cluster.reader("elsewhere", "elsewhere", &["specifications"]);
    let api = Api::start(cluster).await;
    let server = Server::start(&database.config().url, &api).await;
    (database, api, server)
}

fn revision(tenant: &str, namespace: &str, at: i64, content: &str) -> Record {
    let mut subject = database::subject(Kind::Specification, "shop");
    subject.namespace = namespace.into();
    if namespace != "team" {
        subject.uid = format!("uid-shop-{namespace}");
    }
    let mut record = database::revision(tenant, subject, content);
    record.at = enact_domain::time::Millis(at);
    record.actor = "ann".into();
    record
}

fn numbers(answer: &Value) -> Vec<u64> {
    answer["revisions"].as_array().unwrap().iter().map(|revision| revision["number"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_documents_history_comes_in_pages() {
    let (_database, _api, server) = scene().await;
    let first = server.read("reader", &format!("{SHOP}/revisions?limit=2")).await;
    assert_eq!((first.status, numbers(&first.json())), (200, vec![3, 2]), "{}", first.text());
    let newest = &first.json()["revisions"][0];
    assert_eq!(newest["digest"], Digest::of_bytes(b"# One\n").as_str());
    assert_eq!((&newest["actor"], &newest["reason"], &newest["at"]), (&json!("ann"), &json!("Source"), &json!(3_000)));
    assert_eq!(
        newest["approvals"],
        json!([{ "actor": "kim", "approved": true, "comment": "as discussed", "at": 1_500 }]),
        "content that comes back has its decisions"
    );
    let next = first.json()["next"].as_i64().expect("there is more");
    let second = server.read("reader", &format!("{SHOP}/revisions?limit=2&before={next}")).await.json();
    assert_eq!((numbers(&second), &second["next"]), (vec![1], &Value::Null));
    let nobody = server.read("reader", "team/specifications/nobody/revisions").await;
    assert_eq!((nobody.status, nobody.json()), (200, json!({ "revisions": [], "next": null })));
    assert_eq!(first.header("cache-control"), Some("private, no-store"));
    assert_eq!(server.metric("enact_server_requests_total{route=\"revisions\",status=\"200\"}").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_is_found_by_number_and_by_digest() {
    let (_database, _api, server) = scene().await;
    let digest = Digest::of_bytes(b"# Two\n");
    for which in ["2", digest.as_str(), &digest.as_str()[7..], digest.short()] {
        let found = server.read("reader", &format!("{SHOP}/revisions/{which}")).await;
        assert_eq!((found.status, &found.json()["number"]), (200, &json!(2)), "{which}: {}", found.text());
        let content = server.read("reader", &format!("{SHOP}/revisions/{which}/content")).await;
        assert_eq!((content.status, content.body.as_slice()), (200, b"# Two\n".as_slice()));
        assert_eq!(content.header("content-type"), Some("text/markdown; charset=utf-8"));
        assert_eq!(content.header("x-content-type-options"), Some("nosniff"));
    }
    let found = server.read("reader", &format!("{SHOP}/revisions/2/findings")).await.json();
    assert_eq!((&found["total"], &found["findings"][0]["id"]), (&json!(1), &json!("AMB-1")), "{found}");
    let none = server.read("reader", &format!("{SHOP}/revisions/1/findings")).await;
    none.assert_problem(404, "not-found", "no analysis of this revision");
    for which in ["9", "abcdef012345", "9/content"] {
        let missing = server.read("reader", &format!("{SHOP}/revisions/{which}")).await;
        missing.assert_problem(404, "not-found", "no such revision of Specification shop");
    }
    for which in ["abc", "sha256:", "xyzw1"] {
        let wrong = server.read("reader", &format!("{SHOP}/revisions/{which}")).await;
        wrong.assert_problem(400, "bad-parameter", "hex digits");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_whom_rbac_lets_get_the_document_reads_it() {
    let (_database, api, server) = scene().await;
    let path = format!("{SHOP}/revisions");
    server.read("unknown", &path).await.assert_problem(401, "token-refused", "kubectl create token enact-reader");
    let without = http::send(server.readings, &Request::get(&format!("/v1/namespaces/{path}"))).await;
    without.assert_problem(401, "token-refused", "X-Enact-Token");
    server.read("elsewhere", &path).await.assert_problem(403, "forbidden", "may not get Specification shop");
    // An agent's token has the same audience, but its user has no permission to read.
    server.read("pod", &path).await.assert_problem(403, "forbidden", "system:serviceaccount:team:default");
    api.change(|cluster| {
        let right = ("system:serviceaccount:team:default".into(), "team".into(), "specifications".into());
        cluster.rights.push(right);
    });
    assert_eq!(server.read("pod", &path).await.status, 200, "RBAC decides, and a no is not kept");
    let direct = Request::get(&format!("/v1/namespaces/{path}")).header("authorization", "Bearer reader");
    assert_eq!(http::send(server.readings, &direct).await.status, 200);
    server.read("reader", "team/plans/shop/revisions").await.assert_status(200);
    api.change(|cluster| cluster.rights.retain(|(_, _, resource)| resource != "plans"));
    server.read("reader", "team/plans/other/revisions").await.assert_problem(403, "forbidden", "Plan other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_sees_its_own_record_alone() {
    let (database, api, server) = scene().await;
    let store = database.store();
    store.record(vec![revision("other", "elsewhere", 4_000, "# Other\n")]).await.unwrap();
    store.record(vec![revision("acme", "second", 4_000, "# Second\n")]).await.unwrap();
    api.change(|cluster| {
        cluster.namespaces.insert("second".into(), json!({ "enact.dev/tenant": "acme" }));
        cluster.reader("second", "second", &["specifications"]);
        cluster.reader("system", "kube-system", &["specifications"]);
        cluster.reader("free", "free", &["specifications"]);
    });
    for (token, namespace, mine) in
        [("reader", "team", "# One\n"), ("elsewhere", "elsewhere", "# Other\n"), ("second", "second", "# Second\n")]
    {
        let path = format!("{namespace}/specifications/shop/revisions");
        let newest = server.read(token, &path).await.json()["revisions"][0].clone();
        assert_eq!(newest["digest"], Digest::of_bytes(mine.as_bytes()).as_str(), "{namespace}");
        for other in ["# One\n", "# Other\n", "# Second\n"].into_iter().filter(|other| *other != mine) {
            let digest = Digest::of_bytes(other.as_bytes());
            let content = server.read(token, &format!("{path}/{digest}/content")).await;
            content.assert_problem(404, "not-found", "no such revision");
        }
    }
    let nobodys = server.read("system", "kube-system/specifications/shop/revisions").await;
    nobodys.assert_problem(404, "not-found", "belongs to no tenant");
    let of_default = server.read("free", "free/specifications/shop/revisions").await;
    assert_eq!((of_default.status, numbers(&of_default.json())), (200, vec![]));
}

fn item(kind: ItemKind, key: &str, text: &str) -> Item {
    Item { kind, key: key.into(), line: 5, text: text.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_is_limited_to_the_namespace() {
    let (database, api, server) = scene().await;
    let store = database.store();
    let index = async |tenant: &str, namespace: &str, name: &str, text: &str| {
        let mut subject = database::subject(Kind::Specification, name);
        (subject.namespace, subject.uid) = (namespace.into(), format!("uid-{name}-{namespace}"));
        if (namespace, name) == ("team", "shop") {
            subject.uid = "uid-shop".into();
        }
        let items = vec![item(ItemKind::Requirement, "FR-001", text)];
        store.index_items(tenant, &subject, items).await.unwrap();
    };
    index("acme", "team", "shop", "A cart keeps its products for thirty days.").await;
    index("acme", "team", "basket", "A cart keeps its products for a week.").await;
    index("acme", "second", "cart", "A cart keeps its products for ever.").await;
    index("other", "elsewhere", "rival", "A cart keeps its products for nobody.").await;
    let names = |answer: &Value, list: &str| -> Vec<String> {
        let entries = answer[list].as_array().unwrap_or_else(|| panic!("{answer}")).iter();
        entries.map(|hit| hit["name"].as_str().unwrap().to_owned()).collect()
    };
    let found = server.read("reader", "team/search?q=how%20long%20does%20a%20cart%20keep%20products").await.json();
    let mut found_in = names(&found, "hits");
    found_in.sort();
    assert_eq!(found_in, ["basket", "shop"], "of its own namespace, whatever the tenant has");
    let hit = &found["hits"][0];
    assert_eq!((&hit["item"], &hit["itemKind"], &hit["line"]), (&json!("FR-001"), &json!("Requirement"), &json!(5)));
    let of_plans = server.read("reader", "team/search?q=cart&kind=task").await.json();
    assert_eq!(names(&of_plans, "hits"), [""; 0]);
    assert_eq!(names(&server.read("reader", "team/search?q=cart&limit=1").await.json(), "hits").len(), 1);
    let principles = server.read("elsewhere", "elsewhere/search?q=cart").await;
    principles.assert_problem(403, "forbidden", "constitutions");
    server.read("elsewhere", "elsewhere/search?q=cart&kind=requirement").await.assert_status(200);

    let related = server.read("reader", &format!("{SHOP}/related")).await.json();
    assert_eq!(names(&related, "related"), ["basket"], "the other namespace is none of the reader's");
    api.change(|cluster| {
        cluster.namespaces.insert("second".into(), json!({ "enact.dev/tenant": "acme" }));
        let reader = "system:serviceaccount:team:enact-reader".to_owned();
        cluster.rights.push((reader, "second".into(), "specifications".into()));
    });
    let more = server.read("reader", &format!("{SHOP}/related")).await.json();
    assert_eq!(names(&more, "related").len(), 2, "{more}");
    let one = server.read("reader", &format!("{SHOP}/related?limit=1")).await.json();
    assert_eq!(names(&one, "related").len(), 1);
    server.read("reader", "team/specifications/nobody/related").await.assert_problem(404, "not-found", "holds no");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_selection_of_an_agent_is_explained_to_whoever_may_get_the_plan() {
    let (database, _api, server) = scene().await;
    let selected = Selection { needs: vec!["rust".into()], ..Selection::default() };
    let mut start = database::start("acme", "p-t001", 1);
    if let Event::AttemptStarted { selection, .. } = &mut start.event {
        *selection = Some(selected);
    }
    database.store().record(vec![database::plan_transition("acme", "p", "Running", 500), start]).await.unwrap();
    let path = "team/plans/p/tasks/p-t001/selections";
    let found = server.read("reader", path).await.json();
    let first = &found["selections"][0];
    assert_eq!((&first["attempt"], &first["agent"], &first["needs"]), (&json!(1), &json!("coder"), &json!(["rust"])));
    let none = server.read("reader", "team/plans/p/tasks/p-t002/selections").await;
    assert_eq!((none.status, none.json()), (200, json!({ "selections": [] })));
    server.read("elsewhere", path).await.assert_problem(403, "forbidden", "may not get Plan p");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_is_shown_to_whoever_may_get_its_plan() {
    let (database, _api, server) = scene().await;
    let text = "# Tasks: P\n";
    let digest = database.store().deliver_document("acme", "uid-draft", text.as_bytes()).await.unwrap().unwrap();
    let path = format!("team/plans/p/proposals/{digest}");
    // Whatever else the tenant has recorded is not readable by its digest.
    server.read("reader", &path).await.assert_problem(404, "not-found", "no proposal");
    let event = Event::Proposal { agent: "claude".into(), digest, score: 900, tasks: 1 };
    let delivered = Record { event, ..database::plan_transition("acme", "p", "Pending", 500) };
    database.store().record(vec![delivered]).await.unwrap();
    let found = server.read("reader", &path).await;
    assert_eq!((found.status, found.text().as_str()), (200, text));
    let other = path.replace("/p/", "/q/");
    server.read("reader", &other).await.assert_problem(404, "not-found", "no proposal");
    server.read("elsewhere", &path).await.assert_problem(403, "forbidden", "may not get Plan p");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_are_shown_to_whoever_may_get_plans() {
    let (database, _api, server) = scene().await;
    let digest = Digest::of_bytes(b"a proposal");
    let decision = Decision { question: "Storage".into(), choice: "Postgres".into(), ..Decision::default() };
    let event = Event::ProposalChosen {
        key: "1".into(),
        agent: "claude".into(),
        digest: digest.clone(),
        specification: "shop".into(),
        specification_digest: digest,
        decisions: vec![decision],
    };
    let chosen = Record { event, ..database::plan_transition("acme", "p", "Pending", 500) };
    database.store().record(vec![chosen]).await.unwrap();
    let found = server.read("reader", "team/decisions").await.json();
    let first = &found["decisions"][0];
    assert_eq!((&first["choice"], &first["state"]), (&json!("Postgres"), &json!("InForce")), "{found}");
    assert_eq!((&first["plan"], &first["chosenBy"], &first["at"]), (&json!("p"), &json!(null), &json!(500)), "{found}");
    assert_eq!((&first["planUid"], &first["outcome"]["state"]), (&json!("uid-p"), &json!(null)), "{found}");
    let records = vec![
        database::plan_transition("acme", "p", "Running", 600),
        database::start("acme", "p-t001", 1),
        database::end("acme", "p-t001", 1, Some("Task"), database::done()),
    ];
    database.store().record(records).await.unwrap();
    let found = server.read("reader", "team/decisions").await.json();
    let outcome = &found["decisions"][0]["outcome"];
    assert_eq!((&outcome["state"], &outcome["failedAttempts"]), (&json!("Running"), &json!(1)), "{found}");
    assert_eq!(server.read("reader", "team/decisions?specification=shop").await.json(), found);
    assert_eq!(server.read("reader", "team/decisions?plan=q").await.json(), json!({ "decisions": [] }));
    server.read("elsewhere", "team/decisions").await.assert_problem(403, "forbidden", "plans");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recommendations_come_from_namespaces_that_the_reader_may_read() {
    let (database, api, server) = scene().await;
    let records = [("acme", "team", "p", "Postgres"), ("acme", "second", "q", "Redis"), ("other", "far", "r", "Tape")];
    for (tenant, namespace, plan, choice) in records {
        let decision = Decision { question: "Storage of carts".into(), choice: choice.into(), ..Decision::default() };
        let digest = Digest::of_bytes(choice.as_bytes());
        let event = Event::ProposalChosen {
            key: "1".into(),
            agent: "claude".into(),
            digest: digest.clone(),
            specification: "shop".into(),
            specification_digest: digest,
            decisions: vec![decision],
        };
        let mut succeeded = database::plan_transition(tenant, plan, "Succeeded", 600);
        succeeded.subject.namespace = namespace.into();
        let chosen = Record { event, at: Millis(500), ..succeeded.clone() };
        database.store().record(vec![chosen, succeeded]).await.unwrap();
    }
    let choices = async || -> Vec<String> {
        let found = server.read("reader", "team/recommendations?q=where%20are%20carts").await.json();
        let found = found["recommendations"].as_array().unwrap().iter();
        found.map(|found| format!("{} of {}", found["choice"], found["sources"][0]["plan"])).collect()
    };
    assert_eq!(choices().await, [r#""Postgres" of "p""#]);
    api.change(|cluster| {
        cluster.namespaces.insert("second".into(), json!({ "enact.dev/tenant": "acme" }));
        let user = "system:serviceaccount:team:enact-reader".to_owned();
        cluster.rights.push((user, "second".into(), "plans".into()));
    });
    assert_eq!(choices().await.len(), 2, "never one of another tenant");
    server.read("elsewhere", "team/recommendations?q=carts").await.assert_problem(403, "forbidden", "plans");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_are_shown_to_whoever_may_get_the_plan() {
    let (database, _api, server) = scene().await;
    let lost = database::end("acme", "p-t001", 1, Some("Task"), database::done());
    let start = |number| database::start("acme", "p-t001", number);
    let records = vec![database::plan_transition("acme", "p", "Running", 500), start(1), lost, start(2)];
    database.store().record(records).await.unwrap();
    let path = "team/plans/p/tasks/p-t001/attempts";
    let found = server.read("reader", path).await.json();
    let attempts = found["attempts"].as_array().unwrap();
    assert_eq!((&attempts[0]["attempt"], &attempts[0]["finishedAt"]), (&json!(2), &json!(null)));
    assert_eq!((&attempts[1]["failure"], &attempts[1]["report"]["message"]), (&json!("Task"), &json!("done")));
    assert_eq!((attempts.len(), &attempts[1]["contestants"], &attempts[1]["tokens"]), (2, &json!(1), &json!(0)));
    let none = server.read("reader", "team/plans/p/tasks/p-t002/attempts").await;
    assert_eq!((none.status, none.json()), (200, json!({ "attempts": [] })));
    server.read("elsewhere", path).await.assert_problem(403, "forbidden", "may not get Plan p");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_an_attempt_is_read_by_whoever_may_get_the_plan() {
    let (database, _api, server) = scene().await;
    let store = database.store();
    let start = database::start("acme", "p-t001", 1);
    let (subject, plan_uid) = match &start.event {
        Event::AttemptStarted { plan_uid, .. } => (start.subject.uid.clone(), plan_uid.clone()),
        other => panic!("{other:?}"),
    };
    store.record(vec![database::plan_transition("acme", "p", "Running", 500), start]).await.unwrap();
    let delivery = enact_store::Delivery {
        tenant: "acme".into(),
        namespace: "team".into(),
        pod_uid: "pod-p-t001-1".into(),
        plan_uid,
        runner_key: None,
        result: result(&subject, 1),
    };
    store.deliver(delivery).await.unwrap();
    let path = "team/plans/p/tasks/p-t001/attempts/1/log";
    let log = server.read("reader", path).await;
    assert_eq!((log.status, &log.json()["transcript"]), (200, &json!("thinking …")), "{}", log.text());
    let gates = json!([{ "name": "build", "exitCode": 0, "output": "ok" }]);
    assert_eq!((&log.json()["gates"], &log.json()["stale"]), (&gates, &json!(false)));
    for other in ["team/plans/p/tasks/p-t001/attempts/2/log", "team/plans/p/integration/attempts/1/log"] {
        server.read("reader", other).await.assert_problem(404, "not-found", "no result of attempt");
    }
    server.read("elsewhere", path).await.assert_problem(403, "forbidden", "may not get Plan p");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_yes_is_kept_for_a_while() {
    let (_database, api, server) = scene().await;
    for _ in 0..3 {
        server.read("reader", &format!("{SHOP}/revisions/1")).await.assert_status(200);
    }
    let asked = |what: &str| api.asked(&format!("POST /apis/{what}"));
    assert_eq!(asked("authentication.k8s.io/v1/tokenreviews"), 1);
    assert_eq!(asked("authorization.k8s.io/v1/subjectaccessreviews"), 1);
    server.read("reader", "team/specifications/door/revisions").await.assert_status(200);
    assert_eq!(asked("authorization.k8s.io/v1/subjectaccessreviews"), 2, "it is about one object");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_missing_dependencies_and_recovers() {
    let database = Database::migrated().await;
    let mut cluster = FakeCluster::default();
    cluster.namespaces.insert("team".into(), json!({ "enact.dev/tenant": "acme" }));
    cluster.reader("reader", "team", &["specifications"]);
    let api = Api::start(cluster).await;
    let server = Server::start(&database.config().url, &api).await;
    let path = format!("{SHOP}/revisions");
    api.change(|cluster| cluster.down = true);
    let away = server.read("reader", &path).await;
    away.assert_problem(503, "unavailable", "the API server");
    assert_eq!(away.header("retry-after"), Some("2"));
    api.change(|cluster| cluster.down = false);
    server.read("reader", &path).await.assert_status(200);
    let lost = Server::start("postgres://nobody@127.0.0.1:1/none", &api).await;
    lost.read("reader", &path).await.assert_problem(503, "unavailable", "the record is temporarily unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readings_leave_connections_to_deliveries() {
    let (database, _api, server) = scene().await;
    begun(&database, SUBJECT, 1).await;
    let mut lock = database.superuser().await;
    lock.execute("begin").await.unwrap();
    lock.execute("lock table search_items in access exclusive mode").await.unwrap();
    let search = |number: u32| {
        let (token, namespace) = if number.is_multiple_of(2) { ("reader", "team") } else { ("elsewhere", "elsewhere") };
        let path = format!("/v1/namespaces/{namespace}/search?q=cart&kind=requirement");
        let (request, address) = (Request::get(&path).header("x-enact-token", token), server.readings);
        tokio::spawn(async move { http::send(address, &request).await })
    };
    let searches: Vec<_> = (0..12).map(search).collect();
    let blocked = "select count(*) from pg_locks where not granted and relation = 'enact.search_items'::regclass
        and database = (select oid from pg_database where datname = current_database())";
    // All connections of readers.
    until(async || (database.number(blocked).await == 8).then_some(())).await;
    server.deliver("pod", &result(SUBJECT, 1)).await.assert_status(201);
    lock.execute("rollback").await.unwrap();
    for search in searches {
        let answer = search.await.unwrap();
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_port_does_its_own() {
    let (_database, _api, server) = scene().await;
    let path = format!("/v1/namespaces/{SHOP}/revisions");
    let read = |method: &str, path: &str| Request::new(method, path).header("x-enact-token", "reader");
    server.send(&read("GET", &path)).await.assert_problem(404, "not-found", "server.md");
    let delivered = support::delivery(SUBJECT, 1, "pod", &serde_json::to_vec(&result(SUBJECT, 1)).unwrap());
    http::send(server.readings, &delivered).await.assert_problem(405, "method-not-allowed", "only GET");
    let deleted = http::send(server.readings, &read("DELETE", &path)).await;
    deleted.assert_problem(405, "method-not-allowed", "only GET");
    assert_eq!(deleted.header("allow"), Some("GET"));
    for query in ["limit=51", "limit=0", "limit=x", "after=1", "before=1&before=2", "q=cart"] {
        let answer = http::send(server.readings, &read("GET", &format!("{path}?{query}"))).await;
        answer.assert_problem(400, "bad-parameter", "");
    }
    for odd in ["/v1/namespaces/team/secrets/shop/revisions", "/v1/namespaces/team", "/", "/v1/attempts/a/1/result"] {
        http::send(server.readings, &read("GET", odd)).await.assert_problem(404, "not-found", "server.md");
    }
}
