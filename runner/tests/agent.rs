//! `enact-runner task` with a coding agent: a script that behaves like one, and a gateway that answers about the attempt.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use enact_domain::agents::builtin;
use enact_domain::agents::definition::{FileTemplate, Place};
use enact_domain::agents::events::{AgentEvent, RAW_PREFIX};
use enact_domain::agents::mcp::{McpServer, NamedValue};
use enact_domain::agents::probe::ProbeJob;
use enact_domain::agents::run::AgentRun;
use enact_domain::assignment::{ASSIGNMENT_ENV, Adapter, Reason};

use support::http::{response, serve};
use support::{EnactServer, Ended, GitServer, Pod};

const BRANCH: &str = "enact/shop-5f0c1a2b/t001-1";
/// The events of a session in the form of Claude Code.
const EVENTS: &str = r#"
say() { printf '%s\n' "$1"; }
begin() { say '{"type":"system","subtype":"init","session_id":"s-1"}'; }
message() { say '{"type":"assistant","message":{"content":[{"type":"text","text":"'"$1"'"}]}}'; }
tool() { say '{"type":"assistant","message":{"content":[{"type":"tool_use","name":"'"$1"'","input":'"$2"'}]}}'; }
end() { say '{"type":"result","subtype":"success","is_error":false,"result":"done","usage":{"input_tokens":10,"output_tokens":4,"cache_read_input_tokens":3},"total_cost_usd":0.002}'; }
fail() { say '{"type":"result","subtype":"success","is_error":true,"result":"'"$1"'"}'; exit 1; }
"#;

/// A pod whose Claude Code is a script.
struct Scene {
    git: GitServer,
    pod: Pod,
}

impl Scene {
    fn new(script: &str) -> Self {
        let git = GitServer::start();
        let pod = Pod::task(&git, "");
        fs::create_dir(pod.path("bin")).unwrap();
        pod.write("bin/claude", &format!("#!/bin/sh\n{EVENTS}\n{script}\n"));
        fs::set_permissions(pod.path("bin/claude"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", pod.path("bin").display(), std::env::var("PATH").unwrap());
        let pod = pod.with_environment("PATH", &path);
        Self { git, pod }.agent(|_| {})
    }

    fn agent(self, change: impl FnOnce(&mut AgentRun)) -> Self {
        let mut run = AgentRun { adapter: "ClaudeCode".into(), timeout_seconds: 600, ..AgentRun::default() };
        change(&mut run);
        let pod = self.pod.with_task(|task| task.adapter = Adapter::Agent(Box::new(run)));
        Self { pod, ..self }
    }

    fn run(&self) -> Ended {
        self.pod.run("task")
    }
}

/// Returns the URL of a gateway that always gives this answer, and the tokens that it gets.
fn gateway(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tokens);
    let url = serve(move |request| {
        assert_eq!(request.path, "/enact/v1/attempt");
        seen.lock().unwrap().push(request.header("authorization").to_owned());
        response("200 OK", &[("content-type", "application/json")], answer.as_bytes())
    });
    (url, tokens)
}

fn events(transcript: &str) -> Vec<AgentEvent> {
    transcript.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn work_becomes_a_commit_and_a_readable_log() {
    let (url, tokens) = gateway(
        r#"{"refusal":null,"usage":{"inputTokens":100,"cachedInputTokens":50,"outputTokens":20,"reasoningTokens":5,"costMicroUsd":1234}}"#,
    );
    let server = EnactServer::start(&[]);
    let scene = Scene::new(
        r#"begin; message "I write the cart. $ANTHROPIC_API_KEY"; tool Write '{"file_path":"cart.txt"}'
        tool Bash '{"command":"cargo test"}'; echo "a warning" >&2
        echo "$ANTHROPIC_BASE_URL $*" > arguments.txt; printf %s "$ANTHROPIC_API_KEY" > key.txt; end"#,
    );
    let gateway_url = url.clone();
    let scene = scene.agent(|run| {
        run.gateway_url = Some(gateway_url);
        run.model = Some("claude-x".into());
        run.max_turns = Some(7);
        run.instructions = Some("Be brief.".into());
    });
    let pod = scene.pod.with_server(&server);
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{}", ended.log);
    let show = |file: &str| scene.git.git(&["show", &format!("{BRANCH}:{file}")]);
    assert_eq!(show("key.txt"), "gateway.token.value");
    let arguments = show("arguments.txt");
    assert!(arguments.starts_with(&format!("{url} -p Create the cart, please.")), "{arguments}");
    for part in ["--model claude-x", "--max-turns 7", "--append-system-prompt-file /", "--session-id "] {
        assert!(arguments.contains(part), "{part}: {arguments}");
    }
    assert_eq!(scene.git.git(&["ls-tree", "--name-only", BRANCH]), "README.md\narguments.txt\nkey.txt");
    for line in [
        "session  s-1\n",
        "message  I write the cart. ***\n",
        "file     cart.txt\n",
        "command  cargo test\n",
        "output   a warning\n",
        "usage    10 input, 3 cached, 4 output tokens, 0.002000 USD\n",
    ] {
        assert!(ended.log.contains(line), "{line}: {}", ended.log);
    }
    assert!(ended.log.contains(&format!("\n{RAW_PREFIX}{{\"type\":\"result\"")), "{}", ended.log);
    assert!(!ended.log.contains("gateway.token.value"), "{}", ended.log);
    let usage = ended.report.usage;
    assert_eq!((usage.input_tokens, usage.cached_input_tokens, usage.cost_micro_usd), (100, 50, 1234));
    let result = server.result();
    assert_eq!(result.report, ended.report);
    let seen = events(&result.transcript);
    assert!(seen.contains(&AgentEvent::Command { command: "cargo test".into() }), "{seen:?}");
    assert!(tokens.lock().unwrap().iter().all(|token| token == "Bearer gateway.token.value"));
}

#[test]
fn own_usage_is_reported_without_a_gateway() {
    let ended = Scene::new("begin; echo x > x; end").run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let usage = ended.report.usage;
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.cost_micro_usd), (10, 4, 2000));
}

