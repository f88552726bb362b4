//! What is said about logs that cannot be read as they should be: one sentence each, which says what to do.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::desk::{Desk, FORMAT, Told, availability, bad, conserved, counts, good, gzip, line, zstd};

fn desk() -> Desk {
    Desk::new(&availability("availability", "99.0", "", ""))
}

/// A report on `files` prints a document, tells exactly these sentences by their beginnings, and exits with `code`.
#[track_caller]
fn check(desk: &Desk, arguments: &[&str], code: i32, sentences: &[&str]) -> Told {
    let told = desk.report(&[&["--json"], arguments].concat());
    assert_eq!(told.code, Some(code), "{told:?}");
    assert_eq!(told.sentences().len(), sentences.len(), "{told:?}");
    for (found, expected) in told.sentences().iter().zip(sentences) {
        assert!(found.starts_with(expected), "{expected}\n{found}");
    }
    conserved(&told.document());
    told
}

#[test]
fn a_log_that_cannot_be_opened_is_told_with_what_to_do() {
    let desk = desk();
    std::fs::create_dir(desk.path("logs")).expect("a directory");
    for (file, sentence) in [
        ("nowhere.log", "nowhere.log: cannot be opened (No such file or directory); check the path"),
        ("logs", "logs: is a directory; name the log files in it, such as logs/access.log*"),
        ("/proc/self/mem", "/proc/self/mem: cannot be opened (Input/output error); check that it is a log file"),
        ("no\u{1b}[31m.log", "no\\u{1b}[31m.log: cannot be opened"),
    ] {
        check(&desk, &[file], 3, &[sentence]);
    }
}

#[test]
fn a_log_that_another_program_must_unpack_is_told_with_that_program() {
    let desk = desk();
    for (bytes, unpack) in [
        (&b"BZh91AY&SY"[..], "bzip2 -dc"),
        (b"\xFD7zXZ\0", "xz -dc"),
        (b"\x04\x22\x4D\x18", "lz4 -dc"),
        (b"PK\x03\x04", "unzip -p"),
    ] {
        desk.write("packed", bytes);
        let sentence =
            format!("packed: is compressed in a way that is not read here; pipe it: {unpack} FILE | slogate");
        check(&desk, &["packed"], 3, &[&sentence]);
    }
}

#[test]
fn a_pipe_that_nobody_writes_into_ends_the_wait() {
    let desk = desk();
    let pipe = desk.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    desk.write("good.log", good(0, 3));
    let told = check(&desk, &["pipe", "good.log"], 3, &["pipe: is a pipe that nobody writes into; start the program"]);
    assert_eq!(counts(&told.document(), "availability"), (3, 0));
    let writer = std::thread::spawn(move || std::fs::write(pipe, good(0, 5)).expect("somebody reads"));
    assert_eq!(counts(&desk.document(&["pipe"]), "availability"), (5, 0));
    writer.join().expect("the writer is done");
}

#[test]
fn a20_of_a_torn_or_damaged_archive_the_lines_before_are_counted_and_the_report_is_unsure() {
    let desk = desk();
    let log: String = (0..5_000).map(|second| line(second, &format!("GET /item/{second}"), 200, "0.100")).collect();
    let (gz, zst) = (gzip(log.as_bytes()), zstd(log.as_bytes()));
    let mut wrong_sum = gz.clone();
    let place = gz.len() - 8;
    wrong_sum[place] ^= 1;
    desk.write("torn.gz", &gz[..gz.len() / 2]);
    desk.write("sum.gz", wrong_sum);
    desk.write("tail.gz", [&gz[..], b"tail"].concat());
    desk.write("torn.zst", &zst[..zst.len() / 2]);
    for (file, what) in [("torn.gz", "gzip"), ("sum.gz", "gzip"), ("torn.zst", "zstd")] {
        let told = check(&desk, &[file], 3, &[&format!("{file}: the {what} data ends early or is damaged (")]);
        let (good, bad) = counts(&told.document(), "availability");
        assert!(bad == 0 && (file == "sum.gz") == (good == 5_000), "{file}: {good}");
    }
    let told = desk.report(&["--json", "tail.gz"]);
    assert_eq!((told.code, counts(&told.document(), "availability")), (Some(3), (5_000, 0)), "{told:?}");
}

