//! Numbers as pages write them.
//!
//! A counter is a number of events, and most clients write it as a float: `1027.0`, `1.027e+03`. Read through `f64`,
//! two neighbours beyond 2^53 become one. So a number is read in decimal, and whatever is whole and not negative stays
//! an integer, however it is spelled.
//!
//! - [`Value::Whole`] is exactly what is written; it is never rounded.
//! - [`Value::Real`] is the nearest `f64`, as every reader of the format gives.
//! - What `f64` cannot hold (`1e400`) is refused and not made infinite. Hexadecimal and `_`, which some languages allow
//!   in numbers, are refused, as Prometheus does.

use wide::u8x16;

use super::Fault;

/// The value of a sample.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// A whole number from 0 to 2^64-1, exactly as written.
    Whole(u64),
    /// Any other number: negative (also `-0`), fractional, beyond 2^64, infinite, or not a number.
    Real(f64),
}

impl Default for Value {
    fn default() -> Self {
        Self::Whole(0)
    }
}

/// The largest number up to which every whole number is a `f64`.
const EXACT_IN_F64: u64 = 1 << 53;

impl Value {
    /// The value as a number of events; `None` when it is not a whole number from 0 to 2^64-1.
    pub fn count(self) -> Option<u64> {
        match self {
            Self::Whole(whole) => Some(whole),
            Self::Real(_) => None,
        }
    }

    /// The nearest `f64`.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }

    /// Whether it is so large that a target that counts in `f64` could not have counted by one: above 2^53.
    pub fn is_coarse(self) -> bool {
        match self {
            Self::Whole(whole) => whole > EXACT_IN_F64,
            Self::Real(real) => real.abs() > EXACT_IN_F64 as f64,
        }
    }
}

/// The same number; a number that is not one equals itself, and 0 differs from `-0`.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole(one), Self::Whole(two)) => one == two,
            (Self::Real(one), Self::Real(two)) => one.to_bits() == two.to_bits() || (one.is_nan() && two.is_nan()),
            _ => false,
        }
    }
}

impl Eq for Value {}

/// How many digits `text` starts with.
#[inline(always)]
pub(super) fn count_digits(text: &[u8; 8]) -> usize {
    let word = u64::from_le_bytes(*text);
    const HIGH: u64 = 0xF0F0_F0F0_F0F0_F0F0;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    // A byte is a digit when it is 0x3_ and still is when 6 is added. A carry comes only out of a byte that is none.
    let others = ((word & HIGH) ^ ZEROS) | ((word.wrapping_add(0x0606_0606_0606_0606) & HIGH) ^ ZEROS);
    (others.trailing_zeros() / 8) as usize
}

/// Digits at the start of `text`, at most 8, and their value: the whole of most values of a page.
#[inline(always)]
pub(super) fn leading_digits(text: &[u8; 8]) -> (usize, u64) {
    let (word, digits) = (u64::from_le_bytes(*text), count_digits(text));
    // The digits move to the end of the word, behind zeros; `checked_shl` is for no digit at all.
    let word = word.checked_shl(64 - 8 * digits as u32).unwrap_or(0) & 0x0F0F_0F0F_0F0F_0F0F;
    let word = word.wrapping_mul(10 * 256 + 1) >> 8 & 0x00FF_00FF_00FF_00FF;
    let word = word.wrapping_mul(100 * 65_536 + 1) >> 16 & 0x0000_FFFF_0000_FFFF;
    (digits, word.wrapping_mul(10_000 * 4_294_967_296 + 1) >> 32)
}

