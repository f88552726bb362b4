//! The edges of windows, lines and files, each with integers that were counted by hand.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::desk::{Desk, Told, availability, bad, conserved, counts, find, good, gzip, line, slo, zstd};

const DAY: i64 = 86_400;

fn desk() -> Desk {
    Desk::new(&availability("availability", "99.0", "", ""))
}

/// A document without what depends on which worker saw a line first: the samples.
fn without_samples(mut document: Value) -> Value {
    for source in document["sources"].as_array_mut().expect("sources") {
        source["samples"] = Value::Null;
    }
    document
}

#[test]
fn a_window_holds_the_minute_of_now_and_the_ones_before_it_up_to_its_length() {
    let slos = availability("month", "99.0", "", "") + &availability("hour", "99.0", "window = \"1h\"", "");
    let desk = Desk::new(&slos);
    // The 28 days that end in the minute from 10:12:00 to 10:12:59 begin with the minute 10:13 of 28 days before.
    let first_of_month = -28 * DAY + 60;
    let first_of_hour = -59 * 60;
    let log = [
        good(first_of_month - 1, 1),
        good(first_of_month, 2),
        good(first_of_hour - 1, 4),
        good(first_of_hour, 8),
        good(0, 16),
        good(59, 32),
        good(60, 64),
        good(30 + 300, 128),
        good(30 + 301, 256),
    ];
    desk.write("access.log", log.concat());
    let told = desk.report(&["--json", "--at", "2026-11-20T10:12:30Z", "access.log"]);
    let document = told.document();
    assert_eq!(counts(&document, "month"), (2 + 4 + 8 + 16 + 32, 0));
    assert_eq!(counts(&document, "hour"), (8 + 16 + 32, 0));
    assert_eq!(conserved(&document), [511, 254, 0, 257]);
    assert_eq!(document["sources"][0]["rejected"], json!({ "future": 256, "expired": 1 }));
    assert_eq!(document["at"], "2026-11-20T10:12:30Z");
    let burns = &find(&document, "month")["burn"];
    assert_eq!((&burns["1h"], &burns["5m"]), (&json!(0.0), &json!(0.0)));
    // One second later the first record of the future is five minutes ahead.
    let document = desk.report(&["--json", "--at", "2026-11-20T10:12:31Z", "access.log"]).document();
    assert_eq!(document["sources"][0]["rejected"], json!({ "expired": 1 }));
    // One minute later the month has lost its first minute, and the hour its own.
    let document = desk.report(&["--json", "--at", "2026-11-20T10:13:00Z", "access.log"]).document();
    assert_eq!(counts(&document, "month"), (4 + 8 + 16 + 32 + 64, 0));
    assert_eq!(counts(&document, "hour"), (16 + 32 + 64, 0));
    assert_eq!(document["sources"][0]["rejected"], json!({ "expired": 3 }));
    // Without --at the newest record is now.
    let document = desk.report(&["--json", "access.log"]).document();
    assert_eq!((conserved(&document), &document["at"]), ([511, 508, 0, 3], &json!("2026-11-20T10:17:31Z")));
}

#[test]
fn late_and_unordered_lines_land_in_their_own_minutes() {
    let slos = availability("availability", "90.0", "window = \"1d\"", "");
    let minutes: Vec<i64> = (0..600).map(|place| place * 7_919 % 1_440).collect();
    // Every eleventh minute back fails once; the twin below keeps them in order.
    let lines = |minutes: &[i64]| -> String {
        minutes
            .iter()
            .map(|minute| if minute % 11 == 0 { bad(-minute * 60, 1) } else { good(-minute * 60, 1) })
            .collect()
    };
    let mut sorted = minutes.clone();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let failed = |within: i64| minutes.iter().filter(|minute| **minute % 11 == 0 && **minute < within).count() as u64;
    let total = |within: i64| minutes.iter().filter(|minute| **minute < within).count() as u64;
    let desk = Desk::new(&slos);
    let document = desk.document_of(lines(&minutes));
    assert_eq!(document, desk.document_of(lines(&sorted)));
    assert_eq!(counts(&document, "availability"), (600 - failed(1_440), failed(1_440)));
    for (window, minutes) in [("5m", 5), ("30m", 30), ("1h", 60), ("2h", 120), ("6h", 360), ("1d", 1_440)] {
        let burn = failed(minutes) as f64 / total(minutes) as f64 / 0.1;
        let found = find(&document, "availability")["burn"][window].as_f64().expect("there were events");
        assert!((found - burn).abs() < 1e-9, "{window}: {found} for {burn}");
    }
}

