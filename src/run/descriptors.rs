//! File descriptors: how many the process may have, and who may have how many of them.
//!
//! Logs are as many as there are, and connections as many as come. Whoever takes the last descriptor takes it from all
//! the others: from the listener, so that no gate is answered, from the store and from the specs.
//!
//! - What is needed in any case comes first ([`RESERVED`]). Of the rest, connections get the half, up to their own
//!   limit, and the sources share what is left, up to theirs. A log that is closed meanwhile is opened again when it is
//!   its turn, and targets are asked one after the other where they are too many.
//! - The limit is looked up whenever something is to be shared out: it can be changed from outside, by `prlimit` say.
//! - Where sources would get less than they need to work, that is said before anything begins.

use std::fs;

/// For stdin, stdout and stderr, the listener, both runtimes and the signals, the store with its lock and its reserve,
/// the specs while they are read, and connections that are on their way out.
const RESERVED: usize = 32;
/// What a source needs at least: four files, a directory, and one to spare.
const LEAST: usize = LEAST_OPEN + BESIDE;
/// How many files the tail of a source needs at least.
const LEAST_OPEN: usize = 4;
/// What a source opens beside its logs.
const BESIDE: usize = 2;
/// More connections are not wanted.
const MOST_CONNECTIONS: usize = 512;
/// Fewer connections are no service.
const LEAST_CONNECTIONS: usize = 8;

/// How many descriptors the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    most: usize,
}

/// So few descriptors that nothing can be done with them: one sentence that says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "slogate may have {most} files open, and the sources of its specs ({sources}) need at least {least}; raise the \
     limit (LimitNOFILE= in its systemd unit, `ulimit -n` in a shell)"
)]
pub struct TooFew {
    most: usize,
    least: usize,
    sources: usize,
}

impl Descriptors {
    /// As many as the system allows this process now; where it does not say, as many as anybody wants.
    pub(super) fn of_process() -> Self {
        let most = fs::read_to_string("/proc/self/limits").ok().and_then(|limits| soft_limit(&limits));
        Self { most: most.unwrap_or(usize::MAX) }
    }

    /// Whether this many sources can be followed.
    ///
    /// # Errors
    /// When there are too few descriptors for that.
    pub(super) fn check(self, sources: usize) -> Result<(), TooFew> {
        // Connections get as much as the sources, up to their own limit.
        let for_sources = LEAST_CONNECTIONS.max(LEAST * sources);
        let least = RESERVED + for_sources + for_sources.min(MOST_CONNECTIONS);
        if self.most < least { Err(TooFew { most: self.most, least, sources }) } else { Ok(()) }
    }

    /// How many connections may be open.
    pub(super) fn connections(self) -> usize {
        (self.rest() / 2).min(MOST_CONNECTIONS)
    }

    /// How many logs each of so many sources may have open, or targets be asking, which may be more than it wants.
    pub(super) fn logs(self, sources: usize) -> usize {
        let share = (self.rest() - self.connections()) / sources.max(1);
        share.saturating_sub(BESIDE).max(LEAST_OPEN)
    }

    fn rest(self) -> usize {
        self.most.saturating_sub(RESERVED)
    }
}

/// What `/proc/self/limits` says that the process may have open; `None` when it may have any number.
fn soft_limit(limits: &str) -> Option<usize> {
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    limit.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f14_what_is_shared_out_is_never_more_than_there_is() {
        for most in (0..5_000).chain([65_536, 1 << 30, usize::MAX]) {
            let descriptors = Descriptors { most };
            for sources in 0..200 {
                if descriptors.check(sources).is_err() {
                    assert!(most <= RESERVED + 2 * (LEAST * sources).max(LEAST_CONNECTIONS), "{most} {sources}");
                    continue;
                }
                let (connections, logs) = (descriptors.connections(), descriptors.logs(sources));
                assert!((LEAST_CONNECTIONS..=MOST_CONNECTIONS).contains(&connections) && logs >= LEAST_OPEN);
                assert!((logs + BESIDE) * sources <= most - RESERVED - connections, "{most} {sources}: {logs}");
            }
        }
    }

    #[test]
    fn a26_one_source_gets_what_a_usual_limit_leaves() {
        for (most, connections, logs) in [(64, 16, 14), (128, 48, 46), (256, 112, 110), (1_024, 496, 494)] {
            let descriptors = Descriptors { most };
            assert_eq!(descriptors.check(1), Ok(()));
            assert_eq!((descriptors.connections(), descriptors.logs(1)), (connections, logs), "{most}");
        }
        let words = "slogate may have 40 files open, and the sources of its specs (1) need at least 48; raise the limit \
                     (LimitNOFILE= in its systemd unit, `ulimit -n` in a shell)";
        assert_eq!(Descriptors { most: 40 }.check(1).unwrap_err().to_string(), words);
    }

    #[test]
    fn the_limit_is_read_as_the_system_writes_it() {
        let line = |soft: &str| {
            format!("Limit  Soft Limit  Hard Limit  Units\nMax open files            {soft}   524288   files\n")
        };
        assert_eq!(soft_limit(&line("1024")), Some(1_024));
        assert_eq!(soft_limit(&line("unlimited")), None);
        assert_eq!(soft_limit("Max processes 1 1\n"), None);
    }
}
