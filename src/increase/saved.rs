//! The state of a target as bytes, to be committed together with the counts that came of it.
//!
//! There are two parts. The *directory* holds the names of the series and changes only when series come or go; the
//! *state* holds the rest and changes with every page, at two to ten bytes for most series. Both carry the number of
//! the directory, so that a state is never read with the names of another one.

use std::sync::Arc;

use super::bytes::{Damaged, Reader, Writer};
use super::gauge::{Gauge, GaugeSeries};
use super::health::Health;
use super::hearing::Hearing;
use super::histogram::MOST_BUCKETS;
use super::member::{Last, Member, Role, Standing, Value};
use super::meter::{CONFIRMING_PAGES, Meter, MeterState, Past, WAITING_PAGES, WATCHED_PAGES};
use super::reading::Bound;
use super::roster::Named;
use super::spread::{Buckets, Stretch};
use super::target::{Measure, Measured, Rules, Target, TargetState, What, parts};
use crate::time::{MILLIS_PER_MINUTE, Minute, Timestamp};

/// A target as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The number of the directory. While it stays the same, so do the directory's bytes.
    pub directory_number: u64,
    /// The names of the series.
    pub directory: Vec<u8>,
    /// Everything else.
    pub state: Vec<u8>,
}

/// Why a saved target cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    /// It was written by a later version.
    #[error("the saved counters are of version {found}, this slogate knows up to {VERSION}; use the newer one")]
    Newer {
        /// Which.
        found: u8,
    },
    /// Its two parts were not saved together.
    #[error("the saved counters and their names do not belong together; the store is damaged")]
    Mismatch,
    /// The bytes are not what was written.
    #[error("the saved counters cannot be understood at {0}; the store is damaged")]
    Damaged(&'static str),
}

impl From<Damaged> for SavedError {
    fn from(Damaged(what): Damaged) -> Self {
        Self::Damaged(what)
    }
}

/// The version of what is written. The first did not say when measures were read.
const VERSION: u8 = 2;

const METER: u8 = 0;
const GAUGE: u8 = 1;

impl Target {
    /// The target as it is after the last page.
    pub fn save(&self) -> Saved {
        let number = self.directory_number();
        Saved { directory_number: number, directory: self.directory(number), state: self.state_bytes(number) }
    }

    /// The state alone, for as long as the directory's number stays the same.
    pub fn save_state(&self) -> (u64, Vec<u8>) {
        let number = self.directory_number();
        (number, self.state_bytes(number))
    }

    /// The target as it was saved, as far as the same measures are still wanted. Those that are not hand their series
    /// on: a measure with another rule counts the same series from their last readings on, and marks the others as
    /// first seen since then if it takes the place of one with its name. Any other new one begins with its first page.
    ///
    /// # Errors
    /// Why the bytes cannot be used.
    pub fn restore(rules: Rules, measures: &[Measure], directory: &[u8], state: &[u8]) -> Result<Self, SavedError> {
        let (mut directory, mut state) = (Reader::new(directory), Reader::new(state));
        let ((_, number), (version, same)) = (begin(&mut directory)?, begin(&mut state)?);
        if number != same {
            return Err(SavedError::Mismatch);
        }
        let mut target = Self::new(rules, measures, None);
        target.state = read_target(&mut state)?;
        let process = target.state.process;
        let saved = directory.length()?;
        let mut is_same = saved == measures.len();
        let (mut found, mut dropped) = (vec![false; measures.len()], Vec::new());
        for place in 0..saved {
            let key = directory.text()?;
            let mut hearing = Hearing::default();
            if version > 1 {
                (hearing.since, hearing.last) = (state.maybe_time()?, state.maybe_time()?);
            }
            let what = match directory.byte()? {
                METER => What::Meter(Box::new(read_meter(&mut directory, &mut state, process, version)?)),
                GAUGE => What::Gauge(read_gauge(&mut directory, &mut state)?),
                _ => return Err(SavedError::Damaged("a measure")),
            };
            let key = String::from_utf8_lossy(key).into_owned();
            let wanted = measures.iter().position(|measure| measure.key == key).or_else(|| {
                let renamed =
                    measures.iter().zip(&found).position(|(measure, found)| !found && measure.is_kept_under(&key));
                is_same &= renamed.is_none();
                renamed
            });
            is_same &= wanted == Some(place);
            let left = match wanted {
                Some(wanted) => {
                    found[wanted] = true;
                    target.measures[wanted].take(Measured { key, what, hearing })
                }
                None => Some(Measured { key, what, hearing }),
            };
            is_same &= left.is_none();
            dropped.extend(left);
        }
        directory.end()?;
        state.end()?;
        if let Some(last) = target.state.last {
            let new = target.measures.iter_mut().zip(measures).zip(found).filter(|(_, found)| !found);
            new.for_each(|((measured, measure), _)| measured.succeed(measure, &dropped, last));
        }
        target.number_directory(if is_same { number } else { number.wrapping_add(1) });
        Ok(target)
    }