#[test]
fn an_empty_log_alone_is_not_known_and_beside_others_takes_nothing_away() {
    let desk = desk();
    desk.write("empty.log", "");
    desk.write("empty.gz", gzip(b""));
    desk.write("good.log", good(0, 3));
    for file in ["empty.log", "empty.gz"] {
        let sentence = format!("{file}: is empty; if it was just rotated, name the older file too");
        check(&desk, &[file], 3, &[&sentence]);
        check(&desk, &[file, "good.log"], 0, &[&sentence]);
    }
    check(&desk, &["-"], 3, &["standard input: is empty"]);
}

#[test]
fn b21_a_log_in_another_format_is_told_with_its_format_and_ours() {
    let desk = desk();
    let log = "192.0.2.1 - - [20/Nov/2026:10:12:00 +0000] \"GET /item/1?token=secret HTTP/1.1\" 200 5\n";
    desk.write("common.log", log);
    let told = check(&desk, &["common.log"], 3, &["common.log: its only line (`192.0.2.1 - - [20/Nov/2026:10:12:00"]);
    assert!(told.stderr.contains(&format!("does not have the format of source `lb`, which is `{FORMAT}`; set that")));
    assert!(!format!("{told:?}").contains("secret"), "{told:?}");
    desk.write("common.log", log.repeat(7));
    desk.write("good.log", good(0, 3));
    let told = check(&desk, &["good.log", "common.log"], 3, &["common.log: none of its 7 lines has the format of"]);
    assert_eq!(conserved(&told.document()), [10, 3, 0, 7]);
    let log: Vec<u8> = "a log of Windows\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    desk.write("utf16.log", [&[0xFF, 0xFE], &log[..]].concat());
    check(&desk, &["utf16.log"], 3, &["utf16.log: is text in UTF-16, of which no line can be read; convert it with"]);
    desk.write("zeros.bin", vec![0; 60_000]);
    check(&desk, &["zeros.bin"], 3, &["zeros.bin: its only line ("]);
    desk.write("zeros.bin", vec![0; 1_000_000]);
    check(&desk, &["zeros.bin"], 3, &["no line could be counted; longer than `max_line`, 65536 bytes: 1"]);
}

#[test]
fn b07_many_unparsed_lines_are_told_and_doubted_by_whoever_asks_the_gate() {
    let sentence = "access.log: 100 of its 9999 lines do not have the format of source `lb` and are not counted";
    for (unknown, code) in [("deny", 3), ("allow", 0)] {
        let gate = format!("[gate]\non_unknown = \"{unknown}\"\nmin_events = 1\n");
        let desk = Desk::with_gate(&availability("availability", "99.0", "", ""), &gate);
        desk.write("access.log", good(0, 9_899) + &"another format\n".repeat(100));
        check(&desk, &["access.log"], 0, &[sentence]);
        check(&desk, &["--fail-on-frozen", "access.log"], code, &[sentence]);
        let document = desk.report(&["--json", "access.log"]).document();
        let (gate, reason) = (&document["gates"][0], &document["sources"][0]["reasons"][0]);
        assert_eq!((&gate["level"], &gate["allow"]), (&"unknown".into(), &(code == 0).into()));
        assert_eq!((&gate["reasons"][0]["cause"], &gate["reasons"][0]["text"]), (&reason["kind"], &reason["text"]));
        let text = "100 of the newest 9999 records of source lb could not be read, and errors may hide among them";
        assert_eq!((&reason["kind"], &reason["text"]), (&"unparsed".into(), &text.into()));
        desk.write("access.log", good(0, 9_900) + &"another format\n".repeat(100));
        check(&desk, &["--fail-on-frozen", "access.log"], 0, &[]);
    }
}

