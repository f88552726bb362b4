//! The specs are edited under a running server: by hand, by tools, wrongly, all the time.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::TOKEN;
use super::crash::Ending;
use super::lines::{Expected, Log};
use super::server::{FORMAT, Place, Server, converse, request, until};

/// How often the specs are edited while a log is written.
const EDITS: usize = 12;
/// How often the server is killed between edits.
const CRASHES: usize = 6;

#[test]
fn i03_a_changed_objective_is_in_force_without_a_restart_and_its_counts_stay() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(2_000);
    let server = place.start();
    place.wait_for(&log.expected);
    // One in ten fails: 99% is not kept, and 80% is.
    assert_eq!(place.gate("api").0, "frozen");
    edit(&place, "shop.toml", "99.0", "80.0");
    until(&place, "the objective", || slo(&place, "shop/availability")["objective"] == 0.8);
    place.wait_for(&log.expected);
    assert_eq!(place.gate("api").0, "open");
    assert_eq!(slo(&place, "shop/availability")["rules_changed"], Value::Null);
    let audit = place.audit();
    let promise = audit.iter().find(|entry| entry["action"] == "promise").expect("an entry");
    assert_eq!(promise["reason"], "shop/availability: 99% over 28d became 80% over 28d");
    assert_eq!((&promise["actor"]["principal"], &promise["service"]), (&json!("specs"), &json!("api")));
    // The gate opened for it, and not before it was written down.
    let opened = audit.iter().find(|entry| entry["after"] == "open" && entry["service"] == "api").expect("an entry");
    assert!(opened["sequence"].as_u64() > promise["sequence"].as_u64(), "{audit:?}");
    log.write(100);
    place.wait_for(&log.expected);
    assert!(server.stop().success());
    let _server = place.start();
    place.wait_for(&log.expected);
    assert_eq!(place.audit(), audit);
}

/// Specs of one file, changed in several places at once.
fn rewrite(place: &Place, file: &str, changes: &[(&str, &str)]) {
    let text = fs::read_to_string(place.path("specs").join(file)).expect("it is there");
    let whole = changes.iter().fold(text.clone(), |text, (from, to)| {
        assert!(text.contains(from), "{text}");
        text.replacen(from, to, 1)
    });
    edit(place, file, &text, &whole);
}

