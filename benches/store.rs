//! How large a store is, how long it takes to be ready, and what a commit costs: `cargo bench --bench store`.
//!
//! A thousand SLOs of four kinds with every minute of 28 days counted. The history is committed an hour at a time, as
//! when logs are read from their beginning, then some minutes are committed second by second, as when they are followed.
//! `SLOGATE_BENCH_SLOS` and `SLOGATE_BENCH_DAYS` change the amount, `SLOGATE_BENCH_DIR` the place.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use slogate::counts::{Batch, Column, Page, columns};
use slogate::spec::{Catalog, SourceId};
use slogate::store::{self, Commit, Redb, Store, Writer};
use slogate::time::{Clock, Horizon, SystemClock, Timestamp};

/// 2026-11-20T10:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_795_168_800);
const HOUR_MS: i64 = 3_600_000;
/// How many commits follow the history.
const LIVE_COMMITS: i64 = 1_800;

fn main() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let slos = number("SLOGATE_BENCH_SLOS").unwrap_or(1_000) as usize;
    let days = i64::from(number("SLOGATE_BENCH_DAYS").unwrap_or(28));
    let directory = std::env::var("SLOGATE_BENCH_DIR").map_or(std::env::temp_dir(), Into::into);
    let directory = directory.join(format!("slogate-bench-store-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    write_specs(&directory, slos);
    let catalog = Arc::new(slogate::spec::load(&directory).expect("the specs are valid").catalog);
    let path = directory.join("slogate.redb");

    let (read, ms) = timed(|| fill(&path, &catalog, days));
    println!("{slos} SLOs, {days} days, {read} commits of history: {ms} ms, {}", size(&path));
    let (slowest, ms) = timed(|| follow(&path, &catalog));
    println!(
        "{LIVE_COMMITS} commits as when following: {} us each, slowest {slowest} ms, {}",
        ms * 1_000 / LIVE_COMMITS,
        size(&path)
    );
    let (store, ms) = timed(|| Redb::open(&path).expect("the store can be opened"));
    println!("open, every checksum verified: {ms} ms");
    let (engine, ms) =
        timed(|| store::restore(&store, catalog.clone(), Horizon::DAYS_28, NOW).expect("the store can be read").0);
    println!("restore: {ms} ms, resident {}", resident());
    let (board, ms) = timed(|| {
        let mut engine = engine;
        engine.tick(NOW)
    });
    println!("first board: {ms} ms, {} events of the first SLO", board.slos[0].standing.tally.total());
    let ((), ms) = timed(|| store.check().expect("the store is sound"));
    println!("check: {ms} ms");
    drop(store);
    let _ = std::fs::remove_dir_all(&directory);
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, i64) {
    let start = SystemClock.now();
    let done = work();
    (done, SystemClock.now().millis() - start.millis())
}

fn fill(path: &Path, catalog: &Arc<Catalog>, days: i64) -> u64 {
    let store = Arc::new(Redb::open(path).expect("a store can be created"));
    let (mut engine, loaded) =
        store::restore(&*store, catalog.clone(), Horizon::DAYS_28, NOW).expect("an empty store can be read");
    let mut writer = Writer::new(store, loaded.revision);
    for hour in (0..days * 24).rev() {
        let hour = NOW.minute().hour() - hour - 1;
        engine.observe(batch(catalog, hour, 0..60, 1 + hour as u64));
        let checkpoint = engine.checkpoint();
        writer.commit(Commit { checkpoint, ..Commit::default() }).expect("the disk has room");
    }
    writer.revision()
}

/// Commits second by second, and returns how long the slowest one took, in milliseconds.
fn follow(path: &Path, catalog: &Arc<Catalog>) -> i64 {
    let store = Arc::new(Redb::open(path).expect("the store can be opened"));
    let (mut engine, loaded) =
        store::restore(&*store, catalog.clone(), Horizon::DAYS_28, NOW).expect("the store can be read");
    let mut writer = Writer::new(store, loaded.revision);
    let mut slowest = 0;
    for second in 0..LIVE_COMMITS {
        let now = NOW.plus_millis(second * 1_000);
        engine.tick(now);
        let minute = now.minute().number().rem_euclid(60) as usize;
        engine.observe(batch(catalog, now.minute().hour(), minute..minute + 1, second as u64));
        let checkpoint = engine.checkpoint();
        let (made, ms) = timed(|| writer.commit(Commit { checkpoint, ..Commit::default() }));
        made.expect("the disk has room");
        slowest = slowest.max(ms);
    }
    slowest
}

/// Up to 300 requests a minute of every SLO, one in a hundred bad.
fn batch(catalog: &Catalog, hour: i64, rows: std::ops::Range<usize>, seed: u64) -> Batch {
    let columns = columns(catalog, SourceId(0));
    let mut page = Page::new(hour);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for row in rows {
        for (place, column) in columns.iter().enumerate() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let good = (state >> 40) as u32 % 300;
            let bad = if (state >> 33).is_multiple_of(100) { good / 20 + 1 } else { 0 };
            let (good, bad) = match column {
                Column::Slo(_) => (good, bad),
                Column::Records => (100_000 + good, bad),
                Column::Missing | Column::Arrivals => continue,
            };
            let hour = page.column_mut(place);
            (hour.good[row], hour.bad[row]) = (good, bad);
        }
    }
    let newest = Some(Timestamp::from_millis(hour * HOUR_MS + HOUR_MS - 1));
    let (rejected, samples, unmatched) = (BTreeMap::new(), Vec::new(), Vec::new());
    let newest = vec![newest; columns.len()];
    let (source, pages, records, unread_run) = (SourceId(0), vec![page], 0, 0);
    let batch =
        Batch { source, pages, newest, rejected, records, unread_run, samples, unmatched, durations: Vec::new() };
    Batch { records: batch.accounted(), ..batch }
}

fn write_specs(directory: &Path, slos: usize) {
    let engine = "[server]\nlisten = \"127.0.0.1:9999\"\n[store]\nurl = \"redb:slogate.redb\"\n[[source]]\nname = \"lb\"\n\
        [source.file]\npaths = [\"access.log\"]\nnginx = '$remote_addr [$time_local] \"$request\" $status $request_time'\n\
        [gate]\non_unknown = \"deny\"\n";
    std::fs::write(directory.join("slogate.toml"), engine).expect("the temporary directory is writable");
    for story in 0..slos.div_ceil(4) {
        let requests = format!("source = \"lb\"\nrequests = [\"GET /story{story}/{{id}}\"]\n");
        let mut text = format!("[story]\nname = \"story{story}\"\n");
        let kinds = [
            ("availability", ""),
            ("latency", "threshold = \"500ms\"\n"),
            ("percentile", "percentile = 99.0\nthreshold = \"500ms\"\nslice = \"1m\"\n"),
            ("throughput", "minimum = 1.0\nslice = \"5m\"\n"),
        ];
        for (kind, keys) in kinds.iter().take(slos - story * 4) {
            let _ = write!(text, "[[slo]]\nname = \"{kind}\"\nobjective = 99.0\n[slo.{kind}]\n{requests}{keys}");
        }
        std::fs::write(directory.join(format!("story{story}.toml")), text).expect("the directory is writable");
    }
}

fn size(path: &Path) -> String {
    let length = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    format!("{} MB", length / 1_000_000)
}

/// The memory that this process has used at most, and uses.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}
