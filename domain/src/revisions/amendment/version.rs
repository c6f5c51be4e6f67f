//! Versions of constitutions and the steps between them.

use std::fmt;

use semver::Version;
use serde::Serialize;

use super::model::{Amendment, Change, Level};

/// A version that fits an amendment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Accepted {
    /// Neither the version nor anything relevant has changed.
    Unchanged,
    /// The version is the next one for the amendment.
    AsNeeded,
    /// The version is higher than necessary, which is allowed.
    Higher {
        /// The lowest version that is accepted.
        enough: String,
    },
    /// There is no earlier version to compare with.
    First,
}

/// A version that does not fit an amendment, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum VersionMismatch {
    /// The new version is not of the form MAJOR.MINOR.PATCH.
    #[error("version {given:?} is not of the form MAJOR.MINOR.PATCH; write `**Version**: {}`", needed.as_deref().unwrap_or("1.0.0"))]
    Unreadable {
        given: String,
        /// The version to write, when the old one can be read.
        needed: Option<String>,
    },
    /// The new version is lower than the old one.
    #[error("version {given} is lower than {old}, and a version must not decrease; write `**Version**: {needed}`")]
    Lower { old: String, given: String, needed: String },
    /// The step is too small for what changed.
    #[error(
        "{cause}, a {level} amendment: version {old} must become {needed}, not {given}; write `**Version**: {needed}`"
    )]
    TooLow {
        old: String,
        given: String,
        needed: String,
        /// The required step.
        level: Level,
        /// The change that requires it.
        cause: Box<Cause>,
    },
}

/// The first of the changes that determine the level of an amendment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    pub change: Change,
    /// Number of other changes of the same level.
    pub others: usize,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.change.explanation)?;
        match self.others {
            0 => Ok(()),
            1 => f.write_str(" (and one more change)"),
            others => write!(f, " (and {others} more changes)"),
        }
    }
}

/// Checks that the version took the step that the amendment requires.
///
/// The next version is that of semantic versioning: `1.2.3` becomes `1.2.4`, `1.3.0` or `2.0.0`; `0.2.1` becomes `1.0.0` for MAJOR. A
/// higher version is accepted as [`Accepted::Higher`]; a lower one, or the same one for a changed document, is rejected. A leading `v` is
/// ignored.
/// If the old version cannot be read (a first revision, a template), every readable version is accepted.
///
/// # Errors
/// [`VersionMismatch`], which names the change and the version to write.
pub fn check_version(old: &str, new: &str, amendment: &Amendment) -> Result<Accepted, VersionMismatch> {
    let level = amendment.level();
    let (before, after) = (read(old), read(new));
    let needed = before.as_ref().map(|version| next(version, level));
    let Some(after) = after else {
        let needed = needed.map(|version| version.to_string());
        return Err(VersionMismatch::Unreadable { given: new.to_owned(), needed });
    };
    let (Some(before), Some(needed)) = (before, needed) else { return Ok(Accepted::First) };
    let (old, given, enough) = (before.to_string(), after.to_string(), needed.to_string());
    if after < before {
        return Err(VersionMismatch::Lower { old, given, needed: enough });
    }
    let mut causes = amendment.changes.iter().filter(|change| change.level == level);
    match causes.next() {
        Some(first) if after < needed => {
            let cause = Box::new(Cause { change: first.clone(), others: causes.count() });
            Err(VersionMismatch::TooLow { old, given, needed: enough, level, cause })
        }
        _ if after > needed => Ok(Accepted::Higher { enough }),
        Some(_) => Ok(Accepted::AsNeeded),
        None => Ok(Accepted::Unchanged),
    }
}

fn read(text: &str) -> Option<Version> {
    Version::parse(text.trim().trim_start_matches(['v', 'V'])).ok()
}

fn next(version: &Version, level: Level) -> Version {
    let Version { major, minor, patch, .. } = *version;
    match level {
        Level::None => version.clone(),
        Level::Patch => Version::new(major, minor, patch.saturating_add(1)),
        Level::Minor => Version::new(major, minor.saturating_add(1), 0),
        Level::Major => Version::new(major.saturating_add(1), 0, 0),
    }
}
