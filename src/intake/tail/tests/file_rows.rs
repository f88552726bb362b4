//! Rows A10 to A18 and A21 to A26: which files, which lines, and what may fail.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn a10_equal_beginnings_and_empty_files_are_two_files() {
    let mut scene = Scene::new(&["*.log"]);
    scene.append("a.log", "");
    scene.append("b.log", "");
    scene.poll();
    scene.append("a.log", "same\n");
    scene.append("b.log", "same\n");
    scene.poll();
    scene.expect(["same", "same"]);
    scene.append("a.log", text("a", 1..=2));
    scene.append("b.log", text("b", 1..=2));
    scene.restart();
    scene.poll_long();
    scene.expect(["same", "same"].map(String::from).into_iter().chain(lines("a", 1..=2)).chain(lines("b", 1..=2)));
    assert!(scene.found.notes.is_empty(), "{:?}", scene.found.notes);
}

/// Lines of equal length; those with a number in `own` say another thing in every log.
fn alike(name: &str, numbers: std::ops::RangeInclusive<u32>, own: std::ops::RangeInclusive<u32>) -> Vec<String> {
    let line = |number| format!("{} {number:04} {}", if own.contains(&number) { name } else { "-" }, "x".repeat(40));
    numbers.map(line).collect()
}

#[test]
fn a10_a_log_that_says_nearly_the_same_as_another_is_no_copy_of_it() {
    let first = alike("a", 1..=200, 201..=201);
    let joined = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    for (case, second) in [
        ("shorter, with another end", alike("b", 1..=100, 41..=100)),
        ("shorter, with the same end", alike("b", 1..=170, 60..=140)),
        ("of the same length", alike("b", 1..=200, 60..=140)),
        ("longer", alike("b", 1..=230, 60..=140)),
    ] {
        for fate in ["kept", "truncated", "deleted"] {
            for name in ["access.log.1", "access.log.1.gz"] {
                let mut scene = Scene::new(&["access.log*"]);
                scene.append("access.log", joined(&first));
                scene.poll();
                scene.pass_time();
                match fate {
                    "truncated" => scene.truncate("access.log"),
                    "deleted" => scene.remove("access.log"),
                    _ => {}
                }
                scene.poll();
                scene.append(
                    name,
                    if name.ends_with("gz") { packed_rows::gzip(joined(&second)) } else { joined(&second).into() },
                );
                scene.poll();
                scene.restart();
                scene.poll_long();
                let count = scene.found.lines.len();
                assert_eq!(count, first.len() + second.len(), "{case}, the first {fate}, {name}");
                // Of what was deleted after it had been read nobody knows whether more was written to it.
                scene.found.gaps.retain(|_| fate != "deleted");
                scene.expect(first.iter().chain(&second));
            }
        }
    }
}

#[test]
fn a11_the_same_file_by_two_paths() {
    let mut scene = Scene::new(&["*.log", "current", "access.log"]);
    scene.append("access.log", text("a", 1..=3));
    fs::hard_link(scene.path("access.log"), scene.path("hard.log")).unwrap();
    symlink(scene.path("access.log"), scene.path("current")).unwrap();
    scene.poll_long();
    scene.append("access.log", text("a", 4..=4));
    scene.poll_long();
    scene.expect(lines("a", 1..=4));
    let (first, second) = (scene.path("access.log"), scene.path("current"));
    assert_eq!(scene.notes(NoteKind::SameFileTwice), [(second.as_path(), first.to_str().unwrap())]);
}

#[test]
fn a12_a_symlink_is_switched() {
    for down in [false, true] {
        let mut scene = Scene::new(&["current"]);
        scene.append("2026-01-01", text("a", 1..=3));
        symlink(scene.path("2026-01-01"), scene.path("current")).unwrap();
        scene.poll();
        scene.append("2026-01-01", text("a", 4..=5));
        scene.append("2026-01-02", text("b", 1..=2));
        scene.remove("current");
        symlink(scene.path("2026-01-02"), scene.path("current")).unwrap();
        if down {
            scene.restart();
        }
        scene.poll();
        scene.append("2026-01-01", text("a", 6..=6));
        scene.poll_long();
        scene.expect(lines("a", 1..=6).chain(lines("b", 1..=2)));
        assert_eq!(scene.progress.open, 1);
    }
}

