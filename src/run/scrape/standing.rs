//! What is shown and told of the targets of a source.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::state::Target;
use crate::counts::Scraped;
use crate::engine::{self, MOST_NOTES, MOST_OBJECTIONS, Objection, TargetNote, Targets, Unseen};
use crate::increase::{Effect, NoteKind};
use crate::intake::scrape::{ScrapeError, Trouble};
use crate::spec::{Catalog, SloId};
use crate::time::Timestamp;

/// So much is told in a minute at most.
const MOST_WORDS: u32 = 20;
const MINUTE_MS: u64 = 60_000;

/// The standing of the targets of one source.
pub(super) struct Standing {
    source: String,
    targets: BTreeMap<String, Arc<engine::Target>>,
    troubles: Vec<String>,
    /// Scrapes that gave nothing to count, by reason, since the process began.
    errors: BTreeMap<&'static str, u64>,
    /// What happened to counters, by kind, since the process began.
    note_counts: BTreeMap<&'static str, u64>,
    notes: VecDeque<Arc<TargetNote>>,
    /// Of the last page of each target.
    objections: Vec<Arc<Objection>>,
    unseen: Vec<Unseen>,
    /// Since when each of these is unseen.
    unseen_since_ms: BTreeMap<SloId, u64>,
    /// Those of them of which that was said.
    said_unseen: BTreeSet<SloId>,
    /// By target: the reason that was said last, until it answers.
    said: BTreeMap<String, &'static str>,
    said_notes: BTreeSet<(SloId, NoteKind)>,
    /// The minute that is going on, what was told in it and what was not.
    minute: (u64, u32, u32),
}

impl Standing {
    /// Of a source whose targets are not known yet.
    pub(super) fn new(source: &str) -> Self {
        // What has not happened yet is there as well, so that rates of it begin at zero.
        let errors = ScrapeError::REASONS.into_iter().map(|reason| (reason, 0)).collect();
        let note_counts = NoteKind::NAMES.into_iter().map(|kind| (kind, 0)).collect();
        Self {
            source: source.to_owned(),
            targets: BTreeMap::new(),
            troubles: Vec::new(),
            errors,
            note_counts,
            notes: VecDeque::new(),
            objections: Vec::new(),
            unseen: Vec::new(),
            unseen_since_ms: BTreeMap::new(),
            said_unseen: BTreeSet::new(),
            said: BTreeMap::new(),
            said_notes: BTreeSet::new(),
            minute: (0, 0, 0),
        }
    }

    /// All of it.
    pub(super) fn targets(&self) -> Targets {
        Targets {
            targets: self.targets.values().cloned().collect(),
            troubles: self.troubles.clone(),
            errors: self.errors.clone(),
            note_counts: self.note_counts.clone(),
            notes: self.notes.iter().cloned().collect(),
            objections: self.objections.clone(),
            unseen: self.unseen.clone(),
        }
    }

    /// Goes on counting and noting where another of the same source ended.
    pub(super) fn go_on(&mut self, before: &Targets) {
        self.errors.extend(&before.errors);
        self.note_counts.extend(&before.note_counts);
        self.notes = before.notes.iter().cloned().collect();
    }

    /// Why the last scrape of a target gave nothing.
    pub(super) fn error(&self, key: &str) -> Option<&str> {
        self.targets.get(key)?.error.as_deref()
    }

    /// A target is listed from now on.
    pub(super) fn listed(&mut self, target: &Target) {
        let health = target.counted.health();
        let shown = engine::Target {
            url: target.endpoint.key.clone(),
            is_up: health.state().map(|(is_up, _)| is_up),
            since: health.state().map(|(_, since)| since),
            last_scrape: None,
            last_page: health.last_page(),
            duration_ms: 0,
            size_bytes: 0,
            samples: 0,
            selected: 0,
            series: target.counted.series() as u64,
            error: None,
            reason: None,
        };
        self.targets.insert(target.endpoint.key.clone(), Arc::new(shown));
    }

    /// A target is no longer listed.
    pub(super) fn unlisted(&mut self, key: &str) {
        self.targets.remove(key);
        self.said.remove(key);
        self.objections.retain(|objection| objection.target != key);
        tracing::info!(source = self.source, endpoint = key, "{key} is no longer listed, and not scraped any more");
    }

    /// What keeps targets from being found; whether that is news. Each is told when it appears.
    pub(super) fn troubled(&mut self, troubles: Vec<Trouble>) -> bool {
        for trouble in troubles.iter().filter(|trouble| !self.troubles.contains(&trouble.to_string())) {
            let stay = if trouble.is_partial { "targets that were found before stay: " } else { "" };
            tracing::warn!(source = self.source, "{stay}{trouble}");
        }
        let troubles: Vec<String> = troubles.iter().map(ToString::to_string).collect();
        let is_news = troubles != self.troubles;
        self.troubles = troubles;
        is_news
    }

