//! Translates abstract tool calls into calls of the tools that a request offers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::conversation::Tool;
use crate::scenario::Call;
use crate::select::{Values, fill, fill_json};

/// Names of arguments, without case and underscores.
const PATHS: [&str; 6] = ["filepath", "path", "absolutepath", "filename", "file", "targetfile"];
const CONTENTS: [&str; 6] = ["content", "contents", "filetext", "text", "codecontent", "filecontent"];
const COMMANDS: [&str; 4] = ["command", "cmd", "script", "commandline"];
/// Names of tools, without case and underscores, the best first.
const WRITERS: [&str; 3] = ["write", "writefile", "writetofile"];
/// Copilot's `create` fails when the file exists or its folder does not.
const CREATORS: [&str; 2] = ["create", "createfile"];
const READERS: [&str; 4] = ["read", "readfile", "view", "viewfile"];
const SHELLS: [&str; 9] = [
    "bash",
    "runshellcommand",
    "execcommand",
    "shell",
    "shellcommand",
    "runcommand",
    "executecommand",
    "terminal",
    "exec",
];

/// A call of a tool that the request offers.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    pub name: String,
    pub input: Input,
}

/// The input of a tool.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    Arguments(Value),
    Freeform(String),
}

impl Input {
    /// Returns the input as text.
    pub fn text(&self) -> String {
        match self {
            Self::Arguments(arguments) => arguments.to_string(),
            Self::Freeform(text) => text.clone(),
        }
    }
}

/// Translates a call; none when no offered tool can do it.
pub fn translate(call: &Call, tools: &[Tool], values: &Values) -> Option<ToolCall> {
    match call {
        Call::WriteFile { path, content } => {
            let (path, content) = (absolute(&fill(path, values), values), fill(content, values));
            write_with(&WRITERS, &path, &content, tools)
                .or_else(|| write_in_shell(&path, &content, tools))
                .or_else(|| write_with(&CREATORS, &path, &content, tools))
        }
        Call::CreateFile { path, content } => {
            let (path, content) = (absolute(&fill(path, values), values), fill(content, values));
            write_with(&CREATORS, &path, &content, tools)
                .or_else(|| write_with(&WRITERS, &path, &content, tools))
                .or_else(|| write_in_shell(&path, &content, tools))
        }
        Call::ReadFile { path } => read(&fill(path, values), tools, values),
        Call::RunCommand { command } => run(&fill(command, values), tools),
        Call::UseTool { name, arguments } => {
            let tool = tools.iter().find(|tool| tool.name == *name)?;
            let input = match arguments {
                Value::String(text) if tool.freeform => Input::Freeform(fill(text, values)),
                arguments => Input::Arguments(fill_json(arguments, values)),
            };
            Some(ToolCall { name: name.clone(), input })
        }
    }
}

/// Writes a file by a tool with one of these names.
fn write_with(names: &[&str], path: &str, content: &str, tools: &[Tool]) -> Option<ToolCall> {
    named(tools, names).find_map(|tool| {
        let (path_name, content_name) = (property(tool, &PATHS)?, property(tool, &CONTENTS)?);
        Some(arguments(tool, [(path_name, json!(path)), (content_name, json!(content))]))
    })
}

fn write_in_shell(path: &str, content: &str, tools: &[Tool]) -> Option<ToolCall> {
    let folder = path.rsplit_once('/').map_or(".", |(folder, _)| if folder.is_empty() { "/" } else { folder });
    let (folder, path) = (quote(folder), quote(path));
    // A here-document always ends with a line break.
    let command = if content.ends_with('\n') {
        let end = delimiter(content);
        format!("mkdir -p {folder} && cat > {path} <<'{end}'\n{content}{end}")
    } else {
        format!("mkdir -p {folder} && printf %s {} > {path}", quote(content))
    };
    run(&command, tools)
}

fn read(path: &str, tools: &[Tool], values: &Values) -> Option<ToolCall> {
    let path = absolute(path, values);
    for tool in named(tools, &READERS) {
        if let Some(name) = property(tool, &PATHS) {
            return Some(arguments(tool, [(name, json!(path))]));
        }
    }
    run(&format!("cat {}", quote(&path)), tools)
}

fn run(command: &str, tools: &[Tool]) -> Option<ToolCall> {
    named(tools, &SHELLS).find_map(|tool| {
        let name = property(tool, &COMMANDS)?;
        let is_list = tool.properties[&name]["type"] == "array";
        let value = if is_list { json!(["bash", "-lc", command]) } else { json!(command) };
        Some(arguments(tool, [(name, value)]))
    })
}

/// Returns the tools with these names, in the order of the names.
fn named<'a>(tools: &'a [Tool], names: &'a [&str]) -> impl Iterator<Item = &'a Tool> {
    names.iter().flat_map(|name| tools.iter().filter(move |tool| !tool.freeform && plain(&tool.name) == **name))
}

/// Returns the argument of a tool that has one of these names.
fn property(tool: &Tool, names: &[&str]) -> Option<String> {
    let found = names.iter().find_map(|name| tool.properties.keys().find(|property| plain(property) == **name));
    found.cloned()
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| *c != '_' && *c != '-').flat_map(char::to_lowercase).collect()
}

/// Returns a call with these arguments, and a neutral value for every other argument that the tool requires.
fn arguments<const N: usize>(tool: &Tool, given: [(String, Value); N]) -> ToolCall {
    let mut arguments = Map::from_iter(given);
    for name in &tool.required {
        if !arguments.contains_key(name) {
            arguments.insert(name.clone(), neutral(tool.properties.get(name).unwrap_or(&Value::Null)));
        }
    }
    ToolCall { name: tool.name.clone(), input: Input::Arguments(Value::Object(arguments)) }
}

