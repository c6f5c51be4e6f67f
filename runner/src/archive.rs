//! The files of a session as an archive: tar, compressed with gzip. An agent chose the files, and an archive is as untrusted as they are.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use enact_domain::agents::checkpoint::{MAX_ARCHIVE_BYTES, MAX_SESSION_FILES, MAX_UNPACKED_BYTES};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, EntryType, Header};

use crate::secrets::Secrets;

/// Most bytes of an archive before compression: the files, and a header and padding for each.
const MAX_TAR_BYTES: usize = MAX_UNPACKED_BYTES + MAX_SESSION_FILES * (4 << 10);
/// Deepest directory below a path of a session.
const MAX_DEPTH: usize = 32;

/// Packs the regular files at and below `paths`, which are relative to `home`. Links and other special files are left out, and secrets in
/// texts are redacted. Returns nothing if there is no file.
///
/// # Errors
/// A message for a person, if the files exceed a limit, cannot be read, or a file that is not text contains a secret.
pub(crate) fn pack(home: &Path, paths: &[String], secrets: &Secrets) -> Result<Option<Vec<u8>>, String> {
    let mut files = Vec::new();
    for path in paths {
        if !leads_through_link(home, Path::new(path)) {
            collect(home, Path::new(path), 0, &mut files).map_err(|error| format!("{path} cannot be read: {error}"))?;
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    if files.len() > MAX_SESSION_FILES {
        return Err(format!("it has more than {MAX_SESSION_FILES} files"));
    }
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut left = MAX_UNPACKED_BYTES;
    for path in &files {
        let failed = |error: io::Error| format!("{} cannot be packed: {error}", path.display());
        let (content, modified) = read(&home.join(path), left).map_err(failed)?;
        let Some(content) = content else {
            return Err(format!("its files have more than {} MiB", MAX_UNPACKED_BYTES >> 20));
        };
        left -= content.len();
        let content = without_secrets(&content, secrets)
            .ok_or_else(|| format!("{} contains a secret and is not text", path.display()))?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(modified);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_slice()).map_err(failed)?;
    }
    let packed = builder.into_inner().and_then(GzEncoder::finish);
    let packed = packed.map_err(|error| format!("the archive cannot be written: {error}"))?;
    if packed.len() > MAX_ARCHIVE_BYTES {
        return Err(format!("it has more than {} MiB when it is compressed", MAX_ARCHIVE_BYTES >> 20));
    }
    Ok(Some(packed))
}

/// Unpacks an archive into `home`. Nothing is written unless every entry is a regular file at or below one of `paths`.
///
/// # Errors
/// A message for a person.
pub(crate) fn unpack(archive: &[u8], home: &Path, paths: &[String]) -> Result<(), String> {
    let mut bytes = Vec::new();
    // A small archive can unpack to any size, so that the output is limited, not the input.
    let limit = MAX_TAR_BYTES as u64 + 1;
    GzDecoder::new(archive).take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > MAX_TAR_BYTES {
        return Err("it unpacks to more than the limit".into());
    }
    let mut files = Vec::new();
    each(&bytes, |path, _, size| {
        if !paths.iter().any(|allowed| path.starts_with(allowed)) {
            return Err(format!("`{}` is not a file of a session", shown(&path)));
        }
        if leads_through_link(home, &path) {
            return Err(format!("`{}` leads through a link", shown(&path)));
        }
        files.push((path, size));
        let total: u64 = files.iter().map(|(_, size)| *size).sum();
        if files.len() > MAX_SESSION_FILES || total > MAX_UNPACKED_BYTES as u64 {
            return Err("it has more or larger files than the limits allow".into());
        }
        Ok(())
    })?;
    each(&bytes, |path, entry, _| {
        write(home, &path, entry).map_err(|error| format!("`{}` cannot be written: {error}", shown(&path)))
    })
}

/// An entry of an archive in memory.
type Entry<'a, 'b> = tar::Entry<'a, &'b [u8]>;

/// Calls `take` with path, content and size of each entry.
fn each<'b>(
    bytes: &'b [u8],
    mut take: impl FnMut(PathBuf, &mut Entry<'_, 'b>, u64) -> Result<(), String>,
) -> Result<(), String> {
    let mut archive = Archive::new(bytes);
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let path = entry.path().map_err(|error| error.to_string())?.into_owned();
        if entry.header().entry_type() != EntryType::Regular {
            return Err(format!("`{}` is not a regular file", shown(&path)));
        }
        if path.as_os_str().is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("the path `{}` leads out of the home directory", shown(&path)));
        }
        let size = entry.size();
        take(path, &mut entry, size)?;
    }
    Ok(())
}

