//! The built-in adapters. A new one is a file below `adapters/` and a line in [`SOURCES`].

use std::sync::LazyLock;

use super::definition::AdapterDefinition;

/// The files, in the order of the documentation.
const SOURCES: [&str; 8] = [
    include_str!("adapters/claude-code.yaml"),
    include_str!("adapters/codex.yaml"),
    include_str!("adapters/gemini-cli.yaml"),
    include_str!("adapters/qwen-code.yaml"),
    include_str!("adapters/opencode.yaml"),
    include_str!("adapters/copilot.yaml"),
    include_str!("adapters/cursor.yaml"),
    include_str!("adapters/devin.yaml"),
];

static ADAPTERS: LazyLock<Vec<AdapterDefinition>> =
    // A file that cannot be read is missing here, and a test fails.
    LazyLock::new(|| SOURCES.iter().filter_map(|text| parse(text).ok()).collect());

/// Parses a definition in YAML.
///
/// # Errors
/// If it is not a valid definition.
pub fn parse(text: &str) -> Result<AdapterDefinition, String> {
    let definition: AdapterDefinition = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    definition.check()?;
    Ok(definition)
}

/// Returns all built-in adapters.
pub fn all() -> &'static [AdapterDefinition] {
    &ADAPTERS
}

/// Returns the built-in adapter with this name.
pub fn find(name: &str) -> Option<&'static AdapterDefinition> {
    all().iter().find(|adapter| adapter.name == name)
}
