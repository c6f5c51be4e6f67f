use std::collections::BTreeMap;

use enact_crds::identity::{POD_NAME, POD_UID};
use enact_domain::names::{DEFAULT_TENANT, INTEGRATION, LABEL_ATTEMPT, LABEL_PLAN_UID, LABEL_TENANT};
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::*;

fn bound() -> BoundPod {
    BoundPod { namespace: "team".into(), name: "shop-t001-2".into(), uid: "pod-uid".into() }
}

fn labelled(labels: &[(&str, &str)]) -> ObjectMeta {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }
}

fn owner(kind: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "enact.dev/v1alpha1".into(),
        kind: kind.into(),
        name: "shop-t001".into(),
        uid: uid.into(),
        controller: Some(true),
        ..OwnerReference::default()
    }
}

fn pod() -> ObjectMeta {
    ObjectMeta {
        uid: Some("pod-uid".into()),
        owner_references: Some(vec![owner("Task", "task-uid")]),
        ..labelled(&[(LABEL_TENANT, "acme"), (LABEL_PLAN_UID, "plan-uid"), (LABEL_ATTEMPT, "2"), (LABEL_ROLE, "task")])
    }
}

fn of_acme() -> ObjectMeta {
    labelled(&[(LABEL_TENANT, "acme")])
}

#[track_caller]
fn refused(pod: &ObjectMeta, namespace: &ObjectMeta, part: &str) {
    let problem = attempt_pod(bound(), pod, namespace, &[]).expect_err("it is refused");
    assert_eq!(problem.kind, ProblemKind::SubjectMismatch);
    assert!(problem.detail.contains(part), "{}", problem.detail);
}

#[test]
fn a_tasks_pod_works_on_its_owner() {
    let expected = AttemptPod {
        tenant: "acme".into(),
        namespace: "team".into(),
        pod: "shop-t001-2".into(),
        pod_uid: "pod-uid".into(),
        plan_uid: "plan-uid".into(),
        subject_uid: "task-uid".into(),
        attempt: 2,
    };
    assert_eq!(attempt_pod(bound(), &pod(), &of_acme(), &[]), Ok(expected));
}

#[test]
fn an_integration_pod_works_on_its_plan() {
    let mut pod = pod();
    pod.labels.as_mut().unwrap().insert(LABEL_ROLE.into(), INTEGRATION.into());
    refused(&pod, &of_acme(), "no Plan as its controller");
    pod.owner_references = Some(vec![owner("Plan", "other-plan")]);
    refused(&pod, &of_acme(), "is not the UID of the Plan");
    pod.owner_references = Some(vec![owner("Plan", "plan-uid")]);
    assert_eq!(attempt_pod(bound(), &pod, &of_acme(), &[]).unwrap().subject_uid, "plan-uid");
}

#[test]
fn the_namespace_says_which_tenant() {
    refused(&pod(), &labelled(&[(LABEL_TENANT, "other")]), "is not other");
    refused(&pod(), &labelled(&[]), "namespace team belongs to no tenant");
    let mut default = pod();
    default.labels.as_mut().unwrap().insert(LABEL_TENANT.into(), DEFAULT_TENANT.into());
    let ours = ["team".to_owned()];
    assert_eq!(attempt_pod(bound(), &default, &labelled(&[]), &ours).unwrap().tenant, "default");
    assert!(attempt_pod(bound(), &default, &of_acme(), &ours).is_err(), "a label goes before the configuration");
    assert!(attempt_pod(bound(), &default, &labelled(&[(LABEL_TENANT, "")]), &["teams".to_owned()]).is_err());
}

#[test]
fn another_pod_of_the_name_is_not_the_pod() {
    refused(&ObjectMeta { uid: Some("later".into()), ..pod() }, &of_acme(), "does not exist any more");
    refused(&ObjectMeta { uid: None, ..pod() }, &of_acme(), "does not exist any more");
}

