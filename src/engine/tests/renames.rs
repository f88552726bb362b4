//! Renames: what goes on under another name, once, through crashes, on both kinds of store.

mod sources;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::kept::changed;
use super::*;
use crate::gate::Hold;
use crate::store::{Commit, Memory, Redb, Store, recall, restore};

/// A server on a store of either kind.
struct Server {
    store: Box<dyn Store>,
    engine: Engine,
    /// Where the store is, if it is on a disk.
    _disk: Option<tempfile::TempDir>,
}

impl Server {
    fn start(catalog: Arc<Catalog>, on_disk: bool) -> Self {
        let disk = on_disk.then(|| tempfile::tempdir().unwrap());
        let store: Box<dyn Store> = match &disk {
            Some(disk) => Box::new(Redb::open(&disk.path().join("store.redb")).unwrap()),
            None => Box::new(Memory::new()),
        };
        let engine = restore(&*store, catalog, Horizon::DAYS_28, NOW).unwrap().0;
        Self { store, engine, _disk: disk }
    }

    fn commit(&mut self) {
        let commit = Commit { checkpoint: self.engine.checkpoint(), ..Commit::default() };
        self.store.commit(self.store.revision().unwrap() + 1, &commit).unwrap();
    }

    /// Begins anew with these specs by what was committed last, as after a kill.
    fn crash(&mut self, catalog: Arc<Catalog>) -> Board {
        self.engine = restore(&*self.store, catalog, Horizon::DAYS_28, NOW).unwrap().0;
        self.engine.tick(NOW)
    }

    fn restart(&mut self, catalog: Arc<Catalog>) -> Board {
        self.commit();
        self.crash(catalog)
    }

    fn audit(&self) -> Vec<AuditEntry> {
        self.store.audit(0, 1_000, None).unwrap()
    }

    /// What the specs did, by name and words.
    fn told(&self) -> Vec<(&'static str, String)> {
        let by_specs = self.audit().into_iter().filter(|entry| entry.by == SPECS);
        by_specs.map(|entry| (entry.action.name(), entry.reason)).collect()
    }
}

/// Runs a story on both kinds of store: a server with these specs that counted two good events and a bad one.
fn on_both(before: &Arc<Catalog>, story: impl Fn(&mut Server)) {
    for on_disk in [false, true] {
        let mut server = Server::start(before.clone(), on_disk);
        observe(&mut server.engine, &[(minutes_ago(28_800), true), (minutes_ago(28_800), false), (NOW, true)]);
        server.engine.tick(NOW);
        server.commit();
        story(&mut server);
    }
}

fn slo_renamed(before: &Arc<Catalog>, slo: usize, to: &str) -> Arc<Catalog> {
    changed(before, |catalog| {
        let from = (catalog.stories[0].name.clone(), std::mem::replace(&mut catalog.slos[slo].name, to.into()));
        catalog.renames.slos.insert(SloId(slo), vec![from]);
    })
}

/// The story with its service, and so all of its SLOs.
fn story_renamed(before: &Arc<Catalog>, to: &str) -> Arc<Catalog> {
    changed(before, |catalog| {
        let from = std::mem::replace(&mut catalog.stories[0].name, to.into());
        let service = std::mem::replace(&mut catalog.services[0].name, to.into());
        catalog.renames.services.insert(ServiceId(0), service);
        for (slo, name) in catalog.slos.iter().map(|slo| slo.name.clone()).enumerate() {
            catalog.renames.slos.insert(SloId(slo), vec![(from.clone(), name)]);
        }
    })
}

const COUNTED: Tally = Tally { good: 2, bad: 1 };

#[test]
fn i05_an_slo_that_was_renamed_goes_on_with_its_counts_and_is_audited_once() {
    let before = catalog(vec![availability(), percentile(1)]);
    on_both(&before, |server| {
        let after = slo_renamed(&before, 0, "up");
        for _ in 0..3 {
            let board = server.restart(after.clone());
            assert_eq!((board[SloId(0)].standing.tally, board[SloId(0)].lifetime), (COUNTED, COUNTED));
            assert_eq!(board[SloId(0)].last_event, Some(NOW));
            assert!(board[SloId(0)].gaps.lost.is_none());
            assert_eq!(server.engine.not_followed(), []);
        }
        let told = ("renamed", "profile/up goes on with what was counted for profile/availability0".to_owned());
        server.commit();
        assert_eq!(server.told(), [told]);
        let entry = server.audit().into_iter().find(|entry| entry.by == SPECS).unwrap();
        assert_eq!((entry.service.as_str(), entry.before, entry.after), ("api", entry.after, Some(Level::Frozen)));
        let (from, to) = ("profile/availability0".to_owned(), "profile/up".to_owned());
        assert_eq!(entry.action, Action::Renamed { from, to });
        // What comes in from here on is added, and without the key it is the same.
        observe(&mut server.engine, &[(NOW, false)]);
        let board = server.restart(changed(&after, |catalog| catalog.renames = Renames::default()));
        assert_eq!(board[SloId(0)].standing.tally, COUNTED + Tally::new(0, 1));
        assert_eq!(server.store.load().unwrap().kept.series.len(), before.slos.len() + 3);
    });
}

