//! The outputs of a task: small values for the tasks that depend on it, one file each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use enact_domain::assignment::{MAX_OUTPUT_BYTES, Reason};

use crate::failure::Failure;
use crate::settings::is_file_name;

/// Reads the outputs. An agent wrote the files, so the function only reads regular files and never more than the size limit.
pub(crate) fn read(directory: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let refuse = |problem: String| Failure::new(Reason::OutputTooLarge, problem);
    let unreadable = |error: io::Error| refuse(format!("outputs cannot be read: {error}"));
    let mut outputs = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_file_name(name)) else {
            return Err(refuse(format!(
                "output name `{}` must be 1 to 63 letters, digits, `.`, `-` or `_`",
                name.to_string_lossy().escape_debug()
            )));
        };
        // `file_type` does not follow links: a link could lead to a device or to a mounted credential.
        if !entry.file_type().map_err(unreadable)?.is_file() {
            return Err(refuse(format!("output `{name}` is not a plain file; write the value to a file of that name")));
        }
        let mut bytes = Vec::new();
        let limit = MAX_OUTPUT_BYTES as u64 + 1;
        File::open(entry.path()).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(unreadable)?;
        let Ok(value) = String::from_utf8(bytes) else {
            return Err(refuse(format!(
                "output `{name}` is not UTF-8 text of at most {MAX_OUTPUT_BYTES} bytes; commit large results as files"
            )));
        };
        if value.contains('\0') {
            return Err(refuse(format!("output `{name}` contains a NUL character; an output must be text")));
        }
        // `echo value > file` adds a line end that is not part of the value.
        let value = value.strip_suffix('\n').map_or(value.as_str(), |line| line);
        outputs.insert(name.to_owned(), value.to_owned());
        // The limit applies to the JSON encoding, so that the outputs always fit into the report.
        let size = serde_json::to_string(&outputs).map_or(usize::MAX, |json| json.len());
        if size > MAX_OUTPUT_BYTES {
            return Err(refuse(format!(
                "the outputs up to `{name}` have {size} bytes as JSON; the limit for all outputs is {MAX_OUTPUT_BYTES}: commit large results as files"
            )));
        }
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(name: &str, value: &[u8]) -> Result<BTreeMap<String, String>, Failure> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(name), value).unwrap();
        read(directory.path())
    }

    #[test]
    fn strips_one_line_end() {
        assert_eq!(read_one("version", b"1.2.3\n").unwrap()["version"], "1.2.3");
        assert_eq!(read_one("text", b"a\n\n").unwrap()["text"], "a\n");
        assert_eq!(read_one("fits", &[b'x'; 2030]).unwrap()["fits"].len(), 2030);
    }

    #[test]
    fn refuses_invalid_names_and_values() {
        for (name, value) in
            [("big", vec![b'x'; 1 << 20]), ("with space", vec![]), ("raw", vec![0xff]), ("nul", vec![0])]
        {
            assert_eq!(read_one(name, &value).unwrap_err().reason, Reason::OutputTooLarge, "{name}");
        }
        // Each of these characters has 6 bytes in JSON.
        assert_eq!(read_one("escaped", &[1; 600]).unwrap_err().reason, Reason::OutputTooLarge);
    }

    #[test]
    fn does_not_follow_links() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", directory.path().join("zero")).unwrap();
        assert!(read(directory.path()).unwrap_err().message.contains("not a plain file"));
    }
}
