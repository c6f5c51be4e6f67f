//! `enact-runner task`, against a real Git server over HTTP.

mod support;

use std::sync::{Arc, Mutex};

use enact_domain::assignment::{Adapter, Assignment, Gate, Reason, VerifiedCommit, Work};

use support::http::{response, serve};
use support::{EnactServer, GitServer, Pod};

#[test]
fn script_becomes_commit_branch_and_result() {
    let git = GitServer::start();
    let server = EnactServer::start(&[]);
    let pod = Pod::task(
        &git,
        "cat \"$ENACT_PROMPT_FILE\" > cart.txt; echo 1.2 > \"$ENACT_OUTPUT_DIR/version\"; echo done it",
    )
    .with_server(&server);

    let ended = pod.run("task");

    assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{}", ended.log);
    let tip = git.tip("enact/shop-5f0c1a2b/t001-1");
    assert_eq!(ended.report.commit, tip);
    assert_eq!(ended.report.outputs["version"], "1.2");
    assert!(ended.log.contains("done it"));
    assert_eq!(git.git(&["show", "enact/shop-5f0c1a2b/t001-1:cart.txt"]), "Create the cart, please.");
    assert_eq!(
        git.git(&["log", "-1", "--format=%s|%an|%ae", "enact/shop-5f0c1a2b/t001-1"]),
        "T001: Create the cart|Enact agent scribe|scribe@agents.enact.dev"
    );
    assert_eq!(
        git.git(&["log", "-1", "--format=%(trailers:unfold)", "enact/shop-5f0c1a2b/t001-1"]),
        "Enact-Task: T001\nEnact-Plan: team-a/shop\nEnact-Spec: sha256:abc\nEnact-Agent: scribe\nEnact-Attempt: 1"
    );
    let (path, token) = {
        let requests = server.requests.lock().unwrap();
        (requests[0].path.clone(), requests[0].header("authorization").to_owned())
    };
    assert_eq!((path.as_str(), token.as_str()), ("/v1/attempts/task-uid/1/result", "Bearer a.b.c"));
    let result = server.result();
    assert_eq!((result.report, result.transcript.as_str()), (ended.report, "done it\n"));
}

#[test]
fn result_has_the_key_that_was_registered_before_the_agent_ran() {
    let server = EnactServer::start(&[]);
    let pod = Pod::task(&GitServer::start(), "env; cat /proc/1/environ /proc/$PPID/environ 2>&1 || true")
        .with_server(&server);
    let ended = pod.run("task");
    let registrations = server.registrations.lock().unwrap();
    let [registration] = registrations.as_slice() else { panic!("{} registrations", registrations.len()) };
    assert_eq!(registration.path, "/v1/attempts/task-uid/1/runner");
    let requests = server.requests.lock().unwrap();
    let key = requests[0].header("x-enact-runner-key");
    let digest = enact_domain::digest::Digest::of_bytes(key.as_bytes());
    assert_eq!(registration.body, digest.as_str().as_bytes());
    assert!(!ended.log.contains(key) && key.len() == 64, "the agent does not see the key");
}

#[test]
fn merges_branches_and_passes_outputs_of_dependencies() {
    let git = GitServer::start();
    git.commit("enact/shop-5f0c1a2b/t000-1", &[("a.txt", "a")]);
    git.commit("enact/shop-5f0c1a2b/t00x-2", &[("b.txt", "b")]);
    let script = r#"cat a.txt b.txt > c.txt; grep -q '"version": "7"' "$ENACT_INPUTS_FILE"; test "$ENACT_TASK_ID/$ENACT_ATTEMPT" = T001/1"#;
    let pod = Pod::task(&git, script)
        .merging(&git, &["enact/shop-5f0c1a2b/t000-1", "enact/shop-5f0c1a2b/t00x-2"])
        .with_task(|task| {
            task.inputs = [("T000".to_owned(), [("version".to_owned(), "7".to_owned())].into())].into();
        });
    let ended = pod.run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(git.git(&["show", "enact/shop-5f0c1a2b/t001-1:c.txt"]), "ab");
}

