//! Translates abstract tool calls into calls of the tools that a request offers.

use serde_json::{Map, Value, json};

use crate::conversation::Tool;
use crate::scenario::Call;
use crate::select::{Values, fill, fill_json};

/// Names of arguments, without case and underscores.
const PATHS: [&str; 6] = ["filepath", "path", "absolutepath", "filename", "file", "targetfile"];
const CONTENTS: [&str; 6] = ["content", "contents", "filetext", "text", "codecontent", "filecontent"];
const COMMANDS: [&str; 4] = ["command", "cmd", "script", "commandline"];
/// Names of tools, without case and underscores, the best first.
const WRITERS: [&str; 5] = ["write", "writefile", "create", "createfile", "writetofile"];
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
        Call::WriteFile { path, content } => write(&fill(path, values), &fill(content, values), tools, values),
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

fn write(path: &str, content: &str, tools: &[Tool], values: &Values) -> Option<ToolCall> {
    let path = absolute(path, values);
    for tool in named(tools, &WRITERS) {
        if let (Some(path_name), Some(content_name)) = (property(tool, &PATHS), property(tool, &CONTENTS)) {
            return Some(arguments(tool, [(path_name, json!(path)), (content_name, json!(content))]));
        }
    }
    // Without a tool for files, the shell writes the file.
    let folder = path.rsplit_once('/').map_or(".", |(folder, _)| if folder.is_empty() { "/" } else { folder });
    let end = delimiter(content);
    let newline = if content.ends_with('\n') { "" } else { "\n" };
    let command = format!("mkdir -p {} && cat > {} <<'{end}'\n{content}{newline}{end}", quote(folder), quote(&path));
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
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let fields = required.map(|name| (name.to_owned(), neutral_to(&schema["properties"][name], depth - 1)));
            Value::Object(fields.collect())
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

    fn write_file(tools: &[Tool]) -> (String, Value) {
        let call = Call::WriteFile { path: "src/a.txt".to_owned(), content: "it's".to_owned() };
        let values = Values::from([("cwd".to_owned(), "/work".to_owned())]);
        let call = translate(&call, tools, &values).unwrap();
        let Input::Arguments(arguments) = call.input else { panic!("arguments") };
        (call.name, arguments)
    }

    #[test]
    fn files_are_written_by_each_agents_own_tool() {
        for (name, path, content) in [
            ("Write", "file_path", "content"),
            ("write_file", "file_path", "content"),
            ("write", "filePath", "content"),
            ("create", "path", "file_text"),
        ] {
            let tools = [tool("Bash", &["command"], &["command"]), tool(name, &[path, content], &[path, content])];
            assert_eq!(write_file(&tools), (name.to_owned(), json!({path: "/work/src/a.txt", content: "it's"})));
        }
    }

    #[test]
    fn the_shell_writes_files_when_no_other_tool_can() {
        let (name, arguments) = write_file(&[tool("exec_command", &["cmd"], &["cmd"])]);
        assert_eq!(name, "exec_command");
        let command = "mkdir -p '/work/src' && cat > '/work/src/a.txt' <<'END_OF_FILE'\nit's\nEND_OF_FILE";
        assert_eq!(arguments, json!({"cmd": command}));
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
