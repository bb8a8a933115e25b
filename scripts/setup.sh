#!/bin/sh
# What `make` needs before it can do anything: `setup.sh venv LOCK` and `setup.sh program NAME WHAT-FOR`.
set -eu
cd "$(dirname "$0")/.."

refuse() {
    echo "$*" >&2
    exit 1
}

# A Python that is new enough and can make a .venv: $PYTHON, else the distribution's, whose build is often faster, else one of the usual names.
python() {
    found=
    for candidate in ${PYTHON:-/usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11}; do
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        found=$candidate
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    [ -z "$found" ] || refuse "OrcaRouter needs python3-venv: apt-get install python3-venv"
    refuse "OrcaRouter needs Python 3.11 or newer, and ${PYTHON:-python3} is $("${PYTHON:-python3}" --version 2>/dev/null || echo missing)." \
        "Install one, and name it if it is not on the PATH: make PYTHON=/path/to/python3.11"
}

# Bring .venv up to a lock file. The stamp holds the hash of each lock that is installed, so the next start only compares.
venv() {
    # One at a time: `make run` and `make test` may be begun together. The folder itself is the lock.
    exec 9<.
    flock 9
    hash=$(sha256sum <"$1" | cut -d' ' -f1)
    if [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null; then
        if grep -qs "$hash" .venv/installed; then return; fi
    else
        python=$(python)
        echo "Making .venv with $("$python" --version)." >&2
        "$python" -m venv --clear .venv || refuse "OrcaRouter needs python3-venv: apt-get install python3-venv"
    fi
    echo "Installing the libraries of $1 into .venv, once; it takes less than a minute." >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes --requirement "$1" ||
        refuse "The libraries could not be installed: pip's lines above say why. The next \`make\` tries again."
    # The larger lock holds the smaller one.
    if [ "$1" = requirements-dev.lock ]; then sha256sum <requirements.lock | cut -d' ' -f1 >.venv/installed; fi
    echo "$hash" >>.venv/installed
}

# See that a program is there; root gets it from Debian, everybody else is told how.
program() {
    if command -v "$1" >/dev/null; then return; fi
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || refuse "$2 needs $1: apt-get install $1 (as root)"
    echo "$2 needs $1: installing it." >&2
    # RUNLEVEL=1: a server's package shall bring the program, and not start a service.
    { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"; } >/dev/null ||
        refuse "$2 needs $1, and it could not be installed: apt-get install $1"
}

"$@"
