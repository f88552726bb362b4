//! The fields that specs need, read from their bytes: time, status, duration, request line.
//!
//! Every reader here is total and strict: it takes exactly what the field may hold and answers `None` for the rest.
//! None of them allocates, and none looks at text as UTF-8.

use crate::time::{MILLIS_PER_MINUTE, Timestamp};

/// The notations of time that access logs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeNotation {
    /// `20/Nov/2026:10:12:58 +0000`, nginx's `$time_local` and Apache's `%t` without its brackets.
    Local,
    /// `2026-11-20T10:12:58+00:00`, nginx's `$time_iso8601`; `Z` and fractions of a second are read as well.
    Iso8601,
    /// `1795169578.123`, nginx's `$msec`: seconds since the epoch.
    Seconds,
}

/// The units of a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationUnit {
    /// A decimal number of seconds: `0.123`.
    Seconds,
    /// A decimal number of milliseconds.
    Millis,
    /// A decimal number of microseconds.
    Micros,
}

/// A day in microseconds: no request lasts longer, whatever a log says.
const LONGEST_US: u64 = 86_400_000_000;

/// Reads times, remembering the last minute that it met.
///
/// Neighbouring lines mostly share their minute, so all but the seconds of a time is compared with the last one before
/// it is parsed. In a calendar that costs 200 ns, and this costs 2.
#[derive(Clone, Debug)]
pub struct TimeReader {
    /// The last time in full length, without its seconds, as three words; and the start of its minute.
    seen: [u64; 3],
    seen_minute_ms: i64,
}

/// What no time looks like: of the third word's two low bytes, one is always blank.
const NOTHING_SEEN: [u64; 3] = [0, 0, 0xFFFF];

impl Default for TimeReader {
    fn default() -> Self {
        Self { seen: NOTHING_SEEN, seen_minute_ms: 0 }
    }
}

impl TimeReader {
    /// The instant that `bytes` denote, `None` when they are not a time in this notation. Leap seconds read as :59.
    #[inline(always)]
    pub fn read(&mut self, notation: TimeNotation, bytes: &[u8]) -> Option<Timestamp> {
        match notation {
            TimeNotation::Local => self.local(bytes),
            TimeNotation::Iso8601 => self.iso8601(bytes),
            TimeNotation::Seconds => seconds(bytes),
        }
    }

    #[inline(always)]
    fn local(&mut self, bytes: &[u8]) -> Option<Timestamp> {
        // 0         1         2
        // 01234567890123456789012345
        // 20/Nov/2026:10:12:58 +0000
        let bytes: &[u8; 26] = bytes.try_into().ok()?;
        let second = two_digits(bytes[18], bytes[19])?;
        let key = [word(bytes, 0), word(bytes, 8), word(bytes, 18) & !0xFFFF | u64::from(bytes[16]) << 8];
        // The word at 18 covers the zone; its first two bytes, the seconds, give way to the minute's last digit.
        if key == self.seen && bytes[17] == b':' {
            return instant(self.seen_minute_ms, second);
        }
        self.seen_minute_ms = local_minute_ms(bytes)?;
        self.seen = key;
        instant(self.seen_minute_ms, second)
    }

    #[inline]
    fn iso8601(&mut self, bytes: &[u8]) -> Option<Timestamp> {
        // 0         1         2
        // 0123456789012345678901234
        // 2026-11-20T10:12:58+00:00
        let bytes = match <&[u8; 25]>::try_from(bytes) {
            Ok(bytes) if matches!(bytes[19], b'+' | b'-') => bytes,
            _ => return iso8601_any(bytes),
        };
        let second = two_digits(bytes[17], bytes[18])?;
        let key = [word(bytes, 0), word(bytes, 8), word(bytes, 17) & !0xFFFF | u64::from(bytes[16])];
        if key == self.seen {
            return instant(self.seen_minute_ms, second);
        }
        self.seen_minute_ms = iso_minute_ms(bytes)? - zone_ms(&bytes[19..])?;
        self.seen = key;
        instant(self.seen_minute_ms, second)
    }
}

