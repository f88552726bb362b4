//! The specs in force, and what became of later ones.

use super::metrics::Page;
use crate::time::Timestamp;

/// Which specs are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecsHealth {
    /// When they were read.
    pub loaded_at: Timestamp,
    /// How often they were reloaded since the program started.
    pub accepted: u64,
    /// How often they were not, because what was there could not be used.
    pub refused: u64,
    /// Why what is there now is not in force, if it was refused: a line for each fault.
    pub rejected: Option<String>,
    /// Why what is there now is not in force yet.
    pub waiting: Option<String>,
}

impl SpecsHealth {
    /// Those that a program starts with.
    pub fn loaded(at: Timestamp) -> Self {
        Self { loaded_at: at, accepted: 0, refused: 0, rejected: None, waiting: None }
    }

    /// Others are in force now.
    pub fn accept(&mut self, at: Timestamp) {
        *self = Self { accepted: self.accepted.saturating_add(1), refused: self.refused, ..Self::loaded(at) };
    }

    /// Others cannot be used; those in force stay.
    pub fn reject(&mut self, why: String) {
        self.refused = self.refused.saturating_add(1);
        (self.rejected, self.waiting) = (Some(why), None);
    }

    /// The part of `/metrics` that is about them.
    pub fn metrics(&self) -> String {
        let mut page = Page::default();
        let name = "slogate_specs_reloads_total";
        page.family(name, "counter", "Times that the specs were reloaded, or were not because of what they said.");
        page.sample(name, &[("result", "accepted")], self.accepted);
        page.sample(name, &[("result", "rejected")], self.refused);
        let name = "slogate_specs_loaded_timestamp_seconds";
        page.family(name, "gauge", "When the specs in force were read.");
        page.sample(name, &[], self.loaded_at.millis() as f64 / 1_000.0);
        let name = "slogate_specs_rejected";
        page.family(name, "gauge", "1 while the specs on disk are not in force because of what they say.");
        page.sample(name, &[], u8::from(self.rejected.is_some()));
        page.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_795_169_520_250);

    #[test]
    fn what_was_rejected_is_told_until_something_is_accepted() {
        let mut specs = SpecsHealth::loaded(START);
        specs.reject("a".into());
        specs.reject("b".into());
        assert_eq!((specs.loaded_at, specs.refused, specs.rejected.as_deref()), (START, 2, Some("b")));
        specs.waiting = Some("c".into());
        specs.accept(START.plus_millis(1));
        let expected = SpecsHealth { accepted: 1, refused: 2, ..SpecsHealth::loaded(START.plus_millis(1)) };
        assert_eq!(specs, expected);
    }

    #[test]
    fn metrics_tell_of_both() {
        let mut specs = SpecsHealth::loaded(START);
        specs.accept(START);
        specs.reject("a".into());
        let text = specs.metrics();
        for line in [
            "slogate_specs_reloads_total{result=\"accepted\"} 1\n",
            "slogate_specs_reloads_total{result=\"rejected\"} 1\n",
            "slogate_specs_loaded_timestamp_seconds 1795169520.25\n",
            "slogate_specs_rejected 1\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
