//! Tenants against an API server in memory.

use enact_domain::usage::{Balance, Charge, Scope, Tokens};
use enact_store::Erasure;
use futures::stream;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::DynamicObject;
use kube::runtime::controller::Action;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::objects::ObjectKind;
use crate::caches::NamespaceEntry;
use crate::testing::Bench;

async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.api.put(
        "tenants/acme",
        json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme", "generation": 1},
            "spec": {"namespaces": ["shop"], "owners": {"groups": ["leads"]}, "quota": {"pods": 5, "cpu": "1000m"}}
        }),
    );
    bench
}

async fn set_up() -> Bench {
    let mut bench = bench().await;
    bench.tenant("acme").await.unwrap();
    // When its quota has been counted.
    bench.tenant("acme").await.unwrap();
    bench.api.writes();
    bench
}

#[tokio::test]
async fn namespace_is_labelled_after_its_setup() {
    let mut bench = bench().await;
    assert!(bench.contexts.common.tenant_of("shop").is_none());
    bench.tenant("acme").await.unwrap();
    let expected = [
        "PATCH tenants/acme",
        "POST namespaces/shop",
        "PATCH networkpolicies/enact-tenant",
        "PATCH resourcequotas/enact-tenant",
        "PATCH limitranges/enact-tenant",
        "PATCH rolebindings/enact-tenant-owner",
        "PATCH serviceaccounts/enact-reader",
        "PATCH rolebindings/enact-reader",
        "PATCH namespaces/shop",
        "PATCH tenants/acme/status QuotaPending",
    ];
    assert_eq!(bench.api.writes(), expected);
    bench.tenant("acme").await.unwrap();
    assert_eq!(
        bench.api.writes(),
        ["PATCH tenants/acme/status SetUp"],
        "a quota that is not counted refuses everything"
    );
    assert_eq!(bench.contexts.common.tenant_of("shop").map(|m| m.tenant), Some("acme".into()));
    assert_eq!(
        bench.record_store.summaries(),
        ["acme: Namespaces NamespaceAdopted", "acme: Reconciling QuotaPending", "acme: Ready SetUp",]
    );
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "nothing changed, nothing is written");
}

#[tokio::test]
async fn waits_until_the_quota_is_computed() {
    let mut bench = bench().await;
    bench.tenant("acme").await.unwrap();
    bench.api.change("resourcequotas/enact-tenant", &json!({"status": {"used": {"pods": null}}}));
    sync(&bench, ObjectKind::ResourceQuota, "resourcequotas/enact-tenant").await;
    bench.api.writes();
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "still QuotaPending");
    bench.pass(30);
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "the cluster may not know the kind yet");
    bench.api.change("resourcequotas/enact-tenant", &json!({"status": {"used": {"pods": "0"}}}));
    sync(&bench, ObjectKind::ResourceQuota, "resourcequotas/enact-tenant").await;
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH tenants/acme/status SetUp"]);
}

/// The cluster's quota controller computes the usage of an existing quota every five minutes, and that of a new quota at once.
#[tokio::test]
async fn recreates_a_partially_computed_quota() {
    let mut bench = bench().await;
    bench.tenant("acme").await.unwrap();
    bench.api.change("resourcequotas/enact-tenant", &json!({"status": {"used": {"pods": null}}}));
    sync(&bench, ObjectKind::ResourceQuota, "resourcequotas/enact-tenant").await;
    bench.pass(36);
    bench.api.writes();
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), ["DELETE resourcequotas/enact-tenant", "PATCH resourcequotas/enact-tenant"]);
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH tenants/acme/status SetUp"]);
}

#[tokio::test]
async fn reverts_changes_to_managed_objects() {
    let mut bench = set_up().await;
    // The API server writes quantities in its own way, which is not a change.
    bench.api.change("resourcequotas/enact-tenant", &json!({"spec": {"hard": {"requests.cpu": "1"}}}));
    sync(&bench, ObjectKind::ResourceQuota, "resourcequotas/enact-tenant").await;
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0]);

    bench.api.change("networkpolicies/enact-tenant", &json!({"spec": {"ingress": [{}]}}));
    sync(&bench, ObjectKind::NetworkPolicy, "networkpolicies/enact-tenant").await;
    bench.tenant("acme").await.unwrap();
    let twice = ["PATCH networkpolicies/enact-tenant"; 2];
    assert_eq!(bench.api.writes(), twice, "apply leaves what others added, so that a patch takes it away");
    assert!(bench.api.get("networkpolicies/enact-tenant")["spec"].get("ingress").is_none());
}

