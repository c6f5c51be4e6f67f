//! Compiles rules to programs, and evaluates programs on documents.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, Expr, LiteralValue};
use cel::common::types::{CelBool, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};

use super::check::{self, Checked, Matcher, pattern_number};
use super::cost::{self, Shape};
use super::document::Document;
use super::expression;
use super::macros::{Body, ListMacro, children_mut};
use super::model::{
    MAX_COST, MAX_DEPTH, MAX_EXPRESSION_BYTES, MAX_ITEMS, MAX_MESSAGE_BYTES, MAX_PRINCIPLE_BYTES, MAX_RULES,
    MAX_TOTAL_COST, MAX_VALUE_BYTES, Rule, RuleError, Scope,
};
use super::schema::Type;
use super::value::Fields;
use crate::names::is_label;
use crate::text::truncated;

/// Maximum length of a reason of a failed evaluation, in bytes.
const MAX_WHY_BYTES: usize = 256;
/// Maximum length of a name of an item of a violation, in bytes.
const MAX_ITEM_BYTES: usize = 120;

static ENV: LazyLock<Result<Arc<Env>, String>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    super::value::extend(&mut env).map_err(|e| e.to_string())?;
    Ok(Arc::new(env))
});

/// A rule that was checked. Cheap to evaluate many times, from many threads.
#[derive(Clone, Debug)]
pub struct Program {
    rule: Rule,
    expression: Arc<IdedExpr>,
    patterns: Vec<Matcher>,
    needs: RequiredDocuments,
}

/// The documents that an expression reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "four documents, each read or not")]
pub struct RequiredDocuments {
    pub constitution: bool,
    pub specification: bool,
    pub plan: bool,
    pub task: bool,
}

impl RequiredDocuments {
    /// Returns whether the expression reads this document.
    pub fn reads(self, scope: Scope) -> bool {
        match scope {
            Scope::Constitution => self.constitution,
            Scope::Specification => self.specification,
            Scope::Plan => self.plan,
            Scope::Task => self.task,
        }
    }

    /// Returns whether the expression reads no other document than the one of this scope.
    pub fn only(self, scope: Scope) -> bool {
        scope.sees().iter().all(|other| *other == scope || !self.reads(*other))
    }
}

/// The cost limit of related evaluations, for example of all rules on a plan and its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    left: u64,
    /// Names of the rules that cost too much.
    refused: BTreeSet<String>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: MAX_TOTAL_COST, refused: BTreeSet::new() }
    }
}

impl Budget {
    /// Returns whether the rule has exceeded the budget before. Callers then skip it for further tasks, since the estimate of its cost
    /// takes time, too.
    pub fn refuses(&self, program: &Program) -> bool {
        self.refused.contains(&program.rule.name)
    }

    fn refuse(&mut self, program: &Program) {
        self.refused.insert(program.rule.name.clone());
    }