    /// A target was scraped.
    pub(super) fn scraped(
        &mut self,
        target: &Target,
        at: Timestamp,
        took_ms: u64,
        size_bytes: u64,
        scraped: &Scraped,
        error: Option<&ScrapeError>,
    ) {
        if let Some(error) = error {
            *self.errors.entry(error.reason()).or_default() += 1;
        }
        let key = &target.endpoint.key;
        for (slo, note) in &scraped.notes {
            *self.note_counts.entry(note.kind.name()).or_default() += 1;
            self.notes.push_back(Arc::new(TargetNote {
                target: key.clone(),
                slo: *slo,
                kind: note.kind,
                from: note.from,
                to: note.to,
                events: note.events,
                series: note.series,
                example: crate::spec::printable(&note.example),
            }));
        }
        self.notes.drain(..self.notes.len().saturating_sub(MOST_NOTES));
        if !target.is_listed {
            return;
        }
        if error.is_none() && scraped.ignored.is_none() {
            self.object(key, scraped);
        }
        let health = target.counted.health();
        let shown = engine::Target {
            url: key.clone(),
            is_up: health.state().map(|(is_up, _)| is_up),
            since: health.state().map(|(_, since)| since),
            last_scrape: Some(at),
            last_page: health.last_page(),
            duration_ms: took_ms,
            size_bytes,
            samples: scraped.samples,
            selected: scraped.selected,
            series: target.counted.series() as u64,
            error: error.map(ToString::to_string),
            reason: error.map(ScrapeError::reason),
        };
        self.targets.insert(key.clone(), Arc::new(shown));
    }

    /// Takes over what the last page of a target shows and cannot be counted.
    fn object(&mut self, key: &str, scraped: &Scraped) {
        self.objections.retain(|objection| objection.target != key);
        let refused = scraped.notes.iter().filter(|(_, note)| note.kind == NoteKind::BadHistogram);
        let objections = refused.map(|(slo, note)| {
            let why = crate::spec::printable(&note.example);
            Arc::new(Objection { target: key.to_owned(), slo: *slo, why })
        });
        self.objections.extend(objections.take(MOST_OBJECTIONS));
        self.objections.truncate(MOST_OBJECTIONS);
    }

    /// Tells what is new about a target.
    pub(super) fn say(
        &mut self,
        catalog: &Catalog,
        key: &str,
        scraped: &Scraped,
        error: Option<&ScrapeError>,
        elapsed_ms: u64,
    ) {
        match error {
            Some(error) if self.said.get(key) != Some(&error.reason()) => {
                self.said.insert(key.to_owned(), error.reason());
                if self.may_speak(elapsed_ms) {
                    tracing::warn!(source = self.source, endpoint = key, reason = error.reason(), "{key}: {error}");
                }
            }
            Some(_) => {}
            None => {
                if self.said.remove(key).is_some() && self.may_speak(elapsed_ms) {
                    tracing::info!(source = self.source, endpoint = key, "{key} gives pages again");
                }
            }
        }
        for (slo, note) in &scraped.notes {
            // What may be missing is told as a gap.
            let is_told = note.kind.effect() != Effect::None
                || matches!(note.kind, NoteKind::Interpolated | NoteKind::NotACounter);
            if !is_told && self.said_notes.insert((*slo, note.kind)) && self.may_speak(elapsed_ms) {
                let (story, slo) = (&catalog.story_of(*slo).name, &catalog[*slo].name);
                let (kind, example) = (note.kind.name(), crate::spec::printable(&note.example));
                tracing::warn!(source = self.source, endpoint = key, kind, "{story}/{slo}: {kind}: {example} ({key})");
            }
        }
    }

    /// Takes over of which ratios no part is to be seen; each is told when that has been so for longer than
    /// `patience_ms`.
    pub(super) fn unseen(&mut self, catalog: &Catalog, unseen: Vec<Unseen>, elapsed_ms: u64, patience_ms: u64) {
        let before = std::mem::take(&mut self.unseen_since_ms);
        for found in &unseen {
            let since_ms = before.get(&found.slo).copied().unwrap_or(elapsed_ms);
            self.unseen_since_ms.insert(found.slo, since_ms);
            let is_over = elapsed_ms.saturating_sub(since_ms) >= patience_ms;
            if is_over && self.said_unseen.insert(found.slo) && self.may_speak(elapsed_ms) {
                let slo = format!("{}/{}", catalog.story_of(found.slo).name, catalog[found.slo].name);
                let text = crate::spec::printable(&found.text());
                tracing::warn!(source = self.source, slo, "{slo}: {text}");
            }
        }
        self.said_unseen.retain(|slo| self.unseen_since_ms.contains_key(slo));
        self.unseen = unseen;
    }

    /// Whether there is room in this minute. What there was none for is counted, and told in the next one.
    fn may_speak(&mut self, elapsed_ms: u64) -> bool {
        let (began_ms, told, untold) = self.minute;
        if elapsed_ms.saturating_sub(began_ms) >= MINUTE_MS {
            if untold > 0 {
                tracing::warn!(source = self.source, "{untold} more of that were not told; see /api/v1/sources");
            }
            self.minute = (elapsed_ms, 1, 0);
            return true;
        }
        let may_speak = told < MOST_WORDS;
        self.minute = if may_speak { (began_ms, told + 1, untold) } else { (began_ms, told, untold + 1) };
        may_speak
    }
}