#[test]
fn a12_a_symlink_is_switched_away_from_a_log_that_was_truncated() {
    let mut scene = Scene::new(&["current"]);
    scene.append("2026-01-01", text("a", 1..=3));
    symlink(scene.path("2026-01-01"), scene.path("current")).unwrap();
    scene.poll();
    scene.truncate("2026-01-01");
    scene.append("2026-01-01", text("b", 1..=1));
    scene.append("2026-01-02", text("c", 1..=2));
    scene.remove("current");
    symlink(scene.path("2026-01-02"), scene.path("current")).unwrap();
    scene.poll();
    // What the old file holds since then is found again, although no glob leads to it.
    scene.append("2026-01-01", text("b", 2..=3));
    scene.restart();
    scene.poll_long();
    scene.expect(lines("a", 1..=3).chain(lines("b", 1..=3)).chain(lines("c", 1..=2)));
}

#[test]
fn a13_what_is_no_log_is_left_alone() {
    let mut scene = Scene::new(&["logs/*"]);
    fs::create_dir_all(scene.path("logs/directory")).unwrap();
    fs::create_dir(scene.path("elsewhere")).unwrap();
    scene.options.roots = vec![scene.path("logs")];
    scene.restart();
    let made = std::process::Command::new("mkfifo").arg(scene.path("logs/pipe")).status().unwrap();
    assert!(made.success());
    symlink("/dev/null", scene.path("logs/device")).unwrap();
    scene.append("elsewhere/secret", text("s", 1..=3));
    symlink(scene.path("elsewhere/secret"), scene.path("logs/link")).unwrap();
    scene.append("logs/access.log", text("a", 1..=3));
    symlink("access.log", scene.path("logs/within")).unwrap();
    scene.poll_long();
    scene.expect(lines("a", 1..=3));
    let refused: Vec<PathBuf> = ["logs/device", "logs/directory", "logs/pipe"].map(|name| scene.path(name)).into();
    let notes = scene.notes(NoteKind::NotRegularFile);
    assert_eq!(notes.iter().map(|(path, _)| path.to_path_buf()).collect::<Vec<_>>(), refused, "once each");
    assert_eq!(scene.notes(NoteKind::OutsideRoot).len(), 1);
}

