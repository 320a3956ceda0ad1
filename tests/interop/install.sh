#!/bin/sh
# Installs the reference programs from the npm registry below the given directory, once each, with a
# Node of their own in the layout of an ordinary installation: bin/node, bin/npm, lib/node_modules/npm.
# Usage: install.sh DIRECTORY
set -eu

if [ ! -x /usr/sbin/nginx ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "nginx is missing: apt-get install nginx-light" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light
fi

if [ ! -x /usr/sbin/sshd ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "sshd is missing: apt-get install openssh-server" >&2
    exit 1
  fi
  apt-get update -qq
  # Only the program is wanted: no service is started for it.
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends openssh-server openssh-client
fi

if [ ! -x /usr/bin/chromium ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "chromium is missing: apt-get install chromium" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium
fi

releases="2026.4.29 2026.9.6" node=24 npm=11
mkdir -p "$1"
cd "$1"
if [ ! -e "node24/installed" ]; then
  if ! command -v npm >/dev/null; then
    echo "npm is missing: apt-get install nodejs npm (any version that can install packages)" >&2
    exit 1
  fi
  rm -rf node24 bootstrap
  mkdir -p bootstrap node24/bin node24/lib/node_modules
  echo '{"private":true}' >bootstrap/package.json
  (cd bootstrap && npm install --no-audit --no-fund --loglevel=error "node@$node" "npm@$npm")
  cp "$(readlink -f bootstrap/node_modules/node/bin/node)" node24/bin/node
  cp -R bootstrap/node_modules/npm node24/lib/node_modules/npm
  ln -sf ../lib/node_modules/npm/bin/npm-cli.js node24/bin/npm
  rm -rf bootstrap
  touch node24/installed
fi
# The newer release refuses to be installed by an old Node.
PATH="$PWD/node24/bin:$PATH"
for release in $releases; do
  home="openclaw-$release"
  [ ! -e "$home/installed" ] || continue
  rm -rf "$home"
  mkdir -p "$home"
  echo '{"private":true}' >"$home/package.json"
  (cd "$home" && npm install --no-audit --no-fund --loglevel=error "openclaw@$release")
  touch "$home/installed"
done
