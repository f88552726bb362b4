//! Access: who may give orders.
//!
//! - With a token configured, whoever presents it. Hashes are compared, in constant time, so that neither the answer
//!   nor its delay tells how much of a guess was right; and after a few wrong guesses a peer has to wait, unless it has
//!   the right one after all, and that is none that can be guessed.
//! - Without one, whoever is on this machine, as far as that can be told: the listener has a loopback address, the
//!   request names it as such (a web page that was served under another name does not) and no proxy passed it on.
//! - Without one and on any other address, nobody.
//! - A browser that acts for another site is refused in any case: by its `Origin`, and because orders must be JSON.
//! - Who was refused is in the log, by address and never with what was presented; a flood of refusals is a line now and
//!   then.
//!
//! The table of wrong guesses has a fixed size. Peers that share a place in it share their limit, which is better than
//! forgetting one of them; places are chosen by a hash that nobody outside can predict.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN, VIA};
use sha2::{Digest, Sha256};

use super::problem::{Kind, Problem};
use crate::document::{Actor, Principal};
use crate::spec::Secret;
use crate::time::Timestamp;

/// A token with fewer characters than this is weak.
const SHORT_TOKEN: usize = 16;
/// What stands in examples and is forgotten there, in lower case and without anything but letters and digits.
const PLACEHOLDERS: [&str; 16] = [
    "changeme",
    "changeit",
    "replaceme",
    "placeholder",
    "example",
    "default",
    "secret",
    "mysecret",
    "yoursecret",
    "token",
    "mytoken",
    "yourtoken",
    "yourtokenhere",
    "password",
    "passwd",
    "admin",
];
/// What makes a token guessable that holds it.
const COMMON: [&str; 6] = ["changeme", "password", "replaceme", "example", "123456789", "abcdefgh"];
/// A token with fewer different characters than this is weak, too.
const FEW_CHARACTERS: usize = 6;

/// Wrong tokens that a peer may present in a [`PERIOD_MS`].
const ATTEMPTS: u32 = 10;
/// After this long a peer's wrong tokens are forgotten.
const PERIOD_MS: i64 = 60_000;
/// Places in the table of wrong tokens.
const PLACES: usize = 1_024;

/// From one refusal in the log to the next.
const TOLD_EVERY_MS: i64 = 5_000;

/// In which header somebody says who they are.
const CLAIMED: &str = "x-slogate-actor";
/// A longer name is refused.
const LONGEST_CLAIM: usize = 64;

/// A bearer token. Only its hash is kept, and nothing prints it.
#[derive(Clone)]
pub struct Token {
    hash: [u8; 32],
    weakness: Option<Weakness>,
}

/// Why a token, which is taken all the same, might be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// It could be found by trying.
    #[error("the token is shorter than {SHORT_TOKEN} characters; make one with `openssl rand -hex 32`")]
    Short,
    /// It holds a word that is tried first.
    #[error("the token holds a word that is tried first; make one with `openssl rand -hex 32`")]
    Common,
    /// It repeats itself.
    #[error("the token has fewer than {FEW_CHARACTERS} different characters; make one with `openssl rand -hex 32`")]
    Uniform,
}

/// Why a text is not fit to be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakToken {
    /// There is nothing.
    #[error("the token is empty")]
    Empty,
    /// It is what examples hold.
    #[error("the token is a placeholder that anybody would guess; make one with `openssl rand -hex 32`")]
    Placeholder,
    /// It would not fit in a header.
    #[error("the token has spaces or characters beyond ASCII in it")]
    Unprintable,
}

/// Why there is no token although one is configured.
#[derive(Debug, thiserror::Error)]
pub enum NoToken {
    /// The variable is not set, or is no text.
    #[error("the environment variable {0}, which `token_env` names, is not set to a text")]
    Unset(String),
    /// The file cannot be read.
    #[error("the token file {path} cannot be read: {source}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is one, but it is not fit.
    #[error("{whence}: {source}")]
    Weak {
        /// The variable or the file.
        whence: String,
        /// What is wrong with it.
        source: WeakToken,
    },
}

impl Token {
    /// The token that is `text`.
    ///
    /// # Errors
    /// When it is empty, a placeholder, or does not fit in a header.
    pub fn new(text: &str) -> Result<Self, WeakToken> {
        let word: String = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        match text {
            "" => Err(WeakToken::Empty),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(WeakToken::Unprintable),
            _ if PLACEHOLDERS.contains(&word.as_str()) => Err(WeakToken::Placeholder),
            _ => Ok(Self { hash: hash(text.as_bytes()), weakness: weakness(text) }),
        }
    }

    /// Why it might be guessed, if it might.
    pub fn weakness(&self) -> Option<Weakness> {
        self.weakness
    }

