#!/bin/sh
# install.sh EXTRAS: headrace and its packages, as they lie in an image, below /out. Called by the Dockerfile, in /src.
# What it makes is the same each time: neither the time nor the hash seed is in it.
set -eu
export PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
compile="python3 -m compileall -q --invalidation-mode=unchecked-hash"

# A base without pip takes the one in /wheels.
PYTHONPATH="$(echo /wheels/pip-*.whl)" python3 -m pip install --quiet --root=/out --no-compile --no-cache-dir \
  --ignore-installed --root-user-action=ignore --break-system-packages --no-warn-script-location \
  --find-links=/wheels --constraint=constraints.txt ".${1:+[$1]}"

# Compiled now, those of the standard library too: where the root is read-only, Python would compile in every pod.
stdlib="$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
$compile -x '/(test|tests|idlelib|lib2to3|site-packages|dist-packages)/' "$stdlib"
find "$stdlib" -name '*.pyc' -not -path '*-packages/*' -exec cp --parents --target-directory=/out {} +
$compile -s /out /out/usr/local/lib
find /out -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
