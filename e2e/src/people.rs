//! People, each with a client certificate of their own, and machines with tokens: what a cluster's administrator would give them.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{PATIENCE, REQUEST_TIMEOUT, Stage, output, program, run};

/// Somebody who works in a stage, with a kubeconfig and a directory of their own.
pub struct Person {
    /// As the API server calls them.
    pub name: String,
    /// Their client.
    pub client: Client,
    stage: Stage,
    home: TempDir,
}

/// What the command line tool said.
#[derive(Debug)]
pub struct Said {
    /// Its standard output.
    pub printed: String,
    /// Its standard error.
    pub told: String,
}

impl Person {
    /// Gives somebody a certificate, signed by the cluster, that says that they are of the stage's people and of `group`.
    ///
    /// # Errors
    /// When the cluster does not sign it.
    pub async fn of(stage: &Stage, name: &str, group: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, format!("{}-people", stage.name));
        // The library takes one organization; by its number it takes another.
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), group);
        let request = CertificateSigningRequest {
            metadata: ObjectMeta { generate_name: Some(format!("{}-{name}-", stage.name)), ..ObjectMeta::default() },
            spec: CertificateSigningRequestSpec {
                request: ByteString(params.serialize_request(&key)?.pem()?.into_bytes()),
                signer_name: "kubernetes.io/kube-apiserver-client".into(),
                usages: Some(vec!["client auth".into()]),
                expiration_seconds: Some(3600),
                ..CertificateSigningRequestSpec::default()
            },
            status: None,
        };
        let requests: Api<CertificateSigningRequest> = Api::all(stage.client.clone());
        let request = requests.create(&PostParams::default(), &request).await?.name_any();
        run(program("kubectl")?.args([REQUEST_TIMEOUT, "certificate", "approve", &request]))?;
        let issued = |r: &CertificateSigningRequest| r.status.as_ref().and_then(|s| s.certificate.clone());
        let signed = stage.watch(&requests, &request, "a certificate", PATIENCE, |r| issued(r).is_some()).await?;
        requests.delete(&request, &DeleteParams::default()).await?;
        let user = json!({
            "client-certificate-data": issued(&signed), "client-key-data": ByteString(key.serialize_pem().into_bytes()),
        });
        Self::with(stage, name.to_owned(), user).await
    }

    /// A service account of the stage's namespace, with what an owner of the tenant may do there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn machine(stage: &Stage, account: &str) -> Result<Self> {
        let namespace = &stage.name;
        let owner = "enact-tenant-owner";
        stage
            .apply(&format!(
                "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}}}\n---\n\
                 apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {account}}}\n\
                 roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {owner}}}\n\
                 subjects: [{{kind: ServiceAccount, name: {account}, namespace: {namespace}}}]\n"
            ))
            .await?;
        let token =
            run(program("kubectl")?.args([REQUEST_TIMEOUT, "--namespace", namespace, "create", "token", account]))?;
        let name = format!("system:serviceaccount:{namespace}:{account}");
        Self::with(stage, name, json!({ "token": token.trim() })).await
    }

    /// The cluster of the administrator's kubeconfig, with another user.
    async fn with(stage: &Stage, name: String, user: Value) -> Result<Self> {
        let view = ["config", "view", "--raw", "--flatten", "--minify", "--output=json"];
        let mut config: Value = serde_json::from_str(&run(program("kubectl")?.args(view))?)?;
        config["users"][0]["user"] = user;
        let home = tempfile::tempdir()?;
        let kubeconfig = home.path().join("kubeconfig");
        fs::write(&kubeconfig, config.to_string())?;
        let config = Kubeconfig::read_from(&kubeconfig)?;
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        Ok(Self { name, client: Client::try_from(config)?, stage: stage.clone(), home })
    }

    /// Where their commands run.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Applies YAML documents; objects without a namespace go to the stage's.
    ///
    /// # Errors
    /// What the API server, or the webhook behind it, refuses.
    pub async fn applies(&self, yaml: &str) -> Result<()> {
        self.stage.apply_with(&self.client, yaml).await.with_context(|| format!("{} applies\n{yaml}", self.name))
    }

    /// What the cluster answers when this is applied: its refusal.
    ///
    /// # Errors
    /// When it is taken.
    pub async fn refusal(&self, yaml: &str) -> Result<String> {
        match self.stage.apply_with(&self.client, yaml).await {
            Ok(()) => bail!("{} may apply this, and should not:\n{yaml}", self.name),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Runs `kubectl` in the stage's namespace.
    ///
    /// # Errors
    /// With its standard error, when it fails.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        run(self.command("kubectl", &self.stage.name)?.arg(REQUEST_TIMEOUT).args(args))
    }

    /// Runs the command line tool in the stage's namespace.
    ///
    /// # Errors
    /// With its standard error, when it fails.
    pub fn enact(&self, args: &[&str]) -> Result<Said> {
        let output = self.ends(&self.stage.name, args)?;
        let said = said(&output);
        ensure!(
            output.status.success(),
            "{}: `enact {}` ended with {}: {said:?}",
            self.name,
            args.join(" "),
            output.status
        );
        Ok(said)
    }

    /// Runs it there, and expects that it fails; what it writes to standard error.
    ///
    /// # Errors
    /// When it succeeds.
    pub fn hears(&self, args: &[&str]) -> Result<String> {
        self.hears_in(&self.stage.name, args)
    }

    /// The same in another namespace.
    ///
    /// # Errors
    /// When it succeeds.
    pub fn hears_in(&self, namespace: &str, args: &[&str]) -> Result<String> {
        let output = self.ends(namespace, args)?;
        let said = said(&output);
        ensure!(!output.status.success(), "{} may `enact {}` in {namespace}: {said:?}", self.name, args.join(" "));
        Ok(said.told)
    }

    fn ends(&self, namespace: &str, args: &[&str]) -> Result<Output> {
        output(self.command("enact", namespace)?.args(args))
    }

    fn command(&self, name: &str, namespace: &str) -> Result<Command> {
        let mut command = program(name)?;
        let kubeconfig = self.home().join("kubeconfig");
        let place =
            [OsStr::new("--kubeconfig"), kubeconfig.as_os_str(), OsStr::new("--namespace"), OsStr::new(namespace)];
        command.current_dir(self.home()).args(place);
        Ok(command)
    }
}

fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { printed: text(&output.stdout), told: text(&output.stderr) }
}
