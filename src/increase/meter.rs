//! One measure on one target: its counters, what is held back, and whether it can be believed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Increase;
use super::hearing::Silence;
use super::member::{Member, Page, Role, Standing};
use super::note::{NoteKind, Notes};
use super::reading::Bound;
use super::roster::Roster;
use super::spread::{Part, Stretch, settle};
use super::taking::{Findings, Taking};
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
    /// Counters of other rules that may be counters of this one as well, by name: the first page tells.
    pub seeds: HashMap<Arc<[u8]>, Member>,
    /// What is still to be said to be lost: since when, and how many events.
    pub owed: Option<(Timestamp, u64)>,
    /// The last page that showed a number of observations for a histogram.
    pub observations_on: u64,
    /// When the last page was asked for that showed a counter of the part, as far as is remembered.
    pub part_seen: Option<Timestamp>,
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
    /// Good (or bad) is a counter of its own and is gone, and nothing has restarted since it was there.
    pub part_gone: bool,
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

impl Meter {
    /// A meter without counters. Series that begin after `zero_after`, if known, are counted from zero.
    pub fn new(part: Part, threshold: Option<Bound>, zero_after: Option<Timestamp>) -> Self {
        let state = MeterState { zero_after, ..MeterState::default() };
        let (members, seeds) = Default::default();
        Self { part, threshold, members, state, seeds, owed: None, observations_on: 0, part_seen: None }
    }

    /// Goes on with counters that were kept.
    pub fn restore(&mut self, members: Roster<Member>, state: MeterState) {
        let part = members.iter().filter(|member| member.role != Role::Total);
        self.part_seen = part.filter_map(|member| Some(member.last.as_ref()?.at)).max();
        (self.members, self.state) = (members, state);
    }

    /// Takes the place of a meter with another rule, if there was one, at a target that gave its last page at `last`.
    /// What that one held back was good or bad by its own rule, and stays so.
    pub fn succeed(&mut self, before: Option<&Self>, last: Timestamp) {
        self.state = MeterState { zero_after: Some(last), page: Some(last), ..MeterState::default() };
        let Some(before) = before else { return };
        let MeterState { held, unconfirmed, history, quarantine, open, .. } = before.state.clone();
        self.state = MeterState { held, unconfirmed, history, quarantine, ..std::mem::take(&mut self.state) };
        if self.part != before.part {
            let stretches = self.state.held.iter_mut().flatten();
            stretches.for_each(|stretch| stretch.part = stretch.total.saturating_sub(stretch.part));
        }
        // Half of a pair of that rule is no half of one of this.
        let lost = open.iter().fold(0, |sum: u64, stretch| sum.saturating_add(stretch.total));
        self.owed = open.iter().map(|stretch| stretch.from).min().map(|from| (from, lost));
    }

    /// Events that are held back until a restart is confirmed or good and total agree.
    pub fn held_back(&self) -> u64 {
        let stretches = self.state.held.iter().flatten().chain(&self.state.open);
        stretches.fold(0, |sum, stretch| sum.saturating_add(stretch.part.max(stretch.total)))
    }

    /// Takes in the page that the members have seen; why it could not be read in full, if it could not.
    pub fn finish(&mut self, page: &Page) -> (Increase, Option<Silence>) {
        let mut notes = Notes::default();
        if let Some((since, events)) = self.owed.take() {
            notes.add(NoteKind::Torn, (since, page.at), events, b"");
        }
        let findings = self.take(page, &mut notes);
        self.seeds.clear();
        self.look_for_the_part(&findings, page);
        let before = self.state.page.replace(page.at);
        self.state.zero_after.get_or_insert(page.at);
        let span = (before.unwrap_or(page.at), page.at);
        if page.at.millis() - span.0.millis() > 2 * page.interval_ms {
            notes.add(NoteKind::Interpolated, span, 0, b"");
        }
        self.remember(Past { at: page.at, fell: findings.fell, counted: 0 });
        let falls = self.state.history.iter().filter(|past| past.fell).count();
        let mut increase = Increase::default();
        if self.state.quarantine.is_some() {
            self.sit_out(&findings, span, &mut notes);
        } else if falls >= FLAPS {
            self.quarantine(page.at, &mut notes);
        } else {
            self.close(&findings, page, span, &mut notes);
            if self.state.unconfirmed == 0 {
                increase = self.publish(span, &mut notes);
            }
        }
        let silence = self.silence(findings, page);
        self.forget_the_long_gone(page);
        (Increase { notes: notes.sorted(), ..increase }, silence)
    }

