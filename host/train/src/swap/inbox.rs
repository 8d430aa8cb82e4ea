//! `swaps/`: requests to a live run, one small file each. Anybody who may write there may ask, so what lies there is
//! read with suspicion: few files, small ones, and no content can do more than be refused.

use std::fs;
use std::path::{Path, PathBuf};

use super::SwapRequest;
use crate::error::{Error, Result};
use crate::plugin_store::{read_at_most, write_aside};

/// Requests that one step boundary answers; the next one answers more.
const REQUESTS_MAX: usize = 64;

/// Directory entries that one step boundary looks at.
const ENTRIES_MAX: usize = 4096;

const REQUEST_BYTES_MAX: u64 = 16 << 10;

const ID_BYTES_MAX: usize = 64;

/// Where requests to the run in a directory lie.
pub(crate) struct Inbox {
    folder: PathBuf,
}

impl Inbox {
    pub(crate) fn of(run: &Path) -> Self {
        Self { folder: run.join("swaps") }
    }

    pub(crate) fn put(&self, id: &str, request: &SwapRequest) -> Result<()> {
        if !is_id(id) {
            return Err(Error::run_dir(&self.folder, format!("{id:?} names no request: use letters, digits and `-`")));
        }
        fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        let file = self.file(id);
        let text = serde_json::to_string(request).map_err(|e| Error::run_dir(&file, e.to_string()))?;
        write_aside(&file, text.as_bytes())
    }

    /// The requests that wait, in the order of their ids; or what is wrong with one. An unreadable folder holds none:
    /// a swap is a wish, and no wish may stop a run.
    pub(crate) fn pending(&self) -> Vec<(String, std::result::Result<SwapRequest, String>)> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return vec![] };
        let id = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let id = name.strip_suffix(".json").filter(|id| is_id(id))?;
            // No link and no pipe: opening those could lead anywhere, or wait for ever.
            entry.file_type().ok()?.is_file().then(|| id.to_owned())
        };
        let mut ids: Vec<String> = entries.take(ENTRIES_MAX).filter_map(|entry| id(entry.ok()?)).collect();
        ids.sort_unstable();
        ids.truncate(REQUESTS_MAX);
        ids.into_iter().map(|id| (id.clone(), self.read(&id))).collect()
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        is_id(id) && self.file(id).is_file()
    }

    pub(crate) fn remove(&self, id: &str) {
        // What cannot be removed is not answered twice: the run remembers the ids.
        let _ = fs::remove_file(self.file(id));
    }

    fn read(&self, id: &str) -> std::result::Result<SwapRequest, String> {
        let bytes = read_at_most(&self.file(id), REQUEST_BYTES_MAX).map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| rewarden_runtime::printable(&error.to_string(), 300))
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swap::SwapKind;

    #[track_caller]
    fn check(file: &str, content: &[u8], expected: Option<&str>) {
        let run = tempfile::tempdir().unwrap();
        let inbox = Inbox::of(run.path());
        fs::create_dir(&inbox.folder).unwrap();
        fs::write(inbox.folder.join(file), content).unwrap();
        let pending = inbox.pending();
        match (pending.as_slice(), expected) {
            ([], None) => {}
            ([(id, Err(reason))], Some(part)) => {
                assert!(reason.contains(part) && reason.len() < 600, "{reason}");
                inbox.remove(id);
                assert!(inbox.pending().is_empty());
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn hostile_requests_are_refused_or_ignored() {
        check("a.json", b"", Some("EOF"));
        check("a.json", b"\xff\xfe\0", Some("expected"));
        check("a.json", b"[]", Some("invalid"));
        check("a.json", br#"{"name":"x","kind":"swap","more":1}"#, Some("unknown field"));
        check("a.json", br#"{"name":"x","kind":"erase"}"#, Some("unknown variant"));
        check("a.json", br#"{"name":"x","kind":"swap","to":"../../etc"}"#, Some("is not a digest"));
        check("a.json", format!("{{\"{}\":1}}", "[2J".repeat(2000)).as_bytes(), Some("unknown field"));
        check("a.json", "[".repeat(10_000).as_bytes(), Some("invalid type"));
        check("a.json", &vec![b' '; (REQUEST_BYTES_MAX + 1) as usize], Some("larger than"));
        check("..json", b"{}", None);
        check("a b.json", b"{}", None);
        check("a.json.1.writing", b"{}", None);
        check(&format!("{}.json", "a".repeat(65)), b"{}", None);
    }

    #[test]
    fn what_is_asked_first_is_answered_first_and_only_so_much_at_once() {
        let run = tempfile::tempdir().unwrap();
        let inbox = Inbox::of(run.path());
        assert!(inbox.pending().is_empty());
        let request = SwapRequest { name: "a".into(), kind: SwapKind::Rollback, to: None };
        for number in (0..REQUESTS_MAX + 6).rev() {
            inbox.put(&format!("{number:03}"), &request).unwrap();
        }
        let pending = inbox.pending();
        assert_eq!(pending.len(), REQUESTS_MAX);
        assert_eq!(pending[1], ("001".to_owned(), Ok(request.clone())));
        assert!(inbox.put("../x", &request).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let run = tempfile::tempdir().unwrap();
        let inbox = Inbox::of(run.path());
        fs::create_dir(&inbox.folder).unwrap();
        std::os::unix::fs::symlink("/dev/zero", inbox.folder.join("a.json")).unwrap();
        assert!(inbox.pending().is_empty());
    }
}
