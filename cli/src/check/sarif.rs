//! The findings as SARIF 2.1.0, which code scanning of GitHub and editors read.

use std::collections::BTreeMap;

use anyhow::Result;
use enact_domain::analysis::{FINDING_KINDS, Severity};
use serde_json::{Value, json};

use super::report::{CheckedDocument, Located, Report};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// Returns the report as SARIF.
pub fn render(report: &Report) -> Result<String> {
    let all = || report.documents.iter().flat_map(|d| d.findings.iter().chain(&d.accepted).map(move |f| (d, f)));
    let kinds: BTreeMap<&str, &Located> = all().map(|(_, finding)| (finding.code.as_str(), finding)).collect();
    let indices: BTreeMap<&str, usize> = kinds.keys().enumerate().map(|(index, code)| (*code, index)).collect();
    let results: Vec<Value> = all().map(|(document, finding)| result(document, finding, &indices)).collect();
    let sarif = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "enact",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": REPOSITORY,
                "rules": kinds.values().map(|finding| rule(finding)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&sarif)?))
}

/// Returns the description of a code.
fn rule(finding: &Located) -> Value {
    let words = words(&finding.code);
    // All other codes are the parser's.
    let is_of_analysis = FINDING_KINDS.iter().any(|kind| kind.code == finding.code);
    let page = if is_of_analysis { "analysis.md" } else { "spec-kit-documents.md" };
    let link = format!("{REPOSITORY}/blob/main/docs/reference/{page}");
    json!({
        "id": finding.code,
        "name": finding.code,
        "shortDescription": { "text": words },
        "fullDescription": { "text": format!("{words}: a finding of the category {}", finding.category) },
        "help": { "text": format!("{link} describes {} and its remedy.", finding.code) },
        "helpUri": link,
        "defaultConfiguration": { "level": level(finding.severity) },
        "properties": { "category": finding.category, "tags": [finding.category] },
    })
}

fn result(document: &CheckedDocument, finding: &Located, rules: &BTreeMap<&str, usize>) -> Value {
    let mut result = json!({
        "ruleId": finding.code,
        "ruleIndex": rules.get(finding.code.as_str()),
        "level": level(finding.severity),
        "message": { "text": finding.text() },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": document.uri },
                "region": {
                    "startLine": finding.line,
                    "startColumn": finding.column,
                    "endLine": finding.line,
                    "endColumn": finding.end_column,
                },
            },
            "logicalLocations": [{ "fullyQualifiedName": finding.location }],
        }],
        // The id does not depend on the line, so a finding that moves is not a new one.
        "partialFingerprints": { "enactFinding/v1": finding.id },
        "properties": { "severity": finding.severity.to_string() },
    });
    if let Some(reason) = &finding.reason {
        result["suppressions"] = json!([{ "kind": "inSource", "status": "accepted", "justification": reason }]);
    }
    result
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// Returns a code as words: `Vague time` for `VagueTime`.
fn words(code: &str) -> String {
    let mut words = String::new();
    for (index, c) in code.chars().enumerate() {
        if index > 0 && c.is_ascii_uppercase() {
            words.push(' ');
            words.push(c.to_ascii_lowercase());
        } else {
            words.push(c);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_words() {
        assert_eq!(words("RequirementWithoutTask"), "Requirement without task");
    }
}
