//! Decimal numbers without rounding.
//!
//! What decides is an integer: 99.95% becomes 999,500,000 billionths. Going through a double and multiplying would be
//! off by one for some objectives, so numbers are converted through the decimal text that was typed, and one that
//! does not fit is refused instead of rounded.

use std::fmt;

use super::catalog::{Objective, Percentile};

/// A number as typed.
#[derive(Clone, Debug)]
pub(super) struct Number {
    /// Without underscores and without the prefix of its radix.
    pub text: String,
    /// 10, or 2, 8 or 16 for an integer.
    pub radix: u32,
}

/// Why a number is not a whole multiple of the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inexact {
    /// It has more decimals than the unit.
    TooFine,
    /// It is beyond every bound, or not a number at all.
    TooLarge,
}

impl Number {
    /// The number in units of 10^-places, exactly.
    pub fn scaled(&self, places: u32) -> Result<i128, Inexact> {
        if self.radix != 10 {
            let value = i128::from_str_radix(&self.text, self.radix).map_err(|_| Inexact::TooLarge)?;
            return value.checked_mul(10_i128.pow(places)).ok_or(Inexact::TooLarge);
        }
        let (negative, unsigned) = match self.text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, self.text.strip_prefix('+').unwrap_or(&self.text)),
        };
        let magnitude = magnitude(unsigned, places)?;
        Ok(if negative { -magnitude } else { magnitude })
    }
}

fn magnitude(text: &str, places: u32) -> Result<i128, Inexact> {
    /// Far beyond every bound of ours and far below what 128 bits hold.
    const MOST_DIGITS: i64 = 30;
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Inexact::TooLarge); // `inf` and `nan` are floats in TOML.
    }
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let trailing_zeros = digits.len() - digits.trim_end_matches('0').len();
    let exponent: i64 = match exponent.parse::<i32>() {
        Ok(exponent) => exponent.into(),
        Err(_) if exponent.starts_with('-') => return Err(Inexact::TooFine),
        Err(_) => return Err(Inexact::TooLarge),
    };
    let shift = exponent - fraction.len() as i64 + trailing_zeros as i64 + i64::from(places);
    match shift {
        ..0 => Err(Inexact::TooFine),
        _ if significant.len() as i64 + shift > MOST_DIGITS => Err(Inexact::TooLarge),
        _ => significant.parse::<i128>().map(|value| value * 10_i128.pow(shift as u32)).map_err(|_| Inexact::TooLarge),
    }
}

/// A decimal number for people, exactly and without trailing zeros: 999,500,000 with 7 places is `99.95`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// In units of 10^-places.
    pub units: i64,
    /// How many digits stand behind the point, at most 18.
    pub places: u32,
}

impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10_u64.pow(self.places.min(18));
        let (whole, fraction) = (self.units.unsigned_abs() / scale, self.units.unsigned_abs() % scale);
        let sign = if self.units < 0 { "-" } else { "" };
        let digits = format!("{fraction:0width$}", width = self.places as usize);
        match digits.trim_end_matches('0') {
            "" => write!(out, "{sign}{whole}"),
            fraction => write!(out, "{sign}{whole}.{fraction}"),
        }
    }
}

/// In percent, as specs have it: `99.95`.
impl fmt::Display for Objective {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Decimal { units: self.billionths() as i64, places: 7 }.fmt(out)
    }
}

/// As specs have it: `99.9`.
impl fmt::Display for Percentile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Decimal { units: self.millionths() as i64, places: 6 }.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(text: &str, places: u32) -> Result<i128, Inexact> {
        Number { text: text.to_owned(), radix: 10 }.scaled(places)
    }

    #[test]
    fn decimals_are_converted_without_rounding() {
        for (text, places, units) in [
            ("99.95", 7, 999_500_000),
            ("99.9999999", 7, 999_999_999),
            ("90", 7, 900_000_000),
            ("+0.1", 1, 1),
            ("-0.5", 9, -500_000_000),
            ("1e3", 0, 1_000),
            ("9.995E1", 7, 999_500_000),
            ("1000e-3", 0, 1),
            ("0.10000000000000000000000000000000000000000000", 1, 1),
            ("0e999999999", 3, 0),
            ("-0.0", 3, 0),
            ("00012.50", 2, 1_250),
        ] {
            assert_eq!(scaled(text, places), Ok(units), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (text, places, why) in [
            ("99.99999999", 7, Inexact::TooFine),
            ("1e-10", 9, Inexact::TooFine),
            ("1e-99999999999999999999", 9, Inexact::TooFine),
            ("1e99999999999999999999", 0, Inexact::TooLarge),
            ("1e30", 0, Inexact::TooLarge),
            ("99999999999999999999999999999999", 0, Inexact::TooLarge),
            ("nan", 0, Inexact::TooLarge),
            ("-inf", 0, Inexact::TooLarge),
            ("", 0, Inexact::TooLarge),
        ] {
            assert_eq!(scaled(text, places), Err(why), "{text}");
        }
        assert_eq!(Number { text: "ff".to_owned(), radix: 16 }.scaled(1), Ok(2_550));
        let huge = Number { text: "f".repeat(31), radix: 16 };
        assert_eq!(huge.scaled(9), Err(Inexact::TooLarge));
    }

    #[test]
    fn decimals_print_as_they_are_typed() {
        for (units, places, text) in
            [(999_500_000, 7, "99.95"), (900_000_000, 7, "90"), (-120_000_000, 9, "-0.12"), (0, 9, "0"), (3, 0, "3")]
        {
            assert_eq!(Decimal { units, places }.to_string(), text);
        }
        assert_eq!(Objective::new(999_999_999).unwrap().to_string(), "99.9999999");
        assert_eq!(Percentile::new(99_900_000).unwrap().to_string(), "99.9");
    }
}
