//! The beginning of a line whose end was cut off, because the line is longer than what is kept of one.
//!
//! A client decides how long its lines are: nobody is to get rid of an error by a user agent of 70 kB. Where the server
//! escapes, a bare quote comes from the format, so the quotes of the beginning tell in which stretch of the format (see
//! [`super::program`]) it was cut. All stretches before that are whole, and are read as in a whole line. Of the one
//! that was cut, only what the whole line would be read from the left for is read, and only if it surely ends there.
//!
//! - What is found is what the whole line gives, if that has the format at all. Whether it has, its end would tell.
//! - Where quotes mean nothing (`escape=none`), or a line can be read in two ways, nothing is certain without the end.

use super::nginx::Escape;
use super::program::{Program, Spans};
use super::token::{Field, SLOTS, Shape, Token, cut_at_quotes};

/// Reads the beginnings of lines of one format.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// What stands between the quotes of the format.
    stretches: Vec<Vec<Token>>,
    /// By the number of its quotes: reads a beginning up to the last of them.
    whole: Vec<Program>,
}

/// The fields of a beginning: where each is; `None` when it is not in it, or not surely whole.
pub type Found = [Option<(u32, u32)>; SLOTS];

impl Beginning {
    /// Compiles the beginnings of a format in which values are escaped and every field has one reading. `None` when
    /// that is not so of one of them.
    pub fn compile(tokens: &[Token]) -> Option<Self> {
        let stretches = cut_at_quotes(tokens);
        let mut before = Vec::new();
        let mut whole = vec![Program::compile(&before, Escape::Backslash).ok()?];
        for stretch in &stretches[..stretches.len() - 1] {
            before.extend(stretch.iter().cloned());
            before.push(Token::Literal(b"\"".to_vec()));
            whole.push(Program::compile(&before, Escape::Backslash).ok()?);
        }
        Some(Self { stretches, whole })
    }

    /// The fields of a line that begins like this, and whose bare quotes, as far as it goes, stand at `quotes`. `None`
    /// when no line of the format does.
    pub fn read(&self, line: &[u8], quotes: &[u32]) -> Option<Found> {
        let length = quotes.last().map_or(0, |quote| *quote as usize + 1);
        let spans = self.whole.get(quotes.len())?.run(&line[..length], length, quotes, 0)?;
        let mut found = self.in_whole_stretches(quotes.len(), &spans);
        read_cut(&self.stretches[quotes.len()], line, length, &mut found);
        Some(found)
    }

    fn in_whole_stretches(&self, stretches: usize, spans: &Spans) -> Found {
        let mut found = Found::default();
        for token in self.stretches[..stretches].iter().flatten() {
            if let Some(slot) = slot_of(token) {
                found[slot] = Some(spans[slot]);
            }
        }
        found
    }
}

fn slot_of(token: &Token) -> Option<usize> {
    match token {
        Token::Variable(variable) => variable.field.map(Field::slot),
        Token::Literal(_) => None,
    }
}

/// Reads a stretch that begins at `at` and was cut, as far as it is certain.
fn read_cut(stretch: &[Token], line: &[u8], mut at: usize, found: &mut Found) {
    for (place, token) in stretch.iter().enumerate() {
        let end = match token {
            Token::Literal(text) => line[at..].starts_with(text).then_some(at + text.len()),
            Token::Variable(variable) => end_of_value(variable.shape, stretch.get(place + 1), line, at),
        };
        let Some(end) = end else { return };
        if let Some(slot) = slot_of(token) {
            found[slot] = Some((at as u32, end as u32));
        }
        at = end;
    }
}

