//! Decisions, policies and their minimum.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

const NOW: Millis = Millis(1_000_000);

fn decision(user: &str, group: &str, content: &str, choice: Choice) -> Decision {
    Decision {
        name: format!("{user}-1"),
        user: user.into(),
        groups: vec![group.into()],
        digest: Digest::of_bytes(content.as_bytes()),
        choice,
        comment: "because".into(),
        at: Some(Millis(900_000)),
    }
}

fn yes(user: &str, group: &str) -> Decision {
    decision(user, group, "v2", Choice::Approve)
}

fn content(author: &str, worst: Option<Severity>) -> Content {
    Content { digest: Digest::of_bytes(b"v2"), authors: Authors::default().with([author]), worst }
}

fn leads(required: u32) -> Policy {
    Policy { required, groups: vec!["leads".into()], four_eyes: true, ..Policy::default() }
}

fn approved(people: &[&str]) -> Verdict {
    Verdict::Approved { people: people.iter().map(ToString::to_string).collect(), until: None }
}

fn missing(verdict: &Verdict) -> (u32, u32, Option<Severity>) {
    match verdict {
        Verdict::Waiting(requirement) => (requirement.have, requirement.need, requirement.because),
        other => panic!("{other:?}"),
    }
}

#[test]
fn people_count_once_and_only_for_this_content() {
    let policy = leads(2);
    let mut all = vec![
        yes("ann", "leads"),
        yes("ann", "leads"),
        decision("bob", "leads", "v1", Choice::Approve),
        yes("cem", "guests"),
        yes("dot", "leads"),
    ];
    assert_eq!(missing(&evaluate(&policy, &content("dot", None), &all, NOW)), (1, 2, None));
    assert_eq!(check_decision(&policy, &content("dot", None), &all[4], NOW), Err(Void::SelfApproval));
    assert_eq!(evaluate(&policy, &content("eve", None), &all, NOW), approved(&["ann", "dot"]));
    all.push(decision("fay", "leads", "v2", Choice::Reject));
    assert_eq!(
        evaluate(&policy, &content("eve", None), &all, NOW),
        Verdict::Rejected { user: "fay".into(), comment: "because".into() }
    );
}

#[test]
fn the_latest_decision_of_a_person_counts() {
    let at = |choice, at| Decision { at: Some(Millis(at)), ..decision("ann", "leads", "v2", choice) };
    let verdict = |all: &[Decision]| evaluate(&leads(1), &content("eve", None), all, NOW);
    let rejected = Verdict::Rejected { user: "ann".into(), comment: "because".into() };
    let (no, yes_later) = (at(Choice::Reject, 100), at(Choice::Approve, 200));
    assert_eq!(verdict(&[yes_later.clone(), no.clone()]), approved(&["ann"]));
    assert_eq!(verdict(&[at(Choice::Approve, 50), no.clone()]), rejected);
    assert_eq!(verdict(&[at(Choice::Approve, 100), no.clone()]), rejected, "at the same time");
    let of_bob = Decision { at: Some(Millis(300)), ..yes("bob", "leads") };
    assert_eq!(verdict(&[no.clone(), of_bob]), rejected, "nobody replaces the decision of another person");
    let on_other_content = Decision { digest: Digest::of_bytes(b"v1"), ..yes_later.clone() };
    assert_eq!(verdict(&[no.clone(), on_other_content]), rejected);
    let expires = Policy { expires_after: Some(60), ..leads(1) };
    let later = evaluate(&expires, &content("eve", None), &[no, yes_later], NOW);
    assert_eq!(missing(&later), (0, 1, None), "the rejection does not come back when the approval expires");
}

