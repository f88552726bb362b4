//! Requests as a test sends them, byte by byte, each with what an exact count must make of it.

/// Which of the test's SLOs a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// `GET /profile/{user}`
    Profile,
    /// `GET /profile/{user}/avatar`
    Avatar,
    /// `GET /steady/{n}`: always fast.
    Steady,
    /// `GET /glacial/{n}`: always slow.
    Glacial,
    /// `GET /tenant/{name}` on the shop's own hosts.
    Tenant,
    /// None of them.
    Elsewhere,
}

/// A request and what is known about it before it is sent.
#[derive(Clone, Debug)]
pub struct Ask {
    /// On the wire.
    pub bytes: Vec<u8>,
    /// What the request line says.
    pub route: Route,
    /// What `$request_method`, `$host` and `$request_uri` say: nothing for a request line that nginx refused.
    pub split_route: Route,
    /// The status that nginx logs, where its answer does not show it.
    pub unseen: Option<u16>,
    /// Whether an upstream took part.
    pub upstream: bool,
    /// Whether it takes longer than [`SLOW_MS`] rather than next to nothing.
    pub slow: bool,
    /// Whether its line is longer than 64 KiB where a format has user agent and referer.
    pub too_long: bool,
}

/// How long the backend takes for a slow request. The tests' threshold is 2 s: far from this and far from nothing.
pub const SLOW_MS: u64 = 2_500;

const HOST: &str = "shop.example";

impl Ask {
    /// A request of `method` for `target`.
    pub fn new(method: &str, target: impl AsRef<[u8]>, route: Route) -> Self {
        let line = [method.as_bytes(), b" ", target.as_ref(), b" HTTP/1.1\r\n"].concat();
        Self::raw(line, route).header("Host", HOST).header("Connection", "close")
    }

    /// A request for `target`.
    pub fn get(target: impl AsRef<[u8]>, route: Route) -> Self {
        Self::new("GET", target, route)
    }

    /// A request line as it is; headers may follow.
    pub fn raw(bytes: impl Into<Vec<u8>>, route: Route) -> Self {
        Self {
            bytes: bytes.into(),
            route,
            split_route: route,
            unseen: None,
            upstream: true,
            slow: false,
            too_long: false,
        }
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.bytes.extend([name.as_bytes(), b": ", value.as_ref(), b"\r\n"].concat());
        self
    }

    /// The backend answers with this status.
    pub fn answered(self, status: u16) -> Self {
        self.header("X-Status", format!("{status:03}"))
    }

    /// The backend takes its time.
    pub fn slow(mut self) -> Self {
        self.slow = true;
        self.header("X-Delay-Ms", SLOW_MS.to_string())
    }

    /// nginx logs this status without showing it to the client.
    pub fn unseen(mut self, status: u16) -> Self {
        self.unseen = Some(status);
        self
    }

    /// nginx answers by itself.
    pub fn by_nginx(mut self) -> Self {
        self.upstream = false;
        self
    }

    /// nginx does not understand the request line and answers by itself.
    pub fn refused(mut self) -> Self {
        self.split_route = Route::Elsewhere;
        self.by_nginx()
    }

    pub fn too_long(mut self) -> Self {
        self.too_long = true;
        self
    }

    /// With the empty line that ends the headers.
    pub fn finished(mut self) -> Self {
        self.bytes.extend(b"\r\n");
        self
    }
}

/// Every status that matters, on both routes of the profile and beside them, by GET and by other methods.
pub fn plain() -> Vec<Ask> {
    let mut asks = Vec::new();
    for status in [200, 201, 204, 206, 301, 304, 400, 403, 404, 408, 429, 499, 500, 502, 503, 504, 599] {
        asks.push(Ask::get("/profile/ada", Route::Profile).answered(status));
        asks.push(Ask::get("/profile/ada/avatar", Route::Avatar).answered(status));
        asks.push(Ask::get("/static/app.js", Route::Elsewhere).answered(status));
    }
    for method in ["HEAD", "POST", "PUT", "DELETE", "PATCH", "PROPFIND", "M-SEARCH", "GETT", "X_Y"] {
        // nginx takes upper-case letters, `_` and `-` for a method, whatever it means.
        asks.push(Ask::new(method, "/profile/ada", Route::Elsewhere).answered(500));
    }
    for n in 0..4 {
        asks.push(Ask::get(format!("/steady/{n}"), Route::Steady));
    }
    asks.into_iter().map(Ask::finished).collect()
}

/// Slow ones, to be sent side by side.
pub fn slow() -> Vec<Ask> {
    let mut asks: Vec<Ask> =
        [200, 404, 500].map(|status| Ask::get("/profile/slow", Route::Profile).answered(status).slow()).into();
    asks.push(Ask::get("/profile/flaky-and-slow", Route::Profile).slow());
    asks.push(Ask::get("/profile/slow/avatar", Route::Avatar).slow());
    asks.extend((0..2).map(|n| Ask::get(format!("/glacial/{n}"), Route::Glacial).slow()));
    asks.into_iter().map(Ask::finished).collect()
}