    fn directory(&self, number: u64) -> Vec<u8> {
        let mut out = begun(number);
        out.length(self.measures.len());
        for measured in &self.measures {
            out.text(measured.key.as_bytes());
            match &measured.what {
                What::Meter(meter) => {
                    out.byte(METER);
                    write_names(&mut out, meter.members.len(), meter.members.iter());
                    meter.members.iter().for_each(|member| out.byte(member.role as u8));
                }
                What::Gauge(gauge) => {
                    out.byte(GAUGE);
                    write_names(&mut out, gauge.series.len(), gauge.series.iter());
                }
            }
        }
        out.bytes
    }

    fn state_bytes(&self, number: u64) -> Vec<u8> {
        let mut out = begun(number);
        write_target(&mut out, &self.state);
        let process = self.state.process;
        for measured in &self.measures {
            out.maybe_time(measured.hearing.since);
            out.maybe_time(measured.hearing.last);
            match &measured.what {
                What::Meter(meter) => write_meter(&mut out, meter, process),
                What::Gauge(gauge) => write_gauge(&mut out, gauge),
            }
        }
        out.bytes
    }
}

impl Measured {
    /// Goes on from what was saved; gives it back when that is of another kind.
    fn take(&mut self, saved: Self) -> Option<Self> {
        match (&mut self.what, saved.what) {
            (What::Meter(meter), What::Meter(saved)) => meter.restore(saved.members, saved.state),
            (What::Gauge(gauge), What::Gauge(saved)) => gauge.series = saved.series,
            (_, what) => return Some(Self { what, ..saved }),
        }
        self.hearing = saved.hearing;
        None
    }

    /// Begins where measures ended that are no longer wanted, of a target that gave its last page at `last`.
    fn succeed(&mut self, measure: &Measure, dropped: &[Self], last: Timestamp) {
        let before = dropped.iter().find(|before| measure.had_name(parts(&before.key).0));
        match &mut self.what {
            What::Meter(meter) => {
                let meters = dropped.iter().filter_map(|dropped| dropped.what.meter());
                let members = meters.flat_map(|meter| meter.members.iter());
                let is_alike = |member: &&Member| meter.threshold.is_some() == member.is_histogram();
                let seeds = members.filter(is_alike).map(|member| (Arc::clone(&member.name), member.clone()));
                meter.seeds = seeds.collect();
                if let Some(before) = before {
                    meter.succeed(before.what.meter(), last);
                }
            }
            What::Gauge(gauge) => {
                // A slice that is going on is judged by the rule by which it was seen.
                let gauges = dropped.iter().filter_map(|dropped| dropped.what.gauge());
                let series = gauges.flat_map(|gauge| gauge.series.iter());
                gauge.seeds = series.map(|series| (Arc::clone(&series.name), series.clone())).collect();
            }
        }
    }
}

