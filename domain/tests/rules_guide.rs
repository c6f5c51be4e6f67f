//! Checks that the guide documents every field, function, rule of the library and limit.

use std::fmt::Write;

use enact_domain::rules::{
    MAX_COST, MAX_DEPTH, MAX_EXPRESSION_BYTES, MAX_ITEMS, MAX_PATTERNS, MAX_RULES, MAX_TOTAL_COST, MAX_VALUE_BYTES,
    Rule, Scope, Strength, builtin, compile, records,
};

const GUIDE: &str = include_str!("../../docs/guide/rules.md");

/// Returns the reference that the guide must contain between its heading and the next one.
fn reference() -> String {
    let mut text = String::new();
    for record in records() {
        let _ = write!(
            text,
            "### {}\n\n{}\n\n| field | type | what it holds |\n| --- | --- | --- |\n",
            record.name, record.about
        );
        for field in record.fields {
            let _ = writeln!(text, "| `{}` | {} | {} |", field.name, field.of, field.about);
        }
        text.push('\n');
    }
    text
}

fn section(heading: &str) -> &'static str {
    let from = GUIDE.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("there is no section {heading}"));
    let body = &GUIDE[from + heading.len() + 5..];
    body.find("\n## ").map_or(body, |end| &body[..end])
}

#[test]
fn the_reference_has_every_field_and_no_other() {
    let written = section("Reference of fields");
    let tables = &written[written.find("### ").unwrap_or_default()..];
    assert_eq!(tables.trim(), reference().trim(), "write this:\n{}", reference());
}

#[test]
fn the_library_is_listed_whole() {
    let written = section("Ten rules to start with");
    for rule in builtin() {
        let severity = match rule.strength {
            Strength::Must => "MUST",
            Strength::Should => "SHOULD",
        };
        let row = format!("| `{}` | {} | {severity} |", rule.name, rule.scope);
        assert!(written.contains(&row), "{row}");
    }
    assert_eq!(written.matches("\n| `").count(), builtin().len());
}

#[test]
fn the_limits_are_those_of_the_code() {
    let thousands = |n: u64| {
        let digits = n.to_string();
        let parts: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|c| std::str::from_utf8(c).ok()).collect();
        parts.join(",")
    };
    let written = section("Limits");
    for (what, limit) in [
        ("rules of a constitution, with those that it inherits", MAX_RULES as u64),
        ("bytes of an expression", MAX_EXPRESSION_BYTES as u64),
        ("brackets and operators inside one another", MAX_DEPTH as u64),
        ("patterns of an expression", MAX_PATTERNS as u64),
        ("cost of one evaluation, in units", MAX_COST),
        ("cost of all evaluations on one object, in units", MAX_TOTAL_COST),
        ("MiB of a text or list that an expression makes", MAX_VALUE_BYTES >> 20),
        ("items that a violation names", MAX_ITEMS as u64),
    ] {
        let row = format!("| {what} | {} |", thousands(limit));
        assert!(written.contains(&row), "{row}");
    }
}

#[test]
fn the_guide_says_what_each_rule_sees() {
    let written = section("What a rule sees");
    for scope in [Scope::Constitution, Scope::Specification, Scope::Plan, Scope::Task] {
        let seen: Vec<String> = scope.sees().iter().map(|s| format!("`{}`", s.record().name)).collect();
        let row = format!("| `{scope}` | {} |", seen.join(", "));
        assert!(written.contains(&row), "{row}");
    }
}

fn rule(name: &str, scope: Scope, expression: &str) -> Rule {
    Rule {
        name: name.into(),
        scope,
        expression: expression.into(),
        message: "-".into(),
        strength: Strength::Must,
        principle: None,
    }
}

#[test]
fn shown_errors_are_current() {
    let written = section("What a rule can say");
    for (name, scope, expression) in [
        ("requirements-bind", Scope::Specification, "specification.requirments.all(r, r.text.contains('MUST'))"),
        ("tests-first", Scope::Plan, "plan.tasks.exists(t,\n  t.title.lowerAscii().contians('test'))"),
        ("gates", Scope::Plan, "plan.gates"),
        (
            "order",
            Scope::Plan,
            "plan.tasks.all(a, plan.tasks.all(b, plan.tasks.exists(c, c.id == a.id || c.id == b.id)))",
        ),
    ] {
        let message = compile(&rule(name, scope, expression)).unwrap_err().to_string();
        assert!(written.contains(&format!("\n{message}\n")), "{message}");
    }
}

#[test]
fn the_further_rules_are_rules() {
    let written = section("Ten rules to start with");
    let block = written.split("```").nth(1).unwrap_or_default();
    let rules: Vec<&str> = block.lines().skip(1).filter_map(|line| line.split("  ").next()).collect();
    assert!(rules.len() > 5);
    for expression in rules {
        let (variable, _) = expression.split_once('.').unwrap_or_default();
        let scopes = [Scope::Constitution, Scope::Specification, Scope::Plan, Scope::Task];
        let of = scopes.into_iter().filter(|scope| scope.sees().iter().any(|s| s.record().name == variable));
        let compiled: Vec<_> = of.map(|scope| compile(&rule("further", scope, expression))).collect();
        assert!(compiled.iter().any(Result::is_ok), "{expression}: {compiled:?}");
    }
}
