//! From a sentence to a published branch.

use enact_e2e::models::coding_agent;
use enact_e2e::on_stage;
use enact_e2e::sentence::Team;

#[test]
fn a_sentence_becomes_a_published_branch() {
    on_stage("sentence", |stage| async move {
        let codex = coding_agent("Codex");
        stage.builds_from_a_sentence(Team { analyst: codex, thorough: codex, quick: codex }).await
    });
}
