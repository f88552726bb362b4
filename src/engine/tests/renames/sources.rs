use super::*;
use crate::engine::{Gap, SourceRename};
use crate::store::{Loaded, Position, restore_renamed};

fn rename(from: &str, to: &str) -> SourceRename {
    SourceRename { from: from.into(), to: to.into() }
}

fn source_renamed(before: &Arc<Catalog>, to: &str) -> Arc<Catalog> {
    changed(before, |catalog| catalog.sources[0].name = to.into())
}

/// What is kept of a source, by the names that everything has.
fn names(loaded: &Loaded) -> BTreeMap<&str, usize> {
    let mut names = BTreeMap::new();
    let of_series = loaded.kept.series.iter().filter_map(|series| match &series.name {
        SeriesName::Slo { .. } => series.rules.split([' ', ':']).nth(2),
        SeriesName::Records { source }
        | SeriesName::Missing { source }
        | SeriesName::Arrivals { source }
        | SeriesName::Durations { source, .. } => Some(source.as_str()),
    });
    let of_rows = loaded.kept.sources.iter().map(|totals| &*totals.source);
    let of_rest = loaded.gaps.iter().map(|gap| &*gap.source);
    let of_rest = of_rest.chain(loaded.positions.iter().map(|position| &*position.source));
    of_series.chain(of_rows).chain(of_rest).for_each(|name| *names.entry(name).or_default() += 1);
    names
}

impl Server {
    /// Begins anew with other specs, in which a source has another name if it has read anything under the old one.
    fn renamed(&mut self, catalog: Arc<Catalog>, from: &str, to: &str) -> Board {
        let find = |loaded: &Loaded| {
            let is_read = loaded.positions.iter().any(|position| position.source == from);
            is_read.then(|| rename(from, to)).into_iter().collect()
        };
        let before = self.engine.clone();
        let (engine, _, durations) = restore_renamed(&*self.store, catalog, Horizon::DAYS_28, NOW, find).unwrap();
        self.engine = engine.going_on_from(&before);
        self.engine.take_durations(durations.read().unwrap());
        self.engine.tick(NOW)
    }
}

/// Runs a story on both kinds of store: a server that knows of its source all that can be known.
fn on_both_with_a_past(before: &Arc<Catalog>, story: impl Fn(&mut Server)) {
    on_both(before, |server| {
        observe(&mut server.engine, &[(NOW.plus_millis(86_400_000), true)]);
        server.engine.ledgers[0].quality.arrived(2_000, 2_000);
        server.engine.tick(NOW);
        let gap =
            Gap { source: "lb".into(), from: minutes_ago(9), to: NOW, bytes: Some(7), reason: "late_rest".into() };
        let position = Position { source: "lb".into(), key: b"about".to_vec(), at: Some(vec![1]) };
        let checkpoint = server.engine.checkpoint();
        let commit = Commit { checkpoint, gaps: vec![gap.clone()], positions: vec![position] };
        server.store.commit(server.store.revision().unwrap() + 1, &commit).unwrap();
        server.engine.note_gaps([gap]);
        story(server);
    });
}

/// All that is said of the source and its SLOs, but for its name.
fn told(board: &Board) -> String {
    let source = &board[SourceId(0)];
    let kinds: Vec<&str> = board[ServiceId(0)].reasons.iter().map(|reason| reason.kind()).collect();
    let gaps = [&source.gaps, &board[SloId(0)].gaps].map(|gaps| (gaps.lost, gaps.newest.len()));
    let slo = &board[SloId(0)];
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {gaps:?} {kinds:?} {:?} {:?}",
        source.accepted,
        source.rejected,
        source.gap_counts,
        source.gap_bytes,
        source.doubts,
        source.last_event,
        source.health,
        (slo.standing.tally, slo.lifetime, slo.last_event, slo.rules_changed, slo.latency),
        board[ServiceId(0)].state,
    )
}