/// The length of the plain number, digits with or without a point, that `text` starts with and a newline follows.
///
/// So short a number is within the range of `f64`, whatever its digits are.
#[inline(always)]
pub(super) fn plain_decimal(text: &[u8; 32]) -> Option<usize> {
    let digits = count_digits(text.first_chunk().expect("8 bytes"));
    if digits > 0 && text[digits] == b'\n' {
        return Some(digits);
    }
    let [low, high] = [0, 16].map(|at| u8x16::new(*text[at..].first_chunk().expect("16 bytes")));
    let mask = |low: u8x16, high: u8x16| low.to_bitmask() | high.to_bitmask() << 16;
    let equal = |byte: u8| mask(low.simd_eq(u8x16::splat(byte)), high.simd_eq(u8x16::splat(byte)));
    // Below `0` numbers wrap around.
    let digit = |block: u8x16| {
        let above = block - u8x16::splat(b'0');
        above.min(u8x16::splat(9)).simd_eq(above)
    };
    let (digits, points) = (mask(digit(low), digit(high)), equal(b'.'));
    let length = (digits | points).trailing_ones();
    let within = 1u32.checked_shl(length)? - 1;
    let is_plain = text[length as usize] == b'\n' && digits & within != 0 && (points & within).count_ones() <= 1;
    is_plain.then_some(length as usize)
}

/// Reads a number that is all of `text`.
pub(super) fn number(text: &[u8]) -> Result<Value, Fault> {
    let (sign, magnitude) = sign(text);
    if magnitude.eq_ignore_ascii_case(b"inf") || magnitude.eq_ignore_ascii_case(b"infinity") {
        return Ok(Value::Real(if sign == Some(b'-') { f64::NEG_INFINITY } else { f64::INFINITY }));
    }
    if text.eq_ignore_ascii_case(b"nan") {
        return Ok(Value::Real(f64::NAN));
    }
    let decimal = Decimal::read(text).ok_or(Fault::Number)?;
    if let Some(whole) = decimal.whole() {
        return Ok(Value::Whole(whole));
    }
    match decimal.real(text) {
        real if real.is_finite() => Ok(Value::Real(real)),
        _ => Err(Fault::Range),
    }
}

/// Reads whole milliseconds that are all of `text`, as the text format writes timestamps.
pub(super) fn milliseconds(text: &[u8]) -> Result<i64, Fault> {
    let (sign, digits) = sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Timestamp);
    }
    let digit = |millis: Option<i64>, digit: &u8| {
        // Counted downwards, since the range reaches further there.
        millis?.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))
    };
    let below = digits.iter().fold(Some(0), digit).ok_or(Fault::Timestamp)?;
    if sign == Some(b'-') { Ok(below) } else { below.checked_neg().ok_or(Fault::Timestamp) }
}

/// Reads seconds that are all of `text`, as OpenMetrics writes timestamps, as milliseconds; what is finer is cut off.
pub(super) fn seconds(text: &[u8]) -> Result<i64, Fault> {
    let decimal = Decimal::read(text).ok_or(Fault::Timestamp)?;
    let millis = decimal.scaled_down_to(-3).and_then(|millis| i64::try_from(millis).ok()).ok_or(Fault::Timestamp)?;
    Ok(if decimal.negative { -millis } else { millis })
}

fn sign(text: &[u8]) -> (Option<u8>, &[u8]) {
    match text {
        [sign @ (b'+' | b'-'), rest @ ..] => (Some(*sign), rest),
        _ => (None, text),
    }
}

/// A decimal number: `significand` times ten to the power of `exponent`.
struct Decimal {
    negative: bool,
    /// Without zeros at its end; `None` when it does not fit.
    significand: Option<u64>,
    exponent: i64,
}

/// Far beyond every exponent that means anything, and far from overflow.
const EXPONENT_LIMIT: i64 = 1 << 40;

