//! Watching the specs: when their directory changes, or somebody asks for it, they are read and checked as a whole.
//!
//! Nothing here changes what is in force; what was found is told to the owner, who does (see [`super::reload`]).
//!
//! - A directory is looked at every second, from outside: no file is opened. It is read when it looks different from
//!   when it was read last, and the same as a second before, because editors and copies write in steps. That needs no
//!   watches that could run out, and works on every file system.
//! - Whoever asks, by SIGHUP, has it read at once. However often that is, there are [`PAUSE`]s in between; the last
//!   request is always followed by a reading.
//! - A directory that was written to while it was read is read again: half of one state and half of another may be
//!   sound and yet nobody's intention.
//! - What is bad is told once, and tried again when it changes or when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::{classifiers, token};
use crate::api::Token;
use crate::classify::Classifier;
use crate::spec::{self, Catalog, Look, SpecErrors, StoreUrl};

/// How often the directory is looked at.
const POLL: Duration = Duration::from_secs(1);
/// From one reading that somebody asked for to the next.
const PAUSE: Duration = Duration::from_millis(500);

/// Why the directory was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// To be sure: it looks as it did when it was read last, or nobody has looked at it since the server started.
    Again,
    /// It changed.
    Changed,
    /// Somebody asked.
    Asked,
}

/// What was found in the directory.
pub(super) enum News {
    /// Specs that can be in force.
    Sound(Box<Change>, Cause),
    /// Why they cannot, a sentence for each fault.
    Faulty(Vec<String>, Cause),
}

/// Specs that can be in force, with everything that may fail about them done.
pub(super) struct Change {
    pub(super) catalog: Arc<Catalog>,
    /// By source.
    pub(super) classifiers: Vec<Classifier>,
    pub(super) token: Option<Token>,
}

/// Watches one directory.
pub(super) struct Watch {
    /// What the server was started with.
    started: Arc<Catalog>,
    asked: Receiver<()>,
    news: Sender<News>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    /// A watch over the directory of the specs that the server was started with.
    pub(super) fn new(started: Arc<Catalog>, asked: Receiver<()>, news: Sender<News>, stop: Arc<AtomicBool>) -> Self {
        Self { started, asked, news, stop }
    }

