//! Payments: a service that exposes metrics instead of logs.
//!
//! A small endpoint on a loopback port, which slogate scrapes like any other. The service takes payments for this and
//! other shops. It began together with the demo: unlike the logs, its counters tell nothing of the weeks before.
//!
//! - What happens in a second follows from the seed and the number of the second.
//! - One payment in [`FAILS`] fails and one in [`DAWDLES`] is slow, by their numbers and not by dice: of the first
//!   hundred, two that fail by chance would be a spent budget.
//! - One connection is answered after the other, and none is waited for longer than [`PATIENCE`].

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::Stop;
use super::dice::Dice;
use crate::time::{Clock, Stopwatch, Timestamp};

/// One in so many fails, and one in so many is slow.
const FAILS: u64 = 1_000;
const DAWDLES: u64 = 150;
/// So many in a million are declined.
const DECLINED: u64 = 30_000;
/// At least and at most so many payments a second.
const RATE: (u64, u64) = (5, 10);
/// The bounds of the buckets, in milliseconds.
const BOUNDS_MS: [u64; 6] = [50, 100, 250, 500, 1_000, 2_500];
/// Of a longer pause, only its end is made up for, in seconds.
const LONGEST_PAUSE: i64 = 24 * 60 * 60;
/// How often somebody looks whether there is a connection.
const GLANCE: Duration = Duration::from_millis(20);
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// A request's head is not longer than this, in bytes.
const LONGEST_HEAD: usize = 8 << 10;

/// The service, and what it has counted since it began.
#[derive(Debug)]
pub(super) struct Payments {
    seed: u64,
    began: Timestamp,
    /// The second up to which everything has happened, since 1970.
    second: i64,
    paid: u64,
    declined: u64,
    failed: u64,
    /// By bucket, the last without an end; not cumulative.
    buckets: [u64; BOUNDS_MS.len() + 1],
    took_ms: u64,
    queue_age_s: u64,
}

/// A port for the service.
pub(super) fn listener() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl Payments {
    /// A service that begins now, with all counters at zero.
    pub(super) fn new(seed: u64, began: Timestamp) -> Self {
        Self {
            seed,
            began,
            second: second(began),
            paid: 0,
            declined: 0,
            failed: 0,
            buckets: [0; BOUNDS_MS.len() + 1],
            took_ms: 0,
            queue_age_s: 0,
        }
    }

    /// Answers until told to stop.
    pub(super) fn serve(&mut self, listener: &TcpListener, clock: &dyn Clock, stop: &Stop) {
        while !stop.is_told() {
            match listener.accept() {
                // Whoever asked may have gone away.
                Ok((stream, _)) => drop(self.answer(stream, clock)),
                Err(_) => thread::sleep(GLANCE),
            }
        }
    }

    fn answer(&mut self, mut stream: TcpStream, clock: &dyn Clock) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let head = head(&mut stream)?;
        let (status, body) = match head.split(|byte| *byte == b' ').take(2).collect::<Vec<_>>()[..] {
            [b"GET", b"/metrics"] => ("200 OK", self.page(clock.now())),
            [b"GET", _] => ("404 Not Found", "the metrics are at /metrics\n".to_owned()),
            _ => ("405 Method Not Allowed", String::new()),
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
    }

    /// Its page of metrics, in the text format of Prometheus.
    fn page(&mut self, now: Timestamp) -> String {
        self.go_on_until(now);
        let mut page = String::from("# HELP payments_total Payments by what became of them.\n");
        page.push_str("# TYPE payments_total counter\n");
        // Writing to a string cannot fail, here and below.
        for (outcome, count) in [("paid", self.paid), ("declined", self.declined), ("error", self.failed)] {
            let _ = writeln!(page, "payments_total{{outcome=\"{outcome}\"}} {count}");
        }
        page.push_str("# HELP payment_duration_seconds How long they took.\n");
        page.push_str("# TYPE payment_duration_seconds histogram\n");
        let mut within = 0;
        for (place, count) in self.buckets.iter().enumerate() {
            within += count;
            let bound = BOUNDS_MS.get(place).map_or("+Inf".to_owned(), |bound_ms| seconds(*bound_ms));
            let _ = writeln!(page, "payment_duration_seconds_bucket{{le=\"{bound}\"}} {within}");
        }
        let _ = writeln!(page, "payment_duration_seconds_sum {}", seconds(self.took_ms));
        let _ = writeln!(page, "payment_duration_seconds_count {within}");
        page.push_str("# HELP payment_queue_age_seconds How long the oldest payment has been waiting.\n");
        page.push_str("# TYPE payment_queue_age_seconds gauge\n");
        let _ = writeln!(page, "payment_queue_age_seconds {}", self.queue_age_s);
        page.push_str("# HELP process_start_time_seconds When the service began.\n");
        page.push_str("# TYPE process_start_time_seconds gauge\n");
        let _ = writeln!(page, "process_start_time_seconds {}", seconds(self.began.millis().unsigned_abs()));
        page
    }

    /// Takes all payments of the seconds that are over.
    fn go_on_until(&mut self, now: Timestamp) {
        let now = second(now);
        self.second = self.second.max(now - LONGEST_PAUSE);
        while self.second < now {
            let mut dice = Dice::for_part(self.seed, self.second.cast_unsigned());
            for _ in 0..dice.between(RATE.0, RATE.1) {
                self.take_payment(&mut dice);
            }
            self.queue_age_s = dice.below(12);
            self.second += 1;
        }
    }

    fn take_payment(&mut self, dice: &mut Dice) {
        let number = self.paid + self.declined + self.failed + 1;
        let outcome = match number {
            _ if number % FAILS == FAILS * 7 / 10 => &mut self.failed,
            _ if dice.hits(DECLINED) => &mut self.declined,
            _ => &mut self.paid,
        };
        *outcome += 1;
        let is_slow = number % DAWDLES == DAWDLES * 6 / 10;
        let took_ms = if is_slow { dice.between(600, 3_000) } else { dice.between(20, 400) };
        self.took_ms += took_ms;
        self.buckets[BOUNDS_MS.partition_point(|bound_ms| *bound_ms < took_ms)] += 1;
    }
}

