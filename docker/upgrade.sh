#!/bin/sh
# Brings a Debian system to the state of its security suite; docker/base-image.sh and the Dockerfile run it:
#   upgrade.sh [MIRROR]
# MIRROR   an archive of the security suite (default: the one that the system names, else Debian's own)
# Needs root. The lists of packages stay, for what is installed next.
set -eu
if [ $# -gt 0 ] || ! grep -Eqrs '^[^#]*-security' /etc/apt/sources.list /etc/apt/sources.list.d; then
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  echo "deb ${1:-http://deb.debian.org/debian-security} $codename-security main" >/etc/apt/sources.list.d/security.list
fi
# a list that cannot be read is an error: nothing says then that the system is up to date
apt-get -o APT::Update::Error-Mode=any update
DEBIAN_FRONTEND=noninteractive apt-get -y --with-new-pkgs upgrade
