//! Inheritance: a tenant can make the platform's rules stricter, but never looser.

use anyhow::ensure;
use enact_crds::{Constitution, Specification};
use enact_e2e::documents::{holds, inline, map, mapped};
use enact_e2e::on_stages;
use enact_e2e::people::Person;
use serde_json::{Value, json};

use super::texts::{KEYS, house, rule};

/// Returns a rule with another value in a field.
fn with(mut rule: Value, field: &str, value: &str) -> Value {
    rule[field] = json!(value);
    rule
}

const ROOT: &str = "  constitutionRef: {namespace: e2e-platform, name: base}\n";
const STRICTER: &str = "  constitutionRef: {namespace: e2e-stricter, name: base}\n";

#[test]
fn platform_rules_apply_to_tenants_that_refer_to_them() {
    on_stages([("platform", ""), ("below", ROOT), ("beside", "")], |[platform, below, beside]| async move {
        let pat = Person::of(&platform, "pat", "platform").await?;
        let dana = Person::of(&below, "dana", "developers").await?;
        let eve = Person::of(&beside, "eve", "developers").await?;
        let (binds, measured) = (rule("requirements-bind")?, rule("criteria-are-measured")?);
        let loose = KEYS.replace("A lent key MUST be overdue", "A lent key is overdue");

        // Without the platform's constitution, the tenant's specifications wait.
        dana.applies(&mapped("Specification", "keys", &loose, &json!({}))).await?;
        let waits = ["the Tenant's spec.constitutionRef", "there is no Constitution e2e-platform/base", "create it"];
        below.await_message::<Specification>("keys", "WaitingForConstitution", &waits).await?;
        let rules = json!({"rules": [binds, measured]});
        pat.applies(&inline("Constitution", "base", &house("1.0.0"), &rules)).await?;
        platform.await_reason::<Constitution>("base", "Approved").await?;

        // The constitution applies to the tenant's Specifications, which do not refer to it.
        below
            .await_message::<Specification>("keys", "ConstitutionViolated", &["rule requirements-bind", "FR-002"])
            .await?;
        let refused = dana.refusal(&inline("Specification", "doors", &loose, &json!({}))).await?;
        holds(&refused, &["spec.source", "rule requirements-bind", "FR-002"])?;
        dana.applies(&map("keys", KEYS)).await?;
        below.await_reason::<Specification>("keys", "Approved").await?;
        // It does not apply to those of other tenants.
        eve.applies(&inline("Specification", "keys", &loose, &json!({}))).await?;
        beside.await_reason::<Specification>("keys", "Approved").await?;

        // The tenant's own constitution cannot make a rule looser.
        let own = |rules: Value| inline("Constitution", "own", &house("1.0.0"), &json!({ "rules": rules }));
        for (looser, words) in [
            (
                with(binds.clone(), "severity", "SHOULD"),
                &["the parent's severity is MUST, and this rule's is SHOULD", "use MUST"][..],
            ),
            (with(binds.clone(), "expression", "true"), &["its expression differs from the parent's", "another name"]),
            (with(binds.clone(), "message", "never mind"), &["its message differs from the parent's"]),
        ] {
            let refused = dana.refusal(&own(json!([looser]))).await?;
            holds(&refused, &["spec.rules[0].expression", "requirements-bind"])?;
            holds(&refused, words)?;
        }
        // It can make a rule stricter, and add rules.
        let stricter = with(measured, "severity", "MUST");
        let short = json!({
            "name": "short", "appliesTo": "Specification", "message": "write at most two requirements",
            "expression": "specification.requirements.size() <= 2",
        });
        dana.applies(&own(json!([stricter, short]))).await?;
        let status = below.await_reason::<Constitution>("own", "Approved").await?.status.unwrap_or_default();
        ensure!(status.rules == 3, "{status:#?}");
        let from: Vec<String> = status.inherits.iter().map(|r| format!("{}/{}", r.namespace, r.name)).collect();
        ensure!(from == ["e2e-platform/base"], "{from:?}");
        let unmeasured = KEYS.replace("Lending a key takes less than 20 seconds.", "Caretakers praise the list.");
        let bound = json!({"constitutionRef": {"name": "own"}});
        let refused = dana.refusal(&inline("Specification", "praise", &unmeasured, &bound)).await?;
        holds(&refused, &["rule criteria-are-measured", "SC-001"])?;
        // The platform's rules alone apply to a specification that does not refer to the tenant's constitution. Here, one of them warns.
        dana.applies(&inline("Specification", "praise", &unmeasured, &json!({}))).await?;
        below.await_reason::<Specification>("praise", "Approved").await?;

        // A tenant's user cannot change the platform's constitution.
        let theirs = inline("Constitution", "base", &house("1.0.0"), &json!({}))
            .replace("\"name\":\"base\"", "\"name\":\"base\",\"namespace\":\"e2e-platform\"");
        holds(&dana.refusal(&theirs).await?, &["forbidden"])?;
        Ok(())
    });
}

#[test]
fn a_stricter_platform_reports_its_effects() {
    on_stages([("stricter", ""), ("stricter-below", STRICTER)], |[platform, below]| async move {
        let pat = Person::of(&platform, "pat", "platform").await?;
        let dana = Person::of(&below, "dana", "developers").await?;
        pat.applies(&inline("Constitution", "base", &house("1.0.0"), &json!({}))).await?;
        platform.await_reason::<Constitution>("base", "Approved").await?;
        let loose = KEYS.replace("A lent key MUST be overdue", "A lent key is overdue");
        dana.applies(&inline("Specification", "keys", &loose, &json!({}))).await?;
        below.await_reason::<Specification>("keys", "Approved").await?;
        // An additional rule is a MINOR amendment. Existing objects are evaluated against it.
        let rules = json!({"rules": [rule("requirements-bind")?]});
        pat.applies(&inline("Constitution", "base", &house("1.1.0"), &rules)).await?;
        platform.await_reason::<Constitution>("base", "Approved").await?;
        below
            .await_message::<Specification>("keys", "ConstitutionViolated", &["rule requirements-bind", "FR-002"])
            .await?;
        dana.applies(&inline("Specification", "keys", KEYS, &json!({}))).await?;
        below.await_reason::<Specification>("keys", "Approved").await?;
        Ok(())
    });
}
