//! The upper bound of the cost of an evaluation, computed from the expression and the sizes of the document before the evaluation.
//!
//! A macro costs its body times the length of its list. The first estimate assumes that every element is as large as the largest one. When
//! that exceeds the limit, a second estimate visits each element of the outer list, because elements often differ much in size.

use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, Expr, LiteralValue};
use cel::common::types::CelString;
use cel::common::value::Val;

use super::check::{Matcher, pattern_number};
use super::macros::{Body, ListMacro};
use super::model::MAX_COST;
use super::schema::{Record, Type};
use super::value::{Fields, Items, Value};

/// Bytes of text that are processed for one unit.
const BYTES_PER_UNIT: u64 = 64;
/// Bytes that an element of a list takes in addition to its value.
const ELEMENT_BYTES: u64 = 32;
/// Bytes of the longest number: a double is written without exponent.
const NUMBER_BYTES: u64 = 400;

/// Upper bound of the size of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// A number or boolean, or a value without a known size.
    Plain,
    /// A text of at most this number of bytes.
    Text(u64),
    List(Arc<Listed>),
    /// A record, field by field.
    Record(&'static Record, Arc<[Shape]>),
}

/// Upper bound of the size of a list.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    len: u64,
    /// At least as large as every element.
    element: Shape,
    /// Elements of the list, if it is a list of the document.
    items: Option<Items>,
}

impl PartialEq for Listed {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.element == other.element
    }
}

impl Shape {
    /// Returns the size of a value of a document.
    pub(super) fn of(value: &dyn Val) -> Self {
        if let Some(text) = value.downcast_ref::<CelString>() {
            Self::Text(text.inner().len() as u64)
        } else if let Some(items) = value.downcast_ref::<Items>() {
            let elements = items.0.iter().map(|item: &Value| Self::of(item.as_ref()));
            let element = elements.reduce(Self::or).unwrap_or(Self::Plain);
            Self::list(items.0.len() as u64, element, Some(items.clone()))
        } else if let Some(fields) = value.downcast_ref::<Fields>() {
            Self::Record(fields.record, fields.values.iter().map(|v| Self::of(v.as_ref())).collect())
        } else {
            Self::Plain
        }
    }

    /// Returns the size that a value of this type usually has.
    pub(super) fn usual(of: Type, usual: u64) -> Self {
        match of {
            Type::String => Self::Text(usual),
            Type::Bool | Type::Int | Type::Double => Self::Plain,
            Type::Record(record) => {
                Self::Record(record, record.fields.iter().map(|f| Self::usual(f.of, f.usual)).collect())
            }
            Type::Strings => Self::list(usual, Self::Text(60), None),
            list => Self::list(usual, Self::usual(list.element().unwrap_or(Type::Bool), 0), None),
        }
    }

    fn list(len: u64, element: Self, items: Option<Items>) -> Self {
        Self::List(Arc::new(Listed { len, element, items }))
    }

    /// Returns a shape that is at least as large as both.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Self::Text(a.max(b)),
            (Self::List(a), Self::List(b)) => {
                Self::list(a.len.max(b.len), a.element.clone().or(b.element.clone()), None)
            }
            (Self::Record(record, a), Self::Record(_, b)) => {
                Self::Record(record, a.iter().cloned().zip(b.iter().cloned()).map(|(a, b)| a.or(b)).collect())
            }
            (Self::Plain, other) | (other, _) => other,
        }
    }

    /// Returns the bytes that a copy takes. Records are reference-counted and cost nothing.
    fn bytes(&self) -> u64 {
        match self {
            Self::Plain | Self::Record(..) => 0,
            Self::Text(bytes) => *bytes,
            Self::List(list) => list.len.saturating_mul(list.element.bytes().saturating_add(ELEMENT_BYTES)),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::List(list) => list.len,
            _ => 0,
        }
    }

    fn element(&self) -> Self {
        match self {
            Self::List(list) => list.element.clone(),
            _ => Self::Plain,
        }
    }

    fn field(&self, name: &str) -> Self {
        match self {
            Self::Record(record, shapes) => {
                record.field(name).and_then(|(at, _)| shapes.get(at)).cloned().unwrap_or(Self::Plain)
            }
            _ => Self::Plain,
        }
    }
}

