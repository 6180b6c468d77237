#!/bin/sh
# The main job, end to end, on this machine: a PRD goes in, a verified branch comes out.
#
#   deploy/demo.sh run     show it, then stay up until Ctrl-C
#   deploy/demo.sh check   show it, then end; exit 0 only if every step was there and right
#
# Everything lies in one temporary folder: your own ~/.loki and projects are not touched.
# The development profile is enough here: this shows what is done, not how fast, and shares its
# build with the tests.
set -eu

mode=${1:-run}
case $mode in
    run | check) ;;
    *)
        echo "usage: deploy/demo.sh run|check" >&2
        exit 2
        ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
sample=$root/deploy/demo

main() {
    build
    prepare
    start
    refuse_strangers
    run_session
    show_branch
    show_records
    show_metrics
    if [ "$mode" = check ]; then
        stop
        title "every step was there and right"
    else
        stay
    fi
}

build() {
    title "building gateway, runtime, jail and command line"
    cd "$root"
    cargo build --workspace --bins --locked
    programs=${CARGO_TARGET_DIR:-$root/target}/debug
    PATH=$programs:$PATH
    export PATH
}

# A home of its own: certificate, token, settings, and a project with a failing test.
prepare() {
    umask 077
    work=$(mktemp -d "${TMPDIR:-/tmp}/loki-demo.XXXXXX")
    trap 'quit 1' INT TERM HUP
    trap 'quit $?' EXIT
    for name in $(env | sed -n 's/^\(LOKI_[A-Z_]*\)=.*/\1/p'); do
        unset "$name"
    done
    export HOME="$work" LOKI_DATA_DIR="$work/.loki"
    export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
    mkdir "$LOKI_DATA_DIR"

    title "a certificate, by the documented command"
    (
        cd "$work"
        openssl req -x509 -newkey rsa:4096 -keyout key.pem -out cert.pem -days 365 -nodes \
            -subj "/CN=localhost" 2>/dev/null
    )
    export LOKI_TLS_CERT="$work/cert.pem" LOKI_TLS_KEY="$work/key.pem"
    export LOKI_ENTERPRISE_AUTH=true LOKI_BRANCH_PROTECTION=true

    title "a token, shown once and kept in $LOKI_DATA_DIR/credentials (mode 0600)"
    loki enterprise token generate demo --role admin >"$work/generated.txt"
    sed -n 's/^Token: *//p' "$work/generated.txt" >"$LOKI_DATA_DIR/credentials"
    sed 's/^\(Token: *loki_....\).*/\1…/' "$work/generated.txt"
    rm "$work/generated.txt"
    grep -q '^loki_' "$LOKI_DATA_DIR/credentials" || fail "no token was printed"
    printf 'Authorization: Bearer %s\n' "$(cat "$LOKI_DATA_DIR/credentials")" >"$work/bearer"

    title "a project with a failing test, and a PRD"
    project=$work/project
    mkdir "$project"
    cp "$sample"/project/* "$project"
    cp "$sample/my-app.md" "$sample/agent.sh" "$work"
    in_project git init -q -b main
    in_project git add --all
    in_project git -c user.name=Ada -c user.email=ada@example.org commit -q -m "begin"
    main_before=$(in_project git rev-parse main)
    if in_project sh test.sh; then
        fail "the sample's test passes before the session"
    fi
    cat "$work/my-app.md"

    # Where the kernel cannot enforce the jail, the demo's own harmless agent runs all the same.
    advisory=false
    case $(loki-jail probe) in
        *'"file_system":{"state":"enforced"}'*) ;;
        *)
            advisory=true
            echo "this kernel cannot enforce the jail, so the scripted agent runs without it;"
            echo "its session says so, and loki doctor says what is missing"
            ;;
    esac

    cat >"$LOKI_DATA_DIR/runtime.toml" <<SETTINGS
provider = "claude"

# A scripted agent stands in for a vendor's program.
[providers.claude]
command = ["/bin/sh", "$work/agent.sh"]

[verify]
command = ["/bin/sh", "test.sh"]

[projects]
roots = ["$work"]

[jail]
read = ["$work/agent.sh"]
allow_advisory = $advisory
SETTINGS
}

start() {
    title "gateway and runtime, with TLS and tokens"
    port=57374
    until is_free "$port"; do
        echo "port $port is taken, trying the next one"
        port=$((port + 1))
        [ "$port" -lt 57474 ] || fail "no free port from 57374 to 57473"
    done
    loki dashboard start --port "$port"
    url=https://localhost:$port
}

# The port is free if nobody accepts a connection (curl's exit code 7).
is_free() {
    code=0
    curl -s -o /dev/null --max-time 5 "http://127.0.0.1:$1/" || code=$?
    [ "$code" -eq 7 ]
}

refuse_strangers() {
    title "who has no token is refused, who has one is served"
    expect_status 401 "$url/api/status"
    expect_status 200 "$url/api/status" -H @"$work/bearer"
    loki enterprise token generate watcher --role viewer >"$work/generated.txt"
    sed -n 's/^Token: */Authorization: Bearer /p' "$work/generated.txt" >"$work/watcher"
    rm "$work/generated.txt"
    expect_status 200 "$url/api/status" -H @"$work/watcher"
    expect_status 403 "$url/api/sessions" -H @"$work/watcher" -X POST \
        -H "Content-Type: application/json" -d '{}'
    loki enterprise token revoke watcher
    expect_status 401 "$url/api/status" -H @"$work/watcher"
}