#[test]
fn i05_a_source_that_was_renamed_goes_on_with_all_that_is_kept_of_it() {
    let before = catalog(vec![percentile(1), availability()]);
    on_both_with_a_past(&before, |server| {
        let expected = told(&server.engine.tick(NOW));
        assert!(expected.contains("FormatChanged") && expected.contains("late_rest"), "{expected}");
        let loaded = server.store.load().unwrap();
        assert_eq!(names(&loaded).keys().collect::<Vec<_>>(), [&"lb"]);
        let kept = names(&loaded)["lb"];
        let after = source_renamed(&before, "edge");
        for _ in 0..3 {
            assert_eq!(told(&server.renamed(after.clone(), "lb", "edge")), expected);
            assert!(server.engine.tick(NOW)[SourceId(0)].gaps.newest.iter().all(|gap| gap.source == "edge"));
            server.commit();
            assert_eq!(names(&server.store.load().unwrap()), BTreeMap::from([("edge", kept)]));
        }
        let words = "source edge goes on where lb was, with all that is kept of it".to_owned();
        assert_eq!(server.told(), [("renamed", words)]);
    });
}

#[test]
fn i05_a_crash_before_the_commit_finds_the_old_name_of_a_source_and_the_way_back_is_the_same() {
    let before = catalog(vec![percentile(1)]);
    on_both_with_a_past(&before, |server| {
        let expected = told(&server.engine.tick(NOW));
        let after = source_renamed(&before, "edge");
        for _ in 0..2 {
            assert_eq!(told(&server.renamed(after.clone(), "lb", "edge")), expected);
            assert_eq!(told(&server.renamed(before.clone(), "edge", "lb")), expected);
        }
        let kept = server.store.load().unwrap();
        for _ in 0..2 {
            assert_eq!(told(&server.renamed(after.clone(), "lb", "edge")), expected);
            server.commit();
            assert_eq!(told(&server.renamed(before.clone(), "edge", "lb")), expected);
            server.commit();
        }
        let now = server.store.load().unwrap();
        assert_eq!((now.kept.series, now.kept.sources), (kept.kept.series, kept.kept.sources));
        assert_eq!((now.gaps, now.positions), (kept.gaps, kept.positions));
    });
}

#[test]
fn i05_a_new_name_that_never_counted_anything_gives_way() {
    let before = catalog(vec![percentile(1)]);
    on_both_with_a_past(&before, |server| {
        let expected = told(&server.engine.tick(NOW));
        let after = source_renamed(&before, "edge");
        // Known by name, and nothing came.
        server.crash(after.clone());
        server.commit();
        assert!(names(&server.store.load().unwrap()).contains_key("edge"));
        // The rules name it already.
        let rules = server.store.load().unwrap().kept.series[0].rules.clone();
        assert!(rules.contains(" of edge: "), "{rules}");
        let board = server.renamed(after.clone(), "lb", "edge");
        let records = board[SourceId(0)].accepted;
        assert!(expected.starts_with(&format!("{records:?} {:?} ", board[SourceId(0)].rejected)), "{expected}");
        assert_eq!(board[SourceId(0)].gap_bytes, 7);
        server.commit();
        let series = server.store.load().unwrap().kept.series;
        let all: BTreeSet<&SeriesName> = series.iter().map(|series| &series.name).collect();
        assert_eq!(all.len(), series.len(), "{series:#?}");
    });
}

#[test]
fn only_the_name_of_the_source_is_replaced_in_rules() {
    use crate::engine::identity::rename_in_rules;
    for (rules, expected) in [
        ("availability of lb: GET /lb", Some("availability of edge: GET /lb")),
        ("availability of lb2: GET /", None),
        ("availability of cdn: of lb: ", None),
        ("", None),
    ] {
        let mut found = rules.to_owned();
        assert_eq!(rename_in_rules(&mut found, "lb", "edge"), expected.is_some());
        assert_eq!(found, expected.unwrap_or(rules));
    }
}
