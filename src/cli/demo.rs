//! `slogate demo`: everything at work, with nothing to prepare.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use chrono::DateTime;
use clap::Args;
use slogate::demo::{self, Gate, Incident, News, Plan, Scene, Stop};
use slogate::time::{SystemClock, parse_duration_us};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use super::cells::{self, grouped, indented};

pub(super) const HELP: &str = "\
Writes the access log of a made-up shop's last four weeks to a temporary directory and serves it, while requests \
keep coming in. It needs no files and leaves none: everything is removed at Ctrl-C, SIGTERM, or when the terminal is \
closed.
Exit codes: 0 stopped; 2 wrong usage; 3 something that it needs cannot be had.";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Another seed makes another four weeks
    #[arg(long, value_name = "NUMBER", default_value_t = 28)]
    seed: u64,

    /// Where to answer; a free port when this one is taken
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9999")]
    listen: SocketAddr,

    /// How often the log is rotated while it is followed
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    rotate_every: Duration,
}

/// Shows the demo until told to stop.
pub(super) fn run(arguments: &Arguments) -> Exit {
    // What goes well is told here; what is told about files and specs is for those who run a server.
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::ERROR);
    log.with_ansi(false).with_target(false).init();
    let plan = Plan { seed: arguments.seed, listen: arguments.listen, rotate_every: arguments.rotate_every };
    let stop = Stop::default();
    let signals = match stop_at_signals(stop.clone()) {
        Ok(signals) => signals,
        Err(error) => {
            super::say(&format!("cannot wait for signals: {error}"));
            return Exit::Unsure;
        }
    };
    let shown = demo::run(&plan, &SystemClock, &stop, &|news| tell(&plan, &news));
    signals.shutdown_background();
    match shown {
        Ok(()) => Exit::Done,
        Err(error) => {
            super::say(&error.to_string());
            Exit::Unsure
        }
    }
}

/// From here on signals do nothing but tell `stop`, as long as what is returned is there. A terminal that is closed
/// ends it like Ctrl-C: it would otherwise leave its files.
fn stop_at_signals(stop: Stop) -> std::io::Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let of_runtime = runtime.enter();
    let told = super::serve::told_to_stop()?;
    let mut hung_up = signal(SignalKind::hangup())?;
    drop(of_runtime);
    runtime.spawn(async move {
        tokio::select! {
            () = told => {}
            _ = hung_up.recv() => {}
        }
        stop.tell();
    });
    Ok(runtime)
}

fn tell(plan: &Plan, news: &News<'_>) {
    match news {
        News::Writing => super::say("writing four weeks of a shop's access log ..."),
        News::Taken(instead) => super::say(&format!("{} is taken; answering at {instead} instead", plan.listen)),
        // Nobody there to read it is no reason to stop: others may be asking the server.
        News::Ready(scene) => drop(super::print(&banner(scene), Exit::Done)),
    }
}

fn banner(scene: &Scene<'_>) -> String {
    let Scene { address, directory, lines, target, incidents, gates } = scene;
    let mut text = format!("slogate demo: http://{address}\n\n");
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        text,
        "A made-up shop: {} lines of its access log, and what its visitors ask for now.",
        grouped(*lines)
    );
    text.push_str("In these four weeks\n");
    for incident in *incidents {
        let _ = writeln!(text, "  {}", happened(incident));
    }
    let _ = writeln!(text, "\n{}", indented(&gate_table(gates).trim_fmt()));
    let _ = writeln!(text, "\nPaying (checkout) leaves no log: slogate scrapes {target} every second.");
    text.push_str("It has no history: until 100 payments are counted, shop is judged by its logs alone.\n\nTry\n");
    for command in worth_a_try(&format!("http://{address}/api/v1"), gates) {
        let _ = writeln!(text, "  {command}");
    }
    let _ = writeln!(text, "\nSpecs and logs are in {} until Ctrl-C.", directory.display());
    text
}

fn happened(incident: &Incident) -> String {
    let at = DateTime::from_timestamp_millis(incident.from.start().millis()).unwrap_or_default();
    let (service, what, minutes) = (incident.service, incident.what, incident.minutes());
    format!("{} UTC  {service}  {what}, {minutes} minutes", at.format("%F %H:%M"))
}

fn gate_table(shown: &[Gate]) -> comfy_table::Table {
    let mut table = cells::gates();
    for Gate { service, level, allow, reasons, .. } in shown {
        table.add_row(cells::gate(service, level, *allow, reasons));
    }
    table
}

/// How the SLO stands that keeps a gate shut; whether a feature may pass that gate, and one that is open; how an SLO
/// stands that is scraped.
fn worth_a_try(api: &str, gates: &[Gate]) -> Vec<String> {
    let denied = gates.iter().find(|gate| !gate.allow);
    let allowed = gates.iter().find(|gate| gate.allow && gate.level == "open");
    let slo = denied.and_then(|gate| gate.slo.as_ref());
    let status = slo.map(|(story, slo)| format!("curl -s {api}/slos/{story}/{slo}"));
    let check = |gate: &Gate| format!(r"curl -sw '%{{http_code}}\n' {api}/gates/{}/check", gate.service);
    let scraped = format!("curl -s {api}/slos/checkout/payments");
    status.into_iter().chain(denied.map(check)).chain(allowed.map(check)).chain([scraped]).collect()
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration_us(text).map(Duration::from_micros)?;
    match duration.is_zero() {
        true => Err("a log cannot be rotated all the time".to_owned()),
        false => Ok(duration),
    }
}
