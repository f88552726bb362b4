//! Rows A1 to A9: rotation and truncation.

use std::io::{Seek, SeekFrom};

use super::*;

#[test]
fn a01_rename_and_create_while_running() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", text("a", 1..=3));
    scene.poll();
    scene.append("access.log", text("a", 4..=5));
    scene.rename("access.log", "access.log.1");
    scene.append("access.log", text("b", 1..=2));
    scene.poll();
    // Workers write to the old file until they are told to reopen.
    scene.append("access.log.1", text("a", 6..=6));
    scene.poll();
    scene.expect(lines("a", 1..=6).chain(lines("b", 1..=2)));
    scene.poll_long();
    assert_eq!(scene.progress.open, 1, "the old handle is released");
    scene.append("access.log.1", text("a", 7..=7));
    scene.poll();
    scene.expect(lines("a", 1..=7).chain(lines("b", 1..=2)));
    assert_eq!(scene.notes(NoteKind::Rotated).len(), 1);
}

#[test]
fn a01_generations_that_say_the_same_are_two() {
    let mut scene = Scene::new(&["access.log*"]);
    for _ in 0..3 {
        scene.append("access.log", "same line\n".repeat(500));
        scene.poll();
        let _ = fs::rename(scene.path("access.log.1"), scene.path("access.log.2"));
        scene.rename("access.log", "access.log.1");
    }
    scene.append("access.log", "same line\n".repeat(400));
    scene.poll_long();
    scene.expect(vec!["same line"; 1_900]);
}

#[test]
fn a01_a_rotated_name_outside_the_glob_is_found() {
    let mut scene = Scene::new(&["access.log"]);
    scene.append("access.log", text("a", 1..=3));
    scene.poll();
    scene.rename("access.log", "access.log.1");
    scene.append("access.log", text("b", 1..=2));
    scene.poll();
    scene.append("access.log.1", text("a", 4..=4));
    scene.restart();
    scene.poll_long();
    scene.expect(lines("a", 1..=4).chain(lines("b", 1..=2)));
}

#[test]
fn a02_two_rotations_between_two_polls() {
    for glob in ["access.log*", "access.log"] {
        let mut scene = Scene::new(&[glob]);
        scene.append("access.log", text("a", 1..=3));
        scene.poll();
        scene.append("access.log", text("a", 4..=4));
        scene.rename("access.log", "access.log.1");
        scene.append("access.log", text("b", 1..=3));
        scene.rename("access.log.1", "access.log.2");
        scene.rename("access.log", "access.log.1");
        scene.append("access.log", text("c", 1..=1));
        scene.poll_long();
        scene.expect(lines("a", 1..=4).chain(lines("b", 1..=3)).chain(lines("c", 1..=1)));
    }
}

#[test]
fn a02_a_generation_that_is_gone_is_a_gap() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", text("a", 1..=3));
    scene.poll();
    scene.rename("access.log", "access.log.2");
    scene.append("access.log", text("c", 1..=1));
    scene.poll_long();
    scene.expect_with_gaps(lines("a", 1..=3).chain(lines("c", 1..=1)), &[(GapReason::RotatedAway, None)]);
}

#[test]
fn a02_several_generations_that_are_gone_at_once_are_one_gap() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log.2", text("o", 1..=3));
    scene.append("access.log.1", text("p", 1..=3));
    scene.pass_time();
    scene.append("access.log", text("a", 1..=3));
    scene.poll();
    // Three rotations, of which only the first left its file.
    scene.rename("access.log.2", "access.log.5");
    scene.rename("access.log.1", "access.log.4");
    scene.rename("access.log", "access.log.3");
    scene.append("access.log", text("d", 1..=1));
    scene.poll_long();
    let old = lines("o", 1..=3).chain(lines("p", 1..=3));
    scene.expect_with_gaps(old.chain(lines("a", 1..=3)).chain(lines("d", 1..=1)), &[(GapReason::RotatedAway, None)]);
}

