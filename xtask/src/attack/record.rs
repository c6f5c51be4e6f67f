//! Attacks on the record with the rights of server and gateway, in the Postgres of the chart.

use std::process::Output;

use anyhow::Result;

use super::case::{Case, Verdict, code, short};
use super::site::Site;
use crate::cmd::CommandExt;

/// Runs SQL as the owner of the schema; the statements begin with a change to the role of server and gateway.
const PSQL: &str = "PGPASSWORD=$POSTGRES_PASSWORD exec psql -qAt -v ON_ERROR_STOP=1 --host=127.0.0.1 --username=enact --dbname=enact -c \"$0\"";

/// The attacks.
pub(super) const CASES: &[Case] = &[
    code("SQL-I1", "read-rows-of-another-tenant", "read rows of another tenant as the application", rows_of_others),
    code("SQL-I1", "read-rows-without-a-tenant", "read rows without a tenant", rows_of_nobody),
    code("SQL-T1", "write-rows-of-another-tenant", "write rows of another tenant as the application", strange_rows),
    code("SQL-T2", "delete-the-audit-log", "delete entries of the audit log as the application", deleted_audit),
    code("SQL-T2", "change-the-audit-log", "change entries of the audit log as the application", changed_audit),
    code("SQL-T2", "forge-an-audit-entry", "add an approval to the audit log as the application", forged_audit),
    code("SQL-T3", "exchange-the-owner-of-a-record", "change the owner of a record as the application", changed_owner),
    code("SQL-T3", "claim-a-record", "claim a record as the application", claimed),
    code("SQL-T3", "erase-a-record", "erase a record as the application", erased),
    code("SQL-T4", "record-a-decision", "record an approval as the application", decided),
    code("SQL-E1", "turn-off-row-level-security", "turn off row-level security as the application", unsecured),
    code("SQL-E1", "drop-a-table", "drop a table as the application", dropped),
];

/// Runs SQL as server and gateway for the tenant `%own`; none if the chart has not installed Postgres.
fn sql(site: &Site, statements: &str) -> Result<Option<Output>> {
    let selector = "--selector=app.kubernetes.io/part-of=enact,app.kubernetes.io/component=postgres";
    let found = site.read(&["get", "pods", "--namespace=%system", selector, "--output=name"])?;
    let Some(pod) = found.lines().next() else { return Ok(None) };
    let statements = site.fill(&format!("set enact.tenant = '%own'; set role enact_app; {statements}"));
    let system = site.fill("%system");
    let exec = ["exec", "--namespace", &system, pod, "--", "sh", "-c", PSQL, &statements];
    site.kube.kubectl(exec).answer("").map(Some)
}

/// Runs SQL that must fail with a word.
fn denied(site: &Site, statements: &str, word: &str) -> Result<Verdict> {
    let Some(output) = sql(site, statements)? else { return Ok(elsewhere()) };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said.lines().find(|line| line.contains(word));
    Ok(match line {
        Some(line) if !output.status.success() => Verdict::Stopped(short(line)),
        _ => Verdict::NotStopped(short(&format!("{} {said}", String::from_utf8_lossy(&output.stdout)))),
    })
}

/// Runs a query that must count no rows.
fn counts_nothing(site: &Site, statements: &str) -> Result<Verdict> {
    let Some(output) = sql(site, statements)? else { return Ok(elsewhere()) };
    let (seen, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok(if output.status.success() && seen.trim() == "0" {
        Verdict::Stopped("row-level security shows 0 rows".to_owned())
    } else {
        Verdict::NotStopped(short(&format!("{} {}", seen.trim(), said.trim())))
    })
}

fn elsewhere() -> Verdict {
    Verdict::Skipped("Postgres is not the chart's, so the suite has no login".to_owned())
}

fn rows_of_others(site: &Site) -> Result<Verdict> {
    counts_nothing(site, "select count(*) from enact.audit where tenant_id <> current_setting('enact.tenant')")
}

fn rows_of_nobody(site: &Site) -> Result<Verdict> {
    counts_nothing(site, "reset enact.tenant; select count(*) from enact.audit")
}

fn strange_rows(site: &Site) -> Result<Verdict> {
    // The policy is checked before the other constraints of the table.
    denied(site, "insert into enact.audit (tenant_id) values ('%other')", "row-level security policy")
}

fn deleted_audit(site: &Site) -> Result<Verdict> {
    denied(site, "delete from enact.audit", "permission denied")
}

fn changed_audit(site: &Site) -> Result<Verdict> {
    denied(site, "update enact.audit set tenant_id = tenant_id", "permission denied")
}

fn forged_audit(site: &Site) -> Result<Verdict> {
    let entry = "insert into enact.audit (tenant_id, at, actor, event, key, kind, namespace, name, subject_uid, details) \
                 values ('%own', now(), 'ann', 'Approval', '', 'Approval', '%own', 'forged', 'attack', '{}')";
    denied(site, entry, "row-level security policy")
}

fn changed_owner(site: &Site) -> Result<Verdict> {
    denied(site, "update enact.tenants set tenant_id = tenant_id", "permission denied")
}

fn claimed(site: &Site) -> Result<Verdict> {
    // Without a UID, nothing is claimed even by those who may.
    denied(site, "select enact.claim_record(null, true, now())", "permission denied for function")
}

fn erased(site: &Site) -> Result<Verdict> {
    denied(site, "select enact.erase_former('successor', 0)", "permission denied for function")
}

fn decided(site: &Site) -> Result<Verdict> {
    denied(site, "insert into enact.approvals (tenant_id) values ('%own')", "permission denied")
}

fn unsecured(site: &Site) -> Result<Verdict> {
    denied(site, "alter table enact.audit disable row level security", "must be owner")
}

fn dropped(site: &Site) -> Result<Verdict> {
    denied(site, "drop table enact.audit", "must be owner")
}
