#!/usr/bin/env bash
# What the method does on an accelerator, in under 9 minutes: see benchmarks/README.md.
#   bash benchmarks/gpu.sh [--device cuda|cpu] [--tiny] [--out FILE] [--minutes N]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "${PYTHON:-python3}" -m benchmarks.gpu "$@"