#[test]
fn i05_a_crash_before_the_commit_finds_the_old_name_and_after_it_the_new_one() {
    let before = catalog(vec![availability()]);
    let after = slo_renamed(&before, 0, "up");
    on_both(&before, |server| {
        // Renamed and not committed: the specs of either side find everything.
        for specs in [&after, &before, &after, &after, &before, &after] {
            let board = server.crash((*specs).clone());
            assert_eq!(board[SloId(0)].standing.tally, COUNTED);
            observe(&mut server.engine, &[(NOW, true)]);
        }
        server.commit();
        let expected = COUNTED + Tally::new(1, 0);
        for _ in 0..2 {
            assert_eq!(server.crash(after.clone())[SloId(0)].standing.tally, expected);
        }
        assert_eq!(server.told().len(), 1);
        // The old name is one that nothing was ever counted under.
        assert_eq!(server.crash(before.clone())[SloId(0)].standing.tally, Tally::ZERO);
        // And back.
        let back = slo_renamed(&after, 0, "availability0");
        assert_eq!(server.crash(back.clone())[SloId(0)].standing.tally, expected);
        assert_eq!(server.restart(back)[SloId(0)].standing.tally, expected);
    });
}

#[test]
fn i05_without_the_key_a_new_name_begins_anew() {
    let before = catalog(vec![availability()]);
    on_both(&before, |server| {
        let unsaid = changed(&before, |catalog| catalog.slos[0].name = "up".into());
        assert_eq!(server.restart(unsaid.clone())[SloId(0)].standing.tally, Tally::ZERO);
        assert_eq!(server.engine.not_followed(), []);
        // Later it is too late for that name, and not for another.
        let said = slo_renamed(&before, 0, "up");
        assert_eq!(server.restart(said.clone())[SloId(0)].standing.tally, Tally::ZERO);
        let told: Vec<String> = server.engine.not_followed().iter().map(NotFollowed::to_string).collect();
        let expected = "profile/up has counts of its own and does not go on with those of profile/availability0; to do \
                        so, give it a name that it did not have yet";
        assert_eq!(told, [expected]);
        let third = slo_renamed(&before, 0, "ok");
        let board = server.restart(third);
        assert_eq!(board[SloId(0)].standing.tally, COUNTED);
        // Nobody counted for it in between.
        assert_eq!(board[SloId(0)].gaps.newest[0].reason, "slo_removed");
    });
}

#[test]
fn i05_a_name_that_nothing_is_kept_of_is_told_once() {
    let before = catalog(vec![availability()]);
    on_both(&before, |server| {
        let after = changed(&before, |catalog| {
            catalog.slos[0].name = "up".into();
            let from = ["avail", "availability"].map(|slo| ("profile".to_owned(), slo.to_owned()));
            catalog.renames.slos.insert(SloId(0), from.to_vec());
        });
        server.restart(after.clone());
        let told: Vec<String> = server.engine.not_followed().iter().map(NotFollowed::to_string).collect();
        let expected = "profile/up begins anew: nothing is kept of profile/avail, which its `renamed_from` names";
        assert_eq!(told, [expected]);
        server.restart(after.clone());
        assert_eq!(server.engine.not_followed(), []);
    });
    // A new store lacks nothing.
    let server = Server::start(slo_renamed(&before, 0, "up"), false);
    assert_eq!(server.engine.not_followed(), []);
}

#[test]
fn i05_rules_and_promises_that_change_with_the_name_are_told_as_ever() {
    let before = catalog(vec![availability()]);
    on_both(&before, |server| {
        let stricter = Sli::Availability { good: Statuses::range(100, 399), ignore: Statuses::NONE };
        let after = changed(&slo_renamed(&before, 0, "up"), |catalog| {
            (catalog.slos[0].sli, catalog.slos[0].objective) = (stricter.clone(), Objective::new(500_000_000).unwrap());
        });
        let board = server.restart(after);
        assert_eq!((board[SloId(0)].standing.tally, board[SloId(0)].rules_changed), (COUNTED, Some(NOW)));
        server.commit();
        let told = server.told();
        let names: Vec<&str> = told.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["renamed", "promise", "rules"]);
        assert_eq!(told[1].1, "profile/up promises 50% over 28d, and promised 90% over 28d");
    });
}

