//! Alert rules: the engine's, and those of single SLOs.

use super::value::{self, Bounds};
use crate::spec::alerts::{AlertRule, Factor, Severity};
use crate::spec::catalog::{BILLION, Objective};
use crate::spec::fault::{At, Faults, Place, quoted};
use crate::spec::number::Number;
use crate::spec::table::Field;
use crate::spec::written::Alert;
use crate::time::Horizon;

const MOST_RULES: usize = 20;
/// Percent of a budget, in millionths.
const BUDGET: Bounds = Bounds { places: 6, least: 1, most: 100_000_000, words: "above 0 and at most 100" };
const WHOLE_BUDGET: u64 = 100_000_000;
/// A burn rate, in millionths: that of a total outage at seven nines, at most.
const FACTOR: Bounds =
    Bounds { places: 6, least: 1, most: 1_000_000_000_000_000, words: "above 0 and at most 1000000000" };
const FACTOR_UNIT: u64 = 1_000_000;

/// A rule as far as it does not depend on an SLO.
#[derive(Clone, Debug)]
pub(super) struct Written {
    severity: Severity,
    long: Horizon,
    short: Horizon,
    speed: Speed,
    hold_ms: i64,
    place: Place,
}

/// What counts as burning.
#[derive(Clone, Copy, Debug)]
enum Speed {
    /// Spending this much of the budget in the long window, in hundred-millionths.
    Budget(u64),
    /// A burn rate.
    Factor(Factor),
}

/// What there is to know of an SLO whose budget may burn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) objective: Objective,
    pub(super) window: Horizon,
    /// Of the kinds that judge slices.
    pub(super) slice: Option<Horizon>,
}

/// The rules for every SLO that has none of its own; `Some(None)` when nothing is said, `None` when it is broken.
pub(super) fn common(field: &Field<Vec<Alert>>, faults: &Faults<'_>) -> Option<Option<Vec<Written>>> {
    field.or(None, |at| rules(at, faults).map(Some))
}

/// The rules of an SLO: its own, those for every SLO, or the recommended ones.
///
/// A rule of its own that can never fire is refused; of the others it is left out.
pub(super) fn of_slo(
    own: &Field<Vec<Alert>>,
    common: Option<&[Written]>,
    promise: Promise,
    faults: &Faults<'_>,
) -> Option<Vec<AlertRule>> {
    if let Some(own) = own.or(None, |at| rules(at, faults).map(Some))? {
        let compile = |rule: &Written| {
            let compiled = rule.compile(promise);
            compiled.map_err(|why| faults.error(rule.place, why)).ok()
        };
        let compiled: Vec<Option<AlertRule>> = own.iter().map(compile).collect();
        return compiled.into_iter().collect();
    }
    Some(match common {
        Some(common) => common.iter().filter_map(|rule| rule.compile(promise).ok()).collect(),
        None => {
            let rules = AlertRule::recommended(promise.window).into_iter();
            let reachable = rules.filter(|rule| is_reachable(rule.factor, promise.objective));
            reachable.filter_map(|rule| over_slices(rule, promise.slice)).collect()
        }
    })
}

/// Reports the rules for every SLO that can fire for none of these.
pub(super) fn report_idle(common: &[Written], slos: &[Promise], faults: &Faults<'_>) {
    for rule in common {
        let results = slos.iter().map(|promise| rule.compile(*promise));
        let refused: Vec<String> = results.filter_map(Result::err).collect();
        if let Some(why) = refused.first().filter(|_| refused.len() == slos.len()) {
            faults.error(rule.place, why);
        }
    }
}

fn rules(at: &At<Vec<Alert>>, faults: &Faults<'_>) -> Option<Vec<Written>> {
    if at.value.len() > MOST_RULES {
        faults.error(at.place, value::too_many(at.value.len(), "alert", MOST_RULES));
        return None;
    }
    let rules: Vec<Option<Written>> = at.value.iter().map(|alert| rule(alert, faults)).collect();
    let rules: Vec<Written> = rules.into_iter().collect::<Option<_>>()?;
    are_told_apart(&rules, faults).then_some(rules)
}

/// Whether no two rules have the same name wherever alerts are told of; of those that do, the later ones are reported.
fn are_told_apart(rules: &[Written], faults: &Faults<'_>) -> bool {
    let name = |rule: &Written| (rule.severity, rule.long, rule.short);
    let twins = rules.iter().enumerate().filter_map(|(number, rule)| {
        let twin = rules[..number].iter().find(|other| name(other) == name(rule))?;
        Some((rule, twin))
    });
    let mut are = true;
    for (rule, twin) in twins {
        are = false;
        let (severity, long, short, first) = (rule.severity.name(), rule.long, rule.short, faults.locate(twin.place));
        faults.error(
            rule.place,
            format!(
                "this alert cannot be told from the {severity} over {long} and {short} at {first}; keep one of them"
            ),
        );
    }
    are
}