/// Deepest nesting of a generated value.
const MAX_DEPTH: usize = 16;

/// Returns a small value that follows a JSON schema, as far as the schema's types say.
pub fn neutral(schema: &Value) -> Value {
    neutral_to(schema, MAX_DEPTH)
}

fn neutral_to(schema: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return value.clone();
    }
    for alternatives in ["anyOf", "oneOf"] {
        if let Some(first) = schema[alternatives].get(0) {
            return neutral_to(first, depth - 1);
        }
    }
    let name = schema["type"].as_str().or_else(|| schema["type"].get(0)?.as_str()).unwrap_or("string");
    match name.to_ascii_lowercase().as_str() {
        "object" => {
            // A set, because a list could repeat a name at every level, and so grow exponentially.
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let required: BTreeSet<&str> = required.collect();
            let fields = required.into_iter().map(|name| (name, neutral_to(&schema["properties"][name], depth - 1)));
            Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect())
        }
        "array" => json!([]),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "boolean" => json!(false),
        "null" => Value::Null,
        _ => json!("scripted"),
    }
}

fn absolute(path: &str, values: &Values) -> String {
    match values.get("cwd").map(|folder| folder.trim_end_matches('/')) {
        Some(folder) if !path.starts_with('/') && !folder.is_empty() => format!("{folder}/{path}"),
        _ => path.to_owned(),
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns the end of a here-document that no line of the content equals.
fn delimiter(content: &str) -> String {
    let mut end = "END_OF_FILE".to_owned();
    while content.lines().any(|line| line == end) {
        end.push('_');
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, properties: &[&str], required: &[&str]) -> Tool {
        let properties: Map<String, Value> =
            properties.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
        Tool::new(name, &json!({"properties": properties, "required": required}))
    }

    fn write_file(content: &str, tools: &[Tool]) -> (String, Value) {
        called(&Call::WriteFile { path: "src/a.txt".to_owned(), content: content.to_owned() }, tools)
    }

    fn called(call: &Call, tools: &[Tool]) -> (String, Value) {
        let values = Values::from([("cwd".to_owned(), "/work".to_owned())]);
        let call = translate(call, tools, &values).unwrap();
        let Input::Arguments(arguments) = call.input else { panic!("arguments") };
        (call.name, arguments)
    }

    #[test]
    fn files_are_written_by_each_agents_own_tool() {
        for (name, path, content) in [
            ("Write", "file_path", "content"),
            ("write_file", "file_path", "content"),
            ("write", "filePath", "content"),
        ] {
            let tools = [tool("Bash", &["command"], &["command"]), tool(name, &[path, content], &[path, content])];
            assert_eq!(
                write_file("it's", &tools),
                (name.to_owned(), json!({path: "/work/src/a.txt", content: "it's"}))
            );
        }
    }

    #[test]
    fn the_shell_writes_files_when_no_other_tool_can() {
        for (content, command) in [
            ("it's", r"mkdir -p '/work/src' && printf %s 'it'\''s' > '/work/src/a.txt'"),
            ("it's\n", "mkdir -p '/work/src' && cat > '/work/src/a.txt' <<'END_OF_FILE'\nit's\nEND_OF_FILE"),
        ] {
            let (name, arguments) = write_file(content, &[tool("exec_command", &["cmd"], &["cmd"])]);
            assert_eq!((name.as_str(), arguments), ("exec_command", json!({"cmd": command})));
        }
    }

    #[test]
    fn a_tool_that_only_creates_files_is_used_only_to_create() {
        let create = tool("create", &["path", "file_text"], &["path", "file_text"]);
        let tools = [tool("bash", &["command"], &["command"]), create];
        assert_eq!(write_file("x", &tools).0, "bash");
        let call = Call::CreateFile { path: "a.txt".to_owned(), content: "x".to_owned() };
        let arguments = json!({"path": "/work/a.txt", "file_text": "x"});
        assert_eq!(called(&call, &tools), ("create".to_owned(), arguments));
    }

    #[test]
    fn required_arguments_get_a_value() {
        let tools = [tool("bash", &["command", "description"], &["command", "description"])];
        let call = translate(&Call::RunCommand { command: "make".to_owned() }, &tools, &Values::new()).unwrap();
        assert_eq!(call.input, Input::Arguments(json!({"command": "make", "description": "scripted"})));
    }

    #[test]
    fn a_command_can_be_a_list() {
        let tools = [Tool::new("shell", &json!({"properties": {"command": {"type": "array"}}}))];
        let call = translate(&Call::RunCommand { command: "make".to_owned() }, &tools, &Values::new()).unwrap();
        assert_eq!(call.input, Input::Arguments(json!({"command": ["bash", "-lc", "make"]})));
    }

    #[test]
    fn a_call_without_a_tool_is_not_translated() {
        let call = Call::RunCommand { command: "make".to_owned() };
        assert_eq!(translate(&call, &[tool("Write", &["path", "content"], &[])], &Values::new()), None);
    }

    #[test]
    fn a_neutral_value_follows_its_schema() {
        let schema = json!({"type": "OBJECT", "required": ["reason", "score"],
            "properties": {"reason": {"type": "STRING"}, "score": {"type": "INTEGER", "minimum": 3}, "other": {}}});
        assert_eq!(neutral(&schema), json!({"reason": "scripted", "score": 3}));
    }
}