impl What {
    fn meter(&self) -> Option<&Meter> {
        match self {
            Self::Meter(meter) => Some(meter),
            Self::Gauge(_) => None,
        }
    }

    fn gauge(&self) -> Option<&Gauge> {
        match self {
            Self::Meter(_) => None,
            Self::Gauge(gauge) => Some(gauge),
        }
    }
}

fn begun(number: u64) -> Writer {
    let mut out = Writer::default();
    out.byte(VERSION);
    out.number(number);
    out
}

/// The version and the number of the directory.
fn begin(from: &mut Reader<'_>) -> Result<(u8, u64), SavedError> {
    match from.byte()? {
        version @ 1..=VERSION => Ok((version, from.number()?)),
        found if found > VERSION => Err(SavedError::Newer { found }),
        _ => Err(SavedError::Damaged("the version")),
    }
}

/// Names in their order, each without what it shares with the one before: series of a page differ in few labels.
fn write_names<'a, T: Named + 'a>(out: &mut Writer, count: usize, series: impl Iterator<Item = &'a T>) {
    out.length(count);
    let mut before: &[u8] = b"";
    for series in series {
        let name = series.name();
        let shared = before.iter().zip(name.iter()).take_while(|(a, b)| a == b).count();
        out.length(shared);
        out.text(&name[shared..]);
        before = name;
    }
}

fn read_names(from: &mut Reader<'_>) -> Result<Vec<Arc<[u8]>>, Damaged> {
    let count = from.length()?;
    let mut names: Vec<Arc<[u8]>> = Vec::new();
    // Names that share much are longer than their bytes here; damaged bytes must not make them endless.
    let mut total = 0;
    for _ in 0..count {
        let shared = usize::try_from(from.number()?).map_err(|_| Damaged("a name"))?;
        let before = names.last().map_or(&b""[..], |name| name);
        let mut name = before.get(..shared).ok_or(Damaged("a name"))?.to_vec();
        name.extend_from_slice(from.text()?);
        total += name.len();
        if total > MOST_NAME_BYTES {
            return Err(Damaged("a name"));
        }
        names.push(name.into());
    }
    Ok(names)
}

/// Names of all series of a measure together.
const MOST_NAME_BYTES: usize = 1 << 30;

fn write_target(out: &mut Writer, state: &TargetState) {
    out.byte(u8::from(state.last.is_some()));
    out.base(state.last.unwrap_or(Timestamp::from_millis(0)));
    out.byte(state.late);
    out.maybe_time(state.late_at);
    out.maybe_time(state.process);
    let health = &state.health;
    out.byte(health.state.map_or(2, |(up, _)| u8::from(up)));
    out.maybe_time(health.state.map(|(_, since)| since));
    out.maybe_time(health.doubted);
    out.maybe_time(health.last_page);
}

fn read_target(from: &mut Reader<'_>) -> Result<TargetState, Damaged> {
    let (has_last, base) = (from.flag()?, from.base()?);
    let (late, late_at) = (from.byte()?, from.maybe_time()?);
    let process = from.maybe_time()?;
    let up = match from.byte()? {
        2 => None,
        byte @ 0..=1 => Some(byte == 1),
        _ => return Err(Damaged("the health")),
    };
    let state = match (up, from.maybe_time()?) {
        (Some(up), Some(since)) => Some((up, since)),
        (None, None) => None,
        _ => return Err(Damaged("the health")),
    };
    let health = Health { state, doubted: from.maybe_time()?, last_page: from.maybe_time()? };
    if !has_last && base.millis() != 0 {
        return Err(Damaged("the last page"));
    }
    Ok(TargetState { last: has_last.then_some(base), late, late_at, process, health })
}

