//! A tenant and a namespace for one test.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use enact_crds::common::Condition;
use enact_crds::plan::Phase;
use enact_crds::{Plan, Task, Tenant};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PropagationPolicy, WatchEvent,
};
use kube::api::{GroupVersionKind, WatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::command::{exec, program, run};
use crate::wait::{Answer, PATIENCE, until};

/// The field manager of the tests.
const MANAGER: &str = "enact-e2e";

/// The namespace of the model servers of all tests. The installation allows model providers in it, although their addresses are private.
pub(crate) const MODELS: &str = "e2e-models";

/// A tenant and a namespace for one test, both of the same name.
#[derive(Clone)]
pub struct Stage {
    pub name: String,
    pub client: Client,
}

impl Stage {
    /// Creates the tenant, with `more` lines below its `spec`, and its namespace. Existing ones are deleted first.
    pub(crate) async fn set(name: &str, more: &str) -> Result<Self> {
        let config =
            Config::infer().await.context("KUBECONFIG does not name a cluster; run `cargo xtask test cluster`")?;
        let stage = Self { name: format!("e2e-{name}"), client: Client::try_from(config)? };
        // An earlier run that was killed may have left its objects and rows, which would change the results of this one.
        stage.clear().await?;
        stage.forget()?;
        stage.apply(&stage.tenant(more)).await?;
        stage
            .await_condition::<Tenant>(Api::all(stage.client.clone()), &stage.name, "Ready", |t| {
                t.status.as_ref().map(|s| s.conditions.clone())
            })
            .await?;
        Ok(stage)
    }

    /// Returns the manifest of the stage's tenant, with `more` lines below `spec`.
    pub fn tenant(&self, more: &str) -> String {
        let name = &self.name;
        format!(
            "apiVersion: enact.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec:\n  namespaces: [{name}]\n  \
             owners: {{groups: [{name}-people]}}\n  isolation: {{egress: [{{namespace: {name}-git, ports: [8080]}}]}}\n{more}"
        )
    }

    /// Deletes the objects of the test, in the order that a user would use.
    pub(crate) async fn clear(&self) -> Result<()> {
        let plans: Api<Plan> = self.api();
        let background = DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..Default::default() };
        plans.delete_collection(&background, &ListParams::default()).await?;
        let tenants: Api<Tenant> = Api::all(self.client.clone());
        gone(&tenants, &self.name).await.context("the tenant is not deleted")?;
        self.clear_model_server().await.context("the model server is not deleted")?;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for name in [self.name.clone(), format!("{}-git", self.name)] {
            gone(&namespaces, &name).await.with_context(|| format!("namespace {name} is not deleted"))?;
        }
        Ok(())
    }

    /// Deletes the model server of this stage, and waits until its pod does not exist any more.
    pub(crate) async fn clear_model_server(&self) -> Result<()> {
        gone(&Api::<Deployment>::namespaced(self.client.clone(), MODELS), &self.name).await?;
        gone(&Api::<Service>::namespaced(self.client.clone(), MODELS), &self.name).await?;
        gone(&Api::<ConfigMap>::namespaced(self.client.clone(), MODELS), &self.name).await?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), MODELS);
        let of_server = ListParams::default().labels(&format!("app.kubernetes.io/name={}", self.name));
        until("the end of the model server", PATIENCE, || async {
            let left = pods.list(&of_server).await?.items.len();
            Ok(if left == 0 { Answer::Yes(()) } else { Answer::NotYet(format!("{left} pods are left")) })
        })
        .await
    }

    /// Deletes the rows of an earlier run: a document's history includes all objects with its name.
    fn forget(&self) -> Result<()> {
        // The rows of `contents` are deleted last, because those of other tables refer to them.
        let tables = "select t.table_name from information_schema.tables t join information_schema.columns c \
            using (table_schema, table_name) where table_schema = 'enact' and table_type = 'BASE TABLE' and column_name = 'tenant_id' \
            order by t.table_name = 'contents'";
        let delete = format!("delete from enact.%I where tenant_id = ''{}''", self.name);
        let every = format!(
            "do $do$ declare t text; begin for t in {tables} loop execute format('{delete}', t); end loop; end $do$"
        );
        psql(&format!("set enact.tenant = '{}'; {every}", self.name)).map(drop)
    }

    /// Returns the API of a kind in the stage's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Applies YAML documents as the administrator, in the stage's namespace by default.
    ///
    /// # Errors
    /// If the API server or the webhook refuses a document.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.apply_with(&self.client, yaml).await
    }

    /// Applies YAML documents as another user.
    ///
    /// # Errors
    /// If the API server or the webhook refuses a document.
    pub async fn apply_as(&self, user: &str, groups: &[&str], yaml: &str) -> Result<()> {
        self.apply_with(&self.client_of(user, groups).await?, yaml).await
    }

    /// Returns a client that impersonates a user in these groups.
    ///
    /// # Errors
    /// If there is no usable kubeconfig.
    pub async fn client_of(&self, user: &str, groups: &[&str]) -> Result<Client> {
        let mut config = Config::infer().await?;
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups = Some(groups.iter().map(|&g| g.to_owned()).collect());
        Ok(Client::try_from(config)?)
    }

    pub(crate) async fn apply_with(&self, client: &Client, yaml: &str) -> Result<()> {
        for object in documents(yaml)? {
            let types = object.types.clone().context("a document without kind")?;
            let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
            let cluster_wide = ["Namespace", "RuntimeClass", "Tenant"].contains(&resource.kind.as_str());
            let api: Api<DynamicObject> = if cluster_wide {
                Api::all_with(client.clone(), &resource)
            } else {
                let namespace = object.namespace().unwrap_or_else(|| self.name.clone());
                Api::namespaced_with(client.clone(), &namespace, &resource)
            };
            if object.metadata.name.is_none() {
                api.create(&kube::api::PostParams::default(), &object).await?;
            } else {
                api.patch(&object.name_any(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await?;
            }
        }
        Ok(())
    }

    /// Applies YAML that must be refused, and returns the refusal.
    ///
    /// # Errors
    /// If it is accepted.
    pub async fn refusal(&self, yaml: &str) -> Result<String> {
        match self.apply(yaml).await {
            Ok(()) => bail!("this was accepted, but must be refused:\n{yaml}"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Patches a Plan's spec.
    ///
    /// # Errors
    /// If the API server refuses the patch.
    pub async fn change_plan(&self, name: &str, spec: serde_json::Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.api::<Plan>().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Waits until a Plan is finished, and checks its phase.
    ///
    /// # Errors
    /// If it ends with another phase, or not in time.
    pub async fn finished(&self, name: &str, phase: Phase, patience: Duration) -> Result<Plan> {
        let over = |p: &Plan| {
            let phase = p.status.as_ref().map(|s| s.phase).unwrap_or_default();
            matches!(phase, Phase::Succeeded | Phase::Failed | Phase::Cancelled)
        };
        let plan = self.watch(&self.api::<Plan>(), name, "the end of the plan", patience, over).await?;
        let status = plan.status.clone().unwrap_or_default();
        if status.phase != phase {
            bail!("Plan {name} is {:?}, not {phase:?}: {}", status.phase, describe(&status.conditions));
        }
        Ok(plan)
    }

    /// Waits until a Plan's condition `Ready` has this reason.
    ///
    /// # Errors
    /// If it does not get the reason in time.
    pub async fn plan_reason(&self, name: &str, reason: &str) -> Result<Plan> {
        let has = |p: &Plan| {
            p.status.as_ref().is_some_and(|s| condition(&s.conditions, "Ready").is_some_and(|c| c.reason == reason))
        };
        self.watch(&self.api::<Plan>(), name, &format!("reason {reason}"), PATIENCE, has).await
    }

    /// Waits until a condition is True.
    ///
    /// # Errors
    /// If it is not True in time.
    pub async fn await_condition<K>(
        &self,
        api: Api<K>,
        name: &str,
        type_: &str,
        conditions: impl Fn(&K) -> Option<Vec<Condition>>,
    ) -> Result<K>
    where
        K: Resource + Clone + Debug + DeserializeOwned,
    {
        let holds =
            |object: &K| conditions(object).is_some_and(|c| condition(&c, type_).is_some_and(|c| c.status == "True"));
        self.watch(&api, name, &format!("condition {type_}"), PATIENCE, holds).await
    }

    /// Watches an object until `holds`.
    ///
    /// # Errors
    /// If it does not hold in time, with the last state of the object.
    pub async fn watch<K>(
        &self,
        api: &Api<K>,
        name: &str,
        what: &str,
        patience: Duration,
        holds: impl Fn(&K) -> bool,
    ) -> Result<K>
    where
        K: Resource + Clone + Debug + DeserializeOwned,
    {
        let mut last = None;
        let found = tokio::time::timeout(patience, async {
            loop {
                // The API server ends a watch from time to time.
                if let Some(object) = one_watch(api, name, &holds, &mut last).await? {
                    return Ok::<K, kube::Error>(object);
                }
            }
        });
        match found.await {
            Ok(object) => Ok(object?),
            Err(_) => Err(anyhow!("waited {} s for {what} of {name}; it is {last:#?}", patience.as_secs())),
        }
    }

    /// Returns the Task with this id of a plan.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn task(&self, plan: &str, id: &str) -> Result<Task> {
        let fields = ListParams::default().fields(&format!("spec.planRef.name={plan},spec.id={id}"));
        let found = self.api::<Task>().list(&fields).await?.items.pop();
        found.with_context(|| format!("Plan {plan} has no task {id}"))
    }

    /// Returns the pods of a plan's attempts.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn pods(&self, plan: &str) -> Result<Vec<Pod>> {
        let labels = ListParams::default().labels(&format!("{}={plan}", enact_domain::names::LABEL_PLAN));
        Ok(self.api::<Pod>().list(&labels).await?.items)
    }

    /// Queries the record as the tenant of this stage, and returns rows of values separated by `|`.
    ///
    /// # Errors
    /// If Postgres returns an error.
    pub fn record(&self, query: &str) -> Result<Vec<String>> {
        let reported = psql(&format!("set enact.tenant = '{}'; set role enact_app; {query}", self.name))?;
        Ok(reported.lines().map(str::to_owned).collect())
    }

    /// Changes the record of this stage as the owner of the schema, where the programs have no right to.
    ///
    /// # Errors
    /// If Postgres returns an error.
    pub fn change_record(&self, statement: &str) -> Result<()> {
        psql(&format!("set enact.tenant = '{0}'; {statement} where tenant_id = '{0}'", self.name)).map(drop)
    }

    /// Runs the command line tool in the stage's namespace.
    ///
    /// # Errors
    /// If it fails, with its standard error.
    pub fn enact(&self, args: &[&str]) -> Result<String> {
        run(program("enact")?.args(args).args(["--namespace", &self.name]))
    }
}

/// Runs SQL as the owner of the schema, and returns the output.
fn psql(sql: &str) -> Result<String> {
    let psql =
        "PGPASSWORD=$POSTGRES_PASSWORD exec psql -qAt --host=127.0.0.1 --username=enact --dbname=enact -c \"$0\"";
    let there = ["--namespace", "enact-system", "statefulset/enact-postgres", "--"];
    exec(&[&there[..], &["sh", "-c", psql, sql]].concat())
}

/// Parses the objects in a YAML text, without empty documents.
fn documents(yaml: &str) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(yaml) {
        let value = serde_json::Value::deserialize(document).context("the test's YAML is not YAML")?;
        if !value.is_null() {
            objects.push(serde_json::from_value(value)?);
        }
    }
    Ok(objects)
}

/// Watches an object once. Returns nothing if the watch ends before `holds`.
async fn one_watch<K>(
    api: &Api<K>,
    name: &str,
    holds: &impl Fn(&K) -> bool,
    last: &mut Option<K>,
) -> Result<Option<K>, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let fields = format!("metadata.name={name}");
    // The list comes first, because a watch from its version reports only later changes.
    let found = api.list(&ListParams::default().fields(&fields)).await?;
    let version = found.metadata.resource_version.clone().unwrap_or_default();
    if let Some(object) = found.items.into_iter().next() {
        if holds(&object) {
            return Ok(Some(object));
        }
        *last = Some(object);
    }
    let mut events = api.watch(&WatchParams::default().fields(&fields).timeout(60), &version).await?.boxed();
    while let Ok(Some(event)) = events.try_next().await {
        if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
            if holds(&object) {
                return Ok(Some(object));
            }
            *last = Some(object);
        }
    }
    Ok(None)
}

/// Finds the condition of a type.
pub fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// Formats conditions in one line.
pub fn describe(conditions: &[Condition]) -> String {
    let words = conditions.iter().map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message));
    words.collect::<Vec<_>>().join("; ")
}

/// Deletes an object and waits until it does not exist any more.
async fn gone<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(e)) if e.code == 404 => return Ok(()),
        // The tenant still has work, or the webhook is starting. The deletion is tried again below.
        Err(kube::Error::Api(e)) if matches!(e.code, 403 | 409 | 422 | 500..) => {}
        Err(e) => return Err(e.into()),
    }
    until("its end", PATIENCE, || async {
        match api.get_opt(name).await? {
            None => Ok(Answer::Yes(())),
            Some(object) => {
                let mut why = String::from("it is being deleted");
                if object.meta().deletion_timestamp.is_none()
                    && let Err(error) = api.delete(name, &DeleteParams::default()).await
                {
                    why = error.to_string();
                }
                Ok(Answer::NotYet(why))
            }
        }
    })
    .await
}
