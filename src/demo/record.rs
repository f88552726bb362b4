//! Records: what one request leaves in an access log, as nginx writes it.

use std::io::Write;
use std::net::IpAddr;

use chrono::DateTime;

use crate::time::{Minute, Timestamp};

/// nginx's `combined` with the duration of the request at its end.
pub const FORMAT: &str = concat!(
    r#"$remote_addr - $remote_user [$time_local] "$request" "#,
    r#"$status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time"#
);

/// One request, once it was answered. The texts are what nginx would write: escaped where they need to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was answered; the log has whole seconds.
    pub at: Timestamp,
    /// Who asked.
    pub client: IpAddr,
    /// The request line.
    pub request: String,
    /// What was answered.
    pub status: u16,
    /// The length of the body.
    pub bytes: u64,
    /// Where the client came from.
    pub referer: &'static str,
    /// What the client says it is.
    pub agent: &'static str,
    /// How long it took.
    pub duration_ms: u64,
}

/// Writes records as lines of [`FORMAT`]. It keeps the text of the newest minute, which most records share.
#[derive(Debug, Default)]
pub struct Printer {
    minute: Option<Minute>,
    text: String,
}

impl Printer {
    /// Appends the line of `record` to `out`, with its newline.
    pub fn print(&mut self, record: &Record, out: &mut Vec<u8>) {
        let minute = record.at.minute();
        if self.minute != Some(minute) {
            let time = DateTime::from_timestamp_millis(minute.start().millis()).unwrap_or_default();
            self.text = time.format("%d/%b/%Y:%H:%M:").to_string();
            self.minute = Some(minute);
        }
        let seconds = (record.at.millis() - minute.start().millis()) / 1_000;
        let Record { client, request, status, bytes, referer, agent, duration_ms, .. } = record;
        let (took_s, took_ms) = (duration_ms / 1_000, duration_ms % 1_000);
        let text = &self.text;
        writeln!(
            out,
            "{client} - - [{text}{seconds:02} +0000] \"{request}\" {status} {bytes} \"{referer}\" \"{agent}\" \
             {took_s}.{took_ms:03}"
        )
        .expect("memory takes every line");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_written_as_nginx_writes_it() {
        let mut record = Record {
            at: Timestamp::parse_rfc3339("2026-11-20T10:12:07.900Z").unwrap(),
            client: [198, 18, 0, 7].into(),
            request: "GET /profile/48213 HTTP/1.1".to_owned(),
            status: 200,
            bytes: 1_234,
            referer: "-",
            agent: "curl/8.5.0",
            duration_ms: 1_042,
        };
        let (mut printer, mut out) = (Printer::default(), Vec::new());
        printer.print(&record, &mut out);
        (record.at, record.duration_ms) = (record.at.plus_millis(60_000), 7);
        printer.print(&record, &mut out);
        let lines = "198.18.0.7 - - [20/Nov/2026:10:12:07 +0000] \"GET /profile/48213 HTTP/1.1\" 200 1234 \"-\" \
                     \"curl/8.5.0\" 1.042\n\
                     198.18.0.7 - - [20/Nov/2026:10:13:07 +0000] \"GET /profile/48213 HTTP/1.1\" 200 1234 \"-\" \
                     \"curl/8.5.0\" 0.007\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
    }
}
