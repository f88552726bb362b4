//! Which targets there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::listed;
use crate::intake::tail::names;
use crate::spec::{MOST_TARGETS, ScrapeSource, printable};

/// A file that lists targets is not longer than this, in bytes.
const LONGEST_LIST: u64 = 16 << 20;
/// How long a name may take to resolve.
const RESOLVING: Duration = Duration::from_secs(5);

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is called and kept under: its URL, behind a `#` the address when its name has several.
    pub key: String,
    /// What is asked for.
    pub url: Url,
    /// Where it is asked, if not where the name leads.
    pub address: Option<SocketAddr>,
}

/// Something that keeps targets from being found, or from being scraped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {why}")]
pub struct Trouble {
    /// Which file or name.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
    /// Whether targets may be missing from what was found, so that those that were found before stay.
    pub is_partial: bool,
}

/// The targets of one source, as they were found last.
#[derive(Debug)]
pub struct Discovery {
    source: ScrapeSource,
    /// The files that list targets, with how they looked when they were read and what they listed.
    files: BTreeMap<PathBuf, (Look, Vec<String>)>,
    /// The URLs whose names are resolved, with the addresses.
    resolved: BTreeMap<String, Vec<SocketAddr>>,
}

/// How a file looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    inode: (u64, u64),
    length: u64,
    changed: (i64, i64),
}

impl Discovery {
    /// Nothing is looked for yet.
    pub fn new(source: &ScrapeSource) -> Self {
        Self { source: source.clone(), files: BTreeMap::new(), resolved: BTreeMap::new() }
    }

    /// Whether it has names to resolve, which takes time.
    pub fn resolves(&self) -> bool {
        !self.source.dns.is_empty()
    }

    /// Resolves the names anew.
    pub async fn resolve(&mut self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for text in self.source.dns.clone() {
            match addresses(&text).await {
                Ok(addresses) => drop(self.resolved.insert(text, addresses)),
                Err(why) => troubles.push(Trouble { what: text, why, is_partial: true }),
            }
        }
        troubles
    }

    /// The targets, in one order and each once, after another look at the files.
    pub fn look(&mut self) -> (Vec<Endpoint>, Vec<Trouble>) {
        let mut troubles = self.read_files();
        let files = self.files.values().flat_map(|(_, urls)| urls);
        let plain = self.source.targets.iter().chain(files).filter_map(|text| Endpoint::of(text, None));
        let of_name = |(text, addresses): (&String, &Vec<SocketAddr>)| {
            addresses.iter().filter_map(|address| Endpoint::of(text, Some(*address))).collect::<Vec<_>>()
        };
        let mut known = BTreeSet::new();
        let all = plain.chain(self.resolved.iter().flat_map(of_name));
        let mut endpoints: Vec<Endpoint> = all.filter(|endpoint| known.insert(endpoint.key.clone())).collect();
        if endpoints.len() > MOST_TARGETS {
            let (many, left) = (endpoints.len(), endpoints.len() - MOST_TARGETS);
            let why = format!("are too many: the last {left} of them are not scraped; use several sources");
            troubles.push(Trouble { what: format!("the {many} targets of the source"), why, is_partial: false });
            endpoints.truncate(MOST_TARGETS);
        }
        (endpoints, troubles)
    }

    /// Reads the files again that look different. A list that cannot be read or is not one lists what it listed before,
    /// for editors write in steps.
    fn read_files(&mut self) -> Vec<Trouble> {
        let (mut paths, mut failed) = (BTreeSet::new(), Vec::new());
        self.source.file_sd.iter().for_each(|glob| names::expand(glob, &mut paths, &mut failed));
        let unlisted = failed.into_iter().map(|(path, error)| trouble(&path, &format!("cannot be listed: {error}")));
        let mut troubles: Vec<Trouble> = unlisted.collect();
        self.files.retain(|path, _| paths.contains(path) || !troubles.is_empty());
        for path in paths {
            if let Err(why) = self.read_file(&path) {
                troubles.push(trouble(&path, &why));
            }
        }
        troubles
    }

    fn read_file(&mut self, path: &Path) -> Result<(), String> {
        let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
        let mut file = File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        let look = Look {
            inode: (about.dev(), about.ino()),
            length: about.len(),
            changed: (about.ctime(), about.ctime_nsec()),
        };
        if self.files.get(path).is_some_and(|(known, _)| *known == look) {
            return Ok(());
        }
        if !about.is_file() || about.len() > LONGEST_LIST {
            return Err(format!("is no regular file of at most {LONGEST_LIST} bytes"));
        }
        let mut text = String::new();
        Read::by_ref(&mut file).take(LONGEST_LIST).read_to_string(&mut text).map_err(unreadable)?;
        let urls = listed::targets(path, &text).map_err(|why| format!("lists no targets: {why}"))?;
        self.files.insert(path.to_owned(), (look, urls));
        Ok(())
    }
}

