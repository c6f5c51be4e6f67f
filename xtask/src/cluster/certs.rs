//! Certificates and kubeconfigs. There are three CAs, for the API server, etcd and the front proxy, because none of them may accept
//! the clients of another one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::layout::{API_PORT, Layout, NODE};
use super::net::{LOOPBACK, Ranges};
use crate::cmd::{CommandExt, cmd};

const DAYS: &str = "3650";

/// A certificate to create: file name, CA, subject and alternative names.
struct Certificate<'a> {
    name: &'a str,
    ca: &'a str,
    subject: String,
    alternatives: String,
}

/// Components with their own kubeconfig: file name, user, group.
const CLIENTS: [(&str, &str, &str); 7] = [
    ("admin", "enact-admin", "system:masters"),
    ("kube-controller-manager", "system:kube-controller-manager", ""),
    ("kube-scheduler", "system:kube-scheduler", ""),
    ("kube-proxy", "system:kube-proxy", ""),
    ("kubelet", "system:node:enact", "system:nodes"),
    ("volumes", "enact-volumes", "system:masters"),
    ("network-policies", "enact-network-policies", "system:masters"),
];

/// Creates missing certificates, keys and kubeconfigs.
pub(super) fn ensure(layout: &Layout, ranges: Ranges) -> Result<()> {
    for ca in ["ca", "etcd-ca", "front-proxy-ca"] {
        self_signed(layout, ca)?;
    }
    service_account_key(layout)?;
    let api_names = format!(
        "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,\
         DNS:localhost,IP:127.0.0.1,IP:{},IP:{}",
        ranges.node(),
        ranges.api_service()
    );
    let servers = [
        ("apiserver", "ca", "kube-apiserver", api_names),
        ("kubelet-server", "ca", "kubelet", format!("DNS:{NODE},IP:{}", ranges.node())),
        ("etcd", "etcd-ca", "etcd", format!("IP:{LOOPBACK}")),
    ];
    for (name, ca, common_name, alternatives) in servers {
        sign(layout, &Certificate { name, ca, subject: subject(common_name, &[])?, alternatives })?;
    }
    let clients = [
        ("apiserver-etcd", "etcd-ca", "kube-apiserver", ""),
        ("apiserver-kubelet", "ca", "kube-apiserver-kubelet", "system:masters"),
        ("front-proxy", "front-proxy-ca", "front-proxy-client", ""),
    ];
    for (name, ca, common_name, group) in clients {
        let subject = subject(common_name, &[group])?;
        sign(layout, &Certificate { name, ca, subject, alternatives: String::new() })?;
    }
    for (name, user, group) in CLIENTS {
        kubeconfig(layout, ranges, name, user, &[group], &layout.path(&format!("{name}.kubeconfig")))?;
    }
    Ok(())
}

/// Creates a kubeconfig that authenticates as `user` in `groups`, and returns its path.
pub(super) fn user_kubeconfig(layout: &Layout, ranges: Ranges, user: &str, groups: &[String]) -> Result<PathBuf> {
    if user.is_empty() || user.starts_with('.') || user.contains('/') {
        bail!("{user:?} cannot be a user's name here, because it becomes a file name");
    }
    let name = format!("user-{user}");
    for extension in ["crt", "key"] {
        // The certificate contains the groups, which may have changed. `sign` keeps an existing certificate.
        let path = file(layout, &name, extension);
        if path.exists() {
            fs::remove_file(path)?;
        }
    }
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let path = layout.path(&format!("users/{user}.kubeconfig"));
    kubeconfig(layout, ranges, &name, user, &groups, &path)?;
    Ok(path)
}

