"""A day in a small shop: the backend that nginx stands before, and the visitors that come.

Usage: shop.py NGINX_PORT BACKEND_PORT CLOCK_FILE; see make.sh.

Each request tells the backend in its headers how to answer (`X-Status`, `X-Delay-Ms`, `X-Size`), so that the plan is
here alone. The plan comes from a seed; what nginx makes of it, and how long each request takes, is measured.
"""

import random
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

HOURS = 10
STEP_SECONDS = 15
FIRST_HOUR = 8

# Visits a minute on average: route, rate, share of slow answers, slow milliseconds.
ROUTES = [
    ("home", 14.5, 0.01, 400),
    ("search", 4.5, 0.03, 950),
    ("category", 2.0, 0.01, 600),
    ("product", 3.0, 0.01, 500),
    ("profile", 3.0, 0.02, 650),
    ("avatar", 2.0, 0.0, 0),
    ("static", 3.0, 0.0, 0),
]

# The few answers that fail on an ordinary day, by minute: all well within what is promised.
FAILURES = {"home": {47: 2, 181: 1, 304: 3, 520: 2}, "search": {333: 1}}

# Minutes in which the profile's backend is in trouble: half of the answers are 503, and the rest are slow.
INCIDENT = range(491, 493)

AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0.0.0",
    "shop-app/4.2 (Android 15)",
]
USERS = ["ada", "grace", "linus", "edsger", "barbara", "donald", "margaret", "ken"]
WORDS = ["lamp", "desk", "chair", "oak+table", "shelf", "rug", "sofa+bed", "mirror"]
CATEGORIES = ["kitchen", "garden", "office", "kids"]
STATIC = ["/static/app.js", "/static/app.css", "/static/logo.svg", "/favicon.ico", "/robots.txt"]
STRANGERS = [
    b"GET /wp-login.php HTTP/1.1\r\nHost: shop.example\r\nX-Status: 404\r\nConnection: close\r\n\r\n",
    b"GET /.env HTTP/1.1\r\nHost: shop.example\r\nX-Status: 404\r\nConnection: close\r\n\r\n",
    b"\x16\x03\x01\x00\xee\x01\x00\x00\xea\x03\x03 no TLS here \r\n\r\n",
    b"GET /profile/x\" 200 5 \"-\" HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"OPTIONS * HTTP/1.0\r\n\r\n",
]


class Shop(ThreadingHTTPServer):
    """Takes everybody in: with the usual queue of 5, a burst would wait a second for its connections."""

    request_queue_size = 128


class Backend(BaseHTTPRequestHandler):
    """Answers as its request asks."""

    def do_GET(self):
        time.sleep(int(self.headers.get("X-Delay-Ms", 0)) / 1000)
        body = b"." * int(self.headers.get("X-Size", 0))
        self.send_response(int(self.headers.get("X-Status", 200)))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def planned(minute, dice):
    """The requests of one minute, as (seconds into it, bytes to send)."""
    busy = 1 + 0.12 * dice.uniform(-1, 1)
    for route, rate, slow_share, slow_ms in ROUTES:
        count = int(rate * busy + dice.random())
        failing = FAILURES.get(route, {}).get(minute, 0)
        for number in range(max(count, failing)):
            status, delay = dice.choices([200, 304, 404], [94, 4, 2])[0], dice.randrange(1, 12)
            if number < failing:
                status = dice.choice([500, 502])
            elif dice.random() < slow_share:
                delay = slow_ms + dice.randrange(150)
            if route in ("profile", "avatar") and minute in INCIDENT:
                status, delay = (503, 5) if number % 2 == 0 else (200, 700 + dice.randrange(200))
            yield dice.uniform(0, 59), request(target(route, dice), status, delay, dice)
    if dice.random() < 0.02:
        yield dice.uniform(0, 59), dice.choice(STRANGERS)


def target(route, dice):
    user = dice.choice(USERS)
    return {
        "home": "/",
        "search": f"/search?q={dice.choice(WORDS)}&page={dice.randrange(1, 4)}",
        "category": f"/category/{dice.choice(CATEGORIES)}",
        "product": f"/product/{dice.randrange(1000, 1200)}",
        "profile": f"/profile/{user}",
        "avatar": f"/profile/{user}/avatar",
        "static": dice.choice(STATIC),
    }[route]


def request(path, status, delay, dice):
    size = 0 if status == 304 else dice.randrange(2, 120) * 100
    return (
        f"GET {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: {dice.choice(AGENTS)}\r\nConnection: close\r\n"
        f"X-Status: {status}\r\nX-Delay-Ms: {delay}\r\nX-Size: {size}\r\n\r\n"
    ).encode()


def visit(port, bytes_to_send, address):
    """Sends one request from a loopback address of its own and reads the answer to its end."""
    with socket.create_connection(("127.0.0.1", port), 30, (address, 0)) as connection:
        connection.sendall(bytes_to_send)
        while connection.recv(65536):
            pass


def wait_for(port):
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def main():
    nginx_port, backend_port, clock_file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    backend = Shop(("127.0.0.1", backend_port), Backend)
    Thread(target=backend.serve_forever, daemon=True).start()
    wait_for(nginx_port)

    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    opening = yesterday.replace(hour=FIRST_HOUR, minute=0, second=0, microsecond=0).timestamp()
    dice = random.Random(20261120)
    with ThreadPoolExecutor(16) as visitors:
        for minute in range(HOURS * 60):
            plan = sorted(planned(minute, dice))
            for second in range(0, 60, STEP_SECONDS):
                now = [ask for at, ask in plan if second <= at < second + STEP_SECONDS]
                if not now:
                    continue
                # Nothing is in flight: the clock of nginx may be moved.
                moment = opening + minute * 60 + second + dice.uniform(0, STEP_SECONDS - 5)
                with open(clock_file, "w", encoding="ascii") as clock:
                    clock.write(f"{moment - time.time():+.3f}\n")
                addresses = [f"127.0.{dice.randrange(1, 9)}.{dice.randrange(1, 250)}" for _ in now]
                for visited in [visitors.submit(visit, nginx_port, *one) for one in zip(now, addresses)]:
                    visited.result()
            if minute % 60 == 59:
                print(f"shop.py: {(minute + 1) // 60} of {HOURS} hours", file=sys.stderr)
    backend.shutdown()


if __name__ == "__main__":
    main()
