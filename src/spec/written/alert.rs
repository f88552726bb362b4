//! Alert rules as typed.

use crate::spec::fault::Place;
use crate::spec::number::Number;
use crate::spec::table::{Field, Refused, Shape, Table};

/// `[[alert]]` in slogate.toml, or `[[slo.alert]]`.
pub(in crate::spec) struct Alert {
    /// Its head.
    pub place: Place,
    pub severity: Field<String>,
    pub long: Field<String>,
    pub short: Field<String>,
    /// Percent of the error budget.
    pub budget: Field<Number>,
    pub factor: Field<Number>,
    pub hold: Field<String>,
}

pub(super) const ALERT: Shape = Shape {
    name: "an alert",
    keys: &["severity", "long", "short", "budget", "factor", "for"],
    refused: &[
        Refused { key: "burn_rate", why: "write `factor = 14.4`", instead: "factor" },
        Refused { key: "window", why: "an alert has two windows, `long` and `short`", instead: "long" },
    ],
};

pub(super) fn alerts(parent: &Table<'_>) -> Field<Vec<Alert>> {
    parent.tables("alert", &ALERT).map(|tables| tables.iter().map(alert).collect())
}

fn alert(table: &Table<'_>) -> Alert {
    Alert {
        place: table.place,
        severity: table.text("severity"),
        long: table.text("long"),
        short: table.text("short"),
        budget: table.number("budget"),
        factor: table.number("factor"),
        hold: table.text("for"),
    }
}