#[test]
fn a13_a_pipe_in_the_place_of_a_log_is_not_waited_for() {
    let scene = Scene::new(&["x"]);
    assert!(std::process::Command::new("mkfifo").arg(scene.path("pipe")).status().unwrap().success());
    assert_eq!(disk::open(&scene.path("pipe")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a14_a_partial_last_line_waits_for_its_end() {
    let mut scene = Scene::new(&["access.log"]);
    scene.append("access.log", "a 1\na");
    scene.poll_long();
    scene.expect(["a 1"]);
    assert_eq!(scene.progress.bytes_behind, 0);
    scene.restart();
    scene.poll();
    scene.append("access.log", " 2");
    scene.poll_long();
    scene.append("access.log", "\na 3\n");
    scene.restart();
    scene.poll();
    scene.expect(lines("a", 1..=3));
}

#[test]
fn a15_a_partial_last_line_of_a_rotated_file() {
    for delete in [false, true] {
        let mut scene = Scene::new(&["access.log*"]);
        scene.append("access.log", "a 1\na 2");
        scene.poll();
        match delete {
            true => scene.remove("access.log"),
            false => scene.rename("access.log", "access.log.1"),
        }
        scene.append("access.log", text("b", 1..=1));
        scene.poll();
        assert!(scene.found.unfinished.is_empty(), "it may still be completed");
        scene.poll_long();
        assert_eq!(scene.found.unfinished, ["a 2"]);
        scene.expect(["a 1", "b 1"]);
        scene.restart();
        scene.poll_long();
        assert_eq!(scene.found.unfinished, ["a 2"], "once");
        if !delete {
            scene.append("access.log.1", "\na 3\n");
            scene.poll_long();
            scene.expect(["a 1", "a 3", "b 1"]);
        }
    }
}

#[test]
fn a15_what_follows_a_line_that_was_handed_over_is_no_line() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", "a 1\na 2");
    scene.poll();
    scene.rename("access.log", "access.log.1");
    scene.poll_long();
    scene.append("access.log.1", "3 late\na 3\n");
    scene.poll_long();
    scene.expect_with_gaps(["a 1", "a 3"], &[(GapReason::LateRest, Some(7))]);
}

#[test]
fn a15_a_file_of_nothing_but_a_partial_line() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", "a 1");
    scene.poll();
    scene.rename("access.log", "access.log.1");
    scene.poll_long();
    assert_eq!(scene.found.unfinished, ["a 1"]);
}

#[test]
fn a16_an_oversize_line_keeps_its_beginning() {
    let mut scene = Scene::new(&["access.log"]);
    let long = format!("begins {}", "x".repeat(5_000));
    scene.append("access.log", format!("a 1\n{long}\na 2\n"));
    scene.poll();
    scene.expect(["a 1", "a 2"]);
    assert_eq!(scene.found.oversize, [&long.as_bytes()[..1_000]]);
    // In parts, over a restart.
    scene.append("access.log", &long);
    scene.poll();
    scene.restart();
    scene.append("access.log", &long);
    scene.poll();
    scene.append("access.log", "\na 3\n");
    scene.restart();
    scene.poll();
    scene.expect(lines("a", 1..=3));
    assert_eq!(scene.found.oversize.len(), 2);
}

#[test]
fn a17_a_line_without_end_takes_no_memory_and_no_time_from_others() {
    let mut scene = Scene::with(&["*.log"], |options| options.bytes_per_poll = 1 << 20);
    scene.append("a.log", "x".repeat(8 << 20));
    scene.append("b.log", text("b", 1..=1));
    let capacity = scene.tail.buffer.capacity();
    scene.poll();
    scene.expect(["b 1"]);
    while scene.progress.has_more() {
        scene.poll();
    }
    assert_eq!(scene.tail.buffer.capacity(), capacity);
    assert_eq!((scene.found.oversize.len(), scene.progress.bytes_behind), (1, 0));
    scene.append("a.log", "\na 1\n");
    scene.poll();
    scene.expect(["a 1", "b 1"]);
}

#[test]
fn a18_utf16_is_said_once() {
    let mut scene = Scene::new(&["*.log"]);
    scene.append("wide.log", b"\xFF\xFEa\0\n\0b\0\n\0");
    scene.append("mark.log", b"\xEF\xBB\xBFa 1\r\n");
    scene.poll_long();
    assert_eq!(scene.notes(NoteKind::Utf16).len(), 1);
    assert!(scene.found.lines.contains(&"a 1\r".to_owned()), "{:?}", scene.found.lines);
}

#[test]
fn a21_permission_lost_and_restored() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", text("a", 1..=3));
    scene.poll();
    scene.restart();
    scene.append("access.log", text("a", 4..=6));
    let path = scene.path("access.log");
    faults::fail(&path, "open", Some(libc::EACCES));
    let mut tries = 0;
    for _ in 0..600 {
        let before = scene.tail.streams.values().map(|stream| stream.retry_ms).max();
        scene.poll();
        tries += usize::from(scene.tail.streams.values().map(|stream| stream.retry_ms).max() != before);
        assert_eq!(scene.progress.unreadable, 1);
    }
    assert!((5..=10).contains(&tries), "{tries} in two minutes: 1, 2, 4, .. and then every 30 s");
    scene.expect(lines("a", 1..=3));
    assert_eq!(scene.notes(NoteKind::Unreadable).len(), 2, "once a minute");
    faults::fail(&path, "open", None);
    (0..155).for_each(|_| scene.poll());
    scene.expect(lines("a", 1..=6));
    assert_eq!(scene.progress.unreadable, 0);
}

