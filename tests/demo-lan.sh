#!/bin/sh
# Joining with no address typed: a gateway on one machine, two nodes on another, found by multicast. One node joins by a
# script, the other by somebody who answers the questions at a terminal; both are approved and say who they are.
#
# The two machines are network namespaces with a cable between them; nothing leaves them, and they are gone at every end.
# Needs root, iproute2 and python3.
set -eu

program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
tests=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "demo-lan makes network namespaces: run it as root" >&2; exit 1; }
for tool in ip unshare timeout python3; do
  command -v "$tool" >/dev/null || { echo "demo-lan needs $tool (apt-get install iproute2 util-linux python3)" >&2; exit 1; }
done
work=$(mktemp -d)
attic=oc-attic-$$ cellar=oc-cellar-$$
gateway_pid= first_pid= second_pid=

finish() {
  status=$?
  trap - EXIT INT TERM
  for pid in $second_pid $first_pid $gateway_pid; do kill "$pid" 2>/dev/null || true; done
  for pid in $second_pid $first_pid $gateway_pid; do wait "$pid" 2>/dev/null || true; done
  if [ "$status" -ne 0 ]; then
    echo "demo-lan failed; the logs:" >&2
    tail -n 20 "$work"/*.log >&2 || true
  fi
  for space in "$attic" "$cellar"; do ip netns delete "$space" 2>/dev/null || true; done
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# Waits (up to 30 s) until the command succeeds.
until_true() {
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { echo "waited in vain for: $*" >&2; return 1; }
    sleep 0.1
  done
}

say "two machines and a cable"
ip netns add "$attic"
ip netns add "$cellar"
ip -n "$attic" link add eth0 type veth peer name eth0 netns "$cellar"
ip -n "$attic" address add 10.77.0.1/24 dev eth0
ip -n "$cellar" address add 10.77.0.2/24 dev eth0
for space in "$attic" "$cellar"; do
  ip -n "$space" link set lo up
  ip -n "$space" link set eth0 up
done
ip -n "$attic" -brief address
ip -n "$cellar" -brief address

# on <namespace> <machine name> <home> <command>...: with a home of its own, and nothing of this shell's environment.
# The shell becomes the command, so that its process is the one that was started.
on() {
  space=$1 name=$2 home=$work/$3
  shift 3
  mkdir -p "$home/tmp"
  exec ip netns exec "$space" unshare --uts sh -c 'hostname "$0"; exec "$@"' "$name" \
    env -i PATH="$PATH" HOME="$home" TMPDIR="$home/tmp" TERM=dumb COLUMNS=100 \
    OPENCLAW_GATEWAY_TOKEN="${token:-}" OPENCLAW_DISABLE_BONJOUR=0 "$@"
}
gateway() { (on "$attic" attic gateway timeout 60 "$program" "$@"); }
first() { (on "$cellar" cellar first timeout 60 "$program" "$@"); }
second() { (on "$cellar" cellar second timeout 60 "$program" "$@"); }

say "attic: a gateway that speaks TLS on its network"
gateway config set gateway.mode local
gateway config set gateway.bind lan
gateway config set gateway.tls.enabled true
(on "$attic" attic gateway "$program" gateway run) >"$work/gateway.log" 2>&1 &
gateway_pid=$!
until_true grep -q 'ready' "$work/gateway.log"
secret=$(gateway config get gateway.auth.token --reveal)
fingerprint=$(gateway gateway fingerprint)
echo "its certificate: $fingerprint"
token=$secret

say "cellar: what there is to join (a script that names none is told)"
seen() { first node join --json --timeout 2000 2>/dev/null </dev/null | grep -q '"attic'; }
until_true seen
first node join </dev/null || true

say "cellar: the first node joins by a script"
first approvals allowlist add "$(command -v uname)" >/dev/null
first node join --gateway attic --trust-fingerprint "$fingerprint" --display-name "First Node" </dev/null
(on "$cellar" cellar first "$program" node run) >"$work/first.log" 2>&1 &
first_pid=$!

# Approves whatever waits until a node of that name has been let in on both layers.
first_request() { gateway nodes pending --json | sed -n 's/.*"requestId": *"\([^"]*\)".*/\1/p' | head -n 1; }
a_request_waits() { [ -n "$(first_request)" ]; }
says() { gateway nodes describe --node "$1" --json 2>/dev/null | grep -q "$2"; }
approve() {
  rounds=0
  until says "$1" '"pairing": *"approved"'; do
    rounds=$((rounds + 1))
    [ "$rounds" -le 6 ] || { echo "$1 is still not approved" >&2; return 1; }
    until_true a_request_waits
    gateway nodes pending
    gateway nodes approve "$(first_request)" >/dev/null
  done
  until_true says "$1" '"connected": *true'
}
# Runs a command on the node of that name, through the gateway.
run_on() {
  name=$1 command=$2
  node=$(gateway nodes describe --node "$name" --json | sed -n 's/.*"nodeId": *"\([^"]*\)".*/\1/p' | head -n 1)
  answer=$(gateway gateway call node.invoke --json --params \
    "{\"nodeId\":\"$node\",\"command\":\"system.run\",\"params\":{\"command\":[$command]},\"idempotencyKey\":\"$node-$$\"}")
  printf '%s\n' "$answer"
  printf '%s\n' "$answer" | grep -q 'cellar'
}

say "attic: the first node is approved, and says its name"
approve "First Node"
run_on "First Node" '"uname","-n"'

say "cellar: the second node joins by somebody at a terminal"
second approvals allowlist add "$(command -v uname)" >/dev/null
(on "$cellar" cellar second python3 "$tests/demo-person.py" 30 \
  'Use this gateway? [y/N]=y' \
  'Trust this fingerprint? [y/N]=y' \
  'Start the node host?=r' \
  -- "$program" node join --display-name "Second Node") >"$work/second.log" 2>&1 &
second_pid=$!
until_true grep -q 'Start the node host?' "$work/second.log"
cat "$work/second.log"
grep -q "$fingerprint" "$work/second.log"

say "attic: the second node is approved, and says its name"
approve "Second Node"
run_on "Second Node" '"uname","-a"'

say "done: nobody typed an address; stopping everything"