#[test]
fn a_new_content_loses_the_decisions_that_count() {
    let mut all = vec![yes("ann", "leads"), yes("cem", "guests"), decision("bob", "leads", "v1", Choice::Approve)];
    let before = content("eve", None);
    let after = |text: &str, author: &str| Content {
        digest: Digest::of_bytes(text.as_bytes()),
        ..content(author, Some(Severity::High))
    };
    let names = |after: &Content, all: &[Decision]| -> Vec<(String, Void)> {
        lost(&leads(1), &before, after, all, NOW).into_iter().map(|(d, why)| (d.user.clone(), why)).collect()
    };
    assert_eq!(
        names(&after("v3", "eve"), &all),
        [("ann".to_owned(), Void::ContentChanged)],
        "the others never counted"
    );
    assert_eq!(names(&after("v2", "eve"), &all), [], "the same content keeps them");
    assert_eq!(names(&after("v2", "ann"), &all), [("ann".to_owned(), Void::SelfApproval)]);
    all.push(Decision { at: Some(Millis(950_000)), ..decision("ann", "leads", "v2", Choice::Reject) });
    assert_eq!(lost(&leads(1), &before, &after("v3", "eve"), &all, NOW)[0].0.choice, Choice::Reject, "only the latest");
}

#[test]
fn no_policy_needs_nobody() {
    assert_eq!(evaluate(&Policy::default(), &content("ann", Some(Severity::Critical)), &[], NOW), approved(&[]));
}

#[test]
fn a_machine_counts_only_where_it_is_named() {
    let flux = "system:serviceaccount:flux-system:kustomize-controller";
    let mut policy = Policy { required: 1, ..Policy::default() };
    let all = [yes(flux, "system:serviceaccounts")];
    assert_eq!(check_decision(&policy, &content("ann", None), &all[0], NOW), Err(Void::Machine));
    assert_eq!(missing(&evaluate(&policy, &content("ann", None), &all, NOW)), (0, 1, None));
    policy.machines = vec![flux.into()];
    assert_eq!(evaluate(&policy, &content("ann", None), &all, NOW), approved(&[flux]));
}

#[test]
fn open_findings_ask_for_more_people_and_for_others() {
    let security = WithFindings { at_least: Severity::High, required: 1, groups: vec!["security".into()] };
    let more = WithFindings { at_least: Severity::Critical, required: 2, groups: vec![] };
    let policy = Policy { with_findings: vec![security, more], ..leads(1) };
    let mut all = vec![yes("ann", "leads")];
    let verdict = |worst, all: &[Decision]| evaluate(&policy, &content("eve", worst), all, NOW);
    assert_eq!(verdict(Some(Severity::Medium), &all), approved(&["ann"]));
    assert_eq!(missing(&verdict(Some(Severity::High), &all)), (0, 1, Some(Severity::High)));
    assert_eq!(check_decision(&policy, &content("eve", None), &yes("sue", "security"), NOW), Err(Void::NotInGroup));
    all.push(yes("sue", "security"));
    assert_eq!(verdict(Some(Severity::High), &all), approved(&["ann", "sue"]));
    assert_eq!(missing(&verdict(Some(Severity::Critical), &all)), (1, 2, Some(Severity::Critical)));
    all.push(yes("bob", "leads"));
    assert_eq!(verdict(Some(Severity::Critical), &all), approved(&["ann", "bob", "sue"]));
}

#[test]
fn findings_require_approvals_of_what_else_needs_none() {
    let security = WithFindings { at_least: Severity::High, required: 1, groups: vec!["security".into()] };
    let policy = Policy { with_findings: vec![security], ..Policy::default() };
    let verdict = |worst, all: &[Decision]| evaluate(&policy, &content("eve", worst), all, NOW);
    assert_eq!(verdict(Some(Severity::Medium), &[]), approved(&[]));
    assert_eq!(missing(&verdict(Some(Severity::High), &[])), (0, 1, Some(Severity::High)));
    assert_eq!(verdict(Some(Severity::High), &[yes("sue", "security")]), approved(&["sue"]));
}