/// b13, b14, b16: statuses that nginx makes up itself, gives up on or passes through.
pub fn odd_statuses() -> Vec<Ask> {
    let mut asks = vec![
        Ask::get("/profile/dead", Route::Profile),
        Ask::get("/profile/flaky", Route::Profile),
        Ask::get("/profile/flaky", Route::Profile).answered(503),
        Ask::get("/profile/hangup", Route::Profile).unseen(444).by_nginx(),
        Ask::get("/profile/socket", Route::Profile).answered(101),
    ];
    // b12: nginx logs whatever three digits a backend says.
    for status in [0, 99, 600, 999] {
        asks.push(Ask::get("/profile/ada", Route::Profile).answered(status));
        asks.push(Ask::get("/nothing", Route::Elsewhere).answered(status));
    }
    asks.into_iter().map(Ask::finished).collect()
}

/// b01, b08, b19: targets and request lines that nobody should send.
pub fn hostile_lines() -> Vec<Ask> {
    let mut asks = Vec::new();
    // Targets that nginx passes on. The pattern sees them as they are written, without their query.
    for target in [
        &b"/profile/a\"200\"5\"-\""[..],
        b"/profile/%22%20200%205%20%22-%22",
        b"/profile/\\x22\\x20200",
        b"/profile/a\\",
        b"/profile/\xff\xfe\x80",
        b"/profile/ada;jsessionid=1",
        b"/profile/%61da",
        b"/profile/..",
        b"/profile/%2e%2e",
        b"/profile/ada?x=/avatar",
        b"/profile/ada?token=s3cret&password=hunter2",
        b"/profile/ada?a=\"500\"5\"-\"",
        b"/profile/ada?",
        b"/profile/<script>alert(1)",
        b"/profile/[20:10:12]",
        b"http://shop.example/profile/ada",
        b"https://elsewhere.example:8443/profile/ada?x",
    ] {
        asks.push(Ask::get(target, Route::Profile).answered(500));
        asks.push(Ask::get(target, Route::Profile));
    }
    asks.push(Ask::get("/profile/".to_owned() + &"a".repeat(6_000), Route::Profile));
    asks.push(Ask::get("/profile/ada?".to_owned() + &"\\\"".repeat(3_000), Route::Profile));
    for target in [
        "/profile",
        "/profile/",
        "//profile/ada",
        "/profile//ada",
        "/profile/ada/",
        "/profile/ada//avatar",
        "/./profile/ada",
        "/Profile/ada",
        "/profile%2fada",
        "/?x=/profile/ada",
        "/",
        "http://shop.example/",
        "http://shop.example/x/profile/ada",
        "/profile/ada/avatar/x",
    ] {
        asks.push(Ask::get(target, Route::Elsewhere).answered(500));
    }
    asks.push(Ask::get("/profile/%2e%2e/avatar", Route::Avatar));
    // Request lines that nginx understands although few would: old, lenient, without a host.
    asks.push(Ask::raw("GET /profile/ada HTTP/1.0\r\n", Route::Profile).answered(500));
    asks.push(
        Ask::raw("GET /profile/ada HTTP/1.10\r\n", Route::Profile).header("Host", HOST).header("Connection", "close"),
    );
    asks.push(
        Ask::raw("GET  /profile/ada  HTTP/1.1\r\n", Route::Profile).header("Host", HOST).header("Connection", "close"),
    );
    asks.push(Ask::raw("GET /profile/ada HTTP/1.1\r\n", Route::Profile).by_nginx());
    asks.push(Ask::get("/profile/ada", Route::Profile).header("Host", "two hosts").by_nginx());
    asks.push(Ask::get("/profile/ada", Route::Profile).header("X", "a\0b").by_nginx());
    // Request lines that it refuses; what is logged is what was sent.
    for target in
        ["/profile/a b", "/profile/a\" 200 5 \"-\" \"x\" 0.001", "/profile/a\tb", "/profile/\0", "/profile/\x1b[31m"]
    {
        asks.push(Ask::get(target, Route::Profile).refused());
    }
    asks.push(Ask::get("/profile/".to_owned() + &"b".repeat(9_000), Route::Profile).refused());
    asks.push(Ask::raw("GET /profile/ada HTTP/9.9\r\n", Route::Profile).header("Host", HOST).refused());
    for line in [
        &b"get /profile/ada HTTP/1.1\r\n"[..],
        b"G\0ET /profile/ada HTTP/1.1\r\n",
        b"\"GET /profile/ada HTTP/1.1\r\n",
        b"GET profile/ada HTTP/1.1\r\n",
        b"GET HTTP/1.1\r\n",
        b"GET\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"CONNECT shop.example:443 HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x8f\x22 \" 200 \"GET /profile/ada HTTP/1.1\r\n",
        b"\x80\x2e\x01\x03\x01\r\n",
        b"\" 200 5 \"-\" \"-\" 0.001\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        asks.push(Ask::raw(line, Route::Elsewhere).refused());
    }
    let mut asks: Vec<Ask> = asks.into_iter().map(Ask::finished).collect();
    // HTTP/0.9 knows no headers; nor does it know a status.
    asks.push(Ask::raw("GET /profile/ada\r\n", Route::Profile).unseen(200));
    asks
}

