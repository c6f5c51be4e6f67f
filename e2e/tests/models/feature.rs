//! A whole feature, from documents to a published branch.

use enact_e2e::models::coding_agent;
use enact_e2e::on_stage;

#[test]
fn a_coding_agent_builds_a_feature_and_the_bill_is_exact() {
    on_stage("feature", |stage| async move {
        let bill = stage.builds_the_feature(coding_agent("Codex")).await?;
        println!("the record equals what the model server served: {bill:?}");
        Ok(())
    });
}
