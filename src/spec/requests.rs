//! The small languages inside strings: request patterns, hosts and sets of statuses.
//!
//! A pattern is matched against the request line as it was logged, so nothing is normalised here: percent-encoding,
//! trailing slashes and case of the path are compared as they are. Whatever looks like a placeholder but is none is
//! still literal, with a warning, because such a path may exist.

use super::catalog::{HostRule, Methods, Pattern, Segment, Statuses};
use super::fault::{did_you_mean, quoted};

const LONGEST_PATTERN: usize = 2_000;
const LONGEST_HOST: usize = 253;

/// Reads `METHOD[,METHOD] PATH`.
///
/// # Errors
/// A sentence about the first thing that is wrong.
pub(super) fn pattern(text: &str) -> Result<Pattern, String> {
    if text.len() > LONGEST_PATTERN {
        return Err(format!("the pattern {} is longer than {LONGEST_PATTERN} bytes", quoted(text)));
    }
    if text.starts_with('/') {
        return Err(format!("{} has no method; write \"GET {text}\", or \"* {text}\" for any method", quoted(text)));
    }
    let Some((names, path)) = text.split_once(' ') else {
        return Err(format!("{} is not a pattern such as \"GET /profile/{{user}}\"", quoted(text)));
    };
    let path = path.trim_start_matches(' ');
    Ok(Pattern { text: text.to_owned(), methods: methods(names)?, segments: segments(path)? })
}

/// The literal segments of a pattern that were probably meant to be something else.
pub(super) fn doubtful(pattern: &Pattern) -> impl Iterator<Item = String> {
    pattern.segments.iter().filter_map(|segment| match segment {
        Segment::Literal(bytes) if bytes.contains(&b'{') || bytes.contains(&b'}') => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
        Segment::Literal(_) | Segment::Any | Segment::Rest => None,
    })
}

fn methods(text: &str) -> Result<Methods, String> {
    if text == "*" {
        return Ok(Methods::Any);
    }
    let mut named: Vec<String> = Vec::new();
    for method in text.split(',') {
        match method {
            "" => return Err(format!("a method is missing in {}; write for example \"GET,HEAD\"", quoted(text))),
            "*" => return Err("`*` means any method; it stands alone".to_owned()),
            _ if !method.bytes().all(is_token) || method.len() > 40 => {
                return Err(format!("{} is not an HTTP method", quoted(method)));
            }
            _ if method.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                let upper = method.to_ascii_uppercase();
                return Err(format!("methods are upper-case{}", did_you_mean(method, [upper.as_str()])));
            }
            _ if named.iter().any(|known| known == method) => {
                return Err(format!("the method {} is listed twice", quoted(method)));
            }
            _ => named.push(method.to_owned()),
        }
    }
    Ok(Methods::Named(named))
}

/// A `tchar` of RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn segments(path: &str) -> Result<Vec<Segment>, String> {
    if path.contains("://") {
        return Err(format!("{} is not a path; name the host in `hosts` and begin the path with `/`", quoted(path)));
    }
    let Some(inside) = path.strip_prefix('/') else {
        return Err(format!("the path {} does not begin with `/`", quoted(path)));
    };
    if path.contains(['?', '#']) {
        let why = "paths are matched without their query string and fragment";
        return Err(format!("the path {} has a `?` or `#`; {why}", quoted(path)));
    }
    if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("the path {} has white space or control characters in it", quoted(path)));
    }
    let last = inside.split('/').count() - 1;
    inside.split('/').enumerate().map(|(number, text)| segment(text, number == last)).collect()
}

fn segment(text: &str, is_last: bool) -> Result<Segment, String> {
    let inside = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    match inside {
        Some("" | "*") => Err(format!("{} needs a name, such as {{user}} or a last {{*rest}}", quoted(text))),
        Some(inside) => match inside.strip_prefix('*') {
            Some(name) if is_name(name) && is_last => Ok(Segment::Rest),
            Some(name) if is_name(name) => Err(format!("{} is only allowed as the last segment", quoted(text))),
            None if is_name(inside) => Ok(Segment::Any),
            Some(_) | None => Ok(Segment::Literal(text.as_bytes().into())),
        },
        None => Ok(Segment::Literal(text.as_bytes().into())),
    }
}

/// Whether a text can be the name of a story, an SLO, a source, a service or a placeholder: names become parts of URLs
/// and values of labels.
pub fn is_name(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    (1..=64).contains(&text.len()) && plain && text.bytes().any(|byte| byte != b'.')
}

/// Reads a rule of `hosts`: an exact name or `*.suffix`.
///
/// # Errors
/// A sentence about what is wrong.
pub(super) fn host(text: &str) -> Result<HostRule, String> {
    let lower = text.to_ascii_lowercase();
    let (is_suffix, name) = match lower.strip_prefix('*') {
        Some(suffix) => (true, suffix),
        None => (false, lower.as_str()),
    };
    let is_address = !is_suffix && name.starts_with('[') && name.ends_with(']');
    let refuse = |why: &str| Err(format!("the host {} {why}", quoted(text)));
    match name {
        "" if is_suffix => refuse("means any host; leave `hosts` out instead"),
        "" => refuse("is empty"),
        _ if name.len() > LONGEST_HOST => refuse("is longer than 253 bytes"),
        _ if name.contains("://") || name.contains('/') => {
            refuse("is not a bare name; leave the scheme and the path out")
        }
        _ if is_address && is_ipv6(name) => Ok(HostRule::Exact(lower)),
        _ if name.contains(':') => refuse("has a port; hosts are compared without their ports"),
        _ if name.contains('*') => refuse("has a `*` that is not at its beginning"),
        _ if !name.is_ascii() => refuse("is not ASCII; write its punycode form, xn--..."),
        _ if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) => {
            refuse("has characters that no host has")
        }
        _ if is_suffix && (!name.starts_with('.') || name.len() == 1) => refuse("is not of the form `*.suffix`"),
        _ if is_suffix => Ok(HostRule::Suffix(name.to_owned())),
        _ => Ok(HostRule::Exact(lower)),
    }
}

