//! Who is asked, by which name, and who learns the token.
//!
//! Certificates are made by Debian's `openssl` when the test runs, so that none in the repository expires.

use std::net::ToSocketAddrs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

const SECRET: &str = "s3cret-0f-the-targets";

fn knows_secret(request: &str) -> bool {
    request.to_ascii_lowercase().contains(&format!("authorization: bearer {SECRET}"))
}

#[test]
fn d15_redirects_are_followed_where_that_is_wanted_and_the_token_stays_at_home() {
    let (home, abroad, at_home, cloud) = (Target::new(), Target::new(), Target::new(), Target::new());
    home.answer(Answer::Redirect(abroad.url()));
    at_home.answer(Answer::Redirect("/elsewhere?here=1".to_owned()));
    cloud.answer(Answer::Redirect("http://169.254.169.254/latest/meta-data/".to_owned()));
    for target in [&abroad, &at_home] {
        target.count(OK, 5);
        target.count(FAILED, 5);
    }
    let scrape = format!("{}\ntoken_env = \"SCRAPE_TOKEN\"\n", targets(&[&home, &at_home, &cloud]));
    let mut place = place(&scrape, RATIO);
    place.environment.push(("SCRAPE_TOKEN", SECRET.to_owned()));
    let server = place.start();
    // Off by default: nobody else is asked.
    wait(&place, "three refusals", || source(&place)["scrape_errors"]["redirect"].as_u64() >= Some(3));
    assert_eq!((abroad.asked(), tally(&place, "api/ratio")), (0, (0, 0)));
    let told = "which is not followed; name the endpoint itself";
    assert!(place.words().contains(&format!("redirects to `{}`, {told}", abroad.url())), "{}", place.words());

    write_engine(&place, &format!("{scrape}follow_redirects = true\n"));
    wait_for_pages(&place, &[&abroad, &at_home]);
    abroad.count(OK, 20);
    at_home.count(OK, 3);
    wait_for_tally(&place, "api/ratio", (23, 0));
    assert!(knows_secret(&home.last_request()));
    assert!(abroad.requests().iter().all(|request| !knows_secret(request)), "another origin learns nothing");
    let elsewhere = at_home.requests().into_iter().rfind(|request| request.starts_with("GET /elsewhere?here=1 "));
    assert!(elsewhere.is_some_and(|request| knows_secret(&request)));
    let refused = |target: &Value| target["url"] == cloud.url() && target["reason"] == "redirect";
    assert!(source(&place)["targets"].as_array().expect("a list").iter().any(refused), "{:#}", source(&place));
    assert!(!place.words().contains(SECRET));
    drop(server);
}

/// Runs openssl in a directory.
fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(directory).output();
    let output = output.expect("openssl, of Debian's package of that name, which tests/run.sh installs");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority of this name in a directory, and a certificate for 127.0.0.1 that it has signed.
fn authority(directory: &Path, name: &str) -> Arc<ServerConfig> {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(directory, &format!("req -x509 {key} -keyout {name}-ca.key -out {name}-ca.pem -subj /CN={name}"));
    openssl(directory, &format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN=target"));
    fs::write(directory.join("san"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").expect("written");
    let signed = format!("-CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial -days 2 -extfile san");
    openssl(directory, &format!("x509 -req -in {name}.csr {signed} -out {name}.pem"));
    let chain = CertificateDer::from_pem_file(directory.join(format!("{name}.pem"))).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![chain], key).expect("a sound configuration"))
}

#[test]
fn targets_are_trusted_by_their_authority_and_the_token_is_read_again() {
    let keys = tempfile::tempdir().expect("a temporary directory");
    let any = "127.0.0.1:0".parse().expect("an address");
    let trusted = Target::at(any, Some(authority(keys.path(), "ours")));
    let stranger = Target::at(any, Some(authority(keys.path(), "theirs")));
    for target in [&trusted, &stranger] {
        target.count(OK, 5);
        target.count(FAILED, 5);
    }
    let secured = |target: &Target| format!("https://{}/metrics", target.address);
    let token = keys.path().join("token");
    fs::write(&token, format!("{SECRET}-old\n")).expect("written");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("changed");
    let scrape = format!(
        "targets = [\"{}\", \"{}\"]\nca_file = \"{}\"\ntoken_file = \"{}\"",
        secured(&trusted),
        secured(&stranger),
        keys.path().join("ours-ca.pem").display(),
        token.display()
    );
    let place = place(&scrape, RATIO);
    let server = place.start();
    wait_for_pages(&place, &[&trusted]);
    trusted.count(OK, 9);
    trusted.count(FAILED, 1);
    wait_for_tally(&place, "api/ratio", (9, 1));
    // A stranger is heard before it is asked anything.
    let refused = || {
        let source = source(&place);
        let found =
            source["targets"].as_array().expect("a list").iter().find(|found| found["url"] == secured(&stranger));
        found.expect("a target")["error"].as_str().map(str::to_owned)
    };
    wait(&place, "a refusal", || refused().is_some());
    assert!(refused().is_some_and(|error| error.contains("certificate")), "{:?}", refused());
    assert_eq!(stranger.asked(), 0);
    // A token that is replaced is used within some seconds.
    assert!(trusted.last_request().contains(&format!("{SECRET}-old")));
    fs::write(&token, format!("{SECRET}\n")).expect("written");
    wait(&place, "the new token", || knows_secret(&trusted.last_request()) && !trusted.last_request().contains("-old"));
    // A file without a certificate is told, and nobody is asked without one.
    fs::write(keys.path().join("empty.pem"), "").expect("written");
    write_engine(&place, &scrape.replace("ours-ca.pem", "empty.pem"));
    wait(&place, "trouble", || source(&place)["scrape_errors"]["trust"].as_u64() > Some(0));
    assert!(place.words().contains("there is no certificate in it"), "{}", place.words());
    assert!(!place.words().contains(SECRET));
    drop(server);
}

/// The address behind a port on each of several loopback addresses.
fn on_one_port(addresses: &[&str]) -> Vec<Target> {
    'ports: loop {
        let first = Target::at(format!("{}:0", addresses[0]).parse().expect("an address"), None);
        let port = first.address.port();
        let mut all = vec![first];
        for address in &addresses[1..] {
            let address: std::net::SocketAddr = format!("{address}:{port}").parse().expect("an address");
            // Somebody else may have it.
            if std::net::TcpListener::bind(address).is_err() {
                continue 'ports;
            }
            all.push(Target::at(address, None));
        }
        return all;
    }
}

