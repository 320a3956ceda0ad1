#!/bin/sh
# context.sh <static program> <directory>: what the Dockerfile copies, with the modes it has in the image.
set -eu
here=$(dirname "$0")
program=$1
out=$2
rm -rf "$out" && mkdir -p "$out/state/tmp"
install -m 755 "$program" "$out/openclaw"
install -m 600 "$here/openclaw.json" "$out/state/openclaw.json"
chmod 700 "$out/state" "$out/state/tmp"
