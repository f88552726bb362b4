//! Which routes no SLO is about: an estimate for people who wonder why their SLO counts nothing.

use std::collections::HashMap;

/// The most frequent unmatched routes, in bounded memory.
///
/// Paths are reduced to routes by replacing what looks like an identifier. Counting follows Misra and Gries ("Finding
/// repeated elements", 1982): with `k` counters every route that makes up more than 1/(k+1) of the notes is kept. Of
/// many notes only some are taken, since a log can consist of nothing else.
#[derive(Clone, Debug, Default)]
pub struct Unmatched {
    seen: u64,
    counts: HashMap<String, u64>,
}

/// How many routes are kept.
const COUNTERS: usize = 256;
/// The first of a source are all noted, then one in so many.
const ALL_OF_THE_FIRST: u64 = 2_000;
const THEN_ONE_IN: u64 = 61;
/// Longer paths are cut, in bytes.
const LONGEST: usize = 120;

impl Unmatched {
    /// Notes a request that matched nothing.
    #[inline]
    pub fn note(&mut self, method: &[u8], target: &[u8]) {
        self.seen += 1;
        if self.seen <= ALL_OF_THE_FIRST || self.seen.is_multiple_of(THEN_ONE_IN) {
            self.count(route(method, target), if self.seen <= ALL_OF_THE_FIRST { 1 } else { THEN_ONE_IN });
        }
    }

    /// Adds `times` notes of a route.
    pub fn count(&mut self, route: String, times: u64) {
        if let Some(count) = self.counts.get_mut(&route) {
            *count += times;
        } else if self.counts.len() < COUNTERS {
            self.counts.insert(route, times);
        } else {
            self.counts.retain(|_, count| {
                *count = count.saturating_sub(times);
                *count > 0
            });
        }
    }

    /// Hands over the routes noted so far, in no order.
    pub fn take(&mut self) -> Vec<(String, u64)> {
        self.counts.drain().collect()
    }

    /// The `most` most frequent routes, most frequent first, equal ones by name.
    pub fn top(&self, most: usize) -> Vec<(&str, u64)> {
        let mut routes: Vec<_> = self.counts.iter().map(|(route, count)| (route.as_str(), *count)).collect();
        routes.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(a.cmp(b)));
        routes.truncate(most);
        routes
    }
}

/// `GET /user/{}/orders`: the method and the path, without its query string and with identifiers replaced.
#[cold]
fn route(method: &[u8], target: &[u8]) -> String {
    if method.is_empty() && target.is_empty() {
        return "(no request line)".to_owned();
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let path = &path[..path.len().min(LONGEST)];
    let segments: Vec<String> = path
        .split(|byte| *byte == b'/')
        .map(|segment| match looks_like_an_identifier(segment) {
            true => "{}".to_owned(),
            false => segment.escape_ascii().to_string(),
        })
        .collect();
    format!("{} {}", method.escape_ascii(), segments.join("/"))
}

/// A segment with a digit in it (numbers, UUIDs, hashes), or a long one.
fn looks_like_an_identifier(segment: &[u8]) -> bool {
    let version = matches!(segment, [b'v', digits @ ..] if digits.len() < 3 && digits.iter().all(u8::is_ascii_digit));
    !version && (segment.len() > 32 || segment.iter().any(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_routes() {
        for (method, target, expected) in [
            ("GET", "/api/v2/user/123/orders?token=secret", "GET /api/v2/user/{}/orders"),
            ("GET", "/x/0f8fad5b-d9cb-469f-a165-70867728950e", "GET /x/{}"),
            ("GET", "/\u{1b}[31m", "GET /{}"),
            ("PUT", "/\u{1b}", "PUT /\\x1b"),
            ("", "", "(no request line)"),
        ] {
            assert_eq!(route(method.as_bytes(), target.as_bytes()), expected);
        }
    }

    #[test]
    fn j01_ten_thousand_paths_do_not_push_out_the_frequent_one() {
        let mut unmatched = Unmatched::default();
        for number in 0..10_000_u32 {
            let rare: String = number.to_string().bytes().map(|digit| (digit + 49) as char).collect();
            unmatched.count(format!("GET /{rare}"), 1);
            unmatched.count("GET /frequent".to_owned(), 1);
        }
        assert!(unmatched.counts.len() <= COUNTERS);
        assert_eq!(unmatched.top(1)[0].0, "GET /frequent");
    }
}
