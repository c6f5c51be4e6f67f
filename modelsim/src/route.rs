//! Paths: an optional scenario and run, and then the path of a provider's API.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::conversation::Format;

/// Run of requests whose path names none.
const DEFAULT_RUN: &str = "default";

/// The operation of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Answers a conversation. Only Gemini's path names the model and whether the answer is streamed.
    Generate { format: Format, model: String, stream: bool },
    /// Counts the tokens of a request.
    Count { format: Format },
    /// Lists models.
    Models { format: Format },
}

/// A request's destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// None for the default scenario.
    pub scenario: Option<String>,
    pub run: String,
    pub operation: Operation,
}

/// Returns the destination of a path.
pub fn route(post: bool, path: &str) -> Option<Route> {
    let (prefix, operation) = split(post, path.trim_end_matches('/'))?;
    let mut segments = prefix.split('/').filter(|segment| !segment.is_empty());
    let (scenario, run) = (segments.next().map(str::to_owned), segments.next().unwrap_or(DEFAULT_RUN).to_owned());
    segments.next().is_none().then_some(Route { scenario, run, operation })
}

fn split(post: bool, path: &str) -> Option<(&str, Operation)> {
    let generate = |format| Operation::Generate { format, model: String::new(), stream: false };
    if !post {
        let gemini = path.strip_suffix("/v1beta/models").map(|prefix| (prefix, Format::Gemini));
        let (prefix, format) = gemini.or_else(|| Some((path.strip_suffix("/models")?, Format::ChatCompletions)))?;
        return Some((without_version(prefix), Operation::Models { format }));
    }
    if let Some(prefix) = path.strip_suffix("/v1/messages") {
        return Some((prefix, generate(Format::Anthropic)));
    }
    if let Some(prefix) = path.strip_suffix("/v1/messages/count_tokens") {
        return Some((prefix, Operation::Count { format: Format::Anthropic }));
    }
    if let Some(prefix) = path.strip_suffix("/chat/completions") {
        return Some((without_version(prefix), generate(Format::ChatCompletions)));
    }
    if let Some(prefix) = path.strip_suffix("/responses") {
        return Some((without_version(prefix), generate(Format::Responses)));
    }
    let (prefix, rest) = path.split_once("/v1beta/models/").or_else(|| path.split_once("/v1/models/"))?;
    let (model, method) = rest.rsplit_once(':')?;
    let model = percent_decode_str(model).decode_utf8().map_or_else(|_| model.to_owned(), Cow::into_owned);
    let operation = match method {
        "generateContent" => Operation::Generate { format: Format::Gemini, model, stream: false },
        "streamGenerateContent" => Operation::Generate { format: Format::Gemini, model, stream: true },
        "countTokens" => Operation::Count { format: Format::Gemini },
        _ => return None,
    };
    Some((prefix, operation))
}

/// Removes the version, which base URLs of OpenAI's formats may have or not.
fn without_version(prefix: &str) -> &str {
    prefix.strip_suffix("/v1").unwrap_or(prefix)
}

/// Returns the value of a query parameter.
pub fn query<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(found, _)| *found == name)?.1;
    percent_decode_str(value).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> (Option<String>, String, Operation) {
        let route = route(true, path).unwrap();
        (route.scenario, route.run, route.operation)
    }

    fn generate(format: Format) -> Operation {
        Operation::Generate { format, model: String::new(), stream: false }
    }

    #[test]
    fn a_path_names_scenario_and_run() {
        let of = |scenario: Option<&str>, run: &str| {
            (scenario.map(str::to_owned), run.to_owned(), generate(Format::Anthropic))
        };
        assert_eq!(found("/v1/messages"), of(None, "default"));
        assert_eq!(found("/feature/v1/messages"), of(Some("feature"), "default"));
        assert_eq!(found("/feature/r1/v1/messages"), of(Some("feature"), "r1"));
        assert_eq!(route(true, "/a/b/c/v1/messages"), None);
    }

    #[test]
    fn the_version_of_openai_paths_is_optional() {
        for path in ["/f/r/v1/chat/completions", "/f/r/chat/completions"] {
            assert_eq!(found(path), (Some("f".to_owned()), "r".to_owned(), generate(Format::ChatCompletions)));
        }
        assert_eq!(found("/v1/responses").2, generate(Format::Responses));
    }

    #[test]
    fn geminis_path_names_the_model() {
        let operation = found("/f/v1beta/models/gemini-3:streamGenerateContent").2;
        let expected = Operation::Generate { format: Format::Gemini, model: "gemini-3".to_owned(), stream: true };
        assert_eq!(operation, expected);
        assert_eq!(route(true, "/v1beta/models/m:embedContent"), None);
    }

    #[test]
    fn a_query_parameter_is_decoded() {
        assert_eq!(query(Some("a=1&key=x%2By"), "key").as_deref(), Some("x+y"));
        assert_eq!(query(None, "key"), None);
    }
}
