//! Everything but counts as it is stored: JSON, so that a store can be read without this program.
//!
//! These are the shapes on the disk. They are apart from the types of the engine so that neither can change the other
//! by accident: a new field here is an `Option` or has a default, anything else is a new version of the store.

use serde::{Deserialize, Serialize};

use crate::counts::Rejection;
use crate::engine::{
    Absence, Action, AuditEntry, Gap, KeptGate, KeptQuality, Series, SeriesId, SeriesName, SourceTotals, Terms,
};
use crate::formats::Unparsed;
use crate::gate::{Hold, Level};
use crate::increase::BadValue;
use crate::time::{Minute, Timestamp};

/// A type that has a stored form.
pub(super) trait Stored: Sized {
    type Record: Serialize + for<'de> Deserialize<'de>;

    fn to_record(&self) -> Self::Record;
    fn from_record(record: Self::Record) -> Option<Self>;
}

/// Its bytes.
pub(super) fn write<T: Stored>(value: &T) -> Vec<u8> {
    serde_json::to_vec(&value.to_record()).expect("strings, numbers and lists of them can be written as JSON")
}

/// What the bytes say; a sentence when they say nothing of the kind.
pub(super) fn read<T: Stored>(bytes: &[u8]) -> Result<T, String> {
    let record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    T::from_record(record).ok_or_else(|| format!("unknown names in {}", String::from_utf8_lossy(bytes)))
}

#[derive(Serialize, Deserialize)]
pub(super) struct SeriesRecord {
    id: u32,
    /// `slo`, `records`, `missing`, `arrivals` or `durations`.
    kind: String,
    /// The story of an SLO, or the source.
    of: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slo: Option<String>,
    /// Of durations: of which requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    rules: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    promise: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed_ms: Option<i64>,
    /// First and last minutes; `null` is the beginning, and now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    absences: Vec<(Option<i64>, Option<i64>)>,
}

impl Stored for Series {
    type Record = SeriesRecord;

    fn to_record(&self) -> SeriesRecord {
        let (kind, of, slo) = match &self.name {
            SeriesName::Slo { story, slo } => ("slo", story, Some(slo.clone())),
            SeriesName::Records { source } => ("records", source, None),
            SeriesName::Missing { source } => ("missing", source, None),
            SeriesName::Arrivals { source } => ("arrivals", source, None),
            SeriesName::Durations { source, .. } => ("durations", source, None),
        };
        let requests = match &self.name {
            SeriesName::Durations { requests, .. } => Some(requests.clone()),
            _ => None,
        };
        let number = |minute: &Option<Minute>| minute.map(Minute::number);
        SeriesRecord {
            id: self.id.0,
            kind: kind.to_owned(),
            of: of.clone(),
            slo,
            requests,
            rules: self.rules.clone(),
            promise: self.promise.clone(),
            changed_ms: self.changed.map(Timestamp::millis),
            absences: self.absences.iter().map(|Absence { from, to }| (number(from), number(to))).collect(),
        }
    }

