//! Lists of targets: the files below a directory of specs that `file_sd` names, and that are therefore no specs.
//!
//! What is a list is known before anything is compiled, for neither reading nor looking may take one for a spec; so the
//! engine's file is read for this one key alone, and whatever else is in it, or wrong with it, is left to those who
//! read it in full.
//!
//! - Globs are those of `file_sd`: `*`, `?` and `[..]` stand for characters of one name and never for a slash, and a
//!   name that begins with a dot is meant only by a pattern that does.
//! - A file is compared by the path that led to it and by its real directory, so that `./` and links hide nothing.
//! - The engine's file is never a list.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::written::ENGINE_FILE;

/// Which files below one directory are lists of targets.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The engine's file.
    engine: PathBuf,
    /// As written, resolved against the directory; and with the part before the first wildcard as it really is.
    globs: Vec<PathBuf>,
}

impl Lists {
    /// The lists that the engine's file in `directory` names; none when it cannot be read.
    pub fn of(directory: &Path, longest: u64) -> Self {
        let engine = directory.join(ENGINE_FILE);
        let is_small = std::fs::metadata(&engine).is_ok_and(|found| found.is_file() && found.len() <= longest);
        let text = if is_small { std::fs::read_to_string(&engine).unwrap_or_default() } else { String::new() };
        let (tree, _) = DeTable::parse_recoverable(&text);
        let written = named(tree.get_ref()).into_iter().map(|glob| directory.join(glob));
        let globs = written.flat_map(|glob| [real(&glob), Some(glob)]).flatten().collect();
        Self { engine, globs }
    }

    /// Whether the file at `path`, in a folder that really is `folder`, is a list.
    pub fn hold(&self, path: &Path, folder: Option<&Path>) -> bool {
        let real = folder.zip(path.file_name()).map(|(folder, name)| folder.join(name));
        let is_meant = |path: &Path| self.globs.iter().any(|glob| means(glob, path));
        path != self.engine && (is_meant(path) || real.is_some_and(|real| is_meant(&real)))
    }
}

/// Every text under `file_sd` in `[[source]]` and `[source.scrape]`, whether or not the rest is sound.
fn named(engine: &DeTable<'_>) -> Vec<String> {
    let sources = engine.get("source").map(|source| array(source.get_ref())).unwrap_or_default();
    let lists =
        sources.iter().filter_map(|source| source.as_table()?.get("scrape")?.get_ref().as_table()?.get("file_sd"));
    let texts = lists.flat_map(|list| array(list.get_ref()));
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// The same glob with everything before its first wildcard as it really is; `None` when that is not there.
fn real(glob: &Path) -> Option<PathBuf> {
    let parts: Vec<_> = glob.components().collect();
    let is_pattern = |part: &std::path::Component<'_>| has_wildcard(part.as_os_str().as_encoded_bytes());
    // The last part is a name and stays as it is, or a link to a file would be compared as what it leads to.
    let literal = parts.iter().take(parts.len().saturating_sub(1)).take_while(|part| !is_pattern(part)).count();
    let folder: PathBuf = parts[..literal].iter().collect();
    let folder = if literal == 0 { PathBuf::from(".") } else { folder };
    Some(parts[literal..].iter().fold(std::fs::canonicalize(folder).ok()?, |path, part| path.join(part)))
}

fn has_wildcard(part: &[u8]) -> bool {
    part.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// The elements of an array; anything else is one by itself.
fn array<'d>(value: &DeValue<'d>) -> Vec<DeValue<'d>> {
    match value {
        DeValue::Array(array) => array.iter().map(|element| element.get_ref().clone()).collect(),
        other => vec![other.clone()],
    }
}

/// Whether `glob` means `path`, name by name.
fn means(glob: &Path, path: &Path) -> bool {
    let names = |path: &Path| path.components().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
    let (patterns, names) = (names(glob), names(path));
    let fits = |(pattern, name): (&std::ffi::OsString, &std::ffi::OsString)| {
        let (pattern, name) = (pattern.as_encoded_bytes(), name.as_encoded_bytes());
        let is_hidden = name.starts_with(b".") && !pattern.starts_with(b".");
        if has_wildcard(pattern) { !is_hidden && matches(pattern, name) } else { pattern == name }
    };
    patterns.len() == names.len() && patterns.iter().zip(&names).all(fits)
}