/// Network policies add up. Somebody can have created one before the namespace belonged to the Tenant.
#[tokio::test]
async fn names_the_network_policies_of_others() {
    let mut bench = set_up().await;
    let policy = |name: &str, spec: Value| {
        let metadata = json!({"name": name, "namespace": "shop", "resourceVersion": "7"});
        serde_json::from_value::<NetworkPolicy>(json!({"metadata": metadata, "spec": spec})).unwrap()
    };
    let (open, closed) = (json!({"podSelector": {}, "ingress": [{}]}), json!({"podSelector": {}}));
    let events = [Event::Apply(policy("allow-all", open)), Event::Apply(policy("deny-all", closed.clone()))];
    bench.contexts.tenants.cluster.follow_policies(stream::iter(events), |_| {}).await;
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH tenants/acme/status SetUp"]);
    let message = |bench: &Bench| bench.api.get("tenants/acme")["status"]["conditions"][0]["message"].clone();
    let shown = message(&bench);
    assert!(shown.as_str().is_some_and(|m| m.contains(": shop/allow-all;") && !m.contains("deny-all")), "{shown}");
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "nothing changed, nothing is written");
    let events = [Event::Apply(policy("allow-all", closed))];
    bench.contexts.tenants.cluster.follow_policies(stream::iter(events), |_| {}).await;
    bench.tenant("acme").await.unwrap();
    assert_eq!(message(&bench), "1 namespace is set up");
}

#[tokio::test]
async fn deleted_tenant_waits_for_its_plans() {
    let mut bench = set_up().await;
    bench
        .api
        .put("plans/site", json!({"metadata": {"name": "site", "namespace": "shop"}, "status": {"phase": "Running"}}));
    bench.api.change("tenants/acme", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH tenants/acme/status WaitingForPlans"]);
    assert!(bench.contexts.common.tenant_of("shop").is_some(), "what runs there comes to its end");

    bench.api.change("plans/site", &json!({"status": {"phase": "Failed"}}));
    // Its end cannot be recorded, which does not hold it for ever.
    bench.record_store.down.store(true, std::sync::atomic::Ordering::Relaxed);
    bench.tenant("acme").await.unwrap_err();
    assert_eq!(bench.api.writes(), ["PATCH tenants/acme/status RecordUnavailable"]);
    bench.pass(600);
    bench.tenant("acme").await.unwrap();
    let left = [
        "DELETE rolebindings/enact-reader",
        "DELETE serviceaccounts/enact-reader",
        "DELETE rolebindings/enact-tenant-owner",
        "DELETE limitranges/enact-tenant",
        "DELETE resourcequotas/enact-tenant",
        "DELETE networkpolicies/enact-tenant",
        "PATCH namespaces/shop",
        "PATCH tenants/acme",
    ];
    assert_eq!(bench.api.writes(), left);
    let labels = &bench.api.get("namespaces/shop")["metadata"]["labels"];
    assert!(labels.as_object().is_none_or(serde_json::Map::is_empty), "{labels}");
    assert!(bench.api.has("plans/site") && !bench.api.has("tenants/acme"));
}

#[tokio::test]
async fn failed_setup_leaves_the_namespace_unlabelled() {
    let mut bench = bench().await;
    bench.api.refuse("PATCH networkpolicies", 500, "etcd is slow");
    bench.tenant("acme").await.unwrap_err();
    assert!(bench.contexts.common.tenant_of("shop").is_none());
    assert_eq!(bench.api.get("tenants/acme")["status"]["conditions"][0]["reason"], "SettingUp");
    bench.api.relent();
    bench.tenant("acme").await.unwrap();
    assert!(bench.contexts.common.tenant_of("shop").is_some());
}

/// Makes the record under the name `acme` that of an earlier Tenant with the UID `former`, as a new process finds it.
fn succeed_a_former_tenant(bench: &Bench) {
    bench.record_store.owners.lock().unwrap().uids.insert("acme".into(), "former".into());
    bench.contexts.tenants.record_owners.lock().clear();
}

fn reason(bench: &Bench) -> Value {
    bench.api.get("tenants/acme")["status"]["conditions"][0]["reason"].clone()
}

#[tokio::test]
async fn waits_for_the_erasure_of_a_former_record() {
    let mut bench = bench().await;
    succeed_a_former_tenant(&bench);
    let spent = Balance { spent: Charge { cost_micro_usd: Some(7), ..Charge::default() }, ..Balance::default() };
    bench.record_store.balances.lock().unwrap().insert(Scope::Tenant { month: "2026-01".into() }, spent);
    bench.api.change("tenants/acme", &json!({"spec": {"monthlyBudget": {"usd": "5.00"}}}));
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH tenants/acme", "PATCH tenants/acme/status ErasingRecord"]);
    assert!(bench.api.get("tenants/acme")["status"].get("usage").is_none(), "it is that of the former tenant");
    let erasures = [Erasure::Erased(200), Erasure::Erased(7), Erasure::Complete];
    bench.record_store.owners.lock().unwrap().erasures.extend(erasures);
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "the next reconcile sets it up");
    assert_eq!(bench.contexts.common.metrics.erased_rows.get(), 207);
    assert!(bench.record_store.limits.lock().unwrap().is_empty(), "its limits are not among what is erased");
    bench.tenant("acme").await.unwrap();
    assert!(bench.contexts.common.tenant_of("shop").is_some());
    assert!(!bench.record_store.limits.lock().unwrap().is_empty());
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.record_store.owners.lock().unwrap().claims, [true; 3], "the owner of a record claims it no more");
}

