//! Why there is no page.

use crate::formats::exposition::PageError;
use crate::increase::PageRefused;

/// Why a scrape gave no page that can be counted: one sentence each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScrapeError {
    /// There is no connection.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no whole page within {} s; {bytes} bytes of it came", *.deadline_ms as f64 / 1_000.0)]
    Deadline {
        /// How long a scrape may take, in milliseconds.
        deadline_ms: u64,
        /// How much came, as it was sent.
        bytes: u64,
    },
    /// It answered, but not with a page.
    #[error("answered with status {0}, not 200")]
    Status(u16),
    /// It wants somebody else to be asked.
    #[error("redirects to {to}, {why}")]
    Redirect {
        /// Where.
        to: String,
        /// Why that is not done.
        why: &'static str,
    },
    /// It answered with something else than metrics.
    #[error("this is no page of metrics: {0}")]
    NotMetrics(String),
    /// The page is longer than it may be.
    #[error("the page is longer than {0} bytes unpacked, its limit; raise `max_body` if it should be")]
    TooLong(usize),
    /// The page ends in the middle.
    #[error("the connection ended in the middle of the page: {0}")]
    CutOff(String),
    /// The compression is damaged.
    #[error("the page cannot be unpacked: {0}")]
    Packed(String),
    /// The page is not written as metrics are.
    #[error("{0}")]
    Page(PageError),
    /// The page cannot be counted as a whole.
    #[error("{0}")]
    Refused(PageRefused),
    /// A counter rose by more than can be true.
    #[error("{0} rose by more than {1} events between two scrapes, which no counter of events does")]
    Implausible(String, u64),
    /// The token cannot be had.
    #[error("the token for the targets cannot be used: {0}")]
    Token(String),
    /// The authorities to be trusted cannot be had.
    #[error("no connection can be secured: {0}")]
    Trust(String),
}

impl ScrapeError {
    /// Every reason there is.
    pub const REASONS: [&str; 15] = [
        "unreachable",
        "deadline",
        "status",
        "redirect",
        "not_metrics",
        "too_long",
        "torn",
        "packed",
        "encoding",
        "syntax",
        "duplicate",
        "limit",
        "implausible",
        "token",
        "trust",
    ];

    /// The reason, for counters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Deadline { .. } => "deadline",
            Self::Status(_) => "status",
            Self::Redirect { .. } => "redirect",
            Self::NotMetrics(_) => "not_metrics",
            Self::TooLong(_) => "too_long",
            Self::CutOff(_) => "torn",
            Self::Packed(_) => "packed",
            Self::Page(error) => match error.fault.code() {
                "scrape.not_metrics" => "not_metrics",
                "scrape.encoding" => "encoding",
                "scrape.duplicate_series" | "scrape.duplicate_label" => "duplicate",
                "scrape.torn" => "torn",
                "scrape.limit" => "limit",
                _ => "syntax",
            },
            Self::Refused(PageRefused::DuplicateSeries(_)) => "duplicate",
            Self::Refused(PageRefused::TooManySeries(_)) => "limit",
            Self::Implausible(..) => "implausible",
            Self::Token(_) => "token",
            Self::Trust(_) => "trust",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::exposition::Fault;

    #[test]
    fn every_error_is_a_sentence_and_has_a_known_reason() {
        let page = |fault| ScrapeError::Page(PageError { line: 3, column: 7, fault });
        let errors = [
            (ScrapeError::Unreachable("connection refused".into()), "unreachable"),
            (ScrapeError::Deadline { deadline_ms: 1_500, bytes: 7 }, "deadline"),
            (ScrapeError::TooLong(1024), "too_long"),
            (page(Fault::NotMetrics("a web page or XML")), "not_metrics"),
            (page(Fault::Torn), "torn"),
            (page(Fault::NoEof), "torn"),
            (page(Fault::Number), "syntax"),
            (page(Fault::DuplicateSeries { first_line: 1 }), "duplicate"),
            (ScrapeError::Refused(PageRefused::TooManySeries(5)), "limit"),
        ];
        for (error, reason) in errors {
            assert_eq!(error.reason(), reason);
            assert!(ScrapeError::REASONS.contains(&reason));
            assert!(!error.to_string().contains('\n'));
        }
        let late = ScrapeError::Deadline { deadline_ms: 1_500, bytes: 7 };
        assert_eq!(late.to_string(), "no whole page within 1.5 s; 7 bytes of it came");
    }
}