#[test]
fn an_approval_expires() {
    let policy = Policy { expires_after: Some(60), ..leads(1) };
    let all = [yes("ann", "leads"), Decision { at: Some(Millis(950_000)), ..yes("bob", "leads") }];
    let at = |now| evaluate(&policy, &content("eve", None), &all, Millis(now));
    let until = |verdict| match verdict {
        Verdict::Approved { people, until } => (people.len(), until),
        other => panic!("{other:?}"),
    };
    assert_eq!(until(at(959_999)), (2, Some(Millis(960_000))));
    assert_eq!(check_decision(&policy, &content("eve", None), &all[0], Millis(960_000)), Err(Void::Expired));
    assert_eq!(until(at(960_000)), (1, Some(Millis(1_010_000))));
    assert_eq!(missing(&at(1_010_000)), (0, 1, None));
    let no = Decision { choice: Choice::Reject, ..yes("ann", "leads") };
    assert_eq!(check_decision(&policy, &content("eve", None), &no, Millis(i64::MAX)), Ok(()), "a rejection stands");
    let now = Decision { at: None, ..yes("ann", "leads") };
    assert_eq!(
        check_decision(&policy, &content("eve", None), &now, Millis(i64::MAX)),
        Ok(()),
        "while it is being made"
    );
}

#[test]
fn a_minimum_cannot_be_loosened() {
    let minimum = || Some(leads(1));
    let verdict = |policy: Policy, all: &[Decision]| evaluate(&policy, &content("eve", None), all, NOW);
    let none = Policy::default();
    assert_eq!(missing(&verdict(none.clone().with_minimum(minimum()), &[yes("cem", "guests")])), (0, 1, None));
    assert_eq!(
        missing(&verdict(none.clone().with_minimum(minimum()), &[yes("eve", "leads")])),
        (0, 1, None),
        "four eyes"
    );
    assert_eq!(verdict(none.with_minimum(minimum()), &[yes("ann", "leads")]), approved(&["ann"]));
    // Both policies must be satisfied, each by people who count for it.
    let own = Policy { required: 1, groups: vec!["guests".into()], ..Policy::default() }.with_minimum(minimum());
    let both = [yes("ann", "leads"), yes("cem", "guests")];
    assert_eq!(missing(&verdict(own.clone(), &both[..1])), (0, 1, None));
    assert_eq!(missing(&verdict(own.clone(), &both[1..])), (0, 1, None));
    assert_eq!(verdict(own.clone(), &both), approved(&["ann", "cem"]));
    assert_eq!(own.groups_for(None), ["guests", "leads"]);
    let no = decision("ann", "leads", "v2", Choice::Reject);
    assert!(matches!(verdict(own.clone(), &[both[1].clone(), no]), Verdict::Rejected { .. }));
    // The four eyes of a minimum apply to the approvals of the policy too.
    let by_author = [yes("ann", "leads"), yes("eve", "guests")];
    assert_eq!(missing(&verdict(own.clone(), &by_author)), (0, 1, None));
    // Those of the policy apply to the approvals of the minimum.
    let two = Policy { required: 2, ..Policy::default() };
    assert_eq!(missing(&verdict(leads(1).with_minimum(Some(two)), &by_author)), (1, 2, None));
    let only_four_eyes = Policy { four_eyes: true, ..Policy::default() };
    let policy = leads(1).with_minimum(Some(only_four_eyes));
    let outsider = Decision { at: None, ..decision("cem", "guests", "v2", Choice::Reject) };
    let refused = check_decision(&policy, &content("eve", None), &outsider, NOW);
    assert_eq!(refused, Err(Void::NotInGroup), "a minimum without approvals lets nobody reject");
    let strict = Policy { required: 2, ..own };
    assert_eq!(missing(&verdict(strict, &both)), (1, 2, None), "an object can require more");
}

