//! `slogate gate`: may this service be deployed now?
//!
//! The line on stdout begins with the verdict, and the exit code is the verdict: allowed only when a server said so
//! about this very service and change, in a fresh answer whose parts agree with each other.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use slogate::document::DEFAULT_CHANGE;
use slogate::spec::printable;
use slogate::time::parse_duration_us;

use super::Exit;
use super::remote::{Answer, Question, Remote, ServerArgument, check_name};

pub(super) const HELP: &str = "\
Exit codes: 0 allowed; 1 denied; 2 wrong usage; 3 could not tell: the server cannot be reached, does not know the \
service, or has nothing sound to judge by. The line on stdout begins with `allow`, `deny` or `unknown`.";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The service to be deployed
    service: String,

    #[command(flatten)]
    server: ServerArgument,

    /// The kind of change; those that the gate exempts pass when others do not
    #[arg(long, value_name = "KIND", default_value = DEFAULT_CHANGE)]
    change: String,

    /// Ask again until the change is allowed, but no longer than this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,

    /// What to do when the server cannot be reached
    #[arg(long, value_name = "VERDICT", value_enum, default_value_t = OnUnreachable::Deny)]
    on_unreachable: OnUnreachable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnUnreachable {
    /// Exit with 3
    Deny,
    /// Exit with 0 and say so
    Allow,
}

/// How often somebody who waits asks.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often a server that cannot be reached is tried without --wait, and the pause between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// What the server repeats, so that an answer out of some cache is recognised.
const NONCE: HeaderName = HeaderName::from_static("x-slogate-nonce");

/// What is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Allow(String),
    Deny(String),
    /// There is an answer, but none to rely on.
    Unknown(String),
    /// There is none, now or until somebody mends something.
    Unreachable(String),
    /// Asking again would not help.
    Hopeless(String),
}

/// The parts of a gate that decide.
#[derive(Debug, Deserialize)]
struct Gate {
    service: String,
    change: String,
    level: String,
    allow: bool,
    reasons: Vec<Reason>,
}

#[derive(Debug, Deserialize)]
struct Reason {
    text: String,
}

/// Prints the verdict.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let names = [("a service", &arguments.service), ("a kind of change", &arguments.change)];
    if let Some(exit) = names.iter().find_map(|(what, name)| check_name(what, name).err()) {
        return exit;
    }
    let remote = match Remote::new(&arguments.server) {
        Ok(remote) => remote,
        Err(error) => {
            super::say(&error);
            return Exit::Usage;
        }
    };
    let verdict = remote.block_on(async {
        match arguments.wait {
            Some(longest) => ask_until_allowed(&remote, arguments, longest).await,
            None => ask_with_patience(&remote, arguments).await,
        }
    });
    tell(arguments, verdict)
}

fn tell(arguments: &Arguments, verdict: Verdict) -> Exit {
    let service = &arguments.service;
    let (word, why, exit) = match verdict {
        Verdict::Allow(why) => ("allow", why, Exit::Done),
        Verdict::Deny(why) => ("deny", why, Exit::Refused),
        Verdict::Unreachable(why) if arguments.on_unreachable == OnUnreachable::Allow => {
            ("allow", format!("{why}; allowed by --on-unreachable allow, not by the gate"), Exit::Done)
        }
        Verdict::Unknown(why) | Verdict::Unreachable(why) | Verdict::Hopeless(why) => ("unknown", why, Exit::Unsure),
    };
    super::print(&format!("{word} {service}: {why}\n"), exit)
}

/// Asks, and if there is no answer, a little later again.
async fn ask_with_patience(remote: &Remote, arguments: &Arguments) -> Verdict {
    let mut verdict = ask(remote, arguments).await;
    for _ in 1..TRIES {
        if !matches!(verdict, Verdict::Unreachable(_)) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        verdict = ask(remote, arguments).await;
    }
    verdict
}

/// Asks until the change is allowed; tells stderr what it waits for whenever that changes.
async fn ask_until_allowed(remote: &Remote, arguments: &Arguments, longest: Duration) -> Verdict {
    let mut verdict = ask(remote, arguments).await;
    let interval = INTERVAL.min(longest / 4).max(Duration::from_millis(100));
    let asking = async {
        let mut told = None;
        while !matches!(verdict, Verdict::Allow(_) | Verdict::Hopeless(_)) {
            let (Verdict::Deny(why) | Verdict::Unknown(why) | Verdict::Unreachable(why)) = &verdict else { break };
            if told.as_ref() != Some(why) {
                super::say(&format!("waiting: {why}"));
                told = Some(why.clone());
            }
            tokio::time::sleep(interval).await;
            verdict = ask(remote, arguments).await;
        }
    };
    // When the time is over, the newest verdict stands.
    let _ = tokio::time::timeout(longest, asking).await;
    verdict
}

async fn ask(remote: &Remote, arguments: &Arguments) -> Verdict {
    // Not a secret: it only has to differ from one question to the next.
    let nonce = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
    let path = ["gates", &arguments.service, "check"];
    let headers = HeaderValue::from_str(&nonce).into_iter().map(|nonce| (NONCE, nonce)).collect();
    let question = Question { query: &[("change", &arguments.change)], headers, ..Question::get(&path) };
    match remote.ask(&question).await {
        Ok(answer) => judge(&answer, arguments, &nonce),
        Err(why) => Verdict::Unreachable(why),
    }
}

