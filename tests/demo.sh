#!/bin/sh
# The main job, start to end, in a temporary directory: a gateway, a node host, the two requests
# shown and approved, `uname -a` run on the node. Exit 0 only if the node's own output came back.
set -eu

program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
work=$(mktemp -d)
gateway_pid= node_pid=

finish() {
  status=$?
  trap - EXIT INT TERM
  for pid in $node_pid $gateway_pid; do kill "$pid" 2>/dev/null || true; done
  for pid in $node_pid $gateway_pid; do wait "$pid" 2>/dev/null || true; done
  if [ "$status" -ne 0 ]; then
    echo "demo failed; the logs:" >&2
    tail -n 20 "$work"/*.log >&2 || true
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT INT TERM

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# Waits (up to 20 s) until the command succeeds.
until_true() {
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { echo "waited in vain for: $*" >&2; return 1; }
    sleep 0.1
  done
}

# Two machines: two homes that share nothing but the gateway's secret. Nothing is said to the networks around this one.
mkdir -p "$work/gateway/tmp" "$work/node/tmp"
gateway() { env -i PATH="$PATH" HOME="$work/gateway" TMPDIR="$work/gateway/tmp" OPENCLAW_DISABLE_BONJOUR=1 "$program" "$@"; }
node() { env -i PATH="$PATH" HOME="$work/node" TMPDIR="$work/node/tmp" OPENCLAW_GATEWAY_TOKEN="$token" "$program" "$@"; }
first_request() { gateway nodes pending --json | sed -n 's/.*"requestId": *"\([^"]*\)".*/\1/p' | head -n 1; }
a_request_waits() { [ -n "$(first_request)" ]; }

say "a gateway on an empty state directory"
port=$((20000 + $$ % 10000))
gateway config set gateway.mode local
gateway config set gateway.port "$port"
env -i PATH="$PATH" HOME="$work/gateway" TMPDIR="$work/gateway/tmp" OPENCLAW_DISABLE_BONJOUR=1 "$program" gateway run >"$work/gateway.log" 2>&1 &
gateway_pid=$!
until_true grep -q 'ready' "$work/gateway.log"
token=$(gateway config get gateway.auth.token --reveal)

say "a node host that may run one program: $(command -v uname)"
node approvals allowlist add "$(command -v uname)"
env -i PATH="$PATH" HOME="$work/node" TMPDIR="$work/node/tmp" OPENCLAW_GATEWAY_TOKEN="$token" \
  "$program" node run --port "$port" --display-name "Demo Node" >"$work/node.log" 2>&1 &
node_pid=$!

say "what waits for approval"
until_true a_request_waits
gateway nodes pending
# On one machine the device layer is approved silently; elsewhere there are two requests.
rounds=0
until gateway nodes status --json | grep -q '"pairing": *"approved"'; do
  rounds=$((rounds + 1)); [ "$rounds" -le 4 ] || { echo "still not approved" >&2; exit 1; }
  until_true a_request_waits
  gateway nodes approve "$(first_request)"
done

say "the node, approved"
until_true sh -c "env -i PATH='$PATH' HOME='$work/gateway' TMPDIR='$work/gateway/tmp' '$program' nodes status --connected --json | grep -q system.run"
gateway nodes status

say "what the node would do with two commands"
gateway approvals check --node "Demo Node" -- uname -a
if gateway approvals check --node "Demo Node" -- id; then echo "id must not run" >&2; exit 1; fi

say "uname -a on the node"
node_id=$(gateway nodes status --json | sed -n 's/.*"nodeId": *"\([^"]*\)".*/\1/p' | head -n 1)
answer=$(gateway gateway call node.invoke --json --params "{\"nodeId\":\"$node_id\",\"command\":\"system.run\",\"params\":{\"command\":[\"uname\",\"-a\"]},\"idempotencyKey\":\"demo-$$\"}")
printf '%s\n' "$answer"
expected=$(uname -a | sed 's/[][\.*^$/]/./g')
printf '%s\n' "$answer" | grep -q "$expected"

say "done: the node's output came back; stopping everything"