/// The head of a request, or as much of it as it may have.
fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let (watch, mut head, mut piece) = (Stopwatch::start(), Vec::new(), [0; 1_024]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        let length = stream.read(&mut piece)?;
        if length == 0 || u128::from(watch.elapsed_ms()) > PATIENCE.as_millis() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        head.extend_from_slice(&piece[..length]);
    }
    Ok(head)
}

fn second(at: Timestamp) -> i64 {
    at.millis().div_euclid(1_000)
}

fn seconds(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1_000, millis % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_795_169_520_250);

    fn read(page: &str) -> BTreeMap<&str, f64> {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.rsplit_once(' ').map(|(name, value)| (name, value.parse().unwrap())).unwrap()).collect()
    }

    #[test]
    fn a_page_shows_what_happened_since_the_beginning_however_often_it_is_asked_for() {
        let (mut often, mut once) = (Payments::new(28, START), Payments::new(28, START));
        let first = often.page(START);
        assert!(first.contains("payments_total{outcome=\"error\"} 0\n"), "{first}");
        assert!(first.contains("process_start_time_seconds 1795169520.25\n"), "{first}");
        let mut last = String::new();
        for second in 1..=600 {
            last = often.page(START.plus_millis(second * 1_000));
        }
        assert_eq!(last, once.page(START.plus_millis(600_000)));
        let found = read(&last);
        let of = |outcome: &str| found[&*format!("payments_total{{outcome=\"{outcome}\"}}")];
        let total = of("paid") + of("declined") + of("error");
        assert!((600.0 * 5.0..=600.0 * 10.0).contains(&total), "{total}");
        assert_eq!(found["payment_duration_seconds_count"], total);
        assert_eq!(found["payment_duration_seconds_bucket{le=\"+Inf\"}"], total);
        let buckets = last.lines().filter(|line| line.contains("_bucket{le="));
        let counts: Vec<f64> = buckets.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
        assert!(counts.is_sorted() && counts.len() == 7, "{counts:?}");
    }

    #[test]
    fn at_no_time_has_it_spent_half_of_a_budget() {
        for seed in [0, 28, u64::MAX] {
            let mut payments = Payments::new(seed, START);
            for second in 1..2_000 {
                let page = payments.page(START.plus_millis(second * 1_000));
                let found = read(&page);
                let total = found["payment_duration_seconds_count"];
                let slow = total - found["payment_duration_seconds_bucket{le=\"0.5\"}"];
                assert!(found["payments_total{outcome=\"error\"}"] < 0.5 * 0.005 * total, "{page}");
                assert!(slow < 0.5 * 0.05 * total, "{page}");
            }
        }
    }
}