#[test]
fn every_bad_log_has_its_sentence_and_the_good_one_is_counted() {
    let desk = desk();
    let torn = gzip(good(0, 1_000).as_bytes());
    desk.write("torn.gz", &torn[..20]);
    desk.write("other.log", "another format\n");
    desk.write("empty.log", "");
    desk.write("good.log", good(0, 7));
    let sentences =
        ["nowhere.log: cannot", "torn.gz: the gzip", "other.log: its only line does", "empty.log: is empty"];
    let files = ["empty.log", "torn.gz", "nowhere.log", "good.log", "other.log"];
    let told = desk.report(&[&["--json"], &files[..]].concat());
    for sentence in sentences {
        assert_eq!(told.sentences().iter().filter(|told| told.starts_with(sentence)).count(), 1, "{told:?}");
    }
    assert_eq!((told.code, told.sentences().len()), (Some(3), 4), "{told:?}");
    assert_eq!(counts(&told.document(), "availability"), (7, 0));
}

#[test]
fn b24_a_log_without_a_match_names_its_most_frequent_routes_and_no_query() {
    let desk = desk();
    let requests = [
        ("GET /cart/1?token=secret", 3),
        ("GET /cart/2?token=secret", 3),
        ("POST /v2/pay/0f8fad5b-d9cb-469f", 5),
        ("HEAD /item/1", 2),
        ("GET /help?q=secret", 1),
        ("GET /about", 1),
        ("GET /zebra", 1),
    ];
    let log: String = requests.iter().map(|(request, count)| line(0, request, 200, "0.1").repeat(*count)).collect();
    desk.write("access.log", log);
    let told =
        check(&desk, &["access.log"], 0, &["no line matched any SLO, so there is nothing to judge by; the most"]);
    let routes = "are GET /cart/{} (6), POST /v2/pay/{} (5), HEAD /item/{} (2), GET /about (1), GET /help (1); compare";
    assert!(told.stderr.contains(routes), "{told:?}");
    assert!(!format!("{told:?}").contains("secret"), "{told:?}");
    let gate = &told.document()["gates"][0];
    assert_eq!((&gate["level"], &gate["allow"]), (&"unknown".into(), &false.into()));
    assert_eq!(desk.report(&["--fail-on-frozen", "access.log"]).code, Some(3));
}

#[test]
fn records_out_of_the_window_are_told() {
    let desk = desk();
    desk.write("access.log", good(0, 3) + &good(-40 * 86_400, 2));
    let expired =
        "2 records are older than the 28d before 2026-11-20T10:12:00Z, the newest record, and not counted; --at";
    check(&desk, &["access.log"], 0, &[expired]);
    let ahead = "5 records are later than 2026-01-01T00:00:00Z, the time asked for, and not counted; --at ends";
    check(&desk, &["--at", "2026-01-01T00:00:00Z", "access.log"], 0, &[ahead]);
    let expired = "5 records are older than the 28d before 2027-01-01T00:00:00Z, the time asked for, and not counted";
    check(&desk, &["--at", "2027-01-01T01:00:00+01:00", "access.log"], 0, &[expired]);
    desk.write("access.log", good(0, 1));
    check(&desk, &["--at", "2027-01-01T00:00:00Z", "access.log"], 0, &["1 record is older"]);
}

#[test]
fn wrong_usage_is_2() {
    let desk = desk();
    desk.write("access.log", good(0, 1));
    for arguments in [
        &["--at", "yesterday", "access.log"][..],
        &["--at", "2026-11-20", "access.log"],
        &["--at", "2026-11-20T10:12:00", "access.log"],
        &["--source", "bl", "access.log"],
        &["--jsn", "access.log"],
        &[],
    ] {
        let told = desk.report(arguments);
        assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""), "{arguments:?}: {told:?}");
        assert!(!told.stderr.is_empty());
    }
    assert_eq!(desk.report(&["--specs", "nowhere", "access.log"]).code, Some(3));
}

