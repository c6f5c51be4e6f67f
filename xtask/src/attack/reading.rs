//! Attacks on the server's ports for readers and for Git hosts, through the API server's proxy.

use anyhow::{Context, Result};

use super::case::{Case, Verdict, code, kubectl, short};
use super::proxy::{Proxy, Response};
use super::site::{Site, User};

/// A secret that is too short to count, in the Secret `enact-push` of `%own`.
const SHORT: &str = "short-secret";
/// A push notification.
const PUSH: &str = r#"{"repository": {"clone_url": "https://git.example.com/shop/specs.git"}}"#;
/// More than the largest push notification, in bytes.
const HUGE: usize = (2 << 20) + 1;

/// The attacks.
pub(super) const CASES: &[Case] = &[
    kubectl(
        "REC-S2",
        "read-anonymously",
        "reach the server through the API server without a user",
        User::Anonymous,
        "get --raw /api/v1/namespaces/%system/services/http:enact-server:read/proxy/v1/namespaces/%own/budgets",
        &["forbidden|Forbidden|nauthorized"],
    ),
    code("REC-S1", "read-without-a-token", "read the record without a token", without_token),
    code("REC-S1", "read-with-another-token", "read the record with a token for the API server", another_audience),
    code("REC-I1", "read-as-the-pods-account", "read the record as the account of pods", pods_account),
    code(
        "REC-I1",
        "read-another-tenants-record",
        "read the record of another tenant as a reader of the own one",
        reader,
    ),
    code("REC-T1", "write-by-the-reading-port", "write through the port for readers", writing),
    code("REC-E1", "leave-the-namespace-by-the-path", "leave the namespace by `..` in the path", traversal),
    code("REC-E2", "inject-sql", "end a statement in the text of a search", injection),
    code("PSH-S1", "push-without-a-signature", "notify of a push without a signature", unsigned),
    code("PSH-S1", "push-with-a-wrong-signature", "notify of a push with a wrong signature", wrong_signature),
    code("PSH-S1", "push-with-sha1", "notify of a push with a signature by SHA-1", sha1),
    code("PSH-S2", "push-with-a-short-secret", "notify of a push with a secret of twelve bytes", short_secret),
    code("PSH-I1", "find-namespaces-with-a-secret", "tell namespaces with a push secret from others", oracle),
    code("PSH-D1", "push-a-huge-body", "send a push notification of more than 2 MiB", huge),
];

/// Sends a request to a port of the server.
fn server(site: &Site, port: &str, request: (&str, &str), headers: &[String], body: &str) -> Result<Response> {
    let service = site.service("server")?.context("the installation has no Service of the server")?;
    Proxy::start(site)?.send(site, (service.as_str(), port), request, headers, body)
}

/// Reads a path of the record with a token.
fn read(site: &Site, path: &str, token: &str) -> Result<Response> {
    server(site, "read", ("GET", path), &[format!("X-Enact-Token: {token}")], "")
}

/// Judges an answer by its status and a word that its body must have.
fn judge(answer: &Response, statuses: &[u16], word: &str) -> Verdict {
    let said = short(&format!("{} {}", answer.status, answer.body));
    if statuses.contains(&answer.status) && answer.body.contains(word) {
        Verdict::Stopped(said)
    } else {
        Verdict::NotStopped(said)
    }
}

/// Creates a token of an account in `%own`, for the server or for the API server.
fn token(site: &Site, account: &str, for_server: bool) -> Result<String> {
    let mut args = vec!["create", "token", account, "--namespace=%own"];
    args.extend(for_server.then_some("--audience=enact-server"));
    site.read(&args)
}

fn without_token(site: &Site) -> Result<Verdict> {
    let answer = server(site, "read", ("GET", "/v1/namespaces/%own/budgets"), &[], "")?;
    Ok(judge(&answer, &[401], "token-refused"))
}

fn another_audience(site: &Site) -> Result<Verdict> {
    let token = token(site, "enact-reader", false)?;
    Ok(judge(&read(site, "/v1/namespaces/%own/budgets", &token)?, &[401], "token-refused"))
}

fn pods_account(site: &Site) -> Result<Verdict> {
    let token = token(site, "default", true)?;
    Ok(judge(&read(site, "/v1/namespaces/%own/budgets", &token)?, &[403], "forbidden"))
}

