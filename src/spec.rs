//! Specs: what the teams promise, read from one directory of TOML.
//!
//! A directory is checked as a whole, so that a broken rollout shows everything at once and not one slip per run.
//! [`load`] reads the files (`folder`) but for lists of targets (`lists`), takes every key with its place (`written`)
//! and turns what it found into ids, matchers and integers (`compile`, giving a [`Catalog`]).
//!
//! - Every fault of every file is reported in one run, as `file:line:column: message`, with the name that was probably
//!   meant. One slip gives one message: what cannot be read is not also reported as missing where it is used.
//! - A [`Catalog`] exists only when there is no fault. Whatever is allowed but hardly meant is a warning beside it.
//! - Numbers go from their decimal text to integers (`number`); nothing is rounded.
//! - Secrets are named, never written: there is no key that could hold one.
//! - Names, lists, files and folders have bounds.
//!
//! The TOML is walked by hand rather than by serde, which stops at its first error and forgets where a value stood.
//!
//! Left out on purpose: whether log files exist, whether a token's variable is set, whether a port is free. Specs are
//! checked on laptops and in CI, where none of that is there.

mod alerts;
mod canon;
mod catalog;
mod compile;
mod fault;
mod folder;
mod lists;
mod number;
mod requests;
mod table;
mod written;

use std::path::Path;

pub use alerts::{AlertRule, Factor, Severity};
pub use catalog::*;
pub(crate) use compile::target_url;
pub use fault::{Fault, SpecErrors, nearest, printable};
pub use folder::{Look, look};
pub use number::Decimal;
pub use requests::is_name;

/// What a directory of specs compiles to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The compiled specs.
    pub catalog: Catalog,
    /// What is allowed but hardly meant, by file and position.
    pub warnings: Vec<Fault>,
}

/// Reads and compiles a directory of specs.
///
/// # Errors
/// [`SpecErrors::Unreadable`] when the directory itself cannot be read; otherwise every fault of its files.
pub fn load(directory: &Path) -> Result<Loaded, SpecErrors> {
    compile::compile(directory, folder::read(directory)?)
}

/// Compiles files that are in memory: their paths inside `directory`, and their texts. Nothing is read from the disk.
///
/// # Errors
/// Every fault of the files.
pub fn load_texts(directory: &Path, files: &[(&str, &str)]) -> Result<Loaded, SpecErrors> {
    let file = |(path, text): &(&str, &str)| fault::SpecFile {
        path: directory.join(path),
        text: (*text).to_owned(),
        unreadable: None,
    };
    compile::compile(directory, files.iter().map(file).collect())
}
