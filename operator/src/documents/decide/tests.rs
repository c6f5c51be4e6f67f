use enact_domain::approval::authors::Authors;
use enact_domain::approval::{self, Choice, Policy};

use super::*;
use crate::documents::content::{Content, Location, Origin, SourceState};
use crate::documents::document::first_error;
use crate::documents::findings::Findings;
use crate::documents::texts::SpecificationText;

const HANDLE: &str = "specification/shop -n team";

const GOOD: &str =
    "# Feature Specification: Shop\n\n## Requirements\n\n### Functional Requirements\n\n- **FR-001**: It MUST sell.\n";

fn content(text: &str) -> Content<()> {
    let text = SpecificationText::read(text.as_bytes());
    Content {
        bytes: text.parsed.model.source.clone().into_bytes(),
        digest: text.digest.clone(),
        version: None,
        origin: Origin::Source,
        steps: Vec::new(),
        error: first_error(&text.parsed, &text.report),
        blocked: None,
        findings: Findings::new(&text.report, [], &text.acceptances),
        quality: None,
        open_questions: u32::try_from(text.parsed.model.open_questions.len()).unwrap(),
        facts: (),
    }
}

fn seen() -> Observed<Content<()>> {
    Observed {
        location: Location { namespace: "team".into(), tenant: Some("acme".into()) },
        content: Ok(content(GOOD)),
        source: SourceState::default(),
        policy: Policy::default(),
        author: Some("ann".into()),
        authors: Authors::default().with(["ann"]),
        decisions: Vec::new(),
    }
}

fn said(user: &str, choice: Choice, text: &str) -> approval::Decision {
    approval::Decision {
        name: format!("{user}-1"),
        user: user.into(),
        groups: vec!["leads".into()],
        digest: Digest::of_bytes(text.as_bytes()),
        choice,
        comment: String::new(),
        at: None,
    }
}

fn policy() -> Policy {
    Policy { required: 1, groups: vec!["leads".into()], four_eyes: true, ..Policy::default() }
}

fn missing() -> Readiness {
    Readiness::stalled("SourceMissing", "there is no document; set spec.source")
}

fn shown(seen: &Observed<Content<()>>) -> String {
    let d = decide(HANDLE, seen, &CommonStatus::default(), Millis(5));
    let Readiness { progress, reason, message } = d.readiness;
    format!("{progress:?} {reason}: {message}")
}

#[test]
fn every_state_says_what_to_do() {
    let mut all = vec![("nothing asked", shown(&seen()))];
    let mut case = |name, change: &dyn Fn(&mut Observed<Content<()>>)| {
        let mut observed = seen();
        change(&mut observed);
        all.push((name, shown(&observed)));
    };
    case("no tenant", &|s| s.location.tenant = None);
    case("no source", &|s| s.content = Err(missing()));
    case("empty", &|s| s.content = Ok(content("")));
    case("two errors", &|s| s.content = Ok(content(&format!("{GOOD}- **FR-001**: Again.\n- **FR-001**: Again.\n"))));
    case("open question", &|s| {
        s.content = Ok(content(&format!("{GOOD}- **FR-002**: It MUST [NEEDS CLARIFICATION: what?]\n")));
    });
    case("in the way", &|s| {
        let content = Content { blocked: Some(Readiness::stalled("Broken", "fix it")), ..content(GOOD) };
        s.content = Ok(content);
    });
    case("waiting", &|s| s.policy = policy());
    case("own work", &|s| {
        s.policy = policy();
        s.decisions = vec![said("ann", Choice::Approve, GOOD)];
    });
    case("older content", &|s| {
        s.policy = policy();
        s.decisions = vec![said("bob", Choice::Approve, "older")];
    });
    case("approved", &|s| {
        s.policy = policy();
        s.decisions = vec![said("bob", Choice::Approve, GOOD)];
    });
    case("rejected", &|s| {
        s.policy = policy();
        let no = approval::Decision { comment: "no prices".into(), ..said("cem", Choice::Reject, GOOD) };
        s.decisions = vec![said("bob", Choice::Approve, GOOD), no];
    });
    let table = all.iter().map(|(name, shown)| format!("{name} -> {shown}")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(table);
}

#[test]
fn approval_lasts_until_it_is_withdrawn() {
    let approved = decide(HANDLE, &seen(), &CommonStatus::default(), Millis(5));
    let digest = Digest::of_bytes(GOOD.as_bytes());
    assert_eq!(approved.approved, Some(digest.clone()));
    let before =
        CommonStatus { digest: Some(digest.clone()), approved_digest: Some(digest.clone()), ..CommonStatus::default() };

    let mut changed = Observed { policy: policy(), ..seen() };
    changed.content = Ok(content("# Feature Specification: Shop\n\n- **FR-002**: It MUST buy.\n"));
    let after = decide(HANDLE, &changed, &before, Millis(5));
    assert_eq!(after.readiness.reason, "WaitingForApproval");
    assert_eq!(after.approved, Some(digest.clone()), "the older content is still the one that was approved");

    let withdrawn = decide(HANDLE, &Observed { policy: policy(), ..seen() }, &before, Millis(5));
    assert_eq!(withdrawn.approved, None, "the same content is not approved any more");

    let gone = decide(HANDLE, &Observed { content: Err(missing()), ..seen() }, &before, Millis(5));
    assert_eq!(
        (&*gone.readiness.reason, gone.digest),
        ("SourceMissing", Some(digest.clone())),
        "the last digest stays"
    );
    assert_eq!(gone.approved, Some(digest), "nobody took the approval back");
}
