//! The type check of expressions: every expression has one type, which is known before the evaluation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr};
use regex::RegexBuilder;

use super::expression::similar;
use super::macros::{Body, ListMacro};
use super::model::{MAX_PATTERNS, Scope};
use super::schema::{Record, Type};
use super::value::Pattern;

/// Size classes of a compiled pattern in KiB. The last one is the limit.
const PATTERN_KIB: [usize; 5] = [4, 8, 16, 32, 64];

/// Memory that a pattern may use while it is matched, in bytes: it becomes slower, not wrong, with less.
const PATTERN_CACHE_BYTES: usize = 128 << 10;

/// Problem of an expression.
pub(super) struct Problem {
    /// Id of the node in the syntax tree.
    pub(super) at: u64,
    pub(super) wrong: String,
    pub(super) remedy: String,
}

/// A checked pattern of `matches`.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    pub(super) pattern: Pattern,
    /// Upper bound of its size in memory, in KiB.
    pub(super) kib: u64,
}

/// Results of the check.
#[derive(Default)]
pub(super) struct Checked {
    /// The variables that are read.
    pub(super) reads: BTreeSet<&'static str>,
    /// The patterns of `matches`, by the number in the name of their variable.
    pub(super) patterns: Vec<Matcher>,
    /// Nodes that become another expression: `has(…)`, and patterns.
    pub(super) rewritten: BTreeMap<u64, Expr>,
}

/// Prefix of the names of variables for patterns. Users cannot write it in an expression.
const PATTERN: &str = "@pattern";

/// Returns the number of the pattern in the variable of this name.
pub(super) fn pattern_number(name: &str) -> Option<usize> {
    name.strip_prefix(PATTERN)?.parse().ok()
}

/// Checks an expression for rules of this scope, and that its result is a boolean.
pub(super) fn check(expression: &IdedExpr, scope: Scope) -> Result<Checked, Problem> {
    let mut checker = Checker { scope, variables: Vec::new(), found: Checked::default() };
    match checker.of(expression)? {
        Type::Bool => Ok(checker.found),
        other => Err(Problem {
            at: expression.id,
            wrong: format!("the result is a {other}, not a bool"),
            remedy: "use a comparison: the expression must be true when the rule holds".into(),
        }),
    }
}

struct Checker {
    scope: Scope,
    /// Variables of the enclosing macros, the innermost last.
    variables: Vec<(String, Type)>,
    found: Checked,
}

type Typed = Result<Type, Problem>;

fn problem<T>(at: &IdedExpr, wrong: impl Into<String>, remedy: impl Into<String>) -> Result<T, Problem> {
    Err(Problem { at: at.id, wrong: wrong.into(), remedy: remedy.into() })
}

impl Checker {
    fn of(&mut self, expr: &IdedExpr) -> Typed {
        match &expr.expr {
            Expr::Literal(literal) => literal_type(expr, literal),
            Expr::Ident(name) => self.variable(expr, name),
            Expr::Select(select) => self.select(expr, select),
            Expr::List(list) => self.list(expr, &list.elements),
            Expr::Call(call) => self.call(expr, call),
            Expr::Comprehension(comprehension) => match ListMacro::of(comprehension) {
                Some(each) => self.each(&each),
                None => problem(expr, "this macro is unknown", "use all, exists, exists_one, filter or map"),
            },
            Expr::Map(_) | Expr::Struct(_) => {
                problem(expr, "maps and messages are not supported", "use lists: `x in ['a', 'b']`")
            }
            Expr::Unspecified => problem(expr, "a part of the expression is missing", "complete it"),
        }
    }

