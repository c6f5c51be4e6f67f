//! Tools that a provider runs itself, such as a web search. With them, an agent would reach the Internet through the provider, although its pod
//! cannot. Only known tools that the agent runs pass: providers add tools of their own.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::denial::{Denial, DenialKind};
use crate::wire::document::Document;
use crate::wire::elements::each;
use crate::wire::format::Format;

/// Fields that make a provider, or a proxy such as OpenRouter or LiteLLM, search, connect to MCP servers or run programs.
const FIELDS: [&str; 8] = [
    "container",
    "data_sources",
    "enable_search",
    "mcp_servers",
    "plugins",
    "search_parameters",
    "web_search",
    "web_search_options",
];
/// Values of these fields with which they have no effect. An empty object is not one: `web_search_options` may be empty.
const NOTHING: [&str; 2] = ["false", "[]"];
/// Beginnings of the types of Anthropic's tools that the agent runs, or that search the tools of the request.
const ANTHROPIC: [&str; 4] = ["bash_", "text_editor_", "memory_", "tool_search_tool_"];
/// Types of tools of Responses that the agent runs, or that search the tools of the request.
const RESPONSES: [&str; 5] = ["function", "custom", "local_shell", "apply_patch", "tool_search"];
/// The names of the field of Gemini's tools that has functions of the agent.
const FUNCTIONS: [&str; 2] = ["functionDeclarations", "function_declarations"];

/// What a request wants a provider to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosted {
    /// The first such tool or field.
    name: String,
    /// The tools of the agent, if the request makes sense without the others.
    others: Option<String>,
}

/// An item of the input of Responses. Some of them bring tools.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
}

/// Finds what a provider would run.
///
/// # Errors
/// When the tools cannot be read.
pub(super) fn find(format: Format, document: &Document<'_>) -> Result<Option<Hosted>, Denial> {
    if let Some(name) = FIELDS.into_iter().find(|name| document.raw(name).is_some_and(has_effect)) {
        return Ok(Some(Hosted { name: format!("the field {name}"), others: None }));
    }
    if format == Format::Responses
        && let Some(input) = document.raw("input").filter(|input| input.starts_with('['))
        && let Some(name) = first_of_items(input)?
    {
        return Ok(Some(Hosted { name, others: None }));
    }
    let Some(tools) = document.raw("tools") else { return Ok(None) };
    let read = read(format, tools, Level::Top)?;
    let Some(name) = read.first else { return Ok(None) };
    let others = if read.own.is_empty() || read.is_mixed { None } else { Some(format!("[{}]", read.own.join(","))) };
    Ok(Some(Hosted { name, others }))
}

impl Hosted {
    /// Returns a request without the tools of the provider. An agent that sends its own tools, too, can work without them.
    ///
    /// # Errors
    /// When nothing useful would be left.
    pub fn remove(&self, document: &Document<'_>, provider: &str) -> Result<Vec<u8>, Denial> {
        let Some(others) = &self.others else {
            let why = format!(
                "{} makes the provider act for the agent, outside of the network of its pod; remove it, or set spec.hostedTools of the \
                 ModelProvider {provider}",
                self.name
            );
            return Err(Denial::new(DenialKind::InvalidRequest, why));
        };
        Ok(document.with(&[("tools", others)]))
    }
}

fn has_effect(value: &str) -> bool {
    value.len() > 16 || !NOTHING.contains(&value.split_whitespace().collect::<String>().as_str())
}

/// Returns the first tool of a provider in the items of an input.
fn first_of_items<'a>(input: &'a str) -> Result<Option<String>, Denial> {
    let (mut found, mut failed) = (None, None);
    each(input.as_bytes(), |item: Item<'a>| {
        let Some(tools) = item.tools.filter(|_| found.is_none() && failed.is_none()) else { return };
        match read(Format::Responses, tools.get(), Level::Top) {
            Ok(read) => found = read.first,
            Err(denial) => failed = Some(denial),
        }
    })
    .map_err(|_| invalid("the field input is not an array of items"))?;
    failed.map_or(Ok(found), Err)
}

/// The tools of a request.
#[derive(Default)]
struct Tools<'a> {
    /// Those that the agent runs.
    own: Vec<&'a str>,
    /// The first one that the provider runs.
    first: Option<String>,
    /// Whether one element has tools of both.
    is_mixed: bool,
}

