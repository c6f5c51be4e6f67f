//! The record: tenants do not read each other's, nor that of a former tenant with their name.

use std::fmt::Debug;

use anyhow::{Context as _, Result, bail, ensure};
use enact_crds::Tenant;
use enact_crds::plan::Phase;
use enact_e2e::documents::inline;
use enact_e2e::work::scripted_plan;
use enact_e2e::{Answer, PATIENCE, Stage, condition, describe, on_stage, on_stages, until};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::DeleteParams;
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

#[test]
fn tenants_do_not_see_each_others_record() {
    on_stages([("record-a", ""), ("record-b", "")], |[a, b]| async move {
        let work = scripted_plan("secret", "  tasks: [{id: T001, title: one, script: 'echo done'}]\n");
        a.apply(&work).await?;
        a.finished("secret", Phase::Succeeded, PATIENCE).await?;
        let tables = a.record(
            "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' \
             where c.relnamespace = 'enact'::regnamespace and c.relkind = 'r' and has_table_privilege(c.oid, 'select') order by 1",
        )?;
        for table in ["attempts", "audit", "contents", "plans", "results", "tasks", "tenants"] {
            ensure!(tables.iter().any(|t| t == table), "no table {table} among {tables:?}");
            let own = a.record(&format!("select count(*) > 0 from enact.{table}"))?;
            ensure!(own == ["t"], "the tenant does not see its own rows of {table}");
        }
        for table in &tables {
            let strange = b.record(&format!("select count(*) from enact.{table} where tenant_id <> 'e2e-record-b'"))?;
            ensure!(strange == ["0"], "{strange:?} rows of others in {table}");
            // A query without a tenant sees no rows.
            let nobody = b.record(&format!("reset enact.tenant; select count(*) from enact.{table}"))?;
            ensure!(nobody == ["0"], "{nobody:?} rows for nobody in {table}");
        }
        for (stage, write) in [
            (
                &b,
                "insert into enact.plans values ('e2e-record-a', 'forged', 'e2e-record-a', 'forged', 'Running', '', '', now())",
            ),
            (&a, "update enact.plans set tenant_id = 'e2e-record-b'"),
        ] {
            // Only the operator may write them at all.
            let Err(error) = stage.record(&format!("set role enact_operator; {write}")) else {
                bail!("taken: {write}")
            };
            let why = error.to_string();
            ensure!(why.contains("violates row-level security policy"), "{why}");
        }
        let deleted =
            a.record("delete from enact.audit").expect_err("the application deletes what happened").to_string();
        ensure!(deleted.contains("permission denied"), "{deleted}");
        Ok(())
    });
}

/// Creates a Specification and a Plan with these words, and waits until the record has all of it.
async fn words_in_the_record(stage: &Stage, words: &str) -> Result<()> {
    let text = format!("# Feature Specification: Shop\n\n## Requirements\n\n- **FR-001**: Crates MUST hold {words}.\n");
    stage.apply(&inline("Specification", "shop", &text, &json!({}))).await?;
    stage
        .apply(&scripted_plan("first", &format!("  tasks: [{{id: T001, title: one, script: 'echo {words}'}}]\n")))
        .await?;
    stage.finished("first", Phase::Succeeded, PATIENCE).await?;
    let found = || async {
        let found = stage.enact(&["search", "crates"])?;
        Ok(if found.contains(words) { Answer::Yes(()) } else { Answer::NotYet(found) })
    };
    until("a hit of the search", PATIENCE, found).await
}

/// Returns what people can read in the record about these objects.
fn readable(stage: &Stage) -> String {
    let mut read = String::new();
    for args in [
        &["history", "specification/shop"][..],
        &["show", "specification/shop@1"],
        &["search", "crates"],
        &["logs", "first/T001"],
        &["usage", "--by", "model"],
    ] {
        // Without the object, some of them fail.
        read += &stage.enact(args).unwrap_or_default();
    }
    read
}

/// Deletes an object, and waits until it does not exist any more.
async fn ended<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    api.delete(name, &DeleteParams::default()).await?;
    let gone = || async {
        Ok(if api.get_opt(name).await?.is_none() { Answer::Yes(()) } else { Answer::NotYet("it exists".into()) })
    };
    until(&format!("the end of {name}"), PATIENCE, gone).await
}

#[test]
fn a_tenant_gets_nothing_of_a_former_one() {
    on_stage("reused", |stage| async move {
        let tenants: Api<Tenant> = Api::all(stage.client.clone());
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        words_in_the_record(&stage, "pomegranates").await?;
        stage.record(&format!(
            "insert into enact.model_requests (tenant_id, request_id, requested_at, namespace, plan, plan_uid, task, task_uid, attempt, \
             agent, provider, model, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, \
             outcome, self_reported) select '{0}', gen_random_uuid(), now(), '{0}', 'first', '', '', '', 1, 'a', 'p', \
             'pomegranate-1', 7, 0, 0, 0, 0, 'Completed', true",
            stage.name
        ))?;
        let read = readable(&stage);
        // In the document, the hit, the log and the usage.
        ensure!(read.matches("pomegranate").count() >= 4, "{read}");
        let former = tenants.get(&stage.name).await?.uid().context("a Tenant without UID")?;
        ended(&tenants, &stage.name).await?;
        ended(&namespaces, &stage.name).await?;

        stage.apply(&stage.tenant("")).await?;
        let reason = |t: &Tenant, reason: &str| {
            let conditions = t.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
            condition(conditions, "Ready").is_some_and(|c| c.reason == reason)
        };
        let erasing = |t: &Tenant| reason(t, "ErasingRecord");
        let tenant = stage.watch(&tenants, &stage.name, "ErasingRecord", PATIENCE, erasing).await?;
        let said = describe(&tenant.status.unwrap_or_default().conditions);
        ensure!(said.contains(&format!("enact.dev/keep-record-of={former}")), "{said}");
        let namespace = namespaces.get_opt(&stage.name).await?;
        ensure!(namespace.is_none(), "the Tenant has its namespace before the erasure: {namespace:?}");
        // Three minutes pass.
        let left = stage.record("select count(*) > 0 from enact.contents")?;
        ensure!(left == ["t"], "it is erased at once");
        stage.change_record("update enact.tenants set successor_at = successor_at - interval '3 minutes'")?;
        stage.watch(&tenants, &stage.name, "SetUp", PATIENCE, |t: &Tenant| reason(t, "SetUp")).await?;

        for table in ["contents", "revisions", "search_items", "plans", "attempts", "results", "model_requests"] {
            let left = stage.record(&format!("select count(*) from enact.{table}"))?;
            ensure!(left == ["0"], "{left:?} rows of the former tenant in {table}");
        }
        // Also under the names of its objects.
        words_in_the_record(&stage, "apples").await?;
        let read = readable(&stage);
        ensure!(read.contains("apples") && !read.contains("pomegranate"), "{read}");
        ensure!(!read.contains("an earlier object with this name"), "{read}");
        let kept = format!(
            "set enact.tenant = '{}.{former}'; select count(*) from enact.audit where event in ('Revision', 'RecordErased')",
            stage.name
        );
        let entries = stage.record(&kept)?;
        ensure!(entries.iter().all(|n| n.parse::<u32>().is_ok_and(|n| n >= 2)), "the former audit log has {entries:?}");
        Ok(())
    });
}