    fn variable(&mut self, expr: &IdedExpr, name: &str) -> Typed {
        if let Some((_, of)) = self.variables.iter().rev().find(|(known, _)| known == name) {
            return Ok(*of);
        }
        let seen = self.scope.sees();
        if let Some(scope) = seen.iter().find(|scope| scope.record().name == name) {
            self.found.reads.insert(scope.record().name);
            return Ok(Type::Record(scope.record()));
        }
        let names = seen.iter().map(|scope| scope.record().name);
        let known: Vec<&str> = names.chain(self.variables.iter().map(|(name, _)| name.as_str())).collect();
        let scope = self.scope;
        problem(expr, format!("a rule for a {scope} has no variable `{name}`"), meant(name, &known))
    }

    fn select(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Typed {
        let of = self.of(&select.operand)?;
        let Type::Record(record) = of else {
            let remedy = match of.element() {
                Some(Type::Record(_)) => "test each element with `….all(x, x.…)`, or one element with `…[0]`",
                _ => "only records have fields; functions are called with `()`",
            };
            return problem(expr, format!("a {of} has no field `{}`", select.field), remedy);
        };
        let Some((_, field)) = record.field(&select.field) else {
            let known: Vec<&str> = record.fields.iter().map(|f| f.name).collect();
            let wrong = format!("a {} has no field `{}`", record.name, select.field);
            return problem(expr, wrong, meant(&select.field, &known));
        };
        // `has(x.f)` is replaced by a test of the value, since a missing field has an empty value.
        if !select.test {
            return Ok(field.of);
        }
        let plain = SelectExpr { test: false, ..select.clone() };
        self.found.rewritten.insert(expr.id, present(expr.id, Expr::Select(plain), field.of));
        Ok(Type::Bool)
    }

    fn list(&mut self, expr: &IdedExpr, elements: &[IdedExpr]) -> Typed {
        let Some((first, others)) = elements.split_first() else {
            return problem(expr, "an empty list has no type", "compare the size: `….size() == 0`");
        };
        let of = self.of(first)?;
        for other in others {
            let found = self.of(other)?;
            if found != of {
                return problem(
                    other,
                    format!("the list starts with a {of} and also contains a {found}"),
                    "use one type for all elements",
                );
            }
        }
        listed(expr, of)
    }

    fn each(&mut self, each: &ListMacro) -> Typed {
        let range = self.of(each.range)?;
        let Some(element) = range.element() else {
            return problem(
                each.range,
                format!("a {range} has no elements"),
                "use all, exists, filter and map on lists",
            );
        };
        // The variable is visible only in the body of the macro.
        self.variables.push((each.variable.to_owned(), element));
        let result = match each.body {
            Body::All(body) | Body::Exists(body) | Body::One(body) => self.condition(body).map(|()| Type::Bool),
            Body::Collect { guard, item } => guard
                .map_or(Ok(()), |guard| self.condition(guard))
                .and_then(|()| self.of(item))
                .and_then(|of| listed(item, of)),
        };
        self.variables.pop();
        result
    }

    fn condition(&mut self, expr: &IdedExpr) -> Result<(), Problem> {
        match self.of(expr)? {
            Type::Bool => Ok(()),
            other => problem(expr, format!("a {other} is used where a bool is needed"), "use a comparison"),
        }
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Typed {
        let args = call.target.as_deref().into_iter().chain(&call.args);
        if call.func_name == "matches" {
            return self.matches(expr, call);
        }
        let types: Vec<Type> = args.map(|arg| self.of(arg)).collect::<Result<_, _>>()?;
        let member = call.target.is_some();
        if let Some(result) = result(&call.func_name, member, &types) {
            return Ok(result);
        }
        let list: Vec<String> = types.iter().map(ToString::to_string).collect();
        let name = call.func_name.trim_matches(['_', '@']).replace("_[_", "[…]").replace("_?_:", "?:");
        let wrong =
            format!("`{name}` does not take {}", if list.is_empty() { "nothing".into() } else { list.join(" and ") });
        if call.func_name.contains(['_', '@', '!']) {
            let both = types.first().is_some_and(|first| types.iter().all(|t| t == first));
            let remedy = if both {
                "compare the elements of lists and the fields of records"
            } else {
                "use the same type on both sides: double(…), int(…) and string(…) convert"
            };
            return problem(expr, wrong, remedy);
        }
        if let Some((_, signature)) = SIGNATURES.iter().find(|(known, _)| *known == call.func_name) {
            return problem(expr, wrong, format!("write {signature}"));
        }
        let known: Vec<&str> = SIGNATURES.iter().map(|(name, _)| *name).collect();
        problem(expr, format!("there is no function `{name}`"), meant(&call.func_name, &known))
    }

    /// Checks `text.matches('pattern')`, and compiles the pattern once, within limits.
    fn matches(&mut self, expr: &IdedExpr, call: &CallExpr) -> Typed {
        let (Some(target), [argument]) = (call.target.as_deref(), call.args.as_slice()) else {
            return problem(expr, "`matches` takes a text and a pattern", "write text.matches('pattern')");
        };
        let of = self.of(target)?;
        if of != Type::String {
            return problem(expr, format!("`matches` does not take a {of}"), "write text.matches('pattern')");
        }
        // Only a literal can be compiled and limited here; a computed pattern could have any size.
        let Expr::Literal(LiteralValue::String(source)) = &argument.expr else {
            return problem(argument, "the pattern is not a literal", "write the pattern as a string literal");
        };
        if self.found.patterns.len() == MAX_PATTERNS {
            let remedy = "combine patterns as in `a|b`, or split the rule in two";
            return problem(argument, format!("there are more than {MAX_PATTERNS} patterns"), remedy);
        }
        // Tries the sizes from the smallest, since the first one that suffices bounds the cost of each match.
        let compiled = PATTERN_KIB.iter().map(|kib| {
            RegexBuilder::new(source.inner())
                .size_limit(kib << 10)
                .dfa_size_limit(PATTERN_CACHE_BYTES)
                .nest_limit(64)
                .build()
                .map(|regex| (regex, *kib))
        });
        let mut last = None;
        for result in compiled {
            match result {
                Ok((regex, kib)) => {
                    let name = format!("{PATTERN}{}", self.found.patterns.len());
                    let pattern = Pattern(Arc::new(regex));
                    self.found.patterns.push(Matcher { pattern, kib: kib as u64 });
                    self.found.rewritten.insert(argument.id, Expr::Ident(name));
                    return Ok(Type::Bool);
                }
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(error) => last = Some(error),
            }
        }
        match last {
            None => {
                problem(argument, "the pattern needs too much memory", "repeat less, or write `(?-u:\\w)` for `\\w`")
            }
            Some(error) => {
                // The last line contains the problem; the lines before it show its position.
                let said = error.to_string();
                let said = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                problem(argument, format!("the pattern cannot be read: {said}"), "see https://docs.rs/regex/#syntax")
            }
        }
    }
}

fn literal_type(expr: &IdedExpr, literal: &LiteralValue) -> Typed {
    match literal {
        LiteralValue::Boolean(_) => Ok(Type::Bool),
        LiteralValue::Int(_) => Ok(Type::Int),
        LiteralValue::Double(_) => Ok(Type::Double),
        LiteralValue::String(_) => Ok(Type::String),
        LiteralValue::UInt(_) => problem(expr, "unsigned numbers are not supported", "remove the `u`"),
        LiteralValue::Bytes(_) => problem(expr, "bytes are not supported", "write a string, without the `b`"),
        LiteralValue::Null => problem(
            expr,
            "`null` is not supported: no field is ever null",
            "use `has(…)`, or compare with '': a missing text is empty",
        ),
    }
}

/// Returns the type of a list of elements of type `of`.
fn listed(expr: &IdedExpr, of: Type) -> Typed {
    match of.list() {
        Some(list) => Ok(list),
        None => problem(expr, "lists of lists are not supported", "test the inner list with exists or all instead"),
    }
}

/// Every function that is not an operator, with its signature.
const SIGNATURES: [(&str, &str); 14] = [
    ("size", "text.size() or list.size()"),
    ("contains", "text.contains('part')"),
    ("startsWith", "text.startsWith('part')"),
    ("endsWith", "text.endsWith('part')"),
    ("matches", "text.matches('pattern')"),
    ("lowerAscii", "text.lowerAscii()"),
    ("upperAscii", "text.upperAscii()"),
    ("trim", "text.trim()"),
    ("split", "text.split('separator')"),
    ("join", "texts.join('separator')"),
    ("string", "string(number)"),
    ("int", "int(number)"),
    ("double", "double(number)"),
    ("has", "has(record.field)"),
];

/// Returns the type of a call's result; none if the function does not accept these types.
#[allow(clippy::match_same_arms, reason = "one line for each operator and function")]
fn result(name: &str, member: bool, types: &[Type]) -> Option<Type> {
    use Type::{Bool, Double, Int, String, Strings};
    let scalar = |of: &Type| matches!(of, Bool | Int | Double | String);
    Some(match (name, member, types) {
        (op::LOGICAL_AND | op::LOGICAL_OR, false, [Bool, Bool]) | (op::LOGICAL_NOT, false, [Bool]) => Bool,
        (op::EQUALS | op::NOT_EQUALS, false, [a, b]) if a == b && scalar(a) => Bool,
        (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, false, [a, b]) if a == b && scalar(a) => Bool,
        (op::ADD, false, [a, b]) if a == b && *a != Bool && !matches!(a, Type::Record(_)) => *a,
        (op::SUBSTRACT | op::MULTIPLY | op::DIVIDE, false, [a @ (Int | Double), b]) if a == b => *a,
        (op::MODULO, false, [Int, Int]) => Int,
        (op::NEGATE, false, [a @ (Int | Double)]) => *a,
        (op::CONDITIONAL, false, [Bool, a, b]) if a == b => *a,
        (op::IN, false, [a, list]) if scalar(a) && list.element() == Some(*a) => Bool,
        (op::INDEX, false, [list, Int]) => list.element()?,
        ("size", _, [of]) if *of == String || of.element().is_some() => Int,
        ("contains" | "startsWith" | "endsWith", true, [String, String]) => Bool,
        ("lowerAscii" | "upperAscii" | "trim", true, [String]) => String,
        ("split", true, [String, String]) => Strings,
        ("join", true, [Strings] | [Strings, String]) => String,
        ("string", false, [of]) if scalar(of) => String,
        ("int", false, [Int | Double]) => Int,
        ("double", false, [Int | Double]) => Double,
        _ => return None,
    })
}

/// Returns the expression for `has(…)`, which tests whether a field has a value.
fn present(id: u64, field: Expr, of: Type) -> Expr {
    let node = |expr| IdedExpr { id, expr };
    let call = |name: &str, args: Vec<Expr>| {
        Expr::Call(CallExpr { func_name: name.into(), target: None, args: args.into_iter().map(node).collect() })
    };
    let differs = |from: LiteralValue, field: Expr| call(op::NOT_EQUALS, vec![field, Expr::Literal(from)]);
    match of {
        Type::Bool => field,
        Type::Int => differs(LiteralValue::Int(0.into()), field),
        Type::Double => differs(LiteralValue::Double(0.0.into()), field),
        Type::String => differs(LiteralValue::String("".into()), field),
        Type::Record(Record { fields, .. }) => {
            let first = &fields[0];
            let inner = SelectExpr { operand: Box::new(node(field)), field: first.name.into(), test: false };
            present(id, Expr::Select(inner), first.of)
        }
        _ => differs(LiteralValue::Int(0.into()), call("size", vec![field])),
    }
}

/// Returns the remedy for an unknown name: the most similar known name, or all known names.
fn meant(wrong: &str, known: &[&str]) -> String {
    match similar(wrong, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("use one of {}", known.join(", ")),
    }
}