#[test]
fn own_usage_beyond_the_budget_of_the_attempt_stops_the_agent() {
    // OpenCode reports each request. This one would go on without an end.
    let step = r#"say '{"type":"step_finish","sessionID":"s-1","part":{"reason":"tool-calls","cost":0.01,"tokens":{"input":100,"output":20}}}'"#;
    let script =
        format!("echo half > half.txt; {step}; {step}; {step}; trap 'exit 0' TERM; while :; do sleep 0.1; done");
    let scene = |max_tokens: Option<u64>, max_cost_micro_usd: Option<u64>, timeout_seconds: u32| {
        let scene = Scene::new(&script);
        fs::rename(scene.pod.path("bin/claude"), scene.pod.path("bin/opencode")).unwrap();
        scene.agent(|run| {
            run.adapter = "OpenCode".into();
            (run.max_tokens, run.max_cost_micro_usd) = (max_tokens, max_cost_micro_usd);
            run.timeout_seconds = timeout_seconds;
        })
    };
    for (max_tokens, max_cost_micro_usd) in [(Some(300), None), (None, Some(25_000))] {
        let scene = scene(max_tokens, max_cost_micro_usd, 600);
        let ended = scene.run();
        assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::BudgetExceeded), "{}", ended.log);
        assert!(ended.report.message.contains("360 tokens and 0.030000 USD"), "{}", ended.report.message);
        assert_eq!(scene.git.git(&["show", &format!("{BRANCH}:half.txt")]), "half");
    }
    let ended = scene(Some(100_000), Some(100_000_000), 7).run();
    assert_eq!(ended.report.reason, Reason::DeadlineExceeded, "it has budget left: {}", ended.log);
}