#[test]
fn conflict_of_dependencies_names_their_files() {
    let git = GitServer::start();
    git.commit("left", &[("same.txt", "left\n"), ("ä b.txt", "left\n")]);
    git.commit("right", &[("same.txt", "right\n"), ("ä b.txt", "right\n")]);
    let server = EnactServer::start(&[]);
    let pod = Pod::task(&git, "touch never").merging(&git, &["left", "right"]).with_server(&server);
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::MergeConflict), "{}", ended.log);
    assert_eq!(ended.report.conflicts, ["same.txt", "ä b.txt"]);
    assert!(ended.report.message.contains("`right`"), "{}", ended.report.message);
    assert_eq!(git.tip("enact/shop-5f0c1a2b/t001-1"), None);
    assert_eq!(server.result().report, ended.report);
}

/// Checks that a pod with a missing Secret starts and reports it. The volume of the Secret is optional for this reason.
#[test]
fn missing_secret_fails_before_git_runs() {
    let git = GitServer::start();
    let pod = Pod::task(&git, "touch never");
    for key in ["username", "password"] {
        std::fs::remove_file(pod.path("git").join(key)).unwrap();
    }
    // The kubelet leaves such a folder in the volume of an empty Secret.
    std::fs::create_dir(pod.path("git/..2026_01_01")).unwrap();
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(75), Reason::ContainerConfigError), "{}", ended.log);
    assert!(ended.report.message.contains("workspace.credentialsSecretRef"), "{}", ended.report.message);
    // A plan without a Secret has no volume.
    std::fs::remove_dir_all(pod.path("git")).unwrap();
    let ended = pod.run("task");
    assert_ne!(ended.report.reason, Reason::ContainerConfigError, "{}", ended.log);
}

#[test]
fn wrong_credential_is_denied() {
    let git = GitServer::start();
    let pod = Pod::task(&git, "true");
    pod.write("git/password", "wrong");
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::RepositoryDenied), "{}", ended.log);
    assert!(!ended.log.contains("wrong"));

    std::fs::remove_file(pod.path("git/password")).unwrap();
    assert_eq!(pod.run("task").report.reason, Reason::RepositoryDenied);
}

#[test]
fn missing_repository_is_denied() {
    let git = GitServer::start();
    let pod = Pod::task(&git, "true").with(|a| a.git.as_mut().unwrap().url = "http://127.0.0.1:1/x.git".into());
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(75), Reason::RepositoryUnreachable), "{}", ended.log);

    let url = git.url.replace("repository.git", "other.git");
    let ended = Pod::task(&git, "true").with(|a| a.git.as_mut().unwrap().url = url).run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::RepositoryDenied), "{}", ended.log);
}

#[test]
fn ssh_needs_a_key_and_a_known_host() {
    let git = GitServer::start();
    let pod = Pod::task(&git, "true").with(|a| a.git.as_mut().unwrap().url = "ssh://git@127.0.0.1/x.git".into());
    pod.write("git/ssh-privatekey", "key");
    let ended = pod.run("task");
    assert_eq!(ended.report.reason, Reason::RepositoryDenied, "{}", ended.log);
    assert!(ended.report.message.contains("known_hosts"), "{}", ended.report.message);
}

#[test]
fn a_revision_is_a_branch_a_tag_or_a_whole_commit_id() {
    let git = GitServer::start();
    let commit = git.tip("main").unwrap();
    git.git(&["-c", "user.name=t", "-c", "user.email=t@example.org", "tag", "-a", "-m", "one", "v1", "main"]);
    for (n, revision) in ["main", "v1", &commit].into_iter().enumerate() {
        let pod = Pod::task(&git, "touch x").with(|a| {
            let work = a.git.as_mut().unwrap();
            (work.revision, work.branch) = (revision.into(), format!("enact/shop-5f0c1a2b/r-{n}"));
        });
        let ended = pod.run("task");
        assert_eq!(ended.code, Some(0), "{revision}: {}", ended.log);
        assert_eq!(git.git(&["rev-parse", &format!("enact/shop-5f0c1a2b/r-{n}~1")]), commit);
    }
    for revision in ["nowhere", &"0".repeat(40), &commit[..12]] {
        let ended = Pod::task(&git, "touch x").with(|a| a.git.as_mut().unwrap().revision = revision.into()).run("task");
        assert_eq!(
            (ended.code, ended.report.reason),
            (Some(78), Reason::RevisionNotFound),
            "{revision}: {}",
            ended.log
        );
    }
}

