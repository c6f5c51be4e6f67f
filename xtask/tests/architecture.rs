//! The invariants `domain-is-pure`, `dependencies-go-one-way`, `webhook-without-postgres`, `tenants-urls-are-opened-by-tenants-pods` and
//! `no-names-in-metrics` of ARCHITECTURE.md, checked on the dependencies that cargo resolves; and rules on sources that no lint checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crates, dependencies first, and the crates that each may depend on.
const CRATES: [(&str, &[&str]); 17] = [
    ("enact-domain", &[]),
    ("enact-crds", &["enact-domain"]),
    ("enact-store", &["enact-domain", "enact-crds"]),
    ("enact-embed", &[]),
    ("enact-service", &[]),
    ("enact-testing", &[]),
    ("enact-operator", &["enact-domain", "enact-crds", "enact-store", "enact-embed", "enact-service"]),
    ("enact-webhook", &["enact-domain", "enact-crds", "enact-service"]),
    ("enact-server", &["enact-domain", "enact-crds", "enact-store", "enact-embed", "enact-service"]),
    ("enact-gateway", &["enact-domain", "enact-crds", "enact-store", "enact-service"]),
    ("enact-cache", &["enact-domain", "enact-crds", "enact-service"]),
    ("enact-runner", &["enact-domain"]),
    ("enact-cli", &["enact-domain", "enact-crds"]),
    ("enact-e2e", &["enact-domain", "enact-crds"]),
    ("enact-bench", &["enact-domain", "enact-crds", "enact-store"]),
    ("enact-modelsim", &[]),
    ("xtask", &[]),
];

/// Crates that `domain` must not depend on: cluster, database, network, runtime, clock, randomness.
const IMPURE: [&str; 20] = [
    "async-std",
    "chrono",
    "fastrand",
    "futures",
    "getrandom",
    "http",
    "hyper",
    "jiff",
    "k8s-openapi",
    "kube",
    "mio",
    "rand",
    "reqwest",
    "rustls",
    "smol",
    "sqlx",
    "time",
    "tokio",
    "ureq",
    "warp",
];

/// The same in the standard library, and what a pure function does not need.
const WORDS: [&str; 14] = [
    "SystemTime",
    "Instant::",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "async fn",
    ".await",
    "println!(",
    "thread_local!",
    "static mut",
];

/// The crates that run with the permissions of the installation, and read input of tenants.
const TRUSTED: [&str; 3] = ["enact-operator", "enact-webhook", "enact-server"];

/// Crates that open URLs or repositories. Kube's client connects only to the API server.
const CLIENTS: [&str; 20] = [
    "attohttpc",
    "awc",
    "curl",
    "git2",
    "gix",
    "gix-transport",
    "isahc",
    "libgit2-sys",
    "libssh2-sys",
    "minreq",
    "object_store",
    "octocrab",
    "openssh",
    "reqwest",
    "russh",
    "ssh2",
    "surf",
    "tonic",
    "tungstenite",
    "ureq",
];

/// Words of sources that open connections or run programs.
const OPENS: [&str; 11] = [
    "TcpStream::connect",
    "TcpSocket",
    "UdpSocket",
    "UnixStream::connect",
    "lookup_host",
    "ToSocketAddrs",
    "Command::new",
    "hyper::client",
    "hyper_util::client",
    "cluster_url",
    "Client::new(",
];

/// Words of sources that register a metric without `enact_service::metrics`, which checks its labels.
const REGISTERS: [&str; 4] = [".register(", "register_int", "register_histogram", "default_registry"];

/// The longest source file, in lines.
const MAX_LINES: usize = 600;
/// Files that may be longer, and the reason.
const LONGER: [(&str, &str); 0] = [];

/// The dependencies that cargo resolves: the name of each package, and the packages that are built into it.
struct Resolved {
    names: BTreeMap<String, String>,
    needs: BTreeMap<String, Vec<String>>,
    members: Vec<String>,
}

impl Resolved {
    fn read() -> Self {
        let host = rustc_host();
        // Only dependencies for the host. Those for other systems are not downloaded.
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", &host])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
        let names = list(&metadata["packages"]).map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let needs = list(&metadata["resolve"]["nodes"]).map(|node| (text(&node["id"]), normal(node))).collect();
        let members = list(&metadata["workspace_members"]).map(text).collect();
        Self { names, needs, members }
    }

    fn id(&self, name: &str) -> &str {
        let found = self.members.iter().find(|id| self.names[*id] == name);
        found.unwrap_or_else(|| panic!("no member {name}"))
    }

    /// Returns the names of all direct and indirect dependencies of `name`.
    fn all_of(&self, name: &str) -> BTreeSet<&str> {
        self.all_of_but(name, "")
    }

