//! Text of users reaches the agent unchanged.

use anyhow::ensure;
use enact_crds::plan::Phase;
use enact_e2e::work::scripted_plan;
use enact_e2e::{PATIENCE, on_stage};

#[test]
fn scripts_prompts_and_values_arrive_byte_for_byte() {
    on_stage("verbatim", |stage| async move {
        let value = "$(HOME) $$(HOME) $$ $(ENACT_TASK_ID) ${HOME} $((1+1)) 100% \\n \\\\ é \u{1f600}";
        stage
            .apply(&format!(
                "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {{name: exact}}\nspec:\n  adapter: Command\n  \
                 env: [{{name: EXACT, value: '{value}'}}]\n  resources: {{cpu: 10m, memory: 64Mi, ephemeralStorage: 64Mi}}\n"
            ))
            .await?;
        let script = format!(
            "        printf '%s' '{value}' > \"$ENACT_OUTPUT_DIR/script\"\n        printf '%s' \"$EXACT\" > \"$ENACT_OUTPUT_DIR/env\"\n        \
             grep -cF '{value}' \"$ENACT_PROMPT_FILE\" > \"$ENACT_OUTPUT_DIR/prompt\"\n        \
             echo $(echo run) > \"$ENACT_OUTPUT_DIR/substituted\"\n        test $$ -gt 1\n"
        );
        let yaml = format!(
            "  tasks:\n    - id: T001\n      title: exact\n      agentRef: {{name: exact}}\n      prompt: '{value}'\n      script: |\n{script}"
        );
        stage.apply(&scripted_plan("exact", &yaml)).await?;
        stage.finished("exact", Phase::Succeeded, PATIENCE).await?;
        let outputs = stage.task("exact", "T001").await?.status.unwrap_or_default().outputs;
        for (name, wanted) in [("script", value), ("env", value), ("prompt", "1"), ("substituted", "run")] {
            let found = outputs.get(name);
            ensure!(found.is_some_and(|found| found == wanted), "{name}: {found:?}, not {wanted:?}");
        }
        Ok(())
    });
}
