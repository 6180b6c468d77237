#!/bin/sh
# Installs what the build, the tests and the demo need on Debian or Ubuntu, beyond a Rust toolchain.
# Does nothing, and needs no network, when everything is there.
set -eu

say() { printf '%s\n' "prerequisites: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

rust_version_min=1.95

if ! command -v cargo >/dev/null 2>&1; then
    fail "cargo is missing: install Rust $rust_version_min or newer with rustup, then open a new shell"
fi
rust_version=$(rustc --version | cut -d' ' -f2 | cut -d- -f1)
oldest=$(printf '%s\n%s\n' "$rust_version_min" "$rust_version" | sort -V | head -n 1)
if [ "$oldest" != "$rust_version_min" ]; then
    fail "rustc $rust_version is older than $rust_version_min: run 'rustup update stable'"
fi
for component in rustfmt:cargo-fmt clippy:cargo-clippy; do
    if ! command -v "${component#*:}" >/dev/null 2>&1; then
        command -v rustup >/dev/null 2>&1 || fail "${component#*:} is missing: install the component ${component%:*} of your Rust toolchain"
        rustup component add "${component%:*}"
    fi
done

missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need git git
need cc gcc
need c++ g++
need make make
need cmake cmake
need openssl openssl
need curl curl
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
# The compiler without the C library's headers cannot build the crypto library.
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null 2>&1 || fail "missing:$missing; this is not Debian or Ubuntu, install them by hand"
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "missing:$missing; run as root: apt-get install$missing"
    as_root="sudo"
fi
say "installing$missing"
$as_root apt-get update -q
# shellcheck disable=SC2086 # one word per package
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
