//! Malicious expressions and documents: nothing panics, overflows the stack or takes long.

#[path = "support/stopwatch.rs"]
mod stopwatch;

use std::time::Duration;

use enact_domain::rules::{
    Document, DocumentMetadata, MAX_COST, MAX_DEPTH, MAX_ITEMS, Outcome, PlanInput, Rule, Scope, Strength, TaskInput,
    compile, compile_all,
};
use enact_domain::speckit;
use proptest::prelude::*;
use stopwatch::Stopwatch;

/// The stack size of a test's thread: half of the stack of the operator's threads.
const STACK_BYTES: usize = 1 << 20;
/// The time limit of a compilation or evaluation, for a build without optimisation on a busy machine. A hundredth of it is usual.
const PATIENCE: Duration = Duration::from_secs(20);

fn rule(scope: Scope, expression: &str) -> Rule {
    Rule {
        name: "harm".into(),
        scope,
        expression: expression.into(),
        message: "-".into(),
        strength: Strength::Must,
        principle: None,
    }
}

fn plan(tasks: usize) -> PlanInput {
    let tasks = (0..tasks).map(|i| TaskInput {
        id: format!("T{i}"),
        title: format!("a{i}"),
        text: "ab".repeat(200),
        story: "US1".into(),
        ..TaskInput::default()
    });
    PlanInput { name: "p".into(), tasks: tasks.collect(), ..PlanInput::default() }
}

fn small() -> Document {
    let spec = speckit::spec::parse(b"# Feature Specification: A\n\n- **FR-001**: a MUST b\n").model;
    Document::plan(&plan(3)).with_specification(&spec, &DocumentMetadata::default())
}