#[test]
fn every_address_of_a_name_is_asked_and_counted() {
    // A name has the addresses that the server's own file of names gives it, in a file system that only it sees; where
    // the system does not allow that, it is `localhost` with what that has here.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let hosts = directory.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost replicas.test\n127.0.0.2 replicas.test\n").expect("written");
    let wrapped = directory.path().join("with-names");
    let script = format!("#!/bin/sh\nmount --bind {} /etc/hosts && exec \"$@\"\n", hosts.display());
    fs::write(&wrapped, script).expect("written");
    let with_names = ["/usr/bin/unshare", "-m", "/bin/sh", wrapped.to_str().expect("a path")];
    let may = Command::new(with_names[0]).args(&with_names[1..]).arg("/bin/true").output();
    let (name, addresses) = match may.is_ok_and(|output| output.status.success()) {
        true => ("replicas.test", vec!["127.0.0.1".to_owned(), "127.0.0.2".to_owned()]),
        false => {
            let found = ("localhost", 0).to_socket_addrs().expect("it has addresses");
            let mut found: Vec<String> = found.map(|address| address.ip().to_string()).collect();
            found.dedup();
            ("localhost", found)
        }
    };
    let quoted: Vec<String> =
        addresses.iter().map(|ip| if ip.contains(':') { format!("[{ip}]") } else { ip.clone() }).collect();
    let all = on_one_port(&quoted.iter().map(String::as_str).collect::<Vec<_>>());
    for target in &all {
        target.count(OK, 5);
        target.count(FAILED, 5);
    }
    let url = format!("http://{name}:{}/metrics", all[0].address.port());
    let place = place(&format!("dns = [\"{url}\"]"), RATIO);
    let mut server = if name == "localhost" { place.spawn() } else { place.spawn_by(&with_names) };
    server.wait_until_ready();
    wait_for_pages(&place, &all.iter().collect::<Vec<_>>());
    for (target, events) in all.iter().zip([10, 200]) {
        target.count(OK, events);
    }
    wait_for_tally(&place, "api/ratio", ([10, 200][..all.len()].iter().sum(), 0));
    let source = source(&place);
    let shown: Vec<&str> = source["targets"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|found| found["url"].as_str().expect("a URL"))
        .collect();
    assert_eq!(shown, addresses.iter().map(|ip| format!("{url}#{ip}")).collect::<Vec<_>>());
    assert!(
        all[0].last_request().to_ascii_lowercase().contains(&format!("host: {name}:")),
        "{}",
        all[0].last_request()
    );
    drop(server);
}

#[test]
fn lists_in_toml_are_read_again_when_they_change() {
    let (one, other) = (Target::new(), Target::new());
    for target in [&one, &other] {
        target.count(OK, 5);
        target.count(FAILED, 5);
    }
    let place = place("file_sd = [\"../targets/*.toml\"]", RATIO);
    fs::create_dir(place.path("targets")).expect("a directory");
    let list = |targets: &[&Target]| {
        let addresses: Vec<String> = targets.iter().map(|target| format!("\"{}\"", target.address)).collect();
        let labels = "labels = { __metrics_path__ = \"/stats\", __param_module = \"a b\" }";
        fs::write(place.path("new"), format!("[[group]]\ntargets = [{}]\n{labels}\n", addresses.join(", ")))
            .expect("written");
        fs::rename(place.path("new"), place.path("targets/app.toml")).expect("renamed");
    };
    list(&[&one]);
    let server = place.start();
    wait_for_pages(&place, &[&one]);
    assert!(one.last_request().starts_with("GET /stats?module=a+b HTTP/1.1"), "{}", one.last_request());
    list(&[&one, &other]);
    wait_for_pages(&place, &[&one, &other]);
    one.count(OK, 2);
    other.count(OK, 30);
    wait_for_tally(&place, "api/ratio", (32, 0));
    list(&[&other]);
    wait(&place, "one target", || source(&place)["targets"].as_array().is_some_and(|list| list.len() == 1));
    let asked = one.asked();
    other.count(FAILED, 4);
    wait_for_tally(&place, "api/ratio", (32, 4));
    assert!(one.asked() <= asked + 1, "one may have been on its way");
    drop(server);
}