#[tokio::test]
async fn a_long_erasure_lets_others_continue() {
    let mut bench = bench().await;
    succeed_a_former_tenant(&bench);
    bench.record_store.owners.lock().unwrap().erasures.extend([Erasure::Erased(200); 12]);
    let action = bench.tenant("acme").await.unwrap();
    assert_eq!(bench.record_store.owners.lock().unwrap().erasures.len(), 2);
    assert_eq!(action, Action::requeue(super::NEXT_ERASURE));
    bench.record_store.owners.lock().unwrap().erasures.clear();
    assert_eq!(bench.tenant("acme").await.unwrap(), Action::requeue(super::ACTIVE_RESYNC), "nothing can be erased yet");
}

/// Somebody removed the finalizer of the former Tenant.
#[tokio::test]
async fn releases_the_namespaces_of_a_former_tenant() {
    let mut bench = set_up().await;
    succeed_a_former_tenant(&bench);
    bench
        .api
        .put("plans/site", json!({"metadata": {"name": "site", "namespace": "shop"}, "status": {"phase": "Running"}}));
    bench.record_store.owners.lock().unwrap().erasures.push_back(Erasure::Complete);
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH tenants/acme/status WaitingForPlans"]);
    assert!(bench.contexts.common.tenant_of("shop").is_some(), "its plans stay isolated");
    bench.api.change("plans/site", &json!({"status": {"phase": "Failed"}}));
    bench.tenant("acme").await.unwrap();
    assert_eq!(reason(&bench), "ErasingRecord");
    assert!(bench.contexts.common.tenant_of("shop").is_none() && !bench.api.has("rolebindings/enact-tenant-owner"));
    let claims = |bench: &Bench| bench.record_store.owners.lock().unwrap().claims.clone();
    assert_eq!(claims(&bench), [true, false, false], "nothing is erased while a namespace has the label");
    assert_eq!(bench.record_store.owners.lock().unwrap().erasures.len(), 1);
    bench.tenant("acme").await.unwrap();
    assert_eq!(claims(&bench), [true, false, false, true]);
    bench.tenant("acme").await.unwrap();
    assert!(bench.contexts.common.tenant_of("shop").is_some());
}

#[tokio::test]
async fn keeps_the_record_that_an_annotation_names() {
    let mut bench = bench().await;
    succeed_a_former_tenant(&bench);
    bench.record_store.owners.lock().unwrap().erasures.push_back(Erasure::Complete);
    let annotate = |uid: &str| json!({"metadata": {"annotations": {"enact.dev/keep-record-of": uid}}});
    bench.api.change("tenants/acme", &annotate("another"));
    bench.tenant("acme").await.unwrap();
    assert_eq!(reason(&bench), "FormerTenantMismatch");
    assert!(bench.contexts.common.tenant_of("shop").is_none());
    assert_eq!(bench.record_store.owners.lock().unwrap().erasures.len(), 1, "a wrong UID erases nothing");
    bench.api.change("tenants/acme", &annotate("former"));
    bench.tenant("acme").await.unwrap();
    assert!(bench.contexts.common.tenant_of("shop").is_some());
    assert!(bench.record_store.summaries().contains(&"acme: Record RecordKept".to_owned()));
    assert_eq!(bench.record_store.owners.lock().unwrap().erasures.len(), 1);
}