#[test]
fn pods_that_are_none_of_ours_are_refused() {
    let without = |key: &str| {
        let mut pod = pod();
        pod.labels.as_mut().unwrap().remove(key);
        pod
    };
    for key in [LABEL_TENANT, LABEL_PLAN_UID, LABEL_ATTEMPT] {
        refused(&without(key), &of_acme(), key);
    }
    for attempt in ["0", "-1", "two", "", "4294967296"] {
        let mut pod = pod();
        pod.labels.as_mut().unwrap().insert(LABEL_ATTEMPT.into(), attempt.into());
        refused(&pod, &of_acme(), LABEL_ATTEMPT);
    }
    let foreign = OwnerReference { api_version: "enact.dev.example.org/v1".into(), ..owner("Task", "task-uid") };
    let no_controller = OwnerReference { controller: None, ..owner("Task", "task-uid") };
    for owners in [vec![], vec![owner("Plan", "plan-uid")], vec![foreign], vec![no_controller]] {
        refused(&ObjectMeta { owner_references: Some(owners), ..pod() }, &of_acme(), "no Task as its controller");
    }
}

fn user(username: &str, extra: &[(&str, &[&str])]) -> UserInfo {
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let extra = extra.iter().map(|(key, values)| ((*key).to_owned(), texts(values))).collect::<BTreeMap<_, _>>();
    UserInfo { username: Some(username.into()), extra: Some(extra), ..UserInfo::default() }
}

#[test]
fn only_a_pods_token_speaks_for_a_pod() {
    let extra: [(&str, &[&str]); 2] = [(POD_NAME, &["shop-t001-2"]), (POD_UID, &["pod-uid"])];
    let account = "system:serviceaccount:team:default";
    assert_eq!(bound_pod(&user(account, &extra)), Ok(bound()));
    let two: [(&str, &[&str]); 2] = [(POD_NAME, &["a", "b"]), (POD_UID, &["pod-uid"])];
    for other in [user("ann@example.org", &extra), user(account, &extra[..1]), user(account, &two)] {
        assert!(bound_pod(&other).expect_err("it is refused").contains("not bound to a pod"));
    }
}

/// A pod that fetches the document of a Specification.
fn fetching() -> ObjectMeta {
    ObjectMeta {
        uid: Some("pod-uid".into()),
        owner_references: Some(vec![owner("Specification", "document-uid")]),
        ..labelled(&[(LABEL_TENANT, "acme"), (LABEL_ROLE, ROLE_FETCH)])
    }
}

#[test]
fn a_documents_pod_brings_its_owners_document() {
    let expected = DocumentPod {
        tenant: "acme".into(),
        namespace: "team".into(),
        pod: "shop-t001-2".into(),
        pod_uid: "pod-uid".into(),
        subject_uid: "document-uid".into(),
    };
    assert_eq!(document_pod(bound(), &fetching(), &of_acme(), &[]), Ok(expected.clone()));
    let mut drafting = fetching();
    drafting.labels.as_mut().unwrap().insert(LABEL_ROLE.into(), ROLE_DRAFT.into());
    assert_eq!(document_pod(bound(), &drafting, &of_acme(), &[]), Ok(expected));
}

#[test]
fn a_pod_that_is_no_documents_brings_none() {
    let refused = |pod: &ObjectMeta, namespace: &ObjectMeta, part: &str| {
        let problem = document_pod(bound(), pod, namespace, &[]).expect_err("it is refused");
        assert_eq!(problem.kind, ProblemKind::SubjectMismatch);
        assert!(problem.detail.contains(part), "{}", problem.detail);
    };
    refused(&pod(), &of_acme(), "neither fetch nor draft");
    refused(&fetching(), &labelled(&[(LABEL_TENANT, "other")]), "is not other");
    refused(&fetching(), &ObjectMeta::default(), "belongs to no tenant");
    refused(&ObjectMeta { uid: Some("another".into()), ..fetching() }, &of_acme(), "does not exist any more");
    let foreign = OwnerReference { api_version: "apps/v1".into(), ..owner("Plan", "u") };
    for owners in [vec![], vec![owner("Task", "u")], vec![foreign]] {
        refused(&ObjectMeta { owner_references: Some(owners), ..fetching() }, &of_acme(), "as its controller");
    }
    let problem = attempt_pod(bound(), &fetching(), &of_acme(), &[]).expect_err("it works on no attempt");
    assert_eq!(problem.kind, ProblemKind::SubjectMismatch);
}
