#!/bin/sh
# Makes a base image from Debian's packages alone, for machines that reach no registry: Python as Debian 12 has it.
# images/local-base.sh [NAME]; then make images BASE_IMAGE=NAME. Needs root, mmdebstrap and buildah.
set -eu
name=${1:-localhost/diptych/base:dev}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM

for tool in mmdebstrap buildah; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install $tool" >&2; exit 1; }
done
mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3-venv \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  bookworm "$folder/rootfs.tar"
printf 'FROM scratch\nADD rootfs.tar /\n' >"$folder/Containerfile"
buildah build --quiet --isolation chroot --tag "$name" "$folder" >/dev/null
echo "$name"