    /// The token from where the specs say it is; space around it in a file is no part of it.
    ///
    /// # Errors
    /// When there is none, or none that is fit.
    pub fn resolve(secret: &Secret) -> Result<Self, NoToken> {
        let (whence, text) = match secret {
            Secret::Env(name) => {
                (format!("variable {name}"), std::env::var(name).map_err(|_| NoToken::Unset(name.clone()))?)
            }
            Secret::File(path) => {
                let path_text = path.display().to_string();
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|source| NoToken::Unreadable { path: path_text.clone(), source })?;
                (format!("file {path_text}"), text)
            }
        };
        Self::new(text.trim()).map_err(|source| NoToken::Weak { whence, source })
    }

    /// Whether `guess` is the token, in a time that does not depend on how much of it is right.
    fn is(&self, guess: &[u8]) -> bool {
        let pairs = self.hash.into_iter().zip(hash(guess));
        let difference = pairs.fold(0, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
        difference == 0
    }
}

fn weakness(text: &str) -> Option<Weakness> {
    let lower = text.to_ascii_lowercase();
    let characters: BTreeSet<u8> = lower.bytes().collect();
    match text.len() {
        0..SHORT_TOKEN => Some(Weakness::Short),
        _ if COMMON.iter().any(|word| lower.contains(word)) => Some(Weakness::Common),
        _ if characters.len() < FEW_CHARACTERS => Some(Weakness::Uniform),
        _ => None,
    }
}

fn hash(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(..)")
    }
}

/// Who may give orders. Copies are the same rule.
#[derive(Clone, Debug)]
pub struct Access {
    listen: SocketAddr,
    rule: Arc<RwLock<Rule>>,
    attempts: Arc<Attempts>,
    told: Arc<Mutex<Told>>,
}

/// Refusals in the log.
#[derive(Debug, Default)]
struct Told {
    /// When one was written last.
    last: Option<Timestamp>,
    /// How many were not written since.
    untold: u64,
}

#[derive(Clone, Debug)]
enum Rule {
    Token(Token),
    Loopback,
    Nobody,
}

impl Rule {
    fn of(listen: SocketAddr, token: Option<Token>) -> Self {
        match token {
            Some(token) => Self::Token(token),
            None if is_loopback(listen.ip()) => Self::Loopback,
            None => Self::Nobody,
        }
    }
}

impl Access {
    /// The rule for a listener at `listen` with or without a token.
    pub fn new(listen: SocketAddr, token: Option<Token>) -> Self {
        let rule = Arc::new(RwLock::new(Rule::of(listen, token)));
        Self { listen, rule, attempts: Arc::new(Attempts::new()), told: Arc::default() }
    }

    /// From here on, the rule is that for this token or for none.
    pub fn set_token(&self, token: Option<Token>) {
        *self.rule.write().unwrap_or_else(PoisonError::into_inner) = Rule::of(self.listen, token);
    }

    /// Who gives this order. Refusals are told to the log.
    pub(super) fn admit(&self, headers: &HeaderMap, peer: IpAddr, now: Timestamp) -> Result<Actor, Problem> {
        self.check(headers, peer, now).inspect_err(|problem| {
            if let Some(untold) = self.told.lock().unwrap_or_else(PoisonError::into_inner).may_tell(now) {
                let more =
                    if untold > 0 { format!(" ({untold} more refusals were not logged)") } else { String::new() };
                tracing::warn!(peer = %peer, "refused an order from {peer}: {}{more}", problem.detail());
            }
        })
    }

    fn check(&self, headers: &HeaderMap, peer: IpAddr, now: Timestamp) -> Result<Actor, Problem> {
        let rule = self.rule.read().unwrap_or_else(PoisonError::into_inner).clone();
        let principal = match &rule {
            Rule::Token(token) => self.check_token(token, headers, peer, now)?,
            Rule::Loopback => check_loopback(headers, peer)?,
            Rule::Nobody => {
                let why = "orders need a token, and none is configured ([server] token_env or token_file)";
                return Err(Problem::new(Kind::Forbidden, why));
            }
        };
        check_origin(headers)?;
        Ok(Actor { principal, claimed: claimed(headers)? })
    }

