//! The built-in adapters: their definitions, and what they start.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::path::Path;

use enact_domain::agents::definition::{AdapterDefinition, Api, Demands, Place};
use enact_domain::agents::mcp::{McpServer, NamedValue, credential_variable};
use enact_domain::agents::render::{Start, Values, render};
use enact_domain::agents::run::AgentRun;
use enact_domain::agents::{builtin, needs};
use serde_json::{Value, json};

const NAMES: [&str; 8] = ["ClaudeCode", "Codex", "GeminiCli", "QwenCode", "OpenCode", "Copilot", "Cursor", "Devin"];

/// A value of a Secret.
fn from_env(server: &str, name: &str) -> NamedValue {
    NamedValue { name: name.into(), from_env: Some(credential_variable(server, name)), value: None }
}

/// A run that uses everything that the adapter can do.
fn full(adapter: &AdapterDefinition) -> AgentRun {
    let can = adapter.capabilities;
    let tracker = McpServer {
        name: "tracker".into(),
        url: Some("https://mcp.example.com".into()),
        headers: vec![from_env("tracker", "Authorization")],
        ..McpServer::default()
    };
    let docs = McpServer {
        name: "docs".into(),
        command: vec!["docs".into(), "-r".into()],
        env: vec![
            NamedValue { name: "MODE".into(), value: Some("fast".into()), from_env: None },
            from_env("docs", "TOKEN"),
        ],
        ..McpServer::default()
    };
    AgentRun {
        adapter: adapter.name.clone(),
        model: Some("a/model-1".into()),
        gateway_url: adapter.api.map(|_| "http://gateway:8090/".into()),
        instructions: Some("Be \"brief\".\nAlways.".into()),
        mcp_servers: if can.mcp { vec![tracker, docs] } else { Vec::new() },
        skills: if can.skills { vec!["review".into()] } else { Vec::new() },
        max_turns: can.turn_limit.then_some(9),
        max_cost_micro_usd: can.own_budget.then_some(2_500_000),
        timeout_seconds: 600,
        ..AgentRun::default()
    }
}

fn credential(variable: &str) -> Option<String> {
    let values = [("ENACT_MCP_tracker.Authorization", "Bearer secret"), ("ENACT_MCP_docs.TOKEN", "to \"ken\"")];
    values.iter().find(|(name, _)| *name == variable).map(|(_, value)| (*value).to_owned())
}

fn values<'a>(run: &'a AgentRun, prompt: &'a str, session: Option<&'a str>) -> Values<'a> {
    Values {
        run,
        token: Some("to{ken}"),
        task_id: "T004",
        prompt,
        prompt_file: "/work/prompt.md",
        home: "/work/home",
        tree: "/work/tree",
        temporary: "/work/tmp",
        session,
        new_session: "00000000-0000-8000-8000-000000000001",
    }
}

fn start(adapter: &AdapterDefinition, run: &AgentRun, prompt: &str) -> Start {
    start_session(adapter, run, prompt, None)
}

fn start_session(adapter: &AdapterDefinition, run: &AgentRun, prompt: &str, session: Option<&str>) -> Start {
    render(adapter, &values(run, prompt, session), &credential).unwrap()
}

#[test]
fn every_file_is_a_definition() {
    let names: Vec<&str> = builtin::all().iter().map(|adapter| adapter.name.as_str()).collect();
    assert_eq!(names, NAMES, "a file that is missing here is not valid");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/agents/adapters");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        builtin::parse(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    assert_eq!(
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/agents/adapters")).unwrap().count(),
        NAMES.len()
    );
}

