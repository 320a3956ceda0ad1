#!/bin/bash
# Both services under a real systemd, as units of a user and of the machine: installed, ready, killed, frozen, stopped,
# uninstalled. Runs in namespaces of its own and leaves nothing. $1: the program.
set -euo pipefail
# shellcheck source=tests/service/boot.sh
. "$(dirname "$(realpath "$0")")/boot.sh"

token="secret-of-the-test"
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
# The units of packages, of the user: the port is open before the gateway, and the first connection starts it.
scope=user unit=openclaw-gateway.service
directory=$home/.config/systemd/user
for name in openclaw-gateway.service openclaw-gateway.socket; do
  sed "s|/usr/bin/openclaw|$home/bin/openclaw|" "$here/../../contrib/systemd/user/$name" | inside tee "$directory/$name" >/dev/null
done
ctl daemon-reload
ctl start openclaw-gateway.socket || fail "the shipped socket"
[ "$(shown ActiveState)" = inactive ] || fail "the gateway runs before anybody connected"
answer() { inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/18789; printf "GET /healthz HTTP/1.0\r\n\r\n" >&3; head -n 1 <&3'; }
answer | grep -q "200 OK" || fail "nobody answers at the shipped socket"
[ "$(shown ActiveState)" = active ] || fail "the gateway is $(shown ActiveState) after a connection"
ctl kill --signal=KILL $unit
answer | grep -q "200 OK" || fail "a killed gateway refused who came next"
echo "ok  shipped units: the socket was served before and after a kill -9; $(shown StatusText)"
ctl stop openclaw-gateway.socket openclaw-gateway.service
inside rm "$directory/openclaw-gateway.service" "$directory/openclaw-gateway.socket"

echo "both services lived and ended under a real systemd, as units of a user and of the machine"
