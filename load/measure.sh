#!/bin/sh
# Measures the authentication path on this machine: a release build, TLS, tokens, audit on.
# Prints figures; there are no budgets to pass yet. Both ends share the processors, so compare
# only figures of one run with each other.
#
#   load/measure.sh [SECONDS per scenario, 5 by default]
set -eu

seconds=${1:-5}
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
cargo build --release --workspace --bins --locked
programs=${CARGO_TARGET_DIR:-$root/target}/release
PATH=$programs:$PATH

umask 077
work=$(mktemp -d "${TMPDIR:-/tmp}/loki-load.XXXXXX")
quit() {
    trap - EXIT INT TERM
    loki dashboard stop >/dev/null 2>&1 || true
    rm -rf "$work"
    exit "$1"
}
trap 'quit $?' EXIT
trap 'quit 1' INT TERM
for name in $(env | sed -n 's/^\(LOKI_[A-Z_]*\)=.*/\1/p'); do
    unset "$name"
done
export HOME="$work" LOKI_ENTERPRISE_AUTH=true LOKI_LOG=warn
export LOKI_TLS_CERT="$work/cert.pem" LOKI_TLS_KEY="$work/key.pem"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -keyout "$LOKI_TLS_KEY" \
    -out "$LOKI_TLS_CERT" -days 2 -nodes -subj "/CN=localhost" \
    -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" 2>/dev/null
# Every refusal shall be looked at in full; throttled ones would be cheaper. One caller asks as
# often as it can.
mkdir "$work/.loki"
printf '[limits]\nfailed_credentials_max = 4294967295\n[rates]\nread = "off"\nchange = "off"\naudit = "off"\n' >"$work/.loki/gateway.toml"
loki enterprise token generate load --role viewer | sed -n 's/^Token: *//p' >"$work/token"
printf 'loki_%046d' 0 >"$work/malformed"
loki dashboard start --port 0
url=$(sed -n 's/.*"url": *"\([^"]*\)".*/\1/p' "$work/.loki/run/endpoint.json")

scenario() {
    printf '\n== %s\n' "$1"
    shift
    loki-load --ca "$LOKI_TLS_CERT" --duration "$seconds" "$@"
}
scenario "no credential needed, answered by the gateway" "$url/health/live"
scenario "token, answered by the gateway" --token-file "$work/token" "$url/metrics"
scenario "token, audited, answered by the runtime" --token-file "$work/token" "$url/api/status"
scenario "no token: refused" --expect 401 "$url/api/status"
scenario "malformed token: refused" --expect 401 --token-file "$work/malformed" "$url/api/status"
