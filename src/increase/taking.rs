//! A page, counter by counter: each moves to its new reading, and what that means is collected.

use super::member::{Member, Move, Page, Proof, Refusal, Role, Standing, Value, Why};
use super::note::{NoteKind, Notes};
use super::reading::{Bound, RESOLUTION};
use super::spread::{Buckets, Stretch};
use crate::time::Timestamp;

/// What a page showed, all counters together.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    /// A counter fell, or another process answered.
    pub fell: bool,
    /// Increments from zero that need to be confirmed.
    pub doubtful: bool,
    /// A counter that should be on the page cannot be read.
    pub missing: bool,
    /// A counter has a new baseline, so that the others do not match it.
    pub rebased: bool,
    /// A counter that had counted went on as if nothing had happened.
    pub continued: bool,
    /// A counter began anew.
    pub restarted: bool,
    /// A counter is gone, and no new process explains why.
    pub vanished: bool,
    /// That is one which only the part has.
    pub part_vanished: bool,
    /// A counter that is on the page cannot be read, and why.
    pub refused: Option<String>,
}

/// A page that is being taken in.
pub(super) struct Taking<'a> {
    pub page: &'a Page,
    /// Counting begins with this page.
    pub is_first: bool,
    pub threshold: Option<Bound>,
    /// A series that began later counts from zero.
    pub zero_after: Option<Timestamp>,
    /// Good and total are different counters, so that those that are missing are waited for.
    pub waits: bool,
    /// Since when.
    pub waits_since: Option<Timestamp>,
    /// Where increments go.
    pub open: &'a mut Vec<Stretch>,
    pub notes: &'a mut Notes,
    pub findings: Findings,
}