impl Decimal {
    /// `[+-] digits [. digits] [e [+-] digits]` with a digit before or behind the point.
    fn read(text: &[u8]) -> Option<Self> {
        let (sign, rest) = sign(text);
        let mut significand = Some(0u64);
        // Zeros that count only when another digit follows them.
        let mut zeros = 0u32;
        let (mut digits, mut behind_point) = (0i64, None);
        let mut at = 0;
        for byte in rest {
            match byte {
                b'0' => zeros = zeros.saturating_add(1),
                b'1'..=b'9' => {
                    let shift = 10u64.checked_pow(zeros.saturating_add(1));
                    significand = significand.and_then(|so_far| match so_far {
                        0 => Some(u64::from(byte - b'0')),
                        _ => so_far.checked_mul(shift?)?.checked_add(u64::from(byte - b'0')),
                    });
                    zeros = 0;
                }
                b'.' if behind_point.is_none() => {
                    behind_point = Some(digits);
                    at += 1;
                    continue;
                }
                _ => break,
            }
            digits += 1;
            at += 1;
        }
        if digits == 0 {
            return None;
        }
        let written = exponent(&rest[at..])?;
        let exponent = written - behind_point.map_or(0, |before| digits - before) + i64::from(zeros);
        Some(Self { negative: sign == Some(b'-'), significand, exponent })
    }

    /// The number, when it is whole, not negative and below 2^64.
    fn whole(&self) -> Option<u64> {
        match self.significand? {
            _ if self.negative => None,
            0 => Some(0),
            significand => significand.checked_mul(10u64.checked_pow(u32::try_from(self.exponent).ok()?)?),
        }
    }

    /// The nearest `f64`; infinite when there is none.
    fn real(&self, text: &[u8]) -> f64 {
        // Up to 10^22 powers of ten are exact, and one operation on exact numbers rounds once (Clinger, "How to Read
        // Floating Point Numbers Accurately", 1990). This is several times as fast as the general way.
        if let Some(significand @ 0..=EXACT_IN_F64) = self.significand {
            let magnitude = match self.exponent {
                0..=22 => Some(significand as f64 * POWERS_OF_TEN[self.exponent as usize]),
                -22..0 => Some(significand as f64 / POWERS_OF_TEN[-self.exponent as usize]),
                _ if significand == 0 => Some(0.0),
                _ => None,
            };
            if let Some(magnitude) = magnitude {
                return if self.negative { -magnitude } else { magnitude };
            }
        }
        std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::INFINITY)
    }

    /// The magnitude in units of ten to the power of `unit`, without its fraction; `None` when it does not fit.
    fn scaled_down_to(&self, unit: i64) -> Option<u64> {
        let significand = self.significand?;
        match self.exponent - unit {
            _ if significand == 0 => Some(0),
            up @ 0.. => significand.checked_mul(10u64.checked_pow(u32::try_from(up).ok()?)?),
            // More than 20 digits fewer leave nothing.
            down => Some(
                u32::try_from(-down).ok().and_then(|down| 10u64.checked_pow(down)).map_or(0, |by| significand / by),
            ),
        }
    }
}

/// What follows the digits: nothing, or an exponent.
fn exponent(text: &[u8]) -> Option<i64> {
    let [b'e' | b'E', rest @ ..] = text else { return text.is_empty().then_some(0) };
    let (sign, digits) = sign(rest);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0, |sum: i64, digit| (sum * 10 + i64::from(digit - b'0')).min(EXPONENT_LIMIT));
    Some(if sign == Some(b'-') { -magnitude } else { magnitude })
}