#[test]
fn i05_what_is_renamed_goes_on_with_its_counts_and_its_freeze_through_a_reload_and_restarts() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(2_000);
    let server = place.start();
    place.wait_for(&log.expected);
    assert!(place.ask(&["freeze", "search", "--reason", "a party"]).status.success());
    let before = place.audit().len();

    // A story with one of its SLOs, and a story whose name is that of its service.
    rewrite(
        &place,
        "shop.toml",
        &[("\"shop\"", "\"store\"\nrenamed_from = \"shop\""), ("\"latency\"", "\"fast\"\nrenamed_from = \"latency\"")],
    );
    let names = [("shop/availability", "store/availability"), ("shop/latency", "store/fast")];
    place.wait_for(&log.expected.renamed(&names));
    rewrite(&place, "search.toml", &[("\"search\"", "\"find\"\nrenamed_from = \"search\"")]);
    let names = [names[0], names[1], ("search/availability", "find/availability")];
    place.wait_for(&log.expected.renamed(&names));
    assert_eq!(place.gate("find").0, "frozen");
    assert_eq!(request(place.address, "GET", "/api/v1/gates/search", None).expect("an answer").0, 404);
    let told = || -> Vec<String> {
        let audit = place.audit();
        let renamed = audit[before..].iter().filter(|entry| entry["actor"]["principal"] == "specs");
        assert!(renamed.clone().all(|entry| entry["action"] == "renamed"), "{audit:#?}");
        renamed.map(|entry| entry["reason"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let goes_on = |to: &str, from: &str| format!("{to} goes on with what was counted for {from}");
    let expected = [
        goes_on("store/availability", "shop/availability"),
        goes_on("store/fast", "shop/latency"),
        "the gate of find goes on with the level and the orders of that of search".to_owned(),
        goes_on("find/availability", "search/availability"),
    ];
    assert_eq!(told(), expected);
    log.write(500);
    place.wait_for(&log.expected.renamed(&names));

    // The keys may stay. Killed and started by the same specs, nothing is left to rename.
    server.kill();
    log.write(100);
    let server = place.start();
    place.wait_for(&log.expected.renamed(&names));
    assert_eq!((place.gate("find").0.as_str(), told()), ("frozen", expected.to_vec()));
    assert!(server.stop().success());

    // And renamed while nobody serves.
    log.write(100);
    rewrite(&place, "search.toml", &[("\"find\"\nrenamed_from = \"search\"", "\"seek\"\nrenamed_from = \"find\"")]);
    let names = [names[0], names[1], ("search/availability", "seek/availability")];
    for _ in 0..2 {
        let server = place.start();
        place.wait_for(&log.expected.renamed(&names));
        assert_eq!((place.gate("seek").0.as_str(), told().len()), ("frozen", 6));
        assert!(server.stop().success());
    }
    assert!(!place.words().contains("renamed_from"), "{}", place.words());

    // A name under which nothing is kept is told, once, in case it is a slip.
    rewrite(&place, "shop.toml", &[("\"availability\"", "\"up\"\nrenamed_from = \"avail\"")]);
    for _ in 0..2 {
        assert!(place.start().stop().success());
    }
    let told = "store/up begins anew: nothing is kept of store/avail, which its `renamed_from` names";
    assert_eq!(place.words().matches(told).count(), 1, "{}", place.words());
}

#[test]
fn i01_i02_a_bad_edit_changes_nothing_and_is_told_where_it_is() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(2_000);
    let server = place.start();
    place.wait_for(&log.expected);
    let shown =
        || (place.gate("api"), place.gate("search"), place.audit(), slo(&place, "shop/latency")["objective"].clone());
    let before = shown();
    edit(&place, "shop.toml", "objective = 50.0\n", "objective = 500\nwindoww = \"1d\"\n");
    edit(&place, "search.toml", "source = \"lb\"", "source = \"bl\"");
    until(&place, "the refusal", || specs(&place)["rejected"].is_string());
    let file = |name: &str| place.path("specs").join(name).display().to_string();
    let faults = [
        format!("{}:9:10: there is no source `bl`; did you mean `lb`?", file("search.toml")),
        format!("{}:15:13: the objective `500` is not a percentage above 0 and below 100", file("shop.toml")),
        format!("{}:16:1: unknown key `windoww`; did you mean `window`?", file("shop.toml")),
    ];
    assert_eq!(specs(&place)["rejected"], faults.join("\n"));
    for fault in &faults {
        let told = place.words().lines().filter(|line| line.contains("ERROR") && line.ends_with(fault)).count();
        assert_eq!(told, 1, "{}", place.words());
    }
    assert_eq!(metric(&place, "slogate_specs_rejected"), 1.0);
    assert_eq!(metric(&place, "slogate_specs_reloads_total{result=\"rejected\"}"), 1.0);
    assert_eq!(shown(), before);
    log.write(500);
    place.wait_for(&log.expected);
    assert_eq!(place.gate("api").0, "frozen");

    // It is not tried again until it changes, or until somebody asks.
    hang_up(&server);
    until(&place, "the second refusal", || metric(&place, "slogate_specs_reloads_total{result=\"rejected\"}") == 2.0);
    edit(&place, "search.toml", "source = \"bl\"", "source = \"lb\"");
    until(&place, "the third refusal", || specs(&place)["rejected"] == faults[1..].join("\n"));
    fs::remove_file(place.path("specs/slogate.toml")).expect("removed");
    until(&place, "the fourth refusal", || specs(&place)["rejected"].to_string().contains("slogate.toml"));
    place.write_engine(&place.address.to_string(), &place.path("logs/access.log*"), "");
    edit(&place, "shop.toml", "objective = 500\nwindoww = \"1d\"\n", "objective = 60.0\n");
    until(&place, "the objective", || slo(&place, "shop/latency")["objective"] == 0.6);
    assert_eq!(specs(&place)["rejected"], Value::Null);
    assert_eq!(metric(&place, "slogate_specs_rejected"), 0.0);
    place.wait_for(&log.expected);
    assert!(server.stop().success());
}

#[test]
fn whoever_asks_need_not_wait_and_a_token_is_read_anew() {
    let place = Place::new();
    let other_token = TOKEN.chars().rev().collect::<String>();
    fs::write(place.path("token"), TOKEN).expect("written");
    place.write_engine(&place.address.to_string(), &place.log(), "token_file = \"../token\"");
    let server = place.start();
    let loaded_at = specs(&place)["loaded_at"].clone();
    let order = |token: &str| {
        let (path, body) = ("/api/v1/gates/api/freeze", json!({ "reason": "a release" }));
        let headers = [("Authorization", format!("Bearer {token}"))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        converse(place.address, "POST", path, &headers, Some(&body)).expect("an answer").0
    };
    assert_eq!((order(TOKEN), order(&other_token)), (200, 401));
    fs::write(place.path("token"), &other_token).expect("written");
    hang_up(&server);
    until(&place, "a reload", || specs(&place)["loaded_at"] != loaded_at);
    assert_eq!((order(TOKEN), order(&other_token)), (401, 200));
    assert!(place.words().contains("they say what they said before"), "{}", place.words());
    // A token that is none leaves the one that there is.
    fs::write(place.path("token"), "changeme").expect("written");
    hang_up(&server);
    until(&place, "the refusal", || specs(&place)["rejected"].to_string().contains("placeholder"));
    assert_eq!(order(&other_token), 200);
    assert!(server.stop().success());
}

/// Lists of targets lie where the specs lie, come and go with the targets, and are none of the specs.
#[test]
fn a_list_of_targets_beside_the_specs_is_no_spec() {
    let place = Place::new();
    let engine = fs::read_to_string(place.path("specs/slogate.toml")).expect("it is there");
    let scraped = "[[source]]\nname = \"app\"\n[source.scrape]\nfile_sd = [\"tg/*.toml\"]\n";
    fs::write(place.path("specs/slogate.toml"), engine + scraped).expect("written");
    fs::create_dir(place.path("specs/tg")).expect("a directory");
    let list = |target: &str| format!("[[group]]\ntargets = [\"{target}\"]\n");
    fs::write(place.path("specs/tg/a.toml"), list("127.0.0.1:1")).expect("written");
    let server = place.start();
    let targets = || place.get("/api/v1/sources/app")["targets"].as_array().map_or(0, Vec::len);
    until(&place, "the first target", || targets() == 1);
    fs::write(place.path("specs/tg/b.toml"), list("127.0.0.1:2")).expect("written");
    until(&place, "the second target", || targets() == 2);
    let reloads = |result: &str| metric(&place, &format!("slogate_specs_reloads_total{{result=\"{result}\"}}"));
    assert_eq!((reloads("accepted"), reloads("rejected"), &specs(&place)["rejected"]), (0.0, 0.0, &Value::Null));
    // And the specs are reloaded as ever.
    edit(&place, "shop.toml", "objective = 50.0\n", "objective = 60.0\n");
    until(&place, "the objective", || slo(&place, "shop/latency")["objective"] == 0.6);
    assert_eq!((reloads("accepted"), reloads("rejected")), (1.0, 0.0));
    assert!(server.stop().success());
}

#[test]
fn what_cannot_change_while_the_server_runs_is_refused() {
    let place = Place::new();
    let _server = place.start();
    let elsewhere = "127.0.0.1:1";
    place.write_engine(elsewhere, &place.path("logs/access.log*"), "");
    until(&place, "the refusal", || specs(&place)["rejected"].is_string());
    let file = place.path("specs/slogate.toml");
    let sentence = format!(
        "{}: [server] listen cannot change from {} to {elsewhere} while the server runs; restart it",
        file.display(),
        place.address
    );
    assert_eq!(specs(&place)["rejected"], sentence);
    assert_eq!(request(place.address, "GET", "/readyz", None).expect("an answer").0, 200);
}

#[test]
fn f17_a_log_that_is_written_during_many_reloads_is_counted_to_the_line() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(20_000);
    let server = place.start();
    let is_over = AtomicBool::new(false);
    edit(&place, "shop.toml", "99.0", "80.0");
    thread::scope(|scope| {
        let ending = Ending(&is_over);
        let writing = scope.spawn(|| {
            let mut writes = 0;
            while !is_over.load(Ordering::Relaxed) {
                log.write(50);
                writes += 1;
                if writes % 40 == 0 {
                    let rotated = format!("logs/access.log-{}", writes / 40);
                    fs::rename(place.log(), place.path(&rotated)).expect("renamed");
                    log.write(20);
                    log.reopen(&place.log());
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        // Readers never see a story without its SLOs, or an SLO twice.
        let reading = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let counted = Expected::counted(&place.get("/api/v1/status"));
                assert!(counted.slos.len() == 3, "{counted:?}");
            }
        });
        for edition in 0..EDITS {
            // Every one is another catalog, so that nothing can be left as it is.
            edit(&place, "shop.toml", &format!("{}.0", 80 + edition), &format!("{}.0", 81 + edition));
            (0..edition % 4 * 5).for_each(|_| hang_up(&server));
            if edition % 4 > 0 {
                hang_up(&server);
            }
            until(&place, "an edition", || {
                slo(&place, "shop/availability")["objective"] == (81 + edition) as f64 / 100.0
            });
        }
        drop(ending);
        writing.join().expect("the log was written");
        reading.join().expect("what was read was whole");
    });
    place.wait_for(&log.expected);
    assert!(server.stop().success());
    // What the store holds is the same.
    let _server = place.start();
    place.wait_for(&log.expected);
}

#[test]
fn f01_f17_no_crash_during_a_reload_loses_or_doubles_anything() {
    let place = Place::new();
    edit(&place, "shop.toml", "99.0", "80.0");
    let mut log = Log::open(&place.log());
    assert!(place.start().stop().success());
    for crash in 0..CRASHES {
        let server = place.start();
        log.write(5_000);
        edit(&place, "shop.toml", &format!("{}.0", 80 + crash), &format!("{}.0", 81 + crash));
        hang_up(&server);
        thread::sleep(Duration::from_millis(40 * crash as u64));
        assert!(server.kill().is_none(), "{}", place.words());
    }
    let _server = place.start();
    place.wait_for(&log.expected);
    // What was promised at any time follows from the audit, without a gap and without an entry too many. What the last
    // start has found is there once it is durable, which what is counted need not wait for.
    let promised = || {
        let audit = place.audit();
        let promises = audit.iter().filter(|entry| entry["action"] == "promise");
        promises.fold("80%".to_owned(), |before, entry| {
            let reason = entry["reason"].as_str().expect("a text");
            let after = reason.strip_prefix(&format!("shop/availability: {before} over 28d became ")).expect(reason);
            after.strip_suffix(" over 28d").expect(reason).to_owned()
        })
    };
    until(&place, "the last promise", || promised() == format!("{}%", 80 + CRASHES));
}

#[test]
fn a_gate_that_was_frozen_by_hand_stays_frozen() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(2_000);
    let _server = place.start();
    place.wait_for(&log.expected);
    for (order, service) in [("freeze", "search"), ("unfreeze", "api")] {
        let path = format!("/api/v1/gates/{service}/{order}");
        let (status, body) =
            request(place.address, "POST", &path, Some(&json!({ "reason": "by hand" }))).expect("an answer");
        assert_eq!(status, 200, "{body}");
    }
    let shown = || (place.gate("api"), place.gate("search"), place.audit());
    let before = shown();
    assert_eq!((before.0.0.as_str(), before.1.0.as_str()), ("guarded", "frozen"));
    edit(&place, "search.toml", "name = \"search\"", "name = \"search\"\ntitle = \"Find\"");
    until(&place, "the title", || slo(&place, "search/availability")["title"] == "Find");
    assert_eq!(shown(), before);
    // Not even a story that goes and comes back thaws it.
    fs::rename(place.path("specs/search.toml"), place.path("search.toml")).expect("renamed");
    until(&place, "its end", || {
        request(place.address, "GET", "/api/v1/gates/search", None).expect("an answer").0 == 404
    });
    fs::rename(place.path("search.toml"), place.path("specs/search.toml")).expect("renamed");
    until(&place, "its return", || {
        request(place.address, "GET", "/api/v1/gates/search", None).expect("an answer").0 == 200
    });
    assert_eq!(place.gate("search").2.as_deref(), Some("frozen by hand: by hand"));
    place.wait_for(&log.expected);
}

#[test]
fn i04_other_rules_leave_what_was_counted_and_say_since_when() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(2_000);
    let server = place.start();
    place.wait_for(&log.expected);
    // Nothing takes longer than 3 s, so that from now on everything is good.
    edit(&place, "shop.toml", "\"2s\"", "\"3s\"");
    until(&place, "the mark", || slo(&place, "shop/latency")["rules_changed"].is_string());
    let mark = slo(&place, "shop/latency")["rules_changed"].clone();
    assert_eq!(slo(&place, "shop/availability")["rules_changed"], Value::Null);
    place.wait_for(&log.expected);
    let (good, bad) = log.expected.slos["shop/latency"];
    log.write(1_000);
    let more = log.expected.slos["shop/availability"];
    log.expected.slos.insert("shop/latency".into(), (more.0 + more.1 - bad, bad));
    assert!(bad > 0 && more.0 + more.1 > good + bad);
    place.wait_for(&log.expected);
    let audit = place.audit();
    let rules = audit.iter().find(|entry| entry["action"] == "rules").expect("an entry");
    assert!(
        rules["reason"]
            .as_str()
            .is_some_and(|text| text.contains("good up to 2000000us; counted 100-599 became latency of lb")),
        "{rules}"
    );
    assert_eq!(rules["actor"]["principal"], "specs");
    // The mark is there as long as the window reaches back beyond it, also after a restart.
    assert!(server.stop().success());
    let _server = place.start();
    assert_eq!(slo(&place, "shop/latency")["rules_changed"], mark);
    place.wait_for(&log.expected);
}

