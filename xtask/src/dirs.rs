//! Directories: the checkout, the cache (may be deleted at any time) and the state (of running processes).

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Returns the root of the checkout that this binary was built from.
pub(crate) fn workspace() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir)
}

/// Returns `$XDG_CACHE_HOME/enact`, by default `~/.cache/enact`.
pub(crate) fn cache() -> Result<PathBuf> {
    xdg("XDG_CACHE_HOME", ".cache")
}

/// Returns `$XDG_STATE_HOME/enact`, by default `~/.local/state/enact`.
pub(crate) fn state() -> Result<PathBuf> {
    xdg("XDG_STATE_HOME", ".local/state")
}

fn xdg(variable: &str, below_home: &str) -> Result<PathBuf> {
    let base = match env::var_os(variable).filter(|value| Path::new(value).is_absolute()) {
        Some(value) => PathBuf::from(value),
        None => env::home_dir().with_context(|| format!("neither {variable} nor HOME is set"))?.join(below_home),
    };
    Ok(base.join("enact"))
}
