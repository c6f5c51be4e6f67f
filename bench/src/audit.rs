//! Writes of a user in the API server's audit log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A position in the log.
pub struct Mark(u64);

/// Writes, by verb and resource.
#[derive(Debug, Default)]
pub struct Writes {
    pub all: u32,
    /// The number of writes by verb and resource, such as `patch tasks/status`.
    pub by_kind: BTreeMap<String, u32>,
}

impl Mark {
    /// Returns the current end of the log.
    ///
    /// # Errors
    /// If there is no log, because the cluster was started without `--audit`.
    pub fn now(log: &Path) -> Result<Self> {
        Ok(Self(open(log)?.metadata()?.len()))
    }

    /// Counts the writes of `user` since then, without renewals of its leader lease.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn writes(&self, log: &Path, user: &str) -> Result<Writes> {
        let mut file = open(log)?;
        file.seek(SeekFrom::Start(self.0))?;
        let mut writes = Writes::default();
        for line in BufReader::new(file).lines() {
            // The last line may be incomplete.
            let Ok(event) = serde_json::from_str::<Value>(&line?) else { continue };
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (verb, mut what) = (text("/verb"), text("/objectRef/resource"));
            let writing = ["create", "update", "patch", "delete", "deletecollection"].contains(&verb.as_str());
            if !writing || text("/user/username") != user || what == "leases" || text("/stage") != "ResponseComplete" {
                continue;
            }
            let part = text("/objectRef/subresource");
            if !part.is_empty() {
                what = format!("{what}/{part}");
            }
            writes.all += 1;
            *writes.by_kind.entry(format!("{verb} {what}")).or_default() += 1;
        }
        Ok(writes)
    }
}

fn open(log: &Path) -> Result<File> {
    File::open(log)
        .with_context(|| format!("no audit log at {}: `cargo xtask cluster up --audit` makes one", log.display()))
}