#[test]
fn values_reach_the_program_as_one_argument_each() {
    let prompt = "- do {model} $(id) `id` \"x\"\nand more";
    for adapter in builtin::all() {
        let run = full(adapter);
        let started = start(adapter, &run, prompt);
        let given = format!("\n{prompt}");
        let input = started.standard_input.as_ref() == Some(&given);
        assert_ne!(started.argv.contains(&given), input, "{}: {started:?}", adapter.name);
        assert!(started.files.iter().all(|file| file.place == Place::Home), "{}", adapter.name);
        let everything = format!("{started:?}");
        assert!(!everything.contains("{model}\"") && !everything.contains("{token}"), "{}: {everything}", adapter.name);
        if adapter.api.is_some() {
            assert!(everything.contains("to{ken}") && everything.contains("http://gateway:8090"), "{}", adapter.name);
            assert!(
                !started.argv.iter().any(|argument| argument.contains("to{ken}")),
                "{}: a token in the arguments",
                adapter.name
            );
            assert!(everything.contains("Always."), "{} does not use the instructions", adapter.name);
        }
        if adapter.capabilities.mcp {
            assert!(
                everything.contains("Bearer secret") && everything.contains("docs"),
                "{}: {everything}",
                adapter.name
            );
        }
        if adapter.capabilities.turn_limit {
            assert!(everything.contains('9'), "{}", adapter.name);
        }
        assert_eq!(started.argv.iter().any(|argument| argument == "2.500000"), adapter.capabilities.own_budget);
        if adapter.capabilities.resume {
            let resumed = start_session(adapter, &run, "go on", Some("s-77"));
            assert!(
                resumed.argv.iter().any(|argument| argument.contains("s-77")),
                "{}: {:?}",
                adapter.name,
                resumed.argv
            );
            assert!(!adapter.session_files.is_empty(), "the session of {} is not kept", adapter.name);
        }
    }
}

#[test]
fn a_part_without_a_value_is_left_out() {
    for adapter in builtin::all() {
        let run = AgentRun { adapter: adapter.name.clone(), timeout_seconds: 1, ..AgentRun::default() };
        let started = start(adapter, &run, "go");
        let everything = format!("{started:?}");
        assert!(!everything.contains("to{ken}") && !everything.contains("enact\\\""), "{}: {everything}", adapter.name);
    }
    let claude = builtin::find("ClaudeCode").unwrap();
    let run = AgentRun { adapter: "ClaudeCode".into(), timeout_seconds: 1, ..AgentRun::default() };
    let started = start(claude, &run, "go");
    assert!(
        !started.argv.iter().any(|argument| argument == "--model" || argument == "--mcp-config"),
        "{:?}",
        started.argv
    );
    assert_eq!(started.files, []);
}

/// `opencode run` puts a message with spaces among its arguments between quotation marks.
#[test]
fn opencode_reads_its_prompt_from_standard_input() {
    let adapter = builtin::find("OpenCode").unwrap();
    for session in [None, Some("s-77")] {
        let started = start_session(adapter, &full(adapter), "say \"hello\" twice", session);
        assert_eq!(started.standard_input.as_deref(), Some("say \"hello\" twice"));
        assert!(!started.argv.iter().any(|argument| argument.contains("hello")), "{:?}", started.argv);
    }
}

#[test]
fn settings_are_valid_json_and_toml() {
    let content = |name: &str, path: &str| {
        let adapter = builtin::find(name).unwrap();
        let files = start(adapter, &full(adapter), "go").files;
        files.into_iter().find(|file| file.path == path).unwrap().content
    };
    let opencode: Value = serde_json::from_str(&content("OpenCode", ".config/opencode/opencode.json")).unwrap();
    assert_eq!(opencode["model"], "enact/a/model-1");
    assert_eq!(opencode["provider"]["enact"]["models"]["a/model-1"]["name"], "a/model-1");
    assert_eq!(opencode["mcp"]["docs"]["command"], json!(["docs", "-r"]));
    assert_eq!(opencode["instructions"], json!(["/work/home/.config/opencode/enact.md"]));
    let gemini: Value = serde_json::from_str(&content("GeminiCli", ".gemini/settings.json")).unwrap();
    assert_eq!(gemini["model"]["maxSessionTurns"], 9);
    assert_eq!(gemini["mcpServers"]["tracker"]["headers"]["Authorization"], "Bearer secret");
    insta::assert_snapshot!(content("Codex", ".codex/config.toml"));
}

