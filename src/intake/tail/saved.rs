//! Positions as bytes, for a store that does not look into them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names::means;
use super::stream::Record;

/// One entry of what must be committed together with the counts of what was yielded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedPosition {
    /// Unique within one source.
    pub key: String,
    /// Opaque; at most a few kilobytes and a path.
    pub value: Vec<u8>,
}

/// What has changed since an earlier revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The revision that these changes lead to.
    pub revision: u64,
    /// Entries to write.
    pub put: Vec<SavedPosition>,
    /// Keys to remove.
    pub removed: Vec<String>,
}

/// Why saved positions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// They are of a version that does not exist yet.
    #[error("the saved read positions are of version {found}, this slogate knows up to {VERSION}; use the newer one")]
    Newer {
        /// Which.
        found: u32,
    },
    /// They are damaged.
    #[error("the saved read position `{key}` cannot be understood ({source}); the store is damaged")]
    Damaged {
        /// Which.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// The version of what is written.
const VERSION: u32 = 1;
/// The key of the entry that is about all streams.
const ABOUT: &str = "about";

/// What there is beside streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    version: u32,
    /// The number of the next stream.
    pub next: u64,
}

impl About {
    pub fn new(next: u64) -> Self {
        Self { version: VERSION, next }
    }

    pub fn to_saved(self) -> SavedPosition {
        saved(ABOUT.to_owned(), &self)
    }
}

/// The key of a stream.
pub(super) fn key(stream: u64) -> String {
    format!("{stream:016x}")
}

pub(super) fn to_saved(stream: u64, record: &Record) -> SavedPosition {
    saved(key(stream), record)
}

fn saved(key: String, value: &impl Serialize) -> SavedPosition {
    SavedPosition { key, value: serde_json::to_vec(value).expect("records hold nothing that JSON cannot") }
}

/// What is kept of each stream.
type Records = BTreeMap<u64, Record>;

/// What was saved; `None` when nothing was, so that following begins.
pub(super) fn restore(saved: &[SavedPosition]) -> Result<Option<(About, Records)>, SavedError> {
    let damaged = |key: &str| {
        let key = key.to_owned();
        move |source| SavedError::Damaged { key, source }
    };
    let Some(about) = saved.iter().find(|entry| entry.key == ABOUT) else { return Ok(None) };
    // The version first, since everything else may look different in another one.
    let version = serde_json::from_slice::<serde_json::Value>(&about.value).map_err(damaged(ABOUT))?;
    match version.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found > u64::from(VERSION) => {
            return Err(SavedError::Newer { found: u32::try_from(found).unwrap_or(u32::MAX) });
        }
        _ => {}
    }
    let about: About = serde_json::from_slice(&about.value).map_err(damaged(ABOUT))?;
    let mut records = BTreeMap::new();
    for entry in saved.iter().filter(|entry| entry.key != ABOUT) {
        let number = u64::from_str_radix(&entry.key, 16).map_err(serde::de::Error::custom);
        let number = number.map_err(damaged(&entry.key))?;
        records.insert(number, serde_json::from_slice(&entry.value).map_err(damaged(&entry.key))?);
    }
    Ok(Some((about, records)))
}

/// Whether saved positions are those of files that one of the `globs` means.
pub fn are_about(saved: &[SavedPosition], globs: &[String]) -> bool {
    let Ok(Some((_, records))) = restore(saved) else { return false };
    let is_meant = |path: &PathBuf| globs.iter().any(|glob| means(glob, path));
    records.values().any(|record| is_meant(&record.path) || record.origin.as_ref().is_some_and(is_meant))
}

/// Paths are bytes: text where they are UTF-8, numbers where not.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PathBytes {
    Text(String),
    Bytes(Vec<u8>),
}

impl PathBytes {
    fn new(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes(path.as_os_str().as_bytes().to_owned()),
        }
    }

    fn path(self) -> PathBuf {
        match self {
            Self::Text(text) => PathBuf::from(text),
            Self::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)),
        }
    }
}

pub(super) mod path {
    use super::*;

    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        PathBytes::new(path).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        PathBytes::deserialize(deserializer).map(PathBytes::path)
    }
}

pub(super) mod optional_path {
    use super::*;

    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_deref().map(PathBytes::new).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<PathBytes>::deserialize(deserializer)?.map(PathBytes::path))
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::FileId;
    use super::super::stream::Stream;
    use super::*;

    #[test]
    fn any_path_survives() {
        for path in [&b"/var/log/access.log"[..], b"/var/log/\xFF\xFE.log", "/log/\u{17e}".as_bytes()] {
            let path = PathBuf::from(OsString::from_vec(path.to_vec()));
            let mut record = Stream::new(&path, FileId { dev: 1, ino: u64::MAX, birth: Some(3) }).kept;
            record.target = Some(path);
            let saved = [About::new(7).to_saved(), to_saved(5, &record)];
            let (about, records) = restore(&saved).unwrap().unwrap();
            assert_eq!((about.next, records), (7, BTreeMap::from([(5, record)])));
        }
        assert!(restore(&[]).unwrap().is_none());
    }

    #[test]
    fn positions_are_about_the_files_that_a_glob_means() {
        let record = |path: &str| Stream::new(Path::new(path), FileId { dev: 1, ino: 2, birth: None }).kept;
        let moved = Record { origin: Some("/var/log/moved.log".into()), ..record("/old/moved.log.1") };
        let saved = [About::new(7).to_saved(), to_saved(5, &record("/var/log/a.log")), to_saved(6, &moved)];
        for (glob, is_about) in
            [("/var/log/a.log*", true), ("/var/log/moved.log", true), ("/var/log/b.log", false), ("a.log", false)]
        {
            assert_eq!(are_about(&saved, &[glob.to_owned()]), is_about, "{glob}");
        }
        assert!(!are_about(&[], &["*".to_owned()]));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_reason() {
        let mut entries = vec![About::new(7).to_saved()];
        entries[0].value = entries[0].value.clone().into_iter().map(|b| if b == b'1' { b'2' } else { b }).collect();
        assert!(restore(&entries).unwrap_err().to_string().contains("version 2"));
        entries = vec![About::new(7).to_saved(), SavedPosition { key: "5".into(), value: b"{}".to_vec() }];
        assert!(restore(&entries).unwrap_err().to_string().contains("`5` cannot be understood"));
        entries[1].key = "five".into();
        assert!(restore(&entries).unwrap_err().to_string().contains("`five`"));
    }
}