fn write_meter(out: &mut Writer, meter: &Meter, process: Option<Timestamp>) {
    let mut shapes = Shapes::default();
    let lasts = meter.members.iter().filter_map(|member| member.last.as_ref());
    lasts.for_each(|last| shapes.note_value(&last.value));
    let stretches = meter.state.open.iter().chain(meter.state.held.iter().flatten());
    stretches.flat_map(|stretch| &stretch.buckets).for_each(|buckets| shapes.note(buckets));
    shapes.write(out);
    write_meter_state(out, &meter.state, &shapes);
    meter.members.iter().for_each(|member| write_member(out, member, process, &shapes));
}

fn read_meter(
    directory: &mut Reader<'_>,
    from: &mut Reader<'_>,
    process: Option<Timestamp>,
    version: u8,
) -> Result<Meter, Damaged> {
    let names = read_names(directory)?;
    let mut roles = Vec::new();
    for _ in 0..names.len() {
        let role = [Role::Both, Role::Total, Role::Part].into_iter().zip(0..);
        let byte = directory.byte()?;
        roles.push(role.into_iter().find(|(_, number)| *number == byte).ok_or(Damaged("a role"))?.0);
    }
    let shapes = Shapes::read(from)?;
    // The part and the threshold are the measure's; only what is kept is taken from here.
    let mut meter = Meter::new(super::Part::Good, None, None);
    meter.state = read_meter_state(from, &shapes, version)?;
    for (name, role) in names.into_iter().zip(roles) {
        if meter.members.find(0, &name).is_some() {
            return Err(Damaged("a name"));
        }
        let member = read_member(from, Member::new(name, role), process, &shapes)?;
        meter.members.add(0, member);
    }
    Ok(meter)
}

fn write_meter_state(out: &mut Writer, state: &MeterState, shapes: &Shapes) {
    out.maybe_time(state.zero_after);
    out.maybe_time(state.page);
    write_stretches(out, &state.open, shapes);
    out.byte(state.waited);
    out.length(state.held.len());
    state.held.iter().for_each(|stretches| write_stretches(out, stretches, shapes));
    out.byte(state.unconfirmed);
    out.number(state.carry);
    out.length(state.history.len());
    for past in &state.history {
        out.time(past.at);
        out.byte(u8::from(past.fell));
        out.number(past.counted);
    }
    out.byte(state.quarantine.map_or(0, |calm| calm + 1));
    out.byte(u8::from(state.part_gone));
}

fn read_meter_state(from: &mut Reader<'_>, shapes: &Shapes, version: u8) -> Result<MeterState, Damaged> {
    let (zero_after, page) = (from.maybe_time()?, from.maybe_time()?);
    let open = read_stretches(from, shapes)?;
    let waited = within(from.byte()?, WAITING_PAGES, "a wait")?;
    let mut held = Vec::new();
    for _ in 0..from.length()? {
        held.push(read_stretches(from, shapes)?);
    }
    let unconfirmed = within(from.byte()?, CONFIRMING_PAGES, "a wait")?;
    let carry = from.number()?;
    let mut history = std::collections::VecDeque::new();
    for _ in 0..from.length()? {
        history.push_back(Past { at: from.time()?, fell: from.flag()?, counted: from.number()? });
    }
    let quarantine = within(from.byte()?, WATCHED_PAGES as u8, "a quarantine")?.checked_sub(1);
    if history.len() > WATCHED_PAGES {
        return Err(Damaged("the past"));
    }
    let part_gone = version > 1 && from.flag()?;
    Ok(MeterState { zero_after, page, open, waited, held, unconfirmed, carry, history, quarantine, part_gone })
}

fn within(byte: u8, most: u8, what: &'static str) -> Result<u8, Damaged> {
    if byte > most { Err(Damaged(what)) } else { Ok(byte) }
}

