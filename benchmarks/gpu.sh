#!/usr/bin/env bash
# Everything that wants a GPU, in under ten minutes, from a bare checkout and the 128-pixel archive; prints one table.
#
#   benchmarks/gpu.sh ARCHIVE [FOLDER]
#
# ARCHIVE: the pets in the official layout, 128x128 (tar.xz). FOLDER: where all results go (default runs/gpu).
# DEVICE=cuda (default), cuda:1, cpu. SCALE=full (default) or tiny, which tries the script itself and measures nothing.
# PYTHON=...: which Python; by default .venv's, else python3. Nothing is installed: packages that are missing are named,
# and the steps that need them are left out. The exit status is 0 when every step has succeeded.
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: [DEVICE=cuda] [SCALE=full|tiny] $0 ARCHIVE [FOLDER]" >&2
  exit 2
fi
if [ ! -f "$1" ]; then
  echo "gpu.sh: $1: no such archive; name the tar.xz of the pets at 128x128" >&2
  exit 2
fi
repository="$(cd "$(dirname "$0")/.." && pwd)"
archive="$(cd "$(dirname "$1")" && pwd)/$(basename "$1")"
out="${2:-$repository/runs/gpu}"
mkdir -p "$out"
out="$(cd "$out" && pwd)"
python="${PYTHON:-$repository/.venv/bin/python}"
if ! command -v "$python" >/dev/null; then
  python=python3
fi

cd "$repository"
export PYTHONPATH="$repository${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m benchmarks.gpu "$archive" "$out" --device "${DEVICE:-cuda}" --scale "${SCALE:-full}"