#[test]
fn a02_numbers_that_jump_leave_no_gap() {
    for (names, down) in [
        (&["access.log.40", "access.log.80", "access.log.81", "access.log.300"][..], false),
        (&["access.log.40", "access.log.80", "access.log.81", "access.log.300"], true),
        (&["access.log.3", "access.log.7"], false),
        (&["access.log-20261101", "access.log-20261115", "access.log-20261120"], false),
        (&["access.log.1101", "access.log.1115"], false),
        (&["access.log.101", "access.log.115"], true),
    ] {
        for (glob, is_trimmed) in [("access.log*", false), ("access.log", false), ("access.log*", true)] {
            let mut scene = Scene::new(&[glob]);
            let mut expected = Vec::new();
            for (place, name) in names.iter().enumerate() {
                scene.append("access.log", text(name, 1..=3));
                scene.poll();
                if down {
                    scene.restart();
                }
                scene.rename("access.log", name);
                scene.append("access.log", "");
                scene.poll_long();
                // The oldest are deleted some time, as whatever numbers they have.
                if is_trimmed && place > 0 {
                    scene.remove(names[place - 1]);
                }
                expected.extend(lines(name, 1..=3));
            }
            scene.poll_long();
            scene.expect(expected);
        }
    }
}

#[test]
fn a02_a_generation_between_two_names_is_no_gap() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", text("a", 1..=3));
    scene.poll();
    scene.rename("access.log", "access.log.1");
    scene.append("access.log", text("b", 1..=3));
    scene.rename("access.log.1", "access.log.2");
    scene.rename("access.log", "access.log.1");
    scene.append("access.log", text("c", 1..=3));
    // Names are being shifted for the third time: at this moment there is no second one.
    scene.rename("access.log.2", "access.log.3");
    scene.poll();
    scene.rename("access.log.1", "access.log.2");
    scene.rename("access.log", "access.log.1");
    scene.append("access.log", text("d", 1..=3));
    scene.poll_long();
    scene.expect(["a", "b", "c", "d"].into_iter().flat_map(|generation| lines(generation, 1..=3)));
}

#[test]
fn a03_rotation_while_stopped() {
    for glob in ["access.log*", "access.log"] {
        let mut scene = Scene::new(&[glob]);
        scene.append("access.log", text("a", 1..=3));
        scene.poll();
        scene.append("access.log", text("a", 4..=6));
        scene.rename("access.log", "access.log.1");
        scene.append("access.log", text("b", 1..=2));
        scene.restart();
        scene.poll_long();
        assert_eq!(scene.found.lines[3..6], ["a 4", "a 5", "a 6"], "the rest first");
        scene.expect(lines("a", 1..=6).chain(lines("b", 1..=2)));
    }
}

#[test]
fn a03_what_is_not_found_is_a_gap() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", text("a", 1..=3));
    scene.poll();
    scene.remove("access.log");
    scene.append("access.log", text("b", 1..=2));
    scene.restart();
    scene.poll();
    assert!(scene.found.gaps.is_empty(), "it is looked for first");
    scene.restart();
    scene.poll_long();
    let gaps = [(GapReason::RotatedWhileDown, None)];
    scene.expect_with_gaps(lines("a", 1..=3).chain(lines("b", 1..=2)), &gaps);
    scene.restart();
    scene.poll_long();
    scene.expect_with_gaps(lines("a", 1..=3).chain(lines("b", 1..=2)), &gaps);
}

#[test]
fn a03_a_finished_file_may_go_while_stopped() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", text("a", 1..=3));
    scene.poll();
    scene.rename("access.log", "access.log.1");
    scene.append("access.log", text("b", 1..=2));
    scene.poll_long();
    scene.remove("access.log.1");
    scene.restart();
    scene.poll_long();
    scene.expect(lines("a", 1..=3).chain(lines("b", 1..=2)));
}

#[test]
fn a03_another_device_number_is_the_same_file() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", text("a", 1..=3));
    scene.poll();
    for value in scene.saved.values_mut() {
        let text = String::from_utf8(value.clone()).unwrap();
        *value = text.replace("\"dev\":", "\"dev\":7").into_bytes();
    }
    scene.append("access.log", text("a", 4..=4));
    scene.restart();
    scene.poll_long();
    scene.expect(lines("a", 1..=4));
}