#[test]
fn i05_i08_a_renamed_story_begins_anew_and_its_old_counts_are_found_under_the_old_name() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(1_000);
    let server = place.start();
    place.wait_for(&log.expected);
    let old = log.expected.clone();
    edit(&place, "shop.toml", "name = \"shop\"", "name = \"store\"");
    let counts = |name: &str| (slo(&place, name)["good"].clone(), slo(&place, name)["bad"].clone());
    until(&place, "the new name", || place.get("/api/v1/status")["stories"][1]["story"] == "store");
    assert_eq!(counts("store/availability"), (json!(0), json!(0)));
    assert_eq!(place.gate("api").0, "unknown");
    let before_rename = log.expected.slos.clone();
    log.write(1_000);
    let under_new = |slo: &str, log: &Log| {
        let ((good, bad), (old_good, old_bad)) = (log.expected.slos[slo], before_rename[slo]);
        (good - old_good, bad - old_bad)
    };
    let mut expected = log.expected.clone();
    for name in ["availability", "latency"] {
        let (old_name, new_name) = (format!("shop/{name}"), format!("store/{name}"));
        let tally = under_new(&old_name, &log);
        expected.slos.remove(&old_name);
        expected.slos.insert(new_name, tally);
    }
    place.wait_for(&expected);
    edit(&place, "shop.toml", "name = \"store\"", "name = \"shop\"");
    until(&place, "the old name", || place.get("/api/v1/status")["stories"][1]["story"] == "shop");
    let found = Expected::counted(&place.get("/api/v1/status"));
    for name in ["shop/availability", "shop/latency"] {
        assert_eq!(found.slos[name], old.slos[name]);
    }
    assert_eq!(found.records, log.expected.records);
    assert!(server.stop().success());
}