/// Checks that the verified commit is merged, not the head of the branch: agents can push to each other's branches.
#[test]
fn only_verified_work_of_dependencies_is_merged() {
    let git = GitServer::start();
    let branch = "enact/shop-5f0c1a2b/t000-1";
    let verified = git.commit(branch, &[("a.txt", "a\n")]);
    let pod = Pod::task(&git, "cat a.txt; test ! -e sneaked.txt; touch x").merging(&git, &[branch]);
    git.commit(branch, &[("sneaked.txt", "in\n")]);
    let ended = pod.run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(git.git(&["ls-tree", "--name-only", "enact/shop-5f0c1a2b/t001-1"]), "README.md\na.txt\nx");

    let other = git.commit("other", &[("a.txt", "not what was checked\n")]);
    let takes: [(&[&str], &str); 2] =
        [(&["branch", "-f", branch, &other], "does not hold it"), (&["branch", "-D", branch], "does not exist")];
    for (take, words) in takes {
        git.git(take);
        let ended = pod.run("task");
        assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::WorkNotFound), "{}", ended.log);
        for part in [branch, verified.as_str(), words] {
            assert!(ended.report.message.contains(part), "{}", ended.report.message);
        }
    }
}

#[test]
fn hostile_names_never_reach_git() {
    type Change = fn(&mut Assignment);
    let git = GitServer::start();
    let changes: [Change; 7] = [
        |a| a.git.as_mut().unwrap().url = "ext::sh -c 'touch /tmp/enact-owned'".into(),
        |a| a.git.as_mut().unwrap().url = "file:///etc".into(),
        |a| a.git.as_mut().unwrap().revision = "--upload-pack=touch /tmp/enact-owned".into(),
        |a| a.git.as_mut().unwrap().branch = "--force".into(),
        |a| a.git.as_mut().unwrap().merge = vec![VerifiedCommit { branch: "../../x".into(), commit: "0".repeat(40) }],
        |a| a.git.as_mut().unwrap().merge = vec![VerifiedCommit { branch: "x".into(), commit: "--abort".into() }],
        |a| match &mut a.work {
            Work::Task(task) => task.id = "../../T001".into(),
            Work::Integration(_) => unreachable!(),
        },
    ];
    for change in changes {
        let ended = Pod::task(&git, "true").with(change).run("task");
        assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::InvalidAssignment), "{}", ended.log);
        assert!(!ended.log.contains("cloning"));
    }
    let ended = Pod::task(&git, "true").with_environment("ENACT_ASSIGNMENT", "{").run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::InvalidAssignment));
}

#[test]
fn task_text_cannot_forge_trailers_or_options() {
    let git = GitServer::start();
    let pod = Pod::task(&git, "touch x").with_task(|task| {
        task.title = "--amend\n\nEnact-Task: T999\n# not a comment".into();
    });
    assert_eq!(pod.run("task").code, Some(0));
    assert_eq!(
        git.git(&["log", "-1", "--format=%(trailers:key=Enact-Task,valueonly)", "enact/shop-5f0c1a2b/t001-1"]),
        "T001"
    );
    let subject = git.git(&["log", "-1", "--format=%s", "enact/shop-5f0c1a2b/t001-1"]);
    assert_eq!(subject, "T001: --amend Enact-Task: T999 # not a comment");
}

#[test]
fn failed_script_reports_the_end_of_its_output() {
    let git = GitServer::start();
    let server = EnactServer::start(&[]);
    let ended = Pod::task(&git, "echo first; echo the reason >&2; exit 3").with_server(&server).run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::AgentFailed));
    assert_eq!(ended.report.message, "the script exited with 3: first\nthe reason");
    assert_eq!(server.result().transcript, "first\nthe reason\n");
    assert_eq!(git.tip("enact/shop-5f0c1a2b/t001-1"), None);
}