#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// A second of a minute; :60 is a leap second, which POSIX time does not have.
#[inline(always)]
fn instant(minute_ms: i64, second: u32) -> Option<Timestamp> {
    (second <= 60).then(|| Timestamp::from_millis(minute_ms + i64::from(second.min(59)) * 1_000))
}

#[inline(always)]
fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| u32::from(tens) * 10 + u32::from(ones))
}

#[cold]
fn local_minute_ms(b: &[u8; 26]) -> Option<i64> {
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let separated = b[2] == b'/' && b[6] == b'/' && b[11] == b':' && b[14] == b':' && b[17] == b':' && b[20] == b' ';
    let month = MONTHS.iter().position(|month| month[..] == b[3..6])? as u32 + 1;
    let year = two_digits(b[7], b[8])? * 100 + two_digits(b[9], b[10])?;
    let day = two_digits(b[0], b[1])?;
    let (hour, minute) = (two_digits(b[12], b[13])?, two_digits(b[15], b[16])?);
    separated.then_some(())?;
    Some(civil_minute_ms(year, month, day, hour, minute)? - zone_ms(&b[21..])?)
}

/// The minute of `2026-11-20T10:12:` in milliseconds, as if it were UTC.
fn iso_minute_ms(b: &[u8]) -> Option<i64> {
    let separated = b[4] == b'-' && b[7] == b'-' && b[10] == b'T' && b[13] == b':' && b[16] == b':';
    separated.then_some(())?;
    let year = two_digits(b[0], b[1])? * 100 + two_digits(b[2], b[3])?;
    let (month, day) = (two_digits(b[5], b[6])?, two_digits(b[8], b[9])?);
    civil_minute_ms(year, month, day, two_digits(b[11], b[12])?, two_digits(b[14], b[15])?)
}

/// ISO 8601 with a fraction of a second, with `Z`, or with both.
#[cold]
fn iso8601_any(bytes: &[u8]) -> Option<Timestamp> {
    if bytes.len() < 20 || bytes.len() > 40 {
        return None;
    }
    let second = two_digits(bytes[17], bytes[18])?;
    let minute_ms = iso_minute_ms(bytes)?;
    let mut rest = &bytes[19..];
    let mut fraction_ms = 0;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let digit = |place: usize| fraction[..digits].get(place).map_or(0, |byte| i64::from(byte - b'0'));
        fraction_ms = digit(0) * 100 + digit(1) * 10 + digit(2);
        rest = &fraction[digits..];
    }
    let zone_ms = if rest == b"Z" { 0 } else { zone_ms(rest)? };
    instant(minute_ms - zone_ms, second).map(|time| time.plus_millis(fraction_ms))
}

/// `+0530`, `-00:30`: what local time is ahead of UTC, in milliseconds.
fn zone_ms(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match *zone {
        [sign, a, b, c, d] | [sign, a, b, b':', c, d] => (sign, two_digits(a, b)?, two_digits(c, d)?),
        _ => return None,
    };
    let ahead_ms = i64::from(hours * 60 + minutes) * MILLIS_PER_MINUTE;
    match sign {
        _ if hours > 23 || minutes > 59 => None,
        b'+' => Some(ahead_ms),
        b'-' => Some(-ahead_ms),
        _ => None,
    }
}

/// A minute of the proleptic Gregorian calendar, in milliseconds since the epoch. Years 1970 to 9998: what lies outside
/// is a device without a clock.
fn civil_minute_ms(year: u32, month: u32, day: u32, hour: u32, minute: u32) -> Option<i64> {
    if !(1970..=9998).contains(&year) || hour > 23 || minute > 59 {
        return None;
    }
    let date = chrono::NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    let time = date.and_hms_opt(hour, minute, 0)?;
    Some(time.and_utc().timestamp_millis())
}

