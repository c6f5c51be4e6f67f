//! Tests of the server over real connections.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod faults;
mod formats;
mod support;
