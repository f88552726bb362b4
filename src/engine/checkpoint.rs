//! Checkpoints: what changed since the last one, by name and number, for a store to keep.

use std::collections::BTreeMap;

use crate::engine::audit::Journal;
use crate::engine::expiry::Expiry;
use crate::engine::identity::Book;
use crate::engine::restore::Coverage;
use crate::engine::{AHEAD_MS, Absence, Checkpoint, Engine, MinuteCounts, NotFollowed, SPECS, SeriesId, SourceRename};
use crate::gate::GateState;
use crate::spec::{ServiceId, SloId, SourceId};
use crate::tally::Tally;
use crate::time::{Minute, Timestamp};

/// What an engine that was restored remembers for its next checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Tracking {
    pub(super) book: Book,
    pub(super) journal: Journal,
    /// As in the last checkpoint.
    pub(super) gates: Vec<Option<GateState>>,
    /// Services whose gates go on under other names, for the next checkpoint.
    pub(super) gone_gates: Vec<String>,
    /// Sources that go on under other names, and whether that is in a checkpoint.
    pub(super) renamed_sources: (Vec<SourceRename>, bool),
    /// What the specs say was renamed, and nothing goes on with.
    pub(super) not_followed: Vec<NotFollowed>,
    pub(super) coverage: Coverage,
    /// From the first minute with counts on, once there is one.
    pub(super) expiry: Option<Expiry>,
    /// The first minute that the store had counts of.
    pub(super) earliest: Option<Minute>,
    /// Minutes before this one may be deleted, if that has moved.
    pub(super) cut: Option<Minute>,
}

impl Engine {
    /// What changed since the last checkpoint, but for sources whose counts do not add up; nothing when the engine was
    /// not [restored](Engine::restore).
    ///
    /// Whoever takes it sees to it that it is kept: what is in it is in no later one.
    pub fn checkpoint(&mut self) -> Checkpoint {
        let Some(mut tracking) = self.tracking.take() else { return Checkpoint::default() };
        let (renamed, is_told) = &mut tracking.renamed_sources;
        let renamed_sources = if std::mem::replace(is_told, true) { Vec::new() } else { renamed.clone() };
        let mut checkpoint = Checkpoint {
            renamed_sources,
            gates: self.changed_gates(&mut tracking),
            gone_gates: std::mem::take(&mut tracking.gone_gates),
            audit: tracking.journal.take(),
            expire_before: tracking.cut.take(),
            ..Checkpoint::default()
        };
        if let Some(cut) = checkpoint.expire_before {
            checkpoint.forget = tracking.book.forget_before(cut);
        }
        checkpoint.series = tracking.book.take_unsaved();
        let mut minutes: BTreeMap<Minute, Vec<(SeriesId, Tally)>> = BTreeMap::new();
        for (index, ledger) in self.ledgers.iter_mut().enumerate() {
            if !ledger.audit() {
                continue;
            }
            let series = tracking.book.columns(SourceId(index));
            checkpoint.totals.extend(ledger.take_totals(series));
            checkpoint.sources.extend(ledger.take_source(&self.catalog.sources[index].name));
            ledger.take_counts(&mut minutes, series);
        }
        let is_sound = |source: usize| !self.ledgers[source].quality.is_corrupt();
        (checkpoint.durations, checkpoint.folds) = self.durations.take(self.now, tracking.book.sets(), is_sound);
        checkpoint.counts = minutes.into_iter().map(|(minute, counts)| in_order(minute, counts)).collect();
        self.tracking = Some(tracking);
        checkpoint
    }

    /// How many counts the next checkpoint has, at most: a reason to ask for it early while history is read.
    pub fn uncommitted(&self) -> usize {
        self.ledgers.iter().map(|ledger| ledger.uncommitted()).sum::<usize>() + self.durations.uncommitted()
    }

    /// Lets `elapsed_ms` of monotonic time pass for the deletion of old minutes (see [`Expiry`]); what may be deleted
    /// is in the next checkpoint.
    pub fn expire(&mut self, elapsed_ms: i64) {
        let heard = self.ledgers.iter().filter_map(|ledger| ledger.begins()).min();
        let Some(tracking) = &mut self.tracking else { return };
        let Some(earliest) = tracking.earliest.or(heard) else { return };
        let expiry = tracking.expiry.get_or_insert_with(|| Expiry::from(earliest));
        if let Some(cut) = expiry.pass(elapsed_ms, self.now, self.kept) {
            tracking.cut = Some(cut);
        }
    }

    /// Whether the clock has been put right by so much that the windows lack counts which the store has. The engine is
    /// to be restored again, after a checkpoint.
    pub fn must_be_restored(&self) -> bool {
        self.must_be_restored_for(self.now)
    }

    /// Whether that would be so if it were `now`: to be asked before anything is decided then.
    pub fn must_be_restored_for(&self, now: Timestamp) -> bool {
        let Some(Tracking { coverage, earliest, .. }) = self.tracking.as_deref() else { return false };
        let heard = self.ledgers.iter().filter_map(|ledger| ledger.begins());
        let begins = heard.chain(*earliest).min();
        let before = begins.is_some_and(|begins| begins < coverage.from);
        let lacks_old = before && self.kept.first_minute(now.minute()) < coverage.from;
        let lacks_new = coverage.until.is_some_and(|until| until <= now.plus_millis(AHEAD_MS).minute());
        lacks_old || lacks_new
    }

    /// When the rules by which an SLO counts changed last while it had counts by the old ones.
    pub fn rules_changed(&self, slo: SloId) -> Option<Timestamp> {
        let tracking = self.tracking.as_ref()?;
        tracking.book.series(self.catalog[slo].source, self.columns[slo.0]).changed
    }

    /// When nobody counted for an SLO.
    pub(super) fn absences(&self, slo: SloId) -> &[Absence] {
        let Some(tracking) = &self.tracking else { return &[] };
        &tracking.book.series(self.catalog[slo].source, self.columns[slo.0]).absences
    }

    /// The number of the last entry of the audit log, kept or not; 0 before the first.
    pub fn last_audit(&self) -> u64 {
        self.tracking.as_ref().map_or(0, |tracking| tracking.journal.last())
    }

    /// Whether the next checkpoint tells of something that the specs changed.
    pub fn was_changed_by_specs(&self) -> bool {
        self.tracking.as_ref().is_some_and(|tracking| tracking.journal.has_entry_by(SPECS))
    }

    /// The sources that go on under other names since the engine was restored.
    pub fn renamed_sources(&self) -> &[SourceRename] {
        self.tracking.as_ref().map_or(&[], |tracking| &tracking.renamed_sources.0)
    }

    /// Which `renamed_from` of the specs the engine could not follow when it was restored.
    pub fn not_followed(&self) -> &[NotFollowed] {
        self.tracking.as_ref().map_or(&[], |tracking| &tracking.not_followed)
    }

    fn changed_gates(&self, tracking: &mut Tracking) -> Vec<super::KeptGate> {
        let mut changed = Vec::new();
        for (index, (state, kept)) in self.gates.iter().zip(&mut tracking.gates).enumerate() {
            if state != kept {
                kept.clone_from(state);
                changed.extend(state.iter().map(|state| self.kept_gate(ServiceId(index), state)));
            }
        }
        changed
    }
}

fn in_order(minute: Minute, mut counts: Vec<(SeriesId, Tally)>) -> MinuteCounts {
    counts.sort_unstable_by_key(|(series, _)| *series);
    MinuteCounts { minute, counts }
}
