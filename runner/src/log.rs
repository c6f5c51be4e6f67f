//! The pod's log.

/// Writes one line to the pod's log.
pub(crate) fn log(line: &str) {
    println!("enact-runner: {line}");
}
