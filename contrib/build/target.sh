#!/bin/sh
# A build for another target: contrib/build/target.sh <triple>. The C compiler is for ring; each target has one in Debian. The
# program is target/<triple>/release/openclaw, or below another profile: PROFILE=dev builds faster (target/<triple>/debug).
set -eu
cd "$(dirname "$0")/../.."
triple=$1

host=$(rustc -vV | sed -n 's/^host: //p')
case $triple in
  "${host%%-*}"-*) compiler=cc package="gcc libc6-dev" ;;
  aarch64-*-linux-*) compiler=aarch64-linux-gnu-gcc package="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
  armv7-*-linux-*eabihf) compiler=arm-linux-gnueabihf-gcc package="gcc-arm-linux-gnueabihf libc6-dev-armhf-cross" ;;
  *) echo "no C compiler is known for $triple"; exit 1 ;;
esac
if ! command -v "$compiler" >/dev/null; then
  # shellcheck disable=SC2086 # words are meant
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $package >/dev/null; } \
    || { echo "$compiler is missing: apt-get install $package"; exit 1; }
fi
if ! rustc --print target-libdir --target "$triple" 2>/dev/null | xargs test -d; then
  rustup target add "$triple" \
    || { echo "the standard library for $triple is missing: rustup target add $triple, or a toolchain that has it"; exit 1; }
fi

# Rust brings musl itself and links it with any compiler but musl-gcc, whose programs look for a loader that is not there. What ring
# compiles may not ask for a checked function of Debian's C library then.
flags=
case $triple in *-musl*) flags=-U_FORTIFY_SOURCE ;; esac
name=$(echo "$triple" | tr a-z- A-Z_)
low=$(echo "$triple" | tr - _)
env "CC_$low=$compiler" "CFLAGS_$low=$flags" "CARGO_TARGET_${name}_LINKER=$compiler" \
  "${CARGO:-cargo}" build --locked --profile "${PROFILE:-release}" --target "$triple"
