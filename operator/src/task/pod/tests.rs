use enact_domain::assignment::{GitWork, IntegrationWork, Verified, Work};

use super::*;
use crate::testing::config;

/// The assignment of an integration that merges this many branches.
fn integration(branches: usize) -> Assignment {
    let merge = |n| Verified { branch: format!("enact/shop-5f0c1a2b/t{n:04}-1"), commit: "0".repeat(40) };
    Assignment {
        tenant: "acme".into(),
        namespace: "ns".into(),
        plan: "shop".into(),
        plan_uid: "5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d".into(),
        subject_uid: "5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d".into(),
        attempt: 1,
        server_url: None,
        spec_digest: None,
        git: Some(GitWork {
            url: "https://git.example.org/shop.git".into(),
            revision: "main".into(),
            merge: (0..branches).map(merge).collect(),
            branch: "enact/shop-5f0c1a2b/candidate/1".into(),
        }),
        work: Work::Integration(IntegrationWork { target: "plan/shop".into(), gates: Vec::new() }),
    }
}

/// Calls `make` with the frame of a pod for this assignment.
fn framed<T>(assignment: &Assignment, make: impl FnOnce(&Frame) -> T) -> T {
    let none = Resources::default();
    let member = Membership { tenant: "acme".into(), parallelism: 1, runtime_class: None };
    make(&Frame {
        config: &config(),
        member: &member,
        name: "shop-integration-1".into(),
        plan: "shop",
        task: names::INTEGRATION,
        role: names::INTEGRATION,
        owner: OwnerReference::default(),
        assignment,
        timeout_seconds: 60,
        resources: [&none, &none, &none],
    })
}

#[test]
fn a_thousand_branches_fit_and_more_are_counted() {
    let made = |branches| framed(&integration(branches), |frame| for_integration(frame, None, None));
    assert!(made(1000).is_ok());
    let report = made(5000).unwrap_err();
    assert_eq!(report.reason, Reason::InvalidAssignment);
    for part in ["5000 branches to merge", "at most 131008", "a task that depends on others"] {
        assert!(report.message.contains(part), "{}", report.message);
    }
}
