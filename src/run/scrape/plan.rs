//! When each target is asked.

use crate::time::Timestamp;

/// Targets that were just found are asked for the first time within this, in milliseconds.
const SOON_MS: u64 = 2_000;

/// From the moment that a target was found to its first scrape.
pub(super) fn until_first_ms(key: &str, interval_ms: u64) -> u64 {
    offset_ms(key, interval_ms.clamp(1, SOON_MS))
}

/// From a scrape at `at` to the next one: about an interval, such that a target is asked at its own instant of each.
pub(super) fn until_next_ms(key: &str, interval_ms: u64, at: Timestamp) -> u64 {
    let interval_ms = interval_ms.max(1);
    let length = i64::try_from(interval_ms).unwrap_or(i64::MAX);
    let passed = u64::try_from(at.millis().rem_euclid(length)).unwrap_or(0);
    let until_ms = (offset_ms(key, interval_ms) + interval_ms - passed) % interval_ms;
    // The scrape that has just begun may be one that came early or late.
    if until_ms * 2 <= interval_ms { until_ms + interval_ms } else { until_ms }
}

/// The instant of a target in an interval: some number below it that follows from the name alone (FNV-1a).
fn offset_ms(key: &str, interval_ms: u64) -> u64 {
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    // The upper bits are mixed better than the lower ones.
    (hash >> 20) % interval_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_asked_once_in_every_interval_at_its_own_instant() {
        for (key, start) in [("http://a:1/metrics", 1_000_000_007_i64), ("http://b:2/metrics", 1_234_567_890_123)] {
            let mut at = Timestamp::from_millis(start);
            let mut instants = Vec::new();
            for late in [0, 3, 90, 7_000, -20, 0] {
                let until = until_next_ms(key, 15_000, at) as i64;
                assert!((7_500..=22_500).contains(&until), "{until}");
                at = at.plus_millis(until);
                instants.push(at.millis() % 15_000);
                at = at.plus_millis(late);
            }
            assert!(instants.iter().all(|instant| *instant == instants[0]), "{instants:?}");
        }
    }

    #[test]
    fn many_targets_are_spread_over_the_interval() {
        let mut tenths = [0; 10];
        for number in 0..1_000 {
            tenths[(offset_ms(&format!("http://10.0.0.{number}:9100/metrics"), 15_000) / 1_500) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (60..150).contains(count)), "{tenths:?}");
    }
}