/// Compiles an expression, and evaluates it if it is valid, with a small stack and within the time limit.
fn survive(expression: &str) {
    let expression = expression.to_owned();
    let work = move || {
        let started = Stopwatch::start();
        if let Ok(program) = compile(&rule(Scope::Plan, &expression)) {
            program.evaluate(&small());
        }
        assert!(started.elapsed() < PATIENCE, "{:?} for {expression:.200}", started.elapsed());
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread").join().expect("no panic");
}

#[test]
fn nesting_is_bounded_before_recursion() {
    let wrapped = |open: &str, inner: &str, close: &str, n: usize| open.repeat(n) + inner + &close.repeat(n);
    // Depths around the limit, and larger ones up to the limit of length.
    for n in (1..=MAX_DEPTH + 2).chain([100, 500, 1000, 2000]) {
        for expression in [
            wrapped("(", "true", ")", n),
            wrapped("[", "1", "]", n),
            wrapped("{1:", "1", "}", n),
            wrapped("!", "true", "", n),
            wrapped("-", "1", "", n) + " < 0",
            wrapped("!(", "true", ")", n),
            wrapped("size([", "1", "])", n) + " > 0",
            wrapped("true ? true : ", "true", "", n),
            wrapped("true ? ", "true", " : true", n),
            wrapped("true && ", "true", "", n),
            wrapped("true || false && ", "true", "", n),
            wrapped("1 + ", "1", "", n) + " > 0",
            wrapped("'a' in ['a'] == ", "true", "", n),
            "plan".to_owned() + &".name".repeat(n),
            "plan".to_owned() + &".tasks[0]".repeat(n),
            "'a'".to_owned() + &".trim()".repeat(n) + " == 'a'",
            "plan.tasks".to_owned() + &".filter(t, true)".repeat(n) + ".size() > 0",
            wrapped("plan.tasks.all(t, ", "true", ")", n),
            wrapped("[1].exists(x, ", "true", ")", n),
            wrapped("has(", "plan.name", ")", n),
            wrapped("a{", "", "}", n),
            wrapped("\"", "", "", n),
            wrapped("'''", "", "", n),
            wrapped("b\"\\", "", "", n),
            wrapped("`", "", "", n),
        ] {
            if expression.len() <= 4096 {
                survive(&expression);
            }
        }
    }
}

#[test]
fn literals_of_every_size_are_read_or_refused() {
    for expression in [
        "9".repeat(4000) + " > 0",
        "0x".to_owned() + &"f".repeat(4000) + " > 0",
        "1.".to_owned() + &"9".repeat(4000) + " > 0.0",
        "1e".to_owned() + &"9".repeat(4000) + " > 0.0",
        "-9223372036854775808 < 0".into(),
        "-9223372036854775808 / -1 > 0".into(),
        "'".to_owned() + &"ä".repeat(2000) + "' != ''",
        "'".to_owned() + &"\\u00e4".repeat(600) + "' != ''",
        "'\\U0010ffff\\377\\xff\\ud800' == ''".into(),
        "'\\Uffffffff' == ''".into(),
        "b'\\377' == b''".into(),
        "[".to_owned() + &"1,".repeat(2000) + "1].size() > 0",
        "true".to_owned() + &" || true".repeat(500),
        "a".repeat(4096),
        "\0".repeat(4096),
        "\u{202e}\u{feff}true".into(),
        "true //".to_owned() + &"(".repeat(4000),
    ] {
        survive(&expression);
    }
}

#[test]
fn texts_do_not_grow_without_bound() {
    for times in 1..12 {
        let grown = |inner: String, _| format!("[{inner}].map(x, x+x+x+x+x+x+x+x)[0]");
        survive(&((0..times).fold("plan.tasks[0].text".to_owned(), grown) + ".size() > 0"));
        let joined = |inner: String, _| format!("[{inner}].map(x, plan.tasks.map(t, x).join(x))[0]");
        survive(&((0..times).fold("plan.tasks[0].text".to_owned(), joined) + ".size() > 0"));
        let lists = |inner: String, _| format!("({inner} + {inner})");
        survive(&((0..times.min(7)).fold("[1, 2]".to_owned(), lists) + ".size() > 0"));
        let nested = (0..times).fold("true".to_owned(), |inner, i| format!("[1,2,3,4,5,6,7,8,9].all(x{i}, {inner})"));
        survive(&nested);
    }
}

/// Evaluates a rule on a large plan, within the time limit.
fn on_a_large_plan(expression: &str) -> Outcome {
    let program = compile(&rule(Scope::Plan, expression)).expect("well formed");
    let document = Document::plan(&plan(5000));
    let started = Stopwatch::start();
    let outcome = program.evaluate(&document);
    assert!(started.elapsed() < PATIENCE, "{:?} for {expression}", started.elapsed());
    outcome
}

#[test]
fn nested_loops_over_5000_tasks_are_rejected() {
    for expression in [
        "plan.tasks.all(t, plan.tasks.exists(o, o.id == t.id))",
        "plan.tasks.filter(t, plan.tasks.filter(o, o.id == t.id).size() > 1).size() == 0",
        "plan.tasks.map(t, t.text).all(x, plan.tasks.map(t, t.text).exists(y, x == y))",
        "plan.tasks.map(t, t.text).join().split('').size() > 0",
        "plan.tasks.map(t, t.text + t.text + t.text).join(' ').contains('x')",
        r"plan.tasks.all(t, t.text.matches('(a|b)*a(a|b){60}c') || t.id in plan.tasks.map(o, o.id))",
    ] {
        // A rule that is too expensive for usual plans is refused at compilation. Others are refused for this document.
        let why = match compile(&rule(Scope::Plan, expression)) {
            Err(refused) => refused.problem,
            Ok(_) => match on_a_large_plan(expression) {
                Outcome::Failed { why } => why,
                other => panic!("{expression}: {other:?}"),
            },
        };
        assert!(why.contains("may cost") || why.contains("may create"), "{expression}: {why}");
    }
}

#[test]
fn one_loop_over_5000_tasks_is_allowed() {
    assert_eq!(on_a_large_plan("plan.tasks.all(t, t.title.startsWith('a') && !has(t.phase))"), Outcome::Holds);
    let Outcome::Violated { items, .. } = on_a_large_plan("plan.tasks.all(t, t.title == 'b')") else {
        panic!("no task has this title");
    };
    assert_eq!(items.len(), MAX_ITEMS);
}

#[test]
fn patterns_that_backtrack_elsewhere_are_linear_here() {
    let mut plan = plan(1);
    plan.tasks[0].text = "a".repeat(60_000);
    let document = Document::plan(&plan);
    for pattern in ["(a+)+b", "(a|a)*b", "(a*)*b", "a*a*a*a*a*a*b", "(?:a?){40}a{40}b", "[ab]*a[ab]{200}b"] {
        let program = compile(&rule(Scope::Plan, &format!("plan.tasks.all(t, !t.text.matches('{pattern}'))"))).unwrap();
        let started = Stopwatch::start();
        assert_eq!(program.evaluate(&document), Outcome::Holds, "{pattern}");
        assert!(started.elapsed() < PATIENCE, "{:?} for {pattern}", started.elapsed());
    }
    for pattern in ["(a{1000}){1000}", "\\\\pL{500}", "(((((a{9}){9}){9}){9}){9}){9}"] {
        let refused = compile(&rule(Scope::Plan, &format!("plan.name.matches('{pattern}')"))).unwrap_err();
        assert!(refused.problem.contains("too much memory"), "{refused}");
    }
    let deep = format!("plan.name.matches('{}a{}')", "(?:".repeat(500), ")".repeat(500));
    assert!(compile(&rule(Scope::Plan, &deep)).unwrap_err().problem.contains("cannot be read"));
}

#[test]
fn what_is_affordable_is_done_in_time() {
    // The most expensive case that is allowed: the largest of these plans on which the rule is still evaluated.
    for expression in [
        "plan.tasks.all(t, plan.tasks.exists(o, o.id == 'none' + t.id) || true)",
        "plan.tasks.all(t, t.text.split('a').all(w, w == 'b' || w == ''))",
        "plan.tasks.all(t, !t.text.matches('[ab]*a[ab]{900}c'))",
        "plan.tasks.map(t, t.text + t.text).all(x, x.lowerAscii().upperAscii() != 'c')",
    ] {
        let program = compile(&rule(Scope::Plan, expression)).unwrap();
        let documents = [5000, 2500, 1200, 600, 400, 200, 100].map(|n| Document::plan(&plan(n)));
        let document = documents.iter().find(|d| program.cost(d) <= MAX_COST).unwrap();
        let started = Stopwatch::start();
        assert_eq!(program.evaluate(document), Outcome::Holds, "{expression}");
        assert!(started.elapsed() < PATIENCE, "{:?} for {expression}", started.elapsed());
    }
}

#[test]
fn a_failure_does_not_contain_the_document() {
    let program = compile(&rule(Scope::Plan, "plan.tasks[4].id == plan.tasks.map(t, t.text).join()")).unwrap();
    let Outcome::Failed { why } = program.evaluate(&Document::plan(&plan(3))) else {
        panic!("there are three tasks");
    };
    assert!(why.len() < 400, "{why}");
}

#[test]
fn what_a_violation_names_is_short_and_harmless() {
    let mut plan = plan(1);
    plan.tasks[0].id = "\u{1b}[2J".to_owned() + &"x".repeat(5000);
    let program = compile(&rule(Scope::Plan, "plan.tasks.all(t, t.title == '')")).unwrap();
    let Outcome::Violated { items, .. } = program.evaluate(&Document::plan(&plan)) else {
        panic!("the task has a title");
    };
    assert!(items[0].starts_with(" [2Jxxx") && items[0].len() == 120, "{items:?}");
}

/// Tokens of CEL, valid and invalid ones.
const WORDS: &[&str] = &[
    "plan",
    "specification",
    "tasks",
    "t",
    "title",
    "text",
    "requirements",
    "true",
    "false",
    "null",
    "in",
    "has",
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
    "size",
    "matches",
    "contains",
    "split",
    "join",
    "string",
    "int",
    "'a'",
    "\"b\"",
    "'''",
    "r'\\'",
    "b'x'",
    "1",
    "-1",
    "2.5",
    "3u",
    "0x7f",
    "9223372036854775807",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "?",
    ":",
    "&&",
    "||",
    "!",
    "==",
    "!=",
    "<",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "=",
    "&",
    "|",
    "`",
    "\\",
    "//",
    "\n",
    " ",
    "ä",
    "\u{0}",
    "plan.tasks.all(t, ",
    "plan.tasks.map(t, t.",
    "[1, 2].exists(x, ",
    "optional.of(",
    "@result",
    "dyn(",
    "type(",
    ".?a",
    "[?0]",
    "return",
    "Msg{a: 1}",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![8 => proptest::sample::select(WORDS).prop_map(|word| (*word).to_owned()), 1 => "\\PC{0,4}"]
}

/// Generates expressions that are well typed in most cases.
fn expression() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just("plan.name".to_owned()),
        Just("'ab'".to_owned()),
        Just("plan.tasks[0].title".to_owned()),
        Just("specification.requirements.map(r, r.id).join(',')".to_owned()),
    ];
    let text = text.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
            inner.clone().prop_map(|a| format!("{a}.lowerAscii()")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}.split({b}).join('-')")),
            inner.prop_map(|a| format!("[{a}].map(y, y + y)[0]")),
        ]
    });
    let truth = (text.clone(), text.clone(), 0..5usize).prop_map(|(a, b, kind)| match kind {
        0 => format!("{a} == {b}"),
        1 => format!("{a}.contains({b})"),
        2 => format!("{a} in [{b}, {a}]"),
        3 => format!("{a}.size() >= {b}.size()"),
        _ => format!("{a}.matches('^a?b+$')"),
    });
    truth.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.clone().prop_map(|a| format!("plan.tasks.all(t, t.title != plan.name || {a})")),
            inner.clone().prop_map(|a| format!("[1, 2].exists(i, {a})")),
            inner.prop_map(|a| format!("plan.decisions.filter(d, {a}).size() == 0")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn no_soup_of_words_does_harm(pieces in proptest::collection::vec(piece(), 0..60)) {
        let started = Stopwatch::start();
        let expression = pieces.concat();
        if let Ok(program) = compile(&rule(Scope::Plan, &expression)) {
            program.evaluate(&small());
        }
        prop_assert!(started.elapsed() < PATIENCE, "{:?} for {expression}", started.elapsed());
    }

    #[test]
    fn no_soup_of_characters_does_harm(expression in "\\PC{0,200}|[\\x00-\\x7f]{0,200}") {
        if let Err(error) = compile(&rule(Scope::Plan, &expression)) {
            prop_assert!(error.line >= 1 && error.column >= 1);
            prop_assert!(error.to_string().len() < 2000, "{error}");
            prop_assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }

    /// Checks that a compiled expression has no type errors: its evaluation can only fail because of its cost.
    #[test]
    fn what_is_well_typed_is_evaluated(expression in expression()) {
        if let Ok(program) = compile(&rule(Scope::Plan, &expression)) {
            match program.evaluate(&small()) {
                Outcome::Holds | Outcome::Violated { .. } => {}
                Outcome::Failed { why } => prop_assert!(why.contains("may cost") || why.contains("may create"), "{why}"),
            }
        }
    }
}

#[test]
fn the_generator_of_expressions_makes_programs() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let made = (0..200).filter(|_| {
        let tree = expression().new_tree(&mut runner).unwrap();
        compile(&rule(Scope::Plan, &tree.current())).is_ok()
    });
    assert!(made.count() > 100);
}

#[test]
fn all_mistakes_of_many_rules_are_reported() {
    let rules: Vec<Rule> = (0..64).map(|i| Rule { name: format!("r{i}"), ..rule(Scope::Plan, "plan.") }).collect();
    let started = Stopwatch::start();
    assert_eq!(compile_all(&rules).unwrap_err().len(), 64);
    assert!(started.elapsed() < PATIENCE);
}
