#!/usr/bin/env bash
# Runs everything that decides whether a change may go in: formatting, lints and all tests, benches compiled.
#
#   tests/run.sh            from any directory, as any user
#
# The tests drive real programs (nginx in front of a small backend, logrotate, Prometheus, curl, openssl, gzip, zstd). Those that
# are missing are installed from Debian's packages, as root or through sudo; nothing is started or configured on this
# machine, and every process that a test starts ends with it. Grafana's types, which the dashboards are compiled against,
# are installed by npm into tests/grafana/node_modules.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# nginx lives in /usr/sbin, which is not in every user's PATH.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# What the tests run, as `program package`.
peers='
nginx nginx
gzip gzip
zstd zstd
setpriv util-linux
taskset util-linux
logrotate logrotate
prometheus prometheus
prometheus-node-exporter prometheus-node-exporter
systemd-analyze systemd
node nodejs
npm npm
curl curl
openssl openssl
unshare util-linux
'

say() { printf '\n==> %s\n' "$*"; }

give_up() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    printf '\nFAILED\n' >&2
    trap - ERR
    exit 1
}

trap 'printf "\nFAILED: %s\n" "${step:-preparation}" >&2' ERR

missing_packages() {
    local program package
    while read -r program package; do
        if [[ -n $program ]] && ! command -v "$program" >/dev/null; then
            printf '%s\n' "$package"
        fi
    done <<<"$peers"
}

# Installs without starting the services that come along: Debian asks /usr/sbin/policy-rc.d before it starts one, so a
# refusal is put there while apt runs, unless the administrator has a policy already.
install_quietly='
set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap "rm -f $policy" EXIT
    trap "exit 130" INT TERM HUP
    printf "#!/bin/sh\nexit 101\n" >"$policy"
    chmod 755 "$policy"
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@"
'

install_missing() {
    local -a packages
    mapfile -t packages < <(missing_packages)
    if ((${#packages[@]} == 0)); then
        return
    fi
    if ! command -v apt-get >/dev/null; then
        give_up "these programs are missing: ${packages[*]}; there is no apt-get here, install them by hand"
    fi
    local -a as_root=()
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            give_up "missing packages: ${packages[*]}; run as root once: apt-get install ${packages[*]}"
        fi
        as_root=(sudo)
        if [[ ! -t 0 ]] && ! sudo -n true 2>/dev/null; then
            give_up "missing packages: ${packages[*]}; sudo wants a password and there is no terminal to ask on"
        fi
    fi
    say "Installing from Debian, without starting any service: ${packages[*]}"
    "${as_root[@]}" sh -c "$install_quietly" sh "${packages[@]}" >/dev/null
    mapfile -t packages < <(missing_packages)
    if ((${#packages[@]} > 0)); then
        give_up "installed, but still not found in PATH: ${packages[*]}"
    fi
}

# What tests/grafana/package-lock.json says, unless that has been done.
install_types() {
    local done=tests/grafana/node_modules/.package-lock.json
    if [[ ! $done -nt tests/grafana/package-lock.json ]]; then
        run npm --prefix tests/grafana ci --ignore-scripts --no-audit --no-fund
    fi
}

check_toolchain() {
    command -v cargo >/dev/null || give_up "cargo is not in PATH; install Rust from https://rustup.rs"
    cargo fmt --version >/dev/null 2>&1 || give_up "rustfmt is missing: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || give_up "clippy is missing: rustup component add clippy"
}

run() {
    step="$*"
    say "$step"
    "$@"
}

install_missing
check_toolchain
install_types
run cargo fmt --check
# Checks the benches too; they are not built, which would be a second optimised build of everything.
run cargo clippy --locked --all-targets -- -D warnings
# The dev profile is optimised enough for the tests with much data (see Cargo.toml).
run cargo test --locked

printf '\nPASSED: formatting, lints and all tests\n'
