//! Fields of requests that a provider must not get: it would use a model, or charge for something, that the gateway did not check.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::denial::{Denial, DenialKind};
use crate::wire::document::Document;
use crate::wire::elements::each;

/// Fields in which OpenRouter and LiteLLM take further models, to which they send a request that fails. A request can be made to fail.
const MODELS: [&str; 8] = [
    "models",
    "fallbacks",
    "context_window_fallbacks",
    "context_window_fallback_dict",
    "content_policy_fallbacks",
    "model_list",
    "user_config",
    "preset",
];
/// The object whose fields LiteLLM adds to the request that it sends, in place of those that were checked, such as the model.
const ADDED: &str = "extra_body";
/// The only field that it may have: settings of Gemini's front end for OpenAI's clients, and which of them.
const ADDED_SETTINGS: (&str, [&str; 3]) = ("google", ["thinking_config", "thought_tag_marker", "safety_settings"]);
/// Fields that name what the provider has stored. Its length, which counts as input, is not known, nor who stored it with the same key.
const STORED: [&str; 5] = ["previous_response_id", "conversation", "prompt", "cachedContent", "cached_content"];
/// Fields and their values for which a provider charges more than the price of the model.
const EXPENSIVE: [(&str, &str); 2] = [("service_tier", "priority"), ("speed", "fast")];
/// The tool of Responses that uses another model, whose tokens are not in the usage of the answer.
const IMAGES: &str = "image_generation";

#[derive(Deserialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Tools that are models themselves name one.
    model: Option<IgnoredAny>,
}

/// Checks the fields of a request.
///
/// # Errors
/// When it has a field that a provider must not get.
pub(super) fn check(document: &Document<'_>) -> Result<(), Denial> {
    let refused = |why: String| Denial::new(DenialKind::InvalidRequest, why);
    if let Some(name) = MODELS.into_iter().find(|name| document.raw(name).is_some()) {
        return Err(refused(format!(
            "the field {name} can name further models; remove it, and list the models in the Agent's spec.models"
        )));
    }
    if document.raw(ADDED).is_some_and(|added| !may_be_added(added)) {
        let (field, settings) = ADDED_SETTINGS;
        return Err(refused(format!(
            "the field {ADDED} can replace what was checked; it may have only the field {field}, with {}; put other settings into the request \
             itself",
            settings.join(", ")
        )));
    }
    if let Some(name) = STORED.into_iter().find(|name| document.raw(name).is_some()) {
        return Err(refused(format!(
            "the field {name} refers to what the provider has stored, which cannot be metered; send the whole conversation"
        )));
    }
    for (name, value) in EXPENSIVE {
        if document.field::<String>(name)?.is_some_and(|text| text.eq_ignore_ascii_case(value)) {
            return Err(refused(format!("{name} {value} has a price that Enact does not know; remove the field")));
        }
    }
    let Some(tools) = document.raw("tools") else { return Ok(()) };
    let mut uses_model = false;
    each(tools.as_bytes(), |tool: Tool| {
        uses_model |= tool.model.is_some() || tool.kind.as_deref() == Some(IMAGES);
    })
    .map_err(|_| refused("the field tools is not an array of tools".into()))?;
    if uses_model {
        return Err(refused("a tool uses another model, which the gateway cannot check; remove the tool".into()));
    }
    Ok(())
}

/// Returns whether an object changes nothing that was checked.
fn may_be_added(added: &str) -> bool {
    let (field, settings) = ADDED_SETTINGS;
    let Ok(added) = Document::parse(added.as_bytes()) else { return false };
    let are_known = |found: &str| {
        Document::parse(found.as_bytes()).is_ok_and(|found| found.names().all(|name| settings.contains(&name)))
    };
    added.names().all(|name| name == field) && added.raw(field).is_none_or(are_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(fields: &str) -> Option<Denial> {
        let body = format!(r#"{{"model":"m",{fields}}}"#);
        check(&Document::parse(body.as_bytes()).unwrap()).err()
    }

    #[test]
    fn only_the_checked_model_is_used() {
        for fields in [
            r#""models":["expensive"]"#,
            r#""fallbacks":["expensive"],"mock_testing_fallbacks":true"#,
            r#""extra_body":{"model":"expensive"}"#,
            r#""Extra_Body":{"google":{},"tools":[{"type":"web_search"}]}"#,
            r#""extra_body":{"google":{"cached_content":"cachedContents/x"}}"#,
            r#""extra_body":{"google":"x"}"#,
            r#""extra_body":[]"#,
            r#""tools":[{"type":"function","name":"a"},{"type":"image_generation"}]"#,
            r#""tools":[{"type":"advisor","model":"expensive"}]"#,
            r#""tools":[{"type":"function","type":"image_generation"}]"#,
            r#""tools":{"type":"image_generation"}"#,
        ] {
            assert_eq!(denial(fields).unwrap().kind, DenialKind::InvalidRequest, "{fields}");
        }
    }

    #[test]
    fn what_cannot_be_metered_is_refused() {
        for fields in [
            r#""previous_response_id":"resp_1","input":"go on""#,
            r#""cachedContent":"cachedContents/x""#,
            r#""service_tier":"priority""#,
            r#""speed":"fast""#,
        ] {
            assert!(denial(fields).is_some(), "{fields}");
        }
    }

    #[test]
    fn other_fields_pass() {
        for fields in [
            r#""previous_response_id":null,"service_tier":"flex","speed":"standard","store":false"#,
            r#""tools":null,"extra_body":null"#,
            r#""extra_body":{"google":{"thinking_config":{"include_thoughts":true}}}"#,
            r#""extra_body":{}"#,
            r#""tools":[]"#,
            r#""tools":[{"name":"read","input_schema":{"type":"object","properties":{"model":{}}}},{"type":"web_search"}]"#,
            r#""tools":[{"functionDeclarations":[{"name":"read"}]},{"googleSearch":{}}]"#,
        ] {
            assert_eq!(denial(fields), None, "{fields}");
        }
    }
}