impl Taking<'_> {
    /// The process of the page before is gone, even if no counter shows it: one that was created after that page may
    /// have gone before this one.
    pub fn restart(&mut self, before: Timestamp) {
        let start = self.page.process.unwrap_or(self.page.at);
        self.notes.add(NoteKind::Reset, (before, start.min(self.page.at)), 0, b"");
        self.findings.restarted = true;
    }

    /// Moves a counter to what the page says.
    pub fn take(&mut self, member: &mut Member) {
        let page = self.page;
        let before = member.last.as_ref().map_or(page.before.unwrap_or(page.at), |last| last.at);
        match member.moved(page, self.threshold, self.zero_after) {
            Move::Absent => self.absent(member),
            Move::Refused(refusal) => self.refused(member, &refusal, before),
            Move::Step { value, more } => {
                self.findings.continued |= member.has_counted();
                self.count(member, &more, before);
                self.keep(member, value, before);
            }
            Move::FromZero { value, from, proof } => {
                // A page that does not name its process may be of one after the one that is known.
                let until = if member.names_its_start(page) { from } else { page.at };
                self.began_anew(member, proof, (before, until));
                self.count(member, &value, from);
                self.keep(member, value, before);
            }
            Move::Fell { value } => {
                self.notes.add(NoteKind::ResetUnobserved, (before, page.at), 0, &member.name);
                let findings = &mut self.findings;
                (findings.fell, findings.doubtful, findings.restarted) = (true, true, true);
                self.count(member, &value, before);
                self.keep(member, value, before);
            }
            Move::Baseline { value, why, fell } => {
                self.findings.fell |= fell;
                self.baseline(member, &value, why, before);
                self.keep(member, value, before);
            }
        }
    }

    /// A counter is not on the page.
    fn absent(&mut self, member: &mut Member) {
        let page = self.page;
        let Some(last) = &member.last else {
            // The page before showed it, and nothing that could be read.
            self.findings.vanished = true;
            return;
        };
        let start = page.known_process.unwrap_or(page.at).min(page.at);
        let is_explained = member.is_of_a_process_before(page);
        member.standing = match member.standing {
            Standing::Live | Standing::Missed if !self.waits && is_explained => {
                let until = if page.process.is_some() { start } else { page.at };
                self.notes.add(NoteKind::Reset, (last.at, until), 0, &member.name);
                Standing::Gone
            }
            Standing::Live => Standing::Missed,
            Standing::Missed => {
                self.notes.add(NoteKind::Vanished, (last.at, page.at), 0, &member.name);
                // A new process explains it, but nothing of the old one may be waiting for it.
                self.findings.vanished |= !is_explained || self.waits_since_before(last.at);
                self.findings.part_vanished |= !is_explained && member.role == Role::Part;
                Standing::Gone
            }
            standing @ (Standing::Gone | Standing::Broken) => standing,
        };
        self.findings.missing |= member.standing == Standing::Missed;
    }

    /// Whether something waits for a counter since the process was there that showed its last reading at `last`. What a
    /// new process counts begins later, even if it began after the request of the page that shows it.
    fn waits_since_before(&self, last: Timestamp) -> bool {
        self.waits_since.is_some_and(|since| since <= last)
    }

    /// A counter is on the page and cannot be read. Unlike one that is not there, it may have counted any number.
    fn refused(&mut self, member: &mut Member, refusal: &Refusal, before: Timestamp) {
        if let Standing::Missed | Standing::Gone = member.standing {
            member.standing = Standing::Live;
        }
        let span = (before, self.page.at);
        self.findings.missing = true;
        if member.last.is_none() && !self.is_first {
            self.notes.add(NoteKind::FirstSeen, span, 0, &member.name);
        }
        let name = String::from_utf8_lossy(&member.name);
        let words = match refusal {
            Refusal::Value(reason) => {
                self.notes.add(NoteKind::BadValue(*reason), span, 0, &member.name);
                format!("{name} is no count ({})", reason.reason())
            }
            Refusal::Histogram(fault) => {
                let words = format!("{fault}: {name}");
                self.notes.add(NoteKind::BadHistogram, span, 0, words.as_bytes());
                words
            }
        };
        self.findings.refused.get_or_insert(words);
    }

    fn began_anew(&mut self, member: &Member, proof: Proof, span: (Timestamp, Timestamp)) {
        if proof == Proof::New {
            return;
        }
        self.notes.add(NoteKind::Reset, span, 0, &member.name);
        if let Proof::Late { may_go_on } = proof {
            self.findings.vanished |= self.waits_since_before(span.0);
            // Once it may well be so; what does it again and again is not counted.
            self.findings.fell |= may_go_on && member.has_counted();
            return;
        }
        self.findings.restarted = true;
        // A start time that moves while the counter goes on may be a target that invents it.
        self.findings.fell |= proof == Proof::Rose;
        self.findings.doubtful |= proof == Proof::Rose;
    }

    fn baseline(&mut self, member: &Member, value: &Value, why: Why, before: Timestamp) {
        let (part, total) = member.share(value, self.threshold);
        let events = part.max(total);
        if events == 0 && why == Why::FirstSeen {
            return;
        }
        self.findings.rebased = true;
        if !self.is_first {
            self.notes.add(why.note(), (before, self.page.at), events, &member.name);
        }
    }

    fn count(&mut self, member: &Member, counted: &Value, from: Timestamp) {
        let (part, total) = member.share(counted, self.threshold);
        let stretch = stretch(self.open, from, self.page.at);
        stretch.part = stretch.part.saturating_add(part);
        stretch.total = stretch.total.saturating_add(total);
        if let Value::Buckets(buckets) = counted {
            add_buckets(&mut stretch.buckets, buckets);
        }
    }

    fn keep(&mut self, member: &mut Member, value: Value, before: Timestamp) {
        if value.total() > RESOLUTION {
            self.notes.add(NoteKind::Resolution, (before, self.page.at), 0, &member.name);
        }
        member.keep(value, self.page);
    }
}

/// The stretch between two instants; most counters share one.
fn stretch(stretches: &mut Vec<Stretch>, from: Timestamp, to: Timestamp) -> &mut Stretch {
    let same = |stretch: &Stretch| stretch.from == from && stretch.to == to;
    let place = stretches.iter().rposition(same).unwrap_or_else(|| {
        stretches.push(Stretch::new(from, to));
        stretches.len() - 1
    });
    &mut stretches[place]
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
