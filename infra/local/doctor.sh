#!/usr/bin/env bash
# Says in plain words what this machine lacks. Ends with 1 when something that is needed is missing.
# Usage: doctor.sh PYTHON [--quiet]
set -u
python=$1 quiet=${2:-}
missing=0
say() { [ -n "$quiet" ] || printf '%s\n' "$*"; }
lacks() { printf 'missing: %s\n' "$*" >&2; missing=1; }

if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
    lacks "Python 3.11, 3.12 or 3.13 as '$python' (found: $("$python" --version 2>&1 | head -n 1)). Another one: make setup PYTHON=python3.12"
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    lacks "Python's venv module: apt-get install python3-venv"
else
    say "ok: $("$python" --version)"
fi
for need in git:git make:make setpriv:util-linux; do
    if command -v "${need%%:*}" >/dev/null; then say "ok: ${need%%:*}"; else lacks "${need%%:*}: apt-get install ${need##*:}"; fi
done
if [ -x "$(git --exec-path 2>/dev/null)/git-http-backend" ]; then say "ok: git http-backend"; else lacks "git http-backend: apt-get install git"; fi
if command -v skopeo >/dev/null; then say "ok: skopeo"; else say "optional: skopeo, reads our images back in one test: apt-get install skopeo"; fi
if command -v docker-registry >/dev/null; then say "ok: docker-registry"; else say "optional: docker-registry, for the tests that push images over HTTP: apt-get install docker-registry"; fi
if command -v buildah >/dev/null && command -v mmdebstrap >/dev/null; then say "ok: buildah and mmdebstrap"; else say "optional: buildah and mmdebstrap, for \`make images\`: apt-get install buildah mmdebstrap"; fi
if [ -n "$(ls /usr/lib/postgresql 2>/dev/null)" ]; then say "ok: postgresql"; else say "optional: postgresql, for the tests of docs/production.md and of rows from Postgres: apt-get install postgresql"; fi
if command -v chromium >/dev/null; then say "ok: chromium"; else say "optional: chromium, for the test that opens the demo's pages: apt-get install chromium"; fi
if command -v ip >/dev/null && command -v unshare >/dev/null; then say "ok: ip and unshare"; else say "optional: ip and unshare, for the test that runs the demo without internet: apt-get install iproute2 util-linux"; fi
free_gib=$(df --output=avail -BG . | tail -n 1 | tr -dc 0-9)
if [ "$free_gib" -ge 4 ]; then say "ok: $free_gib GiB of disk"; else lacks "disk: $free_gib GiB are free here, 4 are needed"; fi
memory_gib=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
if [ "$memory_gib" -ge 5 ]; then say "ok: $memory_gib GiB of memory"; else say "little memory: $memory_gib GiB are free, the demo's servers take about 5"; fi
exit $missing
