//! The body of a request: a JSON object whose fields are not parsed further than needed, because most of it is a long conversation.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::denial::{Denial, DenialKind};

/// Most fields of a request's object.
const MAX_FIELDS: usize = 256;

/// A JSON object in the order of its fields.
#[derive(Debug)]
pub struct Document<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
    length: usize,
}

impl<'a> Document<'a> {
    /// Parses the body of a request.
    ///
    /// # Errors
    /// When it is not a JSON object, or names a field twice. Servers differ in which of two values they take, also when the names differ in
    /// case only, so that such a request could ask a server for another model than the one that was checked.
    pub fn parse(body: &'a [u8]) -> Result<Self, Denial> {
        serde_json::from_slice(body).map(|Fields(fields)| Self { fields, length: body.len() }).map_err(|error| {
            // The parser's message may quote the body.
            let (line, column) = (error.line(), error.column());
            Denial::new(
                DenialKind::InvalidRequest,
                format!("the body is not a JSON object with unique field names (line {line}, column {column})"),
            )
        })
    }

    /// Returns the names of all fields that are not null.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(|(_, raw)| raw.get() != "null").map(|(name, _)| name.as_ref())
    }

    /// Returns a field, if it exists and is not null.
    ///
    /// # Errors
    /// When it has another type.
    pub fn field<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Denial> {
        let Some(text) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|_| {
            Denial::new(DenialKind::InvalidRequest, format!("the field {name} of the request has a wrong type"))
        })
    }

    /// Returns the text of a field, if it exists and is not null. Some servers ignore the case of names, so it is ignored here, too.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        let (_, raw) = self.fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(raw.get()).filter(|text| *text != "null")
    }

    /// Returns whether a text is in the value of a field.
    pub fn contains(&self, text: &str) -> bool {
        self.fields.iter().any(|(_, value)| memchr::memmem::find(value.get().as_bytes(), text.as_bytes()).is_some())
    }

    /// Returns the field `model`.
    ///
    /// # Errors
    /// When it is missing.
    pub fn model(&self) -> Result<Option<String>, Denial> {
        let missing = || Denial::new(DenialKind::InvalidRequest, "the request has no field model");
        self.field::<String>("model")?.map(Some).ok_or_else(missing)
    }

    /// Returns the object with another model.
    pub fn with_model(&self, model: &str) -> Vec<u8> {
        self.with(&[("model", &serde_json::Value::from(model).to_string())])
    }

    /// Returns the object with `changes`: JSON values that replace fields or are added.
    pub fn with(&self, changes: &[(&str, &str)]) -> Vec<u8> {
        let kept =
            self.fields.iter().filter(|(key, _)| !changes.iter().any(|(name, _)| key.eq_ignore_ascii_case(name)));
        let kept = kept.map(|(key, raw)| (key.as_ref(), raw.get()));
        write(kept.chain(changes.iter().copied()), self.length)
    }

    /// Returns the object without a field.
    pub fn without(&self, name: &str) -> Vec<u8> {
        let kept = self.fields.iter().filter(|(key, _)| !key.eq_ignore_ascii_case(name));
        write(kept.map(|(key, raw)| (key.as_ref(), raw.get())), self.length)
    }
}

fn write<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + 128);
    out.push(b'{');
    for (at, (key, value)) in fields.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(serde_json::Value::from(key).to_string().as_bytes());
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
    out
}

struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut fields, mut names) = (Vec::new(), HashSet::new());
        while let Some((Name(key), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
            if !names.insert(key.to_ascii_lowercase()) || names.len() > MAX_FIELDS {
                return Err(A::Error::custom("a field is there twice, or there are too many"));
            }
            fields.push((key, value));
        }
        Ok(Fields(fields))
    }
}

/// The name of a field; borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn replaces_and_keeps_fields() {
        let body = br#"{"model":"a","messages":[{"content":"\u00e4 \"model\": \"b\""}],"n\u0061me":1.50}"#;
        let document = Document::parse(body).unwrap();
        assert_eq!(document.model().unwrap(), Some("a".into()));
        let out = String::from_utf8(document.with_model("x\"y")).unwrap();
        assert!(out.contains("1.50"), "numbers stay as they are: {out}");
        let value: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["model"], json!("x\"y"));
        assert_eq!(value["messages"][0]["content"], json!("ä \"model\": \"b\""));
        let without: Value = serde_json::from_slice(&document.without("model")).unwrap();
        assert_eq!(without.get("model"), None);
        assert_eq!(without["name"], json!(1.5));
    }

    #[test]
    fn case_does_not_hide_a_field() {
        let document = Document::parse(br#"{"Model":"a","TOOLS":[]}"#).unwrap();
        assert_eq!((document.model().unwrap(), document.raw("tools")), (Some("a".into()), Some("[]")));
        assert_eq!(document.with_model("b"), br#"{"TOOLS":[],"model":"b"}"#);
        assert_eq!(document.without("tools"), br#"{"Model":"a"}"#);
    }

    #[test]
    fn rejects_what_servers_read_differently() {
        for body in [
            &br#"{"model":"a","model":"b"}"#[..],
            br#"{"model":"a","Model":"b"}"#,
            br#"{"model":"a","mod\u0065l":"b"}"#,
            b"[]",
            b"",
            b"{",
            br#"{"model":"a"} {}"#,
            b"\xff",
        ] {
            assert_eq!(Document::parse(body).unwrap_err().kind, DenialKind::InvalidRequest);
        }
        let many: Vec<String> = (0..=MAX_FIELDS).map(|n| format!("\"{n}\":0")).collect();
        assert!(Document::parse(format!("{{{}}}", many.join(",")).as_bytes()).is_err());
    }

    #[test]
    fn deep_nesting_is_not_parsed() {
        let body = format!("{{\"model\":\"a\",\"deep\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Document::parse(body.as_bytes()).unwrap().model().unwrap(), Some("a".into()));
    }
}
