//! The values of a document, as the evaluation sees them: cheap to copy, and bound to the types of [`super::schema`].

use std::any::Any;
use std::sync::Arc;

use cel::ExecutionError;
use cel::common::traits::{Adder, Container, Indexer, Iterable, Iterator as Elements, Sizer};
use cel::common::types::{CelBool, CelInt, CelList, CelString, LIST_TYPE, STRING_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use regex::Regex;

use super::schema::Record;

/// A value of any type.
pub(super) type Value = Box<dyn Val>;

static RECORD_TYPE: Type = Type::new_unspecified_type("record");
static PATTERN_TYPE: Type = Type::new_unspecified_type("pattern");

/// A record: the values of its fields, in the order of its schema.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) record: &'static Record,
    pub(super) values: Arc<[Value]>,
}

impl Val for Fields {
    fn get_type(&self) -> &Type {
        &RECORD_TYPE
    }

    fn cel_type() -> &'static Type {
        &RECORD_TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Fields {}

impl Indexer for Fields {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = key.downcast_ref::<CelString>().map(CelString::inner).unwrap_or_default();
        let (at, _) = self.record.field(name).ok_or_else(|| ExecutionError::no_such_key(name))?;
        self.values.get(at).map(|v| CowVal::Borrowed(v.as_ref())).ok_or_else(|| ExecutionError::no_such_key(name))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

/// A list. The library's own list copies every element, this one only increments a reference count.
#[derive(Clone, Debug)]
pub(super) struct Items(pub(super) Arc<[Value]>);

impl Val for Items {
    fn get_type(&self) -> &Type {
        &LIST_TYPE
    }

    fn cel_type() -> &'static Type {
        &LIST_TYPE
    }

    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Items {}

impl Adder for Items {
    fn add<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let mut sum: Vec<Box<dyn Val + 'v>> = self.0.iter().map(|v| v.clone_as_boxed()).collect();
        if let Some(other) = other.as_iterable() {
            let mut elements = other.iter();
            while let Some(element) = elements.next() {
                sum.push(element.clone_as_boxed());
            }
        }
        Ok(CowVal::owned(CelList::from(sum)))
    }
}

impl Container for Items {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.0.iter().any(|element| element.equals(value)))
    }
}

impl Indexer for Items {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let index = index.downcast_ref::<CelInt>().map_or(-1, |i| *i.inner());
        let found = usize::try_from(index).ok().and_then(|i| self.0.get(i));
        found.map(|v| CowVal::Borrowed(v.as_ref())).ok_or(ExecutionError::IndexOutOfBounds(index.into()))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

impl Iterable for Items {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Elements<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Slice(self.0.iter()))
    }
}

struct Slice<'b>(std::slice::Iter<'b, Value>);

impl<'b, 'v> Elements<'b, 'v> for Slice<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|v| v.as_ref() as &(dyn Val + 'v))
    }
}

impl Sizer for Items {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.0.len()).unwrap_or(i64::MAX))
    }
}

/// The pattern of a call of `matches`, compiled once with its rule.
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) Arc<Regex>);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN_TYPE
    }

    fn cel_type() -> &'static Type {
        &PATTERN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

/// Evaluates `text.matches(pattern)`.
#[allow(clippy::needless_pass_by_value, reason = "the signature that the library asks for")]
fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = args.first().and_then(|a| a.downcast_ref::<CelString>());
    let pattern = args.get(1).and_then(|a| a.downcast_ref::<Pattern>());
    let (Some(text), Some(pattern)) = (text, pattern) else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    Ok(CowVal::owned(CelBool::from(pattern.0.is_match(text.inner()))))
}

/// Adds functions to the library: `matches` with a compiled pattern, and the string functions.
pub(super) fn extend(env: &mut cel::Env) -> Result<(), cel::DeclarationError> {
    env.add_extension(cel::extensions::strings)?;
    env.add_member_overload("matches", "string_matches_pattern", STRING_TYPE, vec![PATTERN_TYPE.to_owned()], matches)
}

pub(super) fn text(text: &str) -> Value {
    Box::new(CelString::from(text.to_owned()))
}

pub(super) fn number(number: impl Into<i64>) -> Value {
    Box::new(CelInt::from(number.into()))
}

pub(super) fn flag(flag: bool) -> Value {
    Box::new(CelBool::from(flag))
}

pub(super) fn list(values: impl IntoIterator<Item = Value>) -> Value {
    Box::new(Items(values.into_iter().collect()))
}

pub(super) fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> Value {
    list(values.into_iter().map(text))
}

pub(super) fn record(record: &'static Record, values: impl IntoIterator<Item = Value>) -> Value {
    let values: Arc<[Value]> = values.into_iter().collect();
    debug_assert_eq!(record.fields.len(), values.len(), "{}", record.name);
    Box::new(Fields { record, values })
}
