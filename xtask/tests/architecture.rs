//! The invariants `domain-is-pure`, `dependencies-go-one-way`, `webhook-without-postgres`, `tenants-urls-are-opened-by-tenants-pods` and
//! `no-names-in-metrics` of ARCHITECTURE.md, held on what cargo resolves; and what a lint does not say about the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each room may depend on, in the order in which they build on each other.
const ROOMS: [(&str, &[&str]); 13] = [
    ("enact-domain", &[]),
    ("enact-crds", &["enact-domain"]),
    ("enact-store", &["enact-domain", "enact-crds"]),
    ("enact-embed", &[]),
    ("enact-service", &[]),
    ("enact-operator", &["enact-domain", "enact-crds", "enact-store", "enact-embed", "enact-service"]),
    ("enact-webhook", &["enact-domain", "enact-crds", "enact-service"]),
    ("enact-server", &["enact-domain", "enact-crds", "enact-store", "enact-embed", "enact-service"]),
    ("enact-runner", &["enact-domain"]),
    ("enact-cli", &["enact-domain", "enact-crds"]),
    ("enact-e2e", &["enact-domain", "enact-crds"]),
    ("enact-bench", &["enact-domain", "enact-crds", "enact-store"]),
    ("xtask", &[]),
];

/// Crates that no part of `domain` may need: the cluster, the database, the network, a runtime, a clock, chance.
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

/// What the standard library offers for the same, and what a pure function has no use for.
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

/// The rooms that run with the installation's rights, and read what tenants write.
const TRUSTED: [&str; 3] = ["enact-operator", "enact-webhook", "enact-server"];

/// Crates that open URLs, or repositories. Kube's client goes to the API server alone.
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

/// How sources open connections, or run programs that do.
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

/// How a metric comes to be shown without `enact_service::metrics`, which looks at its labels.
const REGISTERS: [&str; 4] = [".register(", "register_int", "register_histogram", "default_registry"];

/// Longest source file, in lines.
const MAX_LINES: usize = 600;
/// Files that may be longer, and why.
const LONGER: [(&str, &str); 0] = [];

/// What cargo resolved: each package's name, and the packages that it needs to be built into a program.
struct Resolved {
    names: BTreeMap<String, String>,
    needs: BTreeMap<String, Vec<String>>,
    members: Vec<String>,
}