/// What an answer says. An allow needs every part of it to agree; anything odd is no allow.
fn judge(answer: &Answer, arguments: &Arguments, nonce: &str) -> Verdict {
    let gate: Gate = match (answer.status, serde_json::from_str(&answer.body)) {
        (200 | 423 | 503, Ok(gate)) => gate,
        (404, _) => return Verdict::Hopeless(answer.problem()),
        (400..=499, _) if answer.status != 429 => return Verdict::Hopeless(answer.problem()),
        _ => return Verdict::Unreachable(answer.problem()),
    };
    if gate.service != arguments.service || gate.change != arguments.change {
        return Verdict::Unknown("the answer is about another service or kind of change".to_owned());
    }
    if answer.headers.get(NONCE).is_none_or(|repeated| repeated != nonce) {
        return Verdict::Unknown("the answer is not a fresh one; is there a cache on the way?".to_owned());
    }
    let level = gate.level.as_str();
    let reasons: Vec<String> = gate.reasons.iter().map(|reason| printable(&reason.text)).collect();
    let because = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    let why = format!("{} is {}{because}", arguments.change, standing(level, gate.allow));
    match (answer.status, gate.allow, level) {
        (200, true, "open" | "guarded" | "frozen" | "unknown") => Verdict::Allow(why),
        (423, false, "frozen") => Verdict::Deny(why),
        (503, false, "unknown") => Verdict::Unknown(why),
        _ => Verdict::Unknown("the answer contradicts itself".to_owned()),
    }
}

fn standing(level: &str, allow: bool) -> &'static str {
    match (level, allow) {
        ("open", true) => "allowed, the gate is open",
        ("guarded", true) => "allowed with care, the gate is guarded",
        ("frozen", true) => "allowed although the gate is frozen",
        ("unknown", true) => "allowed although the gate is unknown",
        ("frozen", false) => "held, the gate is frozen",
        _ => "held, the gate is unknown",
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration_us(text).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;

    /// Asserts what is made of an answer.
    #[track_caller]
    fn check(status: u16, body: &str, nonce: Option<&'static str>, allowed: bool, word: &str) {
        let headers: HeaderMap = nonce.map(|nonce| (NONCE, HeaderValue::from_static(nonce))).into_iter().collect();
        let arguments = Arguments {
            service: "api".into(),
            server: clap::Parser::try_parse_from(["x"]).map(|Server { server }| server).unwrap(),
            change: "feature".into(),
            wait: None,
            on_unreachable: OnUnreachable::Deny,
        };
        let verdict = judge(&Answer { status, headers, body: body.to_owned() }, &arguments, "n1");
        assert_eq!(matches!(verdict, Verdict::Allow(_)), allowed, "{verdict:?}");
        assert!(format!("{verdict:?}").contains(word), "{verdict:?}");
    }

    #[derive(clap::Parser)]
    struct Server {
        #[command(flatten)]
        server: ServerArgument,
    }

    fn gate(service: &str, change: &str, level: &str, allow: bool) -> String {
        let reasons = r#"[{"kind":"x","text":"be\u001bcause"}]"#;
        format!(
            r#"{{"service":"{service}","change":"{change}","level":"{level}","allow":{allow},"reasons":{reasons}}}"#
        )
    }

    #[test]
    fn only_an_answer_whose_parts_agree_allows() {
        let fresh = Some("n1");
        check(200, &gate("api", "feature", "open", true), fresh, true, "Allow");
        check(200, &gate("api", "feature", "frozen", true), fresh, true, "although");
        check(423, &gate("api", "feature", "frozen", false), fresh, false, "Deny");
        check(503, &gate("api", "feature", "unknown", false), fresh, false, "Unknown");
        check(200, &gate("api", "feature", "open", true), None, false, "fresh");
        check(200, &gate("api", "feature", "open", true), Some("n2"), false, "fresh");
        check(200, &gate("web", "feature", "open", true), fresh, false, "another");
        check(200, &gate("api", "fix", "open", true), fresh, false, "another");
        check(200, &gate("api", "feature", "open", false), fresh, false, "contradicts");
        check(200, &gate("api", "feature", "ajar", true), fresh, false, "contradicts");
        check(423, &gate("api", "feature", "open", true), fresh, false, "contradicts");
        check(200, "<html>welcome to the hotel</html>", fresh, false, "Unreachable");
        check(200, "{}", fresh, false, "Unreachable");
        check(404, r#"{"detail":"there is no service"}"#, fresh, false, "Hopeless(\"there is no service");
        check(400, "{}", fresh, false, "Hopeless");
        check(429, "{}", fresh, false, "Unreachable");
        check(502, "bad gateway", fresh, false, "Unreachable");
    }

    #[test]
    fn b22_a_reason_cannot_drive_a_terminal() {
        check(423, &gate("api", "feature", "frozen", false), Some("n1"), false, "be\\\\u{1b}cause");
    }
}
