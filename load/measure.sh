#!/bin/sh
# Builds gateway, baseline and load test with the profile of releases, and measures them on this
# machine together with the other proxies that are installed (tests/counterparts/install.sh load).
# Fails when a budget of load/budgets.toml does not hold.
#
#   load/measure.sh [what `loki-load lab` takes; see loki-load lab --help]
#
# The machine should do nothing else meanwhile: the proxy has one processor, origin and load another.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
cargo build --profile dist --locked -p gateway --bin loki-gateway -p load --bins
programs=${CARGO_TARGET_DIR:-$root/target}/dist
exec "$programs/loki-load" lab "$@"
