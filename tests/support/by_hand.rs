//! The shipped specs by hand: lines split at quotes, as one would do it with awk.

use std::collections::BTreeMap;

/// Good and bad of the request-counting SLOs of the shipped specs.
pub fn by_hand(log: &str) -> BTreeMap<&'static str, (u64, u64)> {
    let mut counts: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    for line in log.lines() {
        let parts: Vec<&str> = line.split('"').collect();
        let status: u16 = parts[2].split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let millis: u64 = parts[6].trim().replace('.', "").parse().expect("a duration");
        let Some((path, _)) = parts[1].strip_prefix("GET ").and_then(|rest| rest.rsplit_once(" HTTP/")) else {
            continue;
        };
        let segments: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').skip(1).collect();
        let (availability, latency, threshold) = match segments[..] {
            [""] => ("home/availability", "home/latency", 300),
            ["search"] => ("search/availability", "search/latency", 800),
            ["category", name] if !name.is_empty() => ("category/availability", "category/latency", 500),
            ["product", id] if !id.is_empty() => ("detail/availability", "detail/latency", 400),
            ["profile", user] if !user.is_empty() => ("profile/availability", "profile/latency", 500),
            ["profile", user, "avatar"] if !user.is_empty() => ("profile/availability", "", 0),
            _ => continue,
        };
        let mut add = |slo, good: bool| {
            let (goods, bads) = counts.entry(slo).or_default();
            *if good { goods } else { bads } += 1;
        };
        // Of a product page that nobody waited for, nothing is known.
        if (availability, status) != ("detail/availability", 499) {
            add(availability, status < 500);
        }
        // A search that fails is not counted as a fast one.
        if !latency.is_empty() && (latency != "search/latency" || (200..300).contains(&status)) {
            add(latency, millis <= threshold);
        }
    }
    counts
}
