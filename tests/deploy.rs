//! The files of `deploy/`: systemd accepts the unit and finds it closed, and the image has what it needs.

#[path = "serve/lines.rs"]
#[allow(dead_code, reason = "shared with a test that writes logs, which this one does not")]
mod lines;
#[path = "serve/server.rs"]
#[allow(dead_code, reason = "shared with a test that does more to its server than this one does")]
mod server;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use server::Place;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const UNIT: &str = include_str!("../deploy/slogate.service");
const DOCKERFILE: &str = include_str!("../deploy/Dockerfile");
const DOCKERIGNORE: &str = include_str!("../.dockerignore");
/// Where unit and image have the binary.
const INSTALLED: &str = "/usr/local/bin/slogate";
/// What `systemd-analyze security` may find at most: 0 is closed, 100 is open.
const MOST_EXPOSURE: &str = "15";

#[test]
fn systemd_accepts_the_unit_and_finds_it_closed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let unit = directory.path().join("slogate.service");
    assert_eq!(UNIT.matches(INSTALLED).count(), 1, "in ExecStart");
    // It says so when there is no such program.
    fs::write(&unit, UNIT.replace(INSTALLED, env!("CARGO_BIN_EXE_slogate"))).expect("written");
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        let output =
            command.args(arguments).arg(&unit).output().expect("systemd-analyze (tests/run.sh installs it) runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    assert_eq!(analyze(&["verify", "--man=no"]), (true, String::new()));
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    let (is_closed, said) = analyze(&["security", "--offline=true", "--no-pager", &threshold]);
    assert!(is_closed, "{said}");
}

#[test]
fn the_unit_starts_the_server_with_arguments_that_it_knows() {
    let line = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("it starts something");
    let arguments: Vec<&str> = line.strip_prefix(INSTALLED).expect("slogate").split_whitespace().collect();
    assert_eq!(arguments[0], "serve");
    let known = Command::new(env!("CARGO_BIN_EXE_slogate")).args(arguments).arg("--help").output().expect("it runs");
    assert!(known.status.success(), "{}", String::from_utf8_lossy(&known.stderr));
}

/// The words of a Dockerfile's instruction, with continued lines joined.
fn instructions(name: &str) -> Vec<String> {
    let text = DOCKERFILE.replace("\\\n", " ");
    let instruction = |line: &str| line.strip_prefix(name)?.strip_prefix(' ').map(|rest| rest.trim().to_owned());
    text.lines().filter_map(instruction).collect()
}

/// The program and arguments of an instruction in its form as a JSON array.
fn words(instruction: &str) -> Vec<String> {
    let begin = instruction.find('[').expect("an array, since there is no shell");
    serde_json::from_str(&instruction[begin..]).expect("an array of texts")
}

#[test]
fn the_image_is_built_by_the_oldest_compiler_that_is_supported() {
    let manifest = fs::read_to_string(format!("{ROOT}/Cargo.toml")).expect("it is there");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    let from = &instructions("FROM")[0];
    assert!(from.starts_with(&format!("rust:{}-slim-", version.trim_matches('"'))), "{from} and {version}");
}

/// What is copied into the build is there, passes `.dockerignore`, and is all that Cargo asks for.
#[test]
fn the_image_is_built_from_what_cargo_needs() {
    let admitted: BTreeSet<&str> = DOCKERIGNORE.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(DOCKERIGNORE.lines().any(|line| line == "*"), "all else stays out");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let copies = instructions("COPY");
    let mut copied = BTreeSet::new();
    for line in copies.iter().filter(|line| !line.contains("--from=")) {
        let paths: Vec<&str> = line.split_whitespace().collect();
        let (_, sources) = paths.split_last().expect("a destination");
        for source in sources {
            copy(&Path::new(ROOT).join(source), &directory.path().join(source));
            copied.insert(*source);
        }
    }
    assert!(copied.iter().eq(&admitted), "{copied:?} {admitted:?}");
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--locked", "--offline", "--no-deps", "--format-version=1"]);
    let output = command.current_dir(directory.path()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = inclusions(&directory.path().join("src"));
    assert!(!found.is_empty(), "the description of the API is one");
    for (file, included) in found {
        assert!(included.exists(), "{} includes {}, which is not copied", file.display(), included.display());
    }
}

/// What is compiled in from other files, each behind the file that does; tests are no part of the image.
fn inclusions(directory: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(inclusions(&path));
            continue;
        }
        let text = fs::read_to_string(&path).expect("a text");
        for name in ["include_str!(\"", "include_bytes!(\"", "include!(\""] {
            let names = text.split(name).skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(names.map(|included| (path.clone(), directory.join(included))));
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a directory");
        for entry in fs::read_dir(from).expect("a directory") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).expect("copied");
    }
}

#[test]
fn the_image_runs_without_rights_and_knows_when_it_is_well() {
    assert_eq!(instructions("USER"), ["65532:65532"]);
    let entry = words(&instructions("ENTRYPOINT")[0]);
    assert_eq!(entry, [INSTALLED]);
    let command = words(&instructions("CMD")[0]);
    assert_eq!(command[0], "serve");
    let probe = words(&instructions("HEALTHCHECK")[0]);
    let (program, arguments) = probe.split_first().expect("a program");
    assert_eq!(program, INSTALLED);

    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let place = Place::new();
    let server = place.start();
    assert_eq!(place.ask(&arguments).status.code(), Some(0));
    assert!(server.stop().success());
    assert_eq!(place.ask(&arguments).status.code(), Some(3));
}
