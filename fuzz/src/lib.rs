//! The checks of the fuzz targets, which the tests of `domain` share.

#[path = "../../domain/tests/speckit_checks/mod.rs"]
pub mod checks;
