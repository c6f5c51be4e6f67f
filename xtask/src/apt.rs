//! Debian packages that the commands need.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::cmd::{CommandExt, cmd};

/// Installs the missing packages of `packages`. Contacts no mirror if all are installed.
pub(crate) fn ensure(packages: &[&str]) -> Result<()> {
    // apt-get fails while another apt-get runs, and parallel steps of a command may both need packages.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() {
        bail!("Debian packages are missing: run `apt-get install {list}` as root");
    }
    eprintln!("installing Debian packages: {list}");
    let apt = |args: &[&str]| cmd("apt-get", args).env("DEBIAN_FRONTEND", "noninteractive").read();
    apt(&["update", "-q"])?;
    let install = [["install", "-q", "-y", "--no-install-recommends"].as_slice(), &missing].concat();
    apt(&install).with_context(|| format!("cannot install {list}"))?;
    Ok(())
}

fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let installed = |package: &str| {
        cmd("dpkg-query", ["-W", "-f", "${db:Status-Status}", package]).read().is_ok_and(|status| status == "installed")
    };
    packages.iter().copied().filter(|package| !installed(package)).collect()
}

/// Returns whether this process runs as root.
pub(crate) fn is_root() -> bool {
    cmd("id", ["-u"]).read().is_ok_and(|uid| uid == "0")
}
