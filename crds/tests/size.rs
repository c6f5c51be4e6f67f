//! Tasks are the objects that a cluster holds most of: how large they are decides what etcd and every cache have to hold.

use std::collections::BTreeMap;

use enact_crds::common::{Condition, LocalRef, Time};
use enact_crds::plan::UnreadTasks;
use enact_crds::task::{Phase, TaskSpec, TaskStatus, TaskTemplate};
use enact_crds::{Task, compile};
use enact_domain::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

/// What a typical Task may take when it is created.
const MAX_CREATED_BYTES: usize = 1228;
/// What a Task may take once it has succeeded, as the operator keeps it in its cache.
const MAX_FINISHED_BYTES: usize = 2048;

/// Tasks as Spec Kit writes them: a line, with the paths that it is about, and sometimes a line or two below.
const DOCUMENT: &str = "# Tasks: Photo Album Organizer

## Phase 1: Setup (Shared Infrastructure)

- [ ] T001 Create project structure per implementation plan
- [ ] T002 Initialize a TypeScript project with Vite dependencies in package.json
- [ ] T003 [P] Configure linting and formatting tools in eslint.config.js and .prettierrc

## Phase 2: Foundational (Blocking Prerequisites)

- [ ] T004 Setup database schema and migrations framework in src/db/schema.ts
- [ ] T005 [P] Implement error handling and logging infrastructure in src/lib/errors.ts and src/lib/log.ts
- [ ] T006 [P] Setup API routing and middleware structure in src/api/router.ts

## Phase 3: User Story 1 - Group photos by date (Priority: P1)

- [ ] T007 [P] [US1] Contract test for POST /albums in tests/contract/albums.test.ts
- [ ] T008 [P] [US1] Create the Album model in src/models/album.ts
- [ ] T009 [P] [US1] Create the Photo model in src/models/photo.ts
- [ ] T010 [US1] Implement AlbumService in src/services/albums.ts (depends on T008, T009)
  - Group by the day on which the photo was taken, in the time zone of the camera
  - A photo without a date goes to an album of its own
";

fn metadata(name: &str) -> ObjectMeta {
    let uid = "2f1c9b1e-0d6a-4c57-9d5e-6b9c4c3f8a10";
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("team-a-production".to_owned()),
        labels: Some(BTreeMap::from([
            (names::LABEL_TENANT.to_owned(), "team-a".to_owned()),
            (names::LABEL_PLAN.to_owned(), "photo-albums".to_owned()),
        ])),
        owner_references: Some(vec![OwnerReference {
            api_version: "enact.dev/v1alpha1".to_owned(),
            kind: "Plan".to_owned(),
            name: "photo-albums".to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        }]),
        uid: Some(uid.to_owned()),
        resource_version: Some("123456789".to_owned()),
        generation: Some(1),
        creation_timestamp: Some(Time(Timestamp::UNIX_EPOCH)),
        ..ObjectMeta::default()
    }
}

fn task(name: &str, work: TaskTemplate) -> Task {
    let plan_ref = LocalRef { name: "photo-albums".to_owned() };
    Task { metadata: metadata(name), spec: TaskSpec { plan_ref, work }, status: None }
}

fn condition(type_: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

/// As the operator writes it.
fn succeeded() -> TaskStatus {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let now = Some(Time(Timestamp::UNIX_EPOCH));
    TaskStatus {
        observed_generation: Some(1),
        phase: Phase::Succeeded,
        attempts: 1,
        commit: Some(commit.to_owned()),
        branch: Some("enact/photo-albums-5f0c1a2b/t010-1".to_owned()),
        started_at: now.clone(),
        finished_at: now,
        conditions: vec![
            condition("Ready", "Succeeded", "attempt 1 succeeded"),
            condition("Executed", "Succeeded", "attempt 1 did its work"),
            condition("Verified", "NoGates", "the task has no gates"),
            condition("Delivered", "Delivered", &format!("commit {commit} is pushed")),
        ],
        ..TaskStatus::default()
    }
}

fn size(task: &Task) -> usize {
    serde_json::to_string(task).expect("a Task is plain data").len()
}

#[test]
fn a_typical_task_is_small() {
    let (templates, findings) = compile::from_markdown(DOCUMENT.as_bytes(), UnreadTasks::Refuse);
    assert_eq!((templates.len(), findings.len()), (10, 0), "{findings:?}");
    let compiled = compile::compile("photo-albums", templates).unwrap();
    let (mut created, mut finished) = (Vec::new(), Vec::new());
    for (name, template) in compiled.names.iter().zip(compiled.tasks) {
        let mut task = task(name, template);
        created.push(size(&task));
        task.status = Some(succeeded());
        finished.push(size(&task));
    }
    println!("created: {created:?} bytes; succeeded: {finished:?} bytes");
    assert!(created.iter().all(|&bytes| bytes <= MAX_CREATED_BYTES), "{created:?}");
    assert!(finished.iter().all(|&bytes| bytes <= MAX_FINISHED_BYTES), "{finished:?}");
}

#[test]
fn unset_fields_are_omitted() {
    let template = TaskTemplate { id: "T001".to_owned(), title: "One".to_owned(), ..TaskTemplate::default() };
    let spec = TaskSpec { plan_ref: LocalRef { name: "p".to_owned() }, work: template };
    let json = serde_json::to_string(&spec).expect("a spec is plain data");
    assert_eq!(json, r#"{"planRef":{"name":"p"},"id":"T001","title":"One"}"#);
}