#[test]
fn a_source_may_come_and_go_and_goes_on_where_it_was() {
    let place = Place::new();
    let (mut log, mut other) = (Log::open(&place.log()), Log::behind(&place.path("logs/other.log"), 1_000_000));
    log.write(500);
    other.write(300);
    let server = place.start();
    place.wait_for(&log.expected);
    let engine = fs::read_to_string(place.path("specs/slogate.toml")).expect("it is there");
    let second = format!(
        "[[source]]\nname = \"other\"\n[source.file]\npaths = [\"{}\"]\nnginx = '{FORMAT}'\n",
        place.path("logs/other.log").display()
    );
    // A file at a time, as people do it: a source that no SLO is about, then an SLO.
    fs::write(place.path("specs/slogate.toml"), format!("{engine}{second}")).expect("written");
    let records = || place.get("/api/v1/status")["sources"][1]["records"].as_u64();
    until(&place, "the source", || records() == Some(other.expected.records));
    fs::write(
        place.path("specs/other.toml"),
        "[story]\nname = \"other\"\n[[slo]]\nname = \"availability\"\nobjective = 99.0\n[slo.availability]\n\
         source = \"other\"\nrequests = [\"GET /shop/{item}\"]\n",
    )
    .expect("written");
    let seen = |other: &Log, counted: (u64, u64)| {
        let mut expected = log.expected.clone();
        expected.slos.insert("other/availability".into(), counted);
        place.wait_for(&expected);
        until(&place, "the records", || records() == Some(other.expected.records));
    };
    let others = |other: &Log| other.expected.slos["shop/availability"];
    let first = others(&other);
    until(&place, "the story", || place.get("/api/v1/status")["stories"].as_array().expect("a list").len() == 3);
    seen(&other, (0, 0));
    other.write(200);
    let counted = |other: &Log| (others(other).0 - first.0, others(other).1 - first.1);
    seen(&other, counted(&other));

    fs::rename(place.path("specs/other.toml"), place.path("other.toml")).expect("renamed");
    fs::write(place.path("specs/slogate.toml"), &engine).expect("written");
    until(&place, "the end of the source", || {
        place.get("/api/v1/status")["sources"].as_array().expect("a list").len() == 1
    });
    place.wait_for(&log.expected);
    // What is written in the meantime waits.
    other.write(100);
    fs::rename(place.path("other.toml"), place.path("specs/other.toml")).expect("renamed");
    fs::write(place.path("specs/slogate.toml"), format!("{engine}{second}")).expect("written");
    until(&place, "the source", || records() == Some(other.expected.records));
    seen(&other, counted(&other));
    assert!(server.stop().success());
}

