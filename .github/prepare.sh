#!/usr/bin/env bash
# Prepares one of GitHub's ubuntu-24.04 runners: prepare.sh [PACKAGE…]
# Puts the tool cache's Python 3.11 and Go 1.26 first in PATH for the next steps, and installs
# Ubuntu packages. The images have Python 3.11, the runner's python3 is 3.12. The cluster needs Go 1.26.
set -euo pipefail
cache=${RUNNER_TOOL_CACHE:?"only GitHub's runners have a tool cache"}

for tool in Python/3.11 go/1.26; do
    found=$(find "$cache/${tool%/*}" -path "$cache/$tool.*/x64/bin" -type d | sort -V | tail -n 1)
    if [ -z "$found" ]; then
        echo "$tool is not in $cache. Found: $(ls "$cache/${tool%/*}" | xargs)" >&2
        exit 1
    fi
    echo "$found" >>"$GITHUB_PATH"
done
if [ "$#" -gt 0 ]; then
    chmod a+x "$HOME"  # some tests run our code as another user, who must pass through this folder
    sudo apt-get update -qq
    sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
fi