#[test]
fn a04_copytruncate_when_all_was_read() {
    for glob in ["access.log*", "access.log", "*.log"] {
        let mut scene = Scene::new(&[glob]);
        scene.append("access.log", text("a", 1..=20));
        scene.poll();
        scene.copytruncate("access.log", "access.log.1");
        scene.append("access.log", text("b", 1..=2));
        scene.poll_long();
        scene.expect(lines("a", 1..=20).chain(lines("b", 1..=2)));
        assert_eq!(scene.notes(NoteKind::Truncated).len(), 1);
        scene.restart();
        scene.poll_long();
        scene.expect(lines("a", 1..=20).chain(lines("b", 1..=2)));
    }
}

#[test]
fn a05_copytruncate_with_unread_bytes() {
    for (glob, down) in [("access.log*", false), ("access.log", false), ("access.log*", true), ("access.log", true)] {
        let mut scene = Scene::new(&[glob]);
        scene.append("access.log", text("a", 1..=20));
        scene.poll();
        scene.append("access.log", text("a", 21..=25));
        scene.copytruncate("access.log", "access.log.1");
        scene.append("access.log", text("b", 1..=2));
        if down {
            scene.restart();
        }
        scene.poll_long();
        scene.expect(lines("a", 1..=25).chain(lines("b", 1..=2)));
    }
}

#[test]
fn a05_what_a_copy_has_is_read_by_the_poll_that_sees_the_truncation() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", "a");
    scene.poll();
    scene.append("access.log", " 1\n");
    scene.copytruncate("access.log", "access.log.1");
    scene.poll();
    scene.expect(lines("a", 1..=1));
}

#[test]
fn a05_unread_bytes_without_a_copy_are_counted_as_a_gap() {
    // Nothing more is read than one line's worth in each poll, so that the size is known and the rest is not read.
    let mut scene = Scene::with(&["access.log*"], |options| options.bytes_per_poll = 1);
    let long = "x".repeat(read::QUANTUM / 2 - 1) + "\n";
    scene.append("access.log", long.repeat(3));
    scene.poll();
    assert_eq!(scene.found.lines.len() + scene.found.oversize.len(), 2);
    scene.truncate("access.log");
    scene.poll_long();
    assert_eq!(scene.found.gaps.len(), 1);
    assert_eq!(scene.found.gaps[0].reason, GapReason::TruncatedUnread);
    let passed = scene.tail.followed().map(|followed| followed.offset).max().unwrap();
    assert_eq!(scene.found.gaps[0].bytes, Some(3 * long.len() as u64 - passed));
}

#[test]
fn a05_a_copy_that_is_seen_before_the_truncation_waits() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", text("a", 1..=200));
    scene.poll();
    // The copy is seen in the making, complete, and after more was written to the original.
    let whole = fs::read(scene.path("access.log")).unwrap();
    scene.append("access.log.1", &whole[..100]);
    scene.poll();
    scene.append("access.log.1", &whole[100..]);
    scene.poll();
    scene.append("access.log", text("a", 201..=205));
    scene.append("access.log.1", text("a", 201..=205));
    scene.append("access.log", text("a", 206..=210));
    scene.append("access.log.1", text("a", 206..=210));
    scene.truncate("access.log");
    scene.append("access.log", text("b", 1..=2));
    scene.poll_long();
    scene.expect(lines("a", 1..=210).chain(lines("b", 1..=2)));
}

#[test]
fn a05_two_copytruncates_between_two_polls() {
    for glob in ["access.log*", "access.log"] {
        let mut scene = Scene::new(&[glob]);
        scene.append("access.log.3", text("o", 1..=20));
        scene.pass_time();
        scene.append("access.log", text("a", 1..=20));
        scene.pass_time();
        scene.poll();
        scene.append("access.log", text("a", 21..=25));
        scene.copytruncate("access.log", "access.log.1");
        scene.append("access.log", text("b", 1..=9));
        scene.rename("access.log.1", "access.log.2");
        scene.copytruncate("access.log", "access.log.1");
        scene.append("access.log", text("c", 1..=2));
        scene.restart();
        scene.poll_long();
        let old = lines("o", 1..=20).filter(|_| glob.ends_with('*'));
        scene.expect(old.chain(lines("a", 1..=25)).chain(lines("b", 1..=9)).chain(lines("c", 1..=2)));
    }
}