/// Where each program has the headers of a remote server and the variables of a local one.
#[test]
fn credentials_of_mcp_servers_reach_every_program() {
    let env = json!({"MODE": "fast", "TOKEN": "to \"ken\""});
    let headers = json!({"Authorization": "Bearer secret"});
    for (name, path, servers, variables, header_key) in [
        ("ClaudeCode", ".enact/mcp.json", "mcpServers", "env", "headers"),
        ("Codex", ".codex/config.toml", "mcp_servers", "env", "http_headers"),
        ("GeminiCli", ".gemini/settings.json", "mcpServers", "env", "headers"),
        ("QwenCode", ".enact/mcp.json", "mcpServers", "env", "headers"),
        ("OpenCode", ".config/opencode/opencode.json", "mcp", "environment", "headers"),
        ("Copilot", ".enact/mcp.json", "mcpServers", "env", "headers"),
    ] {
        let adapter = builtin::find(name).unwrap();
        let started = start(adapter, &full(adapter), "go");
        let content = &started.files.iter().find(|file| file.path == path).unwrap().content;
        let settings: Value =
            if name == "Codex" { toml::from_str(content).unwrap() } else { serde_json::from_str(content).unwrap() };
        assert_eq!(settings[servers]["docs"][variables], env, "{name}");
        assert_eq!(settings[servers]["tracker"][header_key], headers, "{name}");
        let elsewhere = format!("{:?} {:?} {:?}", started.argv, started.env, started.standard_input);
        assert!(!elsewhere.contains("secret") && !elsewhere.contains("ken\\\""), "{name}: {elsewhere}");
    }
}

#[test]
fn mcp_servers_are_checked() {
    let adapter = builtin::find("ClaudeCode").unwrap();
    let good = McpServer { name: "docs".into(), command: vec!["docs".into()], ..McpServer::default() };
    good.check().unwrap();
    let named = |value: Option<&str>, variable: Option<&str>| {
        vec![NamedValue { name: "A".into(), value: value.map(Into::into), from_env: variable.map(Into::into) }]
    };
    for (server, words) in [
        (McpServer { name: "Docs".into(), ..good.clone() }, "not a name"),
        (McpServer { command: Vec::new(), ..good.clone() }, "exactly one of command and url"),
        (McpServer { headers: named(Some("a"), None), ..good.clone() }, "headers with url only"),
        (McpServer { env: named(None, None), ..good.clone() }, "exactly one of value and fromEnv"),
        (
            McpServer { env: named(Some("a"), Some("ENACT_MCP_docs.A")), ..good.clone() },
            "exactly one of value and fromEnv",
        ),
        // The assignment must not be a way to the other variables of the pod.
        (McpServer { env: named(None, Some("ENACT_ASSIGNMENT")), ..good.clone() }, "begins with ENACT_MCP_"),
    ] {
        let error = server.check().unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
    }
    let missing = McpServer { env: named(None, Some("ENACT_MCP_docs.A")), ..good };
    let run = AgentRun { mcp_servers: vec![missing], ..full(adapter) };
    let values = values(&run, "go", None);
    let error = render(adapter, &values, &credential).unwrap_err();
    assert!(error.contains("`ENACT_MCP_docs.A`, which the pod does not have"), "{error}");
}

#[test]
fn conflicts_are_named() {
    let codex = builtin::find("Codex").unwrap();
    let demands = Demands { api: Some(Api::Anthropic), max_turns: true, ..Demands::default() };
    let found = codex.conflicts(&demands);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("OpenAi") && found[1].contains("remove maxTurns"), "{found:?}");
    assert_eq!(
        codex.conflicts(&Demands { api: Some(Api::OpenAi), mcp_servers: true, skills: true, max_turns: false }),
        [""; 0]
    );
    let devin = builtin::find("Devin").unwrap();
    assert_eq!(devin.conflicts(&Demands { api: Some(Api::OpenAi), ..Demands::default() }).len(), 1);
    let found = devin.conflicts(&Demands { skills: true, ..Demands::default() });
    assert_eq!(found, ["the adapter Devin cannot use skills; remove skills"]);
    let run = AgentRun { adapter: "Codex".into(), skills: vec!["../review".into()], ..AgentRun::default() };
    assert!(run.definition().unwrap_err().contains("not a name of a skill"));
}