/// `1795169578.123`: whole seconds, and one to nine decimals of which three count.
fn seconds(bytes: &[u8]) -> Option<Timestamp> {
    const LAST_SECOND: u64 = 253_370_764_799; // The end of the year 9998.
    let dot = bytes.iter().position(|byte| *byte == b'.').unwrap_or(bytes.len());
    let whole = digits(&bytes[..dot], 12).filter(|seconds| *seconds <= LAST_SECOND)?;
    let mut millis = whole as i64 * 1_000;
    if let Some(fraction) = bytes.get(dot + 1..) {
        digits(fraction, 9)?;
        let digit = |place: usize| fraction.get(place).map_or(0, |byte| i64::from(byte - b'0'));
        millis += digit(0) * 100 + digit(1) * 10 + digit(2);
    }
    Some(Timestamp::from_millis(millis))
}

/// A whole number of one to `most` ASCII digits.
fn digits(bytes: &[u8], most: usize) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > most {
        return None;
    }
    bytes.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then(|| sum * 10 + u64::from(digit))
    })
}

/// What a status field can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 100 to 599.
    Code(u16),
    /// There was no response: `-`, `000`, nothing.
    None,
    /// Not a status.
    Invalid,
}

/// Reads a status: exactly three ASCII digits, 100 to 599.
#[inline(always)]
pub fn status(bytes: &[u8]) -> Status {
    let &[a, b, c] = bytes else {
        return if matches!(bytes, b"" | b"-" | b"-1" | b"0") { Status::None } else { Status::Invalid };
    };
    let (a, b, c) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'), c.wrapping_sub(b'0'));
    match a <= 9 && b <= 9 && c <= 9 {
        true if (1..=5).contains(&a) => Status::Code(u16::from(a) * 100 + u16::from(b) * 10 + u16::from(c)),
        true if a == 0 && b == 0 && c == 0 => Status::None,
        _ => Status::Invalid,
    }
}

/// What a duration field can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duration {
    /// In microseconds, at most a day. What is finer is rounded up, so that `duration <= threshold` stays exact.
    Micros(u64),
    /// `-`, or nothing: the request has none.
    None,
    /// Not a duration.
    Invalid,
}

/// Reads a duration: a decimal number, unsigned and without an exponent, of at most a day.
#[inline(always)]
pub fn duration(unit: DurationUnit, bytes: &[u8]) -> Duration {
    if let (DurationUnit::Seconds, &[whole, b'.', a, b, c]) = (unit, bytes) {
        // 0.123, the shape of nginx's `$request_time` below ten seconds.
        let [whole, a, b, c] = [whole, a, b, c].map(|byte| byte.wrapping_sub(b'0'));
        if whole <= 9 && a <= 9 && b <= 9 && c <= 9 {
            let [whole, a, b, c] = [whole, a, b, c].map(u64::from);
            return Duration::Micros(whole * 1_000_000 + a * 100_000 + b * 10_000 + c * 1_000);
        }
    }
    if matches!(bytes, b"" | b"-") {
        return Duration::None;
    }
    let scale = match unit {
        DurationUnit::Seconds => 1_000_000,
        DurationUnit::Millis => 1_000,
        DurationUnit::Micros => 1,
    };
    decimal(bytes, scale).filter(|us| *us <= LONGEST_US).map_or(Duration::Invalid, Duration::Micros)
}

/// `12.345` times `scale` (a power of ten), rounded up.
fn decimal(bytes: &[u8], scale: u64) -> Option<u64> {
    let dot = bytes.iter().position(|byte| *byte == b'.').unwrap_or(bytes.len());
    let whole = digits(&bytes[..dot], 12)?;
    let mut sum = whole.checked_mul(scale)?;
    let Some(fraction) = bytes.get(dot + 1..) else { return Some(sum) };
    if fraction.is_empty() || fraction.len() > 30 {
        return None;
    }
    let mut place = scale;
    let mut finer = false;
    for byte in fraction {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        place /= 10;
        sum += digit * place;
        finer |= place == 0 && digit > 0;
    }
    Some(sum + u64::from(finer))
}