#[test]
fn killed_script_reports_the_signal() {
    let git = GitServer::start();
    let ended = Pod::task(&git, "kill -KILL $$").run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::Killed));
    assert!(ended.report.message.contains("signal 9"), "{}", ended.report.message);
}

#[test]
fn refuses_large_and_irregular_outputs() {
    let git = GitServer::start();
    for script in [
        "head -c 4000 /dev/zero | tr '\\0' x > \"$ENACT_OUTPUT_DIR/big\"",
        "touch \"$ENACT_OUTPUT_DIR/not a name\"",
        "ln -s /dev/zero \"$ENACT_OUTPUT_DIR/link\"",
        "mkfifo \"$ENACT_OUTPUT_DIR/pipe\"",
    ] {
        let ended = Pod::task(&git, script).run("task");
        assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::OutputTooLarge), "{script}: {}", ended.log);
        assert_eq!(git.tip("enact/shop-5f0c1a2b/t001-1"), None);
    }
}

#[test]
fn gates_decide_and_do_not_change_the_commit() {
    let git = GitServer::start();
    let gate = |name: &str, script: &str| Gate { name: name.into(), script: script.into() };
    let gates = vec![
        gate("tests", "test -f work.txt; touch left-by-a-gate"),
        gate("lint", "echo ugly; false"),
        gate("never", "true"),
    ];
    let server = EnactServer::start(&[]);
    let pod = Pod::task(&git, "touch work.txt").with_server(&server).with_task(|task| task.gates.clone_from(&gates));
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::GateFailed));
    assert_eq!(ended.report.message, "gate `lint` exited with 1: ugly");
    let seen: Vec<_> = server.result().gates.into_iter().map(|g| (g.name, g.exit_code, g.output)).collect();
    assert_eq!(seen, [("tests".into(), Some(0), String::new()), ("lint".into(), Some(1), "ugly".into())]);
    let branch = "enact/shop-5f0c1a2b/t001-1";
    assert_eq!(git.git(&["ls-tree", "--name-only", branch]), "README.md\nwork.txt", "the work is kept");

    let pod = pod.with_task(|task| task.gates.truncate(1));
    assert_eq!(pod.run("task").code, Some(0));
    assert_eq!(git.git(&["ls-tree", "--name-only", branch]), "README.md\nwork.txt");
    assert_eq!(git.git(&["log", "-1", "--format=%s", branch]), "T001: Create the cart", "it replaces unfinished work");
}

#[test]
fn measures_work_that_has_passed() {
    let git = GitServer::start();
    let measurement = |name: &str, script: &str| Gate { name: name.into(), script: script.into() };
    let measurements = vec![
        measurement("size", "echo bytes:; wc -c < work.txt; touch left-by-a-measurement"),
        measurement("words", "echo many"),
        measurement("broken", "echo 7; false"),
        measurement("coverage", "echo 87.50"),
    ];
    let pod = Pod::task(&git, "printf abc > work.txt").with_task(|task| task.measurements.clone_from(&measurements));
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(0), Reason::Succeeded), "{}", ended.log);
    let numbers: Vec<_> = ended.report.measurements.iter().map(|(name, n)| (name.as_str(), n.to_string())).collect();
    assert_eq!(numbers, [("coverage", "87.5".to_owned()), ("size", "3".to_owned())]);
    assert!(
        ended.log.contains("measurement `words` has no number: the last line of its output `many`"),
        "{}",
        ended.log
    );
    assert!(ended.log.contains("measurement `broken` has no number"), "{}", ended.log);
    assert_eq!(git.git(&["ls-tree", "--name-only", "enact/shop-5f0c1a2b/t001-1"]), "README.md\nwork.txt");

    let gate = measurement("tests", "false");
    let ended = pod.with_task(|task| task.gates.push(gate)).run("task");
    assert_eq!(ended.report.reason, Reason::GateFailed);
    assert!(ended.report.measurements.is_empty(), "work that failed is not measured");
}