#[tokio::test]
async fn sets_nothing_up_before_the_record_is_claimed() {
    let mut bench = bench().await;
    bench.record_store.down.store(true, std::sync::atomic::Ordering::Relaxed);
    bench.tenant("acme").await.unwrap_err();
    assert_eq!(bench.api.writes(), ["PATCH tenants/acme/status RecordUnavailable"]);
}

/// The default tenant exists without a Tenant: its record is that of the installation.
#[tokio::test]
async fn default_tenant_keeps_its_record() {
    let mut bench = Bench::new().await;
    bench.record_store.owners.lock().unwrap().uids.insert("default".into(), "former".into());
    bench.api.put(
        "tenants/default",
        json!({"apiVersion": "enact.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "default", "generation": 1},
            "spec": {"namespaces": ["shop"]}}),
    );
    bench.tenant("default").await.unwrap();
    assert!(bench.contexts.common.tenant_of("shop").is_some());
}

/// The cache may be behind: somebody created the namespace just now.
#[tokio::test]
async fn leaves_a_namespace_that_others_have_just_created() {
    let mut bench = bench().await;
    let theirs = json!({"metadata": {"name": "shop", "labels": {"team": "payments"}}});
    bench.api.put("namespaces/shop", theirs.clone());
    bench.tenant("acme").await.unwrap_err();
    let metadata = &bench.api.get("namespaces/shop")["metadata"];
    assert_eq!((&metadata["labels"], metadata.get("annotations")), (&theirs["metadata"]["labels"], None));
    assert!(!bench.api.has("rolebindings/enact-tenant-owner") && !bench.api.has("networkpolicies/enact-tenant"));
    // The watch delivers it.
    stands(&bench, "shop", &json!({}));
    bench.tenant("acme").await.unwrap();
    assert_eq!(bench.api.get("tenants/acme")["status"]["conditions"][0]["reason"], "NamespaceNotAllowed");
    assert!(!bench.api.has("rolebindings/enact-tenant-owner"));
    // Somebody who may change the namespace allows it.
    stands(&bench, "shop", &json!({"annotations": {"enact.dev/allow-tenant": "acme"}, "resourceVersion": "99"}));
    bench.api.remove("namespaces/shop");
    bench.tenant("acme").await.unwrap();
    assert!(bench.api.has("rolebindings/enact-tenant-owner"));
}

/// Adds a namespace to the cache, as its watch delivers it.
fn stands(bench: &Bench, name: &str, more: &Value) {
    let mut metadata = json!({"name": name, "uid": format!("n-{name}")});
    metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let namespace: Namespace = serde_json::from_value(json!({"metadata": metadata})).unwrap();
    bench.contexts.common.caches.namespaces.put(&namespace, NamespaceEntry::of(&namespace));
}

/// The settings of the installation assign the namespace `ns` to the default tenant.
#[tokio::test]
async fn default_tenant_gets_reader_objects() {
    let bench = Bench::new().await;
    let settle = async || super::default::reconcile(&bench.contexts.tenants).await;
    settle().await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "there is no such namespace yet");

    stands(&bench, "ns", &json!({}));
    bench.api.refuse("PATCH serviceaccounts", 500, "etcd is slow");
    settle().await.unwrap_err();
    bench.api.relent();
    bench.api.writes();
    settle().await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH serviceaccounts/enact-reader"], "what did not fail is there");
    let account = bench.api.get("serviceaccounts/enact-reader");
    assert_eq!(account["automountServiceAccountToken"], false);
    assert_eq!(account["metadata"]["annotations"]["enact.dev/server"], "enact-system/enact-server");
    let binding = bench.api.get("rolebindings/enact-reader");
    assert_eq!(binding["roleRef"]["name"], "enact-reader");
    assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "name": "enact-reader", "namespace": "ns"}]));
    settle().await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "nothing changed, nothing is written");

    // Somebody gives themselves what readers may.
    bench.api.change("rolebindings/enact-reader", &json!({"subjects": [{"kind": "User", "name": "eve"}]}));
    sync(&bench, ObjectKind::ReaderBinding, "rolebindings/enact-reader").await;
    settle().await.unwrap();
    assert_eq!(bench.api.get("rolebindings/enact-reader")["subjects"], binding["subjects"]);
    bench.api.writes();

    let ending = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    stands(&bench, "ns", &ending);
    sync(&bench, ObjectKind::Reader, "serviceaccounts/enact-reader").await;
    settle().await.unwrap();
    assert!(bench.api.writes().iter().all(|write| write.starts_with("DELETE")), "nothing is made in what goes");
}

