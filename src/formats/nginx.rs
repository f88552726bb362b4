//! nginx's `log_format`, as tokens.
//!
//! What a variable may hold is taken from nginx's own documentation and source (ngx_http_log_module,
//! ngx_http_variables, ngx_http_upstream): times, sizes, statuses and addresses are written by nginx itself; request
//! lines, URIs, users, headers, cookies and arguments come from the client; a variable that is not listed may be
//! anything.

use super::TemplateError;
use super::fields::{DurationUnit, TimeNotation};
use super::token::{Class, Field, Shape, Token, Variable, join_literals};

/// How nginx was told to write what clients sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// `"`, `\` and what is not printable ASCII are escaped with a backslash (`escape=default` and `escape=json`).
    Backslash,
    /// Values are written as they came (`escape=none`).
    None,
}

/// Reads a format: the bare string, the string behind `escape=json`, or the whole `log_format` directive.
///
/// # Errors
/// With the byte of `text` at which it stops being one.
pub fn parse(text: &str) -> Result<(Vec<Token>, Escape), TemplateError> {
    let directive = text.trim_start();
    if directive.strip_prefix("log_format").is_some_and(|rest| rest.starts_with(char::is_whitespace)) {
        return parse_directive(text);
    }
    match directive.starts_with("escape=") {
        true => {
            let start = text.len() - directive.len();
            let end = directive.find(char::is_whitespace).map_or(text.len(), |blank| start + blank);
            let escape = escape_named(&text[start + "escape=".len()..end], start)?;
            let format = text[end..].trim_start();
            Ok((tokens(format, text.len() - format.len())?, escape))
        }
        false => Ok((tokens(text, 0)?, Escape::Backslash)),
    }
}

fn escape_named(name: &str, at: usize) -> Result<Escape, TemplateError> {
    match name {
        "default" | "json" => Ok(Escape::Backslash),
        "none" => Ok(Escape::None),
        _ => Err(TemplateError::new(at, format!("`escape={name}` is not one of escape=default, json or none"))),
    }
}

/// `log_format NAME [escape=HOW] 'part' 'part';`, quoted as in nginx.conf.
fn parse_directive(text: &str) -> Result<(Vec<Token>, Escape), TemplateError> {
    let mut words = Words { text, at: 0 };
    words.next()?; // log_format
    words.next()?.ok_or_else(|| TemplateError::new(text.len(), "`log_format` needs a name and a format".to_owned()))?;
    let mut escape = Escape::Backslash;
    let mut all = Vec::new();
    while let Some(word) = words.next()? {
        match word.text.strip_prefix("escape=") {
            Some(name) if all.is_empty() && !word.quoted => escape = escape_named(name, word.at)?,
            _ => all.extend(tokens(&word.text, word.at)?),
        }
    }
    Ok((join_literals(all), escape))
}

/// The words of a directive of nginx.conf, up to its semicolon.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

struct Word {
    at: usize,
    text: String,
    quoted: bool,
}

impl Words<'_> {
    fn next(&mut self) -> Result<Option<Word>, TemplateError> {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        let Some(first) = rest.chars().next().filter(|first| *first != ';') else { return Ok(None) };
        let quote = Some(first).filter(|first| matches!(first, '\'' | '"'));
        let start = self.at + quote.map_or(0, char::len_utf8);
        let mut text = String::new();
        let mut characters = self.text[start..].char_indices();
        while let Some((offset, character)) = characters.next() {
            let ends = match quote {
                Some(quote) => character == quote,
                None => character.is_whitespace() || character == ';',
            };
            if ends {
                self.at = start + offset + quote.map_or(0, char::len_utf8);
                return Ok(Some(Word { at: start, text, quoted: quote.is_some() }));
            }
            match (character, characters.clone().next()) {
                ('\\', Some((_, next @ ('"' | '\'' | '\\' | 't' | 'r' | 'n')))) => {
                    characters.next();
                    text.push(match next {
                        't' => '\t',
                        'r' => '\r',
                        'n' => '\n',
                        other => other,
                    });
                }
                _ => text.push(character),
            }
        }
        self.at = self.text.len();
        match quote {
            Some(quote) => Err(TemplateError::new(start, format!("this string lacks its closing {quote}"))),
            None => Ok(Some(Word { at: start, text, quoted: false })),
        }
    }
}