    /// Returns the dependencies of `name` without `other` and the dependencies of `other`.
    fn all_of_but(&self, name: &str, other: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.id(name)];
        while let Some(id) = open.pop() {
            for need in &self.needs[id] {
                if self.names[need] != other && found.insert(need.as_str()) {
                    open.push(need);
                }
            }
        }
        found.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

/// Returns the normal dependencies of a node, without those for tests and build scripts.
fn normal(node: &Value) -> Vec<String> {
    let is_normal = |dep: &&Value| list(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null());
    list(&node["deps"]).filter(is_normal).map(|dep| text(&dep["pkg"])).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn rustc_host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8(output.stdout).expect("rustc prints text");
    version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
}

#[test]
fn dependencies_go_one_way() {
    let resolved = Resolved::read();
    let crates: BTreeSet<&str> = CRATES.iter().map(|(member, _)| *member).collect();
    let members: BTreeSet<&str> = resolved.members.iter().map(|id| resolved.names[id].as_str()).collect();
    assert_eq!(members, crates, "the list CRATES differs from the members of the workspace");
    for (member, allowed) in CRATES {
        let found: BTreeSet<&str> = resolved.all_of(member).into_iter().filter(|name| crates.contains(name)).collect();
        let forbidden: Vec<_> = found.into_iter().filter(|name| !allowed.contains(name)).collect();
        assert!(forbidden.is_empty(), "{member} must not depend on {forbidden:?}");
    }
}

#[test]
fn domain_is_pure() {
    let resolved = Resolved::read();
    let impure: Vec<_> = resolved.all_of("enact-domain").into_iter().filter(|name| IMPURE.contains(name)).collect();
    assert!(impure.is_empty(), "enact-domain depends on {impure:?}");

    without(&sources(&root().join("domain/src")), &WORDS, "is not allowed in a pure function");
}

#[test]
fn webhook_does_not_depend_on_postgres() {
    let resolved = Resolved::read();
    for member in ["enact-webhook", "enact-crds", "enact-domain", "enact-cache", "enact-runner", "enact-cli"] {
        let found: Vec<_> =
            resolved.all_of(member).into_iter().filter(|n| *n == "enact-store" || n.starts_with("sqlx")).collect();
        assert!(found.is_empty(), "{member} depends on {found:?}");
    }
    // The check finds the dependency where it is allowed.
    assert!(resolved.all_of("enact-store").contains("sqlx-core"));
}

/// `enact-embed` may connect to an endpoint: the installation configures it, and the crate does not know our kinds.
#[test]
fn only_pods_of_tenants_open_their_urls() {
    let resolved = Resolved::read();
    for member in TRUSTED {
        let all = resolved.all_of_but(member, "enact-embed");
        let found: Vec<_> = all.into_iter().filter(|name| CLIENTS.contains(name)).collect();
        assert!(found.is_empty(), "{member} depends on {found:?}; let a pod of the tenant open its URLs");
    }
    // The check finds the dependency where it is allowed.
    assert!(resolved.all_of("enact-server").contains("ureq"));
    assert!(!resolved.all_of("enact-embed").contains("enact-crds"));

    let crates = TRUSTED.into_iter().chain(["enact-service", "enact-store", "enact-crds", "enact-domain"]);
    let sources: Vec<_> = crates.flat_map(programs).collect();
    assert!(sources.iter().any(|(_, source)| source.contains("Client::try_default")), "the sources were read");
    without(&sources, &OPENS, "opens a connection or runs a program; let a pod of the tenant do this");
}

#[test]
fn metrics_are_registered_in_one_module() {
    let module = Path::new("service/src/metrics.rs");
    let crates =
        TRUSTED.into_iter().chain(["enact-gateway", "enact-cache", "enact-service", "enact-store", "enact-embed"]);
    let (inside, outside): (Vec<_>, Vec<_>) = crates.flat_map(programs).partition(|(path, _)| path.ends_with(module));
    assert!(inside.iter().any(|(_, source)| source.contains("registry.register(")), "the module registers metrics");
    without(&outside, &REGISTERS, "registers a metric without a check of its labels; use enact_service::metrics");
}

/// Asserts that no line of the sources contains one of the words.
#[track_caller]
fn without(sources: &[(PathBuf, String)], words: &[&str], what: &str) {
    for (path, source) in sources {
        for (number, line) in (1..).zip(source.lines()).filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let found = words.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "{}:{number}: `{}` {what}", path.display(), found.unwrap_or(&""));
        }
    }
}

/// Returns the sources of a crate without its tests, which are at the end of a file.
fn programs(member: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join(member.strip_prefix("enact-").unwrap_or(member)).join("src");
    let is_test =
        |path: &Path| path.iter().any(|part| ["tests.rs", "tests", "testing"].iter().any(|test| part == *test));
    let all =
        sources(&folder).into_iter().filter(|(path, _)| !is_test(path.strip_prefix(root()).expect("below the root")));
    all.map(|(path, source)| {
        let program = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        (path, program)
    })
    .collect()
}

#[test]
fn every_crate_uses_the_workspaces_lints_and_versions() {
    for (member, _) in CRATES {
        let folder = member.strip_prefix("enact-").unwrap_or(member);
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{member} does not set `lints.workspace`");
        assert!(manifest.contains("publish.workspace = true"), "{member} does not set `publish.workspace`");
        let dependencies = manifest.split_once("dependencies]").map_or("", |(_, rest)| rest);
        for line in dependencies.lines().filter(|line| line.contains('=') && !line.starts_with('#')) {
            assert!(line.contains("workspace = true"), "{member}: `{line}` sets a version; use the workspace's");
        }
    }
}

#[test]
fn files_stay_short() {
    let mut long = BTreeSet::new();
    for folder in CRATES.map(|(member, _)| member.strip_prefix("enact-").unwrap_or(member)) {
        for part in ["src", "tests", "benches"] {
            for (path, source) in sources(&root().join(folder).join(part)) {
                let (path, lines) = (path.strip_prefix(root()).expect("below the root"), source.lines().count());
                let known = LONGER.iter().any(|(name, _)| path == Path::new(name));
                assert!(lines <= MAX_LINES || known, "{} has {lines} lines; split it", path.display());
                if lines > MAX_LINES {
                    long.insert(path.to_owned());
                }
            }
        }
    }
    for (name, reason) in LONGER {
        assert!(long.contains(Path::new(name)), "{name} is no longer long ({reason}); remove it from the list");
    }
}

/// Reads every Rust file below a folder, which need not exist.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a folder can be listed").path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).expect("a source is text");
                found.push((path, source));
            }
        }
    }
    found.sort();
    found
}