#[test]
fn exit_0_without_work_is_no_success() {
    let ended = Scene::new("begin; message 'I will write the cart.'; end").run();
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::NothingDone), "{}", ended.log);
    assert!(ended.report.message.contains("I will write the cart."), "{}", ended.report.message);

    // Files outside the working tree are no work.
    let ended =
        Scene::new("begin; echo x > \"$HOME/cart.txt\"; echo x > \"$TMPDIR/cart.txt\"; echo x > ../cart.txt; end")
            .run();
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::NothingDone), "{}", ended.log);

    let ended = Scene::new("begin; echo 'the cart exists' > \"$ENACT_OUTPUT_DIR/no-change\"; end").run();
    assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{}", ended.log);
}

#[test]
fn failures_have_their_reasons() {
    for (script, code, reason) in [
        ("begin; fail 'API Error: 401 unauthorized'", 78, Reason::CredentialRejected),
        ("begin; fail 'API Error: 404 not_found_error, model: claude-9'", 78, Reason::ModelNotFound),
        ("begin; fail 'API Error: 429 rate_limit_error'", 75, Reason::RateLimited),
        ("begin; fail 'You exceeded your current quota'", 75, Reason::ProviderQuota),
        ("begin; echo x > x; fail 'something else'", 1, Reason::AgentFailed),
        ("say '{\"type\":\"result\",\"subtype\":\"error_max_turns\",\"is_error\":true}'; exit 1", 1, Reason::TurnLimit),
        ("echo x > x; echo not json; head -c 3000 /dev/zero", 1, Reason::AgentCrashed),
        ("begin; kill -SEGV $$", 1, Reason::AgentCrashed),
        ("begin; echo 'TypeError: boom' >&2; exit 7", 1, Reason::AgentCrashed),
    ] {
        let ended = Scene::new(script).run();
        assert_eq!((ended.code, ended.report.reason), (Some(code), reason), "{script}: {}", ended.log);
    }
}

#[test]
fn unfinished_work_is_pushed() {
    let scene = Scene::new("begin; echo half > half.txt; fail 'something else'");
    let ended = scene.run();
    assert_eq!(ended.report.reason, Reason::AgentFailed, "{}", ended.log);
    assert_eq!(ended.report.commit, scene.git.tip(BRANCH));
    assert_eq!(scene.git.git(&["show", &format!("{BRANCH}:half.txt")]), "half");
}

#[test]
fn refusal_by_the_gateway_stops_the_agent() {
    let (url, _) = gateway(
        r#"{"refusal":{"reason":"BudgetExceeded","message":"the budget of plan shop is used up","resetAt":null},"usage":{"inputTokens":7}}"#,
    );
    // A program that exits with 0 when it is stopped, as some do.
    let scene = Scene::new("begin; echo half > half.txt; trap 'exit 0' TERM; while :; do sleep 0.1; done");
    let scene = scene.agent(|run| run.gateway_url = Some(url));
    let begun = Instant::now();
    let ended = scene.run();
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::BudgetExceeded), "{}", ended.log);
    assert!(ended.report.message.contains("the budget of plan shop is used up"), "{}", ended.report.message);
    assert_eq!((ended.report.commit, ended.report.usage.input_tokens), (scene.git.tip(BRANCH), 7));
    assert!(scene.git.tip(BRANCH).is_some() && begun.elapsed() < Duration::from_mins(1));
}

#[test]
fn agent_that_tries_again_without_end_is_stopped_with_the_reason_of_the_gateway() {
    let (url, _) = gateway(r#"{"refusal":{"reason":"RateLimited","message":"wait"},"usage":null}"#);
    // A program that ignores SIGTERM while it waits for its next try, as some do.
    let scene = Scene::new("trap '' TERM; begin; while :; do sleep 0.1; done").agent(|run| run.gateway_url = Some(url));
    let ended = scene.run();
    assert_eq!((ended.code, ended.report.reason), (Some(75), Reason::RateLimited), "{}", ended.log);
    assert!(ended.report.message.contains("the gateway refused a request: wait"), "{}", ended.report.message);
}

#[test]
fn agent_that_never_stops_is_stopped_before_the_deadline_of_the_pod() {
    let scene = Scene::new("begin; echo half > half.txt; while :; do sleep 0.1; done");
    let scene = scene.agent(|run| run.timeout_seconds = 7);
    let ended = scene.run();
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::DeadlineExceeded), "{}", ended.log);
    assert_eq!(scene.git.git(&["show", &format!("{BRANCH}:half.txt")]), "half");
}