#[test]
fn a_policy_is_loosened_in_any_respect() {
    let rule = |at_least, required| WithFindings { at_least, required, groups: vec![] };
    let before = Policy {
        with_findings: vec![rule(Severity::High, 2)],
        expires_after: Some(60),
        machines: vec!["flux".into()],
        ..leads(2)
    };
    let groups = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    for looser in [
        Policy { required: 1, ..before.clone() },
        Policy { groups: vec![], ..before.clone() },
        Policy { groups: groups(&["leads", "guests"]), ..before.clone() },
        Policy { groups: groups(&["guests"]), ..before.clone() },
        Policy { four_eyes: false, ..before.clone() },
        Policy { with_findings: vec![], ..before.clone() },
        Policy { with_findings: vec![rule(Severity::Critical, 2)], ..before.clone() },
        Policy { with_findings: vec![rule(Severity::High, 1)], ..before.clone() },
        Policy { expires_after: None, ..before.clone() },
        Policy { expires_after: Some(61), ..before.clone() },
        Policy { machines: groups(&["flux", "argo"]), ..before.clone() },
        Policy::default(),
    ] {
        assert!(!looser.lowered(&before).is_empty(), "{looser:?}");
    }
    for strict in [
        before.clone(),
        Policy { required: 3, ..before.clone() },
        Policy { with_findings: vec![rule(Severity::Low, 2), rule(Severity::Critical, 9)], ..before.clone() },
        Policy { expires_after: Some(59), machines: vec![], ..before.clone() },
    ] {
        assert_eq!(strict.lowered(&before), [], "{strict:?}");
    }
    assert!(!before.lowered(&Policy { required: 2, groups: groups(&["owners"]), ..Policy::default() }).is_empty());
    let requires_nobody = Policy { groups: groups(&["leads"]), four_eyes: true, ..Policy::default() };
    assert_eq!(Policy::default().lowered(&requires_nobody), []);
}

#[test]
fn only_who_counts_for_a_rule_lowers_it() {
    let security = WithFindings { at_least: Severity::High, required: 1, groups: vec!["security".into()] };
    let counts = |before: &Policy, new: &Policy, user: &str, group: &str| {
        let lowered = new.lowered(before);
        assert!(!lowered.is_empty());
        let made = Decision { at: None, ..yes(user, group) };
        lowered.iter().all(|policy| check_decision(policy, &content("eve", None), &made, NOW).is_ok())
    };
    // No finding is open, so the rule invites nobody now.
    let before = Policy { with_findings: vec![security.clone()], ..leads(1) };
    assert!(!counts(&before, &leads(1), "ann", "leads"));
    assert!(counts(&before, &leads(1), "sue", "security"));
    assert!(!counts(&before, &leads(1), "eve", "security"), "four eyes");
    let fewer = Policy { required: 0, ..before.clone() };
    assert!(counts(&before, &fewer, "ann", "leads") && !counts(&before, &fewer, "sue", "security"));
    // Without groups, the policy itself admits everybody.
    let open = Policy { with_findings: vec![security.clone()], four_eyes: true, ..Policy::default() };
    assert!(!counts(&open, &Policy::default(), "ann", "leads"));
    let two_eyes = Policy { four_eyes: false, ..open.clone() };
    assert!(!counts(&open, &two_eyes, "ann", "leads") && counts(&open, &two_eyes, "sue", "security"));
    let of_leads = WithFindings { groups: vec![], ..security };
    let before = Policy { required: 0, with_findings: vec![of_leads], ..leads(0) };
    assert!(counts(&before, &Policy::default(), "ann", "leads") && !counts(&before, &leads(0), "sue", "security"));
}

