//! Rows A19 and A20.

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

pub(super) fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// Replaces a log by its archive, as gzip does.
fn pack(scene: &Scene, name: &str, archive: &str) {
    fs::write(scene.path(archive), gzip(fs::read(scene.path(name)).unwrap())).unwrap();
    scene.remove(name);
}

#[test]
fn a19_the_archive_of_a_file_that_was_read_holds_nothing_new() {
    for zstd in [false, true] {
        let mut scene = Scene::new(&["access.log*"]);
        scene.append("access.log", text("a", 1..=3_000));
        scene.poll();
        scene.rename("access.log", "access.log.1");
        scene.append("access.log", text("b", 1..=2));
        scene.poll_long();
        let read = fs::read(scene.path("access.log.1")).unwrap();
        let packed = if zstd { zstd::encode_all(&read[..], 1).unwrap() } else { gzip(read) };
        // It is seen while it is being made, beside the original.
        fs::write(scene.path("access.log.1.gz"), &packed[..packed.len() / 2]).unwrap();
        scene.poll_long();
        fs::write(scene.path("access.log.1.gz"), &packed).unwrap();
        scene.poll();
        scene.remove("access.log.1");
        scene.poll_long();
        scene.expect(lines("a", 1..=3_000).chain(lines("b", 1..=2)));
        scene.rename("access.log.1.gz", "access.log.2.gz");
        scene.restart();
        scene.poll_long();
        scene.expect(lines("a", 1..=3_000).chain(lines("b", 1..=2)));
    }
}

#[test]
fn a19_rotated_and_packed_while_stopped() {
    for glob in ["access.log*", "access.log"] {
        let mut scene = Scene::new(&[glob]);
        scene.append("access.log", text("a", 1..=300));
        scene.poll();
        scene.append("access.log", text("a", 301..=310));
        scene.rename("access.log", "access.log.1");
        pack(&scene, "access.log.1", "access.log.1.gz");
        scene.append("access.log", text("b", 1..=2));
        scene.restart();
        scene.poll_long();
        scene.expect(lines("a", 1..=310).chain(lines("b", 1..=2)));
        scene.restart();
        scene.poll_long();
        scene.expect(lines("a", 1..=310).chain(lines("b", 1..=2)));
    }
}

#[test]
fn a19_copytruncate_with_compression_at_once() {
    let mut scene = Scene::new(&["access.log*"]);
    scene.append("access.log", text("a", 1..=300));
    scene.poll();
    scene.append("access.log", text("a", 301..=310));
    scene.copytruncate("access.log", "access.log.1");
    pack(&scene, "access.log.1", "access.log.1.gz");
    scene.append("access.log", text("b", 1..=2));
    scene.poll_long();
    scene.expect(lines("a", 1..=310).chain(lines("b", 1..=2)));
}

#[test]
fn a19_the_archive_of_a_file_without_one_whole_line_is_compared_with_it() {
    for is_renamed in [false, true] {
        let mut scene = Scene::new(&["access.log*"]);
        scene.append("access.log", "half a li");
        scene.poll();
        scene.rename("access.log", "access.log.1");
        scene.append("access.log", "");
        fs::write(scene.path("access.log.1.gz"), gzip("half a li")).unwrap();
        scene.poll();
        scene.remove("access.log.1");
        if is_renamed {
            scene.rename("access.log.1.gz", "access.log.2.gz");
            scene.rename("access.log", "access.log.1");
        }
        scene.poll_long();
        assert_eq!(scene.found.unfinished, ["half a li"]);
        scene.expect([""; 0]);
    }
}

