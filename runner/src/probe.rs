//! Probes an agent: whether its image has what attempts need, and, if asked, whether its model answers.

use std::time::Duration;

use enact_domain::agents::definition::{AdapterDefinition, Api};
use enact_domain::agents::probe::ProbeJob;
use enact_domain::assignment::{Reason, Report};
use enact_domain::text::truncated;
use serde_json::{Value, json};
use ureq::http::header;

use crate::agent::{Environment, MAX_TRANSCRIPT, Script};
use crate::delivery;
use crate::failure::{Failure, explain};
use crate::git::Identity;
use crate::log::log;
use crate::process::Supervisor;
use crate::settings::{self, Settings};
use crate::workspace::WorkspaceLayout;

/// Time limit for the request to the model.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Most tokens of its answer. Some providers accept no lower limit.
const MAX_TOKENS: u32 = 16;
/// Most bytes of an answer that are read.
const MAX_ANSWER: u64 = 16 << 10;
/// Most bytes of a version in the report.
const MAX_VERSION: usize = 120;

/// Probes the agent. The report has what its program prints as its version.
pub(crate) fn run(supervisor: &mut Supervisor, settings: &Settings) -> Report {
    let mut report = probe(supervisor, settings).unwrap_or_else(Failure::into_report);
    // The message may quote the output of the program, or the answer of a provider.
    supervisor.secrets().redact_report(&mut report);
    report
}

fn probe(supervisor: &mut Supervisor, settings: &Settings) -> Result<Report, Failure> {
    let job = settings::probe_job()?;
    let definition =
        job.run.definition().map_err(|problem| Failure::new(Reason::InvalidAssignment, problem))?.into_owned();
    let layout = WorkspaceLayout::new(settings);
    layout.clear()?;
    let mut environment = Environment::new(&layout, &Identity::agent(&job.agent));
    let mut script = |text: &str, environment: &Environment| {
        Script { text, tree: &layout.tree, environment }.run(supervisor, MAX_TRANSCRIPT)
    };
    script("git --version", &environment)?.check("the image needs Git: `git --version`", Reason::AgentCrashed)?;
    let Some(program) = program(&definition) else { return Ok(Report::new(Reason::Succeeded, "")) };
    environment.set("ENACT_PROGRAM", program);
    let missing =
        format!("the image has no program `{program}`, which the adapter {} runs: `command -v`", definition.name);
    script(r#"command -v "$ENACT_PROGRAM""#, &environment)?.check(&missing, Reason::AgentCrashed)?;
    let mut version = String::new();
    // Only of these is it known that they print their version and end.
    if definition.verified.is_some() && job.run.custom.is_none() {
        let ended = script(r#""$ENACT_PROGRAM" --version </dev/null"#, &environment)?;
        ended.check(&format!("`{program} --version`"), Reason::AgentCrashed)?;
        let line = ended.output.trim().lines().next().unwrap_or_default();
        truncated(line, MAX_VERSION).clone_into(&mut version);
    }
    log(&format!("the image has {} {version}", definition.title));
    if job.model {
        ask(&job, &definition, settings)?;
    }
    Ok(Report::new(Reason::Succeeded, version))
}

/// Returns the program that the adapter runs; none if it is not a part of the image.
fn program(definition: &AdapterDefinition) -> Option<&str> {
    let program = definition.command.first()?.first()?;
    let in_tree = program.contains('/') && !program.starts_with('/');
    (!in_tree && !program.contains('{')).then_some(program)
}

/// Sends a request to the model through the gateway.
fn ask(job: &ProbeJob, definition: &AdapterDefinition, settings: &Settings) -> Result<(), Failure> {
    let (Some(url), Some(model), Some(api)) = (&job.run.gateway_url, &job.run.model, definition.api) else {
        return Ok(());
    };
    let token = std::fs::read_to_string(&settings.gateway_token_file)
        .map_err(|error| Failure::volume(&settings.gateway_token_file, &error))?;
    let (path, body) = request(api, model);
    let (client, body) = (delivery::agent(TIMEOUT), body.to_string());
    let sent = client
        .post(format!("{}{path}", url.trim_end_matches('/')))
        .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
        .header(header::CONTENT_TYPE, "application/json")
        .header("anthropic-version", "2023-06-01")
        .send(body.as_bytes());
    let failed = |reason, how: String, detail: &str| Err(Failure::new(reason, explain(&how, detail)));
    match sent {
        Err(error) => failed(Reason::AgentFailed, format!("the model gateway does not answer: {error}"), ""),
        Ok(answer) if answer.status().is_success() => {
            log(&format!("the model {model} answers"));
            Ok(())
        }
        Ok(mut answer) => {
            let status = answer.status().as_u16();
            let text = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_string().unwrap_or_default();
            failed(reason(status, &text), format!("the model {model} answered with {status}"), &text)
        }
    }
}

/// Returns path and body of a request that costs a few tokens.
fn request(api: Api, model: &str) -> (String, Value) {
    const TEXT: &str = "Answer with the word ok.";
    let messages = json!([{"role": "user", "content": TEXT}]);
    match api {
        Api::Anthropic => {
            ("/v1/messages".into(), json!({"model": model, "max_tokens": MAX_TOKENS, "messages": messages}))
        }
        Api::OpenAi => (
            "/v1/chat/completions".into(),
            json!({"model": model, "max_completion_tokens": MAX_TOKENS, "messages": messages}),
        ),
        Api::Gemini => (
            format!("/v1beta/models/{model}:generateContent"),
            json!({
                "contents": [{"role": "user", "parts": [{"text": TEXT}]}],
                "generationConfig": {"maxOutputTokens": MAX_TOKENS},
            }),
        ),
    }
}

/// Returns the reason of a refusal. The gateway names it in the format of the provider.
fn reason(status: u16, body: &str) -> Reason {
    let names = |name: &str| body.contains(name);
    match status {
        403 if names("BudgetExceeded") => Reason::BudgetExceeded,
        403 if names("ModelNotAllowed") => Reason::ModelNotFound,
        401 | 403 => Reason::CredentialRejected,
        404 => Reason::ModelNotFound,
        429 if names("ProviderQuota") => Reason::ProviderQuota,
        429 => Reason::RateLimited,
        _ => Reason::AgentFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_reason_of_the_gateway() {
        for (status, body, expected) in [
            (401, "", Reason::CredentialRejected),
            (403, r#"{"error":{"code":"CredentialRejected"}}"#, Reason::CredentialRejected),
            (403, r#"{"error":{"code":"BudgetExceeded"}}"#, Reason::BudgetExceeded),
            (403, "ModelNotAllowed: the Agent does not list it", Reason::ModelNotFound),
            (404, "", Reason::ModelNotFound),
            (429, r#"{"error":{"code":"ProviderQuota"}}"#, Reason::ProviderQuota),
            (429, "", Reason::RateLimited),
            (502, "", Reason::AgentFailed),
        ] {
            assert_eq!(reason(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn programs_outside_the_image_are_not_searched() {
        let program_of = |first: &str| {
            let definition = enact_domain::agents::builtin::find("Codex").unwrap();
            let mut definition = definition.clone();
            definition.command = vec![vec![first.to_owned()]];
            program(&definition).map(str::to_owned)
        };
        assert_eq!(program_of("codex").as_deref(), Some("codex"));
        assert_eq!(program_of("/opt/agent/run").as_deref(), Some("/opt/agent/run"));
        assert_eq!((program_of("tools/agent"), program_of("{tree}/agent")), (None, None));
    }
}
