//! What a report may take from the machine, whatever is in the log.

use std::fs;
use std::io::{BufWriter, Write};
use std::process::{Child, Stdio};

use crate::desk::{Desk, NOW, Told, availability, conserved, slo};

/// Memory that a report of these specs may take on one core, in KiB.
const MOST_KIB: u64 = 32 << 10;
const MINUTES_OF_A_MONTH: u64 = 28 * 1_440;
const MINUTES_OF_SIX_YEARS: u64 = 6 * 365 * 1_440;

/// The highest resident memory that a process had so far, in KiB.
fn peak_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux tells");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB")
}

/// A report on what `write` writes to its standard input; its peak is taken just before the end of the input.
fn piped(desk: &Desk, write: impl FnOnce(&mut dyn Write)) -> (Told, u64) {
    let mut command = desk.command_on_one_core("report", &["--json", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut pipe = BufWriter::with_capacity(1 << 20, child.stdin.take().expect("a pipe"));
    write(&mut pipe);
    pipe.flush().expect("somebody reads");
    let peak = peak_kib(&child);
    drop(pipe);
    (child.wait_with_output().expect("the binary ends").into(), peak)
}

fn desk() -> Desk {
    let slos = availability("availability", "99.0", "", "")
        + &slo("latency", "90.0", "latency", "threshold = \"500ms\"")
        + &slo("p99", "90.0", "percentile", "percentile = 99.0\nthreshold = \"500ms\"\nslice = \"1m\"");
    Desk::new(&slos)
}

/// Peaks after a tenth and after all of a million lines, each of whose paths, hosts and user agents is met once, in a
/// walk over the minutes before now.
fn peaks(minutes: u64) -> (u64, u64) {
    let desk = desk();
    let peak = |count: u64| {
        let (told, peak) = piped(&desk, |pipe| {
            for number in 0..count {
                let at = NOW - (number * 7_919 % minutes) as i64 * 60;
                let time = chrono::DateTime::from_timestamp(at, 0).expect("a time").format("%d/%b/%Y:%H:%M:%S +0000");
                let word: String = number.to_string().bytes().map(|digit| char::from(digit + 49)).collect();
                let path = if number % 4 == 0 { "item" } else { "other" };
                let request = format!("GET /{path}/{word} HTTP/1.1");
                writeln!(pipe, "192.0.2.1 [{time}] {word}.example \"{request}\" 200 \"{word}\" 0.1").expect("a reader");
            }
        });
        assert_eq!(told.code, Some(0), "{told:?}");
        let [records, matched, unmatched, _] = conserved(&told.document());
        assert_eq!(records, count);
        assert!(matched > 0 && unmatched > 2 * matched, "{matched} and {unmatched}");
        peak
    };
    (peak(100_000), peak(1_000_000))
}

#[test]
fn j01_a_million_names_leave_memory_flat() {
    let (first, last) = peaks(MINUTES_OF_A_MONTH);
    assert!(last < MOST_KIB, "{last} KiB");
    assert!(last < first + first / 4, "{first} KiB after a tenth, {last} KiB after all");
}

#[test]
fn c07_times_all_over_the_years_leave_memory_flat() {
    let (first, last) = peaks(MINUTES_OF_SIX_YEARS);
    assert!(last < first + first / 4, "{first} KiB after a tenth, {last} KiB after all");
}

#[test]
fn a17_a_line_of_a_hundred_megabytes_costs_no_memory() {
    let desk = desk();
    let (told, peak) = piped(&desk, |pipe| {
        pipe.write_all(crate::desk::good(0, 2).as_bytes()).expect("somebody reads");
        let block = vec![b'x'; 1 << 20];
        (0..100).for_each(|_| pipe.write_all(&block).expect("somebody reads"));
        pipe.write_all(b"\n").expect("somebody reads");
        pipe.write_all(crate::desk::bad(0, 1).as_bytes()).expect("somebody reads");
    });
    assert_eq!(conserved(&told.document()), [4, 3, 0, 1], "{told:?}");
    assert!(peak < MOST_KIB, "{peak} KiB");
}