/// Reads nginx's `$upstream_response_time`: one time per upstream that was tried, separated by `, `, and by ` : `
/// across internal redirects. The request's share is their sum; `-` entries add nothing.
pub fn duration_list(unit: DurationUnit, bytes: &[u8]) -> Duration {
    let mut sum = Duration::None;
    for entry in bytes.split(|byte| matches!(byte, b',' | b':')) {
        sum = match (sum, duration(unit, entry.trim_ascii())) {
            (_, Duration::Invalid) => return Duration::Invalid,
            (sum, Duration::None) => sum,
            (Duration::Micros(sum), Duration::Micros(more)) if sum + more > LONGEST_US => return Duration::Invalid,
            (Duration::Micros(sum), Duration::Micros(more)) => Duration::Micros(sum + more),
            (_, more) => more,
        };
    }
    sum
}

/// Splits a request line into method and target; both are empty when it is none (a TLS hello, an empty line, HTTP/0.9
/// noise): such a record counts by its status, on no route.
#[inline(always)]
pub fn request_line(line: &[u8]) -> (&[u8], &[u8]) {
    const NONE: (&[u8], &[u8]) = (b"", b"");
    // `METHOD SP target SP HTTP/x.y`: both ends have a fixed shape, so that blanks inside the target are no riddle.
    let Some(blank) = method_length(line) else { return NONE };
    let method = &line[..blank];
    let rest = &line[blank + 1..];
    let target = match rest.len().checked_sub(9).map(|cut| rest.split_at(cut)) {
        Some((target, &[b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]))
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            target
        }
        _ => match rest.iter().rposition(|byte| *byte == b' ') {
            // nginx takes `HTTP/1.10` for a version, too.
            Some(last) if is_long_version(&rest[last + 1..]) => &rest[..last],
            // HTTP/0.9 has no version; nginx writes what it got. A blank would make it unclear where the target ends.
            Some(_) => return NONE,
            None => rest,
        },
    };
    // nginx takes more than one blank between the parts.
    let target = target.trim_ascii();
    if target.is_empty() { NONE } else { (method, target) }
}

/// `HTTP/1.10`: a version with a second digit, which nginx serves like any other.
fn is_long_version(word: &[u8]) -> bool {
    matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', tens, ones]
        if major.is_ascii_digit() && tens.is_ascii_digit() && ones.is_ascii_digit())
}

/// The length of the method that begins a request line, when a blank follows it.
#[inline(always)]
fn method_length(line: &[u8]) -> Option<usize> {
    match line {
        [b'G', b'E', b'T', b' ', ..] => Some(3),
        [b'P', b'O', b'S', b'T', b' ', ..] => Some(4),
        _ => {
            let method = line.iter().take(MOST_METHOD).take_while(|byte| is_method_byte(**byte)).count();
            (method > 0 && line.get(method) == Some(&b' ')).then_some(method)
        }
    }
}

/// No method in any registry is longer.
const MOST_METHOD: usize = 32;

