//! The specs of the demo: those that the repository ships, pointed at the demo's own log, address and endpoint.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// The engine, in which four values are the demo's own.
const ENGINE: &str = include_str!("../../slo-specs/slogate.toml");
/// The address, the paths, the target and how often it is scraped in there.
const LISTEN: &str = r#""127.0.0.1:9999""#;
const PATHS: &str = r#""/var/log/nginx/access.log*""#;
const TARGET: &str = r#""http://127.0.0.1:9464/metrics""#;
const INTERVAL: &str = r#""15s""#;

/// The stories and journeys, as they are.
const STORIES: [(&str, &str); 8] = [
    ("browse.toml", include_str!("../../slo-specs/browse.toml")),
    ("buy.toml", include_str!("../../slo-specs/buy.toml")),
    ("category.toml", include_str!("../../slo-specs/category.toml")),
    ("checkout.toml", include_str!("../../slo-specs/checkout.toml")),
    ("detail.toml", include_str!("../../slo-specs/detail.toml")),
    ("home.toml", include_str!("../../slo-specs/home.toml")),
    ("profile.toml", include_str!("../../slo-specs/profile.toml")),
    ("search.toml", include_str!("../../slo-specs/search.toml")),
];

/// Where the demo itself is to be found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Where the service listens that exposes metrics.
    pub metrics: SocketAddr,
}

impl Places {
    /// The target that is scraped.
    pub(super) fn target(self) -> String {
        format!("http://{}/metrics", self.metrics)
    }
}

/// Writes the specs into `directory`, for a server that follows the logs in `../logs`.
pub(super) fn write(directory: &Path, places: Places) -> io::Result<()> {
    fs::create_dir(directory)?;
    fs::write(directory.join("slogate.toml"), engine(places))?;
    STORIES.iter().try_for_each(|(name, text)| fs::write(directory.join(name), text))
}

fn engine(places: Places) -> String {
    let text = ENGINE.replace(LISTEN, &format!("\"{}\"", places.listen)).replace(PATHS, "\"../logs/access.log*\"");
    text.replace(TARGET, &format!("\"{}\"", places.target())).replace(INTERVAL, "\"1s\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    #[test]
    fn the_demo_has_every_spec_that_is_shipped() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("slo-specs");
        let mut names: Vec<String> = fs::read_dir(shipped)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".toml") && name != "slogate.toml")
            .collect();
        names.sort();
        assert_eq!(names, STORIES.map(|(name, _)| name));
    }

    #[test]
    fn the_specs_differ_from_those_shipped_in_where_the_demo_is_alone() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("slo-specs");
        let places = Places { listen: ([127, 0, 0, 1], 4711).into(), metrics: ([127, 0, 0, 1], 4712).into() };
        write(&directory, places).unwrap();
        assert_eq!(spec::load(&directory).unwrap().catalog.server.listen.port(), 4711);
        let changed = engine(places);
        let both = || ENGINE.lines().zip(changed.lines());
        assert_eq!(changed.lines().count(), ENGINE.lines().count());
        let differing = both().filter(|(shipped, written)| shipped != written).map(|(_, written)| written);
        let differing: Vec<&str> = differing.map(|line| line.split("    #").next().unwrap()).collect();
        let expected = [
            "listen    = \"127.0.0.1:4711\"",
            "paths  = [\"../logs/access.log*\"]",
            "targets  = [\"http://127.0.0.1:4712/metrics\"]",
            "interval = \"1s\"",
        ];
        assert_eq!(differing, expected);
    }
}
