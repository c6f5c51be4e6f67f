//! The macros over lists (`all`, `exists`, `exists_one`, `filter`, `map`), recognised in the comprehensions into which the parser expands
//! them.

use cel::IdedExpr;
use cel::common::ast::operators::{ADD, CONDITIONAL, LOGICAL_AND, LOGICAL_OR};
use cel::common::ast::{ComprehensionExpr, Expr};

/// A call of `all`, `exists`, `exists_one`, `filter` or `map`.
pub(super) struct ListMacro<'a> {
    pub(super) range: &'a IdedExpr,
    pub(super) variable: &'a str,
    pub(super) body: Body<'a>,
}

/// The test or the result of each element.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    All(&'a IdedExpr),
    Exists(&'a IdedExpr),
    One(&'a IdedExpr),
    /// `filter` and `map`.
    Collect {
        /// The condition, if there is one.
        guard: Option<&'a IdedExpr>,
        /// The expression whose values are collected.
        item: &'a IdedExpr,
    },
}

impl<'a> ListMacro<'a> {
    /// Recognises the macro. Returns none for any other comprehension.
    pub(super) fn of(comprehension: &'a ComprehensionExpr) -> Option<Self> {
        let Expr::Call(step) = &comprehension.loop_step.expr else {
            return None;
        };
        let body = match (step.func_name.as_str(), step.args.as_slice()) {
            (LOGICAL_AND, [_, body]) => Body::All(body),
            (LOGICAL_OR, [_, body]) => Body::Exists(body),
            (ADD, _) => Body::Collect { guard: None, item: collected(&comprehension.loop_step)? },
            (CONDITIONAL, [guard, step, _]) => match collected(step) {
                Some(item) => Body::Collect { guard: Some(guard), item },
                None => Body::One(guard),
            },
            _ => return None,
        };
        Some(Self { range: &comprehension.iter_range, variable: &comprehension.iter_var, body })
    }
}

/// Returns the element that a step `@result + [element]` adds.
fn collected(step: &IdedExpr) -> Option<&IdedExpr> {
    let Expr::Call(call) = &step.expr else {
        return None;
    };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (ADD, [_, IdedExpr { expr: Expr::List(list), .. }]) => list.elements.first(),
        _ => None,
    }
}

/// Returns the direct children of an expression, mutably.
pub(super) fn children_mut(expr: &mut Expr) -> Vec<&mut IdedExpr> {
    match expr {
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).collect(),
        Expr::Comprehension(c) => {
            vec![&mut c.iter_range, &mut c.accu_init, &mut c.loop_cond, &mut c.loop_step, &mut c.result]
        }
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Select(select) => vec![&mut select.operand],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Map(_) | Expr::Struct(_) => Vec::new(),
    }
}