/// Clients that stop in the middle of their request; each costs nginx's patience of a second.
pub fn unfinished() -> Vec<Ask> {
    vec![
        Ask::raw("GET /profile/ada/avatar HTTP/1.1\r\nHost: shop", Route::Avatar).unseen(408).by_nginx(),
        Ask::raw("GET /nowhere", Route::Elsewhere).unseen(408).refused(),
        Ask::raw("\r\n\r\n", Route::Elsewhere).unseen(408).refused(),
    ]
}

/// b06: names, agents and referers that look like the rest of a line.
pub fn hostile_headers() -> Vec<Ask> {
    let mut asks = Vec::new();
    for user in [
        &b"ada lovelace"[..],
        b"o\"brien\"",
        b"back\\slash\\",
        b"[admin]",
        b"x [20/Nov/2026",
        b" - x [time] \"GET /profile/x HTTP/1.1\" 200 5 \"-\" \"-\" 0.001",
        b"] \"GET /nothing HTTP/1.1\" 200 ",
        b"m\xfcller\xff",
        b"tab\there\x1b[2J",
        b"\\x22 200",
        b"-",
        b"",
    ] {
        let credentials = format!("Basic {}", base64(&[user, b":secret"].concat()));
        for status in [200, 500] {
            let ask = Ask::get("/profile/ada", Route::Profile).answered(status);
            asks.push(ask.header("Authorization", &credentials));
        }
    }
    for text in [
        &b"\" 200 5 \"-\" \"-\" 0.001"[..],
        b"\\\" 200 \\",
        b"\\",
        b"[20/Nov/2026:10:12:00 +0000] \"GET /nothing HTTP/1.1\" 200 5",
        b"- x [20/Nov/2026:10:12:00 +0000] \"GET /nothing HTTP/1.1\" 200 5 \"-\" \"-\" 0.001",
        b"\",\"status\":200,\"duration\":0.001,\"x\":\"",
        b"\" upstream=\"0.001\" at=1.000 status=200",
        b"\xc3\x28\xff\xfe",
        b"\x01\x02\x7f\x1b[31m",
        b"caf\xc3\xa9 \xe2\x80\xa8 \xef\xbb\xbf",
        b"%s%n${jndi:ldap://x}",
        b" ",
    ] {
        for name in ["User-Agent", "Referer"] {
            for (target, route) in [("/profile/ada", Route::Profile), ("/profile/ada/avatar", Route::Avatar)] {
                asks.push(Ask::get(target, route).header(name, text).answered(500));
            }
        }
    }
    // a16: every byte becomes four or more, and the line is longer than what is read of one. Its status is within.
    let long = [1; 7_900];
    let target = [&b"/profile/"[..], &[b'\\'; 7_000]].concat();
    asks.push(Ask::get(target, Route::Profile).header("User-Agent", long).header("Referer", long).too_long());
    asks.into_iter().map(Ask::finished).collect()
}

/// Hosts in every spelling, for SLOs that are about some of them.
pub fn hosts() -> Vec<Ask> {
    let on = |target: &str, host: &str, route| {
        let line = format!("GET {target} HTTP/1.1\r\n");
        Ask::raw(line, route).header("Host", host).header("Connection", "close")
    };
    let mut asks = Vec::new();
    for host in
        ["shop.example", "SHOP.Example", "shop.example:8080", "shop.example.", "eu.shop.example", "a.b.shop.example"]
    {
        asks.push(on("/tenant/acme", host, Route::Tenant));
        asks.push(on("/tenant/acme", host, Route::Tenant).answered(500));
    }
    for host in
        ["evilshop.example", "shop.example.evil", "example", "127.0.0.1", "shop.example\"", "\"shop.example", "[::1]"]
    {
        asks.push(on("/tenant/acme", host, Route::Elsewhere).answered(500));
    }
    // The request line's host goes before the header's.
    asks.push(on("http://shop.example/tenant/acme", "evil.example", Route::Tenant));
    asks.push(on("http://evil.example/tenant/acme", "shop.example", Route::Elsewhere));
    asks.push(Ask::raw("GET /tenant/acme HTTP/1.0\r\n", Route::Elsewhere));
    asks.into_iter().map(Ask::finished).collect()
}

/// Standard base64, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[number >> (18 - 6 * place) & 63];
            text.push(if place > three.len() { '=' } else { char::from(digit) });
        }
    }
    text
}
