//! A report of the cluster's state when a test fails.

use std::fmt::Write as _;

use crate::command::{REQUEST_TIMEOUT, output, program};
use crate::stage::Stage;

/// Reports objects, events and logs of the stage's namespace, and the operator's log.
pub(crate) fn report(stage: &Stage) -> String {
    let mut text = String::new();
    let namespace = stage.name.as_str();
    for args in [
        &[
            "get",
            "tenants,constitutions,specifications,plans,tasks,approvals,pods",
            "--ignore-not-found",
            "-o",
            "wide",
            "-n",
            namespace,
        ][..],
        &["get", "constitutions,specifications,plans", "-o", "yaml", "-n", namespace],
        &["get", "events", "--sort-by=.lastTimestamp", "-n", namespace],
        &[
            "logs",
            "-n",
            namespace,
            "-l",
            "enact.dev/plan",
            "--all-containers",
            "--prefix",
            "--tail=20",
            "--ignore-errors",
        ],
        &["logs", "-n", "enact-system", "deployment/enact-operator", "--tail=40"],
    ] {
        let said = program("kubectl").and_then(|mut kubectl| output(kubectl.arg(REQUEST_TIMEOUT).args(args)));
        let said = said.map_or_else(|e| e.to_string(), |o| String::from_utf8_lossy(&o.stdout).into_owned());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "--- kubectl {}\n{said}", args.join(" "));
    }
    text
}
