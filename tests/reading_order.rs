//! House rules of `src/` that no compiler checks.
//!
//! - `lib.rs` lists the rooms in reading order, and a room uses only rooms listed above it.
//! - A pure room touches nothing but its arguments: no runtime, no HTTP, no files, no sockets, and no room that does,
//!   save the types of `time` and `spec`.
//! - Only `time.rs` asks the system what time it is. Clippy forbids it too, but an `#[allow]` silences clippy.
//!
//! Code is looked at as tokens, without comments and literals, so that prose may name whatever it likes. The first two
//! rules are about the program; what stands behind `#[cfg(test)]` may reach anywhere. Paths are read as written: a
//! renamed import or a macro from another crate can hide one, and that is accepted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms that do no IO and get `now` as an argument.
const PURE: &[&str] = &[
    "tally", "increase", "formats", "selector", "series", "classify", "counts", "window", "latency", "budget", "alert",
    "journey", "gate", "engine", "document",
];

/// Rooms that touch the world; `cli` and `main` do as well.
const WORLDLY: &[&str] =
    &["time", "spec", "intake", "store", "api", "metrics", "notify", "report", "demo", "run", "cli"];

/// Worldly rooms whose types a pure room may use.
const WORLDLY_TYPES_FOR_ALL: &[&str] = &["time", "spec"];

/// What a pure room may not name.
const WORLD: &[&[&str]] = &[
    &["tokio"],
    &["axum"],
    &["reqwest"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "process"],
    &["std", "env"],
    &["std", "os"],
];

/// The ways to read a clock.
const CLOCKS: &[&[&str]] = &[&["SystemTime", "now"], &["Instant", "now"], &["Utc", "now"], &["Local", "now"]];

#[test]
fn the_source_keeps_the_house_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rooms = declared_rooms(&fs::read_to_string(root.join("lib.rs")).unwrap());
    assert!(!rooms.is_empty(), "lib.rs declares no rooms");
    let binary = declared_rooms(&fs::read_to_string(root.join("main.rs")).unwrap());

    let mut broken: Vec<String> = rooms.iter().filter_map(|room| undecided(room)).collect();
    let mut seen = BTreeSet::new();
    for path in rust_files(&root) {
        let file = File::new(path.strip_prefix(&root).unwrap(), &fs::read_to_string(&path).unwrap());
        if !rooms.contains(&file.room) && !binary.contains(&file.room) && !["lib", "main"].contains(&&*file.room) {
            broken.push(format!("src/{}: declared by neither lib.rs nor main.rs", file.name));
        }
        broken.extend(file.violations(&rooms));
        seen.insert(file.room);
    }
    broken.extend(rooms.iter().filter(|room| !seen.contains(*room)).map(|room| format!("no file holds room `{room}`")));
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn undecided(room: &str) -> Option<String> {
    let decided = PURE.contains(&room) != WORLDLY.contains(&room);
    (!decided).then(|| format!("say in tests/reading_order.rs whether room `{room}` is pure or touches the world"))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("src is a readable tree") {
        let path = entry.expect("src is a readable tree").path();
        match path.is_dir() {
            true => files.extend(rust_files(&path)),
            false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            false => {}
        }
    }
    files.sort();
    files
}

/// The modules that a crate root declares outside tests, in its order.
fn declared_rooms(root: &str) -> Vec<String> {
    let tokens = without_tests(tokens(root));
    let declaration = |three: &[Token]| three[0].text == "mod" && three[2].text == ";";
    tokens.windows(3).filter(|three| declaration(three)).map(|three| three[1].text.clone()).collect()
}

/// One file of the source, and the room it belongs to.
struct File {
    name: String,
    room: String,
    /// How many `super::` lead from here to the crate's root.
    depth: usize,
    is_test: bool,
    tokens: Vec<Token>,
}

