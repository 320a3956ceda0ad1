#!/bin/bash
# Both services under a real systemd, as units of a user and of the machine: installed, ready, killed, frozen, stopped,
# uninstalled. Runs in namespaces of its own and leaves nothing. $1: the program.
set -euo pipefail
program=$(realpath "$1")
here=$(dirname "$(realpath "$0")")

skip() { echo "SKIPPED: $1"; exit 0; }
[ "$(id -u)" = 0 ] || skip "a systemd of its own needs root (sudo make service)"
if [ ! -x /usr/lib/systemd/systemd ] || ! command -v ip >/dev/null; then
  apt-get install -y --no-install-recommends systemd iproute2 >/dev/null || skip "systemd cannot be installed"
fi

work=$(mktemp -d)
first=
cleanup() {
  [ -z "$first" ] || kill -KILL "$first" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
cp "$program" "$work/openclaw"
unshare --fork --pid --mount --mount-proc --cgroup --ipc --uts --net --kill-child=KILL \
  sh "$here/init.sh" "$work" </dev/null >"$work/log" 2>&1 &
unshared=$!

fail() { echo "FAILED: $1"; tail -60 "$work/log"; exit 1; }
# Waits for a command to succeed.
until_true() {
  local what=$1; shift
  for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  fail "waited in vain for $what"
}
children() { first=$(cat "/proc/$unshared/task/$unshared/children") && [ -n "${first// /}" ]; }
until_true "the namespaces" children
first=${first// /}
inside() { nsenter -t "$first" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
is_up() { inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; }
for _ in $(seq 100); do is_up && break; kill -0 "$unshared" 2>/dev/null || break; sleep 0.1; done
is_up || { tail -20 "$work/log"; skip "this kernel runs no systemd in namespaces (see above)"; }
inside systemctl start user-manager.service || fail "the user's manager"
echo "systemd $(inside systemctl --version | head -1 | cut -d' ' -f2) runs as process 1 of its own namespaces"

home=/home/openclaw-test
token="secret-of-the-test"
as_user() {
  inside setpriv --reuid 4711 --regid 4711 --clear-groups env HOME=$home USER=openclaw-test TMPDIR=/run/user/4711 \
    XDG_RUNTIME_DIR=/run/user/4711 "$@"
}
openclaw() { # in the scope under test
  if [ "$scope" = system ]; then inside TMPDIR=/run/user/4711 "$@"; else as_user "$@"; fi
}
ctl() { if [ "$scope" = system ]; then inside systemctl "$@"; else as_user systemctl --user "$@"; fi; }
shown() { ctl show "$unit" --property "$1" --value; }
running_as_another() { local pid; pid=$(shown MainPID); [ "$pid" != 0 ] && [ "$pid" != "$1" ] && [ "$(shown ActiveState)" = active ]; }
says() { shown StatusText | grep -qE "$1"; }

life() { # one kind of service in one scope; $@: further arguments of install
  unit=openclaw-$kind.service
  local flags=() bin=$home/bin/openclaw
  [ "$scope" = system ] && flags=(--system)
  local directory=$home/.config/systemd/user
  [ "$scope" = system ] && directory=/etc/systemd/system
  # The same unit with shorter times, so that the test need not wait a minute.
  as_user mkdir -p $home/.config/systemd/user
  inside mkdir -p "$directory/$unit.d"
  inside sh -c "printf '[Service]\nWatchdogSec=2\nRestartSec=100ms\n' > $directory/$unit.d/test.conf"

  openclaw "${secret[@]}" "$bin" "$kind" install "$@" "${flags[@]}" --json >"$work/install.json" 2>"$work/complaints" || { cat "$work/install.json" "$work/complaints"; fail "$scope $kind install"; }
  [ "$(shown ActiveState)" = active ] || fail "$scope $kind is not active after its install"
  [ "$(shown Type)$(shown NotifyAccess)" = notifymain ] || fail "$scope $kind is no notify unit"
  inside grep -rq "$token" "$directory/$unit" && fail "$scope $kind: a secret in the unit"
  [ "$(inside stat -c %a $home/.openclaw/"$kind".systemd.env)" = 600 ] || fail "$scope $kind: the secrets are not private"
  inside cat "/proc/$(shown MainPID)/cmdline" | grep -q "$token" && fail "$scope $kind: a secret in the process list"
  [ "$(inside stat -c %u "/proc/$(shown MainPID)")" = 4711 ] || fail "$scope $kind runs as somebody else"
  echo "ok  $scope $kind: installed, $(shown StatusText)"

  openclaw "$bin" "$kind" status --json ${noprobe:-} >"$work/status.json" || true
  grep -q '"status": "running"' "$work/status.json" || { cat "$work/status.json"; fail "$scope $kind status"; }
  grep -q "$token" "$work/status.json" && fail "$scope $kind status shows a secret"

  local pid; pid=$(shown MainPID)
  inside kill -KILL "$pid"
  until_true "$scope $kind after kill -9" running_as_another "$pid"
  echo "ok  $scope $kind: killed and restarted"

  sleep 5 # longer than the watchdog: a process that lives is left alone
  pid=$(shown MainPID)
  [ "$(shown NRestarts)" = 1 ] || fail "$scope $kind was restarted although it lives ($(shown NRestarts))"
  inside kill -STOP "$pid"
  until_true "$scope $kind after the watchdog" running_as_another "$pid"
  echo "ok  $scope $kind: frozen, ended by the watchdog and restarted"

  openclaw "$bin" "$kind" restart "${flags[@]}" >/dev/null || fail "$scope $kind restart"
  running_as_another "$pid" || fail "$scope $kind is not active after a restart"
  if [ -n "${expected:-}" ]; then until_true "$scope $kind: $expected" says "$expected"; echo "ok  $scope $kind: $(shown StatusText)"; fi
}

end() { # stops and uninstalls
  unit=openclaw-$kind.service
  local flags=() bin=$home/bin/openclaw directory=$home/.config/systemd/user
  [ "$scope" = system ] && { flags=(--system); directory=/etc/systemd/system; }
  openclaw "$bin" "$kind" stop "${flags[@]}" >/dev/null || fail "$scope $kind stop"
  [ "$(shown ActiveState)" = inactive ] || fail "$scope $kind is $(shown ActiveState) after its stop, result $(shown Result)"
  inside rm -r "$directory/$unit.d"
  openclaw "$bin" "$kind" uninstall "${flags[@]}" >/dev/null || fail "$scope $kind uninstall"
  [ "$(shown LoadState)" = not-found ] || fail "$scope $kind: the unit is still known"
  local left; left=$(inside find "$directory" $home/.openclaw -name "*$kind*.service*" -o -name "$kind.systemd.env")
  [ -z "$left" ] || fail "$scope $kind left $left"
  echo "ok  $scope $kind: stopped and uninstalled without a trace"
}

as_user mkdir -m 700 $home/.openclaw
as_user sh -c "echo '{ gateway: { mode: \"local\" }, discovery: { mdns: { mode: \"off\" } } }' > $home/.openclaw/openclaw.json"
secret=(env "OPENCLAW_GATEWAY_TOKEN=$token")
for scope in ${SCOPES:-user system}; do
  owner=()
  [ "$scope" = system ] && owner=(--run-as openclaw-test)
  # The node host first: it is ready although nobody listens yet.
  kind=node expected= noprobe= life "${owner[@]}"
  kind=gateway expected="listening on" noprobe=--no-probe life "${owner[@]}"
  # With the token of the environment files the two find each other.
  kind=node unit=openclaw-node.service
  until_true "the node host to be let in" says "connected to|pairing"
  echo "ok  $scope node: $(shown StatusText)"
  kind=node end
  kind=gateway end
  inside find $home/.openclaw -mindepth 1 ! -name openclaw.json -delete
done
echo "both services lived and ended under a real systemd, as units of a user and of the machine"
