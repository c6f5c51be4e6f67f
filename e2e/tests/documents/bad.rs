//! Invalid documents, rules, references and answers: each is reported with its position and a remedy, and is accepted after the fix.

use anyhow::ensure;
use enact_crds::{Constitution, Specification};
use enact_e2e::documents::{holds, inline, manifest};
use enact_e2e::on_stage;
use enact_e2e::people::Person;
use serde_json::{Value, json};

use super::texts::{KEYS, house};

/// Returns a constitution with one valid rule in which the fields of `fault` are replaced or added.
fn ruled(fault: &Value) -> String {
    let mut rule = json!({"name": "bad", "appliesTo": "Specification", "message": "fix it", "expression": "specification.title != ''"});
    for (field, value) in fault.as_object().into_iter().flatten() {
        rule[field] = value.clone();
    }
    inline("Constitution", "bad", &house("1.0.0"), &json!({"rules": [rule]}))
}

/// An error: description, manifest, and the words that the message must contain.
type Case = (&'static str, String, &'static [&'static str]);

/// Nested `all` macros over the same list: their evaluation would take hours.
const BOMB: &str =
    "plan.tasks.all(a, plan.tasks.all(b, plan.tasks.all(c, plan.tasks.all(d, a.id + b.id != c.id + d.id))))";

/// Returns errors in sources and references.
fn sources() -> Vec<Case> {
    vec![
        (
            "an empty document",
            inline("Specification", "bad", "", &json!({})),
            &["spec.source.inline", "line 1", "the document is empty", "write the document"],
        ),
        ("no document", manifest("Specification", "bad", &json!({})), &["set source, or a request"]),
        (
            "two sources",
            manifest(
                "Specification",
                "bad",
                &json!({"source": {"inline": KEYS, "configMapKeyRef": {"name": "a", "key": "b"}}}),
            ),
            &["set exactly one of inline, configMapKeyRef and git"],
        ),
        (
            "a name in another namespace",
            inline("Specification", "bad", KEYS, &json!({"constitutionRef": {"name": "other/house"}})),
            &["spec.constitutionRef.name", "names another namespace", "in the same namespace"],
        ),
        (
            "a parent in another namespace",
            inline("Constitution", "bad", &house("1.0.0"), &json!({"parentRef": {"name": "other/house"}})),
            &["spec.parentRef.name", "names another namespace"],
        ),
    ]
}

/// Returns errors in the expressions of rules.
fn expressions() -> Vec<Case> {
    let expression = |e: &str| ruled(&json!({ "expression": e }));
    vec![
        (
            "a field with a typo",
            expression("specification.title != '' &&\n  specification.requirments.size() > 0"),
            &["line 2, column 17", "no field `requirments`", "did you mean `requirements`?"],
        ),
        (
            "a function with a typo",
            expression("specification.title.contians('a')"),
            &["line 1, column", "no function `contians`", "did you mean `contains`?"],
        ),
        ("half an expression", expression("specification.title =="), &["line 1, column"]),
        (
            "no condition",
            expression("specification.title"),
            &["the result is a string, not a bool", "use a comparison"],
        ),
        (
            "a variable of another kind",
            expression("task.title != ''"),
            &["a rule for a Specification has no variable `task`"],
        ),
        (
            "a pattern that is none",
            expression("specification.title.matches('(')"),
            &["the pattern cannot be read", "see https://docs.rs/regex"],
        ),
        (
            "a cost bomb",
            ruled(&json!({"appliesTo": "Plan", "expression": BOMB})),
            &["may cost", "10000000 are allowed", "nest fewer macros over lists"],
        ),
    ]
}

/// Returns errors in the fields of rules and answers.
fn fields() -> Vec<Case> {
    let answer = |answer: Value| inline("Specification", "bad", KEYS, &json!({"clarifications": [answer]}));
    vec![
        ("an unknown field of a rule", ruled(&json!({"mesage": "fix it"})), &["mesage"]),
        ("an unknown severity", ruled(&json!({"severity": "MAY"})), &["spec.rules[0].severity", "MUST", "SHOULD"]),
        ("an unknown kind of document", ruled(&json!({"appliesTo": "Poem"})), &["spec.rules[0].appliesTo", "Poem"]),
        ("a rule without a message", ruled(&json!({"message": ""})), &["spec.rules[0].message"]),
        (
            "a rule that its own constitution breaks",
            ruled(&json!({"appliesTo": "Constitution", "expression": "constitution.principles.size() > 5"})),
            &["spec.source", "rule bad", "fix it"],
        ),
        (
            "an answer that says nothing",
            answer(json!({"question": "Q-00000000", "answer": ""})),
            &["spec.clarifications[0].answer"],
        ),
        (
            "an answer to nothing",
            answer(json!({"question": "", "answer": "yes"})),
            &["spec.clarifications[0].question"],
        ),
        (
            "an unknown field of an answer",
            answer(json!({"question": "Q-00000000", "answer": "yes", "who": "lee"})),
            &["who"],
        ),
    ]
}

#[test]
fn invalid_documents_are_refused_with_a_remedy() {
    on_stage("refused-documents", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let at = ["spec.rules[0].expression", "rule \"bad\""];
        let mut wrong = Vec::new();
        let cases = [sources(), expressions(), fields()].concat();
        for (what, yaml, words) in &cases {
            match dana.refusal(yaml).await {
                Ok(said) => {
                    let of_rule = words.iter().any(|w| w.contains("line ") && yaml.contains("\"Constitution\""));
                    let all = if of_rule { [&at[..], words].concat() } else { words.to_vec() };
                    wrong.extend(holds(&said, &all).err().map(|e| format!("{what}: {e}")));
                }
                Err(taken) => wrong.push(format!("{what}: {taken:#}")),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        // A corrected constitution is accepted.
        dana.applies(&ruled(&json!({}))).await?;
        stage.await_reason::<Constitution>("bad", "Approved").await?;
        Ok(())
    });
}

#[test]
fn conditions_report_missing_references_until_fixed() {
    on_stage("reported-documents", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        let constitution = |name: &str, parent: &str| {
            let more = if parent.is_empty() { json!({}) } else { json!({"parentRef": {"name": parent}}) };
            inline("Constitution", name, &house("1.0.0"), &more)
        };
        // Two constitutions inherit from each other, and one inherits from a constitution that does not exist.
        for (name, parent) in [("egg", "hen"), ("hen", "egg"), ("orphan", "nowhere")] {
            dana.applies(&constitution(name, parent)).await?;
        }
        let place = |name: &str| format!("{}/{name}", stage.name);
        let (egg, hen, nowhere) = (place("egg"), place("hen"), place("nowhere"));
        for name in ["egg", "hen"] {
            let reported = ["inherit from each other", &egg, &hen, "remove spec.parentRef from one of them"];
            stage.await_message::<Constitution>(name, "CircularInheritance", &reported).await?;
        }
        let reported = ["spec.parentRef", &format!("there is no Constitution {nowhere}"), "create it"];
        stage.await_message::<Constitution>("orphan", "WaitingForConstitution", &reported).await?;
        let bound = |name: &str| json!({"constitutionRef": {"name": name}});
        dana.applies(&inline("Specification", "of-egg", KEYS, &bound("egg"))).await?;
        dana.applies(&inline("Specification", "of-orphan", KEYS, &bound("orphan"))).await?;
        stage.await_message::<Specification>("of-egg", "CircularInheritance", &["inherit from each other"]).await?;
        stage.await_reason::<Specification>("of-orphan", "WaitingForConstitution").await?;
        dana.applies(&inline("Specification", "of-nobody", KEYS, &bound("nobody"))).await?;
        let reported = ["spec.constitutionRef", &format!("there is no Constitution {}", place("nobody")), "create it"];
        stage.await_message::<Specification>("of-nobody", "WaitingForConstitution", &reported).await?;

        dana.applies(&constitution("hen", "")).await?;
        dana.applies(&constitution("nowhere", "")).await?;
        dana.applies(&constitution("nobody", "")).await?;
        for name in ["egg", "hen", "orphan"] {
            stage.await_reason::<Constitution>(name, "Approved").await?;
        }
        for name in ["of-egg", "of-orphan", "of-nobody"] {
            stage.await_reason::<Specification>(name, "Approved").await?;
        }
        Ok(())
    });
}

#[test]
fn invalid_utf8_is_reported_with_its_line() {
    on_stage("no-text", |stage| async move {
        let dana = Person::of(&stage, "dana", "developers").await?;
        // `/w==` ends with the byte 0xff, `IyBBCgA=` is `# A`, a line feed and NUL.
        let bytes = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bytes"},
            "binaryData": {"latin.md": "IyBBCv8=", "nul.md": "IyBBCgA="},
        });
        dana.applies(&bytes.to_string()).await?;
        let from = |name: &str, key: &str| {
            manifest("Specification", name, &json!({"source": {"configMapKeyRef": {"name": "bytes", "key": key}}}))
        };
        dana.applies(&(from("latin", "latin.md") + &from("nul", "nul.md"))).await?;
        let reported = ["line 2", "byte 4 is not UTF-8", "save the document as UTF-8"];
        stage.await_message::<Specification>("latin", "InvalidDocument", &reported).await?;
        stage.await_message::<Specification>("nul", "InvalidDocument", &["line 2", "byte 4 is NUL"]).await?;
        let fixed = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bytes"}, "data": {"latin.md": KEYS, "nul.md": KEYS},
        });
        dana.applies(&fixed.to_string()).await?;
        stage.await_reason::<Specification>("latin", "Approved").await?;
        stage.await_reason::<Specification>("nul", "Approved").await?;
        Ok(())
    });
}