    /// Spends `units`, or returns false and spends nothing if fewer are left.
    fn spend(&mut self, units: u64) -> bool {
        let left = self.left.checked_sub(units);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// The result of the evaluation of a rule on a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The document meets the rule.
    Holds,
    /// The document violates the rule.
    Violated {
        /// The rule's message.
        message: String,
        /// The elements that violate the rule, by id, key, name or title, if the expression identifies them. At most [`MAX_ITEMS`].
        items: Vec<String>,
    },
    /// The evaluation failed. For a MUST rule, this blocks like a violation.
    Failed { why: String },
}

/// Checks a rule.
///
/// # Errors
/// The first of these problems: it is malformed, reads data that documents do not have, is not of type bool, or costs too much.
pub fn compile(rule: &Rule) -> Result<Program, RuleError> {
    let wrong = |offset: usize, problem: String, remedy: &str| {
        let (line, column) = expression::place(&rule.expression, offset);
        Err(RuleError { rule: rule.name.clone(), line, column, problem, remedy: remedy.into() })
    };
    // The limits of depth and size come first: they protect the parser and the type check, which are recursive.
    if let Some((offset, problem, remedy)) = out_of_bounds(rule) {
        return wrong(offset, problem, &remedy);
    }
    let env = match &*ENV {
        Ok(env) => env,
        Err(why) => return wrong(0, format!("the expression library cannot be used: {why}"), "report this as a bug"),
    };
    let (mut expression, info) = match env.parser().parse_with_source_info(&rule.expression) {
        Ok(parsed) => parsed,
        Err(errors) => return Err(syntax_error(rule, &errors)),
    };
    let offset =
        |id: u64| expression::token(&rule.expression, info.offset_for(id).map_or(0, |(start, _)| start as usize));
    let Checked { reads, patterns, mut rewritten } = match check::check(&expression, rule.scope) {
        Ok(checked) => checked,
        Err(found) => return wrong(offset(found.at), found.wrong, &found.remedy),
    };
    rewrite(&mut expression, &mut rewritten);
    // A rule that is too expensive on a usual document is rejected now, not at its first evaluation.
    let usual: Vec<(&str, Shape)> = rule
        .scope
        .sees()
        .iter()
        .map(|scope| (scope.record().name, Shape::usual(Type::Record(scope.record()), 1)))
        .collect();
    let cost = cost::estimate(&expression, &usual, &patterns);
    if cost.units > MAX_COST || cost.largest > MAX_VALUE_BYTES {
        let (problem, remedy) = too_costly(cost, "on documents of usual size");
        return wrong(0, problem, &remedy);
    }
    let needs = RequiredDocuments {
        constitution: reads.contains(Scope::Constitution.record().name),
        specification: reads.contains(Scope::Specification.record().name),
        plan: reads.contains(Scope::Plan.record().name),
        task: reads.contains(Scope::Task.record().name),
    };
    Ok(Program { rule: rule.clone(), expression: Arc::new(expression), patterns, needs })
}

/// Returns the problem of a rule that is found before its expression is parsed: the byte, the problem and the remedy.
fn out_of_bounds(rule: &Rule) -> Option<(usize, String, String)> {
    let bytes = rule.expression.len();
    if !is_label(&rule.name) {
        let remedy = "use at most 63 characters of a-z, 0-9 and -, with a letter or digit at both ends";
        Some((0, format!("{:?} is not a valid name of a rule", cut(&rule.name, 63)), remedy.into()))
    } else if rule.message.trim().is_empty() || rule.message.len() > MAX_MESSAGE_BYTES {
        let remedy = format!("state in 1 to {MAX_MESSAGE_BYTES} bytes what a person should do");
        Some((0, format!("the message has {} bytes", rule.message.len()), remedy))
    } else if rule.principle.as_ref().is_some_and(|principle| principle.len() > MAX_PRINCIPLE_BYTES) {
        let remedy = format!("use at most {MAX_PRINCIPLE_BYTES} bytes");
        Some((0, "the name of the principle is too long".into(), remedy))
    } else if rule.expression.trim().is_empty() {
        Some((0, "the expression is empty".into(), "write a CEL expression".into()))
    } else if bytes > MAX_EXPRESSION_BYTES {
        let remedy = format!("use at most {MAX_EXPRESSION_BYTES}, or split the rule in two");
        Some((0, format!("the expression has {bytes} bytes"), remedy))
    } else {
        let at = expression::too_deep(&rule.expression)?;
        let remedy = format!("nest at most {MAX_DEPTH} brackets and operators, or split the rule in two");
        Some((at, "the expression nests too deeply".into(), remedy))
    }
}

/// Checks the rules of a constitution.
///
/// # Errors
/// The first problem of every rule, names that occur twice, and more rules than [`MAX_RULES`].
pub fn compile_all(rules: &[Rule]) -> Result<Vec<Program>, Vec<RuleError>> {
    let mut errors = Vec::new();
    let mut programs = Vec::new();
    let mut names = BTreeSet::new();
    let of = |rule: &Rule, problem: String, remedy: &str| RuleError {
        rule: rule.name.clone(),
        line: 1,
        column: 1,
        problem,
        remedy: remedy.into(),
    };
    if let Some(rule) = rules.get(MAX_RULES) {
        errors.push(of(rule, format!("there are {} rules", rules.len()), &format!("keep at most {MAX_RULES}")));
    }
    for rule in rules.iter().take(MAX_RULES) {
        if !names.insert(&rule.name) {
            errors.push(of(rule, "another rule has the same name".into(), "rename one of them"));
        }
        match compile(rule) {
            Ok(program) => programs.push(program),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(programs) } else { Err(errors) }
}

fn syntax_error(rule: &Rule, errors: &cel::ParseErrors) -> RuleError {
    let first = errors.errors.first();
    let said = first.map_or("it cannot be read", |e| e.msg.as_str());
    let said = said.strip_prefix("Syntax error: ").unwrap_or(said);
    let (line, column) = first.map_or((1, 1), |e| e.pos);
    RuleError {
        rule: rule.name.clone(),
        line: u32::try_from(line).unwrap_or(1).max(1),
        column: u32::try_from(column).unwrap_or(1).max(1),
        problem: format!("syntax error: {}", cut(said, MAX_WHY_BYTES)),
        remedy: "see https://cel.dev for the language".into(),
    }
}

fn too_costly(cost: cost::Cost, on: &str) -> (String, String) {
    if cost.units > MAX_COST {
        let problem = format!("the rule may cost {} units {on}, and at most {MAX_COST} are allowed", cost.units);
        (problem, "nest fewer macros over lists, or read less text".into())
    } else {
        let problem = format!(
            "the rule may create a value of {} bytes {on}, and at most {MAX_VALUE_BYTES} are allowed",
            cost.largest
        );
        (problem, "concatenate less text".into())
    }
}

/// Replaces the nodes that the type check rewrote, and `a.b` by `a['b']`: the library first tries to resolve `a.b` as the name of a
/// variable, which takes half of the evaluation time.
fn rewrite(expression: &mut IdedExpr, rewritten: &mut std::collections::BTreeMap<u64, Expr>) {
    for child in children_mut(&mut expression.expr) {
        rewrite(child, rewritten);
    }
    if let Some(new) = rewritten.remove(&expression.id) {
        expression.expr = new;
    }
    if let Expr::Select(select) = &mut expression.expr {
        let field = LiteralValue::String(std::mem::take(&mut select.field).into());
        let field = IdedExpr { id: expression.id, expr: Expr::Literal(field) };
        let args = vec![std::mem::take(&mut *select.operand), field];
        expression.expr = Expr::Call(CallExpr { func_name: op::INDEX.into(), target: None, args });
    }
}

/// Truncates a text and replaces its control characters.
fn cut(text: &str, bytes: usize) -> String {
    truncated(text, bytes).replace(char::is_control, " ")
}

/// The variables of one evaluation.
struct Variables<'a> {
    document: &'a Document,
    patterns: &'a [Matcher],
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        match pattern_number(name) {
            Some(number) => self.patterns.get(number).map(|matcher| CowVal::Borrowed(&matcher.pattern as &dyn Val)),
            None => self.document.find(name).map(|shown| CowVal::Borrowed(shown.value.as_ref())),
        }
    }
}

