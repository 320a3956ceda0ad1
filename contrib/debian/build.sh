#!/bin/sh
# build.sh <program>: target/debian/openclaw_<version>_<architecture>.deb, the same bytes for the same program and
# SOURCE_DATE_EPOCH (the date of the changelog), then lintian, unless LINTIAN=no. No root needed. ARCHITECTURE names another
# machine's, OUT another directory.
set -eu
umask 022
cd "$(dirname "$0")/../.."
program=$1
here=contrib/debian
architecture=${ARCHITECTURE:-$(dpkg --print-architecture)}

if { [ "${LINTIAN:-yes}" = yes ] && ! command -v lintian >/dev/null; } || ! command -v dpkg-shlibdeps >/dev/null; then
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends lintian dpkg-dev >/dev/null; } \
    || { echo "missing: apt-get install lintian dpkg-dev"; exit 1; }
fi

version=$(dpkg-parsechangelog -l $here/changelog -S Version)
cargo_version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
case $version in
  "$cargo_version"-*) ;;
  *) echo "$here/changelog is of $version, Cargo.toml of $cargo_version"; exit 1 ;;
esac
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(dpkg-parsechangelog -l $here/changelog -S Timestamp)}
export SOURCE_DATE_EPOCH

out=${OUT:-target/debian}
root=$out/root
rm -rf "$root" && mkdir -p "$root/DEBIAN"
PROGRAM=$program DESTDIR=$root PREFIX=/usr contrib/build/install.sh install
doc=$root/usr/share/doc/openclaw
mv "$doc/CHANGELOG.md" "$doc/changelog"
# Debian keeps the licence in a file of its own.
rm "$doc/LICENSE"
sed -i 's|\[LICENSE\](LICENSE)|[copyright](copyright)|' "$doc/README.md"
cp $here/changelog "$doc/changelog.Debian"
install -m 644 $here/copyright "$doc/copyright"
gzip -9n "$doc/changelog" "$doc/changelog.Debian" "$root"/usr/share/man/man*/*
if [ -e $here/lintian-overrides ]; then
  install -D -m 644 $here/lintian-overrides "$root/usr/share/lintian/overrides/openclaw"
fi

# What the program is linked with; nothing for a static one. dpkg-shlibdeps wants to be in a source tree.
mkdir -p "$out/source/debian"
printf 'Source: openclaw\n\nPackage: openclaw\nArchitecture: any\n' >"$out/source/debian/control"
substitutions=$(cd "$out/source" && dpkg-shlibdeps -O ${SHLIBDEPS_FLAGS:-} "$(realpath "../root/usr/bin/openclaw")" 2>../shlibdeps.log) \
  || { cat "$out/shlibdeps.log"; echo "dpkg-shlibdeps cannot tell what $program is linked with"; exit 1; }
depends=$(printf '%s\n' "$substitutions" | sed -n 's/^shlibs:Depends=//p')
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@DEPENDS@/$depends/" \
  -e "s/@SIZE@/$(du -sk --apparent-size "$root/usr" | cut -f1)/" -e '/^Depends: $/d' $here/control >"$root/DEBIAN/control"
install -m 755 $here/postinst $here/prerm $here/postrm "$root/DEBIAN"
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
chmod 644 "$root/DEBIAN/md5sums" "$root/DEBIAN/control"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

package=$out/openclaw_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$package"
rm -rf "$root" "$out/source" "$out/shlibdeps.log"
if [ "${LINTIAN:-yes}" = yes ]; then
  lintian --fail-on error,warning --allow-root "$package"
  echo "lintian: clean"
fi
