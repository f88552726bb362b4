//! Instants, minutes and lengths of time.
//!
//! Everything below the edges of the program works on event time: a request belongs to the minute in which it
//! happened, whenever it arrives. This room holds the few types for that, and the only lines of the crate that ask the
//! system what time it is ([`SystemClock`], and [`Stopwatch`] for durations).
//!
//! - Time is UTC. There are no leap seconds: `23:59:60` is written `23:59:59`, as POSIX time has it.
//! - A [`Minute`] is aligned to the epoch; it is the bucket of every count.
//! - A [`Horizon`] is a whole number of minutes, so that a window is a whole number of buckets.

use std::fmt;
use std::num::NonZeroU32;

use chrono::{DateTime, SecondsFormat};

/// Milliseconds in a minute, the width of a bucket.
pub const MILLIS_PER_MINUTE: i64 = 60_000;

/// An instant, in whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `millis` milliseconds after the epoch; negative is before it.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The instant `seconds` seconds after the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds * 1_000)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The bucket this instant belongs to.
    pub const fn minute(self) -> Minute {
        Minute(self.0.div_euclid(MILLIS_PER_MINUTE))
    }

    /// This instant moved by `millis`, saturating at the ends of time.
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Reads RFC 3339 (`2026-11-20T10:12:00Z`, any offset, fractions cut to milliseconds).
    ///
    /// # Errors
    /// A sentence that says what was expected, when `text` is not RFC 3339.
    pub fn parse_rfc3339(text: &str) -> Result<Self, String> {
        DateTime::parse_from_rfc3339(text)
            .map(|time| Self(time.timestamp_millis()))
            .map_err(|error| format!("`{text}` is not an RFC 3339 time such as 2026-11-20T10:12:00Z: {error}"))
    }
}

/// RFC 3339 in UTC; milliseconds only where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = if self.0 % 1_000 == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
        match DateTime::from_timestamp_millis(self.0) {
            Some(time) => out.write_str(&time.to_rfc3339_opts(format, true)),
            // Outside the years chrono can write; no parser of ours accepts such a time.
            None => write!(out, "@{}ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A bucket: the minutes are numbered from the epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(i64);

impl Minute {
    /// The minute with this number, 0 being 1970-01-01T00:00Z.
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Minutes since the epoch.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The first instant of the minute.
    pub const fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(MILLIS_PER_MINUTE))
    }

    /// The minute `minutes` later (earlier when negative).
    pub const fn plus(self, minutes: i64) -> Self {
        Self(self.0.saturating_add(minutes))
    }

    /// The hour that holds this minute, numbered from the epoch.
    pub const fn hour(self) -> i64 {
        self.0.div_euclid(60)
    }
}

impl fmt::Debug for Minute {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.start())
    }
}

/// The length of a window or a slice: a whole, positive number of minutes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Horizon(NonZeroU32);

impl Horizon {
    /// 28 days, the default window.
    pub const DAYS_28: Self = Self::of_minutes(28 * 24 * 60);

    /// A horizon of `minutes`.
    ///
    /// # Panics
    /// When `minutes` is 0; for constants. Use [`Horizon::new`] for what a user typed.
    pub const fn of_minutes(minutes: u32) -> Self {
        Self(NonZeroU32::new(minutes).expect("a horizon is at least a minute"))
    }

    /// A horizon of `minutes`, `None` for 0.
    pub fn new(minutes: u32) -> Option<Self> {
        NonZeroU32::new(minutes).map(Self)
    }

    /// Its length in minutes.
    pub const fn minutes(self) -> i64 {
        self.0.get() as i64
    }

    /// Its length in seconds.
    pub const fn seconds(self) -> i64 {
        self.minutes() * 60
    }

    /// The first minute of the window of this length whose last minute is `last`.
    pub const fn first_minute(self, last: Minute) -> Minute {
        last.plus(1 - self.minutes())
    }
}

