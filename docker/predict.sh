#!/bin/sh
# What the container runs: segments every image of one folder into another. The challenge calls it as `sh predict.sh`.
# Masks have the challenge's names, up to the first dot of the image's; the option --names full names them in full.
# In smears of blood with white cells only these count, as in the challenge's labels; --blood all keeps the red ones.
# MOSAICELL_INPUT, MOSAICELL_OUTPUT   other folders than the challenge's
# MOSAICELL_OPTIONS                   further options of predict.py, separated by spaces; arguments do the same
set -euf
# MOSAICELL_OPTIONS is split on purpose, but patterns in it are the program's (-f);
# exec, so that signals reach the program and its exit status the caller
# shellcheck disable=SC2086
exec python "$(dirname -- "$0")/predict.py" \
  -i "${MOSAICELL_INPUT:-/workspace/inputs/}" -o "${MOSAICELL_OUTPUT:-/workspace/outputs/}" \
  --names challenge --blood auto --report ${MOSAICELL_OPTIONS:-} "$@"
