//! `slogate store`: what to do about a store while no server has it.

use std::path::Path;

use clap::{Args, Subcommand};
use slogate::spec::StoreUrl;
use slogate::store::{Claim, StoreError, look_at_file, set_aside};
use slogate::time::{Clock, SystemClock};

use super::{Exit, SpecsArgument};

pub(super) const HELP: &str = "\
Stop the server first: it has the store for itself.
Exit codes: 0 the store is sound, or was set aside; 1 it is damaged, or is sound and was left where it is; 2 wrong \
usage; 3 could not tell: there is none, it cannot be read, it is in use, or a newer slogate wrote it.";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Verify every checksum of the store, without changing anything
    Check {
        #[command(flatten)]
        specs: SpecsArgument,
    },
    /// Rename a damaged store, so that the next start begins anew; what waits in the reserve is kept
    SetAside {
        #[command(flatten)]
        specs: SpecsArgument,

        /// Do it, instead of only saying what would be done
        #[arg(long)]
        yes: bool,
    },
}

/// Looks at a store, or sets it aside.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let (Verb::Check { specs } | Verb::SetAside { specs, .. }) = &arguments.verb;
    let loaded = match super::load(specs) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let StoreUrl::Redb(path) = &loaded.catalog.store;
    let done = match &arguments.verb {
        Verb::Check { .. } => check(path),
        Verb::SetAside { yes, .. } => put_aside(path, *yes),
    };
    done.unwrap_or_else(|error| {
        super::say(&error.to_string());
        match error {
            StoreError::Corrupt { .. } => Exit::Refused,
            _ => Exit::Unsure,
        }
    })
}

fn check(path: &Path) -> Result<Exit, StoreError> {
    look_at_file(path, &Claim::on(path)?)?;
    Ok(super::print(&format!("{}: the store is sound\n", path.display()), Exit::Done))
}

fn put_aside(path: &Path, is_meant: bool) -> Result<Exit, StoreError> {
    let claim = Claim::on(path)?;
    match look_at_file(path, &claim) {
        Ok(()) => {
            super::say(&format!("{}: the store is sound; it was left where it is", path.display()));
            Ok(Exit::Refused)
        }
        Err(error @ StoreError::Corrupt { .. }) if !is_meant => {
            super::say(&error.to_string());
            super::say("nothing was moved; say --yes to set it aside, and the next start begins without any counts");
            Ok(Exit::Refused)
        }
        Err(StoreError::Corrupt { .. }) => {
            let aside = set_aside(path, &claim, SystemClock.now())?;
            Ok(super::print(&format!("{}: is now {}\n", path.display(), aside.display()), Exit::Done))
        }
        Err(error) => Err(error),
    }
}
