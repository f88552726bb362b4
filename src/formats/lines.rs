//! Lines into requests.

use super::exhaustive::Unread;
use super::fields::{self, Duration, Status, TimeReader};
use super::program::Spans;
use super::token::{Field, SLOTS};
use super::{Refused, Request, Target, Template, Unparsed};

/// The slots of [`Field::slot`] by name.
const TIME: usize = 0;
const STATUS: usize = 1;
const REQUEST_LINE: usize = 2;
const METHOD: usize = 3;
const TARGET: usize = 4;
const DURATION: usize = 5;
const HOST: usize = 6;
const _: () = assert!(Field::Host.slot() == HOST && SLOTS == HOST + 1);

/// Reads the lines of one source, one after the other.
#[derive(Clone, Debug)]
pub struct LineReader<'t> {
    template: &'t Template,
    times: TimeReader,
    /// The bare quotes of a line that has escapes; kept for its allocation.
    quotes: Vec<u32>,
}

impl<'t> LineReader<'t> {
    /// A reader of lines in this format.
    pub fn new(template: &'t Template) -> Self {
        Self { template, times: TimeReader::default(), quotes: Vec::new() }
    }

    /// Whether a line without its newline is complete, as far as its end tells.
    pub fn is_sure_to_end(&self, line: &[u8]) -> bool {
        self.template.is_sure_to_end(line)
    }

    /// How many bare quotes [`LineReader::read_indexed`] must be given.
    pub fn quotes(&self) -> Option<usize> {
        self.template.quotes()
    }

    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// The kind of what cannot be read soundly.
    pub fn read<'a>(&mut self, line: &'a [u8]) -> Result<Request<'a>, Refused> {
        let escaped = self.template.is_escaped();
        let Some(expected) = self.template.quotes() else { return self.read_found(line, line.len(), &[], 0, escaped) };
        let mut quotes = std::mem::take(&mut self.quotes);
        bare_quotes(line, &mut quotes);
        let read = match quotes.len() == expected {
            true => self.read_found(line, line.len(), &quotes, 0, escaped),
            false => Err(Refused::Unparsed(Unparsed::Layout)),
        };
        self.quotes = quotes;
        read
    }

    /// Reads a line of which only the beginning is there: what it gives is what the whole line would give. A duration
    /// that is not in it is `None`, and so is a host, unless `needs_host`. `None` when the rest is not certain.
    #[cold]
    pub fn read_beginning<'a>(&mut self, line: &'a [u8], needs_host: bool) -> Option<Request<'a>> {
        let mut quotes = std::mem::take(&mut self.quotes);
        bare_quotes(line, &mut quotes);
        let found = self.template.find_in_beginning(line, &quotes);
        self.quotes = quotes;
        let found = found?;
        let may_lack = |slot: usize| slot == DURATION || slot == HOST && !needs_host;
        let is_there = |slot: usize| self.template.field(slot).is_none() || found[slot].is_some() || may_lack(slot);
        let has_all = (0..SLOTS).all(is_there);
        let spans = has_all.then(|| found.map(Option::unwrap_or_default))?;
        self.request(line, line, &spans, true, found[DURATION].is_some()).ok()
    }

    /// Reads a line without backslashes, the first `length` bytes of `text`; its quotes, as many as
    /// [`LineReader::quotes`], stand at `quotes` less `base`. What follows the line in `text` is not looked at, but
    /// lets the bytes of the line be loaded in blocks.
    ///
    /// # Errors
    /// The kind of what cannot be read soundly.
    #[inline(always)]
    pub fn read_indexed<'a>(
        &mut self,
        text: &'a [u8],
        length: usize,
        quotes: &[u32],
        base: u32,
    ) -> Result<Request<'a>, Refused> {
        self.read_found(text, length, quotes, base, false)
    }

    #[inline(always)]
    fn read_found<'a>(
        &mut self,
        text: &'a [u8],
        length: usize,
        quotes: &[u32],
        base: u32,
        escaped: bool,
    ) -> Result<Request<'a>, Refused> {
        let line = &text[..length];
        let spans = self.template.spans(text, length, quotes, base).map_err(|unread| match unread {
            Unread::Layout => Refused::Unparsed(Unparsed::Layout),
            Unread::Ambiguous => Refused::Ambiguous,
        })?;
        self.request(text, line, &spans, escaped, true)
    }

    #[inline(always)]
    fn request<'a>(
        &mut self,
        text: &'a [u8],
        line: &'a [u8],
        spans: &Spans,
        escaped: bool,
        has_duration: bool,
    ) -> Result<Request<'a>, Refused> {
        let bytes = |slot: usize| &line[spans[slot].0 as usize..spans[slot].1 as usize];
        let Some(Field::Time(notation)) = self.template.field(TIME) else { return Err(Unparsed::Layout.into()) };
        let at = self.times.read(notation, bytes(TIME)).ok_or(Unparsed::Time)?;
        let status = match fields::status(bytes(STATUS)) {
            Status::Code(code) => code,
            Status::None => return Err(Unparsed::NoStatus.into()),
            Status::Invalid => return Err(Unparsed::Status.into()),
        };
        let duration = match self.template.field(DURATION).filter(|_| has_duration) {
            Some(Field::Duration(unit)) => fields::duration(unit, bytes(DURATION)),
            Some(Field::DurationList(unit)) => fields::duration_list(unit, bytes(DURATION)),
            _ => Duration::None,
        };
        let duration_us = match duration {
            Duration::Micros(us) => Some(us),
            Duration::None => None,
            Duration::Invalid => return Err(Unparsed::Duration.into()),
        };
        let (method, target) = match self.template.field(REQUEST_LINE) {
            Some(_) => fields::request_line(bytes(REQUEST_LINE)),
            None => (bytes(METHOD), bytes(TARGET)),
        };
        let target = Target::within(text, target, escaped);
        Ok(Request { at, method, target, host: bytes(HOST), status, duration_us })
    }
}

