//! Twenty-eight full days of counts, as the benches of the store and the server start from.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use slogate::counts::{BUCKETS, Batch, Column, Durations, Page, Took, bucket_of, columns, request_sets};
use slogate::demo::FORMAT;
use slogate::spec::{Catalog, SourceId};
use slogate::store::{self, Commit, Redb, Writer};
use slogate::time::{Horizon, Timestamp};

const HOUR_MS: i64 = 3_600_000;

/// Writes specs of so many SLOs: four kinds for each story, about the same requests.
pub fn write_specs(directory: &Path, slos: usize, listen: &str) {
    let engine = format!(
        "[server]\nlisten = \"{listen}\"\n[store]\nurl = \"redb:slogate.redb\"\n[[source]]\nname = \"lb\"\n\
        [source.file]\npaths = [\"access.log\"]\nnginx = '{FORMAT}'\n[gate]\non_unknown = \"deny\"\n"
    );
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

/// Makes a store in which every minute of so many days before `now` is counted, and returns how many commits it took.
pub fn fill(path: &Path, catalog: &Arc<Catalog>, days: i64, now: Timestamp) -> u64 {
    let store = Arc::new(Redb::open(path).expect("a store can be created"));
    let (mut engine, loaded) =
        store::restore(&*store, catalog.clone(), Horizon::DAYS_28, now).expect("an empty store can be read");
    let mut writer = Writer::new(store, loaded.revision);
    for hour in (0..days * 24).rev() {
        let hour = now.minute().hour() - hour - 1;
        engine.observe(batch(catalog, hour, 0..60, 1 + hour as u64));
        let checkpoint = engine.checkpoint();
        writer.commit(Commit { checkpoint, ..Commit::default() }).expect("the disk has room");
    }
    writer.revision()
}

/// Up to 300 requests a minute of every SLO, one in 250 minutes with bad ones among them, and how long they took.
pub fn batch(catalog: &Catalog, hour: i64, rows: std::ops::Range<usize>, seed: u64) -> Batch {
    let columns = columns(catalog, SourceId(0));
    let mut page = Page::new(hour);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let minutes = rows.len() as u64;
    for row in rows {
        for (place, column) in columns.iter().enumerate() {
            let dice = next(&mut state);
            let good = (dice >> 7) as u32 % 300;
            let bad = if dice.is_multiple_of(250) { good / 20 + 1 } else { 0 };
            let (good, bad) = match column {
                Column::Slo(_) => (good, bad),
                Column::Records => (100_000 + good, bad),
                Column::Missing | Column::Arrivals => continue,
            };
            let hour = page.column_mut(place);
            (hour.good[row], hour.bad[row]) = (good, bad);
        }
    }
    let sets = 0..request_sets(catalog, SourceId(0)).len();
    let durations = sets.map(|set| durations(hour, set, 150 * minutes, &mut state)).collect();
    let newest = Some(Timestamp::from_millis(hour * HOUR_MS + HOUR_MS - 1));
    let (rejected, samples, unmatched) = (BTreeMap::new(), Vec::new(), Vec::new());
    let newest = vec![newest; columns.len()];
    let (source, pages, records, unread_run) = (SourceId(0), vec![page], 0, 0);
    let batch =
        Batch { source, pages, newest, rejected, truncated: 0, records, unread_run, samples, unmatched, durations };
    Batch { records: batch.accounted(), ..batch }
}

/// So many durations about 60 ms: half of them below it, one in a thousand above half a second.
fn durations(hour: i64, set: usize, requests: u64, state: &mut u64) -> Durations {
    let mut counts = vec![0; BUCKETS];
    for _ in 0..requests {
        // The sum of eight dice is near enough to a normal distribution, and its power to what services take.
        let dice = next(state).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().map(f64::from).iter().sum::<f64>();
        let us = (60_000.0 * ((dice - 1_020.0) / 300.0).exp()) as u64;
        counts[usize::from(bucket_of(us))] += 1;
    }
    let cells = (0..).zip(counts).filter(|(_, count)| *count > 0).collect();
    Durations { hour, set, took: Took::Cells(cells) }
}

/// The next 32 bits of a linear congruential generator.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}
