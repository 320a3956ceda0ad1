#!/bin/bash
# The Debian package on a machine with a real systemd: what status and doctor say of its units to a person, to its account and to
# root, before and after somebody enables them; socket activation; an install over them; removal. Runs in namespaces of its own
# and leaves nothing. $1: the program.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
[ "$(id -u)" = 0 ] || { echo "SKIPPED: a systemd of its own needs root (sudo make service)"; exit 0; }
command -v dbus-daemon >/dev/null || apt-get install -y --no-install-recommends dbus >/dev/null || { echo "missing: apt-get install dbus"; exit 1; }
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
strip -o "$built/openclaw" "$1"
OUT=$built/out LINTIAN=no "$here/../../contrib/debian/build.sh" "$built/openclaw" >"$built/log" 2>&1 || { cat "$built/log"; exit 1; }
package=$(ls "$built"/out/*.deb)
# shellcheck source=tests/service/boot.sh
. "$here/boot.sh"
trap 'cleanup; rm -rf "$built"' EXIT

unit=openclaw-gateway.service
socket=openclaw-gateway.socket
vendor=/usr/lib/systemd/system
as_openclaw() { # as a person types it: sudo -u openclaw -H
  inside setpriv --reuid openclaw --regid openclaw --clear-groups env HOME=/var/lib/openclaw SUDO_USER=openclaw-test TMPDIR=/tmp "$@"
}
as_root() { inside env HOME=/root SUDO_USER=openclaw-test TMPDIR=/tmp "$@"; }
state() { inside systemctl show "$1" --property ActiveState --value; }
# Runs a command, whatever its exit code; keeps what it says.
hear() { "$@" >"$work/said" 2>"$work/complaint" || true; }
said() { # that the answer is as expected: path=value or path~part of it; a check of doctor is named checks.<id>, / for its dot
  local what=$1; shift
  python3 - "$work/said" "$@" <<'SCRIPT' || { cat "$work/said" "$work/complaint"; fail "$what"; }
import json, re, sys
def at(found, name):
    if isinstance(found, dict):
        return found.get(name)
    if isinstance(found, list):
        return found[int(name)] if name.isdigit() else next((it for it in found if it["id"] == name.replace("/", ".")), None)
document = json.load(open(sys.argv[1]))
for expectation in sys.argv[2:]:
    path, sign, expected = re.match("([^=~]*)([=~])(.*)", expectation, re.S).groups()
    found = document
    for name in path.split("."):
        found = at(found, name)
    found = found if isinstance(found, str) else json.dumps(found)
    if found != expected and not (sign == "~" and expected in found):
        sys.exit(f"{path} is {found}, not {expected}")
SCRIPT
  echo "ok  $what"
}
# Whatever is wrong: no fix may write over a unit of the package.
no_install() { ! grep -q "install --force" "$work/said" || { cat "$work/said"; fail "a fix writes over the package's unit"; }; }

# A person asks the machine's manager over the bus.
inside systemctl start dbus.service || fail "the bus"
inside dpkg --force-depends --install /run/openclaw.deb >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; fail "dpkg --install"; }
as_user mkdir -m 700 $home/.openclaw

# Nobody has enabled anything.
hear as_user openclaw gateway status --json --no-probe
said "offered: a person is shown the user's unit" service.loaded=false service.unit.scope=user service.unit.package=openclaw service.unit.supplier=vendor
hear as_user openclaw doctor --json
said "offered: no trouble for doctor" checks.gateway-service/unit.state=skipped checks.node-service/unit.state=skipped checks.port/owner.state=skipped
hear as_user openclaw gateway start --json
said "offered: what would start it" ok=false "hints.0=systemctl --user enable --now $unit" "hints.2=sudo systemctl enable --now $unit"
as_openclaw openclaw config set gateway.mode local >/dev/null
hear as_openclaw openclaw gateway status --json --no-probe
said "offered: its account is shown the machine's unit" service.loaded=false service.unit.scope=system service.command.sourcePath=$vendor/$unit
hear as_openclaw openclaw gateway start --json
said "offered: what its account is told" ok=false "hints.0=sudo systemctl enable --now $unit"
hear as_root openclaw gateway uninstall --system --json
said "offered: nothing to uninstall" ok=true result=uninstalled
inside systemctl start $unit
hear as_user openclaw gateway status --json --no-probe
said "started, not enabled: a person is shown what runs" service.loaded=false service.unit.scope=system service.runtime.status=running
inside systemctl stop $unit

# The machine's gateway is enabled.
inside systemctl enable --now $unit 2>/dev/null || fail "systemctl enable"
for who in as_user as_openclaw as_root; do
  for more in "" --system; do
    hear $who openclaw gateway status --json $more
    said "enabled: $who gateway status $more" service.loaded=true service.unit.scope=system service.unit.package=openclaw \
      service.runtime.status=running service.command.sourcePath=$vendor/$unit rpc.ok=true
  done
done
hear as_user openclaw gateway status
grep -q "^Service file: $vendor/$unit (of the package openclaw)$" "$work/said" || { cat "$work/said"; fail "the file in words"; }
hear as_user openclaw doctor --json
said "enabled: doctor for a person" checks.gateway-service/runtime.state=ok checks.gateway-service/program.state=ok \
  "checks.gateway-service/config.fix=sudo -u openclaw -H openclaw doctor"
no_install
hear as_root openclaw doctor --json
said "enabled: doctor behind sudo" checks.gateway-service/runtime.state=ok "checks.gateway-service/config.fix=sudo -u openclaw -H openclaw doctor"
no_install
hear as_openclaw openclaw doctor --json
said "enabled: doctor for its account finds nothing wrong" ok=true checks.gateway-service/runtime.state=ok \
  checks.gateway-service/unit.state=ok checks.port/owner.state=ok checks.gateway/reachable.state=ok
no_install
hear as_user openclaw gateway restart --json
said "enabled: a person is told the command" ok=false "error.message~Fix: sudo openclaw gateway restart --system"
before=$(inside systemctl show $unit --property MainPID --value)
as_root openclaw gateway restart >/dev/null || fail "restart behind sudo"
[ "$(inside systemctl show $unit --property MainPID --value)" != "$before" ] || fail "it was not restarted"
for who in as_user as_root; do
  hear $who openclaw gateway uninstall --json
  said "enabled: $who gateway uninstall is refused" ok=false "hints.0=sudo systemctl disable --now $unit" "hints.1=sudo apt remove openclaw"
done
{ [ "$(state $unit)" = active ] && inside test -e $vendor/$unit; } || fail "an uninstall touched the package's unit"
inside systemctl disable --now $unit 2>/dev/null

# The socket is enabled, the service is not.
inside systemctl enable --now $socket 2>/dev/null || fail "systemctl enable of the socket"
hear as_user openclaw gateway status --json --no-probe
said "socket: it starts by itself" service.loaded=true service.socket.listening=true service.runtime.status=stopped
[ "$(state $unit)" = inactive ] || fail "a status without a probe started it"
hear as_openclaw openclaw doctor --json --timeout 20000
said "socket: doctor finds nothing wrong" ok=true checks.gateway-service/runtime.state=ok checks.gateway-service/socket.state=ok
inside systemctl stop $unit 2>/dev/null
as_openclaw openclaw config set gateway.port 19000 >/dev/null
hear as_openclaw openclaw doctor --json
said "socket: doctor sees a port of its own" "checks.gateway-service/socket.fix=sudo systemctl edit $socket"
as_openclaw openclaw config unset gateway.port >/dev/null
as_root openclaw gateway stop >/dev/null || fail "stop with a socket"
[ "$(state $unit) $(state $socket)" = "inactive inactive" ] || fail "after a stop: $(state $unit) $(state $socket)"
hear as_openclaw openclaw doctor --json
said "socket: doctor misses it" ok=false "checks.gateway-service/runtime.fix=sudo openclaw gateway start --system"
as_root openclaw gateway start >/dev/null || fail "start with a socket"
[ "$(state $unit) $(state $socket)" = "active active" ] || fail "after a start: $(state $unit) $(state $socket)"
as_root openclaw gateway restart >/dev/null || fail "restart with a socket"
[ "$(state $unit) $(state $socket)" = "active active" ] || fail "after a restart: $(state $unit) $(state $socket)"
as_root openclaw gateway stop >/dev/null
as_root openclaw gateway restart >/dev/null || fail "restart after a stop with a socket"
[ "$(state $unit) $(state $socket)" = "active active" ] || fail "after a restart of what was stopped: $(state $unit) $(state $socket)"
inside systemctl stop $socket
as_root openclaw gateway restart >/dev/null || fail "restart of a service whose socket was stopped"
[ "$(state $unit) $(state $socket)" = "active active" ] || fail "after a restart without its socket: $(state $unit) $(state $socket)"
echo "ok  socket: stopped, started and restarted with the service"
inside systemctl disable --now $socket $unit 2>/dev/null

# An install over it, and away again.
as_user openclaw config set gateway.mode local >/dev/null
as_root openclaw gateway install --system --run-as openclaw-test --json >"$work/said" 2>"$work/complaint" || { cat "$work/said"; fail "install --system"; }
hear as_user openclaw gateway status --json
said "an install over it counts" service.unit.supplier=administrator service.command.sourcePath=/etc/systemd/system/$unit service.runtime.status=running
as_root openclaw gateway uninstall --system >/dev/null || fail "uninstall --system"
hear as_user openclaw gateway status --json --no-probe
said "without it the package's are offered again" service.loaded=false service.unit.supplier=vendor

# The package's unit for every user, enabled by one.
as_user systemctl --user enable --now $unit 2>/dev/null || fail "systemctl --user enable"
hear as_user openclaw gateway status --json
said "user: the package's unit is the person's" service.loaded=true service.unit.scope=user service.unit.package=openclaw service.runtime.status=running rpc.ok=true
hear as_user openclaw doctor --json
said "user: doctor finds nothing wrong" ok=true checks.gateway-service/runtime.state=ok checks.gateway-service/unit.state=ok checks.port/owner.state=ok
as_user openclaw gateway restart >/dev/null || fail "restart of the person's gateway"
hear as_user openclaw gateway uninstall --json
said "user: uninstall is refused" ok=false "hints.0=systemctl --user disable --now $unit"
as_user openclaw gateway stop >/dev/null || fail "stop of the person's gateway"
[ "$(as_user systemctl --user show $unit --property ActiveState --value)" = inactive ] || fail "the person's gateway was not stopped"
hear as_user openclaw doctor --json
said "user: doctor misses it" ok=false "checks.gateway-service/runtime.fix=openclaw gateway start"
as_user systemctl --user disable $unit 2>/dev/null

# The node host of a person.
inside systemctl enable --now openclaw-node@openclaw-test.service 2>/dev/null || fail "the node host's unit"
hear as_user openclaw node status --json
said "node host: a person is shown the instance" service.loaded=true service.unit.name=openclaw-node@openclaw-test.service service.runtime.status=running
hear as_user openclaw doctor --json
said "node host: doctor" checks.node-service/runtime.state=ok checks.node-service/unit.state=ok

inside dpkg --remove openclaw >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; fail "dpkg --remove"; }
[ "$(state openclaw-node@openclaw-test.service)" != active ] || fail "the node host runs without its package"
hear as_user $home/bin/openclaw node status --json
said "removed: nothing is there" service.loaded=false service.command=null
echo "the package's units were seen, used and left alone under a real systemd"