/// A log of five weeks with every kind of line, its newest record in the middle.
fn varied() -> String {
    let mut log = String::new();
    for number in 0..40_000_i64 {
        let seconds = -(number * 7_919 % (35 * DAY));
        let path = if number % 5 == 0 { "/other" } else { "/item/7?x=1" };
        let status = if number % 13 == 0 { 503 } else { 200 };
        log += &line(seconds, &format!("GET {path}"), status, &format!("{}.{:03}", number % 2, number % 1_000));
        match number % 2_000 {
            17 => log += "nonsense\n",
            18 => log += "\n",
            19 => writeln!(log, "{}", "x".repeat(70_000)).expect("a string takes everything"),
            _ => {}
        }
    }
    log
}

#[test]
fn order_pieces_compression_and_cores_change_nothing() {
    let slos = availability("availability", "99.0", "", "")
        + &slo("latency", "90.0", "latency", "threshold = \"500ms\"")
        + &slo("p90", "90.0", "percentile", "percentile = 90.0\nthreshold = \"500ms\"\nslice = \"7m\"")
        + &slo("rate", "50.0", "throughput", "minimum = 0.01\nslice = \"7m\"");
    let desk = Desk::new(&slos);
    let log = varied();
    desk.write("whole.log", &log);
    let report = |told: Told| {
        assert_eq!(told.code, Some(0), "{told:?}");
        without_samples(told.document())
    };
    let whole = report(desk.report(&["--json", "whole.log"]));
    let [records, matched, unmatched, refused] = conserved(&whole);
    assert_eq!(records, 40_060);
    assert!(matched > 20_000 && unmatched > 5_000 && refused > 5_000, "the log is no trifle: {whole}");
    let rejected = &whole["sources"][0]["rejected"];
    assert_eq!((&rejected["unparsed"], &rejected["oversize"]), (&json!(40), &json!(20)));

    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let mut names = Vec::new();
    for (number, piece) in lines.chunks(lines.len() / 9).enumerate() {
        let (name, bytes) = match number % 3 {
            0 => (format!("{number}.log"), piece.concat().into_bytes()),
            1 => (format!("{number}.gz"), gzip(piece.concat().as_bytes())),
            _ => (format!("{number}.zst"), zstd(piece.concat().as_bytes())),
        };
        desk.write(&name, bytes);
        names.push(name);
    }
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    for _ in 0..3 {
        assert_eq!(report(desk.report(&[&["--json"], &names[..]].concat())), whole, "{names:?}");
        names.rotate_left(4);
        names.reverse();
    }
    // Members of gzip and frames of zstd may follow each other in one file.
    for (name, pack) in [("members.gz", gzip as fn(&[u8]) -> Vec<u8>), ("frames.zst", zstd)] {
        desk.write(name, lines.chunks(1_500).flat_map(|piece| pack(piece.concat().as_bytes())).collect::<Vec<u8>>());
        assert_eq!(report(desk.report(&["--json", name])), whole, "{name}");
    }
    let mut piped = desk.command("report", &["--json", "-"]);
    let mut piped = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut pipe = piped.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || pipe.write_all(log.as_bytes()).expect("somebody reads"));
    assert_eq!(report(piped.wait_with_output().expect("it ends").into()), whole);
    writer.join().expect("the writer is done");
    let mut on_one_core = desk.command_on_one_core("report", &["--json", "whole.log"]);
    assert_eq!(report(on_one_core.output().expect("taskset runs").into()), whole);
}

