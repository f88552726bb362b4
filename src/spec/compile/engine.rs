//! `slogate.toml`: the server, the store and the sources.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::scrape;
use super::value::{self, Bounds};
use crate::formats::{Template, TemplateError};
use crate::spec::catalog::{FileSource, Secret, Server, Source, SourceKind, Start, StoreUrl};
use crate::spec::fault::{At, Faults, did_you_mean, listed, quoted};
use crate::spec::table::{Field, Texts};
use crate::spec::written;

const LISTEN: &str = "127.0.0.1:9999";
const STORE: &str = "slogate.redb";
const MOST_SOURCES: usize = 100;
const MOST_PATHS: usize = 1_000;
const MAX_LINE: i64 = 65_536;
/// A line shorter than this is cut before its status, one longer is no line.
const MAX_LINE_BOUNDS: Bounds =
    Bounds { places: 0, least: 1_024, most: 16_777_216, words: "between 1024 and 16777216" };

/// The engine's parts; `None` for those with faults.
pub(super) struct Compiled {
    pub server: Option<Server>,
    pub store: Option<StoreUrl>,
    pub sources: Vec<Option<Source>>,
}

/// Compiles the engine's file but for its gates.
pub(super) fn compile(directory: &Path, written: &written::Engine, faults: &Faults<'_>) -> Compiled {
    let sources = written.sources.required(faults).map(|at| sources(directory, at, faults));
    Compiled {
        server: server(directory, written, faults),
        store: written.store_url.or(StoreUrl::Redb(directory.join(STORE)), |at| store(directory, at, faults)),
        sources: sources.unwrap_or_default(),
    }
}

fn server(directory: &Path, written: &written::Engine, faults: &Faults<'_>) -> Option<Server> {
    let default = LISTEN.parse().ok()?;
    let listen = written.listen.or(default, |at| listen(at, faults));
    let token = token(directory, &written.token_env, &written.token_file, faults);
    let has_token = !(written.token_env.is_absent() && written.token_file.is_absent());
    if let (Some(at), Some(address), false) = (written.listen.given(), listen, has_token)
        && !address.ip().is_loopback()
    {
        let why = "is not a loopback address, so `token_env` or `token_file` must name a token";
        faults.missing(at.place, format!("{} {why}", quoted(&at.value)));
    }
    Some(Server { listen: listen?, token: token? })
}

/// Where a token comes from, if it is said; one place at most.
pub(super) fn token(
    directory: &Path,
    token_env: &Field<String>,
    token_file: &Field<String>,
    faults: &Faults<'_>,
) -> Option<Option<Secret>> {
    let env = token_env.or(None, |at| env(at, faults).map(Some));
    let file = token_file.or(None, |at| path(directory, at, "token_file", faults).map(Secret::File).map(Some));
    if let (Some(_), Some(second)) = (token_env.given(), token_file.given()) {
        faults.error(second.place, "`token_env` and `token_file` both say where the token is; keep one");
    }
    Some(env?.or(file?))
}

fn listen(at: &At<String>, faults: &Faults<'_>) -> Option<SocketAddr> {
    let parsed = at.value.parse().ok();
    if parsed.is_none() {
        let local = at.value.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let every = at.value.strip_prefix(':').map(|port| format!("0.0.0.0:{port}"));
        let meant = local.or(every).filter(|address| address.parse::<SocketAddr>().is_ok());
        let help = meant.map(|address| format!("; did you mean {}?", quoted(&address))).unwrap_or_default();
        let text = quoted(&at.value);
        faults.error(at.place, format!("{text} is not an address and a port such as \"{LISTEN}\"{help}"));
    }
    parsed
}

fn env(at: &At<String>, faults: &Faults<'_>) -> Option<Secret> {
    let name = &at.value;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && name.starts_with(|c: char| !c.is_ascii_digit()) && name.len() <= 128 {
        return Some(Secret::Env(name.clone()));
    }
    // The text is not repeated: somebody may have put the secret itself here.
    let why = "is not the name of an environment variable; secrets themselves are never written in specs";
    faults.error(at.place, format!("`token_env` {why}"));
    None
}

/// A path to one file, relative to the directory of specs.
pub(super) fn path(directory: &Path, at: &At<String>, key: &str, faults: &Faults<'_>) -> Option<PathBuf> {
    if at.value.is_empty() || at.value.ends_with('/') || at.value.contains(char::is_control) {
        faults.error(at.place, format!("`{key}` {} is not a path to a file", quoted(&at.value)));
        return None;
    }
    Some(directory.join(&at.value))
}

fn store(directory: &Path, at: &At<String>, faults: &Faults<'_>) -> Option<StoreUrl> {
    match at.value.split_once(':') {
        Some(("redb", file)) => {
            let file = At { value: file.to_owned(), place: at.place };
            path(directory, &file, "url", faults).map(StoreUrl::Redb)
        }
        other => {
            // Of another store's URL only the scheme is repeated: what follows may hold a password.
            let typed = other.map_or(quoted(&at.value), |(scheme, _)| quoted(&format!("{scheme}:...")));
            let only = format!("the only store of this version is \"redb:PATH\", such as \"redb:{STORE}\"");
            faults.error(at.place, format!("{typed} is not a store; {only}"));
            None
        }
    }
}

