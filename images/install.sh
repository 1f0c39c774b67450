#!/bin/sh
# Called by the Dockerfile, in /src; puts things below /out as they lie in an image:
#     install.sh packages EXTRAS    what headrace needs, and the standard library as compiled files
#     install.sh project            headrace itself
# What it makes is the same each time: neither the time nor the hash seed is in it.
set -eu
export PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1

install() {
  # A base without pip takes the one in /wheels.
  PYTHONPATH="$(echo /wheels/pip-*.whl)" python3 -m pip install --quiet --root=/out --no-compile --no-cache-dir \
    --ignore-installed --root-user-action=ignore --break-system-packages --no-warn-script-location \
    --find-links=/wheels --constraint=constraints.txt "$@"
}

# Compiled now: where the root is read-only, Python would compile in every pod.
compile() {
  python3 -m compileall -q --invalidation-mode=unchecked-hash "$@"
}

case "$1" in
packages)
  mkdir -p sdk/headrace operator/headrace_operator  # an empty project, for its dependencies
  install ".${2:+[$2]}"
  stdlib="$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
  compile -x '/(test|tests|idlelib|lib2to3|site-packages|dist-packages)/' "$stdlib"
  find "$stdlib" -name '*.pyc' -not -path '*-packages/*' -exec cp --parents --target-directory=/out {} +
  compile -s /out /out/usr/local/lib
  ;;
project)
  install --no-deps .
  compile -s /out /out/usr/local/lib/python3*/*-packages/headrace*/
  ;;
esac
find /out -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
