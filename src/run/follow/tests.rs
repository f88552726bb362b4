//! Files that cannot be read, from the follower to what the owner shows.

use std::fs;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::api::Access;
use crate::document::{SourceStatus, metrics};
use crate::gate::Level;
use crate::intake::tail::faults;
use crate::run::following::{self, Following};
use crate::run::owner::Owner;
use crate::run::{classifiers, followers};
use crate::store::{Memory, Store, Writer, restore};
use crate::tally::Tally;
use crate::time::{Clock, SystemClock};

/// So many requests of this status, just now.
fn requests(many: usize, status: u16) -> String {
    let at = chrono::DateTime::from_timestamp_millis(SystemClock.now().millis()).unwrap();
    let at = at.format("%d/%b/%Y:%H:%M:%S +0000");
    format!("1.2.3.4 - - [{at}] \"GET / HTTP/1.1\" {status} 7\n").repeat(many)
}

/// What readers are shown after a look.
struct Shown {
    is_news: bool,
    /// Kinds and texts.
    reasons: Vec<(&'static str, String)>,
    health: &'static str,
    /// Whether everything that was written is said to be counted.
    is_whole: bool,
    level: Level,
    tally: Tally,
}

#[test]
fn a21_what_a_file_that_cannot_be_read_may_hold_is_not_passed_over_in_silence() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let (open, shut) = (root.join("a.log"), root.join("b.log"));
    let specs = format!(
        "[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"{}/*.log\"]\nformat = \"common\"\n[gate]\n\
         on_unknown = \"deny\"\nmin_events = 1\n",
        root.display()
    );
    let story = "[story]\nname = \"shop\"\n[[slo]]\nname = \"up\"\nobjective = 90.0\n[slo.availability]\n\
                 source = \"lb\"\nrequests = [\"GET /\"]\n";
    let texts = [("slogate.toml", specs.as_str()), ("shop.toml", story)];
    let catalog = Arc::new(crate::spec::load_texts("specs".as_ref(), &texts).unwrap().catalog);
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (engine, loaded) = restore(&*store, Arc::clone(&catalog), kept_for(&catalog), clock.now()).unwrap();
    let mut all = followers(&catalog, classifiers(&catalog).unwrap(), Vec::new(), &loaded.positions).unwrap();
    let (now, stop) = (Arc::new(RwLock::new(clock.now())), Arc::new(AtomicBool::new(false)));
    let (writer, access) = (Writer::new(store.clone(), loaded.revision), Access::new(catalog.server.listen, None));
    let (mut owner, snapshots) = Owner::new(engine, writer, store, clock, Arc::clone(&now), Arc::clone(&stop), access);
    owner.following = Following::start(Vec::new(), &stop, &now).unwrap();
    let Some(following::Follower::Files(mut follower)) = all.pop() else { panic!("its source is a file") };
    let (source, slo) = (follower.source(), catalog.slo_named("shop", "up").unwrap());

    fs::write(&open, requests(100, 200)).unwrap();
    fs::write(&shut, requests(50, 503)).unwrap();
    faults::fail(&shut, "open", Some(libc::EACCES));
    let mut looking = follower.begin();
    let mut look = || {
        let polled = looking.poll(SystemClock.now());
        let is_news = polled.delivery.is_some();
        polled.delivery.into_iter().for_each(|delivery| {
            let is_saved = delivery.positions.iter().any(|position| position.key == READ_UP_TO.as_bytes());
            assert_eq!(is_saved, delivery.reading.is_up_to_date());
            owner.take(delivery);
        });
        let board = Arc::new(owner.engine.tick(SystemClock.now()));
        owner.publish(board);
        let shown = snapshots.borrow().clone();
        let SourceStatus { reasons, health, .. } = SourceStatus::new(&shown.catalog, &shown.board, source);
        let page = metrics(&shown.catalog, &shown.board, true);
        let is_told = page.contains("slogate_ingest_degraded{source=\"lb\",reason=\"unreadable\"} 1\n");
        assert_eq!(is_told, !reasons.is_empty(), "{page}");
        Shown {
            is_news,
            reasons: reasons.into_iter().map(|reason| (reason.kind, reason.text)).collect(),
            health,
            is_whole: shown.health.data_as_of.is_some(),
            level: shown.board.gates[0].state.level,
            tally: shown.board[slo].standing.tally,
        }
    };

    let first = look();
    let [(kind, text)] = &first.reasons[..] else { panic!("one reason: {:?}", first.reasons) };
    assert_eq!((*kind, first.health, first.is_whole, first.level), ("unreadable", "degraded", false, Level::Unknown));
    assert!(text.starts_with("a file of source lb cannot be read since 2"), "{text}");
    let end = format!("errors may be in it: {}: Permission denied (os error 13)", shut.display());
    assert!(text.ends_with(&end), "{text}");
    assert_eq!(first.tally, Tally::new(100, 0));
    let second = look();
    assert_eq!((second.is_news, second.reasons), (false, first.reasons), "nothing is new, and nothing forgotten");

    faults::fail(&shut, "open", None);
    let watch = Stopwatch::start();
    let read = loop {
        let shown = look();
        if shown.is_news {
            break shown;
        }
        assert!(watch.elapsed_ms() < 30_000, "it is tried again after a second");
        thread::yield_now();
    };
    assert_eq!((read.reasons, read.health, read.is_whole), (Vec::new(), "ok", true));
    assert_eq!((read.tally, read.level), (Tally::new(100, 50), Level::Frozen));
}
