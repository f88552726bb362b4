//! How large a store is, how long it takes to be ready, and what a commit costs: `cargo bench --bench store`.
//!
//! A thousand SLOs of four kinds with every minute of 28 days counted. The history is committed an hour at a time, as
//! when logs are read from their beginning, then some minutes are committed second by second, as when they are
//! followed. `SLOGATE_BENCH_SLOS` and `SLOGATE_BENCH_DAYS` change the amount, `SLOGATE_BENCH_DIR` the place.

use std::path::Path;
use std::sync::Arc;

use slogate::spec::Catalog;
use slogate::store::{self, Commit, Redb, Store, Writer};
use slogate::time::{Clock, Horizon, SystemClock, Timestamp};

#[path = "support/history.rs"]
mod history;

use history::batch;

/// 2026-11-20T10:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_795_168_800);
/// How many commits follow the history.
const LIVE_COMMITS: i64 = 1_800;

fn main() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let slos = number("SLOGATE_BENCH_SLOS").unwrap_or(1_000) as usize;
    let days = i64::from(number("SLOGATE_BENCH_DAYS").unwrap_or(28));
    let directory = std::env::var("SLOGATE_BENCH_DIR").map_or(std::env::temp_dir(), Into::into);
    let directory = directory.join(format!("slogate-bench-store-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    history::write_specs(&directory, slos, "127.0.0.1:9999");
    let catalog = Arc::new(slogate::spec::load(&directory).expect("the specs are valid").catalog);
    let path = directory.join("slogate.redb");

    let (read, ms) = timed(|| history::fill(&path, &catalog, days, NOW));
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
