//! A real nginx, whose log is rotated by everything that rotates logs, while it is followed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use slogate::time::Stopwatch;

use super::lines::{Expected, Route};
use super::nginx::Nginx;
use super::server::{FORMAT, PATIENCE_MS, Place};

/// How often the log is rotated in each way.
const ROTATIONS: usize = 4;
/// How many requests are sent between two rotations of a quiet log.
const BETWEEN: u64 = 60;

#[test]
fn a01_a04_a05_a19_what_nginx_was_sent_is_counted_whoever_rotates_its_log() {
    let mut nginx = Nginx::start(&format!("log_format timed '{FORMAT}';"), "timed", "CET-1");
    let place = Place::new();
    let directory = nginx.log().parent().expect("it has a directory").to_owned();
    place.write_engine(&place.address.to_string(), &directory.join("access.log*"), "");
    let server = place.start();
    let mut sent = Expected::new();

    // `mv` and USR1, as administrators do, and logrotate as Debian has it do for nginx: traffic goes on.
    let busy = |rotate: &dyn Fn(usize)| {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let clients = [0, 1].map(|client| {
                scope.spawn({
                    let (nginx, is_over) = (&nginx, &is_over);
                    move || send_until(nginx, client, is_over)
                })
            });
            for rotation in 1..=ROTATIONS {
                rotate(rotation);
                thread::sleep(Duration::from_millis(150));
            }
            is_over.store(true, Ordering::Relaxed);
            clients.into_iter().map(|client| client.join().expect("it was answered")).collect::<Vec<Expected>>()
        })
    };
    for counted in busy(&|rotation| drop(nginx.rotate(&format!("access.log-{rotation}")))) {
        sent = sent.plus(&counted);
    }
    place.wait_for(&sent);
    let reopen = "postrotate\n kill -USR1 $(cat nginx.pid)\n endscript";
    let create = logrotate(&directory, "create", &format!("compress\n delaycompress\n {reopen}"));
    for counted in busy(&|_| rotated(&directory, &create)) {
        sent = sent.plus(&counted);
    }
    place.wait_for(&sent);

    // `copytruncate` loses what is written while it copies, so that nothing is; what it copied may not be read yet.
    for (name, options) in [("copy", "copytruncate"), ("pack", "copytruncate\n compress")] {
        // What another configuration left would be in the way.
        let _ = fs::rename(directory.join("access.log.1"), directory.join(format!("access.log-before-{name}")));
        let configuration = logrotate(&directory, name, options);
        for _ in 0..ROTATIONS {
            let lines = lines_of(&nginx.log());
            let watch = Stopwatch::start();
            (0..BETWEEN).for_each(|number| send(&nginx, number, &mut sent));
            while lines_of(&nginx.log()) < lines + BETWEEN as usize {
                assert!(watch.elapsed_ms() < PATIENCE_MS, "nginx does not write its log");
            }
            rotated(&directory, &configuration);
            place.wait_for(&sent);
        }
    }
    (0..BETWEEN).for_each(|number| send(&nginx, number, &mut sent));
    nginx.stop();
    place.wait_for(&sent);
    assert!(!place.words().contains("gap: "), "nothing was lost, and yet:\n{}", place.words());
    assert!(server.stop().success());
}

/// Sends requests, one after the other, until it is over.
fn send_until(nginx: &Nginx, client: u64, is_over: &AtomicBool) -> Expected {
    let mut sent = Expected::new();
    let mut number = client;
    while !is_over.load(Ordering::Relaxed) {
        send(nginx, number, &mut sent);
        number += 1;
    }
    sent
}

/// Sends one request of the `number`th kind.
fn send(nginx: &Nginx, number: u64, sent: &mut Expected) {
    let (route, target) = match number % 3 {
        0 => (Route::Shop, "/shop/lamp"),
        1 => (Route::Search, "/search?q=lamp"),
        _ => (Route::Elsewhere, "/"),
    };
    let status = [200, 404, 503, 200, 302][(number % 5) as usize];
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nX-Status: {status}\r\n\r\n");
    assert_eq!(nginx.send(request.as_bytes()), Some(status));
    sent.request(route, status, false);
}

fn lines_of(log: &Path) -> usize {
    fs::read(log).expect("the log is there").iter().filter(|byte| **byte == b'\n').count()
}

/// Writes a configuration of logrotate's.
fn logrotate(directory: &Path, name: &str, options: &str) -> String {
    let text = format!("{}/access.log {{\n rotate 99\n {options}\n}}\n", directory.display());
    let text = text.replace("nginx.pid", &directory.join("nginx.pid").to_string_lossy());
    let path = directory.join(name);
    fs::write(&path, text).expect("written");
    // It reads nothing that others may write.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("permissions are set");
    path.to_string_lossy().into_owned()
}

/// Rotates now.
fn rotated(directory: &Path, configuration: &str) {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/sbin";
    let mut command = Command::new("logrotate");
    command.arg("--force").arg("--state").arg(directory.join("state")).arg(configuration).env("PATH", path);
    let output = command.output().expect("logrotate (tests/run.sh installs it) runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
}