#[test]
fn flood_is_limited_and_stopped() {
    let server = EnactServer::start(&[]);
    // Many events first, then one line without an end.
    let scene = Scene::new("begin; for n in $(seq 5000); do message flood; done; echo x > x; tr '\\0' x < /dev/zero");
    let pod = scene.pod.with_server(&server);
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::AgentFailed));
    assert!(ended.report.message.contains("printed more than"), "{}", ended.report.message);
    assert!(ended.log.len() < 20 << 20, "{}", ended.log.len());
    assert!(server.result().transcript.len() < 300 << 10);
}

#[test]
fn files_of_an_adapter_are_neither_committed_nor_replace_files_of_the_repository() {
    let scene = Scene::new(
        "begin; cat OWN.md EXTRA.md > seen.txt; cat \"$HOME/settings.json\" >> seen.txt; git add --all; end",
    );
    scene.git.commit("main", &[("OWN.md", "from the repository\n")]);
    let file = |path: &str, place| FileTemplate {
        path: path.into(),
        place,
        variable: None,
        text: (place == Place::Tree).then(|| "from the adapter\n".to_owned()),
        json: (place == Place::Home).then(|| serde_json::json!({"model": "{model}", "none": "{maxTurns}"})),
        toml: None,
    };
    let mut custom = builtin::find("ClaudeCode").unwrap().clone();
    custom.files.extend([
        file("OWN.md", Place::Tree),
        file("EXTRA.md", Place::Tree),
        file("settings.json", Place::Home),
    ]);
    let scene = scene.agent(|run| {
        run.adapter.clear();
        run.custom = Some(custom);
        run.model = Some("m\"1".into());
    });
    let ended = scene.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let seen = scene.git.git(&["show", &format!("{BRANCH}:seen.txt")]);
    assert_eq!(seen, "from the repository\nfrom the adapter\n{\n  \"model\": \"m\\\"1\"\n}");
    assert_eq!(scene.git.git(&["ls-tree", "--name-only", BRANCH]), "OWN.md\nREADME.md\nseen.txt");
}

#[test]
fn standard_input_has_the_text_of_the_adapter() {
    // The program ends without having read all of it, which is more than a pipe holds.
    let scene = Scene::new("begin; head -c 50000 > seen.txt; end");
    let long = "y".repeat(100_000);
    let mut custom = builtin::find("ClaudeCode").unwrap().clone();
    custom.standard_input = Some("{instructions}".into());
    let scene = scene.agent(|run| {
        run.adapter.clear();
        run.custom = Some(custom);
        run.instructions = Some(long);
    });
    let ended = scene.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(scene.git.git(&["show", &format!("{BRANCH}:seen.txt")]), "y".repeat(50_000));

    let ended = Scene::new("begin; cat > seen.txt; echo x > x; end").run();
    assert_eq!(ended.code, Some(0), "the standard input is empty: {}", ended.log);
}