#[test]
fn invalid_definitions_are_refused() {
    let good =
        "name: X\ntitle: X\ncapabilities: {streaming: true}\ncommand: [[x, \"{prompt}\"]]\nevents: {format: Text}\n";
    builtin::parse(good).unwrap();
    for (from, to, words) in [
        ("{prompt}", "{promt}", "no variable `promt`"),
        ("{prompt}", "{", "without its `}`"),
        ("title: X", "title: X\nstandardInput: \"{promt}\"", "no variable `promt`"),
        ("[[x, \"{prompt}\"]]", "[]", "begins with the program"),
        ("streaming: true", "streaming: true, resume: true", "must be false"),
        ("events: {format: Text}", "events: {format: Text, rules: [{message: text}]}", "JSON Pointer"),
        (
            "events: {format: Text}",
            "events: {format: Text}\nfailures: [{pattern: \"(\", reason: RateLimited}]",
            "is invalid",
        ),
        (
            "events: {format: Text}",
            "events: {format: Text}\nfailures: [{pattern: \"(a{900}){900}\", reason: RateLimited}]",
            "is invalid",
        ),
        ("events: {format: Text}", "events: {format: Text}\nfiles: [{path: ../x, text: x}]", "must be relative"),
        (
            "events: {format: Text}",
            "events: {format: Text}\nfiles: [{path: .git/config, place: Tree, text: x}]",
            "must not be in .git",
        ),
        ("events: {format: Text}", "events: {format: Text}\nfiles: [{path: x, as: home, text: x}]", "another meaning"),
        ("events: {format: Text}", "events: {format: Text}\nenv: {ENACT_X: x}", "ENACT_"),
        ("title: X", "title: X\nsessionFiles: [../x]", "must be relative"),
        ("title: X", "title: X\nsessionFiles: [x]", "need resume"),
        ("title: X", "title: X\nshell: true", "unknown field"),
        ("title: X", "title: X\nskills: .x/skills", "must be true"),
        ("streaming: true", "streaming: true, skills: true}\nskills: ../x\nfailures: []\nenv: {", "must be relative"),
    ] {
        let error = builtin::parse(&good.replace(from, to)).unwrap_err();
        assert!(error.contains(words), "{to}: {error}");
    }
}

/// Checks the table in the guide.
#[test]
fn the_guide_lists_every_adapter() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/agents.md")).unwrap();
    let table: String = builtin::all().iter().map(row).collect();
    assert!(page.contains(&table), "docs/guide/agents.md must have these rows:\n{table}");
}

fn row(adapter: &AdapterDefinition) -> String {
    let can = adapter.capabilities;
    let yes = |value: bool| if value { "yes" } else { "" };
    let api: &str = adapter.api.map_or("its vendor's", Into::into);
    let files: Vec<String> = adapter.context_files.iter().map(|name| format!("`{name}`")).collect();
    let cells = [
        format!("`{}`", adapter.name),
        adapter.title.clone(),
        adapter.verified.clone().unwrap_or_else(|| "**unverified**".into()),
        api.to_owned(),
        yes(can.streaming).to_owned(),
        yes(can.resume).to_owned(),
        yes(can.mcp).to_owned(),
        yes(can.skills).to_owned(),
        yes(can.turn_limit).to_owned(),
        yes(can.own_budget).to_owned(),
        yes(can.usage).to_owned(),
        files.join(", "),
    ];
    format!("| {} |\n", cells.join(" | ").replace("  ", " "))
}

#[test]
fn the_guide_lists_what_texts_need() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/agents.md")).unwrap();
    let (_, section) = page.split_once("### What a task needs").unwrap();
    let section = section.split("\n### ").next().unwrap();
    let words = section.to_lowercase().replace('-', " ");
    for (capability, phrases) in needs::WORDS {
        assert!(section.contains(&format!("`{capability}`")), "{capability}");
        for phrase in phrases {
            assert!(words.contains(phrase), "{capability}: {phrase}");
        }
    }
    for (capability, extensions) in needs::EXTENSIONS {
        assert!(section.contains(&format!("`{capability}`")), "{capability}");
        for extension in extensions {
            assert!(section.contains(&format!("`.{extension}`")), "{capability}: .{extension}");
        }
    }
}