#[test]
fn keeps_commits_of_the_agent_with_trailers() {
    let git = GitServer::start();
    let script = "echo a > a; git add a; git commit -qm 'Mine, first'; git rev-parse HEAD > \"$ENACT_OUTPUT_DIR/first\"; \
                  echo b > b; git add b; git commit -qm 'Mine, second'";
    let ended = Pod::task(&git, script).run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let branch = "enact/shop-5f0c1a2b/t001-1";
    assert_eq!(
        git.git(&["log", "--format=%s|%an|%(trailers:key=Enact-Task,valueonly)", "-2", branch]),
        "Mine, second|Enact agent scribe|T001\n\nMine, first|Enact agent scribe|T001"
    );
    assert_eq!(git.git(&["rev-parse", &format!("{branch}~1")]), ended.report.outputs["first"]);
}

#[test]
fn task_without_changes_pushes_its_base() {
    let git = GitServer::start();
    let ended = Pod::task(&git, "true").run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(git.tip("enact/shop-5f0c1a2b/t001-1"), git.tip("main"));
    assert_eq!(ended.report.commit, git.tip("main"));
    assert!(ended.report.unchanged);

    let pod = Pod::task(&git, "true").with_task(|task| task.fail_unchanged = true);
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::NothingDone), "{}", ended.log);
    let pod = Pod::task(&git, "touch x").with_task(|task| task.fail_unchanged = true);
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.unchanged), (Some(0), false), "{}", ended.log);
}

#[test]
fn damaged_clone_fails_with_a_named_problem() {
    let git = GitServer::start();
    for (script, words) in [
        ("rm -rf .git", "removed the clone"),
        ("git checkout -q --orphan new && git commit -qm x", "does not contain the commit"),
        (
            "mkdir sub && cd sub && git init -q && touch f && git add f && git commit -qm x",
            "Git repository of its own in `sub",
        ),
        ("cd .. && rm -rf tree", "removed the clone"),
    ] {
        let ended = Pod::task(&git, script).run("task");
        assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::AgentFailed), "{script}: {}", ended.log);
        assert!(ended.report.message.contains(words), "{script}: {}", ended.report.message);
    }
    let elsewhere = "cp -r .git ../other; rm -rf .git; echo \"gitdir: $PWD/../other\" > .git; touch x";
    let ended = Pod::task(&git, elsewhere).run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(1), Reason::AgentFailed), "{}", ended.log);
    // Configuration in the clone that would run programs, and a leftover lock, have no effect.
    let script = "git config core.fsmonitor 'touch ../owned; false'; git config core.hooksPath ../evil; touch .git/index.lock; touch x";
    let pod = Pod::task(&git, script);
    assert_eq!(pod.run("task").code, Some(0));
    assert!(!pod.path("work/owned").exists());
}

#[test]
fn git_ignores_configuration_of_agents_and_gates() {
    let git = GitServer::start();
    let filter = "git config filter.x.clean 'touch ../../owned; cat'; git config filter.x.process 'touch ../../owned'";
    let away = "git config url.http://127.0.0.1:1/.insteadOf http://; git config http.proxy http://127.0.0.1:1; \
                git config http.extraHeader 'X-Stolen: 1'; git config core.sshCommand 'touch ../../owned'";
    let common = "mkdir ../common; cp -r .git/* ../common; git --git-dir ../common config filter.x.clean 'touch ../../owned; cat'; \
                  echo \"$PWD/../common\" > .git/commondir";
    let attributes = "mkdir -p .git/info; echo '* filter=x' > .git/info/attributes";
    for trap in [filter, away, common] {
        let script = format!("{trap}; {attributes}; echo '*.txt filter=x' > .gitattributes; echo x > x.txt");
        let gate = Gate { name: "check".into(), script: format!("{filter}; {away}; {attributes}") };
        let pod = Pod::task(&git, &script).with_task(|task| task.gates.push(gate));
        let ended = pod.run("task");
        assert_eq!(ended.code, Some(0), "{trap}: {}", ended.log);
        assert!(!pod.path("owned").exists() && !pod.path("work/owned").exists(), "{trap}: {}", ended.log);
        assert_eq!(ended.report.commit, git.tip("enact/shop-5f0c1a2b/t001-1"), "{trap}");
        assert_eq!(git.git(&["show", "enact/shop-5f0c1a2b/t001-1:x.txt"]), "x", "{trap}");
    }
}

