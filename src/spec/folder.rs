//! Reads the files of a directory of specs into memory; the only part of the room that touches the disk.
//!
//! [`look`] reads none of them: what the system says of each file is enough to see whether one may have changed.
//!
//! - Lists of targets (see `lists`) are no specs, wherever they lie: a new target is none of this room's business. A
//!   file that is named as a list and yet holds a story is a fault, or what it promises would be forgotten in silence.
//! - `*.toml` in the directory and in its subfolders, in the order of their paths; hidden ones are left out, because
//!   editors and configuration mounts keep their own copies under such names.
//! - Links are followed, each folder is entered once, and only regular files are opened: a pipe would block for ever.
//! - Depth, number and size have a bound, so that a wrong `--specs /` ends with a message.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::fault::{SpecErrors, SpecFile};
use super::lists::Lists;

const DEEPEST: usize = 8;
const MOST_FILES: usize = 2_000;
const LARGEST_FILE: u64 = 1 << 20;
/// Of all files together.
const MOST_BYTES: u64 = 64 << 20;
/// Of what is looked at, so that a huge tree without a single spec ends, too.
const MOST_ENTRIES: usize = 100_000;

/// Reads every file of specs below `directory`. What cannot be read is a file with a fault.
pub(super) fn read(directory: &Path) -> Result<Vec<SpecFile>, SpecErrors> {
    let unreadable = |source| SpecErrors::Unreadable { directory: directory.to_owned(), source };
    let Walk { found, lists, .. } = walk(directory).map_err(unreadable)?;
    let specs =
        found.into_iter().map(|Found { path, what }| what.map_or_else(|why| refused(&path, why), |_| file(&path)));
    Ok(specs.chain(lists.iter().filter_map(|path| misnamed(path))).collect())
}

/// How a directory of specs looks from outside. Two looks are equal unless a file was added, removed, moved or written
/// in between, or has become readable or unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look(Result<Vec<Found>, io::ErrorKind>);

/// Looks at every file of specs below `directory` without reading any.
pub fn look(directory: &Path) -> Look {
    Look(walk(directory).map(|walk| walk.found).map_err(|error| error.kind()))
}

/// What lies in the directory, by path.
fn walk(directory: &Path) -> io::Result<Walk> {
    let entries = fs::read_dir(directory)?;
    let mut walk = Walk { no_specs: Lists::of(directory, LARGEST_FILE), ..Walk::default() };
    let real = fs::canonicalize(directory).ok();
    walk.entered.extend(real.clone());
    walk.folder(entries, directory, real.as_deref(), 0);
    walk.found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk)
}

/// Something that is a file of specs, or should be one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    /// What the system says of it, or why it cannot be read.
    what: Result<Stat, String>,
}

/// What changes when a file does. Writing to it may leave everything here but the times as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    /// In seconds and nanoseconds, as the next.
    modified: (i64, i64),
    /// Not to be set by anybody, unlike the time before.
    changed: (i64, i64),
}