fn sources(directory: &Path, at: &At<Vec<written::Source>>, faults: &Faults<'_>) -> Vec<Option<Source>> {
    match at.value.len() {
        0 => faults.missing(at.place, "there is no source; add a [[source]]"),
        count if count > MOST_SOURCES => faults.error(at.place, value::too_many(count, "source", MOST_SOURCES)),
        _ => {}
    }
    at.value.iter().map(|written| source(directory, written, faults)).collect()
}

fn source(directory: &Path, written: &written::Source, faults: &Faults<'_>) -> Option<Source> {
    let name = written.name.given().and_then(|at| value::name(at, "a source", faults));
    if written.kinds.is_empty() && !written.has_strange_tables {
        faults.missing(written.place, "missing the source's kind: [source.file] or [source.scrape]");
    }
    if written.kinds.len() > 1 {
        faults.error(written.place, "a source has one kind; write another [[source]] for the second");
    }
    let kinds: Vec<_> = written.kinds.iter().map(|kind| source_kind(directory, kind, faults)).collect();
    let kind = kinds.into_iter().next().flatten();
    Some(Source { name: name?, kind: kind? })
}

fn source_kind(directory: &Path, written: &written::SourceKind, faults: &Faults<'_>) -> Option<SourceKind> {
    match written {
        written::SourceKind::File(file) => file_source(directory, file, faults).map(SourceKind::File),
        written::SourceKind::Scrape(scrape) => scrape::source(directory, scrape, faults).map(SourceKind::Scrape),
    }
}

fn file_source(directory: &Path, written: &written::FileSource, faults: &Faults<'_>) -> Option<FileSource> {
    const STARTS: [(&str, Start); 2] = [("beginning", Start::Beginning), ("end", Start::End)];
    let paths = written.paths.required(faults).and_then(|at| paths(directory, at, "paths", faults));
    let start = written.start.or(Start::Beginning, |at| value::choice(at, "where to start", &STARTS, faults));
    let max_line = written.max_line.or(MAX_LINE, |at| value::within(at, "`max_line`", &MAX_LINE_BOUNDS, faults));
    let format = format(written, faults);
    Some(FileSource { paths: paths?, start: start?, format: format?, max_line: usize::try_from(max_line?).ok()? })
}

pub(super) fn paths(directory: &Path, at: &At<Texts>, key: &str, faults: &Faults<'_>) -> Option<Vec<String>> {
    let mut paths = Vec::new();
    for path in value::elements(at, key, (1, MOST_PATHS), faults)? {
        if path.value.contains("**") {
            let text = quoted(&path.value);
            let words = "`**` would mean directories of any depth, and none are looked through like that; write a path \
                         for each depth, such as `logs/*.log` and `logs/*/*.log`";
            faults.error(path.place, format!("`{key}`: {text}: {words}"));
            continue;
        }
        if let Some(path) = self::path(directory, path, key, faults) {
            paths.push(path.to_string_lossy().into_owned());
        }
    }
    Some(paths)
}

/// The one format of a source.
fn format(written: &written::FileSource, faults: &Faults<'_>) -> Option<Template> {
    let fields = [&written.format, &written.nginx, &written.apache];
    let mut given = fields.iter().filter_map(|field| field.given());
    let Some(first) = given.next() else {
        if fields.iter().all(|field| field.is_absent()) {
            let presets = Template::PRESETS.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
            let help = format!("`format` ({presets}), `nginx` or `apache`");
            faults.missing(written.place, format!("missing the log format in [source.file]: one of {help}"));
        }
        return None;
    };
    for surplus in given {
        let first = faults.locate(first.place);
        faults.error(surplus.place, format!("a source has one log format; the first is at {first}"));
    }
    let forgeable = written.accept_forgeable.or(false, |at| Some(at.value));
    let nginx = |text: &str| Template::nginx(text, forgeable.unwrap_or(true));
    let apache = |text: &str| Template::apache(text, forgeable.unwrap_or(true));
    let preset = written.format.or(None, |at| preset(at, faults).map(Some));
    let nginx = written.nginx.or(None, |at| template(at, nginx, faults).map(Some));
    let apache = written.apache.or(None, |at| template(at, apache, faults).map(Some));
    preset?.or(nginx?).or(apache?)
}

fn preset(at: &At<String>, faults: &Faults<'_>) -> Option<Template> {
    let preset = Template::preset(&at.value);
    if preset.is_none() {
        let text = quoted(&at.value);
        let help = match at.value.as_str() {
            text if text.contains('$') => "; write an nginx log_format as `nginx = '...'`".to_owned(),
            text if text.contains('%') => "; write an Apache LogFormat as `apache = '...'`".to_owned(),
            text => match did_you_mean(text, Template::PRESETS.iter().copied()) {
                help if help.is_empty() => format!("; there are {}", listed(Template::PRESETS.iter().copied())),
                help => help,
            },
        };
        faults.error(at.place, format!("{text} is not a log format by name{help}"));
    }
    preset
}

fn template(
    at: &At<String>,
    compile: impl Fn(&str) -> Result<Template, TemplateError>,
    faults: &Faults<'_>,
) -> Option<Template> {
    compile(&at.value).map_err(|error| faults.error(faults.inside(at, error.at), error.message)).ok()
}