#[test]
fn credentials_of_mcp_servers_are_in_the_configuration_alone() {
    let server = EnactServer::start(&[]);
    let scene = Scene::new(
        r#"begin; cat "$HOME/.enact/mcp.json"; env | grep -c ENACT_MCP > count.txt
        message "the token is $(grep -o 'canary-[a-z0-9]*' "$HOME/.enact/mcp.json" | head -n 1)"; end"#,
    );
    let value = |name: &str, variable: &str| NamedValue {
        name: name.into(),
        from_env: Some(variable.into()),
        ..NamedValue::default()
    };
    let scene = scene.agent(|run| {
        let tracker = McpServer {
            name: "tracker".into(),
            url: Some("https://mcp.example.com".into()),
            headers: vec![value("Authorization", "ENACT_MCP_tracker.Authorization")],
            ..McpServer::default()
        };
        let docs = McpServer {
            name: "docs".into(),
            command: vec!["docs".into()],
            env: vec![value("TOKEN", "ENACT_MCP_docs.TOKEN")],
            ..McpServer::default()
        };
        run.mcp_servers = vec![tracker, docs];
    });
    let pod = scene.pod.with_server(&server);
    let pod = pod.with_environment("ENACT_MCP_tracker.Authorization", "Bearer canary-1f3a\n");
    let pod = pod.with_environment("ENACT_MCP_docs.TOKEN", "canary-7c2e");
    let ended = pod.run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(scene.git.git(&["show", &format!("{BRANCH}:count.txt")]), "0");
    assert!(
        ended.log.contains("\"Authorization\": \"***\"") && ended.log.contains("the token is ***"),
        "{}",
        ended.log
    );
    let result = server.result();
    for text in [&ended.log, &result.transcript, &format!("{result:?}")] {
        assert!(!text.contains("canary"), "{text}");
    }
    assert!(!pod.path("work/home/.enact/mcp.json").exists(), "HOME keeps no credential");

    let ended = Scene::new("end")
        .agent(|run| {
            let headers = vec![value("Authorization", "ENACT_MCP_tracker.Authorization")];
            let url = Some("https://mcp.example.com".into());
            run.mcp_servers = vec![McpServer { name: "tracker".into(), url, headers, ..McpServer::default() }];
        })
        .run();
    assert_eq!(ended.report.reason, Reason::InvalidAssignment, "{}", ended.log);
    assert!(ended.report.message.contains("which the pod does not have"), "{}", ended.report.message);
}

#[test]
fn skills_are_in_the_home_directory_while_the_agent_runs() {
    let scene = Scene::new(
        "begin; cd \"$HOME/.claude/skills\"; ls review > \"$OLDPWD/seen.txt\"; cat review/SKILL.md review/terms.md >> \"$OLDPWD/seen.txt\"
        ./review/check.sh >> \"$OLDPWD/seen.txt\"; end",
    );
    let scene = scene.agent(|run| run.skills = vec!["review".into()]);
    // As the kubelet mounts a ConfigMap.
    let volume = scene.pod.path("skills/review");
    fs::create_dir_all(volume.join("..2026_01_01")).unwrap();
    for (name, content) in
        [("SKILL.md", "the skill\n"), ("terms.md", "the terms\n"), ("check.sh", "#!/bin/sh\necho checked\n")]
    {
        fs::write(volume.join("..2026_01_01").join(name), content).unwrap();
        symlink(Path::new("..data").join(name), volume.join(name)).unwrap();
    }
    symlink("..2026_01_01", volume.join("..data")).unwrap();
    let ended = scene.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let seen = scene.git.git(&["show", &format!("{BRANCH}:seen.txt")]);
    assert_eq!(seen, "SKILL.md\ncheck.sh\nterms.md\nthe skill\nthe terms\nchecked");
    assert_eq!(scene.git.git(&["ls-tree", "--name-only", BRANCH]), "README.md\nseen.txt");
    assert!(
        !scene.pod.path("work/home/.claude/skills/review").exists(),
        "it would stay after its removal from the Agent"
    );

    let ended = Scene::new("end").agent(|run| run.skills = vec!["missing".into()]).run();
    assert_eq!((ended.code, ended.report.reason), (Some(75), Reason::ContainerConfigError), "{}", ended.log);
    assert!(ended.report.message.contains("the skill missing"), "{}", ended.report.message);
}