fn is_ipv6(bracketed: &str) -> bool {
    bracketed.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok()
}

/// Reads `2xx`, `404` or `400-428`.
///
/// # Errors
/// A sentence about what is wrong.
pub(super) fn statuses(text: &str) -> Result<Statuses, String> {
    const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    if let Some(class) = CLASSES.iter().zip(1..).find_map(|(name, class)| (*name == text).then_some(class)) {
        return Ok(Statuses::range(class * 100, class * 100 + 99));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Statuses::range(first, last)),
        (Some(_), Some(_)) => Err(format!("the range {} is empty{}", quoted(text), did_you_mean_range(first, last))),
        _ => {
            let help = did_you_mean(text, CLASSES);
            Err(format!(
                "{} is not a status (100 to 599), a class such as \"2xx\" or a range such as \"400-428\"{help}",
                quoted(text)
            ))
        }
    }
}

fn did_you_mean_range(first: &str, last: &str) -> String {
    format!("; did you mean `{last}-{first}`?")
}

fn status(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|status| digits && (100..=599).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.as_bytes().into())
    }

    #[test]
    fn patterns_are_methods_and_segments() {
        let get = || Methods::Named(vec!["GET".to_owned()]);
        for (text, methods, segments) in [
            ("GET /", get(), vec![literal("")]),
            ("GET /profile/{user}", get(), vec![literal("profile"), Segment::Any]),
            ("GET /profile/{user}/", get(), vec![literal("profile"), Segment::Any, literal("")]),
            ("GET,HEAD /a", Methods::Named(vec!["GET".to_owned(), "HEAD".to_owned()]), vec![literal("a")]),
            ("* /static/{*rest}", Methods::Any, vec![literal("static"), Segment::Rest]),
            (
                "M-SEARCH   /a//b",
                Methods::Named(vec!["M-SEARCH".to_owned()]),
                vec![literal("a"), literal(""), literal("b")],
            ),
            ("GET /%7Eme/{id}.json", get(), vec![literal("%7Eme"), literal("{id}.json")]),
            ("GET /{a{b}", get(), vec![literal("{a{b}")]),
        ] {
            let pattern = pattern(text).unwrap();
            assert_eq!((&pattern.methods, &pattern.segments), (&methods, &segments), "{text}");
            assert_eq!(pattern.text, text);
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (text, why) in [
            ("", "is not a pattern"),
            ("GET", "is not a pattern"),
            ("/profile", "write \"GET /profile\", or \"* /profile\""),
            ("get /", "did you mean `GET`?"),
            ("GET, HEAD /", "a method is missing"),
            ("GET,* /", "stands alone"),
            ("GET,GET /", "twice"),
            ("G(T /", "is not an HTTP method"),
            ("GET profile", "does not begin with `/`"),
            ("GET http://example.com/", "`hosts`"),
            ("GET /a?b=1", "query string"),
            ("GET /a#b", "fragment"),
            ("GET /a b", "white space"),
            ("GET /a\u{7}", "control characters"),
            ("GET /{}", "needs a name"),
            ("GET /{*}", "needs a name"),
            ("GET /{*rest}/more", "only allowed as the last segment"),
        ] {
            let error = pattern(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(pattern(&format!("GET /{}", "x".repeat(3_000))).is_err());
    }

    #[test]
    fn braces_inside_a_literal_are_doubtful() {
        let doubts = |text: &str| doubtful(&pattern(text).unwrap()).collect::<Vec<_>>();
        assert_eq!(doubts("GET /{id}.json/{id}/x}"), ["{id}.json", "x}"]);
        assert!(doubts("GET /{id}/{*rest}").is_empty());
    }

    #[test]
    fn hosts_are_names_without_case_port_or_scheme() {
        assert_eq!(host("Shop.Example.COM"), Ok(HostRule::Exact("shop.example.com".to_owned())));
        assert_eq!(host("*.example.com"), Ok(HostRule::Suffix(".example.com".to_owned())));
        assert_eq!(host("[::1]"), Ok(HostRule::Exact("[::1]".to_owned())));
        for (text, why) in [
            ("", "is empty"),
            ("*", "leave `hosts` out"),
            ("*.", "*.suffix"),
            ("*example.com", "*.suffix"),
            ("a.*.com", "not at its beginning"),
            ("example.com:80", "port"),
            ("https://example.com", "scheme"),
            ("example.com/a", "path"),
            ("exa mple.com", "characters"),
            ("bücher.de", "punycode"),
        ] {
            let error = host(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn statuses_are_classes_numbers_and_ranges() {
        for (text, expected) in [("2xx", "200-299"), ("404", "404"), ("400-428", "400-428"), ("599", "599")] {
            assert_eq!(statuses(text).unwrap().to_string(), expected);
        }
        for text in ["", "6xx", "99", "600", "2XX", "20x", "0404", "+404", "400-", "400-399", "400-499-500", "２００"]
        {
            assert!(statuses(text).is_err(), "{text}");
        }
        assert!(statuses("2XX").unwrap_err().ends_with("did you mean `2xx`?"));
        assert!(statuses("428-400").unwrap_err().ends_with("did you mean `400-428`?"));
    }

    #[test]
    fn names_fit_urls_and_labels() {
        for name in ["a", "shop.web-1_x", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
