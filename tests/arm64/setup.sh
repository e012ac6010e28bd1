#!/bin/bash
# Make a folder in which programs for 64-bit ARM run on an x86 machine: qemu, Python and the runtimes.
#
#   tests/arm64/setup.sh FOLDER && CPL_EDGE_ARM64=FOLDER pytest tests/arm64
#
# Debian, with apt-get and uv (or UV=PATH); nothing is installed outside of the folder. Less than a minute, 400 MB.
# Debian 12's own qemu 7.2 crashes in these runtimes, so qemu is that of Debian 13.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:?FOLDER}
mkdir -p "$folder"
cd "$folder"
folder=$PWD

# apt with lists and state of its own: ARCH SUITE WORDS...
private_apt() {
    local state=$folder/apt-$1-$2
    mkdir -p "$state"/{lists,archives}/partial
    # The mirror that this machine's own apt uses.
    local mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -n 1)
    [ -n "$mirror" ] || { echo "no Debian mirror is set up: run apt-get update first" >&2; exit 1; }
    echo "deb [arch=$1] $mirror $2 main" >"$state/sources.list"
    touch "$state/status"
    apt-get -qq -o APT::Architecture="$1" -o APT::Architectures="$1" \
        -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$state/lists" -o Dir::State::status="$state/status" \
        -o Dir::Cache::archives="$state/archives" -o Dir::Cache::pkgcache= \
        -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root "${@:3}"
}

unpack() { for package in "$folder/apt-$1-$2"/archives/*.deb; do dpkg-deb -x "$package" "$3"; done; }

private_apt amd64 trixie update
private_apt amd64 trixie install -y --download-only --no-install-recommends qemu-user >/dev/null
unpack amd64 trixie qemu
private_apt arm64 bookworm update
private_apt arm64 bookworm install -y --download-only --no-install-recommends \
    python3.11 libstdc++6 >/dev/null
unpack arm64 bookworm root

wheels=()
for name in numpy ai-edge-litert onnxruntime; do
    wheels+=("$(grep "^$name==" "$here/constraints.txt")")
done
"${UV:-uv}" pip install --quiet --python-platform aarch64-manylinux_2_31 --python-version 3.11 \
    --target site --only-binary :all: "${wheels[@]}"
qemu/usr/bin/qemu-aarch64 -L root root/usr/bin/python3.11 -c 'import platform; print(platform.machine())'