#[test]
fn i05_a_gate_that_is_held_by_a_renamed_slo_stays_held() {
    let before = catalog(vec![availability()]);
    on_both(&before, |server| {
        // One bad event of 30 leaves a third of the budget, and that is not enough to thaw what was frozen.
        let strict = |catalog: &Arc<Catalog>| {
            changed(catalog, |catalog| catalog.services[0].policy.thaw_above_billionths = 900_000_000)
        };
        let before = strict(&before);
        server.restart(before.clone());
        observe(&mut server.engine, &[(NOW, true); 27]);
        let board = server.engine.tick(NOW);
        assert_eq!(board[ServiceId(0)].reasons[0].kind(), "not_recovered");
        server.commit();
        let told = server.told().len();
        for after in [strict(&slo_renamed(&before, 0, "up")), strict(&story_renamed(&before, "shop"))] {
            let board = server.crash(after);
            let gate = &board[ServiceId(0)];
            assert_eq!((gate.state.level, gate.reasons[0].kind()), (Level::Frozen, "not_recovered"));
        }
        // By the same terms, under other names.
        let after = server.engine.catalog().clone();
        assert_eq!(server.restart(after)[ServiceId(0)].reasons[0].kind(), "not_recovered");
        assert!(server.told()[told..].iter().all(|(name, _)| *name == "renamed"), "{:?}", server.told());
    });
}

#[test]
fn i05_a_freeze_goes_along_when_a_story_and_its_service_are_renamed() {
    let before = catalog(vec![availability(), percentile(1)]);
    on_both(&before, |server| {
        let hold = Hold::Freeze { reason: "party".into(), until: None, exempt: vec![] };
        server.engine.command(Command { service: ServiceId(0), hold: hold.clone(), by: "anna".into() }, NOW).unwrap();
        server.commit();
        let after = story_renamed(&before, "shop");
        // Killed before it was committed, and after it.
        for specs in [&after, &before, &after] {
            let board = server.crash((*specs).clone());
            let state = &board[ServiceId(0)].state;
            assert_eq!((state.level, state.since, state.hold.as_ref()), (Level::Frozen, NOW, Some(&hold)));
        }
        let board = server.restart(after.clone());
        assert_eq!(board[ServiceId(0)].state.hold.as_ref(), Some(&hold));
        assert_eq!(board[SloId(0)].standing.tally, COUNTED);
        let kept: Vec<String> = server.store.load().unwrap().kept.gates.into_iter().map(|gate| gate.service).collect();
        assert_eq!(kept, ["shop"]);
        let told = server.told();
        assert_eq!(told[0].1, "the gate of shop goes on with the level and the orders of that of api");
        assert_eq!(told.len(), 3);
        // The audit of before stays under the old name, and tells of the past under the new one.
        assert_eq!(server.store.audit(0, 10, Some("shop")).unwrap().len(), 3);
        let later = NOW.plus_millis(60_000);
        server.engine.tick(later);
        let recalled = recall(&*server.store, &after, server.engine.last_audit(), NOW);
        let gate = &server.engine.board_recalled(&recalled).unwrap()[ServiceId(0)];
        assert_eq!((gate.state.level, gate.state.hold.as_ref()), (Level::Frozen, Some(&hold)));
        // What is ordered under the new name comes along when it is taken back.
        let hold = Hold::Unfreeze { reason: "over".into(), until: None };
        server.engine.command(Command { service: ServiceId(0), hold: hold.clone(), by: "anna".into() }, later).unwrap();
        let back = changed(&before, |catalog| {
            catalog.renames = story_renamed(&after, "profile").renames.clone();
            catalog.renames.services.insert(ServiceId(0), "shop".into());
        });
        assert_eq!(server.restart(back)[ServiceId(0)].state.hold, Some(hold));
    });
}

