//! Scraping: pages of metrics from the endpoints that a source names.
//!
//! [`Discovery`] says which targets there are: URLs from the specs, files that list targets and are read again when
//! they change, and names of which every address is a target of its own. A [`Fetcher`] asks one of them for its page
//! and gives all of it or a [`ScrapeError`] of one sentence. What pages mean is not known here.
//!
//! - A scrape costs its deadline at most, which covers everything from the connection to the last byte.
//! - A page is bounded as it is after unpacking, and stops being read where it exceeds that. All pages that are on
//!   their way at one time have a bound together.
//! - Only what declares itself as metrics is taken for metrics.
//! - A redirect is an error unless the specs allow it, and then it leads to no link-local address, where clouds answer
//!   for machines; the token goes to the origin that the specs name, and to no other.
//! - Every scrape has a connection of its own, so that a target that moved is not missed by an old one. Proxies of the
//!   environment are not used: a target is asked itself.
//! - When discovery fails, the targets that it gave last stay.

mod body;
mod discovery;
mod error;
mod fetch;
mod listed;

pub use discovery::{Discovery, Endpoint, Trouble};
pub use error::ScrapeError;
pub use fetch::{Fetched, Fetcher};
