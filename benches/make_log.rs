//! Writes the log and the specs that `benches/throughput.sh` measures with.
//!
//! `make_log DIR MEGABYTES` makes in DIR
//! - `access.log`: nginx's combined format with `$request_time`, about 235 bytes a line, 60 routes with identifiers in
//!   their paths, spread evenly over 28 days; the same bytes every time;
//! - `specs-60/`: two SLOs for each of the 60 routes; `specs-50/`, `specs-500/`: 100 and 1,000 SLOs, on 50 and 500
//!   routes; `specs-dense/`: 1,000 SLOs on the 60 routes of the log, so that every line counts for 16 or more.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

#[path = "support/traffic.rs"]
mod traffic;

use traffic::{FORMAT, pattern};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [directory, megabytes] = arguments.as_slice() else {
        // `cargo bench` runs every target; without arguments there is nothing to make.
        return Ok(());
    };
    let directory = Path::new(directory);
    let bytes = megabytes.parse::<u64>().expect("MEGABYTES is a whole number") << 20;
    for (name, routes, slos) in [("60", 60, 120), ("50", 50, 100), ("500", 500, 1_000), ("dense", 60, 1_000)] {
        write_specs(&directory.join(format!("specs-{name}")), routes, slos)?;
    }
    let mut out = BufWriter::with_capacity(1 << 20, fs::File::create(directory.join("access.log"))?);
    traffic::write_log(&mut out, bytes, 28 * 24 * 60)?;
    out.flush()
}

/// Specs of `slos` SLOs, spread evenly over so many routes.
fn write_specs(directory: &Path, routes: usize, slos: usize) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    let engine = format!(
        "[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"../access.log\"]\nnginx = '{FORMAT}'\n[gate]\non_unknown = \"deny\"\n"
    );
    fs::write(directory.join("slogate.toml"), engine)?;
    for route in 0..routes {
        let mut text = format!("[story]\nname = \"route{route}\"\nservice = \"shop\"\n");
        for place in 0..(route + 1) * slos / routes - route * slos / routes {
            let kind = match place % 2 {
                0 => "availability]\n".to_owned(),
                _ => format!("latency]\nthreshold = \"{}ms\"\n", 300 + 50 * (place / 2)),
            };
            let requests = format!("source = \"lb\"\nrequests = [\"GET {}\"]\n", pattern(route));
            write!(text, "\n[[slo]]\nname = \"slo{place}\"\nobjective = 99.9\n[slo.{kind}{requests}")
                .expect("to memory");
        }
        fs::write(directory.join(format!("route{route}.toml")), text)?;
    }
    Ok(())
}
