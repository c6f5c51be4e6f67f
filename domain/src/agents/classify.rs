//! What the end of an agent's process means.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use super::definition::{AdapterDefinition, End, compiled};
use super::stream::Summary;
use crate::reason::Reason;

/// A pattern for an HTTP status in a text about an error. A number elsewhere, such as that of a line, is none.
macro_rules! status {
    ($code:literal) => {
        concat!(
            r"(?:^|\bstatus(?: code)?|\bhttp(?: error)?|code|error)[\s:=\x22'(\[{]{0,4}",
            $code,
            r"\b|\(",
            $code,
            r"\)"
        )
    };
}

/// Patterns of errors that all agents have in common: they quote the answer of the model provider. They apply after the rules of the
/// adapter, in this order.
const COMMON: [(&str, Reason); 5] = [
    (
        concat!(
            r"insufficient_quota|quota (?:is )?exceeded|exceeded your (?:current )?quota|credit balance is too low|out of credits|",
            status!("402")
        ),
        Reason::ProviderQuota,
    ),
    (
        concat!(
            r"unauthorized|unauthenticated|invalid[ _-](?:x-)?api[ _-]key|authentication_error|api key not valid|incorrect api key|",
            status!("401")
        ),
        Reason::CredentialRejected,
    ),
    (
        r"model_?not_?(?:found|allowed)|\bmodels?[ /:]{1,2}[`'\x22]?[\w./:@-]+[`'\x22]? (?:does not exist|(?:is )?not found)|\bnot_found_error\b",
        Reason::ModelNotFound,
    ),
    (concat!(r"rate[ _-]?limit|too many requests|resource_exhausted|", status!("429")), Reason::RateLimited),
    (r"\brefusal\b|content_filter|violat\w+ (?:our|the) (?:usage )?polic", Reason::Refused),
];

static COMMON_PATTERNS: LazyLock<RegexSet> = LazyLock::new(|| {
    let patterns = COMMON.iter().map(|(pattern, _)| format!("(?im){pattern}"));
    // Constants: a test checks that they compile.
    RegexSet::new(patterns).unwrap_or_default()
});

/// Patterns of the lines on standard error with which a program reports its own error: a word such as `Error` is among the first ones, or
/// the line begins with an HTTP status. A line that begins with a dash is an option in a help text.
const ERROR_LINE: [&str; 2] = [
    r"(?i)^[^\w\[(-]*(?:[\[(]?\w\S*\s+){0,4}?[\[(]?[\w.]*(?:errors?|fatal|exception|panicked|failed|failure|invalid|unauthorized|exceeded)\b",
    r"(?i)^[^\w-]*(?:HTTP[/ ]?[\d.]*\s*)?[45]\d\d\s+[a-z{]",
];

/// The pattern of such a line about a tool: its command failed, not the program.
const TOOL_ERROR: &str = r"(?i)^\W*errors? (?:executing|calling|running|in) (?:the )?tool\b";

static ERROR_LINES: LazyLock<(RegexSet, RegexSet)> =
    LazyLock::new(|| (RegexSet::new(ERROR_LINE).unwrap_or_default(), RegexSet::new([TOOL_ERROR]).unwrap_or_default()));

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The process exited with this code.
    Code(i32),
    /// A signal that the runner did not send killed the process.
    Signal(i32),
}

/// What is known after the process of an agent has ended on its own.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    pub exit: Exit,
    pub summary: &'a Summary,
    /// End of standard error.
    pub stderr: &'a str,
    /// The working tree or its history differs from its start.
    pub changed: bool,
    /// The agent wrote an output.
    pub outputs: bool,
}

/// Returns whether the agent succeeded.
///
/// Exit code 0 alone never means success: an agent that may not use its tools, or that only announces what it is about to do, exits with 0.
/// The agent succeeded if it exited with 0, no event states a failure, and it left a change or an output. A task that changes nothing on
/// purpose writes an output; the prompt says so.
///
/// # Errors
/// The reason and a message for a person, which may quote the agent.
pub fn classify(definition: &AdapterDefinition, outcome: &Outcome) -> Result<(), (Reason, String)> {
    let (title, summary) = (&definition.title, outcome.summary);
    let how = match outcome.exit {
        Exit::Signal(signal) => {
            return Err((Reason::AgentCrashed, explained(outcome, format!("{title} was killed by signal {signal}"))));
        }
        Exit::Code(code) => format!("{title} exited with {code}"),
    };
    let failed = outcome.exit != Exit::Code(0) || summary.end == Some(End::Failed) || summary.reason.is_some();
    if failed {
        let reason = summary.reason.or_else(|| by_rules(definition, outcome)).unwrap_or(match summary.end {
            None if definition.events.requires_end => Reason::AgentCrashed,
            _ => Reason::AgentFailed,
        });
        return Err((reason, explained(outcome, how)));
    }
    if summary.end.is_none() && definition.events.requires_end {
        let how =
            format!("{how} without the event that ends a session; the image may have another version of the program");
        return Err((Reason::AgentCrashed, explained(outcome, how)));
    }
    if !outcome.changed && !outcome.outputs {
        let how = format!("{title} exited with 0, but changed no file and wrote no output");
        return Err((Reason::NothingDone, with_detail(how, &summary.last_message)));
    }
    Ok(())
}

