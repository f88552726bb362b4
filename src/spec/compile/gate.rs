//! Gate policies: `[gate]`, and what single services do differently.

use super::names::Names;
use super::value::{self, Bounds};
use crate::spec::alerts::Severity;
use crate::spec::catalog::{BILLION, GatePolicy, OnGap, OnUnknown, ServiceId};
use crate::spec::fault::{At, Faults, quoted};
use crate::spec::number::{Decimal, Number};
use crate::spec::requests;
use crate::spec::table::{Field, Texts};
use crate::spec::written::{Engine, Gate};

const MOST_KINDS: usize = 100;
/// The kind of change when a client names none.
const DEFAULT_KIND: &str = "feature";

const FROZEN_BELOW: i64 = 0;
const THAW_ABOVE: i64 = BILLION as i64 / 20;
const GUARDED_BELOW: i64 = BILLION as i64 / 4;
const STALE_AFTER_MS: i64 = 10 * 60 * 1_000;
const MIN_EVENTS: u64 = 100;
const MAX_UNPARSED: i64 = BILLION as i64 / 100;
const EXEMPT: [&str; 3] = ["fix", "rollback", "security"];

/// The policy of every service, in the order of their ids.
pub(super) fn policies(engine: &Engine, names: &Names<'_>, faults: &Faults<'_>) -> Vec<Option<GatePolicy>> {
    engine.gate.on_unknown.required(faults);
    let base = Keys::of(&engine.gate, faults).over(Keys::defaults());
    if base.frozen_below > base.thaw_above {
        report_crossed(&engine.gate, &base, faults);
    }
    let mut policies = vec![base.clone().policy(); names.services().len()];
    for (name, gate) in &engine.services {
        let keys = Keys::of(gate, faults).over(base.clone());
        if keys.frozen_below > keys.thaw_above {
            report_crossed(gate, &keys, faults);
        }
        if let Some(ServiceId(number)) = names.service(name, faults) {
            policies[number] = keys.policy();
        }
    }
    policies
}

/// The keys of a gate: what is said, or what was said before. A key that is refused counts as not said; its fault keeps
/// the policy from being used.
#[derive(Clone)]
struct Keys {
    on_unknown: Option<OnUnknown>,
    frozen_below: Option<i64>,
    thaw_above: Option<i64>,
    guarded_below: Option<i64>,
    stale_after_ms: Option<i64>,
    min_events: Option<u64>,
    max_unparsed: Option<i64>,
    on_gap: Option<OnGap>,
    exempt: Option<Vec<String>>,
    freeze_on: Option<FreezeOn>,
}

impl Keys {
    fn defaults() -> Self {
        Self {
            on_unknown: None,
            frozen_below: Some(FROZEN_BELOW),
            thaw_above: Some(THAW_ABOVE),
            guarded_below: Some(GUARDED_BELOW),
            stale_after_ms: Some(STALE_AFTER_MS),
            min_events: Some(MIN_EVENTS),
            max_unparsed: Some(MAX_UNPARSED),
            on_gap: Some(OnGap::Show),
            exempt: Some(EXEMPT.map(str::to_owned).to_vec()),
            freeze_on: Some(FreezeOn::None),
        }
    }

    fn of(gate: &Gate, faults: &Faults<'_>) -> Self {
        let ratio = |field: &Field<Number>, key| field.given().and_then(|at| ratio(at, key, faults));
        Self {
            on_unknown: gate.on_unknown.given().and_then(|at| on_unknown(at, faults)),
            frozen_below: ratio(&gate.frozen_below, "frozen_below"),
            thaw_above: ratio(&gate.thaw_above, "thaw_above"),
            guarded_below: ratio(&gate.guarded_below, "guarded_below"),
            stale_after_ms: gate.stale_after.given().and_then(|at| stale_after_ms(at, faults)),
            min_events: gate.min_events.given().and_then(|at| min_events(at, faults)),
            max_unparsed: gate.max_unparsed.given().and_then(|at| max_unparsed(at, faults)),
            on_gap: gate.on_gap.given().and_then(|at| on_gap(at, faults)),
            exempt: gate.exempt.given().and_then(|at| exempt(at, faults)),
            freeze_on: gate.freeze_on.given().and_then(|at| freeze_on(at, faults)),
        }
    }

    fn over(self, other: Self) -> Self {
        Self {
            on_unknown: self.on_unknown.or(other.on_unknown),
            frozen_below: self.frozen_below.or(other.frozen_below),
            thaw_above: self.thaw_above.or(other.thaw_above),
            guarded_below: self.guarded_below.or(other.guarded_below),
            stale_after_ms: self.stale_after_ms.or(other.stale_after_ms),
            min_events: self.min_events.or(other.min_events),
            max_unparsed: self.max_unparsed.or(other.max_unparsed),
            on_gap: self.on_gap.or(other.on_gap),
            exempt: self.exempt.or(other.exempt),
            freeze_on: self.freeze_on.or(other.freeze_on),
        }
    }