#[test]
fn what_is_missing_is_named() {
    let scene = Scene::new("end");
    fs::remove_file(scene.pod.path("bin/claude")).unwrap();
    let ended = scene.agent(|run| run.adapter = "Devin".into()).run();
    assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::InvalidAssignment), "{}", ended.log);
    assert!(ended.report.message.contains("`devin` cannot be started"), "{}", ended.report.message);

    let ended = Scene::new("end").agent(|run| run.adapter = "Nobody".into()).run();
    assert!(ended.report.message.contains("no adapter `Nobody`"), "{}", ended.report.message);

    let scene = Scene::new("end").agent(|run| run.gateway_url = Some("http://127.0.0.1:1".into()));
    fs::remove_file(scene.pod.path("gateway-token")).unwrap();
    let ended = scene.run();
    assert_eq!((ended.code, ended.report.reason), (Some(75), Reason::ContainerConfigError), "{}", ended.log);
}

#[test]
fn unreachable_gateway_does_not_end_the_attempt() {
    let scene = Scene::new("begin; echo x > x; end").agent(|run| run.gateway_url = Some("http://127.0.0.1:1".into()));
    let ended = scene.run();
    assert_eq!((ended.code, ended.report.usage.input_tokens), (Some(0), 10), "{}", ended.log);
}

/// Probes an agent whose Claude Code is this script.
fn probe(script: &str, adapter: &str, gateway_url: Option<String>) -> Ended {
    let pod = Scene::new(script).pod;
    let run = AgentRun { adapter: adapter.into(), model: Some("claude-x".into()), gateway_url, ..AgentRun::default() };
    let job = ProbeJob { agent: "coder".into(), model: run.gateway_url.is_some(), run };
    pod.with_environment(ASSIGNMENT_ENV, &serde_json::to_string(&job).unwrap()).run("probe")
}

#[test]
fn probe_finds_what_the_image_lacks() {
    let good = probe("test \"$*\" = --version && echo '2.1.330 (Claude Code)'", "ClaudeCode", None);
    let report = (good.report.reason, good.report.message.as_str());
    assert_eq!((good.code, report), (Some(0), (Reason::Succeeded, "2.1.330 (Claude Code)")), "{}", good.log);
    let broken = probe("echo 'Cannot find module cli.js' >&2; exit 3", "ClaudeCode", None);
    assert_eq!(broken.report.reason, Reason::AgentCrashed, "{}", broken.log);
    let message = &broken.report.message;
    assert!(message.contains("`claude --version` exited with 3: Cannot find module cli.js"), "{message}");
    let missing = probe("exit 0", "Devin", None);
    assert_eq!(missing.report.reason, Reason::AgentCrashed, "{}", missing.log);
    let message = &missing.report.message;
    assert!(message.contains("the image has no program `devin`, which the adapter Devin runs"), "{message}");
}

#[test]
fn probe_asks_the_model_through_the_gateway() {
    let ask = |status: &'static str, body: &'static str| {
        let url = serve(move |request| {
            assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/messages"));
            assert_eq!(request.header("authorization"), "Bearer gateway.token.value");
            let sent: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!((&sent["model"], &sent["max_tokens"]), (&"claude-x".into(), &16.into()));
            response(status, &[("content-type", "application/json")], body.as_bytes())
        });
        let ended = probe("echo 2.1.330", "ClaudeCode", Some(url));
        assert!(!ended.log.contains("gateway.token.value"), "{}", ended.log);
        ended.report
    };
    let report = ask("200 OK", r#"{"content":[]}"#);
    assert_eq!((report.reason, report.message.as_str()), (Reason::Succeeded, "2.1.330"));
    let refused = ask("403 Forbidden", r#"{"error":{"message":"CredentialRejected: the provider refuses its key"}}"#);
    assert_eq!(refused.reason, Reason::CredentialRejected);
    assert!(refused.message.contains("the model claude-x answered with 403"), "{}", refused.message);
    let missing = ask("403 Forbidden", r#"{"error":{"message":"ModelNotAllowed: not listed"}}"#);
    assert_eq!(missing.reason, Reason::ModelNotFound);
}