/// Where tools are. A namespace in a namespace is not known: a deep nest would use up the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Top,
    Namespace,
}

fn read<'a>(format: Format, tools: &'a str, level: Level) -> Result<Tools<'a>, Denial> {
    let (mut all, mut failed) = (Tools::default(), None);
    each(tools.as_bytes(), |tool: &'a RawValue| match hosted(format, tool.get(), level) {
        Ok(None) => all.own.push(tool.get()),
        Ok(Some(name)) => {
            all.is_mixed |= FUNCTIONS.iter().any(|functions| tool.get().contains(functions));
            all.first.get_or_insert(name);
        }
        Err(denial) => failed = Some(denial),
    })
    .map_err(|_| invalid("the field tools is not an array of tools"))?;
    failed.map_or(Ok(all), Err)
}

/// Returns what a tool is called, if the provider runs it.
fn hosted(format: Format, tool: &str, level: Level) -> Result<Option<String>, Denial> {
    let tool =
        Document::parse(tool.as_bytes()).map_err(|_| invalid("a tool is not an object with unique field names"))?;
    if format == Format::Gemini {
        let other = tool.names().find(|name| !FUNCTIONS.contains(name));
        return Ok(other.map(|name| format!("the tool {}", short(name))));
    }
    let kind = tool.field::<String>("type")?;
    let is_own = match (format, kind.as_deref()) {
        (Format::Anthropic, None) => tool.raw("input_schema").is_some(),
        (Format::Anthropic, Some(kind)) => kind == "custom" || ANTHROPIC.iter().any(|own| kind.starts_with(own)),
        (Format::Chat, None) => tool.raw("function").is_some(),
        (Format::Chat, Some(kind)) => kind == "function" || kind == "custom",
        // A shell can be one in a container of the provider.
        (_, Some("shell")) => tool.raw("environment").is_some_and(is_local),
        (_, Some("namespace")) if level == Level::Top => match tool.raw("tools") {
            Some(tools) => read(format, tools, Level::Namespace)?.first.is_none(),
            None => true,
        },
        (_, Some(kind)) => RESPONSES.contains(&kind),
        (_, None) => false,
    };
    let name = || kind.map_or_else(|| "a tool without a type".to_owned(), |kind| format!("the tool {}", short(&kind)));
    Ok(if is_own { None } else { Some(name()) })
}

/// Returns whether the environment of a shell is the agent's.
fn is_local(environment: &str) -> bool {
    let kind = Document::parse(environment.as_bytes()).and_then(|environment| environment.field::<String>("type"));
    kind.is_ok_and(|kind| kind.as_deref() == Some("local"))
}

