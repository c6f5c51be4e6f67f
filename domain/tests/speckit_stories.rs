//! User stories that are items or paragraphs below a heading about stories.

use enact_domain::speckit::Diagnostic;
use enact_domain::speckit::spec::{self, UserStory};

const REST: &str = "\n## Requirements\n\n- **FR-001**: It MUST float\n\n## Success Criteria\n\n- **SC-001**: 9 of 10 trips end ashore\n";

fn read(text: &str) -> (Vec<UserStory>, Vec<Diagnostic>) {
    let parsed = spec::parse(format!("# Feature Specification: Boat\n\n{text}{REST}").as_bytes());
    (parsed.model.stories, parsed.diagnostics)
}

/// Returns the keys and titles of the stories below a heading.
fn below(heading: &str, text: &str) -> Vec<(String, String)> {
    let stories = read(&format!("## {heading}\n\n{text}")).0;
    stories.into_iter().map(|story| (story.key.to_string(), story.title)).collect()
}

fn keys(text: &str) -> Vec<String> {
    read(text).0.into_iter().map(|story| story.key.to_string()).collect()
}

#[test]
fn items_with_numbers_are_stories() {
    for item in [
        "- **US7** As a sailor, I want to steer",
        "- **US7**: As a sailor, I want to steer",
        "- **US-7:** As a sailor, I want to steer",
        "* US7: As a sailor, I want to steer",
        "- US7 - As a sailor, I want to steer",
        "- [US7] As a sailor, I want to steer",
        "1. **User Story 7**: As a sailor, I want to steer",
        "- [ ] **US7** As a sailor, I want to steer",
        "- US7 As a sailor, I want to steer",
        "**US7**: As a sailor, I want to steer",
        "- **US7**: As a sailor,\n  I want to steer",
        "- Sailors:\n  - **US7**: As a sailor, I want to steer",
    ] {
        let found = below("User Stories", &format!("{item}\n"));
        assert_eq!(found, [("US7".to_owned(), "As a sailor, I want to steer".to_owned())], "{item}");
    }
    for (item, title) in
        [("- **US7**: Steering", "Steering"), ("- **US7 - Steering**: to the shore", "Steering: to the shore")]
    {
        assert_eq!(below("User Stories", &format!("{item}\n")), [("US7".to_owned(), title.to_owned())], "{item}");
    }
    let stories = read("## User Scenarios & Testing\n\n- **US1** (P1): Steer\n- **US2**: Moor (Priority: P2)\n").0;
    let found: Vec<_> = stories.iter().map(|s| (s.key.as_str(), s.title.as_str(), s.priority.as_deref())).collect();
    assert_eq!(found, [("US1", "Steer", Some("P1")), ("US2", "Moor", Some("P2"))]);
}

#[test]
fn items_that_say_who_wants_what_are_numbered_in_order() {
    for (heading, item) in [
        ("User Stories", "As a sailor, I want to steer, so that I arrive"),
        ("User Stories", "**As an** owner, **I want** to moor"),
        ("User Scenarios & Testing", "As the owner I can moor"),
        ("User Stories", "As a cook I'd like to fish"),
        ("Histoires utilisateur", "En tant que marin, je veux barrer"),
        ("Histoires utilisateur", "En tant qu’équipier, j’aimerais barrer"),
        ("Benutzergeschichten", "Als Segler möchte ich steuern"),
        ("Historias de usuario", "Como marinero, quiero navegar"),
        ("Histórias de usuário", "Como marinheiro, quero navegar"),
        ("Storie utente", "Come marinaio, voglio navigare"),
        ("Пользовательские истории", "Как моряк, я хочу рулить"),
        ("用户故事", "作为水手，我想要掌舵"),
        ("使用者故事", "身為水手，我希望掌舵"),
        ("ユーザーストーリー", "船員として、舵を取りたい"),
        ("사용자 스토리", "선원으로서 조종하고 싶다"),
    ] {
        let found = below(heading, &format!("- {item}\n- {item} again\n"));
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["US1", "US2"], "{item}");
        assert!(read(&format!("## {heading}\n\n- {item}\n")).1.is_empty(), "{item}");
    }
    let found = below("User Stories", "- As a sailor, I want a\n- **US2**: b\n- As a cook, I want c\n");
    assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["US1", "US2", "US3"]);
    let parts = "## User Stories\n\n### Sailors\n\n- As a sailor, I want a\n\n### Cooks\n\n- As a cook, I want b\n";
    assert_eq!(keys(parts), ["US1", "US2"]);
    assert_eq!(keys("## User Stories\n\nAs a sailor, I want a.\n\nAs a cook, I want b.\n"), ["US1", "US2"]);
    let primary =
        "### Primary User Story\n\nAs a sailor, I want a.\n\n### Further User Stories\n\n- As a cook, I want b\n";
    assert_eq!(keys(primary), ["US1", "US2"]);
    let further = "### User Story 1 - Steer\n\nText.\n\n### Additional User Stories\n\n- As a cook, I want b\n";
    assert_eq!(keys(further), ["US1", "US2"]);
}

