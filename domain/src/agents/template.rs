//! Templates: texts and JSON values with variables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Variables with their values.
pub(super) type Variables = BTreeMap<String, Value>;

/// A part of a template.
enum Part<'a> {
    Text(&'a str),
    Variable(&'a str),
    /// `{?name}`: nothing, if the variable has a value.
    Condition(&'a str),
}

/// Splits a template into its parts.
fn parts(template: &str) -> Result<Vec<Part<'_>>, String> {
    let problem = |what: &str| Err(format!("the template `{}` {what}", template.escape_debug()));
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        found.push(Part::Text(&rest[..at]));
        let brace = &rest[at..=at];
        let after = &rest[at + 1..];
        if after.starts_with(brace) {
            found.push(Part::Text(brace));
            rest = &after[1..];
        } else if brace == "{" {
            let Some(end) = after.find('}') else { return problem("has a `{` without its `}`; write {{ for a brace") };
            let (name, part): (_, fn(_) -> _) = match after[..end].strip_prefix('?') {
                Some(name) => (name, Part::Condition),
                None => (&after[..end], Part::Variable),
            };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return problem("has a variable whose name is not made of letters and digits; write {{ for a brace");
            }
            found.push(part(name));
            rest = &after[end + 1..];
        } else {
            return problem("has a `}` without its `{`; write }} for a brace");
        }
    }
    found.push(Part::Text(rest));
    Ok(found)
}

/// Returns the variables that a text uses.
pub(super) fn variables(template: &str) -> Result<BTreeSet<String>, String> {
    let name = |part: Part| match part {
        Part::Variable(name) | Part::Condition(name) => Some(name.to_owned()),
        Part::Text(_) => None,
    };
    Ok(parts(template)?.into_iter().filter_map(name).collect())
}

/// Returns the variables that the keys and texts of a JSON value use.
pub(super) fn variables_of(value: &Value) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    match value {
        Value::String(text) => found.extend(variables(text)?),
        Value::Array(values) => {
            for value in values {
                found.extend(variables_of(value)?);
            }
        }
        Value::Object(entries) => {
            for (key, value) in entries {
                found.extend(variables(key)?);
                found.extend(variables_of(value)?);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(found)
}

/// Renders a text; none if it uses a variable without a value.
pub(super) fn text(template: &str, variables: &Variables) -> Result<Option<String>, String> {
    let mut rendered = String::new();
    for part in parts(template)? {
        match part {
            Part::Text(text) => rendered.push_str(text),
            Part::Condition(name) if variables.contains_key(name) => {}
            Part::Condition(_) => return Ok(None),
            Part::Variable(name) => match variables.get(name) {
                None => return Ok(None),
                Some(Value::String(text)) => rendered.push_str(text),
                Some(value) => rendered.push_str(&value.to_string()),
            },
        }
    }
    Ok(Some(rendered))
}

/// Renders a JSON value; none if it uses a variable without a value. Entries of objects and arrays are left out on their own. A text that
/// only consists of a variable becomes the value of the variable, whatever its type.
pub(super) fn json(template: &Value, variables: &Variables) -> Result<Option<Value>, String> {
    Ok(match template {
        Value::String(template) => match parts(template)?.as_slice() {
            [Part::Text(""), Part::Variable(name), Part::Text("")] => variables.get(*name).cloned(),
            _ => text(template, variables)?.map(Value::String),
        },
        Value::Array(values) => {
            let rendered: Result<Vec<_>, _> = values.iter().map(|value| json(value, variables)).collect();
            Some(Value::Array(rendered?.into_iter().flatten().collect()))
        }
        Value::Object(entries) => {
            let mut rendered = serde_json::Map::new();
            for (key, value) in entries {
                if let (Some(key), Some(value)) = (text(key, variables)?, json(value, variables)?) {
                    rendered.insert(key, value);
                }
            }
            Some(Value::Object(rendered))
        }
        other => Some(other.clone()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given() -> Variables {
        [("a".to_owned(), json!("{b} $(id) \"")), ("n".to_owned(), json!(3)), ("o".to_owned(), json!({"x": 1}))].into()
    }

    #[test]
    fn values_are_never_templates() {
        assert_eq!(text("-{a}-{{a}}", &given()).unwrap().unwrap(), "-{b} $(id) \"-{a}");
        assert_eq!(text("{n}/{o}", &given()).unwrap().unwrap(), "3/{\"x\":1}");
        assert_eq!(text("{unset}", &given()).unwrap(), None);
        assert_eq!(text("{?a}b", &given()).unwrap().unwrap(), "b");
        assert_eq!(text("{?unset}b", &given()).unwrap(), None);
    }

    #[test]
    fn json_keeps_types_and_drops_what_has_no_value() {
        let template = json!({"{a}": "{n}", "list": ["{unset}", "{o}", true], "gone": "x{unset}", "text": "n={n}"});
        let rendered = json(&template, &given()).unwrap().unwrap();
        assert_eq!(rendered, json!({"{b} $(id) \"": 3, "list": [{"x": 1}, true], "text": "n=3"}));
    }

    #[test]
    fn malformed_templates_are_refused() {
        for template in ["{", "a}b", "{a b}", "{}", "{a", "{{a}", "{\u{e4}}"] {
            assert!(variables(template).is_err(), "{template}");
        }
        assert_eq!(variables("{{}} {a}{n}").unwrap().len(), 2);
    }
}