/// The token characters that methods in use are made of: letters, digits, `-` and `_`.
fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(notation: TimeNotation, text: &str) -> Option<String> {
        TimeReader::default().read(notation, text.as_bytes()).map(|time| time.to_string())
    }

    #[test]
    fn c01_offsets_are_taken_to_utc_exactly() {
        for (text, utc) in [
            ("20/Nov/2026:10:12:58 +0000", "2026-11-20T10:12:58Z"),
            ("20/Nov/2026:10:12:58 -0000", "2026-11-20T10:12:58Z"),
            ("20/Nov/2026:10:12:58 +0530", "2026-11-20T04:42:58Z"),
            ("01/Jan/2027:00:12:58 +0100", "2026-12-31T23:12:58Z"),
            ("29/Feb/2028:23:59:00 -0200", "2028-03-01T01:59:00Z"),
        ] {
            assert_eq!(time(TimeNotation::Local, text).as_deref(), Some(utc), "{text}");
        }
        for (text, utc) in [
            ("2026-11-20T10:12:58+00:00", "2026-11-20T10:12:58Z"),
            ("2026-11-20T10:12:58Z", "2026-11-20T10:12:58Z"),
            ("2026-11-20T10:12:58.25+05:30", "2026-11-20T04:42:58.250Z"),
            ("2026-11-20T10:12:58+0530", "2026-11-20T04:42:58Z"),
            ("2026-11-20T10:12:58.1234Z", "2026-11-20T10:12:58.123Z"),
        ] {
            assert_eq!(time(TimeNotation::Iso8601, text).as_deref(), Some(utc), "{text}");
        }
        assert_eq!(time(TimeNotation::Seconds, "1795169578.123").as_deref(), Some("2026-11-20T10:12:58.123Z"));
        assert_eq!(time(TimeNotation::Seconds, "1795169578").as_deref(), Some("2026-11-20T10:12:58Z"));
    }

    #[test]
    fn c05_a_leap_second_counts_at_59() {
        assert_eq!(time(TimeNotation::Local, "31/Dec/2026:23:59:60 +0000").as_deref(), Some("2026-12-31T23:59:59Z"));
    }

    #[test]
    fn c06_times_that_are_none_are_refused() {
        for text in [
            "29/Feb/2026:10:12:58 +0000",
            "31/Apr/2026:10:12:58 +0000",
            "20/Foo/2026:10:12:58 +0000",
            "20/Nov/0000:10:12:58 +0000",
            "20/Nov/9999:10:12:58 +0000",
            "20/Nov/2026:24:12:58 +0000",
            "20/Nov/2026:10:60:58 +0000",
            "20/Nov/2026:10:12:61 +0000",
            "20/Nov/2026:10:12:5x +0000",
            "20/Nov/2026:10:12:58 +2400",
            "20/Nov/2026:10:12:58 *0000",
            "20/Nov/2026:10:12:58 +000",
            "00/Nov/2026:10:12:58 +0000",
            "",
        ] {
            assert_eq!(time(TimeNotation::Local, text), None, "{text}");
        }
        for text in
            ["2026-11-20 10:12:58+00:00", "2026-13-20T10:12:58Z", "2026-11-20T10:12:58", "2026-11-20T10:12:58.Z"]
        {
            assert_eq!(time(TimeNotation::Iso8601, text), None, "{text}");
        }
        for text in ["", ".5", "12a", "1795169578.", "1795169578.1x", "-5", "9999999999999", "1e9"] {
            assert_eq!(time(TimeNotation::Seconds, text), None, "{text}");
        }
    }

    #[test]
    fn the_remembered_minute_gives_what_a_fresh_reader_gives() {
        let mut reader = TimeReader::default();
        let times = [
            "20/Nov/2026:10:12:58 +0000",
            "20/Nov/2026:10:12:59 +0000",
            "20/Nov/2026:10:13:59 +0000",
            "20/Nov/2026:10:13:59 +0001",
            "20/Nov/2026:10:13x59 +0001",
            "20/Nov/2026:10:13:59x+0001",
            "20/Nov/2026:10:13:5x +0001",
            "20/Nov/2026:10:13:60 +0001",
            "20/Nov/2026:10:13:61 +0001",
            "21/Nov/2026:10:13:00 +0001",
        ];
        for text in times {
            let fresh = TimeReader::default().read(TimeNotation::Local, text.as_bytes());
            assert_eq!(reader.read(TimeNotation::Local, text.as_bytes()), fresh, "{text}");
        }
        for text in [
            "2026-11-20T10:12:58+00:00",
            "2026-11-20T10:12:59+00:00",
            "2026-11-20T10:13:59+00:00",
            "2026-11-20T10:13x59+00:00",
        ] {
            let fresh = TimeReader::default().read(TimeNotation::Iso8601, text.as_bytes());
            assert_eq!(reader.read(TimeNotation::Iso8601, text.as_bytes()), fresh, "{text}");
        }
    }

    #[test]
    fn b12_a_status_is_three_ascii_digits_from_100_to_599() {
        for (text, expected) in [("100", 100), ("200", 200), ("499", 499), ("599", 599)] {
            assert_eq!(status(text.as_bytes()), Status::Code(expected));
        }
        for text in ["-", "000", "-1", "", "0"] {
            assert_eq!(status(text.as_bytes()), Status::None, "{text}");
        }
        for text in ["99", "099", "600", "1000", "20x", "２００", "+20", " 200"] {
            assert_eq!(status(text.as_bytes()), Status::Invalid, "{text}");
        }
    }

    #[test]
    fn b15_durations_are_decimal_numbers_of_at_most_a_day() {
        for (text, us) in [
            ("0.000", 0),
            ("0.123", 123_000),
            ("12.345", 12_345_000),
            ("0.5", 500_000),
            ("7", 7_000_000),
            ("0.5000001", 500_001),
            ("0.5000000", 500_000),
            ("86400.000", LONGEST_US),
        ] {
            assert_eq!(duration(DurationUnit::Seconds, text.as_bytes()), Duration::Micros(us), "{text}");
        }
        for text in
            ["-1", "1e3", "NaN", "inf", "9999999999", "86400.001", "1.", ".5", "0,5", "+1", "0.1.2", "1 2", "0x1"]
        {
            assert_eq!(duration(DurationUnit::Seconds, text.as_bytes()), Duration::Invalid, "{text}");
        }
        for text in ["-", ""] {
            assert_eq!(duration(DurationUnit::Seconds, text.as_bytes()), Duration::None, "{text}");
        }
        assert_eq!(duration(DurationUnit::Micros, b"1234"), Duration::Micros(1_234));
        assert_eq!(duration(DurationUnit::Millis, b"12.5"), Duration::Micros(12_500));
    }

    #[test]
    fn b15_times_of_several_upstreams_add_up() {
        let list = |text: &str| duration_list(DurationUnit::Seconds, text.as_bytes());
        assert_eq!(list("0.001, 0.200"), Duration::Micros(201_000));
        assert_eq!(list("0.005 : 0.019"), Duration::Micros(24_000));
        assert_eq!(list("-, 0.200 : -"), Duration::Micros(200_000));
        assert_eq!(list("-"), Duration::None);
        assert_eq!(list("-, -"), Duration::None);
        assert_eq!(list("0.1, x"), Duration::Invalid);
        assert_eq!(list("86400, 86400"), Duration::Invalid);
    }

    #[test]
    fn b08_what_is_no_request_line_has_no_route() {
        for (line, method, target) in [
            ("GET /a?b HTTP/1.1", "GET", "/a?b"),
            ("GET /a b HTTP/1.1", "GET", "/a b"),
            ("GET / HTTP/1.1 HTTP/1.1", "GET", "/ HTTP/1.1"),
            ("GET /old", "GET", "/old"),
            ("M-SEARCH * HTTP/1.1", "M-SEARCH", "*"),
            ("GET http://h/p HTTP/2.0", "GET", "http://h/p"),
            ("", "", ""),
            ("-", "", ""),
            ("\\x16\\x03\\x01", "", ""),
            ("G\0ET / HTTP/1.1", "", ""),
            ("GET  HTTP/1.1", "", ""),
            ("GET / HTTP/1", "", ""),
            (" / HTTP/1.1", "", ""),
        ] {
            assert_eq!(request_line(line.as_bytes()), (method.as_bytes(), target.as_bytes()), "{line}");
        }
    }
}