#[test]
fn a_stricter_policy_keeps_a_rejection() {
    let any = Policy { required: 1, ..Policy::default() };
    let flux = "system:serviceaccount:flux-system:kustomize-controller";
    for (user, before) in [
        ("bob", any.clone()),
        ("bob", Policy::default()),
        ("eve", any.clone()),
        (flux, Policy { machines: vec![flux.into()], ..any.clone() }),
    ] {
        let no = decision(user, "guests", "v2", Choice::Reject);
        let all = [yes("ann", "leads"), no.clone()];
        let rejected = Verdict::Rejected { user: user.into(), comment: "because".into() };
        assert_eq!(check_decision(&before, &content("eve", None), &Decision { at: None, ..no.clone() }, NOW), Ok(()));
        for policy in [before, leads(1), leads(0), Policy::default().with_minimum(Some(leads(1)))] {
            assert_eq!(evaluate(&policy, &content("eve", None), &all, NOW), rejected, "{policy:?}");
        }
        assert_eq!(check_decision(&leads(1), &content("eve", None), &no, NOW), Ok(()));
        let other = Content { digest: Digest::of_bytes(b"v3"), ..content("eve", None) };
        assert_eq!(check_decision(&leads(1), &other, &no, NOW), Err(Void::ContentChanged));
        let made = Decision { at: None, ..no };
        assert!(check_decision(&leads(1), &content("eve", None), &made, NOW).is_err(), "the webhook refuses it");
    }
}

#[test]
fn each_author_is_excluded() {
    let content = Content { authors: Authors::default().with(["bob", "eve"]), ..content("bob", None) };
    let all = [yes("bob", "leads"), yes("eve", "leads")];
    assert_eq!(missing(&evaluate(&leads(1), &content, &all, NOW)), (0, 1, None));
    assert_eq!(check_decision(&leads(1), &content, &all[1], NOW), Err(Void::SelfApproval));
}

fn some_of(names: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(names, 0..=names.len()).prop_map(|names| names.into_iter().map(str::to_owned).collect())
}

fn any_severity() -> impl Strategy<Value = Severity> {
    select(&[Severity::Critical, Severity::High, Severity::Medium][..])
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let groups = || some_of(&["a", "b"]);
    let rule = (any_severity(), 0..3_u32, groups()).prop_map(|(at_least, required, groups)| WithFindings {
        at_least,
        required,
        groups,
    });
    let expires = prop_oneof![Just(None), Just(Some(60)), Just(Some(200))];
    (0..3_u32, groups(), any::<bool>(), vec(rule, 0..3), expires, some_of(&["system:node:n"])).prop_map(
        |(required, groups, four_eyes, with_findings, expires_after, machines)| Policy {
            required,
            groups,
            four_eyes,
            with_findings,
            expires_after,
            machines,
            minimum: None,
        },
    )
}

fn any_decision(choice: impl Strategy<Value = Choice>) -> impl Strategy<Value = Decision> {
    let user = select(&["ann", "bob", "cem", "eve", "system:node:n"][..]);
    (user, some_of(&["a", "b", "c"]), choice, 800_000..1_000_000_i64).prop_map(|(user, groups, choice, at)| Decision {
        groups,
        at: Some(Millis(at)),
        ..decision(user, "", "v2", choice)
    })
}

proptest! {
    #[test]
    fn what_lowers_nothing_approves_nothing_more(
        before in any_policy(),
        after in any_policy(),
        all in vec(any_decision(Just(Choice::Approve)), 0..5),
        worst in proptest::option::of(any_severity()),
    ) {
        let content = content("eve", worst);
        let is_approved = |policy| matches!(evaluate(policy, &content, &all, NOW), Verdict::Approved { .. });
        if after.lowered(&before).is_empty() && is_approved(&after) {
            prop_assert!(is_approved(&before));
        }
    }

    #[test]
    fn no_policy_releases_what_is_rejected(
        policy in any_policy(),
        minimum in proptest::option::of(any_policy()),
        all in vec(any_decision(select(&[Choice::Approve, Choice::Reject][..])), 0..5),
    ) {
        let policy = policy.with_minimum(minimum);
        let stands = |d: &Decision| d.choice == Choice::Reject && !is_superseded(d, &all);
        let is_rejected = matches!(evaluate(&policy, &content("eve", None), &all, NOW), Verdict::Rejected { .. });
        prop_assert_eq!(is_rejected, all.iter().any(stands));
    }
}
