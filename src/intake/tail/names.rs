//! Paths: which are meant by a glob, and which are rotated names of which.
//!
//! - `*`, `?` and `[..]` stand for characters of one name and never for a slash; `[!..]` for all others.
//! - A name that begins with a dot is meant only by a pattern that does.
//! - Rotated names are those that logrotate, nginx's and Apache's tools write: `access.log.1`,
//!   `access.log-20261120.gz`, `access-20261120.log`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Every existing path that `glob` means, and the directories that could not be listed.
pub(in crate::intake) fn expand(glob: &str, found: &mut BTreeSet<PathBuf>, failed: &mut Vec<(PathBuf, io::Error)>) {
    let start = if glob.starts_with('/') { PathBuf::from("/") } else { PathBuf::new() };
    let parts: Vec<&str> = glob.split('/').filter(|part| !part.is_empty()).collect();
    expand_below(&start, &parts, found, failed);
}

fn expand_below(below: &Path, parts: &[&str], found: &mut BTreeSet<PathBuf>, failed: &mut Vec<(PathBuf, io::Error)>) {
    // Parts without a wildcard need no listing, and often may not be listed.
    let literal = parts.iter().take_while(|part| !is_pattern(part)).count();
    let below = parts[..literal].iter().fold(below.to_owned(), |path, part| path.join(part));
    let Some((pattern, rest)) = parts[literal..].split_first() else {
        found.insert(below);
        return;
    };
    let names = match list(&below) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        // A file where a directory is looked for, as in `logs/*/access.log`.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return,
        Err(error) => return failed.push((below, error)),
    };
    for name in names.iter().filter(|name| matches(pattern.as_bytes(), name.as_bytes())) {
        match rest.is_empty() {
            true => drop(found.insert(below.join(name))),
            false => expand_below(&below.join(name), rest, found, failed),
        }
    }
}

/// Whether `glob` means `path`.
pub(super) fn means(glob: &str, path: &Path) -> bool {
    let patterns: Vec<&str> = glob.split('/').filter(|part| !part.is_empty()).collect();
    let names: Vec<&[u8]> = path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|n| !n.is_empty()).collect();
    let fits = |(pattern, name): (&&str, &&[u8])| match is_pattern(pattern) {
        true => matches(pattern.as_bytes(), name),
        false => pattern.as_bytes() == *name,
    };
    patterns.len() == names.len() && patterns.iter().zip(&names).all(fits)
}

/// The names in a directory.
pub(super) fn list(directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

fn is_pattern(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

/// Whether `pattern` means `name`. Linear but for one place to come back to, so never slow.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.starts_with(b".") && !pattern.starts_with(b".") {
        return false;
    }
    let (mut at, mut of) = (0, 0);
    // Where to go on when what follows the last star does not match: behind the star, one byte later in the name.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match one(&pattern[at..], name[of]) {
            Some(length) => (at, of) = (at + length, of + 1),
            None if pattern.get(at) == Some(&b'*') => {
                at += 1;
                star = Some((at, of));
            }
            None => match &mut star {
                None => return false,
                Some((behind, from)) => {
                    *from += 1;
                    (at, of) = (*behind, *from);
                }
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// How long the element at the beginning of `pattern` is, if it stands for this one byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'*' => None,
        b'?' => Some(1),
        b'[' => match class(pattern) {
            Some((length, inside)) => inside(pattern, byte).then_some(length),
            // A bracket that is never closed stands for itself.
            None => (byte == b'[').then_some(1),
        },
        literal => (*literal == byte).then_some(1),
    }
}

type Inside = fn(&[u8], u8) -> bool;

/// The length of the class at the beginning of `pattern`, and the test for being in it.
fn class(pattern: &[u8]) -> Option<(usize, Inside)> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if negated { 2 } else { 1 };
    // A bracket directly behind the opening one is a member.
    let close = first + 1 + pattern.get(first + 1..)?.iter().position(|byte| *byte == b']')?;
    let inside: Inside = if negated { |pattern, byte| !member(pattern, 2, byte) } else { |p, byte| member(p, 1, byte) };
    Some((close + 1, inside))
}

fn member(pattern: &[u8], mut at: usize, byte: u8) -> bool {
    let first = at;
    while at == first || pattern[at] != b']' {
        match pattern[at + 1..] {
            [b'-', last, ..] if last != b']' => {
                if (pattern[at]..=last).contains(&byte) {
                    return true;
                }
                at += 3;
            }
            _ => {
                if pattern[at] == byte {
                    return true;
                }
                at += 1;
            }
        }
    }
    false
}

/// A file's name.
pub(super) fn name(path: &Path) -> &[u8] {
    path.file_name().unwrap_or(OsStr::new("")).as_bytes()
}

