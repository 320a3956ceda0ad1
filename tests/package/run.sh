#!/bin/bash
# What is shipped, tried in roots of its own: make install and uninstall without root, the Debian package built twice and
# unpacked, the files of the image as user 65532 in an empty root, the units through systemd's checker.
# $1: a static program. PROGRAM: the one of the package (target/release/openclaw). Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
static=$1
program=${PROGRAM:-target/release/openclaw}
[ "$(id -u)" = 0 ] || { echo "other roots need root: sudo make package"; exit 1; }

work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $1"; exit 1; }
version="OpenClaw $(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"

# Installed by nobody, into a directory of theirs; and away again but for the directories that others use as well.
mkdir "$work/destination" && chown nobody "$work/destination"
cp "$program" "$work/openclaw"
as_nobody() { setpriv --reuid nobody --regid nogroup --clear-groups env HOME=/nonexistent DESTDIR="$work/destination" PREFIX=/usr/local PROGRAM="$work/openclaw" "$@"; }
(umask 077 && as_nobody contrib/build/install.sh install)
[ -z "$(find "$work/destination/usr" -type d ! -perm 755)" ] || fail "installed directories that nobody else may enter"
[ "$("$work/destination/usr/local/bin/openclaw" --version)" = "$version" ] || fail "the installed program"
grep -q "^ExecStart=/usr/local/bin/openclaw " "$work/destination/usr/local/lib/systemd/user/openclaw-node.service" || fail "the path in a unit"
man -l "$work/destination/usr/local/share/man/man1/openclaw-nodes.1" | grep -q "nodes approve" || fail "an installed manual page"
as_nobody contrib/build/install.sh uninstall
left=$(find "$work/destination" ! -type d -o -name openclaw)
[ -z "$left" ] || fail "uninstall left $left"
[ -d "$work/destination/usr/local/bin" ] || fail "uninstall removed a directory that is not its own"
echo "ok  make install and uninstall, as nobody, with DESTDIR"

# The package: the same bytes again, and what is in it runs where it was unpacked.
package=$(ls target/debian/openclaw_*_"$(dpkg --print-architecture)".deb)
before=$(sha256sum <"$package")
(umask 077 && TZ=Asia/Tokyo LINTIAN=no contrib/debian/build.sh "$program" >/dev/null)
[ "$(sha256sum <"$package")" = "$before" ] || fail "the package is another one when it is built again"
echo "ok  make deb: it is the same package when it is built again"
root=$work/root
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/etc"
touch "$root/var/lib/dpkg/status"
touch "$root/etc/passwd" "$root/etc/group"
dpkg --root="$root" --force-depends --force-script-chrootless --install "$package" >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; fail "dpkg --install"; }
grep -q '^openclaw:' "$root/etc/passwd" || { cat "$work/dpkg.log"; fail "the account of the machine's gateway"; }
[ "$("$root/usr/bin/openclaw" --version)" = "$version" ] || fail "the program of the package"
bash -c ". '$root/usr/share/bash-completion/completions/openclaw' && complete -p openclaw" >/dev/null || fail "the completion of the package"
[ "$(stat -c %a "$root/var/lib/openclaw")" = 700 ] || fail "the home of the machine's gateway"
# As if both had been enabled and used; what is somebody else's stays.
wants=$root/etc/systemd/system/multi-user.target.wants
mkdir -p "$wants" "$root/var/lib/openclaw/.openclaw" "$root/home/alex/.openclaw"
touch "$wants/other.service" "$root/var/lib/openclaw/.openclaw/openclaw.json" "$root/home/alex/.openclaw/openclaw.json"
ln -s /usr/lib/systemd/system/openclaw-gateway.service /usr/lib/systemd/system/openclaw-node@.service "$wants"
mv "$wants/openclaw-node@.service" "$wants/openclaw-node@alex.service"
dpkg --root="$root" --force-script-chrootless --remove openclaw >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; fail "dpkg --remove"; }
[ -e "$root/var/lib/openclaw/.openclaw/openclaw.json" ] || fail "a removal took the state of the machine's gateway"
dpkg --root="$root" --force-script-chrootless --purge openclaw >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; fail "dpkg --purge"; }
[ -z "$(find "$root/usr" -type f 2>/dev/null)" ] || fail "purge left $(find "$root/usr" -type f)"
[ "$(ls "$wants")" = other.service ] || fail "purge left of the links: $(ls "$wants")"
[ ! -e "$root/var/lib/openclaw" ] || fail "purge left the keys of the machine's gateway"
[ -e "$root/home/alex/.openclaw/openclaw.json" ] || fail "purge took a file of a person"
echo "ok  the package: installed, run, removed and purged in a root of its own"

# The image without Docker: the same files, account and environment in an empty root and a namespace without networks.
contrib/docker/context.sh "$static" "$work/image"
chown -R 65532:65532 "$work/image/openclaw" "$work/image/state"
cat >"$work/image.sh" <<'SCRIPT'
set -e
ip link set lo up
inside=(env -i HOME=/state OPENCLAW_STATE_DIR=/state OPENCLAW_CONTAINER=1 TMPDIR=/state/tmp PATH=/ /usr/sbin/chroot --userspec=65532:65532 "$image" /openclaw)
"${inside[@]}" gateway run >"$image.log" 2>&1 &
gateway=$!
for _ in $(seq 300); do grep -q ready "$image.log" && break; sleep 0.1; done
"${inside[@]}" gateway health
"${inside[@]}" config get gateway.auth.token --reveal | grep -Eq '^[0-9a-f]{48}$'
grep VmRSS "/proc/$gateway/status"
kill -TERM "$gateway" && wait "$gateway"
SCRIPT
image=$work/image unshare --net --mount --fork --kill-child=KILL bash "$work/image.sh" || { cat "$work/image.log"; fail "the files of the image"; }
[ "$(find "$work/image/state" ! -user 65532)" = "" ] || fail "a file of somebody else in the volume"
echo "ok  the image's files: started, healthy and stopped as user 65532 in an empty root (without Docker)"

if command -v systemd-analyze >/dev/null; then
  mkdir "$work/run"
  for scope in user system; do
    mkdir -p "$work/units/$scope"
    for unit in contrib/systemd/"$scope"/*; do
      sed "s|/usr/bin/openclaw|$work/openclaw|" "$unit" >"$work/units/$scope/${unit##*/}"
    done
    flags=()
    [ "$scope" = system ] || flags=(--user)
    said=$(XDG_RUNTIME_DIR=$work/run systemd-analyze verify --man=no "${flags[@]}" "$work/units/$scope"/* 2>&1) || fail "$scope units: $said"
    [ -z "$said" ] || fail "$scope units: $said"
  done
  echo "ok  the units: systemd-analyze verify has nothing to say; $(systemd-analyze security --offline=true "$work/units/system/openclaw-gateway.service" 2>/dev/null | tail -n 1)"
fi
python3 - contrib/launchd/*.plist <<'SCRIPT'
import plistlib, sys
for path in sys.argv[1:]:
    plist = plistlib.load(open(path, "rb"))
    assert path.endswith(plist["Label"] + ".plist") and plist["KeepAlive"] and plist["Umask"] == 0o77, path
SCRIPT
echo "ok  the plists are property lists"
echo "everything that is shipped was tried"
