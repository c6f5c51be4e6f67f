use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::cmd::cmd;

/// A cluster that is a folder: an object is a file `<kind>-<name>` in it, which a `delete` takes away. Whatever lies in `refuses` stays,
/// until a patch frees it.
struct Pretended {
    folder: TempDir,
    kube: Kube,
}

const KUBECTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
shift 2
echo "kubectl $*" >> calls
case "$1 $2" in
"get crd")
    case "$3" in
    --selector*) cat definitions ;;
    *) cat "crd-$3" 2> /dev/null ;;
    esac ;;
"get tenants") ls | sed -n 's|^tenant-|tenant.enact.dev/|p' ;;
"get "*) cat "$2-$3" 2> /dev/null ;;
"create --filename") cat >> created ;;
"delete "*)
    case "$*" in *--wait=false) exit 0 ;; esac
    test ! -e "refuses/$2" || { echo "timed out" >&2; exit 1; }
    rm -f "$2-$3" ;;
"patch "*) rm -f "refuses/$2" ;;
esac
exit 0
"#;

const HELM: &str = "#!/bin/sh\ncd \"$(dirname \"$0\")\" && shift 2 && echo \"helm $1 $2\" >> calls\n";

impl Pretended {
    /// Creates a cluster with objects of these names. The flag tells whether an object has the demonstration's label.
    fn with(objects: &[(&str, bool)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        for (name, ours) in objects {
            let labels = if *ours { json!({ "enact.dev/demo": "true" }) } else { json!({ "team": "theirs" }) };
            write(name, &json!({ "metadata": { "labels": labels } }).to_string());
        }
        let definition = |name: &str, release: &str| {
            let annotations = json!({
                "meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "enact-system",
            });
            json!({ "metadata": { "name": name, "annotations": annotations } })
        };
        let definitions = [definition("plans.enact.dev", "enact"), definition("theirs.enact.dev", "another")];
        write("definitions", &json!({ "items": definitions }).to_string());
        write("calls", "");
        fs::create_dir(folder.path().join("refuses")).unwrap();
        let program = |name: &str, text: &str| {
            write("text", text);
            // Another process writes the program. A child of another test could inherit a descriptor that is open for writing, and the
            // program could not be executed then (ETXTBSY).
            let [text, program] = ["text", name].map(|name| folder.path().join(name));
            cmd("install", ["--mode=700"]).args([&text, &program]).read().unwrap();
            program
        };
        let kube = Kube::pretended(program("kubectl", KUBECTL), program("helm", HELM));
        Self { folder, kube }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the recorded calls that change something.
    fn done(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap();
        let done = calls.lines().filter(|line| !line.starts_with("kubectl get"));
        done.map(|line| line.split(" --").next().unwrap_or(line).to_owned()).collect()
    }

    fn has(&self, name: &str) -> bool {
        Path::exists(&self.path(name))
    }
}

const ALL_OURS: [(&str, bool); 5] = [
    ("namespace-enact-system", true),
    ("namespace-shop", true),
    ("namespace-enact-demo", true),
    ("crd-tenants.enact.dev", false),
    ("tenant-acme", true),
];

#[test]
fn an_empty_cluster_gets_the_namespaces_with_the_label() {
    let cluster = Pretended::with(&[]);
    claim(&cluster.kube).unwrap();
    let created = fs::read_to_string(cluster.path("created")).unwrap();
    for name in NAMESPACES {
        assert!(created.contains(&format!(r#""labels":{{"enact.dev/demo":"true"}},"name":"{name}""#)), "{created}");
    }
    assert!(created.contains(r#""annotations":{"enact.dev/allow-tenant":"acme"}"#), "{created}");
}

#[test]
fn what_an_earlier_demonstration_made_is_used_again() {
    let cluster = Pretended::with(&ALL_OURS);
    claim(&cluster.kube).unwrap();
    assert_eq!(cluster.done(), ["kubectl annotate namespace shop enact.dev/allow-tenant=acme"]);
}

#[test]
fn somebody_elses_things_are_not_taken_over() {
    for foreign in ["namespace-enact-system", "namespace-shop", "namespace-enact-demo", "tenant-acme"] {
        let objects = ALL_OURS.map(|(name, ours)| (name, ours && name != foreign));
        let cluster = Pretended::with(&objects);
        let error = claim(&cluster.kube).unwrap_err().to_string();
        let name = foreign.replacen('-', "/", 1);
        assert!(error.contains(&format!("--context elsewhere label {name} enact.dev/demo=true")), "{error}");
        assert!(cluster.done().is_empty());
    }
}

#[test]
fn everything_of_the_demonstration_goes_in_the_order_in_which_it_can() {
    let cluster = Pretended::with(&ALL_OURS);
    delete(&cluster.kube).unwrap();
    assert_eq!(
        cluster.done(),
        [
            "kubectl delete plans,specifications,constitutions,agents,approvals",
            "kubectl delete tenant acme",
            "helm uninstall enact",
            "kubectl delete crd plans.enact.dev",
            "kubectl delete namespace enact-system",
            "kubectl delete namespace shop",
            "kubectl delete namespace enact-demo",
        ]
    );
}

#[test]
fn a_tenant_that_waits_for_a_dead_operator_is_freed_once_the_release_is_gone() {
    let cluster = Pretended::with(&ALL_OURS);
    fs::write(cluster.path("refuses/tenant"), "").unwrap();
    delete(&cluster.kube).unwrap();
    let done = cluster.done();
    let at = |call: &str| done.iter().position(|line| line == call).unwrap_or_else(|| panic!("{call}: {done:?}"));
    assert!(at("helm uninstall enact") < at("kubectl patch tenant acme"));
    assert!(at("kubectl patch tenant acme") < at("kubectl delete crd plans.enact.dev"));
    assert!(!cluster.has("tenant-acme") && !cluster.has("namespace-shop"));
}

#[test]
fn what_is_already_gone_is_no_obstacle() {
    let cluster = Pretended::with(&[("namespace-enact-system", true)]);
    delete(&cluster.kube).unwrap();
    assert!(!cluster.has("namespace-enact-system"));
    delete(&Pretended::with(&[]).kube).unwrap();
}

#[test]
fn nothing_of_others_is_deleted() {
    let cluster = Pretended::with(&ALL_OURS.map(|(name, _)| (name, false)));
    delete(&cluster.kube).unwrap();
    assert!(cluster.done().is_empty(), "{:?}", cluster.done());
}

#[test]
fn definitions_stay_with_another_tenant() {
    let mut objects = ALL_OURS.to_vec();
    objects.push(("tenant-theirs", false));
    let cluster = Pretended::with(&objects);
    delete(&cluster.kube).unwrap();
    assert!(!cluster.done().iter().any(|line| line.contains("crd")), "{:?}", cluster.done());
    assert!(cluster.has("tenant-theirs") && !cluster.has("namespace-enact-system"));
}