/// What cannot be read: how many, which for the longest time, and since when.
fn unreadable(scene: &Scene) -> Option<(usize, PathBuf, u64)> {
    let found = scene.tail.unreadable();
    assert_eq!(found.as_ref().map_or(0, |found| found.files), scene.progress.unreadable);
    found.map(|found| (found.files, found.path, found.since_ms))
}

#[test]
fn a21_what_cannot_be_read_is_told_with_its_name_and_since_when_until_it_was_read() {
    let mut scene = Scene::new(&["*.log"]);
    let (a, b) = (scene.path("a.log"), scene.path("b.log"));
    scene.append("a.log", text("a", 1..=3));
    scene.append("b.log", text("b", 1..=3));
    faults::fail(&b, "open", Some(libc::EACCES));
    scene.poll();
    let since_ms = scene.now_ms;
    scene.expect(lines("a", 1..=3));
    assert_eq!(unreadable(&scene), Some((1, b.clone(), since_ms)));
    assert_eq!(scene.tail.unreadable().unwrap().why, "Permission denied (os error 13)");
    // It can be opened, but that is not all.
    faults::fail(&b, "open", None);
    faults::fail(&b, "read", Some(libc::EIO));
    scene.poll_long();
    assert_eq!(unreadable(&scene), Some((1, b.clone(), since_ms)), "the same trouble goes on");
    assert_eq!(scene.tail.unreadable().unwrap().why, "Input/output error (os error 5)");
    faults::fail(&a, "read", Some(libc::EIO));
    scene.append("a.log", text("a", 4..=4));
    scene.poll();
    assert_eq!(unreadable(&scene), Some((2, b.clone(), since_ms)));
    faults::fail(&b, "read", None);
    (0..200).for_each(|_| scene.poll());
    assert_eq!(unreadable(&scene).map(|(files, path, _)| (files, path)), Some((1, a.clone())));
    faults::fail(&a, "read", None);
    (0..200).for_each(|_| scene.poll());
    assert_eq!(unreadable(&scene), None);
    scene.expect(lines("a", 1..=4).chain(lines("b", 1..=3)));
}

#[test]
fn a21_what_is_gone_without_having_been_readable_is_a_gap() {
    let mut scene = Scene::new(&["*.log"]);
    scene.append("b.log", text("b", 1..=3));
    faults::fail(&scene.path("b.log"), "open", Some(libc::EACCES));
    scene.poll_long();
    assert_eq!(unreadable(&scene).map(|(files, ..)| files), Some(1));
    scene.remove("b.log");
    scene.poll_long();
    assert_eq!(unreadable(&scene), None);
    scene.expect_with_gaps([] as [&str; 0], &[(GapReason::RotatedAway, None)]);
}

#[test]
fn a21_a_directory_that_cannot_be_looked_into_hides_nothing_for_good() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", text("a", 1..=3));
    scene.poll();
    scene.restart();
    let path = scene.path("access.log");
    faults::fail(&path, "stat", Some(libc::EACCES));
    let since_ms = scene.now_ms + 200;
    scene.poll_long();
    assert_eq!(unreadable(&scene), Some((1, path.clone(), since_ms)));
    scene.append("access.log", text("a", 4..=4));
    faults::fail(&path, "stat", None);
    scene.poll();
    assert_eq!(unreadable(&scene), None);
    scene.expect(lines("a", 1..=4));
}

#[test]
fn a22_nothing_depends_on_events() {
    // Following polls and asks for no watches, so there are none to run out of and no queue to overflow: many files are
    // created, written and rotated between two polls, and nothing is missed.
    let mut scene = Scene::new(&["logs/*.log*"]);
    fs::create_dir(scene.path("logs")).unwrap();
    let names: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
    for name in &names {
        scene.append(&format!("logs/{name}.log"), text(name, 1..=2));
        scene.rename(&format!("logs/{name}.log"), &format!("logs/{name}.log.1"));
        scene.append(&format!("logs/{name}.log"), text(name, 3..=3));
    }
    scene.poll();
    scene.expect(names.iter().flat_map(|name| lines(name, 1..=3)));
}