impl Resolved {
    fn read() -> Self {
        let host = rustc_host();
        // The host's dependencies only: those of other systems are downloaded by nobody.
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

    /// Names of everything that is built into `name`, however far away.
    fn all_of(&self, name: &str) -> BTreeSet<&str> {
        self.all_of_but(name, "")
    }

    /// The same, without `other` and what only that needs.
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

/// Normal dependencies of a node: neither for tests nor for a build script alone.
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
    let rooms: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let members: BTreeSet<&str> = resolved.members.iter().map(|id| resolved.names[id].as_str()).collect();
    assert_eq!(members, rooms, "a room is missing in this test, or gone");
    for (room, allowed) in ROOMS {
        let found: BTreeSet<&str> = resolved.all_of(room).into_iter().filter(|name| rooms.contains(name)).collect();
        let forbidden: Vec<_> = found.into_iter().filter(|name| !allowed.contains(name)).collect();
        assert!(forbidden.is_empty(), "{room} may not depend on {forbidden:?}");
    }
}

#[test]
fn the_domain_is_pure() {
    let resolved = Resolved::read();
    let impure: Vec<_> = resolved.all_of("enact-domain").into_iter().filter(|name| IMPURE.contains(name)).collect();
    assert!(impure.is_empty(), "enact-domain needs {impure:?}");

    without(&sources(&root().join("domain/src")), &WORDS, "is nothing that a pure function has a use for");
}

#[test]
fn the_webhook_works_without_postgres() {
    let resolved = Resolved::read();
    for room in ["enact-webhook", "enact-crds", "enact-domain", "enact-runner", "enact-cli"] {
        let found: Vec<_> =
            resolved.all_of(room).into_iter().filter(|n| *n == "enact-store" || n.starts_with("sqlx")).collect();
        assert!(found.is_empty(), "{room} needs {found:?}");
    }
    // The test would see it where it is.
    assert!(resolved.all_of("enact-store").contains("sqlx-core"));
}

/// Embeddings are asked of an endpoint that the installation names, by a room that knows none of our kinds.
#[test]
fn the_urls_of_tenants_are_opened_by_their_pods() {
    let resolved = Resolved::read();
    for room in TRUSTED {
        let all = resolved.all_of_but(room, "enact-embed");
        let found: Vec<_> = all.into_iter().filter(|name| CLIENTS.contains(name)).collect();
        assert!(found.is_empty(), "{room} needs {found:?}: let a pod of the tenant open what a tenant names");
    }
    // The test would see it where it is.
    assert!(resolved.all_of("enact-server").contains("ureq"));
    assert!(!resolved.all_of("enact-embed").contains("enact-crds"));

    let rooms = TRUSTED.into_iter().chain(["enact-service", "enact-store", "enact-crds", "enact-domain"]);
    let sources: Vec<_> = rooms.flat_map(programs).collect();
    assert!(sources.iter().any(|(_, source)| source.contains("Client::try_default")), "they were read");
    without(&sources, &OPENS, "opens a connection or runs a program; let a pod of the tenant do it");
}

#[test]
fn metrics_come_in_by_the_one_door_where_their_labels_are_looked_at() {
    let door = Path::new("service/src/metrics.rs");
    let rooms = TRUSTED.into_iter().chain(["enact-service", "enact-store", "enact-embed"]);
    let (inside, outside): (Vec<_>, Vec<_>) = rooms.flat_map(programs).partition(|(path, _)| path.ends_with(door));
    assert!(inside.iter().any(|(_, source)| source.contains("registry.register(")), "the door is there");
    without(&outside, &REGISTERS, "shows a metric whose labels nobody looked at; use enact_service::metrics");
}

/// Asserts that no line of the sources has one of the words.
#[track_caller]
fn without(sources: &[(PathBuf, String)], words: &[&str], what: &str) {
    for (path, source) in sources {
        for (number, line) in (1..).zip(source.lines()).filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let found = words.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "{}:{number}: `{}` {what}", path.display(), found.unwrap_or(&""));
        }
    }
}

/// The sources of a room's program, without its tests, which stand behind all else.
fn programs(room: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join(room.strip_prefix("enact-").unwrap_or(room)).join("src");
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
fn every_room_takes_the_lints_and_versions_of_the_workspace() {
    for (room, _) in ROOMS {
        let folder = room.strip_prefix("enact-").unwrap_or(room);
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{room} has no `lints.workspace`");
        assert!(manifest.contains("publish.workspace = true"), "{room} could be published by mistake");
        let dependencies = manifest.split_once("dependencies]").map_or("", |(_, rest)| rest);
        for line in dependencies.lines().filter(|line| line.contains('=') && !line.starts_with('#')) {
            assert!(line.contains("workspace = true"), "{room}: `{line}` has a version of its own");
        }
    }
}

#[test]
fn files_stay_short() {
    let mut long = BTreeSet::new();
    for folder in ROOMS.map(|(room, _)| room.strip_prefix("enact-").unwrap_or(room)) {
        for part in ["src", "tests", "benches"] {
            for (path, source) in sources(&root().join(folder).join(part)) {
                let (path, lines) = (path.strip_prefix(root()).expect("below the root"), source.lines().count());
                let known = LONGER.iter().any(|(name, _)| path == Path::new(name));
                assert!(lines <= MAX_LINES || known, "{} has {lines} lines; divide it", path.display());
                if lines > MAX_LINES {
                    long.insert(path.to_owned());
                }
            }
        }
    }
    for (name, reason) in LONGER {
        assert!(long.contains(Path::new(name)), "{name} is no longer long ({reason}); take it off the list");
    }
}

/// Every Rust file below a folder, which need not exist, with its text.
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
