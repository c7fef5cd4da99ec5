#!/bin/sh
# Unpack the Prometheus of a Debian suite into a directory, which gets its programs in usr/bin.
#   tests/prometheus/download.sh sid build/prometheus/sid
# Nothing is installed. The mirror is the one from which this machine has its own Debian packages.
set -eu
suite=$1 directory=$2

mirror() {
  apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' | head -n 1
}
# Before the first update, apt does not know which of its sources is Debian's.
[ -n "$(mirror)" ] || apt-get update --quiet=2

rm -rf "$directory"
mkdir -p "$directory/apt/lists/partial" "$directory/apt/archives/partial"
cd "$directory"
cat > apt/apt.conf << END
Dir::Etc::sourcelist "$PWD/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$PWD/apt/lists";
Dir::Cache "$PWD/apt";
APT::Sandbox::User "";
END
echo "deb $(mirror) $suite main" > apt/sources.list
export APT_CONFIG="$PWD/apt/apt.conf"
apt-get update --quiet=2
# In newer suites promtool is a package of its own.
(cd apt && apt-get download --quiet=2 prometheus $(apt-cache pkgnames promtool))
for package in apt/*.deb; do dpkg --extract "$package" .; done
rm -r apt