/// As a person would write it: `28d`, `1h30m`, `5m`.
impl fmt::Display for Horizon {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours, minutes) = (self.minutes() / 1440, self.minutes() / 60 % 24, self.minutes() % 60);
        for (amount, unit) in [(days, "d"), (hours, "h"), (minutes, "m")] {
            if amount > 0 {
                write!(out, "{amount}{unit}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Horizon {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// Reads a length of time as specs write it (`500ms`, `90s`, `5m`, `28d`, `1h30m`) into microseconds.
///
/// Units are `us`, `ms`, `s`, `m`, `h`, `d`, `w`; amounts may have decimals as long as microseconds come out whole;
/// parts add up.
///
/// # Errors
/// A sentence that names what is wrong; also when the sum is beyond 100 years.
pub fn parse_duration_us(text: &str) -> Result<u64, String> {
    const LONGEST_US: u128 = 100 * 365 * 86_400 * 1_000_000;
    let shape = || format!("`{text}` is not a duration such as \"500ms\", \"90s\", \"5m\", \"28d\" or \"1h30m\"");
    let mut rest = text.trim();
    let mut total: u128 = 0;
    if rest.is_empty() {
        return Err(shape());
    }
    while !rest.is_empty() {
        let amount = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let letters = rest[amount..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_us = match &rest[amount..amount + letters] {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            "w" => 7 * 86_400_000_000,
            // A number of nothing, at the very end.
            "" if amount > 0 && amount == rest.len() => {
                return Err(format!("`{text}` has no unit; write for example \"{text}s\" or \"{text}m\""));
            }
            _ => return Err(shape()),
        };
        total = amount_us(&rest[..amount], unit_us).ok_or_else(shape)?.saturating_add(total);
        if total > LONGEST_US {
            return Err(format!("`{text}` is longer than 100 years"));
        }
        rest = &rest[amount + letters..];
    }
    u64::try_from(total).map_err(|_| shape())
}

/// So many units in microseconds; `None` when that is no number, or not a whole number of microseconds.
fn amount_us(amount: &str, unit_us: u128) -> Option<u128> {
    let (whole, decimals) = match amount.split_once('.') {
        Some((whole, decimals)) if !whole.is_empty() && !decimals.is_empty() => (whole, decimals),
        Some(_) => return None,
        None => (amount, ""),
    };
    let scale = 10_u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let digits: u128 = format!("{whole}{decimals}").parse().ok()?;
    let us = digits.checked_mul(unit_us)?;
    us.is_multiple_of(scale).then_some(us / scale)
}

/// Where the edges of the program get `now` from.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

/// The system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[allow(clippy::disallowed_methods, reason = "this is the one place that asks the system for the time")]
        let now = std::time::SystemTime::now();
        let millis = match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        };
        Timestamp(millis)
    }
}

/// Measures how long things take, on a clock that never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts to measure.
    pub fn start() -> Self {
        Self(monotonic())
    }

    /// Milliseconds since the start.
    pub fn elapsed_ms(self) -> u64 {
        u64::try_from(monotonic().duration_since(self.0).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(not(test))]
use system as monotonic;

#[cfg(test)]
use by_hand::now as monotonic;

fn system() -> std::time::Instant {
    #[allow(clippy::disallowed_methods, reason = "this file is the one that asks the system for the time")]
    std::time::Instant::now()
}

/// Stopwatches that a test moves: a simulation lives through months in a second.
#[cfg(test)]
pub(crate) mod by_hand {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    thread_local! {
        static HAND: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    pub(super) fn now() -> Instant {
        HAND.get().unwrap_or_else(super::system)
    }

    /// Lets so much time pass for the stopwatches of this thread, and none by itself from now on.
    pub(crate) fn pass_ms(ms: u64) {
        HAND.set(Some(now() + Duration::from_millis(ms)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_holds_its_sixty_seconds_also_before_the_epoch() {
        for (millis, number) in [(0, 0), (59_999, 0), (60_000, 1), (-1, -1), (-60_000, -1), (-60_001, -2)] {
            assert_eq!(Timestamp::from_millis(millis).minute().number(), number, "{millis}");
        }
    }

    #[test]
    fn times_are_written_as_rfc3339_in_utc() {
        assert_eq!(Timestamp::from_seconds(1_795_169_520).to_string(), "2026-11-20T10:12:00Z");
        assert_eq!(Timestamp::from_millis(1_795_169_520_250).to_string(), "2026-11-20T10:12:00.250Z");
        let shifted = Timestamp::parse_rfc3339("2026-11-20T11:12:00+01:00").unwrap();
        assert_eq!(shifted, Timestamp::from_seconds(1_795_169_520));
        assert!(Timestamp::parse_rfc3339("20/Nov/2026").is_err());
    }

    #[test]
    fn durations_read_as_the_specs_write_them() {
        for (text, us) in [
            ("500ms", 500_000),
            ("90s", 90_000_000),
            ("5m", 300_000_000),
            ("28d", 2_419_200_000_000),
            ("1h30m", 5_400_000_000),
            ("250us", 250),
            ("0.5s", 500_000),
            ("1.5h", 5_400_000_000),
            ("2.50ms", 2_500),
            ("1h0.5m", 3_630_000_000),
        ] {
            assert_eq!(parse_duration_us(text), Ok(us), "{text}");
        }
        for text in ["", "5", "m", "5 m", "-5m", "5x", "99999999999d", "1h30", ".5s", "5.s", "1.2.3s", "0.5us", "."] {
            assert!(parse_duration_us(text).is_err(), "{text}");
        }
        let why = |text: &str| parse_duration_us(text).unwrap_err();
        assert_eq!(why("1.5"), "`1.5` has no unit; write for example \"1.5s\" or \"1.5m\"");
        assert_eq!(why("0.5 s"), why("x").replace('x', "0.5 s"));
        assert_eq!(why("99999999999d"), "`99999999999d` is longer than 100 years");
    }

    #[test]
    fn horizons_read_as_a_person_writes_them() {
        for (minutes, text) in [(40_320, "28d"), (90, "1h30m"), (5, "5m"), (1_440, "1d"), (1_501, "1d1h1m")] {
            assert_eq!(Horizon::of_minutes(minutes).to_string(), text);
        }
        let last = Minute::from_number(100);
        assert_eq!(Horizon::of_minutes(1).first_minute(last), last);
        assert_eq!(Horizon::of_minutes(100).first_minute(last).number(), 1);
    }
}
