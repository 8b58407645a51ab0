# Sourced by the other scripts: brings what a fresh machine with Python 3.11 or newer lacks, and says so.
# Nothing is installed outside this folder, except Chromium, libfaketime and nginx, each for the tests of its name.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\033[1m▸ %s\033[0m\n' "$*" >&2; }
fail() { printf '\033[1m✗ %s\033[0m\n' "$*" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in python3 python python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail "Python 3.11 or newer is needed, and none was found on the PATH"
}

# uv installs the exact versions of uv.lock. Where it is not on the PATH, it gets an environment of its own in .tools/.
find_uv() {
  if command -v uv >/dev/null; then command -v uv; return; fi
  if [ ! -x .tools/uv/bin/uv ]; then
    say "Installing uv into .tools/ (once)"
    "$(find_python)" -m venv .tools/uv >&2 && .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9" >&2
  fi
  echo "$root/.tools/uv/bin/uv"
}

# sync GROUP…: makes .venv what the lock file says. The yardsticks of the benchmarks are in a separate environment.
sync() {
  say "Installing Python packages into .venv ($*)"
  # An environment that is there keeps its Python; another Python would make it anew.
  [ -x .venv/bin/python ] || UV_PYTHON_DOWNLOADS=never "$uv" venv --quiet --python "${UV_PYTHON:-$(find_python)}" .venv
  UV_PYTHON_DOWNLOADS=never "$uv" sync --frozen --quiet --python .venv/bin/python "$@" --no-group yardsticks
}

# together COMMAND… -- COMMAND…: runs both at once; what the second prints comes when the first has ended.
# Fails when one of them fails.
together() {
  local first=() printed status=0
  while [ "$1" != "--" ]; do first+=("$1"); shift; done
  shift
  printed=$(mktemp)
  "$@" >"$printed" 2>&1 &
  "${first[@]}" || status=$?
  wait $! || status=$?
  cat "$printed" && rm "$printed"
  return $status
}

uv=$(find_uv)
