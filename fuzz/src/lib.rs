//! What the fuzz targets check, which the tests of `domain` check as well.

#[path = "../../domain/tests/speckit_checks/mod.rs"]
pub mod checks;
