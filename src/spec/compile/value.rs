//! What single values mean, with their bounds. Each function reports what it refuses and then gives `None`.

use crate::spec::catalog::{Objective, Statuses};
use crate::spec::fault::{At, Faults, did_you_mean, printable, quoted};
use crate::spec::number::{Inexact, Number};
use crate::spec::requests;
use crate::spec::table::{Field, Texts};
use crate::time::{Horizon, parse_duration_us};

const MICROS_PER_MINUTE: u64 = 60_000_000;
const LONGEST_WINDOW_MINUTES: u64 = 90 * 24 * 60;

/// A name of `what`.
pub(super) fn name(at: &At<String>, what: &str, faults: &Faults<'_>) -> Option<String> {
    match requests::is_name(&at.value) {
        true => Some(at.value.clone()),
        false => {
            let rule = "1 to 64 letters, digits, `_`, `.` or `-`";
            faults.error(at.place, format!("{} cannot be the name of {what}; use {rule}", quoted(&at.value)));
            None
        }
    }
}

/// A text for people, such as a title.
pub(super) fn prose(at: &At<String>, what: &str, faults: &Faults<'_>) -> Option<String> {
    const LONGEST: usize = 200;
    let why = match &at.value {
        text if text.trim().is_empty() => "is empty; leave it out instead",
        text if text.chars().count() > LONGEST => "is longer than 200 characters",
        text if text.contains(char::is_control) => "has control characters in it",
        text => return Some(text.clone()),
    };
    faults.error(at.place, format!("the {what} {why}"));
    None
}

/// One of a few words.
pub(super) fn choice<T: Copy>(at: &At<String>, what: &str, words: &[(&str, T)], faults: &Faults<'_>) -> Option<T> {
    let found = words.iter().find(|(word, _)| *word == at.value);
    if found.is_none() {
        let names = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        let help = did_you_mean(&at.value, words.iter().map(|(word, _)| *word));
        faults.error(at.place, format!("{} is not {what}; expected {names}{help}", quoted(&at.value)));
    }
    found.map(|(_, value)| *value)
}

/// What a number may be.
pub(super) struct Bounds {
    /// Its unit is 10^-places.
    pub places: u32,
    /// The least, in units.
    pub least: i64,
    /// The most, in units.
    pub most: i64,
    /// Both as words, such as "between 1 and 5".
    pub words: &'static str,
}

/// A number within its bounds, in units.
pub(super) fn within(at: &At<Number>, what: &str, bounds: &Bounds, faults: &Faults<'_>) -> Option<i64> {
    let units = at.value.scaled(bounds.places);
    let sound = units.ok().and_then(|units| i64::try_from(units).ok());
    let sound = sound.filter(|units| (bounds.least..=bounds.most).contains(units));
    if sound.is_none() {
        let why = match units {
            Err(Inexact::TooFine) if bounds.places == 0 => "is not a whole number".to_owned(),
            Err(Inexact::TooFine) => format!("has more than {} decimals", bounds.places),
            Ok(_) | Err(Inexact::TooLarge) => format!("is not {}", bounds.words),
        };
        faults.error(at.place, format!("{what} {} {why}", quoted(&at.value.text)));
    }
    sound
}

/// An objective in percent.
pub(super) fn objective(at: &At<Number>, faults: &Faults<'_>) -> Option<Objective> {
    /// Decimals of a percent in a billionth.
    const PLACES: u32 = 7;
    const WHOLE: i128 = 100 * 10_i128.pow(PLACES);
    let text = quoted(&at.value.text);
    let units = at.value.scaled(PLACES);
    let objective = units.ok().and_then(|units| u64::try_from(units).ok()).and_then(Objective::new);
    match (objective, units) {
        (Some(_), Ok(units)) if units <= 10_i128.pow(PLACES) => {
            faults.warn(at.place, format!("an objective of {text} is in percent; write 99.9 for 99.9%"));
        }
        (Some(_), _) => {}
        (None, Ok(WHOLE)) => {
            faults.error(at.place, "an objective of 100% has no error budget: a single bad event would spend it");
        }
        (None, Err(Inexact::TooFine)) => {
            faults.error(at.place, format!("the objective {text} has more than {PLACES} decimals"));
        }
        (None, _) => {
            faults.error(at.place, format!("the objective {text} is not a percentage above 0 and below 100"));
        }
    }
    objective
}

