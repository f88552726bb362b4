//! Arguments, subcommands and exit codes.
//!
//! Data goes to stdout and words go to stderr, so that output can be piped. One file per subcommand; each takes its
//! arguments and gives an [`Exit`].

mod cells;
mod check;
mod demo;
mod export;
mod gate;
mod orders;
mod remote;
mod report;
mod serve;
mod status;
mod store;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use slogate::spec::{Fault, Loaded, SpecErrors};

/// Turns load-balancer logs into exact error budgets, and the error budget into a deploy decision.
#[derive(Debug, Parser)]
#[command(name = "slogate", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate the specs and print what they compile to
    #[command(after_help = check::HELP)]
    Check(check::Arguments),
    /// Report on access logs: compliance, error budgets, burn rates, journeys and gates
    #[command(after_help = report::HELP)]
    Report(report::Arguments),
    /// Follow the logs and answer over HTTP until told to stop
    #[command(after_help = serve::HELP)]
    Serve(serve::Arguments),
    /// Show it all on a made-up shop: four weeks of traffic, an incident, live requests
    #[command(after_help = demo::HELP)]
    Demo(demo::Arguments),
    /// Write the alert rules in another program's terms
    #[command(after_help = export::HELP)]
    Export(export::Arguments),
    /// Show how everything stands, as the server sees it
    #[command(after_help = status::HELP)]
    Status(status::Arguments),
    /// Ask whether a service may be deployed now; the verdict is the exit code
    #[command(after_help = gate::HELP)]
    Gate(gate::Arguments),
    /// Hold a service's gate shut
    #[command(after_help = orders::HELP)]
    Freeze(orders::Freeze),
    /// Release a service's gate
    #[command(after_help = orders::HELP)]
    Unfreeze(orders::Unfreeze),
    /// Look at the store of a server that does not run, or set a damaged one aside
    #[command(after_help = store::HELP)]
    Store(store::Arguments),
}

/// Where the specs are.
#[derive(Args, Debug)]
pub(crate) struct SpecsArgument {
    /// The directory of specs
    #[arg(long, value_name = "DIR", default_value = "slo-specs")]
    pub specs: PathBuf,
}

/// What a run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done, allowed, valid.
    Done,
    /// 1: denied, invalid, frozen.
    Refused,
    /// 2: wrong usage; clap tells of most of it before any subcommand runs.
    Usage,
    /// 3: could not tell.
    Unsure,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::Unsure => 3,
        })
    }
}

/// Runs the subcommand that the arguments ask for.
pub(crate) fn run() -> Exit {
    match Cli::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Gate(arguments) => gate::run(&arguments),
        Command::Freeze(arguments) => orders::freeze(&arguments),
        Command::Unfreeze(arguments) => orders::unfreeze(&arguments),
        Command::Store(arguments) => store::run(&arguments),
    }
}

/// Loads the specs and tells stderr about faults and warnings.
pub(crate) fn load(argument: &SpecsArgument) -> Result<Loaded, Exit> {
    match slogate::spec::load(&argument.specs) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                let message = format!("{}: {}", yellow("warning"), warning.message);
                say(&Fault { message, ..warning.clone() }.to_string());
            }
            Ok(loaded)
        }
        Err(errors) => {
            say(&errors.to_string());
            match errors {
                SpecErrors::Unreadable { .. } => Err(Exit::Unsure),
                SpecErrors::Invalid(faults) => {
                    let noun = if faults.len() == 1 { "error" } else { "errors" };
                    say(&format!("{} {noun} in {}", faults.len(), argument.specs.display()));
                    Err(Exit::Refused)
                }
            }
        }
    }
}

/// Writes data to stdout. `exit` stands if it arrives, or if the reader has seen enough and went away.
pub(crate) fn print(text: &str, exit: Exit) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("cannot write to stdout: {error}"));
            Exit::Unsure
        }
        Ok(()) | Err(_) => exit,
    }
}

/// Writes a line of words to stderr; there is nobody to tell when that fails.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A word in yellow, where stderr is a terminal and `NO_COLOR` is not set.
fn yellow(word: &str) -> String {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match io::stderr().is_terminal() && !refused {
        true => format!("\u{1b}[33m{word}\u{1b}[0m"),
        false => word.to_owned(),
    }
}
