//! The specs of the demo: those that the repository ships, pointed at the demo's own log and address.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// The engine, in which two values are the demo's own.
const ENGINE: &str = include_str!("../../slo-specs/slogate.toml");
/// The address and the paths in there.
const LISTEN: &str = r#""127.0.0.1:9999""#;
const PATHS: &str = r#""/var/log/nginx/access.log*""#;

/// The stories and journeys, as they are.
const STORIES: [(&str, &str); 6] = [
    ("browse.toml", include_str!("../../slo-specs/browse.toml")),
    ("category.toml", include_str!("../../slo-specs/category.toml")),
    ("detail.toml", include_str!("../../slo-specs/detail.toml")),
    ("home.toml", include_str!("../../slo-specs/home.toml")),
    ("profile.toml", include_str!("../../slo-specs/profile.toml")),
    ("search.toml", include_str!("../../slo-specs/search.toml")),
];

/// Writes the specs into `directory`, for a server at `listen` that follows the logs in `../logs`.
pub(super) fn write(directory: &Path, listen: SocketAddr) -> io::Result<()> {
    fs::create_dir(directory)?;
    fs::write(directory.join("slogate.toml"), engine(listen))?;
    STORIES.iter().try_for_each(|(name, text)| fs::write(directory.join(name), text))
}

fn engine(listen: SocketAddr) -> String {
    ENGINE.replace(LISTEN, &format!("\"{listen}\"")).replace(PATHS, "\"../logs/access.log*\"")
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
    fn the_specs_differ_from_those_shipped_in_address_and_paths_alone() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("slo-specs");
        write(&directory, "127.0.0.1:4711".parse().unwrap()).unwrap();
        assert_eq!(spec::load(&directory).unwrap().catalog.server.listen.port(), 4711);
        let changed = engine("127.0.0.1:4711".parse().unwrap());
        let differing: Vec<&str> = changed.lines().filter(|line| !ENGINE.contains(line)).collect();
        assert_eq!(differing, ["listen    = \"127.0.0.1:4711\"", "paths  = [\"../logs/access.log*\"]"]);
        assert_eq!(changed.lines().count(), ENGINE.lines().count());
    }
}
