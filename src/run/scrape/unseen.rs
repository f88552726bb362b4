//! Which ratios have targets that show their `total`, and nothing of their `bad` (or `good`).
//!
//! Most clients show a label value with its first event, so that a service without errors shows no counter of errors:
//! that is no failure, and no gate may close for it. But a selector with a slip in it looks the same, and every event
//! would be good for ever. Nobody but people can tell the two apart, and so they are told.

use super::state::Target;
use crate::counts::ScrapeCounter;
use crate::engine::Unseen;
use crate::increase::Part;
use crate::spec::{Catalog, Sli, SloId};

/// The SLOs that are read on at least one of these targets, and whose part is on the last page of none.
pub(super) fn unseen(catalog: &Catalog, counter: &ScrapeCounter, targets: &[&Target]) -> Vec<Unseen> {
    let of = |(place, slo): (usize, SloId)| {
        let Sli::Ratio { part, of, .. } = &catalog[slo].sli else { return None };
        let heard = targets.iter().filter_map(|target| Some((target, target.counted.hearing(place)?.0)));
        let (mut is_read, mut last) = (false, None);
        for (target, hearing) in heard {
            let seen = target.counted.part_seen(place);
            if seen.is_some() && seen == hearing.last {
                return None;
            }
            is_read |= hearing.last.is_some() && hearing.silence.is_none();
            last = last.max(seen);
        }
        let key = if *part == Part::Good { "good" } else { "bad" };
        is_read.then(|| Unseen { slo, key, selector: of.to_string(), last })
    };
    counter.slos().enumerate().filter_map(of).collect()
}
