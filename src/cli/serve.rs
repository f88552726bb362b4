//! `slogate serve`: follow the logs, keep the windows, answer over HTTP.

use std::io::IsTerminal;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use slogate::run::{self, StartError};
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, SpecsArgument};

pub(super) const HELP: &str = "\
Runs until SIGTERM or SIGINT, then finishes what it has read, commits it and exits with 0.
Exit codes: 1 the specs are invalid; 2 wrong usage; 3 something that it needs cannot be had: the store, the address, \
the token.";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    specs: SpecsArgument,

    /// How to write the log, which goes to stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Serves until told to stop.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let loaded = match super::load(&arguments.specs) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    start_log(arguments.log_format);
    let catalog = Arc::new(loaded.catalog);
    let (stories, slos) = (catalog.stories.len(), catalog.slos.len());
    let shutdown = async {
        match told_to_stop() {
            Ok(told) => told.await,
            Err(error) => tracing::error!("cannot wait for signals: {error}"),
        }
        tracing::info!("stopping: finishing what was read");
    };
    let started = |address| tracing::info!("answering at http://{address}, {slos} SLOs of {stories} stories");
    match run::serve(catalog, shutdown, started) {
        Ok(()) => Exit::Done,
        Err(error) => {
            super::say(&error.to_string());
            match error {
                StartError::Patterns { .. } => Exit::Refused,
                _ => Exit::Unsure,
            }
        }
    }
}

/// Completes at SIGTERM or SIGINT, which do nothing else from this call on. To be called in a runtime.
pub(super) fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn start_log(format: LogFormat) {
    let is_terminal = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO);
    let log = log.with_ansi(is_terminal);
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}
