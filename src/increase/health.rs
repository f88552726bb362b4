//! Whether a target answers.

use crate::time::Timestamp;

/// What was learned from the scrapes of one target.
///
/// One failure is not an outage and one page not a recovery: the state changes when two scrapes in a row agree, except
/// that the first one ever decides by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The state, and since when; `None` before the first scrape.
    pub(super) state: Option<(bool, Timestamp)>,
    /// The last scrape gave the other result than the state says, then.
    pub(super) doubted: Option<Timestamp>,
    /// The last page.
    pub(super) last_page: Option<Timestamp>,
}

/// How many scrapes in a row must agree.
pub const AGREEING_SCRAPES: u32 = 2;

impl Health {
    /// Takes in the result of a scrape; the new state if it has changed.
    pub(super) fn observe(&mut self, answered: bool, at: Timestamp) -> Option<bool> {
        if answered {
            self.last_page = Some(at);
        }
        match (self.state, self.doubted) {
            (Some((up, _)), _) if up == answered => self.doubted = None,
            (Some(_), None) => self.doubted = Some(at),
            // Since the first of the results that agree.
            (Some(_), Some(first)) => {
                (self.state, self.doubted) = (Some((answered, first)), None);
                return Some(answered);
            }
            (None, _) => {
                self.state = Some((answered, at));
                return Some(answered);
            }
        }
        None
    }

    /// Whether it answers, and since when; `None` before the first scrape.
    pub fn state(&self) -> Option<(bool, Timestamp)> {
        self.state
    }

    /// The last page that it gave.
    pub fn last_page(&self) -> Option<Timestamp> {
        self.last_page
    }

    /// Whether nothing was learned from it for longer than `max_staleness_ms`, or ever.
    pub fn is_stale(&self, now: Timestamp, max_staleness_ms: i64) -> bool {
        self.last_page.is_none_or(|page| now.millis().saturating_sub(page.millis()) > max_staleness_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d17_a_state_changes_when_two_scrapes_agree() {
        let mut health = Health::default();
        assert!(health.is_stale(Timestamp::from_seconds(0), i64::MAX));
        let changes: Vec<Option<bool>> = "u d u d d u d u u d d"
            .split(' ')
            .zip(0..)
            .map(|(result, second)| health.observe(result == "u", Timestamp::from_seconds(second)))
            .collect();
        let (up, down) = (Some(true), Some(false));
        assert_eq!(changes, [up, None, None, None, down, None, None, None, up, None, down]);
        assert_eq!(health.state(), Some((false, Timestamp::from_seconds(9))));
        assert_eq!(health.last_page(), Some(Timestamp::from_seconds(8)));
        assert!(!health.is_stale(Timestamp::from_seconds(68), 60_000));
        assert!(health.is_stale(Timestamp::from_seconds(69), 60_000));
    }
}