#[tokio::test]
async fn former_default_namespace_loses_reader_objects() {
    let mut bench = Bench::new().await;
    let manifest = |kind: ObjectKind, namespace: &str, tenant: &str| {
        let wanted =
            super::objects::Wanted::of_default(&bench.contexts.common.config).content(kind, namespace).unwrap();
        let mut object = super::objects::manifest(kind, tenant, namespace, &wanted);
        object["metadata"]["uid"] = "u".into();
        object
    };
    let (former, attended) =
        (manifest(ObjectKind::Reader, "former", "default"), manifest(ObjectKind::Reader, "ns", "default"));
    let of_acme = manifest(ObjectKind::Reader, "shop", "acme");
    for object in [former, attended, of_acme] {
        deliver(&bench, ObjectKind::Reader, object).await;
    }
    // A Tenant that is called so looks after the namespaces that it names.
    bench.tenant_with("default", json!({"namespaces": ["ns"]}));
    stands(&bench, "former", &json!({}));
    super::default::reconcile(&bench.contexts.tenants).await.unwrap();
    assert_eq!(bench.api.writes(), ["DELETE serviceaccounts/enact-reader"], "the one in `former`");
}

#[tokio::test]
async fn shows_what_is_left_of_the_monthly_budget() {
    let mut bench = bench().await;
    bench.api.change("tenants/acme", &json!({"spec": {"monthlyBudget": {"usd": "5.00"}}}));
    let charge = |cost| Charge { tokens: Tokens { output: 7, ..Tokens::default() }, cost_micro_usd: Some(cost) };
    let balance = Balance { spent: charge(1_500_000), reserved: charge(250_000), ..Balance::default() };
    bench.record_store.balances.lock().unwrap().insert(Scope::Tenant { month: "2026-01".into() }, balance);
    bench.tenant("acme").await.unwrap();
    let expected = json!({
        "month": "2026-01", "tokens": 7, "usd": "1.50", "reserved": {"tokens": 7, "usd": "0.25"}, "budget": {"usd": "5.00"},
        "remaining": {"usd": "3.25"},
    });
    assert_eq!(bench.api.get("tenants/acme")["status"]["usage"], expected);
}

#[tokio::test]
async fn a_monthly_budget_that_is_nearly_spent_is_a_condition() {
    let mut bench = bench().await;
    bench.api.change("tenants/acme", &json!({"spec": {"monthlyBudget": {"usd": "5.00"}}}));
    let scope = || Scope::Tenant { month: "2026-01".into() };
    let spend = |cost| {
        let spent = Charge { cost_micro_usd: Some(cost), ..Charge::default() };
        bench.record_store.balances.lock().unwrap().insert(scope(), Balance { spent, ..Balance::default() });
    };
    spend(4_000_000);
    bench.tenant("acme").await.unwrap();
    let conditions = bench.api.get("tenants/acme")["status"]["conditions"].clone();
    let low = conditions.as_array().unwrap().iter().find(|condition| condition["type"] == "BudgetLow").unwrap();
    assert_eq!((&low["status"], &low["reason"]), (&json!("True"), &json!("BudgetLow")));
    assert_eq!(
        low["message"],
        "at least 80 % of the budget of Tenant acme for 2026-01, 5.00 USD, is spent; raise spec.monthlyBudget, or wait for the next month"
    );
    bench.api.change("tenants/acme", &json!({"spec": {"monthlyBudget": {"usd": "50.00"}}}));
    bench.tenant("acme").await.unwrap();
    let conditions = bench.api.get("tenants/acme")["status"]["conditions"].to_string();
    assert!(!conditions.contains("BudgetLow"), "{conditions}");
}

/// Delivers an object by its watch, as the API server has it now.
async fn sync(bench: &Bench, kind: ObjectKind, key: &str) {
    deliver(bench, kind, bench.api.get(key)).await;
}

async fn deliver(bench: &Bench, kind: ObjectKind, object: Value) {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    bench.contexts.tenants.cluster.follow(kind, stream::iter([Event::Apply(object)]), |_| {}).await;
}
