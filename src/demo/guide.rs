//! The guide: asks the demo's server, as anybody would, until it has read the whole history.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Gate, Stop};

/// How often the server is asked.
const GLANCE: Duration = Duration::from_millis(50);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The status of the demo's specs has far fewer bytes.
const LONGEST_ANSWER: u64 = 1 << 20;

/// The gates as they stand once `lines` lines have been read; `None` when told to stop before.
pub(super) fn gates_after(address: SocketAddr, lines: u64, stop: &Stop) -> Option<Vec<Gate>> {
    while !stop.is_told() {
        // A server that is busy is asked again.
        if let Ok(status) = status(address)
            && status["sources"][0]["records"].as_u64() >= Some(lines)
        {
            return Some(gates(&status));
        }
        thread::sleep(GLANCE);
    }
    None
}

fn status(address: SocketAddr) -> io::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /api/v1/status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(serde_json::from_str(body)?)
}

fn gates(status: &Value) -> Vec<Gate> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let gate = |gate: &Value| {
        let first = &gate["reasons"][0];
        let reasons = gate["reasons"].as_array()?.iter().filter_map(|reason| text(&reason["text"]));
        Some(Gate {
            service: text(&gate["service"])?,
            level: text(&gate["level"])?,
            allow: gate["allow"].as_bool()?,
            reasons: reasons.collect(),
            slo: text(&first["story"]).zip(text(&first["slo"])),
        })
    };
    status["gates"].as_array().into_iter().flatten().filter_map(gate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn gates_are_taken_from_the_status_with_the_slo_of_their_first_reason() {
        let reason = json!({ "kind": "budget_spent", "story": "profile", "slo": "p99", "text": "spent" });
        let status = json!({ "gates": [
            { "service": "api", "level": "frozen", "allow": false, "reasons": [reason, { "text": "more" }] },
            { "service": "web", "level": "open", "allow": true, "reasons": [] },
            { "service": "half of a gate" },
        ] });
        let api = Gate {
            service: "api".into(),
            level: "frozen".into(),
            allow: false,
            reasons: vec!["spent".into(), "more".into()],
            slo: Some(("profile".into(), "p99".into())),
        };
        let web = Gate { service: "web".into(), level: "open".into(), allow: true, reasons: Vec::new(), slo: None };
        assert_eq!(gates(&status), [api, web]);
        assert_eq!(gates(&json!({})), []);
    }

    #[test]
    fn nobody_is_asked_by_a_guide_that_was_told_to_stop() {
        let stop = Stop::default();
        stop.tell();
        // Nobody listens there.
        assert_eq!(gates_after(([127, 0, 0, 1], 1).into(), 1, &stop), None);
    }
}
