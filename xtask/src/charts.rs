//! The checks of the Helm charts that need no cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cmd::{CommandExt, cmd};
use crate::schemas::Schemas;
use crate::{apt, dirs, tools};

/// Values for which the chart must render: those of production, and everything enabled.
const VARIANTS: [(&str, &[&str]); 2] = [
    ("the defaults", &["postgres.existingSecret=enact-postgres"]),
    (
        "everything",
        &[
            "postgres.bundled.enabled=true",
            "postgres.existingSecret=enact-postgres",
            "webhook.certManager.enabled=true",
            "metrics.serviceMonitor.enabled=true",
            "metrics.prometheusRule.enabled=true",
            "metrics.dashboard.enabled=true",
            "operator.replicas=2",
            "server.pushes.enabled=true",
            "cache.enabled=true",
            "cache.replicas=2",
        ],
    ),
];

/// Lints and renders the charts, validates the result and the example's manifests against schemas, and runs the unit tests of charts, alerts
/// and the health check for Argo CD.
pub(crate) fn check() -> Result<()> {
    let chart = dirs::workspace().join("charts/enact");
    let subchart = chart.join("charts/enact-crds");
    let helm = tools::cluster()?.join("helm");
    let schemas = Schemas::new()?;
    cmd(&helm, ["lint", "--strict"]).arg(&subchart).show()?;
    for (name, values) in VARIANTS {
        println!("--- {name}");
        let set = || values.iter().flat_map(|value| ["--set", value]);
        cmd(&helm, ["lint", "--strict"]).arg(&chart).args(set()).show()?;
        let render = || cmd(&helm, ["template", "enact"]).arg(&chart).args(set()).read();
        let rendered = render()?;
        if rendered != render()? {
            bail!("{name}: two renderings of the chart differ, so every upgrade would change something");
        }
        schemas
            .check(&rendered)
            .with_context(|| format!("{name}: the chart renders manifests that Kubernetes rejects"))?;
    }
    let example = dirs::workspace().join("examples/git-server/git-server.yaml");
    schemas.check(&fs::read_to_string(&example)?).with_context(|| format!("{} is invalid", example.display()))?;
    cmd(tools::charts()?.join("helm-unittest"), ["--strict"]).arg(&chart).show()?;
    argo_cd_health()?;
    alerts(&chart)
}

/// Runs the tests of the health check for Argo CD.
fn argo_cd_health() -> Result<()> {
    apt::ensure(&["lua5.4"])?;
    cmd("lua5.4", ["health_test.lua"]).current_dir(dirs::workspace().join("docs/gitops")).show()
}

fn alerts(chart: &Path) -> Result<()> {
    apt::ensure(&["prometheus"])?;
    cmd("promtool", ["check", "rules"]).arg(chart.join("files/alerts.yaml")).show()?;
    let tests: PathBuf = chart.join("tests/prometheus/alerts.yaml");
    cmd("promtool", ["test", "rules"]).arg(tests).show()
}
