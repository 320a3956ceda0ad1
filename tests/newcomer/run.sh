#!/bin/bash
# The way of a newcomer with a clock beside it: clone, build and demo, then the program as a service on a second host. That host
# is a namespace with a systemd of its own (tests/service), the gateway's another one; a cable is all they share. Needs root.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
[ "$(id -u)" = 0 ] || { echo "two hosts are namespaces here: run it as root"; exit 1; }

scratch=$(mktemp -d)
gateway_pid= attic_pid=
tidy() {
  if [ -n "$gateway_pid" ]; then kill "$gateway_pid" 2>/dev/null && wait "$gateway_pid" 2>/dev/null || true; fi
  # While it waits for its child, unshare ignores everything milder.
  if [ -n "$attic_pid" ]; then kill -KILL "$attic_pid" 2>/dev/null && wait "$attic_pid" 2>/dev/null || true; fi
  rm -rf "$scratch"
}
trap tidy EXIT

report=()
started=$(date +%s%N)
step() { # prints and keeps the time since the step before
  local now; now=$(date +%s%N)
  report+=("$(printf '%8.2f s  %s' "$(((now - started) / 10000000))e-2" "$1")")
  echo "== ${report[-1]}"
  started=$(date +%s%N)
}

git clone -q --no-hardlinks "$top" "$scratch/openclaw"
step "git clone"
# TARGET: a target directory with earlier builds; without it everything is built, as a newcomer does.
[ -z "${TARGET:-}" ] || ln -s "$(realpath "$TARGET")" "$scratch/openclaw/target"
run() { (cd "$scratch/openclaw" && "$@") >"$scratch/log" 2>&1 || { tail -n 40 "$scratch/log"; exit 1; }; }
run make build
step "make build: everything from source, debug"
run make demo
step "make demo: gateway, node, approval, uname -a"

# The second host comes with a systemd; booting it is none of the newcomer's time.
set -- "$scratch/openclaw/target/debug/openclaw"
# shellcheck source=tests/service/boot.sh
. "$scratch/openclaw/tests/service/boot.sh"
trap 'cleanup; tidy' EXIT
unshare --net --fork --kill-child=KILL sleep infinity &
attic_pid=$!
in_attic() { nsenter -t "$attic_pid" -n "$@"; }
until_true "the gateway's namespace" in_attic ip link set lo up
in_attic ip link add eth0 type veth peer name cellar0
in_attic ip link set cellar0 netns "$first"
in_attic ip address add 10.77.0.1/24 dev eth0
in_attic ip link set eth0 up
inside ip address add 10.77.0.2/24 dev cellar0
inside ip link set cellar0 up
mkdir -p "$scratch/attic/tmp"
# As words, so that the gateway in the background is the process itself and not a shell around it.
on_first=(nsenter -t "$attic_pid" -n env -i PATH="$PATH" HOME="$scratch/attic" TMPDIR="$scratch/attic/tmp"
  OPENCLAW_DISABLE_BONJOUR=1 "$program")
gateway() { "${on_first[@]}" "$@"; }
started=$(date +%s%N)

gateway config set gateway.mode local
gateway config set gateway.bind lan
gateway config set gateway.tls.enabled true
"${on_first[@]}" gateway run >"$scratch/gateway.log" 2>&1 &
gateway_pid=$!
until_true "the gateway" grep -q ready "$scratch/gateway.log"
step "first host: a gateway with TLS on its network"

key=$(gateway devices keys create --command system.run system.run.prepare system.which --json | sed -n 's/.*"key": *"\([^"]*\)".*/\1/p')
fingerprint=$(gateway gateway fingerprint)
step "first host: a join key and the fingerprint"

node() { as_user "$home/bin/openclaw" "$@"; }
node approvals allowlist add /usr/bin/uname >/dev/null
printf '%s\n' "$key" | node node join --url wss://10.77.0.1:18789 --trust-fingerprint "$fingerprint" --setup-code-file - \
  --display-name Cellar --install || fail "node join"
connected() { gateway nodes status --connected --json | grep -q '"connected": *true'; }
until_true "the node" connected
step "second host: node join --install, connected as a service"

id=$(gateway nodes status --json | sed -n 's/.*"nodeId": *"\([^"]*\)".*/\1/p' | head -n 1)
gateway gateway call node.invoke --json --params \
  "{\"nodeId\":\"$id\",\"command\":\"system.run\",\"params\":{\"command\":[\"/usr/bin/uname\",\"-a\"]},\"idempotencyKey\":\"n-$$\"}" \
  | grep Linux || fail "uname on the second host"
step "uname -a on the second host"

pid=$(as_user systemctl --user show openclaw-node.service --property MainPID --value)
inside kill -KILL "$pid"
again() { local now; now=$(as_user systemctl --user show openclaw-node.service --property MainPID --value); [ "$now" != 0 ] && [ "$now" != "$pid" ] && connected; }
until_true "the service after kill -9" again
step "kill -9 of the service: restarted and connected again"

echo
echo "The way of a newcomer, $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg):"
printf '%s\n' "${report[@]}"