#[test]
fn a06_truncated_and_grown_past_the_old_place() {
    let mut scene = Scene::new(&["access.log"]);
    scene.append("access.log", text("a", 1..=5));
    scene.poll();
    scene.truncate("access.log");
    scene.append("access.log", text("b", 1..=50));
    scene.poll_long();
    scene.expect_with_gaps(lines("a", 1..=5).chain(lines("b", 1..=50)), &[(GapReason::TruncatedUnread, None)]);
    // To the very same length, without a new time that would show it.
    scene.truncate("access.log");
    scene.append("access.log", text("c", 1..=50));
    scene.poll();
    assert_eq!(scene.found.lines.len(), 105);
}

#[test]
fn a07_a_stale_writer_leaves_a_hole() {
    for unread in [0, 3] {
        let mut scene = Scene::new(&["access.log"]);
        let mut writer = File::create(scene.path("access.log")).unwrap();
        writer.write_all(text("a", 1..=2_000).as_bytes()).unwrap();
        scene.poll();
        writer.write_all(text("a", 2_001..=2_000 + unread).as_bytes()).unwrap();
        scene.truncate("access.log");
        let hole = writer.stream_position().unwrap();
        if unread == 0 {
            scene.poll();
        }
        writer.write_all(text("b", 1..=3).as_bytes()).unwrap();
        scene.poll_long();
        let gaps = [(GapReason::TruncatedUnread, Some(u64::from(unread) * 7))];
        let gaps = if unread > 0 { &gaps[..] } else { &[] };
        scene.expect_with_gaps(lines("a", 1..=2_000).chain(lines("b", 1..=3)), gaps);
        assert_eq!(scene.tail.followed().map(|followed| followed.account.nul).max(), Some(hole));
    }
}

#[test]
fn a07_a_hole_of_any_size_is_skipped_in_constant_memory() {
    let mut scene = Scene::with(&["access.log"], |options| options.bytes_per_poll = 64 << 20);
    let mut writer = File::create(scene.path("access.log")).unwrap();
    writer.seek(SeekFrom::Start(40 << 20)).unwrap();
    writer.write_all(b"first\n").unwrap();
    scene.poll();
    scene.expect(["first"]);
    let account = scene.tail.followed().next().unwrap().account;
    assert_eq!((account.nul, account.yielded), (40 << 20, 6));
}

#[test]
fn a08_nuls_inside_a_line_are_bytes_of_it() {
    let mut scene = Scene::new(&["access.log"]);
    scene.append("access.log", "a \0 b\nc\0\n");
    scene.poll();
    scene.expect(["a \0 b", "c\0"]);
}

#[test]
fn a09_an_inode_that_is_used_again() {
    for has_birth in [true, false] {
        faults::set_birth(has_birth);
        let mut scene = Scene::new(&["access.log"]);
        scene.append("access.log", text("a", 1..=5));
        scene.poll();
        let id = disk::stat(&scene.path("access.log")).unwrap().id;
        // The file system may or may not give the inode out again: the saved one is made to be the new one's.
        scene.remove("access.log");
        scene.append("access.log", text("b", 1..=9));
        let reused = disk::stat(&scene.path("access.log")).unwrap().id;
        for value in scene.saved.values_mut() {
            let text = String::from_utf8(value.clone()).unwrap();
            *value = text.replace(&format!("\"ino\":{}", id.ino), &format!("\"ino\":{}", reused.ino)).into_bytes();
        }
        scene.restart();
        scene.poll_long();
        let reason = if has_birth { GapReason::RotatedWhileDown } else { GapReason::TruncatedUnread };
        scene.expect_with_gaps(lines("a", 1..=5).chain(lines("b", 1..=9)), &[(reason, None)]);
        faults::set_birth(true);
    }
}