const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Result<Value, Fault>) {
        assert_eq!(number(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn whole_numbers_stay_integers_however_they_are_spelled() {
        for (text, whole) in [
            ("0", 0),
            ("0.0", 0),
            ("0e9", 0),
            ("00042", 42),
            ("+7", 7),
            ("1027.0", 1027),
            ("1027.", 1027),
            ("1.027e+03", 1027),
            ("1e6", 1_000_000),
            (".5e1", 5),
            ("120000e-4", 12),
            ("9007199254740993", (1 << 53) + 1),
            ("9007199254740993.000", (1 << 53) + 1),
            ("18446744073709551615", u64::MAX),
            ("1844674407370955161.5e1", u64::MAX),
            ("100000000000000000000000e-20", 1000),
        ] {
            check(text, Ok(Value::Whole(whole)));
        }
    }

    #[test]
    fn other_numbers_are_the_nearest_float() {
        for text in [
            "0.1",
            "-1",
            "4.9351e-05",
            "7.424100000000001e-05",
            "18446744073709551616",
            "-0",
            "-0.0",
            "1e308",
            "123456789012345678901234567890",
            "0.30000000000000004",
            "1e-400",
            "179769313486231570e291",
            "5e-324",
            "9007199254740993.5",
            "2.5e22",
            "-1e23",
            "3e-22",
            "1.5e-30",
        ] {
            check(text, Ok(Value::Real(text.parse().unwrap())));
        }
        for (text, real) in [
            ("NaN", f64::NAN),
            ("nan", f64::NAN),
            ("Inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            check(text, Ok(Value::Real(real)));
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", "+", "-", ".", "e5", ".e5", "1e", "1e+", "1.2.3", "1_000", "0x1p-3", "0x1", "1,5", "true", "+NaN",
            "-nan", "infinit", "1 ", " 1", "1\r", "--1", "1e5.0", "٣",
        ] {
            check(text, Err(Fault::Number));
        }
        check("1e309", Err(Fault::Range));
        check("-1e99999999999999999999", Err(Fault::Range));
    }

    #[test]
    fn timestamps_are_milliseconds_in_text_and_seconds_in_openmetrics() {
        for (text, millis) in [
            ("123123", Some(123_123)),
            ("-3982045", Some(-3_982_045)),
            ("+5", Some(5)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("1.5", None),
            ("1e3", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(milliseconds(text.as_bytes()).ok(), millis, "{text}");
        }
        for (text, millis) in [
            ("123", Some(123_000)),
            ("1520879607.789", Some(1_520_879_607_789)),
            ("1604676851.123456789", Some(1_604_676_851_123)),
            ("1.6e9", Some(1_600_000_000_000)),
            ("-0.0015", Some(-1)),
            ("1e-99", Some(0)),
            ("0e99", Some(0)),
            ("1e17", None),
            ("NaN", None),
            ("Inf", None),
            ("1z", None),
        ] {
            assert_eq!(seconds(text.as_bytes()).ok(), millis, "{text}");
        }
    }

    #[test]
    fn beyond_2_to_the_53_a_value_is_coarse() {
        for (text, coarse) in
            [("9007199254740992", false), ("9007199254740993", true), ("1e300", true), ("-1e16", true), ("NaN", false)]
        {
            assert_eq!(number(text.as_bytes()).unwrap().is_coarse(), coarse, "{text}");
        }
    }

    proptest! {
        #[test]
        fn leading_digits_are_those_that_a_loop_finds(text in prop::collection::vec(prop_oneof![b'0'..=b'9', any::<u8>()], 8)) {
            let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let value = text[..digits].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            prop_assert_eq!(leading_digits(text.as_slice().try_into().unwrap()), (digits, value));
        }

        #[test]
        fn a_plain_number_is_one_that_is_read_and_has_digits_and_a_point_alone(text in "[0-9]{0,9}[0-9.\n]{0,9}[0-9.e+\n ]{32}") {
            let text: &[u8; 32] = text.as_bytes().first_chunk().unwrap();
            let line = memchr::memchr(b'\n', text).map(|end| &text[..end]);
            let is_plain = |line: &&[u8]| line.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
            let expected = line.filter(is_plain).filter(|line| number(line).is_ok()).map(<[u8]>::len);
            prop_assert_eq!(plain_decimal(text), expected);
        }

        #[test]
        fn every_float_is_read_as_the_standard_library_reads_it(bits in any::<u64>(), digits in "[0-9]{0,22}\\.[0-9]{1,22}(e-?[0-9]{1,2})?") {
            for text in [format!("{:e}", f64::from_bits(bits)), format!("{}", f64::from_bits(bits)), digits] {
                let expected: f64 = text.parse().unwrap();
                prop_assert_eq!(number(text.as_bytes()).unwrap().as_f64().to_bits() << 1, expected.to_bits() << 1, "{}", text);
            }
        }
    }
}
