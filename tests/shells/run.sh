#!/bin/sh
# The completion scripts in real shells, and what the checkers say of them, of the manual pages and of every shell script here.
set -eu
cd "$(dirname "$0")/../.."

missing=
for pair in bash:bash zsh:zsh fish:fish mandoc:mandoc man:man-db shellcheck:shellcheck python3:python3; do
  command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
  # shellcheck disable=SC2086 # words are meant
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } \
    || { echo "missing:$missing"; exit 1; }
fi

bash -n contrib/completions/bash/openclaw
zsh -n contrib/completions/zsh/_openclaw
fish --no-execute contrib/completions/fish/openclaw.fish
python3 tests/shells/complete.py contrib/completions

for page in contrib/man/*; do
  mandoc -T lint -W warning "$page"
  said=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
  [ -z "$said" ] || { echo "$page: $said"; exit 1; }
done
echo "manual pages: no warning of mandoc or groff"

# SC2016: a $ between single quotes is meant there.
shellcheck -s bash -e SC2016 contrib/completions/bash/openclaw
# SC1007: `a= b=` are two empty variables.
git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck -S warning -e SC1007
shellcheck -S warning contrib/openrc/openclaw-gateway contrib/openrc/openclaw-node contrib/debian/postinst contrib/debian/prerm contrib/debian/postrm
shellcheck -S warning -s sh contrib/procd/openclaw-*
echo "shell scripts: no warning of shellcheck"