fn write_stretches(out: &mut Writer, stretches: &[Stretch], shapes: &Shapes) {
    out.length(stretches.len());
    for stretch in stretches {
        out.time(stretch.from);
        out.time(stretch.to);
        out.number(stretch.part);
        out.number(stretch.total);
        out.length(stretch.buckets.len());
        stretch.buckets.iter().for_each(|buckets| shapes.write_counts(out, buckets));
    }
}

fn read_stretches(from: &mut Reader<'_>, shapes: &Shapes) -> Result<Vec<Stretch>, Damaged> {
    let mut stretches = Vec::new();
    for _ in 0..from.length()? {
        let mut stretch = Stretch::new(from.time()?, from.time()?);
        // One that is longer would have been no stretch, and takes forever to divide.
        if stretch.to.millis() - stretch.from.millis() > 2 * super::member::LONGEST_GAP_MS {
            return Err(Damaged("a stretch"));
        }
        (stretch.part, stretch.total) = (from.number()?, from.number()?);
        for _ in 0..from.length()? {
            stretch.buckets.push(shapes.read_counts(from)?);
        }
        stretches.push(stretch);
    }
    Ok(stretches)
}

const HAS_LAST: u8 = 1 << 2;
const HAS_CREATED: u8 = 1 << 3;
const HAS_STAMP: u8 = 1 << 4;
const HAS_PROCESS: u8 = 1 << 5;
/// The process is that of the target's last page.
const SAME_PROCESS: u8 = 1 << 6;
const HAS_BUCKETS: u8 = 1 << 7;

fn write_member(out: &mut Writer, member: &Member, process: Option<Timestamp>, shapes: &Shapes) {
    let Some(last) = &member.last else { return out.byte(member.standing as u8) };
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let same_process = last.process.is_some() && last.process == process;
    out.byte(
        member.standing as u8
            | HAS_LAST
            | flag(last.created.is_some(), HAS_CREATED)
            | flag(last.stamp.is_some(), HAS_STAMP)
            | flag(last.process.is_some() && !same_process, HAS_PROCESS)
            | flag(same_process, SAME_PROCESS)
            | flag(matches!(last.value, Value::Buckets(_)), HAS_BUCKETS),
    );
    out.time(last.at);
    last.created.into_iter().for_each(|time| out.time(time));
    last.stamp.into_iter().for_each(|time| out.time(time));
    last.process.filter(|_| !same_process).into_iter().for_each(|time| out.time(time));
    match &last.value {
        Value::One(count) => out.number(*count),
        Value::Buckets(buckets) => shapes.write_counts(out, buckets),
    }
}

fn read_member(
    from: &mut Reader<'_>,
    mut member: Member,
    process: Option<Timestamp>,
    shapes: &Shapes,
) -> Result<Member, Damaged> {
    let flags = from.byte()?;
    member.standing = match flags & 3 {
        0 => Standing::Live,
        1 => Standing::Missed,
        2 => Standing::Gone,
        _ => Standing::Broken,
    };
    if flags & HAS_LAST == 0 {
        return if flags > 3 { Err(Damaged("a counter")) } else { Ok(member) };
    }
    let at = from.time()?;
    let created = (flags & HAS_CREATED != 0).then(|| from.time()).transpose()?;
    let stamp = (flags & HAS_STAMP != 0).then(|| from.time()).transpose()?;
    let process = match flags & (HAS_PROCESS | SAME_PROCESS) {
        0 => None,
        HAS_PROCESS => Some(from.time()?),
        SAME_PROCESS => Some(process.ok_or(Damaged("a process"))?),
        _ => return Err(Damaged("a process")),
    };
    let value = match flags & HAS_BUCKETS {
        0 => Value::One(from.number()?),
        _ => Value::Buckets(shapes.read_counts(from)?),
    };
    member.last = Some(Last { value, at, created, process, stamp });
    Ok(member)
}

/// A gauge is missing, and that was said.
const GONE: u8 = 1 << 2;