#[test]
fn of_several_sources_one_must_be_named() {
    let source = |name: &str, format: &str| {
        format!("[[source]]\nname = \"{name}\"\n[source.file]\npaths = [\"{name}.log\"]\n{format}\n")
    };
    let engine = source("lb", &format!("nginx = '{FORMAT}'"))
        + &source("edge", "format = \"common\"")
        + "[gate]\non_unknown = \"deny\"\nmin_events = 1\n";
    let desk = Desk::with_engine(&availability("availability", "99.0", "", ""), &engine);
    desk.write("lb.log", good(0, 2));
    let told = desk.report(&["lb.log"]);
    let sentence = "there are several sources; choose the one that wrote these logs with --source: lb, edge\n";
    assert_eq!((told.code, told.stderr.as_str()), (Some(2), sentence));
    let told = desk.report(&["--source", "edg", "lb.log"]);
    let sentence = "there is no source `edg`; choose the one that wrote these logs with --source: lb, edge\n";
    assert_eq!((told.code, told.stderr.as_str()), (Some(2), sentence));
    assert_eq!(counts(&desk.document(&["--source", "lb", "lb.log"]), "availability"), (2, 0));
    check(&desk, &["--source", "edge", "lb.log"], 3, &["lb.log: none of its 2 lines"]);
}

#[test]
fn the_exit_code_under_fail_on_frozen_is_the_worst_gate() {
    let code = |unknown: &str, log: &str, arguments: &[&str]| {
        let gate = format!("[gate]\non_unknown = \"{unknown}\"\nmin_events = 10\n");
        let desk = Desk::with_gate(&availability("availability", "90.0", "", ""), &gate);
        desk.write("access.log", log);
        desk.report(&[arguments, &["access.log"]].concat()).code
    };
    let (open, frozen, thin) = (good(0, 100), good(0, 90) + &bad(0, 10), good(0, 9));
    for unknown in ["deny", "allow"] {
        assert_eq!(code(unknown, &open, &["--fail-on-frozen"]), Some(0));
        assert_eq!(code(unknown, &frozen, &["--fail-on-frozen"]), Some(1));
        assert_eq!(code(unknown, &frozen, &["--fail-on-frozen", "nowhere.log"]), Some(1));
        assert_eq!(code(unknown, &open, &["--fail-on-frozen", "nowhere.log"]), Some(3));
        assert_eq!(code(unknown, &frozen, &[]), Some(0));
    }
    assert_eq!(code("deny", &thin, &["--fail-on-frozen"]), Some(3));
    assert_eq!(code("allow", &thin, &["--fail-on-frozen"]), Some(0));
    assert_eq!(code("deny", &thin, &[]), Some(0));
}

#[test]
fn a_report_that_cannot_be_written_is_not_done() {
    let desk = desk();
    desk.write("access.log", good(0, 2));
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has one");
    let output = desk.command("report", &["access.log"]).stdout(full).output().expect("the binary runs");
    let told = Told::from(output);
    assert_eq!((told.code, told.sentences().len()), (Some(3), 1), "{told:?}");
    assert!(told.stderr.starts_with("cannot write to stdout: "), "{told:?}");
}

#[test]
fn json_is_all_that_is_printed_and_a_reader_who_leaves_is_no_fault() {
    let desk = desk();
    desk.write("access.log", good(0, 2) + "torn");
    for arguments in [&["--json", "access.log", "nowhere.log"][..], &["access.log", "nowhere.log"]] {
        let told = desk.report(arguments);
        assert_eq!(told.stdout.starts_with('{'), arguments[0] == "--json", "{told:?}");
        assert!(told.stdout.ends_with('\n') && !told.stdout.contains('\u{1b}'), "{told:?}");
    }
    let mut command = desk.command("report", &["-"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    drop(child.stdout.take());
    child.stdin.take().expect("a pipe").write_all(good(0, 2).as_bytes()).expect("somebody reads");
    let output = child.wait_with_output().expect("the binary ends");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}