impl File {
    fn new(name: &Path, text: &str) -> Self {
        let parts: Vec<String> =
            name.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
        Self {
            name: name.display().to_string(),
            room: parts[0].clone(),
            depth: if ["lib", "main"].contains(&&*parts[0]) { 0 } else { parts.len() },
            is_test: parts.iter().skip(1).any(|part| part == "tests"),
            tokens: tokens(text),
        }
    }

    fn violations(&self, rooms: &[String]) -> Vec<String> {
        let mut broken = Vec::new();
        let mut report = |path: &UsedPath, rule: &str| {
            broken.push(format!("src/{}:{}: `{}`: {rule}", self.name, path.line, path.segments.join("::")));
        };
        if self.name != "time.rs" {
            for path in paths(&self.tokens).iter().filter(|path| CLOCKS.iter().any(|clock| path.ends_with(clock))) {
                report(path, "only time.rs reads a clock");
            }
        }
        let program = if self.is_test { Vec::new() } else { paths(&without_tests(self.tokens.clone())) };
        let pure = PURE.contains(&&*self.room);
        for path in &program {
            if pure && WORLD.iter().any(|world| path.starts_with(world)) {
                report(path, "a pure room does not touch the world");
            }
            let Some(used) = self.room_named_by(path, rooms) else { continue };
            if self.position(rooms).is_some_and(|own| rooms.iter().position(|room| room == used) > Some(own)) {
                report(path, "a room uses only rooms listed above it in lib.rs");
            }
            if pure && WORLDLY.contains(&used) && !WORLDLY_TYPES_FOR_ALL.contains(&used) {
                report(path, "a pure room does not use a room that touches the world");
            }
        }
        broken
    }

    /// Where lib.rs lists this file's room; `None` for the crate roots and the rooms of the binary, which use all.
    fn position(&self, rooms: &[String]) -> Option<usize> {
        rooms.iter().position(|room| *room == self.room)
    }

    /// The room that a path leads to, if it leads to another room of the library.
    fn room_named_by<'a>(&self, path: &'a UsedPath, rooms: &[String]) -> Option<&'a str> {
        let supers = path.segments.iter().take_while(|segment| *segment == "super").count();
        let target = match path.segments[0].as_str() {
            "crate" => path.segments.get(1)?,
            "super" if supers == self.depth => path.segments.get(supers)?,
            _ => return None,
        };
        (rooms.contains(target) && *target != self.room).then_some(target)
    }
}

/// A path as the program uses it, groups taken apart: `use a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Debug)]
struct UsedPath {
    line: usize,
    segments: Vec<String>,
}

impl UsedPath {
    fn starts_with(&self, prefix: &[&str]) -> bool {
        self.segments.len() >= prefix.len() && self.segments.iter().zip(prefix).all(|(segment, part)| segment == part)
    }

    fn ends_with(&self, suffix: &[&str]) -> bool {
        let skip = self.segments.len().saturating_sub(suffix.len());
        self.segments.len() >= suffix.len() && self.segments[skip..].iter().zip(suffix).all(|(a, b)| a == b)
    }
}

fn paths(tokens: &[Token]) -> Vec<UsedPath> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].is_name() {
            true => at = read_path(tokens, at, &[], &mut found),
            false => at += 1,
        }
    }
    found
}

/// Reads the path that begins at `at`, all branches of it, and returns where it ends.
fn read_path(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<UsedPath>) -> usize {
    let line = tokens[at].line;
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut segments = prefix.to_vec();
    loop {
        segments.push(tokens[at].text.clone());
        at += 1;
        if text(at) != "::" {
            break;
        }
        at += 1;
        if text(at) == "{" {
            at += 1;
            while at < tokens.len() && text(at) != "}" {
                match tokens[at].is_name() {
                    true => at = read_path(tokens, at, &segments, found),
                    false => at += 1,
                }
            }
            return at + 1;
        }
        if !tokens.get(at).is_some_and(Token::is_name) {
            break;
        }
    }
    found.push(UsedPath { line, segments });
    at
}

/// A name, `::`, or any other single character of the program.
#[derive(Clone, Debug)]
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