/// A length of time in microseconds.
pub(super) fn duration_us(at: &At<String>, faults: &Faults<'_>) -> Option<u64> {
    /// The longest sensible one is far shorter, and messages repeat what was typed.
    const LONGEST: usize = 64;
    let parsed = match at.value.len() {
        0..=LONGEST => parse_duration_us(&at.value),
        _ => Err(format!("{} is not a duration", quoted(&at.value))),
    };
    parsed.map_err(|why| faults.error(at.place, printable(&why))).ok()
}

/// What a request may last at most, in microseconds.
pub(super) fn threshold_us(at: &At<String>, faults: &Faults<'_>) -> Option<u64> {
    const DAY_US: u64 = 24 * 60 * MICROS_PER_MINUTE;
    let us = duration_us(at, faults)?;
    if !(1..=DAY_US).contains(&us) {
        faults.error(at.place, format!("the threshold {} is not above 0 and at most 1d", quoted(&at.value)));
        return None;
    }
    Some(us)
}

/// A window: whole minutes, an hour to 90 days.
pub(super) fn window(at: &At<String>, faults: &Faults<'_>) -> Option<Horizon> {
    minutes(at, "window", (60, "1h"), (LONGEST_WINDOW_MINUTES, "90d"), faults)
}

/// A window of an alert: whole minutes.
pub(super) fn alert_window(at: &At<String>, faults: &Faults<'_>) -> Option<Horizon> {
    minutes(at, "window", (1, "1m"), (LONGEST_WINDOW_MINUTES, "90d"), faults)
}

/// A slice: whole minutes; whether it fits its window is for the caller to say.
pub(super) fn slice(at: &At<String>, faults: &Faults<'_>) -> Option<Horizon> {
    minutes(at, "slice", (1, "1m"), (LONGEST_WINDOW_MINUTES, "90d"), faults)
}

fn minutes(
    at: &At<String>,
    what: &str,
    (least, least_text): (u64, &str),
    (most, most_text): (u64, &str),
    faults: &Faults<'_>,
) -> Option<Horizon> {
    let us = duration_us(at, faults)?;
    let why = match us / MICROS_PER_MINUTE {
        _ if us % MICROS_PER_MINUTE != 0 => "is not a whole number of minutes".to_owned(),
        minutes if (least..=most).contains(&minutes) => return u32::try_from(minutes).ok().and_then(Horizon::new),
        _ => format!("is not between {least_text} and {most_text}"),
    };
    faults.error(at.place, format!("the {what} {} {why}", quoted(&at.value)));
    None
}

/// The elements of an array that has neither too few nor too many.
pub(super) fn elements<'t>(
    at: &'t At<Texts>,
    key: &str,
    (least, most): (usize, usize),
    faults: &Faults<'_>,
) -> Option<impl Iterator<Item = &'t At<String>> + use<'t>> {
    match at.value.len() {
        count if count < least => faults.error(at.place, format!("`{key}` is empty")),
        count if count > most => faults.error(at.place, too_many(count, key, most)),
        _ => return Some(at.value.iter().flatten()),
    }
    None
}

/// What to say when there are too many of something.
pub(super) fn too_many(count: usize, what: &str, most: usize) -> String {
    format!("{count} elements of `{what}` are too many; at most {most} are allowed")
}

/// A set of statuses, the default when the key is absent; empty only where that is the default.
pub(super) fn statuses(field: &Field<Texts>, key: &str, default: Statuses, faults: &Faults<'_>) -> Option<Statuses> {
    /// There are no more statuses than this.
    const MOST: usize = 500;
    let least = usize::from(default != Statuses::NONE);
    field.or(default, |at| {
        let mut set = Statuses::NONE;
        for text in elements(at, key, (least, MOST), faults)? {
            match requests::statuses(&text.value) {
                Ok(more) => set = set.union(more),
                Err(why) => faults.error(text.place, why),
            }
        }
        Some(set)
    })
}