impl Program {
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Returns the documents that the expression reads.
    pub fn needs(&self) -> RequiredDocuments {
        self.needs
    }

    /// Returns the upper bound of the cost of an evaluation on this document, in units as in [`MAX_COST`].
    pub fn cost(&self, document: &Document) -> u64 {
        self.estimate(document).units
    }

    fn estimate(&self, document: &Document) -> cost::Cost {
        let shapes: Vec<(&str, Shape)> =
            document.shown.iter().map(|shown| (shown.scope.record().name, shown.shape.clone())).collect();
        cost::estimate(&self.expression, &shapes, &self.patterns)
    }

    /// Evaluates the rule on a document.
    pub fn evaluate(&self, document: &Document) -> Outcome {
        self.evaluate_within(document, &mut Budget::default())
    }

    /// Evaluates the rule as one of many evaluations that share a budget.
    pub fn evaluate_within(&self, document: &Document, budget: &mut Budget) -> Outcome {
        let failed = |why: String| Outcome::Failed { why: format!("rule {:?}: {why}", self.rule.name) };
        if document.scope != self.rule.scope {
            return failed(format!("it applies to a {}, and this document is a {}", self.rule.scope, document.scope));
        }
        let missing = |scope: &&Scope| self.needs.reads(**scope) && document.find(scope.record().name).is_none();
        if let Some(scope) = self.rule.scope.sees().iter().find(missing) {
            return failed(format!("it reads the {}, which is not available here", scope.record().name));
        }
        // Agents write the document, so its cost is estimated before the evaluation and not measured during it.
        let cost = self.estimate(document);
        if cost.units > MAX_COST || cost.largest > MAX_VALUE_BYTES {
            budget.refuse(self);
            let (problem, remedy) = too_costly(cost, "on this document");
            return failed(format!("{problem}; {remedy}"));
        }
        if !budget.spend(cost.units) {
            budget.refuse(self);
            let remedy = "read fewer lists, or move the check from a rule for Tasks to a rule for Plans";
            return failed(format!(
                "together with the evaluations before it, it may cost more than {MAX_TOTAL_COST} units; {remedy}"
            ));
        }
        let Ok(env) = &*ENV else {
            return failed("the expression library cannot be used".into());
        };
        let variables = Variables { document, patterns: &self.patterns };
        let mut context = Context::with_env(Arc::clone(env));
        context.set_variable_resolver(&variables);
        match truth(&self.expression, &context) {
            Ok(true) => Outcome::Holds,
            Ok(false) => {
                let mut items = Vec::new();
                // An error here only leaves out names: the violation itself is already known.
                let _ = offenders(&self.expression, true, &context, &mut items);
                Outcome::Violated { message: self.rule.message.clone(), items }
            }
            Err(error) => failed(reason(&error)),
        }
    }
}