#[test]
fn a20_archives_of_the_time_before_are_read() {
    let mut scene = Scene::new(&["access.log*"]);
    let two = [gzip(text("a", 1..=20_000)), gzip(text("a", 20_001..=20_010))].concat();
    fs::write(scene.path("access.log.2.gz"), two).unwrap();
    let zstd = zstd::encode_all(text("b", 1..=5).as_bytes(), 1).unwrap();
    fs::write(scene.path("access.log.1.zst"), zstd).unwrap();
    scene.append("access.log", text("c", 1..=2));
    scene.poll();
    scene.restart();
    scene.poll_long();
    scene.expect(lines("a", 1..=20_010).chain(lines("b", 1..=5)).chain(lines("c", 1..=2)));
    assert_eq!(scene.progress.open, 1);
}

#[test]
fn a20_a_restart_in_the_middle_of_an_archive_goes_on_there() {
    let mut scene = Scene::with(&["access.log*"], |options| options.bytes_per_poll = 100_000);
    fs::write(scene.path("access.log.1.gz"), gzip(text("a", 1..=200_000))).unwrap();
    let mut restarts = 0;
    for _ in 0..200 {
        let before = scene.found.lines.len();
        scene.poll();
        if scene.found.lines.len() > before && restarts < 5 {
            restarts += 1;
            scene.restart();
        }
    }
    assert_eq!(restarts, 5, "it is read in parts");
    scene.expect(lines("a", 1..=200_000));
}

#[test]
fn a20_of_a_torn_archive_the_whole_members_are_read() {
    let mut scene = Scene::new(&["access.log*"]);
    let torn = gzip(text("a", 4..=9_000));
    let packed = [gzip(text("a", 1..=3)), torn[..torn.len() - 9].to_vec()].concat();
    fs::write(scene.path("access.log.1.gz"), &packed).unwrap();
    scene.poll();
    assert!(scene.found.lines.is_empty(), "it may be being written");
    assert_eq!(scene.progress.bytes_behind, packed.len() as u64, "it is not read yet");
    for _ in 0..23 {
        scene.poll();
        assert!(scene.progress.bytes_behind > 0 && scene.found.gaps.is_empty());
        assert!(!scene.progress.has_more(), "there is no hurry");
    }
    scene.poll_long();
    assert_eq!(scene.progress.bytes_behind, 0);
    let gaps = [(GapReason::PackedTorn, None)];
    scene.expect_with_gaps(lines("a", 1..=3), &gaps);
    scene.restart();
    scene.poll_long();
    scene.expect_with_gaps(lines("a", 1..=3), &gaps);
    // Whole after all.
    fs::write(scene.path("access.log.1.gz"), [gzip(text("a", 1..=3)), torn].concat()).unwrap();
    scene.poll_long();
    scene.expect_with_gaps(lines("a", 1..=9_000), &gaps);
}

#[test]
fn a20_a_bomb_is_not_unpacked() {
    let mut scene = Scene::with(&["access.log*"], |options| options.max_unpacked = 30 << 20);
    fs::write(scene.path("access.log.1.gz"), gzip(vec![b'\n'; 64 << 20])).unwrap();
    fs::write(scene.path("access.log.2.gz"), gzip((0..6_000_000).map(|n| format!("{n}\n")).collect::<String>()))
        .unwrap();
    scene.append("access.log", text("c", 1..=2));
    scene.poll_long();
    scene.expect_with_gaps(lines("c", 1..=2), &[(GapReason::PackedLimit, None), (GapReason::PackedLimit, None)]);
}

#[test]
fn a20_start_at_the_end_leaves_archives_alone() {
    let mut scene = Scene::with(&["access.log*"], |options| options.start = Start::End);
    fs::write(scene.path("access.log.1.gz"), gzip(text("a", 1..=300))).unwrap();
    scene.poll_long();
    scene.rename("access.log.1.gz", "access.log.2.gz");
    scene.restart();
    scene.poll_long();
    scene.expect([""; 0]);
}

#[test]
fn a20_a_last_line_without_newline_is_handed_over() {
    let mut scene = Scene::new(&["access.log*"]);
    fs::write(scene.path("access.log.1.gz"), gzip("a 1\na 2")).unwrap();
    scene.poll_long();
    scene.expect(["a 1"]);
    assert_eq!(scene.found.unfinished, ["a 2"]);
}
