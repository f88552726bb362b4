//! One measure on one target: its counters, what is held back, and whether it can be believed.

use std::collections::VecDeque;

use super::Increase;
use super::member::{Member, Move, Page, Proof, Refusal, Role, Standing, Value, Why};
use super::note::{NoteKind, Notes};
use super::reading::{Bound, RESOLUTION};
use super::roster::Roster;
use super::spread::{Buckets, Part, Stretch, settle};
use crate::time::Timestamp;

/// Resets among [`WATCHED_PAGES`] that no process has: the target is several of them.
pub const FLAPS: usize = 3;
/// How many pages are looked at for resets. A flapping target must show this many without one to be counted again.
pub const WATCHED_PAGES: usize = 10;
/// How many pages must follow a fall without another before what was counted from zero is believed.
///
/// Three falls that are evenly spread over ten pages are at most four pages apart. With a wait of four pages nothing
/// that such an alternation shows is ever counted: the next fall comes first, until the third one gives it away.
pub const CONFIRMING_PAGES: u8 = 4;
/// How long good and total wait for each other, in pages, when they are different counters.
pub(super) const WAITING_PAGES: u8 = 2;
/// How long a counter that is gone is remembered. One that comes back later is a new one, to be counted from then on.
pub const FORGET_AFTER_MS: i64 = 24 * 3_600_000;

/// A measure on a target.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    pub part: Part,
    /// Of a histogram.
    pub threshold: Option<Bound>,
    pub members: Roster<Member>,
    pub state: MeterState,
}

/// What is kept of a meter beside its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MeterState {
    /// A series that began later counts from zero: everything before was watched and did not show it.
    pub zero_after: Option<Timestamp>,
    /// The last page.
    pub page: Option<Timestamp>,
    /// What was counted since good and total last agreed, and for how many pages they have not.
    pub open: Vec<Stretch>,
    pub waited: u8,
    /// What was counted since a counter fell, page by page, and how many pages are needed to believe it.
    pub held: Vec<Vec<Stretch>>,
    pub unconfirmed: u8,
    /// By how much good (or bad) was ahead of the total on the last page.
    pub carry: u64,
    /// The last pages, oldest first.
    pub history: VecDeque<Past>,
    /// How many pages were calm since the target was found to be several.
    pub quarantine: Option<u8>,
}

/// A page that is past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Past {
    pub at: Timestamp,
    /// Whether a counter fell in a way that several processes would show.
    pub fell: bool,
    /// What was counted on it.
    pub counted: u64,
}

/// What a page showed, all counters together.
#[derive(Debug, Default)]
struct Findings {
    /// A counter fell, or another process answered.
    fell: bool,
    /// Increments from zero that need to be confirmed.
    doubtful: bool,
    /// A counter that should be on the page cannot be read.
    missing: bool,
    /// A counter has a new baseline, so that the others do not match it.
    rebased: bool,
    /// A counter that had counted went on as if nothing had happened.
    continued: bool,
    /// A counter began anew.
    restarted: bool,
    /// A counter is gone, and no new process explains why.
    vanished: bool,
}

impl Meter {
    /// A meter without counters. Series that begin after `zero_after`, if known, are counted from zero.
    pub fn new(part: Part, threshold: Option<Bound>, zero_after: Option<Timestamp>) -> Self {
        let state = MeterState { zero_after, ..MeterState::default() };
        Self { part, threshold, members: Roster::default(), state }
    }

    /// Events that are held back until a restart is confirmed or good and total agree.
    pub fn held_back(&self) -> u64 {
        let stretches = self.state.held.iter().flatten().chain(&self.state.open);
        stretches.fold(0, |sum, stretch| sum.saturating_add(stretch.part.max(stretch.total)))
    }

    /// Takes in the page that the members have seen.
    pub fn finish(&mut self, page: &Page) -> Increase {
        let mut notes = Notes::default();
        let first = self.state.page.is_none();
        let findings = self.take(page, &mut notes);
        let span = (self.state.page.unwrap_or(page.at), page.at);
        if !first && page.at.millis() - span.0.millis() > 2 * page.interval_ms {
            notes.add(NoteKind::Interpolated, span, 0, b"");
        }
        self.state.page = Some(page.at);
        self.state.zero_after.get_or_insert(page.at);
        self.state.history.push_back(Past { at: page.at, fell: findings.fell, counted: 0 });
        if self.state.history.len() > WATCHED_PAGES {
            self.state.history.pop_front();
        }
        let increase = self.decide(&findings, page, span, &mut notes);
        self.forget_the_long_gone(page);
        Increase { notes: notes.sorted(), ..increase }
    }

