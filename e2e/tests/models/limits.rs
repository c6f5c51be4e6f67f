//! Limits per minute: a request above them is refused with the time after which it passes, and then passes.

use std::time::Duration;

use anyhow::ensure;
use enact_crds::plan::Phase;
use enact_e2e::models::{ModelServer, keys, provider};
use enact_e2e::on_stage;

use crate::attacks::{agent, plan, task};

const ENDS: &str = include_str!("ends.yaml");

/// Sends requests until one is refused, waits as long as the gateway says, and repeats it. Each replica of the gateway applies its part of
/// the limit, so that the repetition can reach one whose part is used up.
const SCRIPT: &str = r#"
def once():
    answer = send("/v1/chat/completions", request())
    return answer.status, answer.getheader("retry-after"), answer.read().decode(errors="replace")

for number in range(200):
    status, pause, text = once()
    if status != 200:
        break
assert status == 429 and number > 0, (status, number, text)
error = json.loads(text)["error"]
assert error["code"] == "RateLimited" and "limit of requests per minute of the Agent" in error["message"], error
deadline = time.monotonic() + 90
while status == 429:
    assert pause and 1 <= int(pause) <= 60, pause
    assert time.monotonic() < deadline, text
    time.sleep(int(pause))
    status, pause, text = once()
assert status == 200, (status, text)
"#;

#[test]
fn a_limit_is_reached_and_recovers() {
    on_stage("limits", |stage| async move {
        let server = ModelServer::start(&stage, &[ENDS]).await?;
        let limited = agent("attacker", "scripted").replace("---\n", "  limits: {requestsPerMinute: 60}\n---\n");
        let objects = format!(
            "{}---\n{}---\n{limited}",
            keys("scripted"),
            provider("scripted", "OpenAi", &server.url("ends", "limits"))
        );
        stage.apply(&format!("{objects}{}", plan("", &task("LIMITED", "", SCRIPT)))).await?;
        let done = stage.finished("attack", Phase::Succeeded, Duration::from_mins(4)).await?;
        // What was refused did not reach the provider.
        let bill = stage.bill_equals(&done, &server, "ends", "limits").await?;
        ensure!(bill.requests > 1, "{bill:?}");
        Ok(())
    });
}
