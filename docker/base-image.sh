#!/bin/sh
# Makes a base image from Debian's packages with debootstrap, for sites where no image registry is reached. The updates of
# Debian's security suite are in it.
#   docker/base-image.sh [--tag NAME] [--mirror URL] [--security-mirror URL] [--certificates FOLDER]
#   docker build --build-arg BASE_IMAGE=NAME -t mosaicell .
# --tag              name of the image (default: debian:bookworm-slim)
# --mirror           a Debian archive that this machine reaches (default: debootstrap's own)
# --security-mirror  an archive of the security suite (default: Debian's own)
# --certificates     *.crt files that the image shall trust, as a site's own package index needs
#                    (default: /usr/local/share/ca-certificates)
# Needs root, debootstrap and a running Docker engine; DOCKER names another client, such as podman.
set -eu

fail() {
  echo "base-image.sh: $1" >&2
  exit "${2:-1}"
}

tag=debian:bookworm-slim mirror='' security='' certificates=/usr/local/share/ca-certificates
while [ $# -gt 0 ]; do
  case $1 in
    --tag | --mirror | --security-mirror | --certificates) [ $# -gt 1 ] && [ -n "$2" ] || fail "$1 needs a value" 2 ;;
    *) fail "unknown argument $1; allowed are --tag, --mirror, --security-mirror, --certificates" 2 ;;
  esac
  case $1 in
    --tag) tag=$2 ;;
    --mirror) mirror=$2 ;;
    --security-mirror) security=$2 ;;
    --certificates)
      certificates=$2
      [ -d "$certificates" ] || fail "there is no folder $certificates" 2
      ;;
  esac
  shift 2
done
docker=${DOCKER:-docker}
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || fail "only root can run debootstrap"
command -v debootstrap >/dev/null || fail "debootstrap is not installed (apt-get install debootstrap)"
"$docker" version >/dev/null 2>&1 || fail "no Docker engine answers"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 1' HUP INT TERM
# $mirror unquoted: without a mirror there is no argument
# shellcheck disable=SC2086
debootstrap --variant=minbase bookworm "$root/system" $mirror >"$root/log" 2>&1 || {
  tail -n 5 "$root/log" >&2
  fail "debootstrap failed"
}
cp "$here/upgrade.sh" "$root/system/root/"
# unquoted as above
# shellcheck disable=SC2086
chroot "$root/system" sh /root/upgrade.sh $security >"$root/log" 2>&1 </dev/null || {
  tail -n 5 "$root/log" >&2
  fail "the security suite cannot be taken; --security-mirror names an archive of it that this machine reaches"
}
rm "$root/system/root/upgrade.sh"
if [ -n "$(find "$certificates" -maxdepth 1 -name '*.crt' 2>/dev/null)" ]; then
  # read by update-ca-certificates when the Dockerfile installs ca-certificates
  mkdir -p "$root/system/usr/local/share/ca-certificates"
  cp "$certificates"/*.crt "$root/system/usr/local/share/ca-certificates/"
fi
cd "$root/system"
rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/doc/* usr/share/man/* usr/share/info/* usr/share/locale/*
# one temporary folder for all: an archive of a folder with mode 700 would make / unreadable to other users
chmod 755 .
tar -c . | "$docker" import --change 'CMD ["bash"]' --message "Debian 12 by debootstrap" - "$tag"
