use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use super::disks::FaultyDisk;
use super::{Random, Written, all_of, contents, opened};
use crate::store::redb::disk::Disk;
use crate::store::redb::{Redb, open, tables};
use crate::store::{Commit, Store, StoreError};

fn fresh() -> FaultyDisk {
    let disk = FaultyDisk::default();
    tables::create(&open::database(Disk::new(disk.clone())).unwrap()).unwrap();
    disk
}

#[test]
fn f04_a_full_disk_takes_a_commit_whole_or_not_at_all() {
    for room in 0..40 {
        let disk = fresh();
        let store = Arc::new(opened(&disk).unwrap());
        let mut written = Written::to(store.clone(), 7);
        written.commits(5);
        disk.set_room(Some(room));
        let error = (0..2_000).find_map(|_| written.commit().err()).expect("the disk is full at last");
        assert!(matches!(&error, StoreError::Full { .. }), "{error}");
        let text = "faulty.redb: the disk is full; nothing is lost, and writing goes on when there is room";
        assert_eq!(error.to_string(), text);
        // What was there is there, and can be read while the disk is full.
        assert!(contents(&*store) == contents(&written.acknowledged), "room for {room} blocks");
        assert!(written.commit().is_err() && written.writer.is_behind());
        // With room again, everything that was handed over arrives.
        disk.set_room(None);
        written.commits(1);
        assert!(all_of(&*store) == all_of(&written.all), "room for {room} blocks");
        store.check().unwrap();
        drop((store, written.writer));
        assert!(all_of(&opened(&disk).unwrap()) == all_of(&written.all));
    }
}

/// A store in a directory, with a few commits, closed.
fn filled(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("slogate.redb");
    let mut written = Written::to(Arc::new(Redb::open(&path).unwrap()), 9);
    written.commits(4);
    path
}

#[test]
fn f07_a_damaged_file_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = filled(directory.path());
    let sound = fs::read(&path).unwrap();
    let cut = |length: usize| sound[..length].to_vec();
    let nuls = |from: usize, to: usize| {
        let mut bytes = sound.clone();
        bytes[from..to].fill(0);
        bytes
    };
    let damaged = [
        vec![],
        vec![0; 1],
        vec![0; sound.len()],
        b"{\"not\": \"a store\"}".to_vec(),
        b"SQLite format 3\0".repeat(4_096),
        cut(1),
        cut(511),
        cut(4_096),
        cut(sound.len() / 2),
        nuls(0, 512),
        nuls(64, 400),
        nuls(4_096, sound.len()),
    ];
    for (number, bytes) in damaged.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        let error = Redb::open(&path).expect_err(&format!("damage {number}"));
        assert!(matches!(&error, StoreError::Corrupt { path: named, .. } if *named == path), "{number}: {error}");
        assert!(error.to_string().contains("nothing was changed: put a backup in its place"), "{error}");
        assert!(fs::read(&path).unwrap() == *bytes, "damage {number} was left as it is");
    }
}

#[test]
fn f19_a_flipped_bit_is_found_or_does_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    let path = filled(directory.path());
    let sound = fs::read(&path).unwrap();
    let expected = contents(&Redb::open(&path).unwrap());
    let mut random = Random(1);
    let used: Vec<usize> = (0..sound.len()).filter(|at| sound[*at] != 0).collect();
    let mut refused = 0;
    for _ in 0..200 {
        let mut bytes = sound.clone();
        let at = used[random.below(used.len() as u64) as usize];
        bytes[at] ^= 1 << random.below(8);
        fs::write(&path, &bytes).unwrap();
        match Redb::open(&path) {
            Ok(store) => assert!(contents(&store) == expected, "byte {at}"),
            Err(StoreError::Corrupt { .. } | StoreError::VersionNewer { .. }) => {
                assert!(fs::read(&path).unwrap() == bytes, "byte {at}: the file was left as it is");
                refused += 1;
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
    assert!(refused > 20, "{refused} of 200 refused");
}

#[test]
fn f08_a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = filled(directory.path());
    {
        let database = ::redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let about: ::redb::TableDefinition<'_, &str, u64> = ::redb::TableDefinition::new("about");
        transaction.open_table(about).unwrap().insert("schema", 3).unwrap();
        transaction.commit().unwrap();
    }
    let before = fs::read(&path).unwrap();
    let error = Redb::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::VersionNewer { found: 3, known: 2, .. }));
    let name = path.display();
    let text = format!("{name}: the store has version 3, and this program knows up to 2; use a newer slogate");
    assert_eq!(error.to_string(), text);
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn f10_a_place_that_may_not_be_written_is_refused_with_the_user_and_the_owner() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).unwrap();
    match Redb::open(&directory.path().join("slogate.redb")) {
        // Permissions do not bind a privileged user.
        Ok(_) => assert!(fs::write(directory.path().join("probe"), "").is_ok()),
        Err(error) => assert!(matches!(error, StoreError::Denied { uid: Some(_), owner: Some(_), .. }), "{error}"),
    }
    // But nobody may create a file in /proc.
    let error = Redb::open(Path::new("/proc/slogate.redb")).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("/proc/slogate.redb.lock: "), "{text}");
    let denied = open::denied("/proc/slogate.redb".into());
    let uid = fs::metadata("/proc/self").unwrap().uid();
    let text = format!("/proc/slogate.redb: user {uid} may not read and write here; the owner is user 0");
    assert_eq!(denied.to_string(), text);
}

#[test]
fn where_no_store_can_be_one_sentence_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    fs::write(place("file"), "").unwrap();
    let (own, file) = (directory.path().display(), place("file").display().to_string());
    for (path, why) in [
        (
            place(""),
            format!("the store is a file, and this is a directory; set [store] url = \"redb:{own}/slogate.redb\" say"),
        ),
        (
            place("none/at/all.redb"),
            format!(
                "there is no directory {own}/none/at for the store; create it, or set [store] url to another place"
            ),
        ),
        (
            place("file/slogate.redb"),
            format!("{file}, where the store is to be, is no directory; set [store] url to another place"),
        ),
    ] {
        let error = Redb::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Misplaced { .. }), "{error}");
        assert_eq!(error.to_string(), format!("{}: {why}", path.display()));
    }
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["file"], "nothing is left behind");
}

#[test]
fn f11_a_second_process_is_refused_and_told_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = filled(directory.path());
    let first = Redb::open(&path).unwrap();
    let error = Redb::open(&path).unwrap_err();
    let own = std::process::id();
    assert!(matches!(error, StoreError::InUse { pid: Some(pid), .. } if pid == own));
    let name = path.display();
    let text =
        format!("{name}: the store is in use by process {own}; stop it first, or give this one another [store] url");
    assert_eq!(error.to_string(), text);
    // The refusal took nothing from the first.
    first.commit(5, &Commit::default()).unwrap();
    drop(first);
    assert_eq!(Redb::open(&path).unwrap().revision().unwrap(), 5);
}

#[test]
fn a_start_that_was_cut_off_before_there_was_a_store_can_be_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slogate.redb");
    fs::write(directory.path().join("slogate.redb.new"), [0; 5_000]).unwrap();
    fs::write(directory.path().join("slogate.redb.lock"), "1\n").unwrap();
    Redb::open(&path).unwrap().commit(1, &Commit::default()).unwrap();
    assert!(!directory.path().join("slogate.redb.new").exists());
}
