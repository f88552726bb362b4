//! Compiled log formats.

use super::apache;
use super::beginning::{Beginning, Found};
use super::combined::Combined;
use super::exhaustive::{self, Unread};
use super::nginx::{self, Escape};
use super::program::{Forgeable, Program, Spans};
use super::token::{Field, SLOTS, Shape, Token};

/// A log format, compiled: knows where in a line the fields are that SLOs need.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    tokens: Vec<Token>,
    escape: Escape,
    /// Absent where only trying all readings will do.
    program: Option<Program>,
    /// Absent where a line is not certain without its end.
    beginning: Option<Beginning>,
    /// A faster way for lines of the most common format.
    combined: Option<Combined>,
    /// The fields taken, by [`Field::slot`].
    fields: [Option<Field>; SLOTS],
}

/// Equal templates read every line alike: the programs follow from the tokens, and from whether there may be one.
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        let has_program = self.program.is_some() == other.program.is_some();
        has_program && self.escape == other.escape && self.tokens == other.tokens && self.text == other.text
    }
}

impl Eq for Template {}

/// Why a format text cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// The byte of the format text that is meant.
    pub at: usize,
    /// A sentence that says what to do.
    pub message: String,
}

impl TemplateError {
    pub(super) fn new(at: usize, message: String) -> Self {
        Self { at, message }
    }
}

/// The formats known by name. `combined` is nginx's and Apache's default, `common` its older part.
const COMBINED: &str = concat!(
    r#"$remote_addr - $remote_user [$time_local] "$request" "#,
    r#"$status $body_bytes_sent "$http_referer" "$http_user_agent""#
);
const COMMON: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent"#;

/// How the documentation of a server calls what a format needs.
struct Server {
    time: &'static str,
    status: &'static str,
    request: &'static str,
    /// How to have it escape what clients send.
    escaping: &'static str,
    /// A format that nobody can forge.
    safe: &'static str,
}

const NGINX: Server = Server {
    time: "the time ($time_local, $time_iso8601 or $msec)",
    status: "$status",
    request: "the request ($request, or $request_method and $request_uri)",
    escaping: "with escape=json or escape=default, ",
    safe: r#"$status $request_time [$time_local] "$request" "$http_user_agent""#,
};
const APACHE: Server = Server {
    time: "the time (%t)",
    status: "the status (%>s)",
    request: "the request (%r, or %m and %U)",
    escaping: "",
    safe: r#"%>s %D %t "%r" "%{User-Agent}i""#,
};

impl Template {
    /// Names that [`Template::preset`] knows.
    pub const PRESETS: &[&str] = &["combined", "common"];

    /// A format known by name.
    pub fn preset(name: &str) -> Option<Self> {
        let text = match name {
            "combined" => COMBINED,
            "common" => COMMON,
            _ => return None,
        };
        let template = Self::nginx(text, false).ok()?;
        Some(Self { text: name.to_owned(), ..template })
    }

    /// Compiles an nginx `log_format`: the bare string, the string behind `escape=json`, `escape=default` or
    /// `escape=none`, or the whole directive. `accept_forgeable` admits formats in which a client can imitate a
    /// trusted field; lines that can be read in two ways are then refused one by one.
    ///
    /// # Errors
    /// When the text is no format, lacks a field that every SLO needs, or is forgeable.
    pub fn nginx(text: &str, accept_forgeable: bool) -> Result<Self, TemplateError> {
        let (tokens, escape) = nginx::parse(text)?;
        Self::compile(text, tokens, escape, accept_forgeable, &NGINX)
    }

    /// Compiles an Apache `LogFormat` string.
    ///
    /// # Errors
    /// As [`Template::nginx`].
    pub fn apache(text: &str, accept_forgeable: bool) -> Result<Self, TemplateError> {
        let tokens = apache::parse(text)?;
        if let Some((name, why)) = apache::strange_time(&tokens) {
            return Err(TemplateError::new(text.find(&name).unwrap_or(0), format!("`{name}` {why}")));
        }
        Self::compile(text, tokens, Escape::Backslash, accept_forgeable, &APACHE)
    }

    fn compile(
        text: &str,
        mut tokens: Vec<Token>,
        escape: Escape,
        accept_forgeable: bool,
        server: &Server,
    ) -> Result<Self, TemplateError> {
        let fields = choose_fields(&mut tokens);
        if let Some(message) = missing_fields(&fields, server) {
            return Err(TemplateError::new(0, message));
        }
        let program = match Program::compile(&tokens, escape) {
            Ok(program) => Some(program),
            Err(Forgeable(variable)) if !accept_forgeable => {
                let at = text.find(&variable.name).unwrap_or(0);
                return Err(TemplateError::new(at, forgeable_message(&variable.name, escape, server)));
            }
            Err(_) => None,
        };
        let is_certain = escape == Escape::Backslash && program.is_some();
        let beginning = is_certain.then(|| Beginning::compile(&tokens)).flatten();
        let combined = Combined::recognise(&tokens).filter(|_| escape == Escape::Backslash);
        Ok(Self { text: text.to_owned(), tokens, escape, program, beginning, combined, fields })
    }

    /// The format as the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether lines carry how long a request took.
    pub fn has_duration(&self) -> bool {
        self.fields.iter().flatten().any(|field| matches!(field, Field::Duration(_) | Field::DurationList(_)))
    }

    /// Whether lines carry the host that was asked for.
    pub fn has_host(&self) -> bool {
        self.fields.contains(&Some(Field::Host))
    }