    fn decide(
        &mut self,
        findings: &Findings,
        page: &Page,
        span: (Timestamp, Timestamp),
        notes: &mut Notes,
    ) -> Increase {
        if self.state.quarantine.is_some() {
            self.sit_out(findings, span, notes);
            return Increase::default();
        }
        if self.state.history.iter().filter(|past| past.fell).count() >= FLAPS {
            self.quarantine(span.1, notes);
            return Increase::default();
        }
        if findings.restarted {
            // What the total of the old process was behind by is never shown.
            self.state.carry = 0;
            if self.has_separate_part() {
                self.break_those_that_restart_unseen(page);
            }
        }
        let torn = self.is_torn(findings);
        let missing = findings.missing && self.has_separate_part();
        self.state.waited = if missing && !torn { self.state.waited + 1 } else { 0 };
        if findings.doubtful {
            self.state.unconfirmed = CONFIRMING_PAGES;
        } else {
            self.state.unconfirmed = self.state.unconfirmed.saturating_sub(1);
        }
        if torn || self.state.waited > WAITING_PAGES {
            self.give_up(span, notes);
        } else if self.state.waited == 0 && !self.state.open.is_empty() {
            let closed = std::mem::take(&mut self.state.open);
            self.state.held.push(closed);
        }
        if self.state.unconfirmed > 0 { Increase::default() } else { self.publish(span, notes) }
    }

    /// Whether good and total, as different counters, no longer belong together. Where each counter of the part is one
    /// of the total as well, they always do.
    fn is_torn(&self, findings: &Findings) -> bool {
        let waiting = self.state.waited > 0;
        let half = findings.doubtful && findings.continued || findings.restarted && waiting;
        self.has_separate_part() && (findings.rebased || findings.vanished || half)
    }

    fn has_separate_part(&self) -> bool {
        self.members.iter().any(|member| member.role == Role::Part)
    }

    /// Moves every counter to what the page says, and collects what they counted.
    fn take(&mut self, page: &Page, notes: &mut Notes) -> Findings {
        let mut findings = Findings::default();
        let first = self.state.page.is_none();
        if let (true, Some(before), Some(start)) = (page.has_restarted, self.state.page, page.process) {
            // Even if no counter shows it: one that was created after the last page may have gone before this one.
            notes.add(NoteKind::Reset, (before, start.min(page.at)), 0, b"");
            findings.restarted = true;
        }
        let (threshold, zero_after) = (self.threshold, self.state.zero_after);
        let waits = self.has_separate_part().then(|| self.state.open.iter().map(|stretch| stretch.from).min());
        for member in self.members.iter_mut() {
            let from = member.last.as_ref().map_or(page.before.unwrap_or(page.at), |last| last.at);
            let (value, counted, start) = match member.moved(page, threshold, zero_after) {
                Move::Absent => {
                    absent(member, page, waits, &mut findings, notes);
                    continue;
                }
                Move::Refused(refusal) => {
                    // Unlike one that is not there, it may have counted any number.
                    findings.missing = true;
                    if member.last.is_none() && !first {
                        notes.add(NoteKind::FirstSeen, (from, page.at), 0, &member.name);
                    }
                    refused(member, &refusal, (from, page.at), notes);
                    continue;
                }
                Move::Step { value, more, from } => {
                    findings.continued |= member.has_counted();
                    (value, Some(more), from)
                }
                Move::FromZero { value, from: start, proof } => {
                    if proof != Proof::New {
                        notes.add(NoteKind::Reset, (from, start), 0, &member.name);
                        findings.restarted = true;
                    }
                    // A start time that moves while the counter goes on may be a target that invents it.
                    findings.fell |= proof == Proof::Rose;
                    findings.doubtful |= proof == Proof::Rose;
                    (value.clone(), Some(value), start)
                }
                Move::Fell { value, from } => {
                    notes.add(NoteKind::ResetUnobserved, (from, page.at), 0, &member.name);
                    (findings.fell, findings.doubtful, findings.restarted) = (true, true, true);
                    (value.clone(), Some(value), from)
                }
                Move::Baseline { value, why, fell } => {
                    let (part, total) = member.share(&value, threshold);
                    let events = part.max(total);
                    findings.fell |= fell;
                    findings.rebased |= events > 0 || why != Why::FirstSeen;
                    if !first && (events > 0 || why != Why::FirstSeen) {
                        notes.add(why.note(), (from, page.at), events, &member.name);
                    }
                    (value, None, page.at)
                }
            };
            if value.total() > RESOLUTION {
                notes.add(NoteKind::Resolution, (from, page.at), 0, &member.name);
            }
            if let Some(counted) = counted {
                add(&mut self.state.open, (start, page.at), member.share(&counted, threshold), &counted);
            }
            member.keep(value, page);
        }
        findings
    }

