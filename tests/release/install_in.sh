#!/bin/sh
# Try the packages in build/dist with the Pythons of another Debian suite. Needs root, debootstrap.
#   tests/release/install_in.sh sid python3.14 python3.15
set -eu
cd "$(dirname "$0")/../.."
suite=$1
shift

root=$(mktemp --directory)
trap 'rm --recursive --force --one-file-system "$root"' EXIT
packages=$(printf '%s-venv,' "$@")ca-certificates
debootstrap --variant=minbase --include="$packages" "$suite" "$root" > "$root/log" \
  || { cat "$root/log"; exit 1; }

# The way to the package index is this machine's.
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  if [ -e "$file" ]; then cp "$file" "$root$file"; fi
done
mkdir "$root/livenessprobe"
cp --parents --recursive requirements.lock tests/release build/dist "$root/livenessprobe"
for python in "$@"; do
  chroot "$root" "$python" /livenessprobe/tests/release/install.py /livenessprobe/build/dist
done