fn tokens(source: &str) -> Vec<Token> {
    let code: Vec<char> = without_comments_and_literals(source).chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < code.len() {
        let start = at;
        if code[at].is_alphanumeric() || code[at] == '_' {
            while at < code.len() && (code[at].is_alphanumeric() || code[at] == '_') {
                at += 1;
            }
        } else {
            at += if code[at..].starts_with(&[':', ':']) { 2 } else { 1 };
        }
        line += usize::from(code[start] == '\n');
        if !code[start].is_whitespace() {
            tokens.push(Token { line, text: code[start..at].iter().collect() });
        }
    }
    tokens
}

/// The program with comments, strings and characters blanked out, line by line where it was.
fn without_comments_and_literals(source: &str) -> String {
    let code: Vec<char> = source.chars().collect();
    let mut kept = String::with_capacity(source.len());
    let mut at = 0;
    while at < code.len() {
        let after_name = at > 0 && (code[at - 1].is_alphanumeric() || code[at - 1] == '_');
        let end = match code[at] {
            '/' if code[at..].starts_with(&['/', '/']) => end_of_line(&code, at),
            '/' if code[at..].starts_with(&['/', '*']) => end_of_block(&code, at),
            '"' => end_of_quoted(&code, at, '"'),
            '\'' if is_character(&code[at..]) => end_of_quoted(&code, at, '\''),
            'r' | 'b' | 'c' if !after_name => end_of_prefixed(&code, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            kept.push(code[at]);
            at += 1;
            continue;
        }
        kept.extend(code[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    kept
}

fn end_of_line(code: &[char], at: usize) -> usize {
    code[at..].iter().position(|c| *c == '\n').map_or(code.len(), |length| at + length)
}

fn end_of_block(code: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < code.len() {
        match code[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn end_of_quoted(code: &[char], at: usize, quote: char) -> usize {
    let mut at = at + 1;
    while at < code.len() && code[at] != quote {
        at += if code[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(code.len())
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn is_character(code: &[char]) -> bool {
    matches!(code, ['\'', '\\', ..] | ['\'', _, '\'', ..])
}

/// The end of `b"…"`, `b'…'`, `r"…"`, `br#"…"#` and their like; `None` for a name that begins with these letters.
fn end_of_prefixed(code: &[char], at: usize) -> Option<usize> {
    let letters = code[at..].iter().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    let hashes = code[at + letters..].iter().take_while(|c| **c == '#').count();
    let open = at + letters + hashes;
    let raw = code[at..at + letters].contains(&'r');
    match code.get(open)? {
        '"' if raw => {
            let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let length = code[open + 1..].windows(close.len()).position(|window| window == close);
            Some(length.map_or(code.len(), |length| open + 1 + length + close.len()))
        }
        '"' if hashes == 0 => Some(end_of_quoted(code, open, '"')),
        '\'' if hashes == 0 && code[at] == 'b' => Some(end_of_quoted(code, open, '\'')),
        _ => None,
    }
}

/// The tokens without the items behind `#[cfg(test)]` and `#[cfg(all(test, …))]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let starts = |at: usize, words: &[&str]| words.iter().enumerate().all(|(offset, word)| text(at + offset) == *word);
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let test_only = starts(at, &["#", "[", "cfg", "(", "test", ")"])
            || starts(at, &["#", "[", "cfg", "(", "all", "(", "test"])
            || starts(at, &["#", "[", "test", "]"]);
        match test_only {
            true => at = end_of_item(&tokens, at),
            false => {
                kept.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    kept
}

/// Where the item ends whose first attribute begins at `at`: behind its `;`, or behind the braces of its body.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" if depth == 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// The rules must be able to fail.
mod the_checker {
    use super::*;

    const ROOMS: &str = "//! The rooms.\npub mod time;\npub mod tally;\npub mod spec;\npub mod gate;\npub mod store;\n\
                         #[cfg(test)]\nmod fixtures;\n";

    /// Asserts which lines of `text`, taken for the file `name`, break a rule.
    fn check(name: &str, text: &str, lines: &[usize]) {
        let found = File::new(Path::new(name), text).violations(&declared_rooms(ROOMS));
        let expected: Vec<String> = lines.iter().map(|line| format!("src/{name}:{line}:")).collect();
        let fits = found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| a.starts_with(b));
        assert!(fits, "{text}\nexpected {expected:?}\nfound {found:?}");
    }

    #[test]
    fn reads_the_rooms_in_their_order() {
        assert_eq!(declared_rooms(ROOMS), ["time", "tally", "spec", "gate", "store"]);
    }

    #[test]
    fn a_room_must_be_pure_or_worldly() {
        assert!(undecided("tally").is_none() && undecided("store").is_none());
        assert!(undecided("annexe").is_some());
    }

    #[test]
    fn finds_imports_against_the_reading_order() {
        check("gate.rs", "use crate::tally::Tally;\nuse crate::gate::Decision;\n", &[]);
        check("spec.rs", "use crate::gate::Decision;\n", &[1]);
        check("spec/compile.rs", "use crate::{\n    tally::Tally,\n    gate::{Decision, Level},\n};\n", &[3, 3]);
        check("spec.rs", "fn f() -> u8 {\n    crate::store::open()\n}\n", &[2]);
        check("spec.rs", "use super::gate;\n", &[1]);
        check("spec/compile.rs", "use super::gate;\nuse super::super::gate::Level;\n", &[2]);
        check("time.rs", "pub(crate) use crate :: tally :: *;\n", &[1]);
        check("main.rs", "use crate::store::Store;\n", &[]);
    }

    #[test]
    fn finds_the_world_in_pure_rooms() {
        check("tally.rs", "use std::fs;\n", &[1]);
        check("tally/deep/down.rs", "use std::{fmt, net::TcpStream};\n", &[1]);
        check("gate.rs", "\nasync fn f() { tokio::spawn(async {}); }\n", &[2]);
        check("gate.rs", "use crate::time::Timestamp;\nuse crate::spec::Catalog;\n", &[]);
        check("store.rs", "use std::fs;\nuse tokio::fs::File;\n", &[]);
        let found = File::new(Path::new("gate.rs"), "use crate::store::Store;").violations(&declared_rooms(ROOMS));
        assert_eq!(found.len(), 2, "against the order, and impure: {found:?}");
    }

    #[test]
    fn finds_clocks_everywhere_but_in_time() {
        check("store.rs", "let now = std::time::SystemTime::now();\n", &[1]);
        check("store.rs", "#[cfg(test)]\nmod tests {\n    fn f() { Instant::now(); }\n}\n", &[3]);
        check("main.rs", "fn main() { chrono::Utc::now(); Local::now(); }\n", &[1, 1]);
        check("time.rs", "let now = SystemTime::now();\n", &[]);
        check("store.rs", "let now = clock.now();\nlet later = Timestamp::now;\n", &[]);
    }

    #[test]
    fn is_not_fooled_by_comments_literals_and_tests() {
        check("tally.rs", "//! See [`crate::gate`] and std::fs.\n/* use std::fs; /* nested */ use tokio; */\n", &[]);
        check("tally.rs", "const A: &str = \"use std::fs; \\\" use tokio;\";\nuse std::net;\n", &[2]);
        check("tally.rs", "const A: &[u8] = br##\"\"# std::fs \"##;\nconst B: u8 = b'\"';\nuse std::net;\n", &[3]);
        check("tally.rs", "fn f<'a>(x: &'a str, q: char) { q == '\"'; q == '\\''; std::fs::read(x); }\n", &[1]);
        check("tally.rs", "#[cfg(test)]\nmod tests {\n    use std::fs;\n    mod m { }\n}\nuse std::net;\n", &[6]);
        check(
            "tally.rs",
            "#[cfg(test)]\nuse std::fs;\n#[test]\nfn f() { [1; 2]; std::fs::read(0); }\nuse axum;\n",
            &[5],
        );
        check("tally/tests.rs", "use std::fs;\nuse crate::gate::Level;\n", &[]);
    }
}
