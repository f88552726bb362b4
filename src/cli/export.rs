//! `slogate export`: what the specs say, for other programs.

use clap::{Args, Subcommand};
use slogate::document::prometheus_rules;

use super::{Exit, SpecsArgument};

pub(super) const HELP: &str = "\
Exit codes: 0 done; 1 the specs are invalid; 2 wrong usage; 3 the directory could not be read.";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    to: To,
}

#[derive(Debug, Subcommand)]
enum To {
    /// Alerting rules over slogate's own metrics, as a Prometheus rules file
    Prometheus {
        #[command(flatten)]
        specs: SpecsArgument,
    },
}

/// Prints what the specs come to in the other program's terms.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let To::Prometheus { specs } = &arguments.to;
    match super::load(specs) {
        Ok(loaded) => super::print(&prometheus_rules(&loaded.catalog), Exit::Done),
        Err(exit) => exit,
    }
}
