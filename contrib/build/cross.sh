#!/bin/sh
# Builds for aarch64 and armv7, and does the main job with both programs under user-mode emulation. The commands that the node
# runs are this machine's own. LIBC=gnu (for Debian's machines) or musl (one file that needs nothing of its machine).
set -eu
cd "$(dirname "$0")/../.."
if ! command -v qemu-aarch64-static >/dev/null; then
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends qemu-user-static >/dev/null; } \
    || { echo "qemu-aarch64-static is missing: apt-get install qemu-user-static"; exit 1; }
fi
directory=${PROFILE:-release}
[ "$directory" != dev ] || directory=debug
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
libc=${LIBC:-gnu}
for pair in "aarch64-unknown-linux-$libc:qemu-aarch64-static:/usr/aarch64-linux-gnu" \
  "armv7-unknown-linux-${libc}eabihf:qemu-arm-static:/usr/arm-linux-gnueabihf"; do
  triple=${pair%%:*} rest=${pair#*:}
  contrib/build/target.sh "$triple"
  # One program file, as the demo wants it.
  printf '#!/bin/sh\nexec %s -L %s %s "$@"\n' "${rest%%:*}" "${rest#*:}" "$PWD/target/$triple/$directory/openclaw" >"$work/openclaw"
  chmod 755 "$work/openclaw"
  "$work/openclaw" --version
  tests/demo.sh "$work/openclaw"
  echo "$triple: the demo passes under ${rest%%:*}"
done
