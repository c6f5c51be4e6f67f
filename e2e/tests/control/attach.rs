//! A shell in the pod of a running agent, for who has the right.

use anyhow::ensure;
use enact_crds::plan::Phase;
use enact_e2e::people::Person;
use enact_e2e::work::{HOLD, scripted_plan};
use enact_e2e::{Answer, PATIENCE, on_stage, until};

#[test]
fn who_may_attach_runs_commands_beside_the_agent() {
    on_stage("attach", |stage| async move {
        let tasks = format!("  tasks: [{{id: T001, title: held, script: '{HOLD}'}}]\n");
        stage.apply(&scripted_plan("attach", &tasks)).await?;
        stage.running("attach", "T001", 1).await?;
        let dana = Person::of(&stage, "dana", "developers").await?;
        let refused = dana.enact_error(&["attach", "attach/T001", "--", "id", "-u"])?;
        ensure!(refused.contains("pods/exec") && refused.contains("ClusterRole enact-attach"), "{refused}");

        stage
            .apply(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: helpers}\n\
                 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: enact-attach}\n\
                 subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: dana}]\n",
            )
            .await?;
        let shown = until("the right to attach", PATIENCE, || async {
            Ok(match dana.enact(&["attach", "attach/T001", "--", "sh", "-c", "id -u && touch /tmp/go"]) {
                Ok(shown) => Answer::Yes(shown),
                Err(error) => Answer::NotYet(format!("{error:#}")),
            })
        })
        .await?;
        ensure!(shown.stdout == "10001\n" && !shown.stderr.contains("enact-attach"), "{shown:?}");

        // The script waits for the file that the command made.
        stage.finished("attach", Phase::Succeeded, PATIENCE).await?;
        dana.enact_error(&["attach", "attach/T001"]).map(drop)
    });
}