impl Stat {
    fn of(found: &fs::Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

#[derive(Default)]
struct Walk {
    found: Vec<Found>,
    /// Files that are no specs, because they list targets.
    lists: Vec<PathBuf>,
    no_specs: Lists,
    entered: BTreeSet<PathBuf>,
    seen: usize,
    bytes: u64,
    full: bool,
}

impl Walk {
    /// Everything in a folder, which really is `real` as far as that is known.
    fn folder(&mut self, entries: fs::ReadDir, folder: &Path, real: Option<&Path>, depth: usize) {
        let mut paths = BTreeSet::new();
        for entry in entries.take(MOST_ENTRIES) {
            match entry {
                Ok(entry) => drop(paths.insert(folder.join(entry.file_name()))),
                Err(error) => self.refuse(folder, format!("cannot be listed: {error}")),
            }
        }
        for path in paths.iter().filter(|path| !is_hidden(path)) {
            self.seen += 1;
            if self.seen > MOST_ENTRIES || self.found.len() >= MOST_FILES || self.bytes > MOST_BYTES {
                return self.stop(path);
            }
            self.entry(path, real, depth);
        }
    }

    fn entry(&mut self, path: &Path, folder: Option<&Path>, depth: usize) {
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => self.subfolder(path, depth + 1),
            Ok(_) | Err(_) if is_toml && self.no_specs.hold(path, folder) => self.lists.push(path.to_owned()),
            Ok(found) if is_toml && found.is_file() => {
                self.bytes += found.len().min(LARGEST_FILE);
                self.found.push(Found { path: path.to_owned(), what: Ok(Stat::of(&found)) });
            }
            Ok(_) if is_toml => self.refuse(path, "is not a regular file".to_owned()),
            Err(error) if is_toml => self.refuse(path, format!("cannot be read: {error}")),
            Ok(_) | Err(_) => {}
        }
    }

    fn subfolder(&mut self, path: &Path, depth: usize) {
        if depth > DEEPEST {
            return self.refuse(path, format!("lies deeper than {DEEPEST} folders"));
        }
        match fs::canonicalize(path).and_then(|real| Ok((real, fs::read_dir(path)?))) {
            Ok((real, entries)) if self.entered.insert(real.clone()) => {
                self.folder(entries, path, Some(&real), depth);
            }
            Ok(_) => self.refuse(path, "leads to a folder that is already read; remove the link".to_owned()),
            Err(error) => self.refuse(path, format!("cannot be listed: {error}")),
        }
    }

    fn refuse(&mut self, path: &Path, why: String) {
        self.found.push(Found { path: path.to_owned(), what: Err(why) });
    }

    fn stop(&mut self, path: &Path) {
        if !self.full {
            self.full = true;
            let most = format!("{MOST_FILES} files, {MOST_BYTES} bytes");
            self.refuse(path, format!("is beyond what one directory of specs may hold: {most}"));
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn refused(path: &Path, why: String) -> SpecFile {
    SpecFile { path: path.to_owned(), text: String::new(), unreadable: Some((0, why)) }
}

/// What is wrong with a list of targets that is a spec as well, if it is. Whatever else it holds is not looked at here.
fn misnamed(path: &Path) -> Option<SpecFile> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let text = String::from_utf8(bytes(path).ok()?).ok()?;
    let (tree, _) = DeTable::parse_recoverable(&text);
    let key = ["story", "journey", "slo"].into_iter().find(|key| tree.get_ref().contains_key(*key))?;
    let why = format!(
        "`file_sd` in slogate.toml names this file as a list of targets, and it holds `{key}`; keep specs apart"
    );
    Some(refused(path, why))
}

fn file(path: &Path) -> SpecFile {
    let (text, unreadable) = match bytes(path) {
        Ok(bytes) if bytes.len() as u64 > LARGEST_FILE => {
            (String::new(), Some((0, format!("is larger than {LARGEST_FILE} bytes"))))
        }
        Ok(bytes) => text(bytes),
        Err(error) => (String::new(), Some((0, format!("cannot be read: {error}")))),
    };
    SpecFile { path: path.to_owned(), text, unreadable }
}

/// At most one byte more than a file may have.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text, or its beginning up to the first byte that is none.
fn text(bytes: Vec<u8>) -> (String, Option<(usize, String)>) {
    String::from_utf8(bytes).map(|text| (text, None)).unwrap_or_else(|error| {
        let valid = error.utf8_error().valid_up_to();
        let why = format!("the byte 0x{:02X} is not UTF-8; save the file as UTF-8", error.as_bytes()[valid]);
        (String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned(), Some((valid, why)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, files: &[(&str, &[u8])]) {
        for (name, bytes) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    fn names(directory: &Path) -> Vec<(String, Option<String>)> {
        let files = read(directory).unwrap();
        let name = |file: &SpecFile| file.path.strip_prefix(directory).unwrap().to_string_lossy().into_owned();
        files.iter().map(|file| (name(file), file.unreadable.clone().map(|(_, why)| why))).collect()
    }

    #[test]
    fn toml_files_are_read_in_order_and_hidden_or_other_files_are_not() {
        let temp = tempfile::tempdir().unwrap();
        let files = ["slogate.toml", "b/z.toml", "a.toml", "b/.x.toml", ".git/y.toml", "README.md", "a.toml~"];
        write(temp.path(), &files.map(|name| (name, b"".as_slice())));
        let read: Vec<_> = names(temp.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(read, ["a.toml", "b/z.toml", "slogate.toml"]);
    }

    #[test]
    fn what_cannot_be_read_is_a_fault_of_its_file() {
        let temp = tempfile::tempdir().unwrap();
        let big = vec![b'#'; LARGEST_FILE as usize + 1];
        write(temp.path(), &[("latin.toml", b"# caf\xE9"), ("big.toml", &big), ("sub/deep.toml", b"")]);
        std::os::unix::fs::symlink("nowhere", temp.path().join("dangling.toml")).unwrap();
        std::os::unix::fs::symlink("..", temp.path().join("sub/loop")).unwrap();
        let found = names(temp.path());
        let why = |name: &str| {
            let (_, why) = found.iter().find(|(file, _)| file == name).unwrap();
            why.clone().unwrap_or_default()
        };
        assert_eq!(why("big.toml"), "is larger than 1048576 bytes");
        assert_eq!(why("latin.toml"), "the byte 0xE9 is not UTF-8; save the file as UTF-8");
        assert!(why("dangling.toml").starts_with("cannot be read: "), "{found:?}");
        assert_eq!(why("sub/loop"), "leads to a folder that is already read; remove the link");
        assert_eq!(why("sub/deep.toml"), "");
    }

    #[test]
    fn folders_end_somewhere() {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), &[("1/2/3/4/5/6/7/8/ok.toml", b""), ("1/2/3/4/5/6/7/8/9/no.toml", b"")]);
        let found = names(temp.path());
        let deep = ("1/2/3/4/5/6/7/8/9".to_owned(), Some("lies deeper than 8 folders".to_owned()));
        assert_eq!(found, [deep, ("1/2/3/4/5/6/7/8/ok.toml".to_owned(), None)]);
    }

    #[test]
    fn a_directory_holds_only_so_many_files() {
        let temp = tempfile::tempdir().unwrap();
        for number in 0..=MOST_FILES {
            fs::write(temp.path().join(format!("{number:05}.toml")), "").unwrap();
        }
        let found = names(temp.path());
        let refused: Vec<_> = found.iter().filter(|(_, why)| why.is_some()).map(|(name, _)| name.as_str()).collect();
        assert_eq!((found.len(), refused), (MOST_FILES + 1, vec!["02000.toml"]));
    }

    /// Whether something that is done to a directory is seen from outside.
    #[track_caller]
    fn check_look(directory: &Path, is_seen: bool, done: impl FnOnce()) {
        let before = look(directory);
        assert_eq!(look(directory), before);
        done();
        assert_eq!(look(directory) != before, is_seen);
    }

    #[test]
    fn whatever_happens_to_a_file_is_seen_without_reading_it() {
        let temp = tempfile::tempdir().unwrap();
        let (home, path) = (temp.path(), |name: &str| temp.path().join(name));
        write(home, &[("a.toml", b"one"), ("sub/b.toml", b"two")]);
        let times = fs::metadata(path("a.toml")).unwrap().modified().unwrap();
        check_look(home, true, || write(home, &[("c.toml", b"")]));
        check_look(home, true, || write(home, &[("sub/b.toml", b"three")]));
        check_look(home, true, || fs::remove_file(path("c.toml")).unwrap());
        check_look(home, true, || fs::rename(path("sub/b.toml"), path("sub/c.toml")).unwrap());
        // Another file of the same length and age in its place.
        check_look(home, true, || {
            write(home, &[(".a", b"eno")]);
            fs::File::open(path(".a")).unwrap().set_modified(times).unwrap();
            fs::rename(path(".a"), path("a.toml")).unwrap();
        });
        check_look(home, true, || std::os::unix::fs::symlink("nowhere", path("d.toml")).unwrap());
        check_look(home, true, || fs::remove_dir_all(home).unwrap());
        check_look(home, true, || fs::create_dir(home).unwrap());
    }

    #[test]
    fn what_is_no_spec_is_not_looked_at() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path();
        write(home, &[("a.toml", b"one")]);
        check_look(home, false, || write(home, &[(".a.toml.swp", b"x"), ("a.toml~", b"x"), ("notes.md", b"x")]));
        check_look(home, false, || drop(fs::read(home.join("a.toml")).unwrap()));
        check_look(home, false, || fs::create_dir(home.join("empty")).unwrap());
    }

    const ENGINE: &[u8] = b"[[source]]\nname = \"app\"\n[source.scrape]\nfile_sd = [\"tg/*.toml\", \"./more.toml\"]\n";

    #[test]
    fn lists_of_targets_are_no_specs() {
        let temp = tempfile::tempdir().unwrap();
        let list = b"[[group]]\ntargets = [\"app:9100\"]\n".as_slice();
        write(temp.path(), &[("slogate.toml", ENGINE), ("a.toml", b""), ("tg/b.toml", list), ("more.toml", list)]);
        write(temp.path(), &[("tg/deeper/c.toml", b"")]);
        std::os::unix::fs::symlink("nowhere", temp.path().join("tg/dangling.toml")).unwrap();
        let specs = ["a.toml", "slogate.toml", "tg/deeper/c.toml"].map(|name| (name.to_owned(), None));
        assert_eq!(names(temp.path()), specs);
        // The same directory by another name.
        let link = temp.path().join(".link");
        std::os::unix::fs::symlink(temp.path(), &link).unwrap();
        assert_eq!(names(&link), specs);
    }

    #[test]
    fn a_story_in_a_list_of_targets_is_told() {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), &[("slogate.toml", ENGINE), ("tg/b.toml", b"[story]\nname = \"shop\"\n")]);
        let why =
            "`file_sd` in slogate.toml names this file as a list of targets, and it holds `story`; keep specs apart";
        let story = ("tg/b.toml".to_owned(), Some(why.to_owned()));
        assert_eq!(names(temp.path()), [("slogate.toml".to_owned(), None), story]);
    }

    #[test]
    fn a_new_target_is_no_news() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path();
        write(home, &[("slogate.toml", ENGINE), ("tg/b.toml", b"")]);
        check_look(home, false, || {
            write(home, &[("tg/b.toml", b"[[group]]\n"), ("tg/c.toml", b""), ("more.toml", b"")])
        });
        check_look(home, false, || fs::remove_file(home.join("tg/b.toml")).unwrap());
        check_look(home, true, || write(home, &[("tg/deeper/c.toml", b"")]));
        // What was a list is a spec once nobody names it as one.
        check_look(home, true, || write(home, &[("slogate.toml", b"")]));
        check_look(home, true, || write(home, &[("tg/c.toml", b"[story]\n")]));
    }

    /// As configuration mounts do it: the files are links through a hidden one that is switched.
    #[test]
    fn a_switched_link_is_seen() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path();
        write(home, &[(".1/a.toml", b"one"), (".2/a.toml", b"two")]);
        std::os::unix::fs::symlink(".1", home.join(".data")).unwrap();
        std::os::unix::fs::symlink(".data/a.toml", home.join("a.toml")).unwrap();
        check_look(home, true, || {
            std::os::unix::fs::symlink(".2", home.join(".new")).unwrap();
            fs::rename(home.join(".new"), home.join(".data")).unwrap();
        });
    }

    #[test]
    fn a_directory_that_is_none_is_said_so() {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), &[("file", b"")]);
        for missing in ["nowhere", "file"] {
            let error = read(&temp.path().join(missing)).unwrap_err();
            assert!(matches!(error, SpecErrors::Unreadable { .. }), "{error}");
        }
    }
}