/// A freeze that came when nothing could be committed, and that the reserve handed over at the next start.
#[test]
fn i05_a_freeze_that_was_ordered_under_the_new_name_before_it_was_committed_is_in_force() {
    let before = catalog(vec![availability()]);
    on_both(&before, |server| {
        let hold = Hold::Freeze { reason: "party".into(), until: None, exempt: vec![] };
        let (service, level, since) = ("shop".to_owned(), Level::Frozen, minutes_ago(3));
        let ordered =
            KeptGate { service, level, since, holding: vec![], hold: Some(hold.clone()), terms: Terms::default() };
        let commit =
            Commit { checkpoint: Checkpoint { gates: vec![ordered], ..Default::default() }, ..Default::default() };
        server.store.commit(server.store.revision().unwrap() + 1, &commit).unwrap();
        let after = story_renamed(&before, "shop");
        for _ in 0..2 {
            let state = server.crash(after.clone())[ServiceId(0)].state.clone();
            assert_eq!((state.level, state.since, state.hold), (Level::Frozen, since, Some(hold.clone())));
            assert!(!state.holding.is_empty(), "what the old gate remembered is not forgotten");
            server.commit();
        }
        let kept: Vec<String> = server.store.load().unwrap().kept.gates.into_iter().map(|gate| gate.service).collect();
        assert_eq!(kept, ["shop"]);
    });
}

/// What is done to a server with three SLOs.
#[derive(Clone, Debug)]
enum Step {
    Observe(bool),
    Commit,
    /// Killed and started again with the same specs.
    Crash,
    /// One SLO gets a new name, or one that was given up; said to be renamed or not. Then killed before it is
    /// committed, and started with the old specs or the new ones, if at all.
    Rename {
        slo: usize,
        name: u8,
        is_said: bool,
        killed: Option<bool>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(Step::Observe),
        1 => Just(Step::Commit),
        1 => Just(Step::Crash),
        3 => (0..3_usize, 0..6_u8, prop::bool::weighted(0.8), prop::option::of(any::<bool>()))
            .prop_map(|(slo, name, is_said, killed)| Step::Rename { slo, name, is_said, killed }),
    ]
}

/// What is counted, by the names of today and of those that are gone.
type Model = BTreeMap<String, Tally>;

/// The specs with another name for an SLO, and what a store that counted `model` comes to with them.
fn renamed(catalog: &Arc<Catalog>, model: &Model, slo: usize, to: &str, is_said: bool) -> (Arc<Catalog>, Model) {
    let from = catalog.slos[slo].name.clone();
    let after = changed(catalog, |catalog| {
        catalog.slos[slo].name = to.to_owned();
        // A key whose name is there again is refused by whoever reads the specs.
        catalog.renames.slos.retain(|id, formerly| id.0 != slo && formerly[0].1 != to);
        if is_said {
            catalog.renames.slos.insert(SloId(slo), vec![("profile".into(), from.clone())]);
        }
    });
    let mut model = model.clone();
    if is_said && !model.contains_key(to) {
        let counted = model.remove(&from).unwrap_or_default();
        model.insert(to.to_owned(), counted);
    }
    model.entry(to.to_owned()).or_default();
    (after, model)
}

fn check_steps(steps: &[Step], on_disk: bool) {
    let mut catalog = catalog(vec![availability(), availability(), availability()]);
    let mut server = Server::start(catalog.clone(), on_disk);
    let mut model: Model = catalog.slos.iter().map(|slo| (slo.name.clone(), Tally::ZERO)).collect();
    server.commit();
    let mut committed = model.clone();
    for step in steps {
        match step {
            Step::Observe(good) => {
                observe(&mut server.engine, &[(NOW, *good)]);
                let event = Tally::new((*good).into(), (!good).into());
                catalog.slos.iter().for_each(|slo| *model.get_mut(&slo.name).unwrap() += event);
            }
            Step::Commit => {
                server.commit();
                committed.clone_from(&model);
            }
            Step::Crash => {
                server.crash(catalog.clone());
                model.clone_from(&committed);
            }
            Step::Rename { slo, name, is_said, killed } => {
                let to = format!("name{name}");
                if catalog.slos.iter().any(|slo| slo.name == to) {
                    continue;
                }
                server.commit();
                committed.clone_from(&model);
                let (after, counted) = renamed(&catalog, &model, *slo, &to, *is_said);
                server.crash(after.clone());
                match killed {
                    Some(false) => drop(server.crash(catalog.clone())),
                    Some(true) => drop(server.crash(after.clone())),
                    None => {}
                }
                if *killed != Some(false) {
                    (catalog, model) = (after, counted);
                    server.commit();
                    committed.clone_from(&model);
                }
            }
        }
        let board = server.engine.tick(NOW);
        for (id, slo) in catalog.slos.iter().enumerate() {
            assert_eq!(board[SloId(id)].standing.tally, model[&slo.name], "{} after {step:?}", slo.name);
            assert_eq!(board[SloId(id)].lifetime, model[&slo.name], "{} after {step:?}", slo.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn names_may_change_at_any_time_and_nothing_is_lost_or_counted_twice(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        check_steps(&steps, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn nor_is_it_on_a_disk(steps in prop::collection::vec(step(), 0..25)) {
        check_steps(&steps, true);
    }
}
