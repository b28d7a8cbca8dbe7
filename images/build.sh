#!/bin/sh
# Builds the images, or those named, with docker, podman or buildah, whichever works here: images/build.sh [operator] [ray]
# From the environment: BUILDER, one of the three; BASE_IMAGE, REGISTRY, IMAGE_TAG; PIP_INDEX_URL and UV_DEFAULT_INDEX,
# where packages come from a mirror; SSL_CERT_FILE, certificates that are trusted while packages are fetched and do not
# stay in the image; proxies.
set -eu
cd "$(dirname "$0")/.."
targets=${*:-operator ray}

for one in ${BUILDER:-docker podman buildah}; do
  "$one" info >/dev/null 2>&1 && break || one=
done
case $one in
  docker) builder="docker buildx build --load" ;;
  podman) builder="podman build" ;;
  buildah) builder="buildah build --layers --isolation chroot" ;;
  *) echo "No ${BUILDER:-docker, podman or buildah} works here." >&2
    echo "On Debian: apt-get install buildah, and run make images as root." >&2
    exit 1 ;;
esac

set --
for name in BASE_IMAGE PIP_INDEX_URL UV_DEFAULT_INDEX; do
  eval "value=\${$name:-}"
  [ -z "$value" ] || set -- "$@" --build-arg "$name=$value"
done
if [ -n "${SSL_CERT_FILE:-}" ]; then
  seen=/run/secrets/certificates
  set -- "$@" --secret "id=certificates,src=$SSL_CERT_FILE" --build-arg SSL_CERT_FILE=$seen --build-arg PIP_CERT=$seen
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
for target in $targets; do
  image=${REGISTRY:-localhost/diptych}/$target:${IMAGE_TAG:-dev}
  $builder "$@" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    --file images/Containerfile --target "$target" --tag "$image" .
  echo "$image"
done
