use std::path::Path;

use super::*;
use crate::classify::Classifier;
use crate::formats::Technique;
use crate::spec;

const ENGINE: &str = r#"
[[source]]
name = "lb"
[source.file]
paths = ["access.log"]
format = "common"
max_line = 1024
[gate]
on_unknown = "deny"
"#;
const STORY: &str = r#"
[story]
name = "shop"
[[slo]]
name = "availability"
objective = 99.0
[slo.availability]
source = "lb"
requests = ["GET /shop"]
"#;

/// Each letter is a line: read, not matched, unparsed, oversize, truncated, of the future. A blank ends a block, `/` a
/// batch. What every batch says: its records, those not to be read, and how many of its last ones could not be.
#[track_caller]
fn check(letters: &str, batches: &[(u64, u64, u64)]) {
    let texts = [("slogate.toml", ENGINE), ("shop.toml", STORY)];
    let catalog = spec::load_texts(Path::new("specs"), &texts).unwrap().catalog;
    let classifier = Classifier::new(&catalog, SourceId(0)).unwrap();
    let request =
        |day: u32, path: &str| format!("a - - [{day}/Nov/2026:10:12:00 +0000] \"GET {path} HTTP/1.1\" 200 5\n");
    let line = |letter: char| match letter {
        'r' => request(20, "/shop"),
        'n' => request(20, "/"),
        'u' => "GET /shop\n".to_owned(),
        'o' => "x".repeat(2_000) + "\n",
        't' => request(20, "/shop").replace(" 5\n", &format!(" 5{}\n", " x".repeat(1_000))),
        'f' => request(29, "/shop"),
        other => panic!("no line is called {other}"),
    };
    for technique in [Technique::Portable, Technique::fastest()] {
        let mut counter = Counter::new(&catalog, SourceId(0), &classifier, technique);
        let latest = Timestamp::parse_rfc3339("2026-11-21T00:00:00Z").unwrap();
        counter.set_bounds(Bounds { latest, ..Bounds::NONE });
        for (letters, expected) in letters.split('/').zip(batches) {
            for block in letters.split(' ') {
                counter.count(block.chars().map(line).collect::<String>().as_bytes());
            }
            let batch = counter.take();
            assert_eq!((batch.records, batch.unread(), batch.unread_run), *expected, "{letters}");
            assert_eq!(batch.accounted(), batch.records, "{letters}");
        }
    }
}

#[test]
fn every_record_is_accounted_for_and_those_are_known_that_could_not_be_read() {
    check("rnf/ruo/", &[(3, 0, 0), (3, 2, 2), (0, 0, 0)]);
}

#[test]
fn b21_a_run_of_records_that_cannot_be_read_goes_over_blocks_and_ends_with_one_that_can() {
    check("uuu/u/", &[(3, 3, 3), (1, 1, 1), (0, 0, 0)]);
    check("uru", &[(3, 2, 1)]);
    check("ruu uu o", &[(6, 5, 5)]);
    check("uu ru", &[(4, 3, 1)]);
    check("uu r", &[(3, 2, 0)]);
    check("uu f u", &[(4, 3, 1)]);
    check("uot/oo t/to", &[(3, 2, 0), (3, 2, 0), (2, 1, 1)]);
    check("uu  u/r u", &[(3, 3, 3), (2, 1, 1)]);
}

#[test]
fn lines_without_an_end_are_records_too() {
    let texts = [("slogate.toml", ENGINE), ("shop.toml", STORY)];
    let catalog = spec::load_texts(Path::new("specs"), &texts).unwrap().catalog;
    let classifier = Classifier::new(&catalog, SourceId(0)).unwrap();
    let mut counter = Counter::new(&catalog, SourceId(0), &classifier, Technique::fastest());
    let whole = b"a - - [20/Nov/2026:10:12:00 +0000] \"GET /shop HTTP/1.1\" 200 5";
    for end in [12, whole.len() - 4] {
        counter.count_unfinished(&whole[..end]);
        let batch = counter.take();
        assert_eq!((batch.records, batch.accounted(), batch.unread_run), (1, 1, 1), "{end}");
    }
    counter.count_oversize(b"xxx");
    counter.count_oversize(b"xxx");
    let batch = counter.take();
    assert_eq!((batch.records, batch.accounted(), batch.unread_run, batch.truncated), (2, 2, 2, 0));
    // a16: however much of a line is at hand, it comes out by what is kept of every line.
    let head = " [20/Nov/2026:10:12:00 +0000] \"GET /shop HTTP/1.1\" 500 ";
    for spare in [900, 1, 0, -1, -500] {
        let user = "x".repeat((1_024 - 4 - head.len() as isize - spare) as usize);
        let (line, is_within) = (format!("a - {user}{head}{}", "5".repeat(2_000)), spare >= 0);
        let expected = if is_within { (1, 1, 0, 1, 0) } else { (1, 1, 1, 0, 1) };
        let mut check = |count: &dyn Fn(&mut Counter<'_>)| {
            count(&mut counter);
            let batch = counter.take();
            let unread = (batch.unread_run, batch.truncated, batch.unread());
            assert_eq!(
                (batch.records, batch.accounted(), unread.0, unread.1, unread.2),
                expected,
                "{spare} bytes to spare"
            );
        };
        check(&|counter| counter.count(format!("{line}\n").as_bytes()));
        check(&|counter| counter.count_unfinished(line.as_bytes()));
        check(&|counter| counter.count_oversize(line.as_bytes()));
        check(&|counter| counter.count_oversize(&line.as_bytes()[..1_024]));
    }
}
