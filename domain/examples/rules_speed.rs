//! Measures what rules cost: `cargo run --release -p enact-domain --example rules_speed`.
//!
//! For each rule: evaluations a second on a specification of 50 requirements or a plan of 1,000 tasks, its estimated cost, and the time
//! that one unit of that takes. The fastest of all evaluations counts: what else runs on the machine does not.

use std::hint::black_box;
use std::time::{Duration, Instant};

use enact_domain::rules::{
    Document, DocumentMetadata, Outcome, PlanInput, Rule, Scope, Strength, TaskInput, builtin, compile,
};
use enact_domain::speckit;
use enact_domain::speckit::spec::Spec;

/// Rules that are costly for their length, in addition to those of the library.
const COSTLY: [(&str, Scope, &str); 4] = [
    ("(nested)", Scope::Plan, "plan.tasks.all(t, plan.tasks.filter(o, o.story == 'US1')[0].id != t.title)"),
    ("(texts)", Scope::Plan, "plan.tasks.all(t, t.text.lowerAscii().split(' ').all(w, w != 'todo'))"),
    ("(pattern)", Scope::Plan, r"plan.tasks.all(t, !t.text.matches('[ab]*a[ab]{100}x|\\bnever\\b'))"),
    ("(slow pattern)", Scope::Plan, r"plan.tasks.all(t, !t.text.matches('(?-u)[a-z ]*e[a-z ;.]{200}e[a-z ;.]{250}e'))"),
];

fn main() {
    let specification = specification();
    let plan = plan();
    println!("{:<30}{:>14}{:>14}{:>12}{:>12}", "rule", "evaluations/s", "time", "cost", "ns/unit");
    let costly = COSTLY.map(|(name, scope, expression)| (name, rule(scope, expression)));
    let library = builtin();
    let rules =
        library.iter().map(|rule| (rule.name.as_str(), rule)).chain(costly.iter().map(|(name, rule)| (*name, rule)));
    for (name, rule) in rules {
        let document = match rule.scope {
            Scope::Task => Document::task(&plan.tasks[0]).with_plan(&plan),
            Scope::Plan => Document::plan(&plan).with_specification(&specification, &DocumentMetadata::default()),
            _ => Document::specification(&specification, &DocumentMetadata::default()),
        };
        measure(name, rule, &document);
    }
    let started = Instant::now();
    let document = Document::plan(&plan).with_specification(&specification, &DocumentMetadata::default());
    println!("\nthe documents are made in {:?}", started.elapsed());
    let started = Instant::now();
    for rule in &library {
        black_box(compile(rule).expect("the library is checked by its tests"));
    }
    println!("the library is compiled in {:?}", started.elapsed());
    black_box(document);
}

fn measure(name: &str, rule: &Rule, document: &Document) {
    let program = match compile(rule) {
        Ok(program) => program,
        Err(error) => return println!("{name:<30}{error}"),
    };
    if let Outcome::Failed { why } = program.evaluate(document) {
        return println!("{name:<30}{why}");
    }
    let started = Instant::now();
    let mut one = Duration::MAX;
    while started.elapsed() < Duration::from_secs(2) {
        let start = Instant::now();
        black_box(program.evaluate(black_box(document)));
        one = one.min(start.elapsed());
    }
    let (seconds, cost) = (one.as_secs_f64(), program.cost(document));
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let unit = seconds * 1e9 / cost as f64;
    println!("{name:<30}{:>14.0}{:>14.1?}{cost:>12}{unit:>12.0}", 1.0 / seconds, one);
}

fn rule(scope: Scope, expression: &str) -> Rule {
    Rule {
        name: "costly".into(),
        scope,
        expression: expression.into(),
        message: "-".into(),
        strength: Strength::Should,
        principle: None,
    }
}

fn specification() -> Spec {
    let mut text = String::from("# Feature Specification: Doors\n\n## Requirements\n\n");
    for i in 1..=50 {
        text += &format!(
            "- **FR-{i:03}**: The system MUST open door {i} within two seconds whenever somebody rings its bell\n"
        );
    }
    for i in 1..=10 {
        text += &format!("\n### User Story {i} - Open door {i} (Priority: P1)\n\n**Independent Test**: Ring.\n\n");
        text += "**Acceptance Scenarios**:\n\n1. **Given** a door, **When** somebody rings, **Then** it opens\n";
    }
    speckit::spec::parse(text.as_bytes()).model
}

fn plan() -> PlanInput {
    let tasks = (0..1000_usize).map(|i| TaskInput {
        id: format!("T{i:04}"),
        title: format!("Write the test of door {i} in tests/door_{i}.rs"),
        text: "ring the bell and see that the door opens; wait and see that it closes by itself. ".repeat(5),
        story: format!("US{}", 1 + i % 10),
        depends_on: (i.saturating_sub(3)..i).map(|d| format!("T{d:04}")).collect(),
        ..TaskInput::default()
    });
    PlanInput { name: "doors".into(), tasks: tasks.collect(), parallelism: 10, ..PlanInput::default() }
}
