#!/bin/sh
# Installs the reference program from the npm registry below the given directory, once, in the
# layout of an ordinary Node installation: bin/node, bin/npm, lib/node_modules/npm.
# Usage: install.sh DIRECTORY
set -eu

openclaw=2026.4.29 node=24 npm=11
mkdir -p "$1"
cd "$1"
[ ! -e "installed-$openclaw" ] || exit 0
if ! command -v npm >/dev/null; then
  echo "npm is missing: apt-get install nodejs npm (any version that can install packages)" >&2
  exit 1
fi
rm -rf packages node24
mkdir -p packages node24/bin node24/lib/node_modules
echo '{"private":true}' >packages/package.json
(cd packages && npm install --no-audit --no-fund --loglevel=error "node@$node" "npm@$npm" "openclaw@$openclaw")
cp "$(readlink -f packages/node_modules/node/bin/node)" node24/bin/node
cp -R packages/node_modules/npm node24/lib/node_modules/npm
ln -sf ../lib/node_modules/npm/bin/npm-cli.js node24/bin/npm
touch "installed-$openclaw"