#[test]
fn a18_line_ends_and_byte_order_marks_are_no_part_of_a_line() {
    let desk = desk();
    let (one, two) = (good(0, 1), bad(0, 1));
    let (short, crlf) = (one.trim_end(), one.replace('\n', "\r\n"));
    for (log, counted, unparsed) in [
        (format!("{one}{two}"), (1, 1), 0),
        (format!("{crlf}{two}"), (1, 1), 0),
        (format!("\u{feff}{one}{two}"), (1, 1), 0),
        (format!("{two}\u{feff}{one}"), (0, 1), 1),
        (format!("{two}{short}"), (1, 1), 0),
        (format!("{two}{short}\r"), (1, 1), 0),
        (format!("{two}{}", &short[..short.len() - 6]), (0, 1), 1),
        (format!("{two}{}", &short[..20]), (0, 1), 1),
        (format!("{one}\n\n{two}\r\n"), (1, 1), 3),
        (format!("{one}{short}\r{two}"), (1, 0), 1),
        (format!("{one}{short}\0\n{two}"), (1, 1), 1),
        (format!("{one}\0\0\0{two}"), (1, 0), 1),
        (format!("{one}{}", two.replace("curl/8", "cu\0rl")), (1, 1), 0),
        (format!("{one}{}", two.replace("500", "5\x000")), (1, 0), 1),
    ] {
        let document = desk.report(&["--json", desk.write("access.log", &log).to_str().expect("UTF-8")]).document();
        assert_eq!(counts(&document, "availability"), counted, "{log:?}");
        assert_eq!(conserved(&document)[3], unparsed, "{log:?}");
    }
    let mut latin = two.replace("curl/8", "caf#").into_bytes();
    latin.iter_mut().filter(|byte| **byte == b'#').for_each(|byte| *byte = 0xE9);
    assert_eq!(counts(&desk.document_of(latin), "availability"), (0, 1), "B9: not UTF-8, and counted all the same");
}

#[test]
fn a14_what_an_unfinished_last_line_says_is_told() {
    let desk = desk();
    let log = good(0, 2);
    let document = desk.document_of(&log[..log.len() - 30]);
    assert_eq!(document["sources"][0]["rejected_detail"], json!({ "partial": 1 }));
    assert_eq!(conserved(&document), [2, 1, 0, 1]);
}

#[test]
fn a16_lines_are_read_up_to_max_line_and_not_a_byte_more() {
    let engine = format!(
        "[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"access.log\"]\nnginx = '{}'\nmax_line = 2048\n\
         [gate]\non_unknown = \"deny\"\n",
        crate::desk::FORMAT
    );
    let slos =
        availability("availability", "99.0", "", "") + &slo("latency", "90.0", "latency", "threshold = \"500ms\"");
    let desk = Desk::with_engine(&slos, &engine);
    let of_length = |length: usize| {
        let plain = line(0, "GET /item/1", 200, "0.100");
        plain.replace("curl/8", &"x".repeat(length + "curl/8".len() - (plain.len() - 1)))
    };
    let log = of_length(2_048) + &of_length(2_049) + &of_length(2_047) + &of_length(300_000) + &of_length(2_048);
    let document = desk.document_of(log);
    assert_eq!((counts(&document, "availability"), conserved(&document)), ((5, 0), [5, 5, 0, 0]));
    assert_eq!(document["sources"][0]["truncated"], 2);
    assert_eq!(counts(&document, "latency"), (3, 0), "the duration is at the end");
    assert_eq!(document["sources"][0]["missing"], json!({ "duration": 2 }));
    // The status lies behind what is kept.
    let late = |length: usize| line(0, &format!("GET /item/{}", "x".repeat(length)), 200, "0.100");
    let document = desk.document_of(late(2_048) + &late(300_000) + &late(10));
    assert_eq!((counts(&document, "availability"), conserved(&document)), ((1, 0), [3, 1, 0, 2]));
    assert_eq!(document["sources"][0]["rejected"], json!({ "oversize": 2 }));
    assert_eq!(document["sources"][0]["truncated"], 0);
    let samples = document["sources"][0]["samples"].as_array().expect("samples");
    assert!(samples.iter().all(|sample| sample["text"].as_str().is_some_and(|text| text.len() <= 200)));
    // The last line, unfinished.
    assert_eq!(counts(&desk.document_of(of_length(2_048).trim_end()), "availability"), (1, 0));
    let told = desk.report(&["--json", desk.write("access.log", of_length(2_049).trim_end()).to_str().expect("UTF-8")]);
    assert_eq!(conserved(&told.document()), [1, 1, 0, 0]);
}
