#!/bin/sh
# Installs what the tests of discovery talk to: Avahi and python-zeroconf, the latter below the given directory, BIND and dig.
# Usage: install.sh DIRECTORY
set -eu
PATH=$PATH:/usr/sbin:/sbin

[ "$(id -u)" = 0 ] || { echo "network namespaces need root: sudo make lan" >&2; exit 1; }
missing=
for pair in avahi-daemon:avahi-daemon avahi-browse:avahi-utils dbus-daemon:dbus ip:iproute2 named:bind9 dig:bind9-dnsutils ssh:openssh-client /usr/sbin/sshd:openssh-server unshare:util-linux; do
  command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
if [ -n "$missing" ]; then
  apt-get update -qq
  # Only the programs are wanted: no service is started for them.
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing
fi
if [ ! -e "$1/installed" ]; then
  rm -rf "$1"
  python3 -m venv "$1"
  "$1/bin/pip" install --quiet --disable-pip-version-check "zeroconf==0.149.16"
  touch "$1/installed"
fi
