//! Users with client certificates, and machines with tokens, as a cluster's administrator issues them.

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

/// A user of a stage, with a kubeconfig and a working directory.
pub struct Person {
    /// The user name at the API server.
    pub name: String,
    pub client: Client,
    stage: Stage,
    home: TempDir,
}

/// The output of the command line tool.
#[derive(Debug)]
pub struct CommandOutput {
    pub stdout: String,
    pub stderr: String,
}

impl Person {
    /// Creates a user with a certificate of the cluster, in the stage's group and in `group`.
    ///
    /// # Errors
    /// If the cluster does not sign the certificate.
    pub async fn of(stage: &Stage, name: &str, group: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, format!("{}-people", stage.name));
        // The library accepts one organization by name. A second one needs its OID.
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

    /// Creates a service account in the stage's namespace with the role of a tenant owner.
    ///
    /// # Errors
    /// If it cannot be created.
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

    /// Creates a kubeconfig for the same cluster with another user.
    async fn with(stage: &Stage, name: String, user: Value) -> Result<Self> {
        // `--flatten` replaces file names by their content, since relative ones would not resolve in the new folder.
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

    /// Returns the working directory of the user's commands.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Applies YAML documents, in the stage's namespace by default.
    ///
    /// # Errors
    /// If the API server or the webhook refuses a document.
    pub async fn applies(&self, yaml: &str) -> Result<()> {
        self.stage.apply_with(&self.client, yaml).await.with_context(|| format!("{} applies\n{yaml}", self.name))
    }

    /// Applies YAML that must be refused, and returns the refusal.
    ///
    /// # Errors
    /// If it is accepted.
    pub async fn refusal(&self, yaml: &str) -> Result<String> {
        match self.stage.apply_with(&self.client, yaml).await {
            Ok(()) => bail!("{} could apply this, but it must be refused:\n{yaml}", self.name),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Runs `kubectl` in the stage's namespace.
    ///
    /// # Errors
    /// If it fails, with its standard error.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        run(self.command("kubectl", &self.stage.name)?.arg(REQUEST_TIMEOUT).args(args))
    }

    /// Runs the command line tool in the stage's namespace.
    ///
    /// # Errors
    /// If it fails, with its output.
    pub fn enact(&self, args: &[&str]) -> Result<CommandOutput> {
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

    /// Runs the command line tool, which must fail, and returns its standard error.
    ///
    /// # Errors
    /// If it succeeds.
    pub fn enact_error(&self, args: &[&str]) -> Result<String> {
        self.enact_error_in(&self.stage.name, args)
    }

    /// Does the same as [`Self::enact_error`] in another namespace.
    ///
    /// # Errors
    /// If it succeeds.
    pub fn enact_error_in(&self, namespace: &str, args: &[&str]) -> Result<String> {
        let output = self.ends(namespace, args)?;
        let said = said(&output);
        ensure!(!output.status.success(), "{} may `enact {}` in {namespace}: {said:?}", self.name, args.join(" "));
        Ok(said.stderr)
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

fn said(output: &Output) -> CommandOutput {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    CommandOutput { stdout: text(&output.stdout), stderr: text(&output.stderr) }
}
