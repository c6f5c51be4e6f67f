//! `enact-runner task`, against a real Git server over HTTP.

mod support;

use enact_domain::assignment::Reason;

use support::{EnactServer, GitServer, Pod};

#[test]
fn a_script_becomes_a_commit_a_branch_and_a_result() {
    let git = GitServer::start();
    let server = EnactServer::start(&[]);
    let pod = Pod::task(
        &git,
        "cat \"$ENACT_PROMPT_FILE\" > cart.txt; echo 1.2 > \"$ENACT_OUTPUT_DIR/version\"; echo done it",
    )
    .with_server(&server);

    let ended = pod.run("task");

    assert_eq!(
        (ended.code, ended.report.reason),
        (Some(0), Reason::Succeeded),
        "{}",
        ended.log
    );
    let tip = git.tip("enact/shop/t001-1");
    assert_eq!(ended.report.commit, tip);
    assert_eq!(ended.report.outputs["version"], "1.2");
    assert!(ended.log.contains("done it"));
    assert_eq!(
        git.git(&["show", "enact/shop/t001-1:cart.txt"]),
        "Create the cart, please."
    );
    assert_eq!(
        git.git(&["log", "-1", "--format=%s|%an|%ae", "enact/shop/t001-1"]),
        "T001: Create the cart|Enact agent scribe|scribe@agents.enact.dev"
    );
    assert_eq!(
        git.git(&["log", "-1", "--format=%(trailers:unfold)", "enact/shop/t001-1"]),
        "Enact-Task: T001\nEnact-Plan: team-a/shop\nEnact-Spec: sha256:abc\nEnact-Agent: scribe\nEnact-Attempt: 1"
    );
    let (path, authorization, _) = server.requests.lock().unwrap()[0].clone();
    assert_eq!(
        (path.as_str(), authorization.as_str()),
        ("/v1/attempts/task-uid/1/result", "Bearer a.b.c")
    );
    let result = server.result();
    assert_eq!((result.report, result.transcript.as_str()), (ended.report, "done it\n"));
}