    /// Whether the part, if it is made of counters of its own, can be absent because it has counted nothing yet: that
    /// is so when all has begun anew since it was there.
    fn look_for_the_part(&mut self, findings: &Findings, page: &Page) {
        let is_shown = self.shows(page, |member| member.role != Role::Total);
        if is_shown {
            self.part_seen = Some(page.at);
        }
        if is_shown || (findings.restarted && !findings.continued) {
            self.state.part_gone = false;
        } else if findings.part_vanished {
            self.state.part_gone = true;
        }
    }

    fn silence(&self, findings: Findings, page: &Page) -> Option<Silence> {
        let is_shown = self.shows(page, |member| member.role != Role::Part);
        match findings.refused {
            _ if self.state.quarantine.is_some() => Some(Silence::Several),
            Some(why) => Some(Silence::Refused(why)),
            None if !is_shown && self.observations_on == page.number => Some(Silence::NoBuckets),
            None if !is_shown => Some(Silence::Absent),
            None => self.state.part_gone.then_some(Silence::PartGone),
        }
    }

    /// Whether such a counter could be read on the page.
    fn shows(&self, page: &Page, is: impl Fn(&Member) -> bool) -> bool {
        let is_read = |member: &Member| member.last.as_ref().is_some_and(|last| last.at == page.at);
        self.members.iter().any(|member| is(member) && is_read(member))
    }

    fn remember(&mut self, past: Past) {
        self.state.history.push_back(past);
        if self.state.history.len() > WATCHED_PAGES {
            self.state.history.pop_front();
        }
    }

    /// Decides what becomes of what is open: it waits for counters that are missing, is given up, or is held to be
    /// counted.
    fn close(&mut self, findings: &Findings, page: &Page, span: (Timestamp, Timestamp), notes: &mut Notes) {
        let is_pair = self.has_separate_part();
        if findings.restarted {
            // What the total of the old process was behind by is never shown.
            self.state.carry = 0;
            if is_pair {
                self.break_those_that_restart_unseen(page);
            }
        }
        let torn = (is_pair && self.is_torn(findings)) || self.state.part_gone;
        let state = &mut self.state;
        state.waited = if is_pair && findings.missing { state.waited + 1 } else { 0 };
        state.unconfirmed = match findings.doubtful {
            true => CONFIRMING_PAGES,
            false => state.unconfirmed.saturating_sub(1),
        };
        if torn || state.waited > WAITING_PAGES {
            self.give_up(span, notes);
        } else if state.waited == 0 && !state.open.is_empty() {
            state.held.push(std::mem::take(&mut state.open));
        }
    }

    /// Whether good and total, as different counters, no longer belong together.
    fn is_torn(&self, findings: &Findings) -> bool {
        let half_restarted = findings.doubtful && findings.continued;
        let waited_for_the_old = findings.restarted && self.state.waited > 0;
        findings.rebased || findings.vanished || half_restarted || waited_for_the_old
    }

    /// Whether good and total are different counters. Where each counter of the part is one of the total as well, they
    /// always belong together.
    fn has_separate_part(&self) -> bool {
        self.members.iter().any(is_separate_part)
    }

    /// Moves every counter to what the page says, and collects what they counted.
    fn take(&mut self, page: &Page, notes: &mut Notes) -> Findings {
        let state = &mut self.state;
        let mut taking = Taking {
            page,
            is_first: state.page.is_none(),
            threshold: self.threshold,
            zero_after: state.zero_after,
            waits: self.members.iter().any(is_separate_part),
            waits_since: state.open.iter().map(|stretch| stretch.from).min(),
            open: &mut state.open,
            notes,
            findings: Findings::default(),
        };
        if let Some(before) = state.page.filter(|_| page.has_restarted) {
            taking.restart(before);
        }
        self.members.iter_mut().for_each(|member| taking.take(member));
        taking.findings
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
            self.state.zero_after = self.state.page;
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

    /// Others have restarted. A counter that this page does not show has done so unseen, and may come back higher than
    /// it was, unless its next reading will be proven to be of another process.
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

/// Whether the total does not hold what this counter counts.
fn is_separate_part(member: &Member) -> bool {
    member.role == Role::Part
}