/// Returns the reason by the rules of the adapter, and else by the words of the errors.
fn by_rules(definition: &AdapterDefinition, outcome: &Outcome) -> Option<Reason> {
    let texts = [outcome.summary.errors.as_str(), outcome.stderr];
    let code = match outcome.exit {
        Exit::Code(code) => Some(code),
        Exit::Signal(_) => None,
    };
    let found = |pattern: &Regex| texts.iter().any(|text| pattern.is_match(text));
    let own = definition.failures.iter().find(|rule| {
        rule.exit_code.is_none_or(|wanted| Some(wanted) == code)
            // A definition is checked before it is used, so that every pattern compiles.
            && rule.pattern.as_ref().is_none_or(|pattern| compiled(pattern).is_ok_and(|pattern| found(&pattern)))
    });
    own.map(|rule| rule.reason).or_else(|| by_words(outcome))
}

/// Returns the reason by the words of the errors, which quote the answer of the model provider.
fn by_words(outcome: &Outcome) -> Option<Reason> {
    let Summary { end, errors, .. } = outcome.summary;
    let lines = match end {
        // The work was done: whatever the program complains about afterwards is not the cause of a failure of the work.
        Some(End::Completed) => return None,
        // The events state the cause.
        Some(End::Failed) if !errors.is_empty() => String::new(),
        _ => error_lines(outcome.stderr),
    };
    let first = [errors, &lines].into_iter().filter_map(|text| COMMON_PATTERNS.matches(text).into_iter().next()).min();
    first.map(|index| COMMON[index].1)
}

