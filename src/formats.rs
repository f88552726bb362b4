//! Log formats: bytes in, borrowed fields out.
mod template;

pub use template::{Template, TemplateError};

/// Which part of a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unparsed {
    /// The fixed text between the fields, or the number of fields.
    Layout,
    /// The time.
    Time,
    /// The status: not three digits from 100 to 599.
    Status,
    /// There was no response: `-`, `000`.
    NoStatus,
    /// The duration: not a number, negative, or beyond a day.
    Duration,
    /// The last line of the file ends in the middle.
    Partial,
}