fn trouble(path: &Path, why: &str) -> Trouble {
    Trouble { what: printable(&path.to_string_lossy()), why: why.to_owned(), is_partial: true }
}

impl Endpoint {
    /// The target of this URL, at this address when its name has several; `None` when it is no URL.
    pub fn of(text: &str, address: Option<SocketAddr>) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let key = address.map_or_else(|| text.to_owned(), |address| format!("{text}#{}", address.ip()));
        Some(Self { key, url, address })
    }
}

/// The addresses of the name in a URL, ascending.
async fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let found = tokio::time::timeout(RESOLVING, tokio::net::lookup_host((host.as_str(), port))).await;
    let found = found.map_err(|_| format!("is not resolved within {} s", RESOLVING.as_secs()))?;
    let mut addresses: Vec<SocketAddr> = found.map_err(|error| format!("cannot be resolved: {error}"))?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err("has no addresses".to_owned()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::spec::ScrapeLimits;

    fn source(targets: &[&str], file_sd: &[String], dns: &[&str]) -> ScrapeSource {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        ScrapeSource {
            targets: texts(targets),
            file_sd: file_sd.to_vec(),
            dns: texts(dns),
            interval_ms: 15_000,
            timeout_ms: 10_000,
            limits: ScrapeLimits { body_bytes: 1 << 20, samples: 1_000, labels: 64, label_bytes: 4_096 },
            ca_file: None,
            token: None,
            follow_redirects: false,
        }
    }

    fn keys(discovery: &mut Discovery) -> (Vec<String>, Vec<String>) {
        let (endpoints, troubles) = discovery.look();
        let troubles = troubles.iter().map(ToString::to_string);
        (endpoints.into_iter().map(|endpoint| endpoint.key).collect(), troubles.collect())
    }

    #[test]
    fn files_are_read_again_when_they_change_and_keep_their_targets_when_they_are_broken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.json");
        let glob = directory.path().join("*.json").display().to_string();
        let mut discovery = Discovery::new(&source(&["http://a:1/metrics"], &[glob], &[]));
        assert_eq!(keys(&mut discovery), (vec!["http://a:1/metrics".into()], vec![]));
        let write = |text: &str| {
            let new = directory.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, &path).unwrap();
        };
        write(r#"[{"targets":["a:1","b:1"]}]"#);
        let both = vec!["http://a:1/metrics".to_owned(), "http://b:1/metrics".to_owned()];
        assert_eq!(keys(&mut discovery), (both.clone(), vec![]));
        write("[{");
        let (targets, troubles) = keys(&mut discovery);
        assert_eq!((targets, troubles.len()), (both, 1));
        assert!(troubles[0].contains("lists no targets"), "{troubles:?}");
        write("[]");
        assert_eq!(keys(&mut discovery), (vec!["http://a:1/metrics".into()], vec![]));
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let mut discovery = Discovery::new(&source(&[], &["/no/such/list.json".into()], &[]));
        let troubles = keys(&mut discovery).1;
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        assert!(troubles[0].starts_with("/no/such/list.json cannot be read: No such file"), "{troubles:?}");
    }

    #[test]
    fn every_address_of_a_name_is_a_target() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut discovery = Discovery::new(&source(&[], &[], &["http://127.0.0.1:8080/metrics"]));
        assert!(runtime.block_on(discovery.resolve()).is_empty());
        assert_eq!(keys(&mut discovery).0, ["http://127.0.0.1:8080/metrics#127.0.0.1"]);
        let mut nowhere = Discovery::new(&source(&[], &[], &["http://no-such-name.invalid/metrics"]));
        assert_eq!(runtime.block_on(nowhere.resolve()).len(), 1);
        assert!(keys(&mut nowhere).0.is_empty());
    }

    #[test]
    fn targets_are_bounded() {
        let many: Vec<String> = (0..MOST_TARGETS + 5).map(|number| format!("http://t{number}/metrics")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (targets, troubles) = keys(&mut Discovery::new(&source(&many, &[], &[])));
        let words =
            "the 1005 targets of the source are too many: the last 5 of them are not scraped; use several sources";
        assert_eq!((targets.len(), troubles), (MOST_TARGETS, vec![words.to_owned()]));
    }
}
