//! A target that is saved and restored goes on as if nothing had happened.

use proptest::prelude::*;

use super::*;

fn measures() -> Vec<Measure> {
    let histogram = MeasureKind::Histogram { threshold: Bound::of_micros(500_000) };
    let gauge = MeasureKind::Gauge { good_when: Condition::parse("> 0").unwrap(), slice: Horizon::of_minutes(1) };
    let named = |key: &str, kind| Measure { key: key.into(), formerly: vec![], kind };
    vec![
        named("ratio", MeasureKind::Ratio(Part::Good)),
        named("histogram", histogram),
        named("gauge", gauge),
        named("bad", MeasureKind::Ratio(Part::Bad)),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Page { wait_ms: i64, process: Option<i64>, samples: Vec<(usize, u8, f64, Option<i64>)> },
    Failed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![
        8 => (0..200_u32).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(1e300),
    ];
    let start_ms = prop::option::weighted(0.3, 0..400_000_i64);
    let sample = (0..4_usize, 0..5_u8, value, start_ms.clone());
    let page = (-20_000..60_000_i64, start_ms, prop::collection::vec(sample, 0..12));
    let page = page.prop_map(|(wait_ms, process, samples)| Step::Page { wait_ms, process, samples });
    prop::collection::vec(prop_oneof![9 => page, 1 => Just(Step::Failed)], 0..40)
}

/// Plays a step; all that comes of it.
fn play(target: &mut Target, now: &mut i64, step: &Step) -> Option<Outcome> {
    let Step::Page { wait_ms, process, samples } = step else {
        return Some(target.failed(Timestamp::from_millis(*now)));
    };
    *now += wait_ms;
    let mut scrape = target.begin(Timestamp::from_millis(*now)).ok()?;
    process.iter().for_each(|start| scrape.process_start(Timestamp::from_millis(*start)));
    let roles = [Role::Both, Role::Total, Role::Both, Role::Part, Role::Total];
    for (measure, series, value, created) in samples {
        let name = format!("requests_total{{code=\"{series}\"}}");
        let slot = scrape.slot(*measure, name.as_bytes(), roles[usize::from(*series)])?;
        match measure {
            1 => {
                for (bound, add) in [("0.1", 0.0), ("0.5", 5.0), ("+Inf", 9.0)] {
                    scrape.bucket(slot, Bound::parse(bound).unwrap(), whole(value + add));
                }
            }
            2 => drop(scrape.gauge(slot, *value)),
            _ => drop(scrape.counter(slot, whole(*value), created.map(Timestamp::from_millis))),
        }
        if let Some(created) = created {
            scrape.created(slot, Timestamp::from_millis(*created));
        }
    }
    scrape.finish().ok()
}

/// Series are in another order after a restart, and so is the one that a note names.
fn without_examples(mut outcome: Outcome) -> Outcome {
    let notes = outcome.measures.iter_mut().flat_map(|increase| &mut increase.notes);
    notes.for_each(|note| note.example.clear());
    outcome
}

fn restored(target: &Target) -> Target {
    let saved = target.save();
    Target::restore(RULES, &measures(), &saved.directory, &saved.state).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_of_ours_changes_nothing(steps in steps(), restarts in prop::collection::vec(any::<bool>(), 40)) {
        let mut through = Target::new(RULES, &measures(), None);
        let mut restarting = through.clone();
        let (mut now, mut other_now) = (500_000, 500_000);
        for (step, restart) in steps.iter().zip(restarts) {
            if restart {
                let saved = restarting.save();
                restarting = restored(&restarting);
                prop_assert_eq!(restarting.save(), saved);
            }
            let outcome = play(&mut through, &mut now, step).map(without_examples);
            prop_assert_eq!(outcome, play(&mut restarting, &mut other_now, step).map(without_examples));
        }
        let (a, b) = (through.save(), restarting.save());
        prop_assert_eq!(restored(&through).save().state, a.state);
        prop_assert_eq!(restored(&restarting).save(), b);
    }

    #[test]
    fn damaged_bytes_are_refused_or_mean_something(
        steps in steps(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        which in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut target = Target::new(RULES, &measures(), None);
        let mut now = 500_000;
        steps.iter().for_each(|step| drop(play(&mut target, &mut now, step)));
        let Saved { mut directory, mut state, .. } = target.save();
        let bytes = if which { &mut state } else { &mut directory };
        cuts.iter().for_each(|(place, byte)| *place.get_mut(bytes) = *byte);
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        if let Ok(mut target) = Target::restore(RULES, &measures(), &directory, &state) {
            let saved = target.save();
            prop_assert_eq!(restored(&target).save(), saved);
            steps.iter().for_each(|step| drop(play(&mut target, &mut now, step)));
        }
    }

    #[test]
    fn any_bytes_are_refused_or_mean_something(directory in any::<Vec<u8>>(), state in any::<Vec<u8>>()) {
        let begin = |rest: &[u8]| [&[1, 0], rest].concat();
        for (directory, state) in [(directory.clone(), state.clone()), (begin(&directory), begin(&state))] {
            if let Ok(target) = Target::restore(RULES, &measures(), &directory, &state) {
                let saved = target.save();
                prop_assert_eq!(restored(&target).save(), saved);
            }
        }
    }
}

#[test]
fn state_belongs_to_its_directory_and_its_version() {
    let mut target = Target::new(RULES, &measures(), None);
    let mut now = 500_000;
    let page = |series| Step::Page { wait_ms: 15_000, process: None, samples: vec![(0, series, 1.0, None)] };
    play(&mut target, &mut now, &page(0));
    let first = target.save();
    play(&mut target, &mut now, &page(0));
    let second = target.save();
    assert_eq!((first.directory_number, &first.directory), (second.directory_number, &second.directory));
    assert_eq!(target.save_state(), (second.directory_number, second.state));
    play(&mut target, &mut now, &page(1));
    let third = target.save();
    assert_ne!(first.directory_number, third.directory_number);
    let restore = |directory: &[u8], state: &[u8]| Target::restore(RULES, &measures(), directory, state).err();
    assert_eq!(restore(&first.directory, &third.state), Some(SavedError::Mismatch));
    assert_eq!(restore(&[9, 0], &third.state), Some(SavedError::Newer { found: 9 }));
    assert_eq!(restore(&[], &[]), Some(SavedError::Damaged("the end")));
}

#[test]
fn measures_that_are_no_longer_wanted_are_left_behind_and_new_ones_begin() {
    let mut target = Target::new(RULES, &[ratio(Part::Good)], None);
    show(&mut target, "100 2xx=100 5xx=1").unwrap();
    let saved = target.save();
    let new = Measure { key: "new".into(), ..ratio(Part::Good) };
    let both = [new.clone(), ratio(Part::Good)];
    let mut more = Target::restore(RULES, &both, &saved.directory, &saved.state).unwrap();
    assert_ne!(more.save().directory_number, saved.directory_number);
    let mut scrape = more.begin(at(115)).unwrap();
    for measure in 0..2 {
        let slot = scrape.slot(measure, b"2xx", Role::Both).unwrap();
        scrape.counter(slot, Ok(107), None);
    }
    let outcome = scrape.finish().unwrap();
    assert_eq!(outcome.measures.iter().map(words).collect::<Vec<_>>(), ["+0-0", "+7-0"]);
    // The same names in another order are another directory.
    let saved = more.save();
    let turned = [both[1].clone(), both[0].clone()];
    let turned = Target::restore(RULES, &turned, &saved.directory, &saved.state).unwrap();
    assert_ne!(turned.save().directory_number, saved.directory_number);
    let less = Target::restore(RULES, &[new], &saved.directory, &saved.state).unwrap();
    assert_eq!(less.series(), 1);
}

#[test]
fn most_series_take_a_few_bytes() {
    let rules = Rules { most_series: 10_000, ..RULES };
    let mut target = Target::new(rules, &[ratio(Part::Good)], None);
    let mut scrape = target.begin(Timestamp::from_seconds(1_800_000_000)).unwrap();
    scrape.process_start(Timestamp::from_seconds(1_799_000_000));
    for series in 0..5_000 {
        let name = format!("http_requests_total{{code=\"200\",method=\"GET\",route=\"/route/{series}\"}}");
        let slot = scrape.slot(0, name.as_bytes(), Role::Both).unwrap();
        scrape.counter(slot, Ok(1_000_000), None);
    }
    scrape.finish().unwrap();
    let saved = target.save();
    assert!(saved.state.len() < 5_000 * 6, "{}", saved.state.len());
    assert!(saved.directory.len() < 5_000 * 10, "{}", saved.directory.len());
}

#[test]
fn what_is_still_to_be_settled_is_kept() {
    for (before, after, expected) in [
        // Good that is ahead of the total.
        (&["0 ok=0 all=0", "15 ok=10 all=9"][..], "30 ok=15 all=15", "+6-0"),
        // Half of a pair.
        (&["0 ok=0 all=0", "15 all=9"], "30 ok=8 all=15", "+8-7"),
        // A restart on its last page of doubt.
        (&["0 2xx=9", "15 2xx=5", "30 2xx=6", "45 2xx=6", "60 2xx=6"], "75 2xx=7", "+7-0"),
    ] {
        let mut target = Target::new(RULES, &[ratio(Part::Good)], None);
        before.iter().for_each(|page| drop(show(&mut target, page).unwrap()));
        let saved = target.save();
        let target = Target::restore(RULES, &[ratio(Part::Good)], &saved.directory, &saved.state).unwrap();
        check_on(target, &[(after, expected)]);
    }
}