#[test]
fn credential_goes_to_its_own_server_only() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let stolen = Arc::clone(&seen);
    let other = serve(move |request| {
        stolen.lock().unwrap().push(request.header("authorization").to_owned());
        response("401 Unauthorized", &[("www-authenticate", "Basic realm=\"git\"")], b"")
    });
    let url = serve(move |request| {
        let to = format!("{other}{}?{}", request.path, request.query);
        response("302 Found", &[("location", &to)], b"")
    });
    let git = GitServer::start();
    let pod = Pod::task(&git, "true").with(|a| a.git.as_mut().unwrap().url = format!("{url}/repository.git"));
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::RepositoryDenied), "{}", ended.log);
    let seen = seen.lock().unwrap();
    assert!(!seen.is_empty() && seen.iter().all(String::is_empty), "{seen:?}");
}

#[test]
fn redacts_secrets_in_log_result_and_report() {
    let git = GitServer::start();
    let server = EnactServer::start(&[]);
    let script = "echo \"key $LLM_KEY, model $MODEL\"; cat \"$CREDENTIALS/password\"; cat \"$TOKEN\"; \
                  printf %s \"$LLM_KEY\" | cut -c1-9 | tr -d '\\n'; sleep 0.2; printf %s \"$LLM_KEY\" | cut -c10-; \
                  printf %s \"$LLM_KEY\" > \"$ENACT_OUTPUT_DIR/key\"";
    let gate = Gate { name: "check".into(), script: "echo \"again $LLM_KEY\"; exit 3".into() };
    let pod = Pod::task(&git, script)
        .with_server(&server)
        .with_environment("ENACT_SECRET_LLM_KEY", "sk-0123456789-abcdef")
        .with_environment("ENACT_ENV_MODEL", "small one");
    pod.write("git/password", "secret");
    pod.write("token", "header.payload.signature\n");
    let (credentials, token) = (pod.path("git"), pod.path("token"));
    let pod = pod
        .with_environment("ENACT_ENV_CREDENTIALS", &credentials.to_string_lossy())
        .with_environment("ENACT_ENV_TOKEN", &token.to_string_lossy());
    let ended = pod.run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(ended.report.outputs["key"], "***");
    let transcript = server.result().transcript;
    assert_eq!(transcript, "key ***, model small one\n******\n***\n");
    assert!(ended.log.contains(&transcript), "{}", ended.log);

    let pod = pod.with_task(|task| task.gates.push(gate));
    let ended = pod.run("task");
    assert_eq!(ended.report.message, "gate `check` exited with 3: again ***");
    let result = serde_json::to_string(&server.result()).unwrap();
    for secret in ["sk-0123456789-abcdef", "header.payload.signature"] {
        assert!(!result.contains(secret) && !ended.log.contains(secret), "{secret}: {result} {}", ended.log);
    }
}

#[test]
fn redacts_a_token_that_was_replaced_while_the_agent_worked() {
    let git = GitServer::start();
    let server = EnactServer::start(&[]);
    // As the kubelet does before the token expires.
    let script = "cat \"$TOKEN\"; echo fresh.token.value > \"$TOKEN\"; cat \"$TOKEN\"; echo former.token.value";
    let pod = Pod::task(&git, script).with_server(&server);
    pod.write("token", "former.token.value\n");
    let token = pod.path("token");
    let ended = pod.with_environment("ENACT_ENV_TOKEN", &token.to_string_lossy()).run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(server.result().transcript, "***\n***\n***\n");
    assert!(!ended.log.contains("token.value"), "{}", ended.log);
}

