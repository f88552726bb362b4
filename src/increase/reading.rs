//! Numbers of a page: what a counter may show, and where a bucket may end.

use std::fmt;

/// Why a sample is refused. The reading before it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BadValue {
    /// `NaN`.
    NotANumber,
    /// `+Inf` or `-Inf`.
    Infinite,
    /// Below zero, or minus zero, which no counter reaches by counting.
    Negative,
    /// Not a whole number of events.
    Fractional,
    /// Beyond 2^53, where a double passes over whole numbers and therefore over events.
    TooLarge,
    /// Its own timestamp is older than that of the reading before it.
    Older,
}

impl BadValue {
    /// The reason in answers and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotANumber => "nan",
            Self::Infinite => "infinite",
            Self::Negative => "negative",
            Self::Fractional => "fractional",
            Self::TooLarge => "too_large",
            Self::Older => "older",
        }
    }
}

/// From here on doubles are more than one apart.
pub(super) const RESOLUTION: u64 = 1 << 53;

/// The count that a double stands for.
///
/// # Errors
/// Why it stands for none; 2^53 itself is the last that does.
pub fn whole(value: f64) -> Result<u64, BadValue> {
    match value {
        _ if value.is_nan() => Err(BadValue::NotANumber),
        _ if value.is_infinite() => Err(BadValue::Infinite),
        _ if value.is_sign_negative() => Err(BadValue::Negative),
        _ if value > RESOLUTION as f64 => Err(BadValue::TooLarge),
        _ if value.fract() != 0.0 => Err(BadValue::Fractional),
        _ => Ok(value as u64),
    }
}

/// The upper end of a histogram bucket, its `le`. Two spellings of a number are the same bound.
#[derive(Clone, Copy, PartialEq)]
pub struct Bound(f64);

impl Bound {
    /// The bound that every observation is within.
    pub const INFINITE: Self = Self(f64::INFINITY);

    /// The bound that only what is negative is below.
    pub const ZERO: Self = Self(0.0);

    /// The bound that every observation is above.
    pub const LOWEST: Self = Self(f64::NEG_INFINITY);

    /// A bound; `None` for NaN. Minus zero is zero.
    pub fn new(value: f64) -> Option<Self> {
        (!value.is_nan()).then_some(Self(value + 0.0))
    }

    /// The bound that ends at a duration, of a histogram in seconds.
    pub fn of_micros(micros: u64) -> Self {
        // A correctly rounded quotient of two exact numbers is the double nearest to the decimal, which is what parsing
        // the decimal gives: 500 ms are the bound that any of `0.5`, `5e-1` and `0.50` names.
        Self(micros as f64 / 1e6)
    }

    /// Reads a label's value: a decimal in any spelling, or an infinity; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "+Inf" | "Inf" | "inf" | "+inf" => Some(Self::INFINITE),
            "-Inf" | "-inf" => Some(Self(f64::NEG_INFINITY)),
            _ => text.parse().ok().filter(|value: &f64| value.is_finite()).and_then(Self::new),
        }
    }

    /// Its value.
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_infinite() {
            true => out.write_str(if self.0 > 0.0 { "+Inf" } else { "-Inf" }),
            false => write!(out, "{}", self.0),
        }
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d07_only_whole_counts_are_counts() {
        const LAST: f64 = (1_u64 << 53) as f64;
        for (value, expected) in [
            (0.0, Ok(0)),
            (1e6, Ok(1_000_000)),
            (LAST, Ok(1 << 53)),
            (f64::NAN, Err(BadValue::NotANumber)),
            (-f64::NAN, Err(BadValue::NotANumber)),
            (f64::INFINITY, Err(BadValue::Infinite)),
            (f64::NEG_INFINITY, Err(BadValue::Infinite)),
            (-0.0, Err(BadValue::Negative)),
            (-1.0, Err(BadValue::Negative)),
            (0.5, Err(BadValue::Fractional)),
            (f64::MIN_POSITIVE, Err(BadValue::Fractional)),
            (LAST + 2.0, Err(BadValue::TooLarge)),
            (1e308, Err(BadValue::TooLarge)),
        ] {
            assert_eq!(whole(value), expected, "{value}");
        }
    }

    #[test]
    fn a_bound_is_a_number_not_its_spelling() {
        let half = Bound::of_micros(500_000);
        for text in ["0.5", "5e-1", "0.50", ".5", "+0.5", "5E-1"] {
            assert_eq!(Bound::parse(text), Some(half), "{text}");
        }
        for micros in [1, 100_000, 300_000, 333_333, 2_500_000, 86_400_000_000] {
            let decimal = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            assert_eq!(Bound::parse(&decimal), Some(Bound::of_micros(micros)), "{decimal}");
        }
        assert_eq!(Bound::parse("+Inf"), Some(Bound::INFINITE));
        assert_eq!(Bound::parse("-0"), Bound::parse("0"));
        for text in ["", "NaN", "half", "1e999", "0,5", "0.5s"] {
            assert_eq!(Bound::parse(text), None, "{text}");
        }
        assert_eq!(format!("{} {}", Bound::INFINITE, half), "+Inf 0.5");
    }
}
