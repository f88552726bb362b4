use std::io::Read;

use flate2::read::MultiGzDecoder;
use tempfile::TempDir;

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A log of its own from half past ten two days ago until one.
struct Bench {
    temp: TempDir,
    traffic: Traffic,
    from: Timestamp,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        let (from, now) = (at("2026-11-17T22:30:00Z"), at("2026-11-20T01:00:30.500Z"));
        Self { temp: tempfile::tempdir().unwrap(), traffic: Traffic::new(28, now), from, now }
    }

    fn directory(&self) -> PathBuf {
        self.temp.path().join("logs")
    }

    fn create(&self) -> (Logs<'_>, u64) {
        Logs::create(&self.directory(), &self.traffic, (self.from, self.now), &Stop::default()).unwrap().unwrap()
    }

    /// What there should be, up to just before `to`.
    fn expected(&self, to: Timestamp) -> String {
        let mut text = Vec::new();
        print_span(&self.traffic, (self.from, to), &mut Printer::default(), &mut text);
        String::from_utf8(text).unwrap()
    }

    /// Names and texts of the logs, the oldest first.
    fn logs(&self) -> Vec<(String, String)> {
        let mut logs: Vec<(usize, String, String)> = fs::read_dir(self.directory())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let age = name.split('.').find_map(|part| part.parse().ok()).unwrap_or(0);
                (age, name, text(&path))
            })
            .collect();
        logs.sort_by_key(|(age, ..)| std::cmp::Reverse(*age));
        logs.into_iter().map(|(_, name, text)| (name, text)).collect()
    }

    fn names(&self) -> Vec<String> {
        self.logs().into_iter().map(|(name, _)| name).collect()
    }

    fn all(&self) -> String {
        self.logs().into_iter().map(|(_, text)| text).collect()
    }
}

fn text(path: &Path) -> String {
    let (mut text, file) = (String::new(), File::open(path).unwrap());
    match path.extension().is_some_and(|extension| extension == "gz") {
        true => MultiGzDecoder::new(file).read_to_string(&mut text).unwrap(),
        false => (&file).read_to_string(&mut text).unwrap(),
    };
    text
}

#[test]
fn the_history_is_a_log_for_each_day_and_nothing_is_missing() {
    let bench = Bench::new();
    let (_, lines) = bench.create();
    assert_eq!(bench.names(), ["access.log.3.gz", "access.log.2.gz", "access.log.1", "access.log"]);
    assert!(bench.all() == bench.expected(bench.now), "the logs together are what happened");
    assert_eq!(bench.all().lines().count() as u64, lines);
    for (name, day) in [
        ("access.log.3.gz", "17/Nov"),
        ("access.log.2.gz", "18/Nov"),
        ("access.log.1", "19/Nov"),
        ("access.log", "20/Nov"),
    ] {
        let text = text(&bench.directory().join(name));
        assert!(text.lines().count() > 500 && text.lines().all(|line| line.contains(day)), "{name}");
    }
}

#[test]
fn what_happens_is_written_once_whatever_the_clock_does() {
    let bench = Bench::new();
    let (mut logs, _) = bench.create();
    for millis in [0, 1, 499, 500, 61_000, 61_000, 20_000, -HOUR_MS, 3 * HOUR_MS] {
        logs.write_until(bench.now.plus_millis(millis)).unwrap();
    }
    assert!(bench.all() == bench.expected(bench.now.plus_millis(3 * HOUR_MS)));
}

#[test]
fn of_a_long_pause_a_day_is_made_up_for() {
    let bench = Bench::new();
    let (mut logs, _) = bench.create();
    let before = bench.all().len();
    let later = bench.now.plus_millis(20 * 24 * HOUR_MS);
    logs.write_until(later).unwrap();
    let mut day = Vec::new();
    print_span(&bench.traffic, (later.plus_millis(-DAY_MS), later), &mut Printer::default(), &mut day);
    assert!(bench.all().as_bytes()[before..] == day);
}

#[test]
fn rotation_moves_every_log_on_and_packs_the_one_before_the_last() {
    let bench = Bench::new();
    let (mut logs, _) = bench.create();
    logs.rotate().unwrap();
    // Nothing was written since.
    logs.rotate().unwrap();
    let names = ["access.log.4.gz", "access.log.3.gz", "access.log.2.gz", "access.log.1", "access.log"];
    assert_eq!(bench.names(), names);
    assert_eq!(text(&bench.directory().join("access.log")), "");
    logs.write_until(bench.now.plus_millis(HOUR_MS)).unwrap();
    logs.rotate().unwrap();
    assert_eq!(bench.names(), [&["access.log.5.gz"], &names[..]].concat());
    assert!(bench.all() == bench.expected(bench.now.plus_millis(HOUR_MS)));
}

#[test]
fn there_are_only_so_many_logs() {
    let bench = Bench::new();
    let (mut logs, _) = bench.create();
    for minute in 1..=KEPT as i64 + 2 {
        logs.write_until(bench.now.plus_millis(minute * MILLIS_PER_MINUTE)).unwrap();
        logs.rotate().unwrap();
    }
    let names = bench.names();
    assert_eq!((names.len(), names[0].as_str()), (KEPT + 1, format!("access.log.{KEPT}.gz").as_str()));
    let newest = bench.expected(bench.now.plus_millis((KEPT as i64 + 2) * MILLIS_PER_MINUTE));
    assert!(newest.ends_with(&bench.all()), "the oldest went first");
}

#[test]
fn whoever_is_told_to_stop_writes_no_four_weeks() {
    let bench = Bench::new();
    let stop = Stop::default();
    stop.tell();
    let span = (bench.from, bench.now);
    assert!(Logs::create(&bench.directory(), &bench.traffic, span, &stop).unwrap().is_none());
    assert_eq!(bench.all(), "");
}

#[test]
fn a_directory_that_cannot_be_had_is_named() {
    let bench = Bench::new();
    let nowhere = bench.temp.path().join("no/where");
    let refused = Logs::create(&nowhere, &bench.traffic, (bench.from, bench.now), &Stop::default());
    let why = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(why.starts_with(&format!("{}: ", nowhere.display())), "{why}");
}
