//! The logs: four weeks of them as logrotate leaves them, and the one that is being written.
//!
//! `access.log` is today's, `access.log.1` yesterday's, and `access.log.2.gz` and on the days before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::record::Printer;
use super::traffic::Traffic;
use super::{DemoError, Stop};
use crate::time::{MILLIS_PER_MINUTE, Timestamp};

const DAY_MS: i64 = 24 * 60 * MILLIS_PER_MINUTE;
/// How many rotated logs are kept: enough for the history to stay for hours of frequent rotations.
const KEPT: usize = 120;

/// The logs of the demo.
pub(super) struct Logs<'a> {
    directory: PathBuf,
    traffic: &'a Traffic,
    printer: Printer,
    /// The log that is being written.
    live: File,
    /// Everything before this is written.
    written: Timestamp,
}

impl<'a> Logs<'a> {
    /// Writes what happened from `from` to just before `to` into `directory`, by all cores; `None` when told to stop.
    /// Also how many lines that are.
    pub(super) fn create(
        directory: &Path,
        traffic: &'a Traffic,
        (from, to): (Timestamp, Timestamp),
        stop: &Stop,
    ) -> Result<Option<(Self, u64)>, DemoError> {
        fs::create_dir(directory).map_err(|source| DemoError::new(directory, source))?;
        let days = days(from, to);
        let (next, lines) = (AtomicUsize::new(0), AtomicU64::new(0));
        let write_days = || -> Result<(), DemoError> {
            loop {
                let age = next.fetch_add(1, Ordering::Relaxed);
                let Some(day) = days.get(age) else { return Ok(()) };
                let path = directory.join(name(age));
                let written = write_day(&path, traffic, *day, stop);
                lines.fetch_add(written.map_err(|source| DemoError::new(&path, source))?, Ordering::Relaxed);
            }
        };
        let workers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(write_days)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("writing a log does not panic"))
        })?;
        if stop.is_told() {
            return Ok(None);
        }
        let live = open(&directory.join(name(0))).map_err(|source| DemoError::new(directory, source))?;
        let logs = Self { directory: directory.to_owned(), traffic, printer: Printer::default(), live, written: to };
        Ok(Some((logs, lines.into_inner())))
    }

    /// Writes what happened until `now`. Of a pause of more than a day, only the last day is made up for.
    pub(super) fn write_until(&mut self, now: Timestamp) -> Result<(), DemoError> {
        let from = self.written.max(now.plus_millis(-DAY_MS));
        let mut text = Vec::new();
        print_span(self.traffic, (from, now), &mut self.printer, &mut text);
        if !text.is_empty() {
            // In one piece, as nginx writes its lines.
            self.live.write_all(&text).map_err(|source| DemoError::new(&self.directory.join(name(0)), source))?;
        }
        self.written = self.written.max(now);
        Ok(())
    }

    /// Rotates as logrotate does, with `compress` and `delaycompress`. An empty log is left as it is.
    pub(super) fn rotate(&mut self) -> Result<(), DemoError> {
        let failed = |source| DemoError::new(&self.directory, source);
        if self.live.metadata().map_err(failed)?.len() == 0 {
            return Ok(());
        }
        self.live = shift(&self.directory).map_err(failed)?;
        Ok(())
    }
}

/// What a log of this age, in rotations, is called.
fn name(age: usize) -> String {
    match age {
        0 => "access.log".to_owned(),
        1 => "access.log.1".to_owned(),
        _ => format!("access.log.{age}.gz"),
    }
}

/// The days from `from` to just before `to`, the newest first, each from its midnight to the next. There is one at
/// least.
fn days(from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let day = |at: Timestamp| at.millis().div_euclid(DAY_MS);
    let starts = (day(from)..=day(to)).rev().map(|day| Timestamp::from_millis(day * DAY_MS));
    starts.map(|start| (start.max(from), start.plus_millis(DAY_MS).min(to))).collect()
}

/// Writes the log of a day; how many lines it has. Stops in between when told to.
fn write_day(path: &Path, traffic: &Traffic, span: (Timestamp, Timestamp), stop: &Stop) -> io::Result<u64> {
    let file = open(path)?;
    match path.extension().is_some_and(|extension| extension == "gz") {
        true => {
            let mut packed = GzEncoder::new(file, Compression::fast());
            let lines = write_span(&mut packed, traffic, span, stop)?;
            packed.finish()?;
            Ok(lines)
        }
        false => {
            let mut plain = BufWriter::with_capacity(1 << 18, file);
            let lines = write_span(&mut plain, traffic, span, stop)?;
            plain.into_inner()?;
            Ok(lines)
        }
    }
}

/// Writes a span hour by hour.
fn write_span(
    out: &mut impl Write,
    traffic: &Traffic,
    (mut from, to): (Timestamp, Timestamp),
    stop: &Stop,
) -> io::Result<u64> {
    let (mut printer, mut text, mut lines) = (Printer::default(), Vec::new(), 0);
    while from < to && !stop.is_told() {
        let until = from.plus_millis(60 * MILLIS_PER_MINUTE).min(to);
        text.clear();
        lines += print_span(traffic, (from, until), &mut printer, &mut text);
        out.write_all(&text)?;
        from = until;
    }
    Ok(lines)
}

/// Prints the records from `from` to just before `to`; how many there are.
fn print_span(traffic: &Traffic, (from, to): (Timestamp, Timestamp), printer: &mut Printer, out: &mut Vec<u8>) -> u64 {
    let mut lines = 0;
    let mut minute = from.minute();
    while minute.start() < to {
        let records = traffic.minute(minute);
        for record in records.iter().filter(|record| (from..to).contains(&record.at)) {
            printer.print(record, out);
            lines += 1;
        }
        minute = minute.plus(1);
    }
    lines
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Renames every log to that of the next age, packs the one before the last, and opens a new one. The oldest that may
/// be kept is overwritten.
fn shift(directory: &Path) -> io::Result<File> {
    let path = |age| directory.join(name(age));
    let oldest = (2..KEPT).find(|age| !path(*age).exists()).unwrap_or(KEPT);
    for age in (2..oldest).rev() {
        fs::rename(path(age), path(age + 1))?;
    }
    if path(1).exists() {
        let aside = directory.join("access.log.2");
        fs::rename(path(1), &aside)?;
        let mut packed = GzEncoder::new(File::create(path(2))?, Compression::default());
        io::copy(&mut File::open(&aside)?, &mut packed)?;
        packed.finish()?;
        fs::remove_file(aside)?;
    }
    fs::rename(path(0), path(1))?;
    open(&path(0))
}

#[cfg(test)]
mod tests;
