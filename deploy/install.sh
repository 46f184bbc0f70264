#!/bin/sh
# Installs zest: fetches the newest release for this machine, checks it, puts zest and zest-seed into a folder of yours.
#
#   curl -fsSL https://github.com/zest-p2p/zest/releases/latest/download/install.sh | sh
#
# ZEST_VERSION      a version instead of the newest, as 0.5.0
# ZEST_INSTALL_DIR  where to, instead of ~/.local/bin
# ZEST_RELEASES     where releases lie, instead of GitHub: ADDRESS/download/vVERSION/FILE, ADDRESS/latest/download/FILE
#
# ZEST_RELEASE_KEY  the maintainers' minisign key: the signature has to be there and right, else nothing is installed
#
# What is fetched is compared with SHA256SUMS of the release, and that with its signature: by minisign if ZEST_RELEASE_KEY is set, else by
# cosign if it is installed (it has to be signed by the release workflow of that repository).
set -eu

releases=${ZEST_RELEASES:-https://github.com/zest-p2p/zest/releases}
folder=${ZEST_INSTALL_DIR:-$HOME/.local/bin}
workflow='^https://github\.com/zest-p2p/zest/\.github/workflows/release\.yml@refs/tags/v'

fail() {
    echo "zest is not installed: $1" >&2
    exit 1
}

fetch() { # fetch ADDRESS FILE
    if command -v curl >/dev/null; then
        curl --proto '=https,http,file' --proto-redir '=https' -fsSL --retry 3 -o "$2" "$1" || fail "$1 cannot be fetched"
    elif command -v wget >/dev/null; then
        wget -q -O "$2" "$1" || fail "$1 cannot be fetched"
    else
        fail "neither curl nor wget is here"
    fi
}

sum() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# All of it is read before any of it runs: a line that breaks in the middle of this text installs nothing.
main() {
    case $(uname -m) in
    x86_64 | amd64) machine=x86_64 ;;
    aarch64 | arm64) machine=aarch64 ;;
    *) fail "there is no release for $(uname -m); \`cargo install\` builds it" ;;
    esac
    case $(uname -s) in
    Linux) target=$machine-unknown-linux-musl ;;
    Darwin) target=$machine-apple-darwin ;;
    *) fail "there is no release for $(uname -s) here; see the page of releases" ;;
    esac
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    from=$releases/latest/download
    [ -z "${ZEST_VERSION:-}" ] || from=$releases/download/v$ZEST_VERSION
    fetch "$from/SHA256SUMS" "$work/SHA256SUMS"
    line=$(grep -E "  zest-[0-9][^ ]*-$target\.tar\.gz\$" "$work/SHA256SUMS") || fail "the release has nothing for $target"
    want=${line%% *}
    file=${line##* }
    if [ -n "${ZEST_RELEASE_KEY:-}" ]; then
        command -v minisign >/dev/null || fail "ZEST_RELEASE_KEY is set, and minisign is not installed"
        fetch "$from/SHA256SUMS.minisig" "$work/SHA256SUMS.minisig"
        minisign -Vqm "$work/SHA256SUMS" -P "$ZEST_RELEASE_KEY" || fail "the signature of SHA256SUMS is wrong"
        checked="sum and signature (minisign) are right"
    elif command -v cosign >/dev/null; then
        fetch "$from/SHA256SUMS.sigstore.json" "$work/SHA256SUMS.sigstore.json"
        cosign verify-blob --bundle "$work/SHA256SUMS.sigstore.json" --certificate-identity-regexp "$workflow" \
            --certificate-oidc-issuer https://token.actions.githubusercontent.com "$work/SHA256SUMS" >/dev/null 2>&1 ||
            fail "the signature of SHA256SUMS is wrong"
        checked="sum and signature (cosign) are right"
    else
        checked="its sum is right; its signature was not looked at (needs cosign, or minisign with ZEST_RELEASE_KEY)"
    fi
    fetch "$from/$file" "$work/$file"
    got=$(sum "$work/$file")
    [ "$got" = "$want" ] || fail "$file has sha256 $got, and the release says $want"
    echo "$file: $checked"
    tar -xzf "$work/$file" -C "$work"
    mkdir -p "$folder"
    for program in zest zest-seed; do
        # Renamed into place: one that runs goes on with what it has.
        cp "$work/${file%.tar.gz}/$program" "$folder/.$program.new"
        chmod 755 "$folder/.$program.new"
        mv -f "$folder/.$program.new" "$folder/$program"
    done
    echo "$("$folder/zest" --version) is in $folder"
    case :$PATH: in
    *":$folder:"*) ;;
    *) echo "put it on your path: export PATH=\"$folder:\$PATH\"" ;;
    esac
    echo "see it work: zest demo"
}

main
