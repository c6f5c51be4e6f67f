//! Random text for passwords.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};

/// Returns 128 random bits in hexadecimal.
pub(crate) fn hex() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read random numbers")?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
