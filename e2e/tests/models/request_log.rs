//! Texts of requests: recorded only for a tenant that wants them, without credentials.

use std::time::Duration;

use anyhow::{Result, ensure};
use enact_crds::plan::Phase;
use enact_e2e::models::{ModelServer, keys, provider};
use enact_e2e::{Answer, PATIENCE, Stage, on_stages, until};

use crate::attacks::{agent, plan, task};

const ENDS: &str = include_str!("ends.yaml");

/// Sends a request whose text has credentials.
const SCRIPT: &str = r##"
status, text = chat(prompt="# Task IDLE\nLog in with password=correct-horse-battery and the token " + TOKEN)
assert status == 200, (status, text)
"##;

async fn ask(stage: &Stage) -> Result<()> {
    let server = ModelServer::start(stage, &[ENDS]).await?;
    let url = server.url("ends", "logged");
    let objects = format!(
        "{}---\n{}---\n{}",
        keys("scripted"),
        provider("scripted", "OpenAi", &url),
        agent("attacker", "scripted")
    );
    stage.apply(&format!("{objects}{}", plan("", &task("LOGGED", "", SCRIPT)))).await?;
    stage.finished("attack", Phase::Succeeded, Duration::from_mins(4)).await.map(drop)
}

#[test]
fn texts_are_recorded_for_a_tenant_that_wants_them() {
    on_stages(
        [("logged", "  requestLogging: {maxBytes: 65536, retentionDays: 1}\n"), ("not-logged", "")],
        |[logged, other]| async move {
            ask(&logged).await?;
            ask(&other).await?;
            let printed = until("the text of the request", PATIENCE, || async {
                let printed = logged.enact(&["requests", "attack/LOGGED"])?;
                Ok(if printed.is_empty() { Answer::NotYet("nothing".into()) } else { Answer::Yes(printed) })
            })
            .await?;
            ensure!(printed.contains("password=[redacted] and the token [redacted]"), "{printed}");
            ensure!(printed.contains("I have done everything."), "the answer is missing: {printed}");
            ensure!(!printed.contains("correct-horse") && !printed.contains("eyJ"), "a credential is left: {printed}");
            let rows = other.record("select count(*) from enact.request_logs")?;
            ensure!(rows == ["0"], "texts of the other tenant: {rows:?}");
            Ok(())
        },
    );
}