fn rule(written: &Alert, faults: &Faults<'_>) -> Option<Written> {
    const SEVERITIES: [(&str, Severity); 2] = [("page", Severity::Page), ("ticket", Severity::Ticket)];
    let severity =
        written.severity.required(faults).and_then(|at| value::choice(at, "a severity", &SEVERITIES, faults));
    let long = written.long.required(faults).and_then(|at| value::alert_window(at, faults));
    let short = written.short.required(faults).and_then(|at| value::alert_window(at, faults));
    let hold_ms = written.hold.or(0, |at| hold_ms(at, faults));
    let speed = speed(written, faults);
    if let (Some(long), Some(short), Some(at)) = (long, short, written.short.given())
        && short >= long
    {
        faults.error(at.place, format!("the short window {} is not shorter than the long one", quoted(&at.value)));
        return None;
    }
    Some(Written {
        severity: severity?,
        long: long?,
        short: short?,
        speed: speed?,
        hold_ms: hold_ms?,
        place: written.place,
    })
}

fn speed(written: &Alert, faults: &Faults<'_>) -> Option<Speed> {
    let units = |at: &At<Number>, what: &str, bounds: &Bounds| value::within(at, what, bounds, faults);
    let budget = written.budget.given().map(|at| units(at, "the budget", &BUDGET).map(i64::unsigned_abs));
    let factor = written.factor.given().map(|at| units(at, "the factor", &FACTOR).map(i64::unsigned_abs));
    match (budget, factor) {
        (Some(_), Some(_)) => {
            faults.error(written.place, "`budget` and `factor` both say how fast is too fast; keep one");
            None
        }
        (Some(budget), None) => budget.map(Speed::Budget),
        (None, Some(factor)) => factor.and_then(|units| Factor::new(units, FACTOR_UNIT)).map(Speed::Factor),
        (None, None) => {
            if written.budget.is_absent() && written.factor.is_absent() {
                let help = "`budget` (percent of the error budget spent over `long`) or `factor` (a burn rate)";
                faults.missing(written.place, format!("missing how fast is too fast: {help}"));
            }
            None
        }
    }
}

fn hold_ms(at: &At<String>, faults: &Faults<'_>) -> Option<i64> {
    const DAY_US: u64 = 86_400_000_000;
    let us = value::duration_us(at, faults)?;
    if us > DAY_US || us % 1_000 != 0 {
        faults.error(at.place, format!("`for` {} is not at most 1d, in whole milliseconds", quoted(&at.value)));
        return None;
    }
    i64::try_from(us / 1_000).ok()
}

impl Written {
    /// The rule for an SLO of this objective and window.
    ///
    /// # Errors
    /// Why it can never fire there.
    fn compile(&self, Promise { objective, window, slice }: Promise) -> Result<AlertRule, String> {
        let Self { severity, long, short, hold_ms, .. } = *self;
        if long > window {
            return Err(format!("the long window of {long} is longer than the SLO's window of {window}"));
        }
        let factor = match self.speed {
            Speed::Budget(share) => AlertRule::spending(share, WHOLE_BUDGET, long, window),
            Speed::Factor(factor) => Some(factor),
        };
        // Both parts of a share are above 0 and far below 2^64 by their bounds.
        let factor = factor.ok_or_else(|| "this factor is out of all bounds".to_owned())?;
        if !is_reachable(factor, objective) {
            let most = BILLION as f64 / objective.budget_billionths() as f64;
            let why = format!("at an objective of {objective}% no budget burns faster than {most}");
            return Err(format!("this alert can never fire: its factor is {factor}, and {why}"));
        }
        if let Some(slice) = slice.filter(|slice| *slice >= short) {
            let why = format!("no slice of {slice} ever lies in a window of {short}");
            return Err(format!("this alert can never fire: {why}; make `short` at least twice as long as a slice"));
        }
        Ok(AlertRule { severity, long, short, factor, hold_ms })
    }
}

/// A recommended rule for an SLO that judges slices: with a short window in which there always is a whole one. `None`
/// when the long window has no room for that.
fn over_slices(rule: AlertRule, slice: Option<Horizon>) -> Option<AlertRule> {
    let Some(slice) = slice.filter(|slice| *slice >= rule.short) else { return Some(rule) };
    let short = Horizon::new(u32::try_from(2 * slice.minutes()).ok()?)?;
    (short < rule.long).then_some(AlertRule { short, ..rule })
}

/// Whether a total outage burns that fast: factor <= 1 / (1 - objective).
fn is_reachable(factor: Factor, objective: Objective) -> bool {
    let (numerator, denominator) = factor.parts();
    let needed = u128::from(numerator) * u128::from(objective.budget_billionths());
    needed <= u128::from(denominator) * u128::from(BILLION)
}
