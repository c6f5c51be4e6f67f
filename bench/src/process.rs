//! Memory of programs of the installation, whose pods run on this machine.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// A running process.
#[derive(Debug, PartialEq, Eq)]
pub struct Process(PathBuf);

impl Process {
    /// Finds the process whose arguments begin with these.
    ///
    /// # Errors
    /// If there is not exactly one such process.
    pub fn find(arguments: &[&str]) -> Result<Self> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            // `/proc/self` is a process that has an entry of its own too.
            if entry.file_name().to_string_lossy().parse::<u32>().is_err() {
                continue;
            }
            let folder = entry.path();
            // A process may end at any time.
            let Ok(line) = fs::read(folder.join("cmdline")) else { continue };
            let mut given = line.split(|&byte| byte == 0);
            if arguments.iter().all(|argument| given.next() == Some(argument.as_bytes())) {
                found.push(Self(folder));
            }
        }
        match found.pop() {
            Some(process) if found.is_empty() => Ok(process),
            one => {
                let count = found.len() + usize::from(one.is_some());
                bail!("{count} processes are called `{}`; one was expected", arguments.join(" "))
            }
        }
    }

    /// Returns the most memory that was resident so far, in MiB.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn peak_mebibytes(&self) -> Result<f64> {
        self.mebibytes("VmHWM:")
    }

    /// Returns the resident memory in MiB.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn resident_mebibytes(&self) -> Result<f64> {
        self.mebibytes("VmRSS:")
    }

    /// Sets the peak to the present memory.
    ///
    /// # Errors
    /// If the process has ended, or this program may not do that.
    pub fn forget_peak(&self) -> Result<()> {
        fs::write(self.0.join("clear_refs"), "5").context("cannot reset the peak of a process's memory")
    }

    fn mebibytes(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(self.0.join("status")).context("a measured process has ended")?;
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes: f64 = value.and_then(|v| v.split_whitespace().next()).context("no memory")?.parse()?;
        Ok(kibibytes / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_this_process_is_found() {
        let arguments: Vec<String> = std::env::args().collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process = Process::find(&arguments).unwrap();
        assert!(process.resident_mebibytes().unwrap() > 0.0);
        assert!(process.peak_mebibytes().unwrap() >= process.resident_mebibytes().unwrap());
        assert!(Process::find(&["no program has this name"]).is_err());
    }
}