#[test]
fn agent_sees_only_its_own_variables() {
    let git = GitServer::start();
    let pod = Pod::task(&git, "env | cut -d= -f1 | sort > names; printf %s \"$MODEL\" > model; id -u > /dev/null")
        .with_environment("ENACT_ENV_MODEL", "small one")
        .with_environment("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        .with_environment("SECRET", "x");
    assert_eq!(pod.run("task").code, Some(0));
    let branch = "enact/shop-5f0c1a2b/t001-1";
    assert_eq!(git.git(&["show", &format!("{branch}:model")]), "small one");
    let names = git.git(&["show", &format!("{branch}:names")]);
    let mut names: Vec<&str> = names.lines().filter(|name| !["_", "PWD", "OLDPWD", "SHLVL"].contains(name)).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "ENACT_ATTEMPT",
            "ENACT_INPUTS_FILE",
            "ENACT_OUTPUT_DIR",
            "ENACT_PROMPT_FILE",
            "ENACT_TASK_ID",
            "GIT_AUTHOR_EMAIL",
            "GIT_AUTHOR_NAME",
            "GIT_COMMITTER_EMAIL",
            "GIT_COMMITTER_NAME",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_KEY_0",
            "GIT_CONFIG_VALUE_0",
            "HOME",
            "LANG",
            "MODEL",
            "PATH",
            "TERM",
            "TMPDIR"
        ]
    );
}

#[test]
fn second_run_of_an_attempt_has_the_same_result() {
    let git = GitServer::start();
    let pod = Pod::task(&git, "echo same > work.txt; echo 1 > \"$ENACT_OUTPUT_DIR/n\"");
    let first = pod.run("task");
    let second = pod.run("task");
    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{}", second.log);
    assert_eq!(first.report, second.report);
    assert_eq!(git.tip("enact/shop-5f0c1a2b/t001-1"), first.report.commit);

    // Other work replaces a commit that was pushed and never reported.
    let pod = pod.with_task(|task| task.adapter = Adapter::Command { script: "echo other > work.txt".into() });
    let third = pod.run("task");
    assert_eq!(third.code, Some(0), "{}", third.log);
    assert_ne!(third.report.commit, first.report.commit);
    assert_eq!(git.tip("enact/shop-5f0c1a2b/t001-1"), third.report.commit);
}

#[test]
fn replays_recorded_work() {
    let git = GitServer::start();
    let recorded = git.commit("recorded", &[("cart.txt", "cart\n"), ("b.txt", "b\n")]);
    let patch = git.git(&["format-patch", "-1", "--stdout", &recorded]);
    let server = EnactServer::start(&[]);
    let pod = Pod::task(&git, "").with_server(&server).with_task(|task| task.adapter = Adapter::Replay {});
    pod.write("replay/T001.patch", &format!("{patch}\n"));
    pod.write("replay/T001.transcript", "I wrote the cart.\n");
    let ended = pod.run("task");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let branch = "enact/shop-5f0c1a2b/t001-1";
    assert_eq!(git.git(&["show", &format!("{branch}:cart.txt")]), "cart");
    assert_eq!(git.git(&["log", "-1", "--format=%s|%an|%cn", branch]), "By a test|A test|Enact agent scribe");
    assert_eq!(git.git(&["log", "-1", "--format=%(trailers:key=Enact-Plan,valueonly)", branch]), "team-a/shop");
    assert_eq!(server.result().transcript, "I wrote the cart.\n");
    assert!(ended.log.contains("I wrote the cart."));
}

#[test]
fn names_recorded_work_that_fails() {
    let git = GitServer::start();
    let pod = Pod::task(&git, "").with_task(|task| task.adapter = Adapter::Replay {});
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.reason), (Some(78), Reason::ReplayFailed));
    assert!(ended.report.message.contains("T001.patch"), "{}", ended.report.message);

    pod.write("replay/T001.patch", "From nobody\n\nnot a patch\n");
    assert_eq!(pod.run("task").report.reason, Reason::ReplayFailed);

    pod.write("replay/T001.patch", "\n");
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.commit), (Some(0), git.tip("main")), "{}", ended.log);
}

#[test]
fn task_without_repository_runs_in_an_empty_tree() {
    let git = GitServer::start();
    let pod = Pod::task(&git, "test -z \"$(ls -A)\"; echo 4 > \"$ENACT_OUTPUT_DIR/answer\"").with(|a| a.git = None);
    let ended = pod.run("task");
    assert_eq!((ended.code, ended.report.commit.as_deref()), (Some(0), None), "{}", ended.log);
    assert_eq!(ended.report.outputs["answer"], "4");
}