/// The tokens of one format string that stands at byte `base` of the user's text.
fn tokens(format: &str, base: usize) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = format;
    while let Some(dollar) = rest.find('$') {
        tokens.push(Token::Literal(rest.as_bytes()[..dollar].to_vec()));
        let at = base + format.len() - rest.len() + dollar;
        let after = &rest[dollar + 1..];
        let braced = after.starts_with('{');
        let name_text = &after[usize::from(braced)..];
        let length = name_text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let name = &name_text[..length];
        if name.is_empty() {
            return Err(TemplateError::new(
                at,
                "a `$` that begins no variable: nginx has no way to write one".to_owned(),
            ));
        }
        if braced && !name_text[length..].starts_with('}') {
            return Err(TemplateError::new(at, format!("`${{{name}` lacks its closing brace")));
        }
        tokens.push(Token::Variable(variable(name)));
        rest = &name_text[length + usize::from(braced)..];
    }
    tokens.push(Token::Literal(rest.as_bytes().to_vec()));
    Ok(join_literals(tokens))
}

fn variable(name: &str) -> Variable {
    let (field, shape) = match name {
        "time_local" => (Some(Field::Time(TimeNotation::Local)), Shape::Fixed(26)),
        "time_iso8601" => (Some(Field::Time(TimeNotation::Iso8601)), Shape::Run(Class::Time)),
        "msec" => (Some(Field::Time(TimeNotation::Seconds)), Shape::Run(Class::Number)),
        "status" => (Some(Field::Status), Shape::Run(Class::Number)),
        "request" => (Some(Field::RequestLine), Shape::Free),
        "request_method" => (Some(Field::Method), Shape::Run(Class::Word)),
        "request_uri" | "uri" | "document_uri" => (Some(Field::Target), Shape::Free),
        "request_time" => (Some(Field::Duration(DurationUnit::Seconds)), Shape::Run(Class::Number)),
        "upstream_response_time" => (Some(Field::DurationList(DurationUnit::Seconds)), Shape::Run(Class::NumberList)),
        "host" => (Some(Field::Host), Shape::Run(Class::Graphic)),
        "http_host" => (Some(Field::Host), Shape::Free),
        "server_name" => (Some(Field::Host), Shape::Run(Class::Graphic)),
        "body_bytes_sent"
        | "bytes_sent"
        | "bytes_received"
        | "request_length"
        | "connection"
        | "connection_requests"
        | "connection_time"
        | "connections_active"
        | "connections_waiting"
        | "gzip_ratio"
        | "pid"
        | "remote_port"
        | "server_port"
        | "tcpinfo_rtt"
        | "tcpinfo_rttvar"
        | "proxy_protocol_port"
        | "session_time" => (None, Shape::Run(Class::Number)),
        "remote_addr"
        | "realip_remote_addr"
        | "realip_remote_port"
        | "server_addr"
        | "proxy_protocol_addr"
        | "scheme"
        | "server_protocol"
        | "pipe"
        | "request_id"
        | "ssl_protocol"
        | "ssl_cipher"
        | "ssl_session_reused"
        | "upstream_cache_status"
        | "nginx_version"
        | "hostname"
        | "request_completion" => (None, Shape::Run(Class::Word)),
        "upstream_status"
        | "upstream_connect_time"
        | "upstream_header_time"
        | "upstream_queue_time"
        | "upstream_first_byte_time"
        | "upstream_session_time"
        | "upstream_response_length"
        | "upstream_bytes_received"
        | "upstream_bytes_sent" => (None, Shape::Run(Class::NumberList)),
        "upstream_addr" => (None, Shape::Run(Class::WordList)),
        // Headers, cookies, arguments, users, and whatever `map`, `set` and modules define.
        _ => (None, Shape::Free),
    };
    Variable { name: format!("${name}"), field, shape }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, TemplateError> {
        let (tokens, escape) = parse(text)?;
        let mut shown = format!("{escape:?}:");
        for token in tokens {
            match token {
                Token::Literal(text) => shown.push_str(&String::from_utf8(text).unwrap()),
                Token::Variable(variable) => shown.push_str(&format!("<{}>", variable.name)),
            }
        }
        Ok(shown)
    }

    #[test]
    fn a_format_is_read_bare_with_its_escape_or_as_the_whole_directive() {
        for (text, expected) in [
            ("$status ${msec}x", "Backslash:<$status> <$msec>x"),
            ("escape=none  $status", "None:<$status>"),
            (" escape=json {\"s\":$status}", "Backslash:{\"s\":<$status>}"),
            ("log_format main '$status '\n  \"$msec\";", "Backslash:<$status> <$msec>"),
            ("log_format main escape=none '\\'$status\\t\\\"';", "None:'<$status>\t\""),
            ("log_format main $status$msec;", "Backslash:<$status><$msec>"),
            ("log_formatted $status", "Backslash:log_formatted <$status>"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn faults_of_a_format_name_their_place() {
        for (text, at) in [
            ("$status $ x", 8),
            ("$status ${msec", 8),
            ("escape=xml $status", 0),
            ("log_format main '$status", 17),
            ("log_format main '$status' '$'", 27),
        ] {
            assert_eq!(parse(text).map_err(|error| error.at), Err(at), "{text}");
        }
    }
}