    /// Whether lines carry the method.
    pub fn has_method(&self) -> bool {
        self.fields.contains(&Some(Field::RequestLine)) || self.fields.contains(&Some(Field::Method))
    }

    /// Whether the server escapes what clients send.
    pub(super) fn is_escaped(&self) -> bool {
        self.escape == Escape::Backslash
    }

    /// Whether a line that ends like this is complete although it lacks its newline. Of one that ends in a value of any
    /// length, nobody can tell; nginx's times have three decimals.
    pub(super) fn is_sure_to_end(&self, line: &[u8]) -> bool {
        match self.tokens.last() {
            Some(Token::Literal(_)) => true,
            Some(Token::Variable(variable)) if matches!(variable.shape, Shape::Fixed(_)) => true,
            Some(Token::Variable(variable)) if variable.name == "$request_time" => {
                matches!(line, [.., b'.', a, b, c] if [a, b, c].iter().all(|byte| byte.is_ascii_digit()))
            }
            _ => false,
        }
    }

    /// What the field in this slot is; `None` when the format has none.
    pub(super) fn field(&self, slot: usize) -> Option<Field> {
        self.fields[slot]
    }

    /// How many bare quotes a line has, where lines can be read by the places of their quotes.
    pub(super) fn quotes(&self) -> Option<usize> {
        self.program.as_ref().and_then(|program| program.quotes)
    }

    /// Finds the fields of the line that is the first `length` bytes of `text`, and whose bare quotes, as many as
    /// [`Template::quotes`], stand at `quotes` less `base`.
    #[inline(always)]
    pub(super) fn spans(&self, text: &[u8], length: usize, quotes: &[u32], base: u32) -> Result<Spans, Unread> {
        let read = self.combined.and_then(|combined| combined.read(text, length, quotes, base));
        read.map_or_else(|| self.spans_by_program(text, length, quotes, base), Ok)
    }

    /// Does what [`Template::spans`] does, for any format and any line.
    fn spans_by_program(&self, text: &[u8], length: usize, quotes: &[u32], base: u32) -> Result<Spans, Unread> {
        match &self.program {
            Some(program) => program.run(text, length, quotes, base).ok_or(Unread::Layout),
            None => self.spans_exhaustively(&text[..length]),
        }
    }

    /// Finds the fields of a line of which only the beginning is there, with all its bare quotes at `quotes`.
    pub(super) fn find_in_beginning(&self, line: &[u8], quotes: &[u32]) -> Option<Found> {
        self.beginning.as_ref()?.read(line, quotes)
    }

    #[cfg(test)]
    pub(super) fn has_program(&self) -> bool {
        self.program.is_some()
    }

    /// Finds the fields of a line by trying all its readings.
    #[cold]
    pub(super) fn spans_exhaustively(&self, line: &[u8]) -> Result<Spans, Unread> {
        exhaustive::read(&self.tokens, self.escape, line)
    }
}

/// Leaves each slot to the one variable that serves it best, and makes the others ones to pass over.
fn choose_fields(tokens: &mut [Token]) -> [Option<Field>; SLOTS] {
    let mut best: [Option<(u8, usize)>; SLOTS] = [None; SLOTS];
    for (place, token) in tokens.iter().enumerate() {
        let Token::Variable(variable) = token else { continue };
        let Some(field) = variable.field else { continue };
        let rank = rank(&variable.name);
        if best[field.slot()].is_none_or(|(other, _)| rank < other) {
            best[field.slot()] = Some((rank, place));
        }
    }
    // A request line says all that a method and a target say.
    let [_, _, request_line, method, target, ..] = &mut best;
    match (request_line.is_some(), target.is_some()) {
        (true, _) => (*method, *target) = (None, None),
        (false, false) => *method = None,
        (false, true) => {}
    }
    let mut fields = [None; SLOTS];
    for (place, token) in tokens.iter_mut().enumerate() {
        let Token::Variable(variable) = token else { continue };
        match variable.field.map(Field::slot) {
            Some(slot) if best[slot].is_some_and(|(_, chosen)| chosen == place) => fields[slot] = variable.field,
            _ => variable.field = None,
        }
    }
    fields
}

/// Of several variables with the same meaning the one with the lowest rank is taken: the client's target rather than
/// what rewriting made of it, the client's wait rather than the upstreams' share of it, the checked host.
fn rank(name: &str) -> u8 {
    match name {
        "$uri" | "$document_uri" | "$upstream_response_time" | "$server_name" | "$msec" => 2,
        "$http_host" | "%s" => 1,
        name if name.contains("{ms}T") => 1,
        "%<s" => 2,
        _ => 0,
    }
}

fn missing_fields(fields: &[Option<Field>; SLOTS], server: &Server) -> Option<String> {
    let [time, status, request_line, _, target, ..] = fields;
    let lacks: Vec<&str> = [
        (time.is_none(), server.time),
        (status.is_none(), server.status),
        (request_line.is_none() && target.is_none(), server.request),
    ]
    .into_iter()
    .filter_map(|(missing, what)| missing.then_some(what))
    .collect();
    (!lacks.is_empty()).then(|| format!("this log format lacks {}; every SLO needs it", lacks.join(" and ")))
}

fn forgeable_message(name: &str, escape: Escape, server: &Server) -> String {
    let why = match escape {
        Escape::None => "escape=none leaves what clients send as it is",
        Escape::Backslash => "unquoted values that clients control stand on both sides of it",
    };
    format!(
        "a client can forge `{name}` in this format, because {why}; log it {}with every client's value in quotes, such as \
         '{}', or set `accept_forgeable = true` to count only the lines that can be read in one way",
        server.escaping, server.safe
    )
}
