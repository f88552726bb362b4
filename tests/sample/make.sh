#!/usr/bin/env bash
# Makes the sample log: ten hours of a shop's day, written by a real nginx in front of a small backend.
#
#   tests/sample/make.sh [FILE]      default: access.log.gz beside this script; takes about five minutes
#
# Every line is nginx's own: its status, its size, the time that the request really took. Only the hours between the
# requests are skipped: nginx runs under libfaketime, and its clock is moved on while nothing is in flight. The traffic
# is planned in shop.py, from a seed: what goes well, and the few minutes in which the profile's backend fails.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$(realpath -m "${1:-$here/access.log.gz}")
export PATH="$PATH:/usr/sbin:/sbin"

missing=()
for need in nginx:nginx python3:python3 gzip:gzip faketime:faketime; do
    command -v "${need%:*}" >/dev/null || missing+=("${need#*:}")
done
if ((${#missing[@]} > 0)); then
    echo "make.sh: missing, install them first: apt-get install ${missing[*]}" >&2
    exit 1
fi
faketime_library=$(find /usr/lib -name libfaketime.so.1 -print -quit)

scratch=$(mktemp -d)
nginx_pid=
cleanup() {
    if [[ -n $nginx_pid ]]; then
        kill "$nginx_pid" 2>/dev/null || true
        wait "$nginx_pid" 2>/dev/null || true
    fi
    rm -rf "$scratch"
}
trap cleanup EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
nginx_port=$(free_port)
backend_port=$(free_port)

user=
((EUID != 0)) || user='user root;'
cat >"$scratch/nginx.conf" <<CONF
daemon off;
$user
worker_processes 1;
pid $scratch/nginx.pid;
error_log $scratch/error.log;
# libfaketime asks for these in the workers too, whose environment nginx clears.
env FAKETIME_TIMESTAMP_FILE;
env FAKETIME_NO_CACHE;
env FAKETIME_DONT_FAKE_MONOTONIC;
events { worker_connections 256; }
http {
    client_body_temp_path $scratch/body; proxy_temp_path $scratch/proxy; fastcgi_temp_path $scratch/fastcgi;
    uwsgi_temp_path $scratch/uwsgi; scgi_temp_path $scratch/scgi;
    log_format timed '\$remote_addr - \$remote_user [\$time_local] "\$request" \$status \$body_bytes_sent '
                     '"\$http_referer" "\$http_user_agent" \$request_time';
    access_log $scratch/access.log timed;
    server {
        listen 127.0.0.1:$nginx_port;
        location / { proxy_pass http://127.0.0.1:$backend_port; }
    }
}
CONF

echo '+0' >"$scratch/clock"
TZ=UTC0 LD_PRELOAD=$faketime_library FAKETIME_TIMESTAMP_FILE=$scratch/clock FAKETIME_NO_CACHE=1 \
    FAKETIME_DONT_FAKE_MONOTONIC=1 nginx -e "$scratch/error.log" -p "$scratch" -c "$scratch/nginx.conf" &
nginx_pid=$!

python3 "$here/shop.py" "$nginx_port" "$backend_port" "$scratch/clock"

# Gracefully, so that the log is complete.
kill -QUIT "$nginx_pid"
wait "$nginx_pid"
nginx_pid=

gzip -9 -n -c "$scratch/access.log" >"$target"
echo "make.sh: $(wc -l <"$scratch/access.log") lines in $target, $(wc -c <"$target") bytes"