/// Returns the lines of standard error with which the program reports its own error.
fn error_lines(stderr: &str) -> String {
    let (error, tool) = &*ERROR_LINES;
    let lines = stderr.lines().filter(|line| error.is_match(line) && !tool.is_match(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn explained(outcome: &Outcome, how: String) -> String {
    let errors = outcome.summary.errors.trim();
    with_detail(how, if errors.is_empty() { outcome.stderr } else { errors })
}

/// Returns a message with the end of a text.
fn with_detail(message: String, detail: &str) -> String {
    const MOST: usize = 600;
    let detail = detail.trim();
    let detail = &detail[detail.ceil_char_boundary(detail.len().saturating_sub(MOST))..];
    if detail.is_empty() { message } else { format!("{message}: {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::builtin;

    fn claude() -> &'static AdapterDefinition {
        builtin::find("ClaudeCode").unwrap()
    }

    fn reason(exit: Exit, summary: &Summary, stderr: &str, changed: bool) -> Option<Reason> {
        let outcome = Outcome { exit, summary, stderr, changed, outputs: false };
        classify(claude(), &outcome).err().map(|(reason, _)| reason)
    }

    #[test]
    fn common_patterns_compile() {
        assert_eq!(COMMON_PATTERNS.len(), COMMON.len());
        assert_eq!((ERROR_LINES.0.len(), ERROR_LINES.1.len()), (ERROR_LINE.len(), 1));
    }

    #[test]
    fn success_needs_an_end_and_work() {
        let ended = Summary { end: Some(End::Completed), ..Summary::default() };
        assert_eq!(reason(Exit::Code(0), &ended, "", true), None);
        assert_eq!(reason(Exit::Code(0), &ended, "", false), Some(Reason::NothingDone));
        assert_eq!(reason(Exit::Code(0), &Summary::default(), "", true), Some(Reason::AgentCrashed));
        let failed = Summary { end: Some(End::Failed), ..Summary::default() };
        assert_eq!(reason(Exit::Code(0), &failed, "", true), Some(Reason::AgentFailed));
        assert_eq!(reason(Exit::Code(1), &ended, "", true), Some(Reason::AgentFailed));
        assert_eq!(reason(Exit::Signal(11), &ended, "", true), Some(Reason::AgentCrashed));
    }

    #[test]
    fn texts_of_errors_give_the_reason() {
        for (text, expected) in [
            ("API Error: 401 {\"type\":\"authentication_error\"}", Reason::CredentialRejected),
            ("429 Too Many Requests", Reason::RateLimited),
            ("403 ModelNotAllowed: the Agent shop/coder does not list the model `x`", Reason::ModelNotFound),
            ("The model `gpt-9` does not exist or you do not have access to it.", Reason::ModelNotFound),
            ("models/gemini-9 is not found for API version v1beta", Reason::ModelNotFound),
            (
                r#"404 {"type":"error","error":{"type":"not_found_error","message":"model: claude-9"}}"#,
                Reason::ModelNotFound,
            ),
            (r#"model "qwen9" not found, try pulling it first"#, Reason::ModelNotFound),
            ("ModuleNotFoundError: No module named 'models'", Reason::AgentFailed),
            ("the file models/cart.rs was not found", Reason::AgentFailed),
            ("You exceeded your current quota (429)", Reason::ProviderQuota),
            ("Authentication failed with provider at http://gateway:8090/v1 (HTTP 401).", Reason::CredentialRejected),
            ("unexpected status 401 Unauthorized: The API key is invalid.", Reason::CredentialRejected),
            ("API Error: Request rejected (429)", Reason::RateLimited),
            ("exceeded retry limit, last status: 429", Reason::RateLimited),
            ("[API Error: {\"error\":{\"code\":401,\"message\":\"no\"}}]", Reason::CredentialRejected),
            ("The API key is invalid.\n401", Reason::CredentialRejected),
            ("SyntaxError: unexpected token in line 401", Reason::AgentFailed),
            ("stop_reason: refusal", Reason::Refused),
            ("TypeError: x is not a function", Reason::AgentFailed),
        ] {
            let summary = Summary { end: Some(End::Failed), errors: text.into(), ..Summary::default() };
            assert_eq!(reason(Exit::Code(1), &summary, "", true), Some(expected), "{text}");
            let crashed = if expected == Reason::AgentFailed { Reason::AgentCrashed } else { expected };
            let stderr = format!("Error: {}", text.replace('\n', " status "));
            assert_eq!(reason(Exit::Code(1), &Summary::default(), &stderr, true), Some(crashed), "{text}");
        }
    }

    #[test]
    fn words_that_are_no_error_of_the_program_do_not_count() {
        let crashed = |stderr: &str| reason(Exit::Code(1), &Summary::default(), stderr, false);
        for stderr in [
            // A program that does not know an argument prints its help.
            "Usage: qwen [options] [query..]\n\nOptions:\n      --max-session-turns  Maximum number of session turns  [number]\n  \
             -k, --openai-api-key  API key; an unauthorized or invalid api key is an error\n\nUnknown argument: session-id",
            "Warning: the rate limit of this terminal is low",
            "Error executing tool run_shell_command: curl: (22) The requested URL returned error: 401",
            "wrote 402 lines",
        ] {
            assert_eq!(crashed(stderr), Some(Reason::AgentCrashed), "{stderr}");
        }
        for stderr in [
            "2026-11-21T10:00:00.000Z ERROR codex_core::client: unexpected status 401 Unauthorized",
            "[ERROR] Request failed with status code 401",
            "  \u{2716} API Error: 401 The API key is invalid.",
            "loading\n401 Unauthorized",
        ] {
            assert_eq!(crashed(stderr), Some(Reason::CredentialRejected), "{stderr}");
        }
    }

    #[test]
    fn events_come_before_words() {
        let stderr = "Error: cannot send telemetry: 401 Unauthorized";
        let ended = Summary { end: Some(End::Completed), ..Summary::default() };
        assert_eq!(reason(Exit::Code(1), &ended, stderr, true), Some(Reason::AgentFailed), "the work was done");
        let failed = Summary { end: Some(End::Failed), errors: "out of context".into(), ..Summary::default() };
        assert_eq!(
            reason(Exit::Code(1), &failed, stderr, true),
            Some(Reason::AgentFailed),
            "the events state the cause"
        );
        let proven = Summary { reason: Some(Reason::TurnLimit), errors: "429 Too Many Requests".into(), ..failed };
        assert_eq!(reason(Exit::Code(1), &proven, stderr, true), Some(Reason::TurnLimit));
    }

    #[test]
    fn exit_codes_come_before_words() {
        let stderr = "Error: 429 Too Many Requests";
        for (adapter, code, expected) in [
            ("QwenCode", 53, Reason::TurnLimit),
            ("GeminiCli", 53, Reason::TurnLimit),
            ("GeminiCli", 145, Reason::CredentialRejected),
            ("QwenCode", 1, Reason::RateLimited),
        ] {
            let summary = Summary::default();
            let outcome = Outcome { exit: Exit::Code(code), summary: &summary, stderr, changed: false, outputs: false };
            let found = classify(builtin::find(adapter).unwrap(), &outcome).unwrap_err().0;
            assert_eq!(found, expected, "{adapter} {code}");
        }
    }

    /// Checks that a model cannot choose the reason by what it writes.
    #[test]
    fn messages_of_the_model_are_not_errors() {
        let summary = Summary { end: Some(End::Failed), last_message: "401 unauthorized".into(), ..Summary::default() };
        assert_eq!(reason(Exit::Code(1), &summary, "", true), Some(Reason::AgentFailed));
    }
}