#[test]
fn a_renamed_source_reads_nothing_again() {
    let place = Place::new();
    let mut log = Log::open(&place.log());
    log.write(1_000);
    let server = place.start();
    place.wait_for(&log.expected);
    let rename = |from: &str, to: &str| {
        // Every state in between is refused or waits.
        for file in ["slogate.toml", "shop.toml", "search.toml"] {
            let text = fs::read_to_string(place.path("specs").join(file)).expect("it is there");
            let text = text.replace(&format!("\"{from}\""), &format!("\"{to}\""));
            fs::write(place.path("specs").join(file), text).expect("written");
        }
    };
    rename("lb", "front");
    until(&place, "the new name", || place.get("/api/v1/status")["sources"][0]["source"] == "front");
    place.wait_for(&log.expected);
    log.write(500);
    place.wait_for(&log.expected);
    assert_eq!(slo(&place, "shop/availability")["rules_changed"], Value::Null);
    // And not at a restart that brings the old name back either.
    assert!(server.stop().success());
    rename("front", "lb");
    let _server = place.start();
    log.write(500);
    place.wait_for(&log.expected);
    let audit = place.audit();
    let renamed = audit.iter().filter(|entry| entry["action"] == "renamed");
    let told: Vec<&str> = renamed.filter_map(|entry| entry["reason"].as_str()).collect();
    let [first, second] = ["front goes on where lb was", "lb goes on where front was"]
        .map(|text| format!("source {text}, with all that is kept of it"));
    // Each for both services.
    assert_eq!(told, [&first, &first, &second, &second]);
}

/// Puts one text in the place of another in a file of the specs, in one step.
#[track_caller]
fn edit(place: &Place, file: &str, from: &str, to: &str) {
    let path = place.path("specs").join(file);
    let text = fs::read_to_string(&path).expect("it is there");
    assert!(text.contains(from), "{text}");
    let draft = place.path("draft");
    fs::write(&draft, text.replacen(from, to, 1)).expect("written");
    fs::rename(draft, path).expect("renamed");
}

fn hang_up(server: &Server<'_>) {
    let sent = Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

fn specs(place: &Place) -> Value {
    place.get("/readyz")["specs"].clone()
}

fn slo(place: &Place, name: &str) -> Value {
    place.get(&format!("/api/v1/slos/{name}"))
}

/// The value of a metric.
#[track_caller]
fn metric(place: &Place, name: &str) -> f64 {
    let (_, text) = converse(place.address, "GET", "/metrics", &[], None).expect("metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("the metric").parse().expect("a number")
}
