# shellcheck shell=bash
# deps.sh - what the build, the demo and the suite need from Debian 12, installed when missing.
#
# Sourced by tools/demo and tools/test. Nothing here starts or enables a service: dnsmasq comes as
# dnsmasq-base, and postfix's smtp-sink is unpacked beside the build without being installed.

WIREPOST_BUILD_PACKAGES=(
    gcc clang meson ninja-build pkgconf
    libdpdk-dev libssl-dev libcurl4-openssl-dev libjansson-dev check
    libuv1-dev liblmdb-dev libunbound-dev libidn2-dev libmicrohttpd-dev libpsl-dev
)
WIREPOST_RUN_PACKAGES=(
    curl iproute2 ethtool tcpdump tshark procps dnsmasq-base nsd ldnsutils openssl python3 python3-aiosmtpd python3-dkim python3-nacl opendkim
    libdb5.3 libicu72 libnsl2
)

# Names those packages of "$@" that dpkg does not know as installed.
deps_missing() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            printf '%s\n' "$package"
    done
}

# Installs "$@" where missing. A policy-rc.d that says no keeps every package from starting a daemon
# while it is set up (invoke-rc.d(8)); one that the operator has is left alone.
deps_install() {
    local missing policy=/usr/sbin/policy-rc.d ours=0
    mapfile -t missing < <(deps_missing "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        printf 'missing packages: %s\nrun this command as root, or install them\n' "${missing[*]}" >&2
        return 77
    fi
    printf 'installing %d packages: %s\n' "${#missing[@]}" "${missing[*]}"
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && ours=1
    fi
    local log result=0
    log=$(mktemp)
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y \
        --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null || result=$?
    [ "$ours" -eq 0 ] || rm -f "$policy"
    if [ "$result" -ne 0 ]; then
        tail -n 20 "$log" >&2
        printf 'apt-get failed; the full log is %s\n' "$log" >&2
        return 69
    fi
    rm -f "$log"
}

# Unpacks postfix's programs below $1 and prints the path of smtp-sink; nothing is installed, so no
# mail service appears on this host.
deps_smtp_sink() {
    local place=$1/postfix
    if [ ! -x "$place/usr/sbin/smtp-sink" ]; then
        rm -rf "$place" && mkdir -p "$place/deb" || return 74
        (cd "$place/deb" && chmod 755 . && apt-get -q -o APT::Sandbox::User=root download postfix >/dev/null 2>&1) ||
            { apt-get -q update >/dev/null 2>&1 &&
                (cd "$place/deb" && apt-get -q -o APT::Sandbox::User=root download postfix >/dev/null 2>&1); } ||
            { printf 'cannot download the package postfix (for smtp-sink)\n' >&2; return 69; }
        dpkg-deb -x "$place"/deb/postfix_*.deb "$place" || return 74
    fi
    printf '%s\n' "$place/usr/sbin/smtp-sink"
}