/// Returns a short error for a person. The error of the library may contain a whole document.
fn reason(error: &ExecutionError) -> String {
    match error {
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "a number is divided by zero".into(),
        ExecutionError::Overflow(..) => "a number becomes too large".into(),
        ExecutionError::IndexOutOfBounds(_) => "a list has fewer elements than the rule expects".into(),
        other => cut(&other.to_string(), MAX_WHY_BYTES),
    }
}

fn truth(expression: &IdedExpr, context: &Context) -> Result<bool, ExecutionError> {
    let value = Value::resolve_val(expression, context)?;
    let truth = value.downcast_ref::<CelBool>().map(|b| *b.inner());
    truth.ok_or_else(|| ExecutionError::function_error("rule", "the result is not a bool"))
}

/// Collects the names of the elements because of which `expression` does not have the value `wanted`.
fn offenders(
    expression: &IdedExpr,
    wanted: bool,
    context: &Context,
    items: &mut Vec<String>,
) -> Result<(), ExecutionError> {
    match &expression.expr {
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            // `!x` is false where `x` is true, so the elements are searched for the opposite value.
            (op::LOGICAL_NOT, [inner]) => offenders(inner, !wanted, context, items),
            (op::LOGICAL_AND | op::LOGICAL_OR, sides) => {
                for side in sides {
                    // Only the sides with the wrong value explain the result.
                    if truth(side, context)? != wanted {
                        offenders(side, wanted, context, items)?;
                    }
                }
                Ok(())
            }
            (op::CONDITIONAL, [condition, yes, no]) => {
                offenders(if truth(condition, context)? { yes } else { no }, wanted, context, items)
            }
            // A list that must be empty: each element violates the rule.
            (op::EQUALS, [size, zero]) if wanted && is_zero(zero) => match measured(size) {
                Some(list) => collect(list, None, context, items),
                None => Ok(()),
            },
            _ => Ok(()),
        },
        Expr::Comprehension(comprehension) => match ListMacro::of(comprehension) {
            Some(ListMacro { range, variable, body: Body::All(body) }) if wanted => {
                collect(range, Some((variable, body, false)), context, items)
            }
            Some(ListMacro { range, variable, body: Body::Exists(body) }) if !wanted => {
                collect(range, Some((variable, body, true)), context, items)
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn is_zero(expr: &IdedExpr) -> bool {
    expr.expr == Expr::Literal(LiteralValue::Int(0.into()))
}

/// Returns the list of `list.size()` and `size(list)`.
fn measured(expr: &IdedExpr) -> Option<&IdedExpr> {
    match &expr.expr {
        Expr::Call(call) if call.func_name == "size" => call.target.as_deref().or(call.args.first()),
        _ => None,
    }
}

/// Collects the names of the elements of `range`: all, or those for which a condition has the given result.
fn collect(
    range: &IdedExpr,
    condition: Option<(&str, &IdedExpr, bool)>,
    context: &Context,
    items: &mut Vec<String>,
) -> Result<(), ExecutionError> {
    let list = Value::resolve_val(range, context)?;
    let Some(list) = list.as_iterable() else {
        return Ok(());
    };
    let mut elements = list.iter();
    while let Some(element) = elements.next() {
        if items.len() >= MAX_ITEMS {
            return Ok(());
        }
        if let Some((variable, body, guilty)) = condition {
            let mut inner = context.new_inner_scope();
            inner.add_variable_as_val(variable, element.clone_as_boxed());
            if truth(body, &inner)? != guilty {
                continue;
            }
        }
        if let Some(name) = name(element).filter(|name| !items.contains(name)) {
            items.push(name);
        }
    }
    Ok(())
}

/// Returns the name of an element for a person: a text itself, or the first field of a record.
fn name(element: &dyn Val) -> Option<String> {
    let first = match element.downcast_ref::<Fields>() {
        Some(fields) => fields.values.first()?.as_ref(),
        None => element,
    };
    let text = first.downcast_ref::<CelString>()?.inner().trim();
    (!text.is_empty()).then(|| cut(text, MAX_ITEM_BYTES))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::{PlanInput, Strength, TaskInput};

    /// Expressions that make texts, most of them long.
    fn text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("plan.tasks[0].title".to_owned()),
            Just("plan.tasks[1].text".to_owned()),
            Just("'a, b'".to_owned()),
            Just("''".to_owned()),
            Just("string(1.5e300)".to_owned()),
        ];
        leaf.prop_recursive(4, 16, 3, |inner| {
            let two = (inner.clone(), inner.clone());
            prop_oneof![
                two.clone().prop_map(|(a, b)| format!("({a} + {b})")),
                two.clone().prop_map(|(a, b)| format!("{a}.split({b}).join({a})")),
                two.clone().prop_map(|(a, b)| format!("plan.tasks.map(t, t.text + {a}).join({b})")),
                two.clone().prop_map(|(a, b)| format!("[{a}, {b}].map(y, y + {a}).join(',')")),
                two.clone().prop_map(|(a, b)| format!("({a} == {b} ? {a} : {b})")),
                two.clone().prop_map(|(a, b)| format!("({a}.split(',') + [{b}]).filter(z, z != '').join({b})")),
                two.prop_map(|(a, b)| format!("plan.tasks.map(t, t.title != '', {a}).map(u, u + {b})[0]")),
                inner.prop_map(|a| format!("{a}.upperAscii().trim()")),
            ]
        })
    }

    fn document() -> Document {
        let task =
            |title: &str, text: &str| TaskInput { title: title.into(), text: text.into(), ..TaskInput::default() };
        let tasks = vec![task("x, y", ""), task("", &"long, text ".repeat(9)), task("ä", "ö")];
        Document::plan(&PlanInput { name: "p".into(), tasks, ..PlanInput::default() })
    }

    proptest! {
        /// The memory limit is effective only if no value is larger than its estimate.
        #[test]
        fn no_text_is_larger_than_was_estimated(text in text()) {
            let rule = Rule {
                name: "size".into(),
                scope: Scope::Plan,
                expression: format!("({text} + '').size() >= 0"),
                message: "-".into(),
                strength: Strength::Must,
                principle: None,
            };
            let document = document();
            let Ok(program) = compile(&rule) else { return Ok(()) };
            let cost = program.estimate(&document);
            if cost.units > MAX_COST || cost.largest > MAX_VALUE_BYTES {
                return Ok(());
            }
            let Expr::Call(comparison) = &program.expression.expr else { unreachable!() };
            let made = measured(&comparison.args[0]).unwrap();
            let variables = Variables { document: &document, patterns: &[] };
            let mut context = Context::with_env(Arc::clone(ENV.as_ref().unwrap()));
            context.set_variable_resolver(&variables);
            match Value::resolve_val(made, &context) {
                Ok(value) => {
                    let bytes = value.downcast_ref::<CelString>().unwrap().inner().len() as u64;
                    prop_assert!(bytes <= cost.largest, "{bytes} > {} for {text}", cost.largest);
                    prop_assert!(bytes / 64 <= cost.units, "{bytes} bytes for {} units: {text}", cost.units);
                }
                Err(error) => prop_assert!(matches!(error, ExecutionError::IndexOutOfBounds(_)), "{error}"),
            }
        }
    }
}