#[test]
fn the_lines_below_an_item_belong_to_its_story() {
    let text = "## User Stories\n\n- **US1**: Steer\n  - **Priority**: P1\n  - **Independent Test**: turn the wheel\n  - Given a boat, When it \
                turns, Then it goes\n  - Given a wheel, When it breaks, Then it stops\n- **US2**: Moor\n\n  **Independent Test**: tie it\n";
    let stories = read(text).0;
    let found: Vec<_> = stories
        .iter()
        .map(|s| (s.key.as_str(), s.line, s.priority.as_deref(), s.independent_test.is_some(), s.scenarios.len()))
        .collect();
    assert_eq!(found, [("US1", 5, Some("P1"), true, 2), ("US2", 10, None, true, 0)]);
    assert_eq!(stories[0].scenarios[1].key, "US1/AC2");
    let paragraphs = "## User Stories\n\n**US1**: Steer\n\n1. **Given** a, **When** b, **Then** c\n\n**US2**: Moor\n\n1. **Given** a, **When** \
                      b, **Then** c\n2. **Given** d, **When** e, **Then** f\n";
    assert_eq!(read(paragraphs).0.iter().map(|s| s.scenarios.len()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn other_lines_are_not_stories() {
    for text in [
        "## Overview\n\n- **US1**: Steer\n- As a sailor, I want to steer\n",
        "## Out of Scope User Stories\n\n- As a sailor, I want to fly\n",
        "## User Stories\n\n### Out of Scope\n\n- As a sailor, I want to fly\n",
        "## User Story Dependencies\n\n- US1: first\n",
        "## User Stories\n\n- US1 and US2 share the wheel\n- US1, US2: the wheel\n- **US1–US3**: the wheel\n- US1 depends on US2\n",
        "## User Stories\n\n- As a result, the boat floats\n- US dollars are paid\n- Sailors steer\n",
        "## User Stories\n\n```text\n- **US1**: Steer\n```\n\n<!-- - **US2**: Moor -->\n",
        "## User Scenarios\n\n### Edge Cases\n\n- As a sailor, I want to turn in a storm\n",
        "## Clarifications about user stories\n\n- **US1**: which wheel?\n",
    ] {
        assert_eq!(keys(text), Vec::<String>::new(), "{text}");
    }
    // Beside headings, lines about the same stories are mentions, and a role is a part of a story.
    for more in ["- **US1**: Steer\n", "- As a sailor, I want to steer\n", "- US1: P1\n"] {
        let text = format!(
            "## User Stories\n\n{more}\n### User Story 1 - Steer (Priority: P1)\n\n- As a sailor, I want to steer\n"
        );
        let (stories, found) = read(&text);
        assert_eq!((stories.len(), found), (1, Vec::new()), "{text}");
        assert_eq!(stories[0].title, "Steer");
    }
}

#[test]
fn two_items_with_one_number_are_duplicates_if_both_say_who_wants_what() {
    let codes = |text: &str| read(text).1.iter().map(|d| (d.line, d.code)).collect::<Vec<_>>();
    let twice = "## User Stories\n\n- **US1**: As a sailor, I want a\n- **US1**: As a cook, I want b\n";
    assert_eq!(codes(twice), [(6, "DuplicateStory")]);
    let mentioned = "## User Stories\n\n- **US1**: As a sailor, I want a\n\n### Order\n\n- **US1**: first\n";
    assert_eq!(codes(mentioned), []);
}

#[test]
fn headings_with_a_wish_are_stories() {
    let text = "## User Stories\n\n### As a sailor, I want to steer\n\n1. **Given** a, **When** b, **Then** c\n\n### As the cook of future examples\n\n- I want to \
                fry fish\n- I want to bake bread\n\n### Roles\n\n- Sailors\n";
    let (stories, found) = read(text);
    let summary: Vec<_> = stories.iter().map(|s| (s.key.as_str(), s.title.as_str(), s.scenarios.len())).collect();
    assert_eq!(summary, [("US1", "As a sailor, I want to steer", 1), ("US2", "As the cook of future examples", 0)]);
    assert!(stories.iter().all(|story| !story.numbered));
    assert_eq!(found, []);
    for other in [
        "## Overview\n\n### As a sailor, I want to steer\n",
        "## User Stories\n\n### As a sailor\n\n- Sailors steer\n",
        "## User Stories\n\n### Out of Scope\n\n#### As a sailor, I want to fly\n",
        "## User Stories\n\n### As a result\n\n- The boat floats\n",
    ] {
        assert_eq!(keys(other), Vec::<String>::new(), "{other}");
    }
    // Beside numbers it is a part of the document as before.
    let beside = "## User Stories\n\n### User Story 1 - Steer (Priority: P1)\n\n### As a sailor, I want to steer\n";
    assert_eq!(keys(beside), ["US1"]);
    assert!(read(beside).0[0].numbered);
}