    fn policy(self) -> Option<GatePolicy> {
        Some(GatePolicy {
            on_unknown: self.on_unknown?,
            frozen_below_billionths: self.frozen_below?,
            thaw_above_billionths: self.thaw_above?,
            guarded_below_billionths: self.guarded_below?,
            stale_after_ms: self.stale_after_ms?,
            min_events: self.min_events?,
            max_unparsed_billionths: self.max_unparsed?,
            on_gap: self.on_gap?,
            exempt: self.exempt?,
            freeze_on: self.freeze_on?.severity(),
        })
    }
}

/// The alerts that freeze a gate.
#[derive(Clone, Copy)]
enum FreezeOn {
    None,
    Alert(Severity),
}

impl FreezeOn {
    fn severity(self) -> Option<Severity> {
        match self {
            Self::None => None,
            Self::Alert(severity) => Some(severity),
        }
    }
}

fn freeze_on(at: &At<String>, faults: &Faults<'_>) -> Option<FreezeOn> {
    const ALERTS: [(&str, FreezeOn); 3] = [
        ("page", FreezeOn::Alert(Severity::Page)),
        ("ticket", FreezeOn::Alert(Severity::Ticket)),
        ("none", FreezeOn::None),
    ];
    value::choice(at, "what `freeze_on` may say", &ALERTS, faults)
}

/// A gate that thaws below where it freezes would flap with every event. Reported where this table says either.
fn report_crossed(gate: &Gate, keys: &Keys, faults: &Faults<'_>) {
    let sound = |field: &Field<Number>| field.is_absent() || field.given().is_some();
    let place = gate.thaw_above.given().or(gate.frozen_below.given()).map(|at| at.place);
    let (Some(place), true) = (place, sound(&gate.thaw_above) && sound(&gate.frozen_below)) else { return };
    let [frozen, thaw] =
        [keys.frozen_below, keys.thaw_above].map(|units| Decimal { units: units.unwrap_or_default(), places: 9 });
    faults.error(place, format!("`thaw_above` ({thaw}) is less than `frozen_below` ({frozen})"));
}

fn on_unknown(at: &At<String>, faults: &Faults<'_>) -> Option<OnUnknown> {
    const ANSWERS: [(&str, OnUnknown); 2] = [("deny", OnUnknown::Deny), ("allow", OnUnknown::Allow)];
    value::choice(at, "an answer for want of evidence", &ANSWERS, faults)
}

fn ratio(at: &At<Number>, key: &str, faults: &Faults<'_>) -> Option<i64> {
    const BOUNDS: Bounds =
        Bounds { places: 9, least: -10 * BILLION as i64, most: BILLION as i64, words: "between -10 and 1" };
    value::within(at, &format!("`{key}`"), &BOUNDS, faults)
}

fn stale_after_ms(at: &At<String>, faults: &Faults<'_>) -> Option<i64> {
    const SECOND_US: u64 = 1_000_000;
    const LONGEST_US: u64 = 90 * 86_400 * SECOND_US;
    let us = value::duration_us(at, faults)?;
    if !(SECOND_US..=LONGEST_US).contains(&us) || us % 1_000 != 0 {
        let text = quoted(&at.value);
        faults.error(at.place, format!("`stale_after` {text} is not between 1s and 90d, in whole milliseconds"));
        return None;
    }
    i64::try_from(us / 1_000).ok()
}

fn min_events(at: &At<Number>, faults: &Faults<'_>) -> Option<u64> {
    const BOUNDS: Bounds =
        Bounds { places: 0, least: 0, most: 1_000_000_000_000, words: "between 0 and 1000000000000" };
    value::within(at, "`min_events`", &BOUNDS, faults).map(i64::unsigned_abs)
}

/// A share in percent; 7 decimals of a percent are a billionth.
fn max_unparsed(at: &At<Number>, faults: &Faults<'_>) -> Option<i64> {
    const BOUNDS: Bounds = Bounds { places: 7, least: 0, most: BILLION as i64, words: "between 0 and 100 percent" };
    value::within(at, "`max_unparsed`", &BOUNDS, faults)
}

fn on_gap(at: &At<String>, faults: &Faults<'_>) -> Option<OnGap> {
    const ANSWERS: [(&str, OnGap); 2] = [("show", OnGap::Show), ("unknown", OnGap::Unknown)];
    value::choice(at, "an answer to a gap", &ANSWERS, faults)
}

fn exempt(at: &At<Texts>, faults: &Faults<'_>) -> Option<Vec<String>> {
    let mut kinds = Vec::new();
    for kind in value::elements(at, "exempt", (0, MOST_KINDS), faults)? {
        if !requests::is_name(&kind.value) {
            faults.error(kind.place, format!("{} is not a kind of change, such as \"fix\"", quoted(&kind.value)));
        } else if kind.value == DEFAULT_KIND {
            let why = "is the kind of every change that names none; exempt, it leaves a frozen gate nothing to hold";
            faults.warn(kind.place, format!("{} {why}", quoted(DEFAULT_KIND)));
        }
        kinds.push(kind.value.clone());
    }
    Some(kinds)
}