    /// The page shows that several processes answer: nothing that it led to is believed.
    fn quarantine(&mut self, at: Timestamp, notes: &mut Notes) {
        let held = self.state.held.iter().flatten().chain(&self.state.open).map(|stretch| stretch.from);
        let from = held.chain(self.state.history.front().map(|past| past.at)).fold(at, Timestamp::min);
        let counted = self.state.history.iter().fold(0, |sum: u64, past| sum.saturating_add(past.counted));
        notes.add(NoteKind::Flapping, (from, at), counted, b"scrape each replica by itself");
        self.state.quarantine = Some(0);
        self.drop_everything();
    }

    /// A page in quarantine, perhaps the last.
    fn sit_out(&mut self, findings: &Findings, (from, to): (Timestamp, Timestamp), notes: &mut Notes) {
        let from = self.state.open.iter().map(|stretch| stretch.from).fold(from, Timestamp::min);
        notes.add(NoteKind::Quarantined, (from, to), 0, b"");
        self.drop_everything();
        let calm = if findings.fell { 0 } else { self.state.quarantine.unwrap_or(0) + 1 };
        self.state.quarantine = (usize::from(calm) < WATCHED_PAGES).then_some(calm);
        if self.state.quarantine.is_none() {
            self.state.history.clear();
            self.break_the_unread();
        }
    }

    fn drop_everything(&mut self) {
        let state = &mut self.state;
        state.open.clear();
        state.held.clear();
        (state.unconfirmed, state.waited, state.carry) = (0, 0, 0);
    }

    /// Gives up what was counted since good and total last agreed, and begins anew.
    fn give_up(&mut self, (from, to): (Timestamp, Timestamp), notes: &mut Notes) {
        let lost = self.state.open.iter().fold(0, |sum: u64, stretch| sum.saturating_add(stretch.total));
        let from = self.state.open.iter().map(|stretch| stretch.from).fold(from, Timestamp::min);
        if !self.state.open.is_empty() {
            notes.add(NoteKind::Torn, (from, to), lost, b"");
        }
        self.state.open.clear();
        (self.state.waited, self.state.carry) = (0, 0);
        self.break_the_unread();
    }

    /// Others have restarted. A counter that this page does not show has done so unseen, and may come back higher than it
    /// was, unless its next reading will be proven to be of another process.
    fn break_those_that_restart_unseen(&mut self, page: &Page) {
        for member in self.members.iter_mut() {
            let is_unread = member.last.as_ref().is_none_or(|last| last.at != page.at);
            if is_unread && !member.is_of_a_process_before(page) {
                member.standing = Standing::Broken;
            }
        }
    }

    /// Counters that this page does not show must not bring back what was given up.
    fn break_the_unread(&mut self) {
        let page = self.state.page;
        for member in self.members.iter_mut() {
            if member.last.as_ref().map(|last| last.at) != page {
                member.standing = Standing::Broken;
            }
        }
    }

    /// Hands over everything that is held.
    fn publish(&mut self, span: (Timestamp, Timestamp), notes: &mut Notes) -> Increase {
        let mut increase = Increase::default();
        for mut stretches in std::mem::take(&mut self.state.held) {
            stretches.sort_by_key(|stretch| (stretch.from, stretch.to));
            let settled = settle(&stretches, self.part, self.state.carry);
            for (minute, tally) in settled.minutes {
                *increase.minutes.entry(minute).or_default() += tally;
            }
            // No page is ahead by more than it counted: what is older than that is no race but another kind of counter.
            let page = stretches.iter().fold(0, |sum: u64, stretch| sum.saturating_add(stretch.part));
            self.state.carry = settled.surplus.min(page);
            if settled.surplus > 0 {
                notes.add(NoteKind::GoodExceedsTotal, span, settled.surplus, b"");
            }
            for stretch in stretches {
                let (from, to) = (stretch.from, stretch.to);
                increase.buckets.extend(stretch.buckets.into_iter().map(|buckets| (from, to, buckets)));
            }
        }
        if let Some(past) = self.state.history.back_mut() {
            past.counted = increase.minutes.values().fold(0, |sum: u64, tally| sum.saturating_add(tally.total()));
        }
        increase
    }