/// Upper bound of the cost of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    /// Units of work; see [`MAX_COST`].
    pub(super) units: u64,
    /// Bytes of the largest intermediate value.
    pub(super) largest: u64,
}

/// Returns the cost of an expression with these variables.
pub(super) fn estimate(expression: &IdedExpr, variables: &[(&str, Shape)], patterns: &[Matcher]) -> Cost {
    let look = |each| {
        let variables = variables.iter().map(|(name, shape)| ((*name).to_owned(), shape.clone())).collect();
        let cost = Cost { units: 0, largest: 0 };
        let mut estimate = Estimate { variables, patterns, times: 1, each, cost };
        estimate.walk(expression);
        estimate.cost
    };
    let cost = look(false);
    if cost.units <= MAX_COST {
        return cost;
    }
    let exact = look(true);
    // The second estimate stops at the limit, so only the first one has a number for the message.
    if exact.units <= MAX_COST { exact } else { cost }
}

struct Estimate<'a> {
    variables: Vec<(String, Shape)>,
    patterns: &'a [Matcher],
    /// Number of evaluations of the current node.
    times: u64,
    /// Whether every element of an outermost list is visited by itself.
    each: bool,
    cost: Cost,
}

impl Estimate<'_> {
    fn pay(&mut self, units: u64) {
        self.cost.units = self.cost.units.saturating_add(units.saturating_mul(self.times));
    }

    /// Adds the cost of reading this number of bytes.
    fn read(&mut self, bytes: u64) {
        self.pay(bytes / BYTES_PER_UNIT);
    }

    /// Adds the cost of creating a value.
    fn made(&mut self, shape: Shape) -> Shape {
        let bytes = shape.bytes();
        self.cost.largest = self.cost.largest.max(bytes);
        self.read(bytes);
        self.pay(shape.len());
        shape
    }

    fn walk(&mut self, expr: &IdedExpr) -> Shape {
        self.pay(1);
        match &expr.expr {
            Expr::Ident(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found.map_or(Shape::Plain, |(_, shape)| shape.clone())
            }
            Expr::Literal(LiteralValue::String(text)) => Shape::Text(text.inner().len() as u64),
            Expr::List(list) => {
                let shapes: Vec<Shape> = list.elements.iter().map(|element| self.walk(element)).collect();
                let len = shapes.len() as u64;
                let element = shapes.into_iter().reduce(Shape::or).unwrap_or(Shape::Plain);
                self.made(Shape::list(len, element, None))
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => {
                ListMacro::of(comprehension).map_or(Shape::Plain, |each| self.each(&each))
            }
            // `rewrite` has replaced every selection by an index.
            Expr::Literal(_) | Expr::Select(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => Shape::Plain,
        }
    }

    fn call(&mut self, call: &CallExpr) -> Shape {
        let args = call.target.as_deref().into_iter().chain(&call.args);
        let shapes: Vec<Shape> = args.map(|arg| self.walk(arg)).collect();
        let bytes = |at: usize| shapes.get(at).map_or(0, Shape::bytes);
        match (call.func_name.as_str(), shapes.as_slice()) {
            (op::ADD, [Shape::Text(a), Shape::Text(b)]) => self.made(Shape::Text(a.saturating_add(*b))),
            (op::ADD, [Shape::List(a), Shape::List(b)]) => {
                let len = a.len.saturating_add(b.len);
                self.made(Shape::list(len, a.element.clone().or(b.element.clone()), None))
            }
            (op::CONDITIONAL, [_, a, b]) => a.clone().or(b.clone()),
            (op::INDEX, [of, Shape::Text(_)]) => match call.args.last().map(|arg| &arg.expr) {
                Some(Expr::Literal(LiteralValue::String(field))) => of.field(field.inner()),
                _ => Shape::Plain,
            },
            (op::INDEX, [list, _]) => list.element(),
            (op::IN, [value, list]) => {
                self.pay(list.len());
                self.read(list.len().saturating_mul(value.bytes()));
                Shape::Plain
            }
            ("matches", [Shape::Text(text), _]) => {
                let pattern = call.args.first().map(|arg| &arg.expr);
                let kib = pattern.and_then(|expr| self.pattern(expr)).unwrap_or(1);
                // At worst, a pattern visits each of its states at each byte.
                self.pay(text.saturating_mul(kib) / 8);
                Shape::Plain
            }
            ("lowerAscii" | "upperAscii" | "trim", [text]) => self.made(text.clone()),
            ("split", [Shape::Text(text), Shape::Text(_)]) => {
                let separator = match call.args.first().map(|arg| &arg.expr) {
                    Some(Expr::Literal(LiteralValue::String(separator))) => separator.inner().len() as u64,
                    _ => 1,
                };
                self.read(*text);
                let len = (text / separator.max(1)).saturating_add(1);
                // The parts together are not larger than the text.
                self.pay(len);
                self.cost.largest = self.cost.largest.max(len.saturating_mul(ELEMENT_BYTES).saturating_add(*text));
                Shape::list(len, Shape::Text(*text), None)
            }
            ("join", [list @ Shape::List(_), ..]) => {
                self.pay(list.len());
                let separators = list.len().saturating_mul(bytes(1));
                self.made(Shape::Text(list.bytes().saturating_add(separators)))
            }
            ("string", [Shape::Text(text)]) => Shape::Text(*text),
            ("string", _) => self.made(Shape::Text(NUMBER_BYTES)),
            // Other functions read their texts; the size of a list is known without reading it.
            _ => {
                let text = |shape: &Shape| if let Shape::Text(bytes) = shape { *bytes } else { 0 };
                self.read(shapes.iter().map(text).fold(0, u64::saturating_add));
                Shape::Plain
            }
        }
    }

    /// Returns the size of the pattern of a variable, in KiB.
    fn pattern(&self, expr: &Expr) -> Option<u64> {
        let Expr::Ident(name) = expr else {
            return None;
        };
        self.patterns.get(pattern_number(name)?).map(|matcher| matcher.kib)
    }

    fn each(&mut self, each: &ListMacro) -> Shape {
        let range = self.walk(each.range);
        let Shape::List(list) = &range else {
            return Shape::Plain;
        };
        // Only the outermost list is visited element by element. To do so for nested lists, too, would cost as much as the evaluation.
        let items = list.items.as_ref().filter(|_| self.each && self.times == 1);
        let Some(items) = items else {
            // The body is visited once, and its cost is multiplied by the number of elements.
            let before = self.times;
            self.times = before.saturating_mul(list.len);
            let item = self.body(each, list.element.clone());
            self.times = before;
            return self.collected(each, list.len, item);
        };
        let mut item = Shape::Plain;
        for element in items.0.iter() {
            // Inside the loop, lists are estimated by their largest element.
            self.each = false;
            item = item.or(self.body(each, Shape::of(element.as_ref())));
            self.each = true;
            if self.cost.units > MAX_COST {
                break;
            }
        }
        self.collected(each, list.len, item)
    }

    /// Adds the cost of one element, and returns the size of the value that is collected from it.
    fn body(&mut self, each: &ListMacro, element: Shape) -> Shape {
        // The element is bound to the variable, and the result kept.
        self.pay(3);
        self.read(element.bytes());
        self.variables.push((each.variable.to_owned(), element));
        let item = match each.body {
            Body::All(body) | Body::Exists(body) | Body::One(body) => {
                self.walk(body);
                Shape::Plain
            }
            Body::Collect { guard, item } => {
                if let Some(guard) = guard {
                    self.walk(guard);
                }
                let item = self.walk(item);
                // The value is copied into a list of one element, and from there into the result.
                self.read(item.bytes().saturating_mul(2));
                item
            }
        };
        self.variables.pop();
        item
    }

    fn collected(&mut self, each: &ListMacro, len: u64, item: Shape) -> Shape {
        match each.body {
            Body::Collect { .. } => {
                let list = Shape::list(len, item, None);
                self.cost.largest = self.cost.largest.max(list.bytes());
                list
            }
            _ => Shape::Plain,
        }
    }
}