    fn check_token(
        &self,
        token: &Token,
        headers: &HeaderMap,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<Principal, Problem> {
        let guess = bearer(headers);
        let is_right = token.is(guess.unwrap_or_default());
        // Whoever has one that nobody can guess is not to be kept out by others behind the same address.
        if is_right && token.weakness().is_none() {
            return Ok(Principal::Token);
        }
        if let Some(wait_seconds) = self.attempts.wait_seconds(peer, now) {
            let why = format!("this address has presented {ATTEMPTS} wrong tokens within a minute");
            return Err(Problem::new(Kind::TooManyAttempts, why).retry_after(wait_seconds));
        }
        if is_right {
            return Ok(Principal::Token);
        }
        if guess.is_some() {
            self.attempts.count(peer, now);
        }
        Err(Problem::new(Kind::Unauthorized, "send the server's token as `Authorization: Bearer ...`"))
    }
}

impl Told {
    /// How many refusals were not told since the last one that was, if another may be told now.
    fn may_tell(&mut self, now: Timestamp) -> Option<u64> {
        let is_soon = |last: Timestamp| (0..TOLD_EVERY_MS).contains(&now.millis().saturating_sub(last.millis()));
        if self.last.is_some_and(is_soon) {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// The credentials of the one `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (only, None) = (all.next()?.as_bytes(), all.next()) else { return None };
    let (scheme, rest) = only.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
}

/// Somebody on this machine, and no web page or proxy in between.
fn check_loopback(headers: &HeaderMap, peer: IpAddr) -> Result<Principal, Problem> {
    let refuse = |why: &str| {
        Err(Problem::new(Kind::Forbidden, format!("{why}; without a configured token only this machine gives orders")))
    };
    let passed_on = headers.contains_key(FORWARDED) || headers.contains_key(VIA) || headers.contains_key(FORWARDED_FOR);
    match host(headers) {
        _ if !is_loopback(peer) => refuse("the request came from another machine"),
        _ if passed_on => refuse("the request was passed on by a proxy"),
        Some(host) if is_local_name(host) => Ok(Principal::Loopback),
        _ => refuse("the request's `Host` is not localhost or a loopback address"),
    }
}

const FORWARDED_FOR: &str = "x-forwarded-for";

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(HOST)?.to_str().ok()
}

/// `localhost` or a loopback address, with or without a port.
fn is_local_name(host: &str) -> bool {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && !name.ends_with(':') => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(is_loopback)
}

/// A browser says for which site it acts; anything else says nothing.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let own = |origin: &str| {
        let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        site.is_some() && site == host(headers)
    };
    let origins_are_own = headers.get_all(ORIGIN).iter().all(|origin| origin.to_str().is_ok_and(own));
    let fetches_are_own = headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin" || site == "none");
    match origins_are_own && fetches_are_own {
        true => Ok(()),
        false => Err(Problem::new(Kind::Forbidden, "the request was made by a page of another site (`Origin`)")),
    }
}

/// The name that somebody gives themselves.
fn claimed(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(CLAIMED) else { return Ok(None) };
    let name = value.to_str().unwrap_or_default().trim();
    let is_text = name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    match is_text && (1..=LONGEST_CLAIM).contains(&name.len()) {
        true => Ok(Some(name.to_owned())),
        false => {
            let rule = format!("`X-Slogate-Actor` must be 1 to {LONGEST_CLAIM} characters of ASCII");
            Err(Problem::new(Kind::BadParameter, rule))
        }
    }
}

/// Wrong tokens by peer.
struct Attempts {
    hasher: RandomState,
    places: Mutex<Box<[Place]>>,
}

#[derive(Clone, Copy)]
struct Place {
    since: Timestamp,
    count: u32,
}

impl Attempts {
    fn new() -> Self {
        let empty = Place { since: Timestamp::from_millis(0), count: 0 };
        Self { hasher: RandomState::new(), places: Mutex::new(vec![empty; PLACES].into_boxed_slice()) }
    }

    /// How long the peer has to wait before its next token is looked at, if it has to.
    fn wait_seconds(&self, peer: IpAddr, now: Timestamp) -> Option<u32> {
        self.with(peer, now, |place| {
            let left_ms = PERIOD_MS - now.millis().saturating_sub(place.since.millis());
            (place.count >= ATTEMPTS).then(|| u32::try_from(left_ms / 1_000 + 1).unwrap_or(1))
        })
    }

    fn count(&self, peer: IpAddr, now: Timestamp) {
        self.with(peer, now, |place| place.count = place.count.saturating_add(1));
    }

    /// The peer's place, emptied first when its period is over, or lies in the future of a clock that was set back.
    fn with<T>(&self, peer: IpAddr, now: Timestamp, use_place: impl FnOnce(&mut Place) -> T) -> T {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut places[self.hasher.hash_one(network(peer)) as usize % PLACES];
        if !(0..PERIOD_MS).contains(&now.millis().saturating_sub(place.since.millis())) {
            *place = Place { since: now, count: 0 };
        }
        use_place(place)
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Attempts")
    }
}