/// Where the value at `at` ends, if that is certain whatever was cut off. One of any length ends where something of the
/// text behind it stands.
fn end_of_value(shape: Shape, behind: Option<&Token>, line: &[u8], at: usize) -> Option<usize> {
    let text = match behind {
        Some(Token::Literal(text)) => text.as_slice(),
        _ => &[],
    };
    let end = match shape {
        Shape::Fixed(length) => at + length,
        Shape::Run(class) if text.first().is_some_and(|byte| !class.contains(*byte)) => class.run(line, at, line.len()),
        Shape::Run(_) | Shape::Free => return None,
    };
    let rest = line.get(end..)?;
    let is_sure = matches!(shape, Shape::Fixed(_)) || !rest.is_empty();
    (is_sure && (rest.starts_with(text) || text.starts_with(rest))).then_some(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::formats::{LineReader, Template};

    /// Formats, and a line of each: from the `~` on, which is no part of it, its beginnings are enough.
    const LINES: &[(&str, &str)] = &[
        (
            "combined",
            r#"::1 - a b [20/Nov/2026:10:12:58 +0000] "GET /a\x22 200 HTTP/1.1" 500 ~7 "-" "agent \x22 500 1 \" b""#,
        ),
        ("common", r#"::1 - - [20/Nov/2026:10:12:58 +0000] "GET /a HTTP/1.1" 500 ~7"#),
        (
            r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time"#,
            r#"::1 - a [20/Nov/2026:10:12:58 +0000] "PUT / HTTP/1.1" 500 ~7 "https://x" "u" 0.123"#,
        ),
        (
            r#"$status $request_time [$time_local] "$request" "$http_user_agent""#,
            r#"500 0.250 [20/Nov/2026:10:12:58 +0000] "GET /a HTTP/1.1"~ "u""#,
        ),
        (
            r#"escape=json {"h":"$host","t":"$time_iso8601","r":"$request","s":$status,"d":$request_time,"a":"$http_user_agent"}"#,
            r#"{"h":"a.example","t":"2026-11-20T10:12:58+00:00","r":"GET /\"s\":200 HTTP/1.1","s":500,~"d":0.100,"a":"u"}"#,
        ),
        (
            r#"[$time_local] "$request" $http_x $status "$http_user_agent""#,
            r#"[20/Nov/2026:10:12:58 +0000] "GET / HTTP/1.1" a b c 500 "~u""#,
        ),
        // What is needed stands at the end, or is found from there.
        ("$request_method|$msec|$status|$request_time|$request_uri", "GET|1795169578.250|500|0.5|/a|b"),
        (
            r#"[$time_local] "$request" "$http_user_agent" $http_x $status"#,
            r#"[20/Nov/2026:10:12:58 +0000] "GET / HTTP/1.1" "u" a b c 500"#,
        ),
        ("escape=none $status [$time_local] $request_method $request_uri", "500 [20/Nov/2026:10:12:58 +0000] GET /"),
    ];

    fn template(text: &str) -> Template {
        Template::preset(text).unwrap_or_else(|| Template::nginx(text, false).unwrap())
    }

    /// What a beginning of this length gives: everything but the duration, and that.
    fn read(template: &Template, line: &[u8], needs_host: bool) -> Option<(String, Option<u64>)> {
        let request = LineReader::new(template).read_beginning(line, needs_host)?;
        let shown = format!("{} {} {:?} {}", request.at, request.method.escape_ascii(), request.target, request.status);
        Some((shown, request.duration_us))
    }

    fn whole(template: &Template, line: &[u8]) -> (String, Option<u64>) {
        let request = LineReader::new(template).read(line).unwrap();
        let shown = format!("{} {} {:?} {}", request.at, request.method.escape_ascii(), request.target, request.status);
        (shown, request.duration_us)
    }

    #[test]
    fn a16_a_beginning_that_holds_the_status_is_read_and_no_shorter_one_is() {
        for (format, line) in LINES {
            let (template, least) = (template(format), line.find('~'));
            let line = line.replace('~', "");
            let enough = |length: &usize| read(&template, &line.as_bytes()[..*length], true).is_some();
            assert_eq!((0..=line.len()).find(enough), least, "{format}");
        }
    }

    #[test]
    fn a16_a_duration_counts_when_it_is_whole_and_a_host_when_it_is_needed() {
        let json = template(
            r#"escape=json {"t":"$time_iso8601","r":"$request","s":$status,"d":$request_time,"h":"$host","u":"$http_user_agent"}"#,
        );
        let line =
            r#"{"t":"2026-11-20T10:12:58+00:00","r":"GET /a HTTP/1.1","s":503,"d":0.123,"h":"a.example","u":"x"}"#;
        let shown = "2026-11-20T10:12:58Z GET /a 503".to_owned();
        for (end, without_host, with_host) in [
            (r#""s":503"#, None, None),
            (r#""s":503,"#, Some(None), None),
            (r#""d":0.12"#, Some(None), None),
            (r#""d":0.123"#, Some(None), None),
            (r#""d":0.123,"#, Some(Some(123_000)), None),
            (r#""h":"a.example"#, Some(Some(123_000)), None),
            (r#""h":"a.example""#, Some(Some(123_000)), Some(Some(123_000))),
        ] {
            let beginning = &line.as_bytes()[..line.find(end).unwrap() + end.len()];
            let expected = |duration: Option<Option<u64>>| duration.map(|duration| (shown.clone(), duration));
            assert_eq!(read(&json, beginning, false), expected(without_host), "{end}");
            assert_eq!(read(&json, beginning, true), expected(with_host), "{end}");
        }
    }

    #[test]
    fn a16_what_departs_from_the_format_is_not_read() {
        let timed = template(LINES[2].0);
        let line = r#"::1 - a [20/Nov/2026:10:12:58 +0000] "GET / HTTP/1.1" 500 7 "https://x" "uuuuuuu"#;
        assert!(read(&timed, line.as_bytes(), true).is_some());
        for (from, to) in [
            ("500", "50x"),
            ("500", "600"),
            ("500", "-"),
            ("20/Nov", "31/Nov"),
            (" - a", " + a"),
            ("7 ", "x "),
            ("https", "\""),
            ("uu", "\" 1 \""),
            ("1.1\"", "1.1"),
        ] {
            assert_eq!(read(&timed, line.replacen(from, to, 1).as_bytes(), true), None, "{from} {to}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
        /// Whatever clients send and wherever a line is cut: its beginning gives what the line gives, or nothing; and
        /// once it gives something, every longer one does.
        #[test]
        fn a16_a_beginning_gives_what_the_whole_line_gives_or_nothing(
            which in 0..LINES.len(),
            status in prop_oneof![Just("200"), Just("404"), Just("500"), Just("503")],
            agent in prop::collection::vec(
                prop_oneof![
                    Just("\\\""), Just("\\x22"), Just("\\\\"), Just(" "), Just("-"), Just(" 200 "), Just("0.5"), Just("["),
                    Just("]"), Just("GET / HTTP/1.1"), Just("x"), Just(","), Just(":"), Just("|")
                ],
                0..12,
            ),
        ) {
            let (format, line) = LINES[which];
            let template = template(format);
            let agent = agent.concat();
            let line = line.replace('~', "").replace("500", status).replace("\"u\"", &format!("\"{agent}\""));
            let expected = whole(&template, line.as_bytes());
            let mut was_read = false;
            for length in 0..=line.len() {
                match read(&template, &line.as_bytes()[..length], true) {
                    Some((shown, duration)) => {
                        was_read = true;
                        prop_assert_eq!(&shown, &expected.0, "{} at {}", line, length);
                        prop_assert!(duration.is_none() || duration == expected.1, "{} at {}", line, length);
                    }
                    None => prop_assert!(!was_read, "{} at {}", line, length),
                }
            }
        }
    }
}