fn reader(site: &Site) -> Result<Verdict> {
    let token = token(site, "enact-reader", true)?;
    let own = read(site, "/v1/namespaces/%own/budgets", &token)?;
    if own.status != 200 {
        let said = short(&format!("the own record cannot be read either: {} {}", own.status, own.body));
        return Ok(Verdict::NotStopped(said));
    }
    Ok(judge(&read(site, "/v1/namespaces/%other/budgets", &token)?, &[403], "forbidden"))
}

fn writing(site: &Site) -> Result<Verdict> {
    let header = format!("X-Enact-Token: {}", token(site, "enact-reader", true)?);
    let request = ("POST", "/v1/namespaces/%own/budgets");
    Ok(judge(&server(site, "read", request, &[header], "{}")?, &[405], "method-not-allowed"))
}

fn traversal(site: &Site) -> Result<Verdict> {
    let token = token(site, "enact-reader", true)?;
    let path = "/v1/namespaces/%own/..%2F%other/budgets";
    Ok(judge(&read(site, path, &token)?, &[400, 403, 404], ""))
}

fn injection(site: &Site) -> Result<Verdict> {
    let token = token(site, "enact-reader", true)?;
    let path = "/v1/namespaces/%own/search?q=x%27%29%3B%20drop%20table%20enact.audit%3B%20--&kind=requirement";
    let answer = read(site, path, &token)?;
    let verdict = judge(&answer, &[200, 400, 403], "");
    // The record still answers.
    let after = read(site, "/v1/namespaces/%own/budgets", &token)?;
    Ok(if after.status == 200 { verdict } else { judge(&after, &[], "") })
}

/// Sends a push notification to a namespace.
fn push(site: &Site, namespace: &str, header: &str, body: &str) -> Result<Option<Response>> {
    let service = site.service("server")?.context("the installation has no Service of the server")?;
    let ports =
        site.read(&["get", "service", &service, "--namespace=%system", "--output=jsonpath={.spec.ports[*].name}"])?;
    if !ports.split_whitespace().any(|port| port == "push") {
        return Ok(None);
    }
    let mut headers = vec!["Content-Type: application/json".to_owned()];
    headers.extend((!header.is_empty()).then(|| header.to_owned()));
    let path = format!("/v1/namespaces/{namespace}/push");
    server(site, "push", ("POST", &path), &headers, body).map(Some)
}

/// Sends a push notification that must be refused.
fn refused_push(site: &Site, header: &str, body: &str, status: u16) -> Result<Verdict> {
    let answer = push(site, "%own", header, body)?;
    Ok(answer.map_or_else(closed, |answer| judge(&answer, &[status], "")))
}

fn closed() -> Verdict {
    Verdict::Skipped("the installation does not receive push notifications".to_owned())
}

fn unsigned(site: &Site) -> Result<Verdict> {
    refused_push(site, "", PUSH, 401)
}

fn wrong_signature(site: &Site) -> Result<Verdict> {
    refused_push(site, &format!("X-Hub-Signature-256: sha256={}", "0".repeat(64)), PUSH, 401)
}

fn sha1(site: &Site) -> Result<Verdict> {
    refused_push(site, &format!("X-Hub-Signature: sha1={}", "0".repeat(40)), PUSH, 401)
}

fn short_secret(site: &Site) -> Result<Verdict> {
    refused_push(site, &format!("X-Gitlab-Token: {SHORT}"), PUSH, 401)
}

fn oracle(site: &Site) -> Result<Verdict> {
    let header = format!("X-Gitlab-Token: {}", "x".repeat(32));
    let (with, without) = (push(site, "%own", &header, PUSH)?, push(site, "%other", &header, PUSH)?);
    let (Some(with), Some(without)) = (with, without) else { return Ok(closed()) };
    let (own, other) = (site.fill("%own"), site.fill("%other"));
    if with.status == without.status && with.body.replace(&own, "") == without.body.replace(&other, "") {
        return Ok(judge(&with, &[401], ""));
    }
    Ok(Verdict::NotStopped(short(&format!("{} {} and {} {}", with.status, with.body, without.status, without.body))))
}

fn huge(site: &Site) -> Result<Verdict> {
    let header = format!("X-Gitlab-Token: {}", "x".repeat(32));
    refused_push(site, &header, &"x".repeat(HUGE), 413)
}