/// One subscriber: an IPv4 address, or the /64 that an IPv6 host may choose its addresses from.
fn network(peer: IpAddr) -> u128 {
    match peer.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g24_empty_and_default_tokens_are_refused() {
        for (text, wrong) in [
            ("", WeakToken::Empty),
            ("changeme", WeakToken::Placeholder),
            ("Change-Me", WeakToken::Placeholder),
            ("change_me!", WeakToken::Placeholder),
            ("<your-token>", WeakToken::Placeholder),
            ("secret", WeakToken::Placeholder),
            ("password", WeakToken::Placeholder),
            ("kR8vQ2xT5 mN7bW4zL9", WeakToken::Unprintable),
            ("kR8vQ2xT5mN7bW4zL9é", WeakToken::Unprintable),
        ] {
            assert_eq!(Token::new(text).unwrap_err(), wrong, "{text}");
        }
    }

    #[test]
    fn weak_tokens_are_taken_and_said_to_be_weak() {
        for (text, weakness) in [
            ("9f2c7b1e8d4a6053", None),
            ("correct-horse-battery-staple", None),
            ("secrets-are-kept-elsewhere", None),
            ("kR8#vQ2!xT5", Some(Weakness::Short)),
            ("0123456789", Some(Weakness::Short)),
            ("ci.example.com/8d4a6053", Some(Weakness::Common)),
            ("my-password-is-long-enough", Some(Weakness::Common)),
            ("ChangeMe-ChangeMe-ChangeMe", Some(Weakness::Common)),
            ("aaaaaaaaaaaaaaaaaaaaaaaa", Some(Weakness::Uniform)),
        ] {
            assert_eq!(Token::new(text).unwrap().weakness(), weakness, "{text}");
        }
    }

    #[test]
    fn a_flood_of_refusals_is_a_line_now_and_then() {
        let mut told = Told::default();
        let now = Timestamp::from_seconds(1_000);
        assert_eq!(told.may_tell(now), Some(0));
        assert_eq!([told.may_tell(now), told.may_tell(now.plus_millis(TOLD_EVERY_MS - 1))], [None, None]);
        assert_eq!(told.may_tell(now.plus_millis(TOLD_EVERY_MS)), Some(2));
        // A clock that was set back silences nobody.
        assert_eq!(told.may_tell(now), Some(0));
    }

    #[test]
    fn g23_a_token_is_never_printed() {
        let token = Token::new("9f2c7b1e8d4a6053").unwrap();
        let access = Access::new("127.0.0.1:1".parse().unwrap(), Some(token.clone()));
        for text in [format!("{token:?}"), format!("{access:?}")] {
            assert!(text.contains("Token(..)") && !text.contains("9f2c"), "{text}");
        }
    }

    #[test]
    fn a_token_is_found_where_the_specs_say() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "9f2c7b1e8d4a6053\n").unwrap();
        assert!(Token::resolve(&Secret::File(path.clone())).unwrap().is(b"9f2c7b1e8d4a6053"));
        std::fs::write(&path, "\n").unwrap();
        let error = Token::resolve(&Secret::File(path.clone())).unwrap_err().to_string();
        assert_eq!(error, format!("file {}: the token is empty", path.display()));
        let error = Token::resolve(&Secret::File(directory.path().join("none"))).unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
        let error = Token::resolve(&Secret::Env("SLOGATE_NO_SUCH_VARIABLE".into())).unwrap_err().to_string();
        assert!(error.contains("SLOGATE_NO_SUCH_VARIABLE"), "{error}");
    }

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:9999", "127.9.9.9", "[::1]:80", "[::1]"] {
            assert!(is_local_name(host), "{host}");
        }
        for host in ["", "evil.example", "127.0.0.1.evil.example:80", "localhost.evil:80", "10.0.0.1", "[::2]:80"] {
            assert!(!is_local_name(host), "{host}");
        }
    }

    #[test]
    fn g22_wrong_tokens_make_a_peer_wait_and_no_other() {
        let attempts = Attempts::new();
        let (guesser, now) = (IpAddr::from([192, 0, 2, 1]), Timestamp::from_seconds(1_000));
        for attempt in 0..ATTEMPTS {
            assert_eq!(attempts.wait_seconds(guesser, now), None, "{attempt}");
            attempts.count(guesser, now);
        }
        assert_eq!(attempts.wait_seconds(guesser, now.plus_millis(30_000)), Some(31));
        // The same peer as IPv6 writes it, and after its time.
        let mapped = IpAddr::V6(std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
        assert!(attempts.wait_seconds(mapped, now).is_some());
        assert_eq!(attempts.wait_seconds(guesser, now.plus_millis(60_000)), None);
        let others = (0..50).map(|last| IpAddr::from([198, 51, 100, last]));
        let waiting = others.filter(|peer| attempts.wait_seconds(*peer, now).is_some()).count();
        assert!(waiting < 5, "{waiting} of 50 strangers share the guesser's place");
    }

    #[test]
    fn an_ipv6_subscriber_is_one_peer() {
        let peer = |text: &str| network(text.parse().unwrap());
        assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::9"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
    }
}