/// Whether `pattern` means `name`. Row by row of the usual table, so that no pattern is slow.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // Whether what was read of the pattern means the first so many bytes of the name.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    let mut rest = pattern;
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'*' {
            (1..=name.len()).for_each(|end| reached[end] |= reached[end - 1]);
            rest = behind;
            continue;
        }
        let (length, members) = element(rest);
        for end in (1..=name.len()).rev() {
            reached[end] = reached[end - 1] && stands_for(members, &rest[..length], name[end - 1]);
        }
        reached[0] = false;
        rest = &rest[length..];
    }
    reached[name.len()]
}

/// How long the element at the beginning of a pattern is, and the members of its class if it is one: a bracket directly
/// behind the opening one is a member, and one that is never closed stands for itself.
fn element(pattern: &[u8]) -> (usize, Option<(bool, &[u8])>) {
    let is_negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if is_negated { 2 } else { 1 };
    let tail = pattern.get(first + 1..).filter(|_| pattern[0] == b'[').unwrap_or_default();
    match tail.iter().position(|byte| *byte == b']') {
        Some(close) => (first + close + 2, Some((is_negated, &pattern[first..=first + close]))),
        None => (1, None),
    }
}

fn stands_for(class: Option<(bool, &[u8])>, element: &[u8], byte: u8) -> bool {
    match class {
        Some((is_negated, members)) => is_member(members, byte) != is_negated,
        None => element == b"?" || element == [byte],
    }
}

fn is_member(mut members: &[u8], byte: u8) -> bool {
    loop {
        members = match members {
            [first, b'-', last, ..] if (first..=last).contains(&&byte) => return true,
            [_, b'-', _, rest @ ..] => rest,
            [only, ..] if *only == byte => return true,
            [_, rest @ ..] => rest,
            [] => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_mean_what_file_sd_means_by_them() {
        for (glob, path, expected) in [
            ("/s/tg/*.toml", "/s/tg/a.toml", true),
            ("/s/tg/*.toml", "/s/tg/.a.toml", false),
            ("/s/tg/.*.toml", "/s/tg/.a.toml", true),
            ("/s/tg/*.toml", "/s/tg/x/a.toml", false),
            ("/s/*/*.toml", "/s/tg/a.toml", true),
            ("/s/./tg/a.toml", "/s/tg/a.toml", true),
            ("/s/tg/a.toml", "/s/tg/b.toml", false),
            ("/s/t?/[a-c].toml", "/s/tg/b.toml", true),
            ("/s/t?/[!a-c].toml", "/s/tg/b.toml", false),
            ("/s/[]x].toml", "/s/].toml", true),
            ("/s/[x.toml", "/s/[x.toml", true),
            ("/s/*a*b*.toml", "/s/xaybz.toml", true),
            ("/s/*a*b*.toml", "/s/xbya.toml", false),
            ("/s/*", "/s/", false),
        ] {
            assert_eq!(means(Path::new(glob), Path::new(path)), expected, "{glob} {path}");
        }
        let slow = "*a".repeat(200);
        assert!(!matches(slow.as_bytes(), "a".repeat(150).as_bytes()));
    }

    #[test]
    fn only_file_sd_of_scraped_sources_names_lists() {
        let text = "[[source]]\nname = \"a\"\n[source.scrape]\nfile_sd = [\"x/*.toml\", 7]\n\
                    [[source]]\n[source.file]\npaths = [\"y.toml\"]\n[[source]]\n[source.scrape]\nfile_sd = \"z.toml\"\n";
        assert_eq!(named(DeTable::parse_recoverable(text).0.get_ref()), ["x/*.toml", "z.toml"]);
        assert!(named(DeTable::parse_recoverable("source = 7").0.get_ref()).is_empty());
    }
}