    fn from_record(record: SeriesRecord) -> Option<Self> {
        let name = match (record.kind.as_str(), record.slo, record.requests) {
            ("slo", Some(slo), None) => SeriesName::Slo { story: record.of, slo },
            ("records", None, None) => SeriesName::Records { source: record.of },
            ("missing", None, None) => SeriesName::Missing { source: record.of },
            ("arrivals", None, None) => SeriesName::Arrivals { source: record.of },
            ("durations", None, Some(requests)) => SeriesName::Durations { source: record.of, requests },
            _ => return None,
        };
        let changed = record.changed_ms.map(Timestamp::from_millis);
        let minute = |number: Option<i64>| number.map(Minute::from_number);
        let absences = record.absences.into_iter().map(|(from, to)| Absence { from: minute(from), to: minute(to) });
        let absences = absences.collect();
        Some(Self { id: SeriesId(record.id), name, rules: record.rules, promise: record.promise, changed, absences })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct SourceRecord {
    source: String,
    rejected: Vec<(String, u64)>,
    first_heard: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expired: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quality: Option<QualityRecord>,
}

#[derive(Serialize, Deserialize)]
struct QualityRecord {
    unread_run: u64,
    /// Limits, in billionths.
    exceeded: Vec<i64>,
}

impl Stored for SourceTotals {
    type Record = SourceRecord;

    fn to_record(&self) -> SourceRecord {
        let rejected = self.rejected.iter().map(|(rejection, count)| (rejection_name(*rejection).to_owned(), *count));
        let first_heard = self.first_heard.map(Minute::number);
        let quality =
            self.quality.clone().map(|KeptQuality { unread_run, exceeded }| QualityRecord { unread_run, exceeded });
        let expired = self.expired.map(Minute::number);
        SourceRecord { source: self.source.clone(), rejected: rejected.collect(), first_heard, expired, quality }
    }

    fn from_record(record: SourceRecord) -> Option<Self> {
        let rejection = |(name, count): (String, u64)| {
            let is = |rejection: &&Rejection| rejection_name(**rejection) == name;
            REJECTIONS.iter().find(is).map(|rejection| (*rejection, count))
        };
        let rejected = record.rejected.into_iter().map(rejection).collect::<Option<_>>()?;
        let first_heard = record.first_heard.map(Minute::from_number);
        let quality = record.quality.map(|QualityRecord { unread_run, exceeded }| KeptQuality { unread_run, exceeded });
        let expired = record.expired.map(Minute::from_number);
        Some(Self { source: record.source, rejected, first_heard, expired, quality })
    }
}

/// Every rejection there is.
const REJECTIONS: [Rejection; 16] = [
    Rejection::Unparsed(Unparsed::Layout),
    Rejection::Unparsed(Unparsed::Time),
    Rejection::Unparsed(Unparsed::Status),
    Rejection::Unparsed(Unparsed::NoStatus),
    Rejection::Unparsed(Unparsed::Duration),
    Rejection::Unparsed(Unparsed::Partial),
    Rejection::Ambiguous,
    Rejection::Oversize,
    Rejection::Future,
    Rejection::Expired,
    Rejection::Value(BadValue::NotANumber),
    Rejection::Value(BadValue::Infinite),
    Rejection::Value(BadValue::Negative),
    Rejection::Value(BadValue::Fractional),
    Rejection::Value(BadValue::TooLarge),
    Rejection::Value(BadValue::Older),
];

/// The name of a rejection in a store; a variant without a place in [`REJECTIONS`] could not be read again.
fn rejection_name(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::Unparsed(Unparsed::Layout) => "unparsed.layout",
        Rejection::Unparsed(Unparsed::Time) => "unparsed.time",
        Rejection::Unparsed(Unparsed::Status) => "unparsed.status",
        Rejection::Unparsed(Unparsed::NoStatus) => "unparsed.no_status",
        Rejection::Unparsed(Unparsed::Duration) => "unparsed.duration",
        Rejection::Unparsed(Unparsed::Partial) => "unparsed.partial",
        Rejection::Ambiguous => "ambiguous",
        Rejection::Oversize => "oversize",
        Rejection::Future => "future",
        Rejection::Expired => "expired",
        Rejection::Value(BadValue::NotANumber) => "value.nan",
        Rejection::Value(BadValue::Infinite) => "value.infinite",
        Rejection::Value(BadValue::Negative) => "value.negative",
        Rejection::Value(BadValue::Fractional) => "value.fractional",
        Rejection::Value(BadValue::TooLarge) => "value.too_large",
        Rejection::Value(BadValue::Older) => "value.older",
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct GateRecord {
    service: String,
    level: String,
    since_ms: i64,
    holding: Vec<(String, String)>,
    hold: Option<HoldRecord>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    policy: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    slos: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
enum HoldRecord {
    Freeze { reason: String, until_ms: Option<i64>, exempt: Vec<String> },
    Unfreeze { reason: String, until_ms: Option<i64> },
}

impl Stored for KeptGate {
    type Record = GateRecord;

    fn to_record(&self) -> GateRecord {
        let hold = self.hold.clone().map(|hold| match hold {
            Hold::Freeze { reason, until, exempt } => {
                HoldRecord::Freeze { reason, until_ms: until.map(Timestamp::millis), exempt }
            }
            Hold::Unfreeze { reason, until } => HoldRecord::Unfreeze { reason, until_ms: until.map(Timestamp::millis) },
        });
        GateRecord {
            service: self.service.clone(),
            level: self.level.name().to_owned(),
            since_ms: self.since.millis(),
            holding: self.holding.clone(),
            hold,
            policy: self.terms.policy.clone(),
            slos: self.terms.slos.clone(),
        }
    }

    fn from_record(record: GateRecord) -> Option<Self> {
        let instant = |millis: Option<i64>| millis.map(Timestamp::from_millis);
        let hold = record.hold.map(|hold| match hold {
            HoldRecord::Freeze { reason, until_ms, exempt } => {
                Hold::Freeze { reason, until: instant(until_ms), exempt }
            }
            HoldRecord::Unfreeze { reason, until_ms } => Hold::Unfreeze { reason, until: instant(until_ms) },
        });
        let level = level_named(&record.level)?;
        let since = Timestamp::from_millis(record.since_ms);
        let terms = Terms { policy: record.policy, slos: record.slos };
        Some(Self { service: record.service, level, since, holding: record.holding, hold, terms })
    }
}

fn level_named(name: &str) -> Option<Level> {
    Level::ALL.into_iter().find(|level| level.name() == name)
}

#[derive(Serialize, Deserialize)]
pub(super) struct AuditRecord {
    number: u64,
    at_ms: i64,
    service: String,
    by: String,
    #[serde(flatten)]
    action: ActionRecord,
    reason: String,
    before: Option<String>,
    after: Option<String>,
    cause: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
enum ActionRecord {
    Freeze { until_ms: Option<i64>, exempt: Vec<String> },
    Unfreeze { until_ms: Option<i64> },
    Level,
    Promise { slo: String, from: String, to: String },
    Rules { slo: String, from: String, to: String },
    Terms { from: String, to: String },
    Removed { slo: String },
    Returned { slo: String, since_ms: Option<i64> },
    Renamed { from: String, to: String },
}

impl Stored for AuditEntry {
    type Record = AuditRecord;

    fn to_record(&self) -> AuditRecord {
        let millis = |instant: Option<Timestamp>| instant.map(Timestamp::millis);
        let level = |level: Option<Level>| level.map(|level| level.name().to_owned());
        let action = match self.action.clone() {
            Action::Freeze { until, exempt } => ActionRecord::Freeze { until_ms: millis(until), exempt },
            Action::Unfreeze { until } => ActionRecord::Unfreeze { until_ms: millis(until) },
            Action::Level => ActionRecord::Level,
            Action::Promise { slo, from, to } => ActionRecord::Promise { slo, from, to },
            Action::Rules { slo, from, to } => ActionRecord::Rules { slo, from, to },
            Action::Terms { from, to } => ActionRecord::Terms { from, to },
            Action::Removed { slo } => ActionRecord::Removed { slo },
            Action::Returned { slo, since } => ActionRecord::Returned { slo, since_ms: millis(since) },
            Action::Renamed { from, to } => ActionRecord::Renamed { from, to },
        };
        AuditRecord {
            number: self.number,
            at_ms: self.at.millis(),
            service: self.service.clone(),
            by: self.by.clone(),
            action,
            reason: self.reason.clone(),
            before: level(self.before),
            after: level(self.after),
            cause: self.cause.clone(),
        }
    }

    fn from_record(record: AuditRecord) -> Option<Self> {
        let instant = |millis: Option<i64>| millis.map(Timestamp::from_millis);
        // A level that is absent is none; a level with an unknown name is an error.
        let level = |name: Option<String>| name.map_or(Some(None), |name| level_named(&name).map(Some));
        let action = match record.action {
            ActionRecord::Freeze { until_ms, exempt } => Action::Freeze { until: instant(until_ms), exempt },
            ActionRecord::Unfreeze { until_ms } => Action::Unfreeze { until: instant(until_ms) },
            ActionRecord::Level => Action::Level,
            ActionRecord::Promise { slo, from, to } => Action::Promise { slo, from, to },
            ActionRecord::Rules { slo, from, to } => Action::Rules { slo, from, to },
            ActionRecord::Terms { from, to } => Action::Terms { from, to },
            ActionRecord::Removed { slo } => Action::Removed { slo },
            ActionRecord::Returned { slo, since_ms } => Action::Returned { slo, since: instant(since_ms) },
            ActionRecord::Renamed { from, to } => Action::Renamed { from, to },
        };
        Some(Self {
            number: record.number,
            at: Timestamp::from_millis(record.at_ms),
            service: record.service,
            by: record.by,
            action,
            reason: record.reason,
            before: level(record.before)?,
            after: level(record.after)?,
            cause: record.cause,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct GapRecord {
    source: String,
    from_ms: i64,
    to_ms: i64,
    bytes: Option<u64>,
    reason: String,
}

impl Stored for Gap {
    type Record = GapRecord;

    fn to_record(&self) -> GapRecord {
        let Self { source, from, to, bytes, reason } = self.clone();
        GapRecord { source, from_ms: from.millis(), to_ms: to.millis(), bytes, reason }
    }

    fn from_record(GapRecord { source, from_ms, to_ms, bytes, reason }: GapRecord) -> Option<Self> {
        let (from, to) = (Timestamp::from_millis(from_ms), Timestamp::from_millis(to_ms));
        Some(Self { source, from, to, bytes, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value against its bytes: what is on disks already must not change its shape.
    #[track_caller]
    fn check<T: Stored + PartialEq + std::fmt::Debug>(value: &T, bytes: &str) {
        assert_eq!(String::from_utf8(write(value)).unwrap(), bytes);
        assert_eq!(read::<T>(bytes.as_bytes()).as_ref(), Ok(value));
    }

    const AT: Timestamp = Timestamp::from_millis(1_795_169_520_250);

    #[test]
    fn records_keep_their_shape() {
        let name = SeriesName::Slo { story: "profile".into(), slo: "latency".into() };
        let (rules, promise) = ("latency of lb".to_owned(), "90% over 28d".to_owned());
        check(
            &Series {
                id: SeriesId(7),
                name: name.clone(),
                rules: rules.clone(),
                promise: promise.clone(),
                changed: Some(AT),
                absences: vec![],
            },
            r#"{"id":7,"kind":"slo","of":"profile","slo":"latency","rules":"latency of lb","promise":"90% over 28d","changed_ms":1795169520250}"#,
        );
        let minute = |number| Some(Minute::from_number(number));
        let absences = vec![Absence { from: None, to: minute(5) }, Absence { from: minute(9), to: None }];
        check(
            &Series { id: SeriesId(7), name, rules, promise, changed: None, absences },
            r#"{"id":7,"kind":"slo","of":"profile","slo":"latency","rules":"latency of lb","promise":"90% over 28d","absences":[[null,5],[9,null]]}"#,
        );
        let name = SeriesName::Missing { source: "lb".into() };
        check(
            &Series {
                id: SeriesId(8),
                name,
                rules: String::new(),
                promise: String::new(),
                changed: None,
                absences: vec![],
            },
            r#"{"id":8,"kind":"missing","of":"lb"}"#,
        );
        let name = SeriesName::Durations { source: "lb".into(), requests: "GET /".into() };
        check(
            &Series {
                id: SeriesId(9),
                name,
                rules: String::new(),
                promise: String::new(),
                changed: None,
                absences: vec![],
            },
            r#"{"id":9,"kind":"durations","of":"lb","requests":"GET /"}"#,
        );
        check(
            &SourceTotals {
                source: "lb".into(),
                rejected: [(Rejection::Ambiguous, 2)].into(),
                first_heard: None,
                expired: None,
                quality: Some(KeptQuality { unread_run: 3, exceeded: vec![10_000_000] }),
            },
            r#"{"source":"lb","rejected":[["ambiguous",2]],"first_heard":null,"quality":{"unread_run":3,"exceeded":[10000000]}}"#,
        );
        let gap = Gap { source: "lb".into(), from: AT, to: AT, bytes: Some(5), reason: "rotated_away".into() };
        check(
            &gap,
            r#"{"source":"lb","from_ms":1795169520250,"to_ms":1795169520250,"bytes":5,"reason":"rotated_away"}"#,
        );
        let hold = Hold::Freeze { reason: "party".into(), until: None, exempt: vec!["fix".into()] };
        let holding = vec![("profile".to_owned(), "latency".to_owned())];
        let gate = |terms| KeptGate {
            service: "api".into(),
            level: Level::Frozen,
            since: AT,
            holding: holding.clone(),
            hold: Some(hold.clone()),
            terms,
        };
        check(
            &gate(Terms::default()),
            r#"{"service":"api","level":"frozen","since_ms":1795169520250,"holding":[["profile","latency"]],"hold":{"order":"freeze","reason":"party","until_ms":null,"exempt":["fix"]}}"#,
        );
        check(
            &gate(Terms { policy: "strict".into(), slos: vec!["profile/latency".into()] }),
            r#"{"service":"api","level":"frozen","since_ms":1795169520250,"holding":[["profile","latency"]],"hold":{"order":"freeze","reason":"party","until_ms":null,"exempt":["fix"]},"policy":"strict","slos":["profile/latency"]}"#,
        );
        let entry = AuditEntry {
            number: 3,
            at: AT,
            service: "api".into(),
            by: "anna".into(),
            action: Action::Unfreeze { until: Some(AT) },
            reason: "\u{1b}[2J\" over".into(),
            before: Some(Level::Frozen),
            after: None,
            cause: "order".into(),
        };
        check(
            &entry,
            r#"{"number":3,"at_ms":1795169520250,"service":"api","by":"anna","action":"unfreeze","until_ms":1795169520250,"reason":"\u001b[2J\" over","before":"frozen","after":null,"cause":"order"}"#,
        );
    }

    #[test]
    fn every_rejection_has_a_name() {
        let rejected = REJECTIONS.into_iter().zip(1..).collect();
        let (first_heard, quality) = (Some(Minute::from_number(9)), None);
        let expired = Some(Minute::from_number(-7));
        let totals = SourceTotals { source: "lb".into(), rejected, first_heard, expired, quality };
        assert_eq!(read::<SourceTotals>(&write(&totals)), Ok(totals));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        assert!(read::<Series>(br#"{"id":8,"kind":"other","of":"lb"}"#).is_err());
        assert!(read::<SourceTotals>(br#"{"source":"lb","rejected":[["odd",1]],"first_heard":null}"#).is_err());
        let gate = br#"{"service":"api","level":"ajar","since_ms":0,"holding":[],"hold":null}"#;
        assert!(read::<KeptGate>(gate).is_err());
        assert!(read::<Gap>(b"\0\0\0").is_err());
    }
}