#[test]
fn a23_a_stale_handle_is_opened_again_by_identity() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", text("a", 1..=3));
    scene.poll();
    scene.append("access.log", text("a", 4..=5));
    let path = scene.path("access.log");
    for what in ["fstat", "read"] {
        faults::fail(&path, what, Some(libc::ESTALE));
        scene.poll();
        faults::fail(&path, what, None);
    }
    (0..20).for_each(|_| scene.poll());
    scene.expect(lines("a", 1..=5));
}

#[test]
fn a24_deleted_and_created_again_at_once() {
    let mut scene = Scene::new(&["access.log"]);
    scene.append("access.log", "same\nsame\n");
    scene.poll();
    scene.append("access.log", "same\n");
    scene.remove("access.log");
    scene.append("access.log", "same\nsame\n");
    scene.poll();
    scene.expect(["same"; 5]);
    assert_eq!(scene.progress.open, 2);
    scene.poll_long();
    assert_eq!(scene.progress.open, 1, "the old handle is released");
    scene.expect(["same"; 5]);
}

#[test]
fn a25_lag_is_told_and_made_up_for() {
    let mut scene = Scene::with(&["access.log"], |options| options.bytes_per_poll = 300_000);
    let mut written = 0;
    for _ in 0..5 {
        scene.append("access.log", text("a", written + 1..=written + 100_000));
        written += 100_000;
        scene.poll();
    }
    assert!(scene.progress.bytes_behind > 1_000_000, "{:?}", scene.progress);
    assert_eq!(scene.progress.behind_ms, 800);
    while scene.progress.has_more() {
        scene.poll();
    }
    assert_eq!((scene.progress.bytes_behind, scene.progress.behind_ms), (0, 0));
    scene.expect(lines("a", 1..=written));
}

#[test]
fn a26_ten_thousand_files() {
    let mut scene = Scene::with(&["logs/*"], |options| options.max_open = 16);
    fs::create_dir(scene.path("logs")).unwrap();
    let names: Vec<String> = (0..10_000).map(|number| format!("n{number}")).collect();
    for name in &names {
        fs::write(scene.path("logs").join(name), text(name, 1..=1)).unwrap();
    }
    scene.poll();
    scene.expect(names.iter().flat_map(|name| lines(name, 1..=1)));
    assert!(scene.progress.open <= 16);
    for name in names.iter().step_by(97) {
        scene.append(&format!("logs/{name}"), text(name, 2..=2));
    }
    scene.restart();
    scene.poll_after(2_000);
    assert_eq!(scene.found.lines.len(), 10_000 + 104);
}

#[test]
fn a26_reading_is_fair() {
    let mut scene = Scene::with(&["*.log"], |options| options.bytes_per_poll = 1 << 20);
    scene.append("a.log", text("a", 1..=1_000_000));
    scene.append("b.log", text("b", 1..=10));
    scene.append("c.log", text("c", 1..=10));
    scene.poll();
    for name in ["b 10", "c 10"] {
        assert!(scene.found.lines.iter().any(|line| line == name), "{name}");
    }
    assert!(scene.progress.has_more());
}

#[test]
fn start_at_the_end_skips_what_is_there_and_nothing_later() {
    let mut scene = Scene::with(&["access.log*"], |options| options.start = Start::End);
    scene.append("access.log.1", text("o", 1..=3));
    scene.append("access.log", "a 1\na 2");
    scene.poll();
    scene.append("access.log", "\na 3\n");
    scene.poll();
    scene.expect(["a 3"]);
    scene.restart();
    scene.rename("access.log", "access.log.2");
    scene.append("access.log", text("b", 1..=2));
    scene.poll_long();
    scene.expect(["a 3", "b 1", "b 2"]);
}

#[test]
fn a_log_that_no_glob_means_any_more_is_not_followed() {
    let mut scene = Scene::new(&["a.log", "b.log"]);
    scene.append("a.log", text("a", 1..=1));
    scene.append("b.log", text("b", 1..=1));
    scene.poll();
    scene.options.globs.pop();
    scene.append("a.log", text("a", 2..=2));
    scene.append("b.log", text("b", 2..=2));
    scene.restart();
    scene.poll_long();
    assert_eq!(scene.found.lines.len(), 3, "{:?}", scene.found.lines);
}
