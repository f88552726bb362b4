//! What each stage of a line costs: `cargo bench --bench stages`.
//!
//! The stages are cumulative only in `count`; the others are measured by themselves, on the same 4 MiB of log.
//! Throughput is that of the log's bytes, so that a stage's share of the whole can be read off.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use slogate::classify::Classifier;
use slogate::counts::Counter;
use slogate::engine::Engine;
use slogate::formats::{Index, LineReader, Request, Target, Technique, Template, fields};
use slogate::spec::{Catalog, SourceId, load_texts};

#[path = "support/traffic.rs"]
mod traffic;

const SOURCE: SourceId = SourceId(0);

/// Two SLOs for each of the first `routes` routes.
fn catalog(routes: usize) -> Catalog {
    let mut files = vec![(
        "slogate.toml".to_owned(),
        format!(
            "[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"x\"]\nnginx = '{}'\n[gate]\non_unknown = \"deny\"\n",
            traffic::FORMAT
        ),
    )];
    for route in 0..routes {
        let requests = format!("source = \"lb\"\nrequests = [\"GET {}\"]", traffic::pattern(route));
        let text = format!(
            "[story]\nname = \"s{route}\"\n[[slo]]\nname = \"a\"\nobjective = 99.9\n[slo.availability]\n{requests}\n\
             [[slo]]\nname = \"l\"\nobjective = 99\n[slo.latency]\nthreshold = \"300ms\"\n{requests}\n"
        );
        files.push((format!("s{route}.toml"), text));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    load_texts("specs".as_ref(), &files).expect("the specs of the bench are sound").catalog
}

fn log() -> Vec<u8> {
    let mut log = Vec::new();
    // As dense as a gigabyte of 28 days: 4 MiB last 160 minutes.
    traffic::write_log(&mut log, 4 << 20, 160).expect("to memory");
    log
}

fn stages(criterion: &mut Criterion) {
    let log = log();
    let catalog = catalog(traffic::ROUTES);
    let template = Template::nginx(traffic::FORMAT, false).expect("the format is sound");
    let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();

    let mut group = criterion.benchmark_group("stages");
    group.throughput(Throughput::Bytes(log.len() as u64));
    for technique in Technique::available() {
        let mut index = Index::new(technique);
        group.bench_function(format!("index/{technique:?}"), |bench| {
            bench.iter(|| log.chunks(256 * 1024).for_each(|block| index.fill(black_box(block))));
        });
    }

    let mut whole = Index::new(Technique::fastest());
    whole.fill(&log);
    let quotes = whole.quotes();
    group.bench_function("fields", |bench| {
        let mut reader = LineReader::new(&template);
        bench.iter(|| {
            let (mut start, mut quote) = (0, 0);
            for end in whole.newlines() {
                let of_line = &quotes[quote..quote + 6];
                let end = *end as usize;
                black_box(reader.read_indexed(&log[start..], end - start, of_line, start as u32)).expect("sound lines");
                start = end + 1;
                quote += 6;
            }
        });
    });

    let times: Vec<&[u8]> = lines
        .iter()
        .map(|line| {
            let bracket = line.iter().position(|byte| *byte == b'[').expect("a time");
            &line[bracket + 1..bracket + 27]
        })
        .collect();
    group.bench_function("time", |bench| {
        let mut reader = fields::TimeReader::default();
        bench.iter(|| {
            for time in &times {
                black_box(reader.read(fields::TimeNotation::Local, black_box(time)));
            }
        });
    });

    let classifier = Classifier::new(&catalog, SOURCE).expect("the patterns are simple");
    let requests: Vec<Request<'_>> = read(&template, &log, &lines);
    group.bench_function("route", |bench| {
        bench.iter(|| {
            for request in &requests {
                black_box(classifier.classify(black_box(request)));
            }
        });
    });

    group.bench_function("count", |bench| {
        let mut counter = Counter::new(&catalog, SOURCE, &classifier, Technique::fastest());
        bench.iter(|| {
            for block in blocks(&log) {
                counter.count(block);
            }
            black_box(counter.take());
        });
    });

    let mut counter = Counter::new(&catalog, SOURCE, &classifier, Technique::fastest());
    counter.count(&log);
    let batch = counter.take();
    let shared = Arc::new(catalog);
    group.bench_function("observe", |bench| {
        bench.iter_batched(
            || (Engine::new(Arc::clone(&shared)), batch.clone()),
            |(mut engine, batch)| {
                engine.advance(batch.newest_record().expect("there are records"));
                engine.observe(batch);
                engine
            },
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// The requests of these lines, each with the rest of the log behind it, as the counting loop has them.
fn read<'a>(template: &Template, log: &'a [u8], lines: &[&'a [u8]]) -> Vec<Request<'a>> {
    let mut reader = LineReader::new(template);
    let mut start = 0;
    let mut requests = Vec::with_capacity(lines.len());
    for line in lines {
        let mut request = reader.read(&line[..line.len() - 1]).expect("sound lines");
        let target = request.target.bytes();
        request.target = Target::within(&log[start..], target, false);
        requests.push(request);
        start += line.len();
    }
    requests
}

/// Whole lines, about as many bytes as intake reads at once.
fn blocks(log: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = log;
    std::iter::from_fn(move || {
        let end = rest.len().min(256 * 1024);
        let end = rest[..end].iter().rposition(|byte| *byte == b'\n')? + 1;
        let (block, behind) = rest.split_at(end);
        rest = behind;
        Some(block)
    })
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(1)).warm_up_time(std::time::Duration::from_millis(300));
    targets = stages
}
criterion_main!(benches);