    /// Watches until the server stops.
    pub(super) fn run(self) {
        let mut sight = Sight::default();
        loop {
            match self.asked.recv_timeout(POLL) {
                Ok(()) => sight.is_asked = true,
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody will ask any more.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(POLL),
            }
            let directory = &self.started.directory;
            let news = sight.read_if_due(|| spec::look(directory), |cause| self.read(cause));
            if self.stop.load(Ordering::Relaxed) || news.is_some_and(|news| self.news.send(news).is_err()) {
                return;
            }
            if !self.asked.is_empty() {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Reads and checks the directory.
    pub(super) fn read(&self, cause: Cause) -> News {
        match self.check() {
            Ok(change) => News::Sound(Box::new(change), cause),
            Err(faults) => News::Faulty(faults, cause),
        }
    }

    fn check(&self) -> Result<Change, Vec<String>> {
        let loaded = spec::load(&self.started.directory).map_err(sentences)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let catalog = Arc::new(loaded.catalog);
        let fixed = fixed(&self.started, &catalog);
        if !fixed.is_empty() {
            return Err(fixed);
        }
        let token = token(&catalog).map_err(|error| vec![error.to_string()])?;
        let classifiers = classifiers(&catalog).map_err(|error| vec![error.to_string()])?;
        Ok(Change { catalog, classifiers, token })
    }
}

fn sentences(errors: SpecErrors) -> Vec<String> {
    match errors {
        SpecErrors::Invalid(faults) => faults.iter().map(ToString::to_string).collect(),
        unreadable @ SpecErrors::Unreadable { .. } => vec![unreadable.to_string()],
    }
}

/// What cannot change while the server runs, and has. Specs are in force as a whole or not at all, so that they are
/// refused for it: a server that keeps to half of what its directory says is worse than one that says why it does not.
fn fixed(started: &Catalog, catalog: &Catalog) -> Vec<String> {
    let file = catalog.directory.join("slogate.toml");
    let mut faults = Vec::new();
    let mut changed = |key: &str, from: String, to: String| {
        let file = spec::printable(&file.to_string_lossy());
        faults.push(format!("{file}: {key} cannot change from {from} to {to} while the server runs; restart it"));
    };
    if started.server.listen != catalog.server.listen {
        changed("[server] listen", started.server.listen.to_string(), catalog.server.listen.to_string());
    }
    if started.store != catalog.store {
        let url = |StoreUrl::Redb(path): &StoreUrl| format!("redb:{}", path.display());
        changed("[store] url", url(&started.store), url(&catalog.store));
    }
    faults
}

/// What has been seen of a directory, from which follows when to read it.
#[derive(Debug, Default)]
struct Sight {
    /// At the last look.
    seen: Option<Look>,
    /// When it was read last.
    read: Option<Look>,
    /// Whether it had been left alone by then. If not, it may have been written to again too soon for the times of its
    /// files to tell.
    is_sure: bool,
    /// Whether somebody waits for it to be read.
    is_asked: bool,
}

impl Sight {
    /// Reads the directory if that is due; `None` if it is not, or if somebody wrote to it meanwhile.
    fn read_if_due<T>(&mut self, look: impl Fn() -> Look, read: impl FnOnce(Cause) -> T) -> Option<T> {
        let before = look();
        let is_settled = self.seen.as_ref() == Some(&before);
        let is_news = self.read.as_ref().is_some_and(|read| *read != before);
        let cause = match (self.is_asked, is_settled) {
            (true, _) => Some(Cause::Asked),
            (false, true) if is_news => Some(Cause::Changed),
            (false, true) if !self.is_sure => Some(Cause::Again),
            (false, _) => None,
        };
        self.seen = Some(before.clone());
        let found = read(cause?);
        let after = look();
        if after != before {
            self.seen = Some(after);
            return None;
        }
        (self.is_asked, self.is_sure, self.read) = (false, is_settled, Some(before));
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const SPECS: [(&str, &str); 2] = [
        (
            "slogate.toml",
            "[server]\nlisten = \"127.0.0.1:9999\"\n[store]\nurl = \"redb:a\"\n[[source]]\nname = \"lb\"\n\
             [source.file]\npaths = [\"log\"]\nformat = \"common\"\n[gate]\non_unknown = \"deny\"\n",
        ),
        (
            "shop.toml",
            "[story]\nname = \"shop\"\n[[slo]]\nname = \"up\"\nobjective = 99.0\n[slo.availability]\nsource = \"lb\"\n\
             requests = [\"GET /\"]\n",
        ),
    ];

    fn write(directory: &Path, changes: &[(&str, &str)]) {
        for (name, text) in SPECS {
            let text = changes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
            fs::write(directory.join(name), text).unwrap();
        }
    }

    fn watch(directory: &Path) -> Watch {
        let started = Arc::new(spec::load(directory).unwrap().catalog);
        let (asked, news) = (crossbeam_channel::bounded(1), crossbeam_channel::bounded(1));
        Watch::new(started, asked.1, news.0, Arc::default())
    }

    /// What a watch that saw `SPECS` at its start says of a change of them.
    #[track_caller]
    fn check(changes: &[(&str, &str)], expected: &[&str]) {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), &[]);
        let watch = watch(temp.path());
        write(temp.path(), changes);
        let found = match watch.read(Cause::Changed) {
            News::Faulty(faults, _) => faults,
            News::Sound(..) => vec!["sound".to_owned()],
        };
        let home = format!("{}/", temp.path().display());
        let found: Vec<String> = found.iter().map(|fault| fault.replace(&home, "")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_can_be_in_force_is_told_apart_from_what_cannot() {
        check(&[], &["sound"]);
        check(&[("99.0", "95.0")], &["sound"]);
        check(&[("deny", "allow"), ("shop", "store"), ("[\"log\"]", "[\"log\", \"log.1\"]")], &["sound"]);
        check(
            &[("99.0", "990"), ("deny", "perhaps")],
            &[
                "shop.toml:5:13: the objective `990` is not a percentage above 0 and below 100",
                "slogate.toml:11:14: `perhaps` is not an answer for want of evidence; expected \"deny\" or \"allow\"",
            ],
        );
        check(
            &[("9999", "9998"), ("redb:a", "redb:b"), ("99.0", "95.0")],
            &[
                "slogate.toml: [server] listen cannot change from 127.0.0.1:9999 to 127.0.0.1:9998 while the server \
                 runs; restart it",
                "slogate.toml: [store] url cannot change from redb:a to redb:b while the server runs; restart it",
            ],
        );
        check(
            &[("9999\"", "9999\"\ntoken_file = \"nowhere\"")],
            &["the token file nowhere cannot be read: No such file or directory (os error 2)"],
        );
    }

    #[test]
    fn a_directory_is_read_when_it_changed_and_was_then_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let mut sight = Sight::default();
        let mut poll = |asked: bool| {
            sight.is_asked |= asked;
            sight.read_if_due(|| spec::look(temp.path()), |cause| cause)
        };
        write(temp.path(), &[]);
        assert_eq!([poll(false), poll(false), poll(false)], [None, Some(Cause::Again), None]);
        // Of different lengths: two writes can be too close to each other for the times of a file to tell.
        write(temp.path(), &[("99.0", "98.05")]);
        assert_eq!(poll(false), None);
        write(temp.path(), &[("99.0", "97.005")]);
        assert_eq!([poll(false), poll(false), poll(false)], [None, Some(Cause::Changed), None]);
        // Whoever asks need not wait; but what was not left alone yet is read again when it was.
        assert_eq!([poll(true), poll(false)], [Some(Cause::Asked), None]);
        write(temp.path(), &[("99.0", "96.0005")]);
        assert_eq!([poll(true), poll(false), poll(false)], [Some(Cause::Asked), Some(Cause::Again), None]);
    }

    #[test]
    fn what_was_written_while_it_was_read_is_read_again() {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), &[]);
        let mut sight = Sight { is_asked: true, ..Sight::default() };
        for objective in ["98.05", "97.005"] {
            let read = |_| write(temp.path(), &[("99.0", objective)]);
            assert_eq!(sight.read_if_due(|| spec::look(temp.path()), read), None);
        }
        assert_eq!(sight.read_if_due(|| spec::look(temp.path()), |cause| cause), Some(Cause::Asked));
    }
}
