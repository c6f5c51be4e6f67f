//! `cargo xtask sbom`: software bills of materials in the form of CycloneDX, of Enact's programs and of the coding agents from npm. They do not
//! list the Debian packages of an image.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cmd::{CommandExt, cmd};
use crate::{dirs, images, tools};

/// The platform of the images: some dependencies are for others only.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The end of the names of the files that cargo-cyclonedx writes.
const SUFFIX: &str = "_bin.cdx.json";

/// Writes the bill of each program and of each coding agent to `dist/sbom/`.
pub(crate) fn run() -> Result<()> {
    let folder = dirs::workspace().join("dist/sbom");
    fs::create_dir_all(&folder)?;
    of_programs(&folder)?;
    for image in images::agent_images() {
        of_agent(image, &folder).with_context(|| format!("cannot describe {image}"))?;
    }
    println!("{}", folder.display());
    Ok(())
}

fn of_programs(target: &Path) -> Result<()> {
    let tool = tools::cargo_program("cargo-cyclonedx", "0.5.9")?;
    let mut generate = cmd(tool, ["cyclonedx", "--describe", "binaries", "--format", "json", "--spec-version", "1.5"]);
    generate.args(["--all", "--quiet", "--target", TARGET]).current_dir(dirs::workspace()).read()?;
    let mut missing = images::programs();
    for path in files_in_packages()? {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(SUFFIX));
        let Some(name) = name else { continue };
        // The tool writes a file for each program of the workspace, beside the manifest.
        if missing.remove(name) {
            fs::copy(&path, target.join(format!("{name}.cdx.json")))?;
        }
        fs::remove_file(&path)?;
    }
    if !missing.is_empty() {
        bail!("cargo-cyclonedx has not described {missing:?}");
    }
    Ok(())
}

/// Returns the files in the folders of the workspace.
fn files_in_packages() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in fs::read_dir(dirs::workspace())? {
        let folder = folder?.path();
        if folder.is_dir() {
            for file in fs::read_dir(&folder)? {
                files.push(file?.path());
            }
        }
    }
    Ok(files)
}

fn of_agent(image: &str, target: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for path in images::npm_files(image).context("it has no lock file")? {
        let name = path.file_name().context("a file without a name")?;
        let manifest = versioned(serde_json::from_slice(&fs::read(&path)?)?);
        fs::write(folder.path().join(name), manifest.to_string())?;
    }
    let mut describe = cmd("npm", ["sbom", "--package-lock-only", "--omit=dev", "--sbom-format=cyclonedx"]);
    let bill = describe.current_dir(folder.path()).read().context("this needs npm 10 or later")?;
    fs::write(target.join(format!("{image}.cdx.json")), bill)?;
    Ok(())
}

/// Returns a manifest or a lock file with the version of the release: npm describes no package without a version.
fn versioned(mut manifest: Value) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    manifest["version"] = version.into();
    // In a lock file, the package itself has the empty path.
    if let Some(package) = manifest.pointer_mut("/packages/") {
        package["version"] = version.into();
    }
    manifest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn manifest_and_lock_file_get_a_version() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(versioned(json!({"name": "a"})), json!({"name": "a", "version": version}));
        let lock = versioned(json!({"packages": {"": {"name": "a"}, "node_modules/b": {"version": "1"}}}));
        assert_eq!(lock["packages"][""], json!({"name": "a", "version": version}));
        assert_eq!(lock["packages"]["node_modules/b"]["version"], "1");
    }
}