fn write(home: &Path, path: &Path, entry: &mut Entry<'_, '_>) -> io::Result<()> {
    let modified = entry.header().mtime().unwrap_or_default();
    let target = home.join(path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::remove_file(&target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target)?;
    io::copy(entry, &mut file)?;
    file.flush()?;
    // Some programs list their sessions by the time of their last change. A time that the file system refuses does no harm.
    let _ = file.set_modified(UNIX_EPOCH + Duration::from_secs(modified.min(u32::MAX.into())));
    Ok(())
}

/// Adds the regular files at and below `path`, in the order of their names.
fn collect(home: &Path, path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let metadata = match home.join(path).symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if metadata.is_file() {
        files.push(path.to_owned());
    }
    if !metadata.is_dir() || depth > MAX_DEPTH {
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(home.join(path))? {
        // The caller refuses so many files.
        if files.len() + names.len() > MAX_SESSION_FILES {
            break;
        }
        names.push(entry?.file_name());
    }
    names.sort();
    names.iter().try_for_each(|name| collect(home, &path.join(name), depth + 1, files))
}

/// Reads a file of at most `limit` bytes; none if it is larger. Also returns the time of its last change, in seconds since 1970.
fn read(path: &Path, limit: usize) -> io::Result<(Option<Vec<u8>>, u64)> {
    let file = File::open(path)?;
    let modified = file.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut content = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut content)?;
    Ok(((content.len() <= limit).then_some(content), modified))
}

/// Redacts secrets in a text. Returns nothing if another file contains one: without the secret, its program could not read it.
fn without_secrets(content: &[u8], secrets: &Secrets) -> Option<Vec<u8>> {
    let redacted = secrets.redact_stream(&mut content.to_vec(), true);
    (redacted == content || std::str::from_utf8(content).is_ok()).then_some(redacted)
}

/// Returns whether a part of `path`, which is relative to `home`, is a link.
fn leads_through_link(home: &Path, path: &Path) -> bool {
    path.ancestors()
        .filter(|part| !part.as_os_str().is_empty())
        .any(|part| home.join(part).symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().take(200).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    fn paths() -> Vec<String> {
        vec![".agent/sessions".into(), ".agent/state.json".into()]
    }

    fn write_file(home: &Path, path: &str, content: &[u8]) {
        fs::create_dir_all(home.join(path).parent().unwrap()).unwrap();
        fs::write(home.join(path), content).unwrap();
    }

    /// Returns the regular files below a directory.
    fn files(home: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = Vec::new();
        collect(home, Path::new(""), 0, &mut found).unwrap();
        found.into_iter().map(|path| (path.clone(), fs::read(home.join(&path)).unwrap())).collect()
    }

    /// Returns an archive with one entry, whose header is not checked by the library.
    fn archive(path: &str, kind: EntryType, link: &str, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        header.set_mode(0o777);
        header.set_size(content.len() as u64);
        header.set_cksum();
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        builder.append(&header, content).unwrap();
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn refused(archive: &[u8]) -> String {
        let home = tempfile::tempdir().unwrap();
        let problem = unpack(archive, home.path(), &paths()).expect_err("it is refused");
        assert_eq!(files(home.path()), BTreeMap::new(), "{problem}");
        problem
    }

    #[test]
    fn hostile_entries_are_refused() {
        for path in ["../outside", "/etc/passwd", ".agent/sessions/../../../x", ".agent/auth.json", ".agent/sessionsx"]
        {
            refused(&archive(path, EntryType::Regular, "", b"x"));
        }
        for kind in [EntryType::Symlink, EntryType::Link] {
            let problem = refused(&archive(".agent/sessions/a", kind, "/etc/passwd", b""));
            assert!(problem.contains("not a regular file"), "{problem}");
        }
        for kind in [EntryType::Directory, EntryType::Fifo, EntryType::Char] {
            refused(&archive(".agent/sessions/a", kind, "", b""));
        }
        refused(b"no archive");
        let noise: Vec<u8> = (0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
        let whole = archive(".agent/sessions/a", EntryType::Regular, "", &noise);
        refused(&whole[..whole.len() / 2]);
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let zeros = vec![0; 1 << 20];
        (0..200).for_each(|_| encoder.write_all(&zeros).unwrap());
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < MAX_ARCHIVE_BYTES);
        assert!(refused(&bomb).contains("more than the limit"));
        let large = archive(".agent/sessions/a", EntryType::Regular, "", &vec![0; MAX_UNPACKED_BYTES + 1]);
        assert!(refused(&large).contains("limits"));
    }

    #[test]
    fn links_are_neither_followed_nor_packed() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_file(other.path(), "secret", b"of somebody else");
        write_file(home.path(), ".agent/sessions/one", b"1");
        symlink(other.path().join("secret"), home.path().join(".agent/sessions/two")).unwrap();
        symlink(other.path(), home.path().join(".agent/sessions/three")).unwrap();
        symlink(other.path().join("secret"), home.path().join(".agent/state.json")).unwrap();
        let packed = pack(home.path(), &paths(), &Secrets::default()).unwrap().unwrap();
        let target = tempfile::tempdir().unwrap();
        unpack(&packed, target.path(), &paths()).unwrap();
        assert_eq!(files(target.path()), [(".agent/sessions/one".into(), b"1".to_vec())].into());

        // A link in the target does not lead an entry elsewhere.
        let target = tempfile::tempdir().unwrap();
        fs::create_dir(target.path().join(".agent")).unwrap();
        symlink(other.path(), target.path().join(".agent/sessions")).unwrap();
        assert!(unpack(&packed, target.path(), &paths()).unwrap_err().contains("leads through a link"));
        assert_eq!(files(other.path()).len(), 1);
    }

    #[test]
    fn secrets_do_not_leave_the_pod() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::of(&[b"gateway.token.value"]);
        write_file(home.path(), ".agent/sessions/one", b"{\"key\":\"gateway.token.value\"}");
        let packed = pack(home.path(), &paths(), &secrets).unwrap().unwrap();
        let target = tempfile::tempdir().unwrap();
        unpack(&packed, target.path(), &paths()).unwrap();
        assert_eq!(fs::read(target.path().join(".agent/sessions/one")).unwrap(), b"{\"key\":\"***\"}");
        write_file(home.path(), ".agent/sessions/binary", b"\xff\xfegateway.token.value");
        assert!(pack(home.path(), &paths(), &secrets).unwrap_err().contains("contains a secret"));
    }

    #[test]
    fn sessions_have_limits() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(pack(home.path(), &paths(), &Secrets::default()), Ok(None));
        for number in 0..=MAX_SESSION_FILES {
            write_file(home.path(), &format!(".agent/sessions/{number}"), b"");
        }
        assert!(pack(home.path(), &paths(), &Secrets::default()).unwrap_err().contains("more than 2000 files"));
        let home = tempfile::tempdir().unwrap();
        write_file(home.path(), ".agent/state.json", &vec![b' '; MAX_UNPACKED_BYTES + 1]);
        assert!(pack(home.path(), &paths(), &Secrets::default()).unwrap_err().contains("32 MiB"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn unpacking_restores_what_was_packed(
            content in proptest::collection::btree_map("[a-z]{1,3}(/[a-z]{4,150}){0,2}", proptest::collection::vec(any::<u8>(), 0..600), 1..8),
        ) {
            let (home, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            for (path, content) in &content {
                write_file(home.path(), &format!(".agent/sessions/{}/f", path.replace('/', "d/")), content);
            }
            write_file(home.path(), ".agent/auth.json", b"not of the session");
            let packed = pack(home.path(), &paths(), &Secrets::default()).unwrap().unwrap();
            unpack(&packed, target.path(), &paths()).unwrap();
            let mut expected = files(home.path());
            expected.remove(Path::new(".agent/auth.json"));
            prop_assert_eq!(files(target.path()), expected);
        }

        #[test]
        fn no_archive_writes_elsewhere(
            bytes in proptest::collection::vec(any::<u8>(), 0..1024), compressed in any::<bool>(), name in "[./a]{1,20}",
        ) {
            let outer = tempfile::tempdir().unwrap();
            let home = outer.path().join("home");
            fs::create_dir(&home).unwrap();
            let packed = if compressed { archive(&name, EntryType::Regular, "", &bytes) } else { bytes };
            let allowed = ["a".to_owned()];
            // The only question is where it writes.
            let _ = unpack(&packed, &home, &allowed);
            for path in files(outer.path()).keys() {
                prop_assert!(path.starts_with("home/a"), "{}", path.display());
            }
        }
    }
}