    /// Forgets the counters that are no longer shown, to make room for those of the page.
    pub fn forget_the_gone(&mut self, page: u64) {
        let is_gone = |member: &Member| matches!(member.standing, Standing::Gone | Standing::Broken);
        self.forget(|member| is_gone(member) && member.seen.page != page);
    }

    /// Forgets the counters that were not on any page for long.
    fn forget_the_long_gone(&mut self, page: &Page) {
        let oldest = page.at.plus_millis(-FORGET_AFTER_MS);
        self.forget(|member| match &member.last {
            Some(last) => last.at < oldest,
            // Never read, and not there to be read.
            None => member.seen.page != page.number,
        });
    }

    /// Should one come back, it must not count again what was counted already: only a later start can prove it new.
    fn forget(&mut self, gone: impl Fn(&Member) -> bool) {
        let gone = self.members.remove_if(gone).into_iter();
        let last = gone.filter_map(|member| member.last.map(|last| last.at)).max();
        self.state.zero_after = self.state.zero_after.max(last);
    }
}

/// A counter is not on the page. One that others depend on is waited for; `waits` says since when they do.
fn absent(
    member: &mut Member,
    page: &Page,
    waits: Option<Option<Timestamp>>,
    findings: &mut Findings,
    notes: &mut Notes,
) {
    let Some(last) = &member.last else {
        // The page before showed it, and nothing that could be read.
        findings.vanished = true;
        return;
    };
    let start = page.known_process.unwrap_or(page.at).min(page.at);
    let is_gone = member.is_of_a_process_before(page);
    member.standing = match member.standing {
        Standing::Live | Standing::Missed if waits.is_none() && is_gone => {
            notes.add(NoteKind::Reset, (last.at, start), 0, &member.name);
            Standing::Gone
        }
        Standing::Live => Standing::Missed,
        Standing::Missed => {
            notes.add(NoteKind::Vanished, (last.at, page.at), 0, &member.name);
            // A new process explains it, and nothing of the old one may be waiting.
            findings.vanished |= !is_gone || waits.flatten().is_some_and(|since| since < start);
            Standing::Gone
        }
        standing @ (Standing::Gone | Standing::Broken) => standing,
    };
    findings.missing |= member.standing == Standing::Missed;
}

fn refused(member: &Member, refusal: &Refusal, span: (Timestamp, Timestamp), notes: &mut Notes) {
    match refusal {
        Refusal::Value(reason) => notes.add(NoteKind::BadValue(*reason), span, 0, &member.name),
        Refusal::Histogram(fault) => {
            let words = format!("{fault}: {}", String::from_utf8_lossy(&member.name));
            notes.add(NoteKind::BadHistogram, span, 0, words.as_bytes());
        }
    }
}

/// Adds increments to the stretch between these instants.
fn add(stretches: &mut Vec<Stretch>, (from, to): (Timestamp, Timestamp), share: (u64, u64), counted: &Value) {
    let same = |stretch: &Stretch| stretch.from == from && stretch.to == to;
    let place = stretches.iter().rposition(same).unwrap_or_else(|| {
        stretches.push(Stretch::new(from, to));
        stretches.len() - 1
    });
    let stretch = &mut stretches[place];
    stretch.part = stretch.part.saturating_add(share.0);
    stretch.total = stretch.total.saturating_add(share.1);
    if let Value::Buckets(buckets) = counted {
        add_buckets(&mut stretch.buckets, buckets);
    }
}

fn add_buckets(sums: &mut Vec<Buckets>, more: &Buckets) {
    match sums.iter_mut().find(|sum| sum.bounds == more.bounds) {
        Some(sum) => sum.add(more),
        None => sums.push(more.clone()),
    }
}

impl Why {
    fn note(self) -> NoteKind {
        match self {
            Self::FirstSeen => NoteKind::FirstSeen,
            Self::OtherProcess => NoteKind::OtherProcess,
            Self::NewBounds => NoteKind::NewBounds,
            Self::Rebased => NoteKind::Rebased,
        }
    }
}