/// What `path` was called before it was rotated; `None` when it does not look rotated.
pub(super) fn before_rotation(path: &Path) -> Option<Vec<u8>> {
    let plain = name(path);
    let plain = [&b".gz"[..], b".zst"].iter().find_map(|end| plain.strip_suffix(*end)).unwrap_or(plain);
    let was_compressed = plain.len() < name(path).len();
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_' | b'T' | b'Z');
    // access.log.1, access.log-20261120
    let kept = plain.len() - plain.iter().rev().take_while(|byte| is_part(byte)).count();
    if let Some(base) = without_separator(plain, kept, plain.len()) {
        return Some(base);
    }
    // access-20261120.log, access.1.log
    if let Some(dot) = memchr::memrchr(b'.', plain) {
        let kept = dot - plain[..dot].iter().rev().take_while(|byte| is_part(byte)).count();
        if let Some(mut base) = without_separator(plain, kept, dot) {
            base.extend(&plain[dot..]);
            return Some(base);
        }
    }
    was_compressed.then(|| plain.to_vec())
}

/// `name` up to `kept`, when what follows up to `end` is a separator with digits.
fn without_separator(name: &[u8], kept: usize, end: usize) -> Option<Vec<u8>> {
    let suffix = &name[kept..end];
    let fits = kept > 0 && matches!(suffix.first(), Some(b'.' | b'-' | b'_')) && suffix.iter().any(u8::is_ascii_digit);
    fits.then(|| name[..kept].to_vec())
}

/// The number that rotation gave to `path`, a later name of `live`: 2 for `access.log.2.gz`.
pub(super) fn generation(path: &Path, live: &Path) -> Option<u32> {
    let suffix = name(path).strip_prefix(name(live))?.strip_prefix(b".")?;
    let digits = suffix.split(|byte| *byte == b'.').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether `path` looks like a name given to the log `of`, or to a copy of it, when it was put aside.
pub(super) fn is_aside_of(path: &Path, of: &Path) -> bool {
    let (aside, log) = (name(path), name(of));
    if aside == log {
        return false;
    }
    let extends = aside.strip_prefix(log).is_some_and(|rest| matches!(rest.first(), Some(b'.' | b'-' | b'_' | b'~')));
    extends || before_rotation(path).is_some_and(|base| base == before_rotation(of).as_deref().unwrap_or(log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_mean_what_a_shell_means() {
        for (pattern, yes, no) in [
            ("access.log*", &["access.log", "access.log.1", "access.log-1.gz"][..], &["access.lo", "xaccess.log"][..]),
            ("*.log", &["a.log", ".log.log"][1..1], &[".a.log", "a.log.1"]),
            ("*", &["a"], &[".a"]),
            (".*", &[".a"], &["a"]),
            ("a?c", &["abc"], &["ac", "abbc"]),
            ("a[0-9]b", &["a5b"], &["axb", "ab"]),
            ("a[!0-9]b", &["axb"], &["a5b"]),
            ("a[]x]b", &["a]b", "axb"], &["ayb"]),
            ("a[x-]b", &["a-b", "axb"], &["ayb"]),
            ("a[b", &["a[b"], &["ab"]),
            ("*a*b*c", &["xaxbxc", "abc"], &["acb", "abcx"]),
        ] {
            for name in yes {
                assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} means {name}");
            }
            for name in no {
                assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} does not mean {name}");
            }
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_not_slow() {
        assert!(!matches("*a".repeat(200).as_bytes(), "a".repeat(199).as_bytes()));
    }

    #[test]
    fn rotated_names_are_told_from_live_ones() {
        for (path, base) in [
            ("access.log.1", Some("access.log")),
            ("access.log.12.gz", Some("access.log")),
            ("access.log-20261120", Some("access.log")),
            ("access.log-2026-11-20_10.gz", Some("access.log")),
            ("access-20261120.log", Some("access.log")),
            ("access.1.log.zst", Some("access.log")),
            ("access.log.gz", Some("access.log")),
            ("access.log", None),
            ("access", None),
            ("1", None),
            ("access_ssl.log", None),
            ("node12.log", None),
        ] {
            let found = before_rotation(Path::new(path)).map(|base| String::from_utf8(base).unwrap());
            assert_eq!(found.as_deref(), base, "{path}");
        }
        let aside = |path: &str, of: &str| is_aside_of(Path::new(path), Path::new(of));
        assert!(aside("/old/access.log.1", "/log/access.log"));
        assert!(aside("access.log.2.gz", "access.log.1"));
        assert!(aside("access.log.bak", "access.log"));
        assert!(!aside("access.log", "access.log.1"), "the live name");
        assert!(!aside("/b/access.log", "/a/access.log"));
        assert!(!aside("b.log", "a.log"));
        assert_eq!(generation(Path::new("a.log.2.gz"), Path::new("a.log")), Some(2));
        assert_eq!(generation(Path::new("a.log-20261120"), Path::new("a.log")), None);
    }
}