/// Returns a name that a client chose, for a message.
fn short(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn invalid(why: &str) -> Denial {
    Denial::new(DenialKind::InvalidRequest, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(format: Format, fields: &str) -> Option<Hosted> {
        let body = format!(r#"{{"model":"m",{fields}}}"#);
        find(format, &Document::parse(body.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn finds_tools_of_each_provider() {
        for (format, kinds) in [
            (
                Format::Anthropic,
                &[
                    "web_search_20250305",
                    "web_fetch_20250910",
                    "code_execution_20250825",
                    "computer_20250124",
                    "mcp_toolset",
                ][..],
            ),
            (Format::Chat, &["web_search", "mcp", "openrouter:web_search", "code_interpreter"][..]),
            (
                Format::Responses,
                &["web_search", "web_search_preview", "file_search", "code_interpreter", "computer", "mcp", "shell"][..],
            ),
        ] {
            for kind in kinds {
                let tool = found(format, &format!(r#""tools":[{{"type":"{kind}","name":"x"}}]"#)).unwrap();
                assert_eq!((tool.name, tool.others), (format!("the tool {kind}"), None), "{format:?}");
            }
        }
        for name in ["googleSearch", "google_search", "codeExecution", "urlContext", "googleMaps", "computerUse"] {
            assert!(found(Format::Gemini, &format!(r#""tools":[{{"{name}":{{}}}}]"#)).is_some(), "{name}");
        }
    }

    #[test]
    fn finds_fields_and_tools_in_other_places() {
        for (format, fields) in [
            (Format::Anthropic, r#""mcp_servers":[{"type":"url","url":"https://x"}]"#),
            (Format::Anthropic, r#""container":{"skills":[]}"#),
            (Format::Chat, r#""web_search_options":{"search_context_size":"low"}"#),
            (Format::Chat, r#""web_search_options":{}"#),
            (Format::Chat, r#""Plugins":[{"id":"web"}]"#),
            (Format::Chat, r#""enable_search": true"#),
            (Format::Responses, r#""input":[{"type":"additional_tools","tools":[{"type":"web_search"}]}]"#),
            (Format::Responses, r#""tools":[{"type":"namespace","tools":[{"type":"mcp"}]}]"#),
            (Format::Responses, r#""tools":[{"type":"namespace","tools":[{"type":"namespace","tools":[]}]}]"#),
            (Format::Responses, r#""tools":[{"type":"shell","environment":{"type":"container_auto"}}]"#),
            (Format::Responses, r#""tools":[{"Type":"web_search"}]"#),
            (Format::Gemini, r#""tools":[{"functionDeclarations":[],"googleSearch":{}}]"#),
        ] {
            assert_eq!(found(format, fields).unwrap().others, None, "{fields}");
        }
    }

    #[test]
    fn what_two_servers_read_differently_is_refused() {
        for tools in [r#"[{"type":"function","Type":"web_search"}]"#, r#"["web_search"]"#, r#"{"type":"web_search"}"#] {
            let body = format!(r#"{{"tools":{tools}}}"#);
            let refused = find(Format::Responses, &Document::parse(body.as_bytes()).unwrap()).unwrap_err();
            assert_eq!(refused.kind, DenialKind::InvalidRequest, "{tools}");
        }
    }

    #[test]
    fn tools_of_agents_pass() {
        for (format, fields) in [
            (Format::Anthropic, r#""tools":[{"name":"Read","input_schema":{"type":"object"}}],"mcp_servers":[]"#),
            (Format::Anthropic, r#""tools":[{"type":"custom","name":"a"},{"type":"bash_20250124","name":"bash"}]"#),
            (Format::Chat, r#""tools":[{"type":"function","function":{"name":"a"}}],"enable_search":false"#),
            (Format::Chat, r#""messages":[{"role":"user","content":"web_search"}]"#),
            (Format::Responses, r#""tools":[{"type":"function","name":"a"},{"type":"custom","name":"apply_patch"}]"#),
            (Format::Responses, r#""tools":[{"type":"local_shell"},{"type":"tool_search","execution":"client"}]"#),
            (Format::Responses, r#""tools":[{"type":"shell","environment":{"type":"local"}}],"input":"hello""#),
            (
                Format::Responses,
                r#""tools":[{"type":"namespace","name":"n","tools":[{"type":"function","name":"a"}]}]"#,
            ),
            (Format::Responses, r#""input":[{"type":"message","role":"user","content":"web_search"}],"tools":[]"#),
            (Format::Gemini, r#""tools":[{"functionDeclarations":[{"name":"read"}]},{"function_declarations":[]}]"#),
            (Format::Gemini, r#""tools":[{"functionDeclarations":[{"name":"read"}],"googleSearch":null}]"#),
        ] {
            assert_eq!(found(format, fields), None, "{fields}");
        }
    }

    #[test]
    fn own_tools_stay() {
        let body = br#"{"model":"m","tools":[{"type":"function","name":"a"},{"type":"web_search"}],"input":"hello"}"#;
        let document = Document::parse(body).unwrap();
        let kept = find(Format::Responses, &document).unwrap().unwrap().remove(&document, "team/p").unwrap();
        let expected = r#"{"model":"m","input":"hello","tools":[{"type":"function","name":"a"}]}"#;
        assert_eq!(String::from_utf8(kept).unwrap(), expected);
        let only = Document::parse(br#"{"tools":[{"type":"web_search"}]}"#).unwrap();
        let refused = find(Format::Responses, &only).unwrap().unwrap().remove(&only, "team/p").unwrap_err();
        assert!(refused.message.contains("the tool web_search") && refused.message.contains("team/p"), "{refused:?}");
    }
}