fn write_gauge(out: &mut Writer, gauge: &Gauge) {
    for series in gauge.series.iter() {
        let gone = if series.is_gone { GONE } else { 0 };
        out.byte(series.slice.map_or(2, |(_, good)| u8::from(good)) | gone);
        series.slice.into_iter().for_each(|(minute, _)| out.signed(minute.number()));
        out.maybe_time(series.at);
    }
}

fn read_gauge(directory: &mut Reader<'_>, from: &mut Reader<'_>) -> Result<Gauge, Damaged> {
    // The condition and the length of a slice are the measure's.
    let condition = super::Condition { comparison: super::Comparison::AtLeast, value: 0.0 };
    let mut gauge = Gauge::new(condition, crate::time::Horizon::DAYS_28);
    for name in read_names(directory)? {
        if gauge.series.find(0, &name).is_some() {
            return Err(Damaged("a name"));
        }
        let mut series = GaugeSeries::new(name);
        let byte = from.byte()?;
        let verdict = within(byte & !GONE, 2, "a verdict")?;
        series.is_gone = byte & GONE != 0;
        if verdict < 2 {
            let minute = from.signed()?;
            let is_time = minute.unsigned_abs() <= (super::target::LATEST_MS / MILLIS_PER_MINUTE).unsigned_abs();
            let minute = is_time.then_some(Minute::from_number(minute)).ok_or(Damaged("a slice"))?;
            series.slice = Some((minute, verdict == 1));
        }
        series.at = from.maybe_time()?;
        gauge.series.add(0, series);
    }
    Ok(gauge)
}

/// The different lists of bounds in a measure; histograms of one metric usually share one.
#[derive(Debug, Default)]
struct Shapes(Vec<Arc<[Bound]>>);

impl Shapes {
    fn note_value(&mut self, value: &Value) {
        if let Value::Buckets(buckets) = value {
            self.note(buckets);
        }
    }

    fn note(&mut self, buckets: &Buckets) {
        if self.place(buckets).is_none() {
            self.0.push(Arc::clone(&buckets.bounds));
        }
    }

    fn place(&self, buckets: &Buckets) -> Option<usize> {
        self.0.iter().position(|bounds| *bounds == buckets.bounds)
    }

    fn write(&self, out: &mut Writer) {
        out.length(self.0.len());
        for bounds in &self.0 {
            out.length(bounds.len());
            bounds.iter().for_each(|bound| out.double(bound.value()));
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut shapes = Vec::new();
        for _ in 0..from.length()? {
            let mut bounds: Vec<Bound> = Vec::new();
            for _ in 0..from.length()? {
                bounds.push(Bound::new(from.double()?).ok_or(Damaged("a bound"))?);
            }
            let ascending = bounds.windows(2).all(|two| two[0] < two[1]);
            if bounds.last() != Some(&Bound::INFINITE) || !ascending || bounds.len() > MOST_BUCKETS {
                return Err(Damaged("a bound"));
            }
            shapes.push(bounds.into());
        }
        Ok(Self(shapes))
    }

    /// Counts as differences from bucket to bucket.
    fn write_counts(&self, out: &mut Writer, buckets: &Buckets) {
        out.length(self.place(buckets).unwrap_or(0));
        let mut before = 0_u64;
        for count in &buckets.counts {
            out.signed(count.wrapping_sub(before) as i64);
            before = *count;
        }
    }

    fn read_counts(&self, from: &mut Reader<'_>) -> Result<Buckets, Damaged> {
        let place = usize::try_from(from.number()?).map_err(|_| Damaged("buckets"))?;
        let bounds = Arc::clone(self.0.get(place).ok_or(Damaged("buckets"))?);
        let mut counts = Vec::with_capacity(bounds.len());
        let mut before = 0_u64;
        for _ in 0..bounds.len() {
            before = before.wrapping_add(from.signed()? as u64);
            counts.push(before);
        }
        Ok(Buckets { bounds, counts: counts.into() })
    }
}