/// The places of the quotes that stand behind no backslash.
fn bare_quotes(line: &[u8], quotes: &mut Vec<u32>) {
    quotes.clear();
    let mut passed = 0;
    for at in memchr::memchr2_iter(b'"', b'\\', line) {
        match line[at] {
            _ if at < passed => {}
            b'\\' => passed = at + 2,
            _ => quotes.push(at as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time"#;

    fn template(text: &str) -> Template {
        Template::nginx(text, true).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Reads `line` and shows what came of it.
    fn shown(template: &Template, line: &[u8]) -> String {
        match LineReader::new(template).read(line) {
            Ok(request) => format!(
                "{} {} {:?} {} {} {:?}",
                request.at,
                request.method.escape_ascii(),
                request.target,
                request.host.escape_ascii(),
                request.status,
                request.duration_us
            ),
            Err(refused) => format!("{refused:?}"),
        }
    }

    #[test]
    fn lines_are_read_or_refused_with_a_kind() {
        let timed = template(TIMED);
        let head = r#"10.0.0.1 - - [20/Nov/2026:10:12:58 +0000] "GET /a?b=c HTTP/1.1""#;
        let read = "2026-11-20T10:12:58Z GET /a?b=c  200 Some(123000)";
        for (line, expected) in [
            (format!(r#"{head} 200 5 "-" "curl" 0.123"#), read),
            (format!(r#"{head} 200 5 "-" "a \x22 b\\" 0.123"#), read),
            (format!(r#"{head} 200 5 "-" "a \" b" 0.123"#), read),
            (format!(r#"{head} 200 5 "-" "a " b" 0.123"#), "Unparsed(Layout)"),
            (format!(r#"{head} 200 5 "-" "curl" 0.123 "more""#), "Unparsed(Layout)"),
            (format!(r#"{head} 200 5 "-" "curl""#), "Unparsed(Layout)"),
            (format!(r#"{head} 20x 5 "-" "curl" 0.123"#), "Unparsed(Layout)"),
            (format!(r#"{head} 600 5 "-" "curl" 0.123"#), "Unparsed(Status)"),
            (format!(r#"{head} 000 5 "-" "curl" 0.123"#), "Unparsed(NoStatus)"),
            (format!(r#"{head} - 5 "-" "curl" 0.123"#), "Unparsed(NoStatus)"),
            (format!(r#"{head} 200 5 "-" "curl" -"#), "2026-11-20T10:12:58Z GET /a?b=c  200 None"),
            (format!(r#"{head} 200 5 "-" "curl" -1"#), "Unparsed(Duration)"),
            (format!(r#"{head} 200 5 "-" "curl" 0.12.3"#), "Unparsed(Duration)"),
            (head.replace("20/Nov", "31/Nov") + r#" 200 5 "-" "curl" 0.123"#, "Unparsed(Time)"),
            (String::new(), "Unparsed(Layout)"),
            ("\u{feff}nonsense".to_owned(), "Unparsed(Layout)"),
        ] {
            assert_eq!(shown(&timed, line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn b06_a_user_name_moves_no_field() {
        let timed = template(TIMED);
        for user in ["-", "a b", "x [20/Nov/2026:09:00:00 +0000] ", "] [", r"\x22GET / HTTP/1.1\x22 500 1", "- - -"] {
            let line =
                format!(r#"10.0.0.1 - {user} [20/Nov/2026:10:12:58 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl" 0.123"#);
            assert_eq!(shown(&timed, line.as_bytes()), "2026-11-20T10:12:58Z GET /a  200 Some(123000)", "{line}");
        }
    }

    #[test]
    fn b01_b08_b09_what_clients_send_moves_no_field() {
        let timed = template(TIMED);
        for (request, expected) in [
            (r"GET /\x22 200 5 \x22-\x22 HTTP/1.1", r"GET /\\x22 200 5 \\x22-\\x22"),
            (r"\x16\x03\x01\x02", " "),
            ("", " "),
            (r"G\x00ET / HTTP/1.1", " "),
            ("GET /\u{17e} HTTP/1.1", r"GET /\xc5\xbe"),
        ] {
            let line = format!(r#"::1 - - [20/Nov/2026:10:12:58 +0000] "{request}" 400 0 "-" "-" 0.000"#);
            assert_eq!(shown(&timed, line.as_bytes()), format!("2026-11-20T10:12:58Z {expected}  400 Some(0)"));
        }
        let mut invalid = br#"::1 - - [20/Nov/2026:10:12:58 +0000] "GET /x HTTP/1.1" 500 0 "-" "-" 0.000"#.to_vec();
        invalid[6] = 0xFF;
        assert!(shown(&timed, &invalid).contains(" 500 "));
    }

    #[test]
    fn formats_of_every_order_and_notation_are_read() {
        for (format, line, expected) in [
            (
                r#"escape=json {"t":"$time_iso8601","m":"$request_method","u":"$request_uri","s":$status,"d":"$upstream_response_time","h":"$http_host"}"#,
                r#"{"t":"2026-11-20T10:12:58+00:00","m":"GET","u":"/a\"b","s":200,"d":"0.100, 0.200","h":"a\\"}"#,
                r#"2026-11-20T10:12:58Z GET /a\\\"b a\\\\ 200 Some(300000)"#,
            ),
            (
                "$status|$request_time|$msec|$request_method|$request_uri",
                "200|0.500|1795169578.250|GET|/a|b c",
                "2026-11-20T10:12:58.250Z GET /a|b c  200 Some(500000)",
            ),
            (
                r#""$http_user_agent" $request_time $remote_user [$time_local] $status "$request""#,
                r#""x" 0.001 a b [20/Nov/2026:10:12:58 +0000] 204 "PUT / HTTP/2.0""#,
                "2026-11-20T10:12:58Z PUT /  204 Some(1000)",
            ),
            (
                "escape=none $status [$time_local] $request_method $request_uri",
                "204 [20/Nov/2026:10:12:58 +0000] GET /\" 500 \"",
                "2026-11-20T10:12:58Z GET /\\\" 500 \\\"  204 None",
            ),
            (
                // Several free values side by side, none of them needed.
                r#"$http_a $http_b $remote_user [$time_local] "$request" $status"#,
                r#"1 2 3 4 [20/Nov/2026:10:12:58 +0000] "GET / HTTP/1.1" 200"#,
                "2026-11-20T10:12:58Z GET /  200 None",
            ),
            (
                // A number among free values: it must be looked for.
                r#"$http_a $pid $remote_user [$time_local] "$request" $status"#,
                r#"1 2 3 4 [20/Nov/2026:10:12:58 +0000] "GET / HTTP/1.1" 200"#,
                "2026-11-20T10:12:58Z GET /  200 None",
            ),
        ] {
            assert_eq!(shown(&template(format), line.as_bytes()), expected, "{format}");
        }
        // The host of a hostile client, and an upstream with an IPv6 address.
        let json = template(
            r#"escape=json {"h":"$host","a":"$upstream_addr","t":"$time_iso8601","r":"$request","s":$status}"#,
        );
        let line =
            br#"{"h":"a\"b","a":"[::1]:80, [::2]:80","t":"2026-11-20T10:12:58+00:00","r":"GET / HTTP/1.1","s":500}"#;
        assert_eq!(shown(&json, line), r#"2026-11-20T10:12:58Z GET / a\\\"b 500 None"#);
        // Of several statuses and durations the final and the finest count.
        let several = Template::apache(r#"%s %>s %t "%r" %T %{ms}T %D"#, false).unwrap();
        let line = br#"200 500 [20/Nov/2026:10:12:58 +0000] "GET / HTTP/1.1" 0 900 900000"#;
        assert_eq!(shown(&several, line), "2026-11-20T10:12:58Z GET /  500 Some(900000)");
        assert!(!Template::apache(r#"%>s %t "%r" %T"#, false).unwrap().has_duration());
        let apache = Template::apache(r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D"#, false).unwrap();
        let line = r#"10.0.0.1 - a [20/Nov/2026:10:12:58 +0100] "GET /a HTTP/1.1" 200 5 "-" "a \" b" 1234"#;
        assert_eq!(shown(&apache, line.as_bytes()), "2026-11-20T09:12:58Z GET /a  200 Some(1234)");
    }

    #[test]
    fn a15_a_line_without_its_newline_is_complete_only_if_its_end_says_so() {
        let (timed, combined) = (template(TIMED), Template::preset("combined").unwrap());
        let apache = Template::apache(r#"%t "%r" %>s %D"#, false).unwrap();
        for (template, end, expected) in [
            (&timed, "12.345", true),
            (&timed, "12.34", false),
            (&timed, "12.", false),
            (&timed, "12", false),
            (&combined, "\"curl\"", true),
            (&apache, "900", false),
        ] {
            assert_eq!(template.is_sure_to_end(end.as_bytes()), expected, "{end}");
        }
    }

    #[test]
    fn b02_b04_a_line_with_two_readings_is_ambiguous() {
        let open = template(concat!("escape=none ", r#"[$time_local] "$request" $status "$http_user_agent""#));
        let line = |request: &str, status: &str, agent: &str| {
            format!(r#"[20/Nov/2026:10:12:58 +0000] "{request}" {status} "{agent}""#)
        };
        let plain = line("GET / HTTP/1.1", "500", "x");
        assert_eq!(shown(&open, plain.as_bytes()), "2026-11-20T10:12:58Z GET /  500 None");
        for forged in [line(r#"GET /" 200 "- HTTP/1.1"#, "500", "x"), line("GET / HTTP/1.1", "500", r#"u" 200 "z"#)] {
            assert_eq!(shown(&open, forged.as_bytes()), "Ambiguous", "{forged}");
        }
    }

    #[test]
    fn b03_forgeable_formats_are_refused_with_a_safe_one() {
        for (format, name) in [
            (concat!("escape=none ", r#""$request" $status [$time_local] "$http_user_agent""#), "$status"),
            ("$http_a $status [$time_local] $request", "$status"),
        ] {
            let error = Template::nginx(format, false).unwrap_err();
            assert!(error.message.contains("can forge"), "{error}");
            assert!(error.message.contains("escape=json"), "{error}");
            assert_eq!(format.find(name), Some(error.at), "{format}");
        }
        let error = Template::nginx("$remote_addr [$time_local]", false).unwrap_err();
        assert!(error.message.contains("$status and the request"), "{error}");
    }

    /// Formats that can be read both ways, for the comparison of the two readers.
    const COMPARED: &[&str] = &[
        TIMED,
        r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent"#,
        r#"{"t":"$time_iso8601","r":"$request","s":$status,"d":"$upstream_response_time"}"#,
        "$status|$request_time|$msec|$request_uri",
        r#"$http_c $http_d "$request" $http_b [$time_local] $status"#,
        r#"escape=none $status $msec $request"#,
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_compiled_reader_reads_what_the_exhaustive_one_reads(
            which in 0..COMPARED.len(),
            pieces in prop::collection::vec(prop_oneof![
                Just("\""), Just("\\"), Just("\\\""), Just(" "), Just("|"), Just("-"), Just(" - "), Just("200"), Just("0.5"), Just("["), Just("]"),
                Just("20/Nov/2026:10:12:58 +0000"), Just("1795169578.1"), Just("GET / HTTP/1.1"), Just("x"), Just("\" "), Just(" \"")
            ], 0..6),
            at in prop::collection::vec(any::<prop::sample::Index>(), 6),
            valid in any::<bool>(),
        ) {
            let template = template(COMPARED[which]);
            let mut line = String::new();
            if valid {
                line = COMPARED[which].replace("escape=none ", "").replace("$status", "500").replace("$msec", "1795169578.1")
                    .replace("$time_local", "20/Nov/2026:10:12:58 +0000").replace("$time_iso8601", "2026-11-20T10:12:58+00:00")
                    .replace("$request_time", "0.1").replace("$upstream_response_time", "0.1, 0.2").replace("$request_uri", "/a")
                    .replace("$request", "GET / HTTP/1.1").replace("$remote_addr", "::1").replace("$body_bytes_sent", "7").replace('$', "");
            }
            for (piece, at) in pieces.iter().zip(&at) {
                line.insert_str(at.index(line.len() + 1), piece);
            }
            let compiled = LineReader::new(&template).read(line.as_bytes());
            let mut reader = LineReader::new(&template);
            let exhaustive = match template.spans_exhaustively(line.as_bytes()) {
                Ok(spans) => reader.request(line.as_bytes(), line.as_bytes(), &spans, true, true),
                Err(_) => Err(Refused::Unparsed(Unparsed::Layout)),
            };
            prop_assert!(template.has_program(), "{}", COMPARED[which]);
            prop_assert_eq!(compiled.ok(), exhaustive.ok(), "{}", line);
        }
    }
}
