# shellcheck shell=bash
# A real systemd as process 1 of namespaces of its own, with one user beside root, for bash scripts that source this: $1 of
# theirs is the program, which lies in that user's bin. With a Debian package in $package its /usr, /etc and /var/lib are
# copies that can be written, with the package as /run/openclaw.deb. Nothing of the machine is written and nothing stays.
program=$(realpath "$1")
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

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
[ -z "${package:-}" ] || cp "$package" "$work/openclaw.deb"
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
as_user() {
  inside setpriv --reuid 4711 --regid 4711 --clear-groups env HOME=$home USER=openclaw-test TMPDIR=/run/user/4711 \
    XDG_RUNTIME_DIR=/run/user/4711 "$@"
}
