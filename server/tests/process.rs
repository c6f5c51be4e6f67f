//! The program: its settings, its log and its exit.

mod support;

use std::process::{Command, Stdio};

use support::api::{Api, FakeCluster};
use support::database::Database;
use support::http::{self, Request};
use support::{SUBJECT, begun, delivery, free_port, result, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_until_sigterm_and_logs_no_secret() {
    let database = Database::migrated().await;
    begun(&database, SUBJECT, 1).await;
    let api = Api::start(FakeCluster::with_pod("secret-token", "shop-t001-1", SUBJECT, 1)).await;
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}], \
         users: [{{name: u, user: {{}}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}",
        api.address
    );
    let (port, health_port) = (free_port(), free_port());
    let settings = format!(
        "listen: 127.0.0.1:{port}\nread-listen: 127.0.0.1:0\nhealth-listen: 127.0.0.1:1\ndatabase-url: '{}'\ndeliveries: 8\n",
        database.config().url
    );
    let (config, kube) = (directory.path().join("server.yaml"), directory.path().join("kubeconfig"));
    std::fs::write(&config, settings).unwrap();
    std::fs::write(&kube, kubeconfig).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_enact-server"))
        .args(["--config", config.to_str().unwrap(), "--log", "trace"])
        .env("KUBECONFIG", &kube)
        .env("ENACT_HEALTH_LISTEN", format!("127.0.0.1:{health_port}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let process = child.id();
    // Reads the output continuously, because a full pipe would block the program.
    let log = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let (address, health) = (([127, 0, 0, 1], port).into(), ([127, 0, 0, 1], health_port).into());
    until(async || {
        tokio::net::TcpStream::connect(health).await.ok()?;
        (http::send(health, &Request::get("/readyz")).await.status == 200).then_some(())
    })
    .await;
    let mut result = result(SUBJECT, 1);
    result.transcript = "private thought".into();
    let body = serde_json::to_vec(&result).unwrap();
    let answer = http::send(address, &delivery(SUBJECT, 1, "secret-token", &body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let signalled = Command::new("sh").args(["-c", &format!("kill -TERM {process}")]).status().unwrap();
    assert!(signalled.success());
    let output = tokio::time::timeout(support::PATIENCE, log).await.expect("it ends").unwrap();
    let log = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    for secret in ["secret-token", "private thought", "p%27w", "p'w"] {
        assert!(!log.contains(secret), "`{secret}` is in the log:\n{log}");
    }
    let line = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let line = line.into_iter().find(|line| line["outcome"] == "stored").expect("the delivery is logged as JSON");
    assert_eq!(line["span"]["pod"], "team/shop-t001-1", "{line}");
    assert_eq!((line["span"]["attempt"].as_u64(), line["span"]["subject"].as_str()), (Some(1), Some(SUBJECT)));
}

#[test]
fn help_names_every_variable() {
    let program = || Command::new(env!("CARGO_BIN_EXE_enact-server"));
    let help = String::from_utf8(program().arg("--help").output().unwrap().stdout).unwrap();
    for name in ["ENACT_LISTEN", "ENACT_HEALTH_LISTEN", "ENACT_DATABASE_URL", "ENACT_LOG_FORMAT", "--config <FILE>"] {
        assert!(help.contains(name), "{name} is not in\n{help}");
    }
    let output = program().args(["--config", "/nowhere/server.yaml"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("/nowhere/server.yaml"), "{message}");
}
