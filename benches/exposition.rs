//! What reading a page of metrics costs: `cargo bench --bench exposition`.
//!
//! The page has 5.3 MB of histograms. Before the figures of each way to read it comes a table of how many times as fast
//! as prometheus-parse it is, of rounds in which all of them take turns: a machine that is busy for a while is busy for
//! all.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use slogate::formats::exposition::{End, Format, Key, Limits, Page, Scratch};
use slogate::selector::{Selector, Selectors};
use slogate::series::{MemoryLimits, Reader, Target};
use slogate::time::Stopwatch;

#[path = "support/metrics.rs"]
mod metrics;

const READ: (Format, End) = (Format::Text, End::Certain);

/// A way to read the page, with its name and how many times as fast as prometheus-parse it has to be.
struct Way {
    name: &'static str,
    at_least: u64,
    read: Box<dyn FnMut()>,
}

fn ways() -> Vec<Way> {
    let page = Arc::new(metrics::page(1_000));
    let way = |name, at_least, read: Box<dyn FnMut()>| Way { name, at_least, read };
    let peer = {
        let page = Arc::clone(&page);
        move || {
            let lines = page.lines().map(|line| Ok(line.to_owned()));
            black_box(prometheus_parse::Scrape::parse(lines).expect("lines of memory"));
        }
    };
    let lexed = {
        let page = Arc::clone(&page);
        let mut scratch = Scratch::default();
        move || {
            let read = Page::new(page.as_bytes(), READ, Limits::default(), Key::random(), &mut scratch);
            let mut page = read.expect("the page is sound");
            while let Some(entry) = page.next_entry().expect("the page is sound") {
                black_box(entry);
            }
        }
    };
    vec![
        way("prometheus-parse", 1, Box::new(peer)),
        way("every sample lexed", 25, Box::new(lexed)),
        way("all selected, first scrape", 25, first_scrape(metrics::ALL)),
        way("all selected, next scrape", 45, next_scrape(metrics::ALL)),
        way("2% selected, first scrape", 100, first_scrape(metrics::SOME)),
        way("2% selected, next scrape", 100, next_scrape(metrics::SOME)),
        way("all selected, one line more", 25, departing_scrape(metrics::ALL)),
    ]
}

fn reader(selector: &str) -> Reader {
    let selector = Selector::parse(selector).expect("the selector is sound");
    Reader::new(Arc::new(Selectors::new(vec![selector])), Limits::default(), MemoryLimits::default())
}

/// Reads the page of a target that was never scraped.
fn first_scrape(selector: &str) -> Box<dyn FnMut()> {
    let (page, mut reader) = (metrics::page(1_000), reader(selector));
    Box::new(move || {
        let mut target = Target::default();
        black_box(reader.read(&mut target, page.as_bytes(), READ).expect("the page is sound"));
    })
}

/// Reads the page of a target whose other values are known.
fn next_scrape(selector: &str) -> Box<dyn FnMut()> {
    let (pages, mut reader) = ([metrics::page(1_000), metrics::page(1_001)], reader(selector));
    let mut target = Target::default();
    reader.read(&mut target, pages[0].as_bytes(), READ).expect("the page is sound");
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        let reading = reader.read(&mut target, pages[turn % 2].as_bytes(), READ).expect("the page is sound");
        assert!(reading.was_followed);
        black_box(reading);
    })
}

/// Reads pages that alternate in whether they have a line at their beginning.
fn departing_scrape(selector: &str) -> Box<dyn FnMut()> {
    let (page, mut reader) = (metrics::page(1_000), reader(selector));
    let pages = [format!("up 1\n{page}"), page];
    let mut target = Target::default();
    reader.read(&mut target, pages[0].as_bytes(), READ).expect("the page is sound");
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        let reading = reader.read(&mut target, pages[turn % 2].as_bytes(), READ).expect("the page is sound");
        assert!(!reading.was_followed);
        black_box(reading);
    })
}

/// Prints how many times as fast as the first of the ways each is: the median of rounds.
fn ratios(_: &mut Criterion) {
    const ROUNDS: usize = 9;
    // So many pages that a millisecond is little beside them.
    const PAGES: [u64; 7] = [2, 80, 60, 300, 80, 300, 60];
    let mut ways = ways();
    let bytes = metrics::page(1_000).len();
    let mut speeds: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for ((way, pages), speeds) in ways.iter_mut().zip(PAGES).zip(&mut speeds) {
            let watch = Stopwatch::start();
            (0..pages).for_each(|_| (way.read)());
            speeds.push(pages as f64 / watch.elapsed_ms().max(1) as f64);
        }
    }
    println!("{:32} {:>9} {:>9} {:>9}", "way to read 5.3 MB", "MB/s", "times", "at least");
    for (way, own) in ways.iter().zip(&speeds) {
        let times = median(own.iter().zip(&speeds[0]).map(|(own, peer)| own / peer).collect());
        let megabytes = median(own.clone()) * bytes as f64 / 1e3;
        println!("{:32} {megabytes:>9.0} {times:>9.1} {:>9}", way.name, way.at_least);
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn exposition(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exposition");
    group.throughput(Throughput::Bytes(metrics::page(1_000).len() as u64));
    for mut way in ways() {
        group.bench_function(way.name, |bench| bench.iter(&mut way.read));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2)).warm_up_time(std::time::Duration::from_millis(300));
    targets = ratios, exposition
}
criterion_main!(benches);
