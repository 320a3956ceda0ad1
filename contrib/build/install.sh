#!/bin/sh
# install.sh install|uninstall, with PREFIX (/usr/local), DESTDIR (empty) and, to install, PROGRAM in the environment. Nothing is
# started, enabled or configured, and nothing outside these directories is touched; with DESTDIR no root is needed.
set -eu
# Directories that are made are for everybody.
umask 022
cd "$(dirname "$0")/../.."
prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}
doc=$prefix/share/doc/openclaw

# zsh looks for a distribution's completions in one place and for everybody else's in another.
zsh=site-functions
[ "$prefix" != /usr ] || zsh=vendor-completions

# Where it goes and with which mode: mode, source, destination.
files() {
  echo "755 ${PROGRAM:-target/release/openclaw} $prefix/bin/openclaw"
  for page in contrib/man/*; do
    echo "644 $page $prefix/share/man/man${page##*.}/${page##*/}"
  done
  echo "644 contrib/completions/bash/openclaw $prefix/share/bash-completion/completions/openclaw"
  echo "644 contrib/completions/zsh/_openclaw $prefix/share/zsh/$zsh/_openclaw"
  echo "644 contrib/completions/fish/openclaw.fish $prefix/share/fish/vendor_completions.d/openclaw.fish"
  for scope in user system; do
    for unit in contrib/systemd/$scope/*; do
      echo "644 $unit $prefix/lib/systemd/$scope/${unit##*/}"
    done
  done
  for kind in sysusers tmpfiles; do
    echo "644 contrib/systemd/$kind.conf $prefix/lib/$kind.d/openclaw.conf"
  done
  # At the places where contrib/README.md names them.
  for text in README.md CHANGELOG.md LICENSE contrib/*.md contrib/avahi/* contrib/bind/* contrib/docker/* contrib/examples/* \
    contrib/launchd/* contrib/openrc/* contrib/procd/*; do
    echo "644 $text $doc/$text"
  done
}

case ${1:-} in
  install)
    files | while read -r mode source destination; do
      mkdir -p "$root${destination%/*}"
      case $source in
        contrib/systemd/*.service)
          sed "s|/usr/bin/openclaw|$prefix/bin/openclaw|" "$source" >"$root$destination"
          chmod "$mode" "$root$destination"
          ;;
        *) install -m "$mode" "$source" "$root$destination" ;;
      esac
    done
    ;;
  uninstall)
    files | while read -r _ _ destination; do
      rm -f "$root$destination"
    done
    # The directories that are nobody else's, unless somebody put something there.
    rmdir "$root$doc"/contrib/* "$root$doc/contrib" "$root$doc" 2>/dev/null || true
    ;;
  *) echo "usage: install.sh install|uninstall"; exit 2 ;;
esac
