//! `slogate freeze` and `slogate unfreeze`: what a person orders a gate to do.

use clap::Args;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use slogate::spec::printable;
use slogate::time::Timestamp;

use super::Exit;
use super::remote::{Question, Remote, ServerArgument, check_name};

pub(super) const HELP: &str = "\
The token comes from the variable SLOGATE_TOKEN; the audit also names SLOGATE_ACTOR, or USER.
Exit codes: 0 done, and everybody who asks the gate from now on is told so; 1 refused; 2 wrong usage; 3 the server \
cannot be reached, does not know the service, or could not write the order down.";

#[derive(Args, Debug)]
pub(super) struct Freeze {
    #[command(flatten)]
    order: Order,

    /// A kind of change that passes all the same; may be given several times
    #[arg(long, value_name = "KIND")]
    exempt: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Unfreeze {
    #[command(flatten)]
    order: Order,
}

#[derive(Args, Debug)]
struct Order {
    /// The service whose gate is meant
    service: String,

    #[command(flatten)]
    server: ServerArgument,

    /// Why; it is shown with the gate and kept in the audit
    #[arg(long, value_name = "REASON")]
    reason: String,

    /// When the order ends by itself
    #[arg(long, value_name = "RFC3339", value_parser = Timestamp::parse_rfc3339)]
    until: Option<Timestamp>,
}

/// The parts of the answer that are told.
#[derive(Debug, Deserialize)]
struct Done {
    level: String,
    audit: Option<u64>,
}

/// Who somebody says they are.
const ACTOR: HeaderName = HeaderName::from_static("x-slogate-actor");

/// Freezes a gate.
pub(super) fn freeze(arguments: &Freeze) -> Exit {
    let more = (!arguments.exempt.is_empty()).then(|| ("exempt".to_owned(), json!(arguments.exempt)));
    order(&arguments.order, "freeze", more.into_iter().collect())
}

/// Holds an automatic freeze off, or ends one by hand.
pub(super) fn unfreeze(arguments: &Unfreeze) -> Exit {
    order(&arguments.order, "unfreeze", Map::new())
}

fn order(order: &Order, verb: &str, mut body: Map<String, Value>) -> Exit {
    if let Err(exit) = check_name("a service", &order.service) {
        return exit;
    }
    body.insert("reason".to_owned(), json!(order.reason));
    if let Some(until) = order.until {
        body.insert("until".to_owned(), json!(until));
    }
    let sent = Remote::new(&order.server).and_then(|remote| Ok((headers(&remote)?, remote)));
    let (headers, remote) = match sent {
        Ok(sent) => sent,
        Err(error) => {
            super::say(&error);
            return Exit::Usage;
        }
    };
    let path = ["gates", &order.service, verb];
    let question = Question { method: Method::POST, path: &path, query: &[], headers, body: Some(Value::Object(body)) };
    let answer = match remote.block_on(remote.ask(&question)) {
        Ok(answer) => answer,
        Err(error) => {
            super::say(&error);
            return Exit::Unsure;
        }
    };
    match (answer.status, serde_json::from_str::<Done>(&answer.body)) {
        (200, Ok(Done { level, audit })) => {
            let audit = audit.map_or("the audit follows when the store can be written".to_owned(), |number| {
                format!("audit entry {number}")
            });
            let line = format!("{}: the gate is {} now ({audit})\n", order.service, printable(&level));
            super::print(&line, Exit::Done)
        }
        (400..=499, _) => {
            super::say(&answer.problem());
            if answer.status == 404 { Exit::Unsure } else { Exit::Refused }
        }
        _ => {
            super::say(&answer.problem());
            Exit::Unsure
        }
    }
}

fn headers(remote: &Remote) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let token = remote.authorization()?.map(|token| (AUTHORIZATION, token));
    let name =
        ["SLOGATE_ACTOR", "USER"].iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    let fits = |name: &String| name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let actor = name.filter(fits).and_then(|name| HeaderValue::from_str(&name).ok()).map(|name| (ACTOR, name));
    Ok(token.into_iter().chain(actor).collect())
}