expect_status() {
    expected=$1
    shift
    found=$(ask -o /dev/null -w '%{http_code}' "$@")
    [ "$found" = "$expected" ] || fail "expected $expected, got $found: $*"
    echo "$found"
}

ask() { curl -sS --max-time 30 --cacert "$work/cert.pem" "$@"; }

run_session() {
    title "loki start ./my-app.md"
    in_project loki start ../my-app.md || fail "the session did not complete"
    sessions=$(ask -f -H @"$work/bearer" "$url/api/sessions")
    contains "$sessions" '"state":"completed"' "the session is not completed"
    contains "$sessions" '"result":"passed"' "the result was not verified"
    contains "$sessions" '"started_by":"token:demo"' "the session does not know who started it"
    echo "verification: passed ($(in_project_of_branch sh test.sh))"
}

show_branch() {
    title "the branch, and what is on it"
    branch=$(in_project git for-each-ref --format='%(refname:short)' 'refs/heads/loki/session-*')
    [ "$(printf '%s\n' "$branch" | grep -c .)" = 1 ] || fail "expected one session branch: $branch"
    in_project git --no-pager log --oneline --graph --all
    echo
    in_project git --no-pager diff main "$branch"
    [ "$(in_project git rev-parse main)" = "$main_before" ] || fail "main was moved"
    [ -z "$(in_project git status --porcelain)" ] || fail "the checkout was touched"
    [ "$(in_project git diff --name-only main "$branch")" = total.sh ] || fail "other files changed"
    in_project git fsck --full --strict --no-dangling || fail "git fsck found something"
}

# Runs a command in a fresh copy of the branch.
in_project_of_branch() (
    copy=$(mktemp -d "$work/copy.XXXXXX")
    tip=$(in_project git for-each-ref --format='%(refname)' 'refs/heads/loki/session-*')
    in_project git archive "$tip" | tar -x -C "$copy"
    cd "$copy"
    "$@"
)

show_records() {
    title "the audit trail: who, what, from where"
    loki enterprise audit tail
    trail=$(ask -f -H @"$work/bearer" "$url/api/enterprise/audit?limit=100")
    for action in token.generate token.revoke auth.failure access.denied session.start; do
        contains "$trail" "\"action\":\"$action\"" "no record of $action"
    done
    contains "$trail" '"user":"token:demo"' "the trail does not name the caller"
    contains "$trail" '"ip":"127.0.0.1"' "the trail does not name the address"
    contains "$trail" '"prd":"my-app.md"' "the trail does not name the PRD"

    title "the agent's own trail"
    in_project loki audit log
    grep -q '"git_commit"' "$project/.loki/logs/agent-audit.jsonl" || fail "no commit in the agent's trail"
}

show_metrics() {
    title "metrics"
    loki metrics >"$work/metrics.txt"
    for family in session_status iteration_current iteration_max tasks_total agents_active \
        agents_total cost_usd events_total uptime_seconds; do
        grep "^loki_$family[ {]" "$work/metrics.txt" || fail "no metric loki_$family"
    done
}

stay() {
    title "up at $url until Ctrl-C"
    cat <<WORDS
token:       $LOKI_DATA_DIR/credentials
certificate: $work/cert.pem
project:     $project

  export LOKI_DATA_DIR=$LOKI_DATA_DIR PATH=$programs:\$PATH
  loki status
  curl --cacert $work/cert.pem -H "Authorization: Bearer \$(cat $LOKI_DATA_DIR/credentials)" $url/api/status
WORDS
    trap 'echo; stop; exit 0' INT TERM HUP
    # A shell runs a trap only between commands, so each wait is short.
    while [ -e "$LOKI_DATA_DIR/run/endpoint.json" ]; do
        sleep 1
    done
    fail "the gateway ended: see $LOKI_DATA_DIR/logs"
}

stop() {
    title "stopping"
    loki dashboard stop
    [ ! -e "$LOKI_DATA_DIR/run/endpoint.json" ] || fail "the endpoint file was left"
    # The last letter in brackets keeps grep from finding itself.
    last=${work#"${work%?}"}
    left=$(grep -ls "${work%?}[$last]" /proc/[0-9]*/cmdline || true)
    [ -z "$left" ] || fail "processes were left: $left"
}

# Leaves nothing behind, however the script ends.
quit() {
    trap - EXIT INT TERM HUP
    loki dashboard stop >/dev/null 2>&1 || true
    rm -rf "$work"
    exit "$1"
}

in_project() (cd "$project" && "$@")

contains() {
    case $1 in
        *"$2"*) ;;
        *) fail "$3" ;;
    esac
}

title() { printf '\n== %s\n' "$*"; }

fail() {
    printf 'demo: %s\n' "$*" >&2
    for log in "$LOKI_DATA_DIR"/logs/*; do
        [ -f "$log" ] && tail -n 20 "$log" >&2
    done
    exit 1
}

main
