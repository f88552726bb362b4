//! Refused: telling people of records in their logs that nobody can judge.
//!
//! A record that is longer than allowed, or that can be read in more than one way, is counted neither as good nor as
//! bad, and with it perhaps an error. The numbers are in `/metrics` and `/api/v1/sources`; which file they are from is
//! only known here, and is told in the log of the server: one sentence for each file and kind, with the count.
//!
//! - The first is told at once, what follows at most once a minute for each source, all of it together.
//! - Not more than [`MOST_FILES`] files are named and remembered; of the others it is told how many records they had.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What was found is told once in this time.
const EVERY_MS: u64 = 60_000;
/// So many files are named at once.
const MOST_FILES: usize = 8;

/// Why records were not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// They are longer than allowed.
    Oversize,
    /// They can be read in more than one way.
    Ambiguous,
}

impl Why {
    /// Its name in logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Oversize => "parse.oversize",
            Self::Ambiguous => "parse.ambiguous",
        }
    }
}

/// What is to be told of one source.
#[derive(Debug, Default)]
pub(super) struct Refused {
    found: BTreeMap<(Why, PathBuf), u64>,
    elsewhere: BTreeMap<Why, u64>,
    told_ms: Option<u64>,
}

impl Refused {
    /// Takes note of so many records in a file.
    pub(super) fn note(&mut self, why: Why, path: &Path, records: u64) {
        if records == 0 {
            return;
        }
        let key = (why, path.to_owned());
        let count = match self.found.len() < MOST_FILES || self.found.contains_key(&key) {
            true => self.found.entry(key).or_default(),
            false => self.elsewhere.entry(why).or_default(),
        };
        *count = count.saturating_add(records);
    }

    /// What is to be told now about the source of this name: one sentence each.
    pub(super) fn tell(&mut self, source: &str, now_ms: u64) -> Vec<(Why, String)> {
        let was_just_told = self.told_ms.is_some_and(|told_ms| now_ms.saturating_sub(told_ms) < EVERY_MS);
        if self.found.is_empty() || was_just_told {
            return Vec::new();
        }
        self.told_ms = Some(now_ms);
        let found = std::mem::take(&mut self.found).into_iter();
        let found = found.map(|((why, path), count)| (why, path.display().to_string(), count));
        let elsewhere = std::mem::take(&mut self.elsewhere).into_iter();
        let all = found.chain(elsewhere.map(|(why, count)| (why, "other files".to_owned(), count)));
        all.map(|(why, place, count)| (why, sentence(why, source, &place, count))).collect()
    }
}

fn sentence(why: Why, source: &str, place: &str, count: u64) -> String {
    let (records, are) = if count == 1 { ("record", "is") } else { ("records", "are") };
    let what = match why {
        Why::Oversize => "longer than max_line and not counted; raise max_line if they are requests",
        Why::Ambiguous => {
            "to be read in more than one way and counted neither as good nor as bad; have the server escape what clients \
             send, or log JSON"
        }
    };
    format!("source {source}: {place}: {count} {records} {are} {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(refused: &mut Refused, now_ms: u64) -> Vec<String> {
        refused.tell("lb", now_ms).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn the_first_is_told_at_once_and_the_rest_once_a_minute() {
        let mut refused = Refused::default();
        let (a, b) = (Path::new("/log/a"), Path::new("/log/b"));
        assert!(told(&mut refused, 0).is_empty());
        refused.note(Why::Oversize, a, 1);
        refused.note(Why::Oversize, a, 0);
        let sentence =
            "source lb: /log/a: 1 record is longer than max_line and not counted; raise max_line if they are requests";
        assert_eq!(told(&mut refused, 500), [sentence]);
        for now_ms in [600, 30_000, 60_499] {
            refused.note(Why::Oversize, b, 1);
            refused.note(Why::Ambiguous, b, 2);
            assert!(told(&mut refused, now_ms).is_empty(), "at {now_ms}");
        }
        let found = refused.tell("lb", 60_500);
        assert_eq!(found.iter().map(|(why, _)| why.name()).collect::<Vec<_>>(), ["parse.oversize", "parse.ambiguous"]);
        assert!(found[0].1.starts_with("source lb: /log/b: 3 records are longer than"), "{found:?}");
        assert!(
            found[1].1.starts_with("source lb: /log/b: 6 records are to be read in more than one way"),
            "{found:?}"
        );
        assert!(told(&mut refused, 1_000_000).is_empty(), "nothing new");
    }

    #[test]
    fn of_many_files_some_are_named_and_all_are_counted() {
        let mut refused = Refused::default();
        for number in 0..10_000 {
            refused.note(Why::Ambiguous, Path::new(&format!("/log/{number:05}")), 2);
        }
        refused.note(Why::Ambiguous, Path::new("/log/00003"), 5);
        let told = told(&mut refused, 0);
        assert_eq!(told.len(), MOST_FILES + 1);
        assert!(told[3].starts_with("source lb: /log/00003: 7 records are "), "{}", told[3]);
        assert!(told[MOST_FILES].starts_with("source lb: other files: 19984 records are "), "{}", told[MOST_FILES]);
    }
}