fn kubeconfig(layout: &Layout, ranges: Ranges, name: &str, user: &str, groups: &[&str], path: &Path) -> Result<()> {
    let certificate = Certificate { name, ca: "ca", subject: subject(user, groups)?, alternatives: String::new() };
    sign(layout, &certificate)?;
    let data = |path: PathBuf| fs::read(path).map(|bytes| STANDARD.encode(bytes));
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "enact", "cluster": {
            "server": format!("https://{}:{API_PORT}", ranges.node()),
            "certificate-authority-data": data(file(layout, "ca", "crt"))?,
        }}],
        "users": [{ "name": user, "user": {
            "client-certificate-data": data(file(layout, name, "crt"))?,
            "client-key-data": data(file(layout, name, "key"))?,
        }}],
        "contexts": [{ "name": "enact", "context": { "cluster": "enact", "user": user } }],
        "current-context": "enact",
    });
    fs::write(path, serde_json::to_string_pretty(&config)?)?;
    Ok(())
}

fn file(layout: &Layout, name: &str, extension: &str) -> PathBuf {
    layout.path(&format!("certs/{name}.{extension}"))
}

/// Formats a distinguished name for `openssl`, and escapes separators in names.
fn subject(common_name: &str, groups: &[&str]) -> Result<String> {
    let mut subject = String::new();
    let organisations = groups.iter().filter(|group| !group.is_empty()).map(|group| ("O", *group));
    for (attribute, value) in organisations.chain([("CN", common_name)]) {
        if value.chars().any(char::is_control) {
            bail!("{value:?} contains a control character");
        }
        // Otherwise a user could add a group such as `system:masters` by a name that contains `/O=` or `+O=`.
        let escaped = value.replace('\\', "\\\\").replace('/', "\\/").replace('+', "\\+");
        subject.extend(["/", attribute, "=", &escaped]);
    }
    Ok(subject)
}

fn self_signed(layout: &Layout, name: &str) -> Result<()> {
    if file(layout, name, "crt").exists() {
        return Ok(());
    }
    request(layout, name, &format!("/CN=enact-{name}"), DAYS)
        .args(["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"])
        .read()?;
    Ok(())
}

fn sign(layout: &Layout, certificate: &Certificate) -> Result<()> {
    let Certificate { name, ca, subject, alternatives } = certificate;
    if file(layout, name, "crt").exists() {
        return Ok(());
    }
    let mut request = request(layout, name, subject, DAYS);
    request.arg("-CA").arg(file(layout, ca, "crt")).arg("-CAkey").arg(file(layout, ca, "key"));
    request.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    request.args(["-addext", "extendedKeyUsage=clientAuth,serverAuth"]);
    if !alternatives.is_empty() {
        request.args(["-addext", &format!("subjectAltName={alternatives}")]);
    }
    request.read()?;
    Ok(())
}

fn request(layout: &Layout, name: &str, subject: &str, days: &str) -> std::process::Command {
    let mut command =
        cmd("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    command.args(["-utf8", "-days", days, "-subj", subject]);
    command.arg("-keyout").arg(file(layout, name, "key")).arg("-out").arg(file(layout, name, "crt"));
    command
}

/// Creates the key pair that signs service accounts' tokens, if it is missing.
fn service_account_key(layout: &Layout) -> Result<()> {
    let (private, public) = (file(layout, "service-account", "key"), file(layout, "service-account", "pub"));
    // The public key is written last, so its existence shows that the pair is complete.
    if !public.exists() {
        cmd("openssl", ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]).arg(&private).read()?;
        cmd("openssl", ["ec", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public).read()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_names_are_escaped() {
        assert_eq!(subject("alice", &["leads", "", "a/b"]).unwrap(), r"/O=leads/O=a\/b/CN=alice");
        assert_eq!(subject("a+O=system:masters", &[]).unwrap(), r"/CN=a\+O=system:masters");
        assert!(subject("a\nb", &[]).is_err());
    }

    #[test]
    fn invalid_user_names_are_refused() {
        let layout = Layout::new(PathBuf::from("/nonexistent")).unwrap();
        let ranges: Ranges = serde_json::from_str(r#"{"pods":"172.28.0.0","services":"172.29.0.0"}"#).unwrap();
        for name in ["", "../admin", ".hidden", "a/b"] {
            let error = user_kubeconfig(&layout, ranges, name, &[]).unwrap_err();
            assert!(error.to_string().contains("cannot be a user's name"), "{error}");
        }
    }
}
