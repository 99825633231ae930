#!/bin/sh
# Builds the CPU image and holds it to its contract with a real engine:
#   docker/smoke.sh            builds mosaicell:cpu first; BASE_IMAGE is handed to the build
#   docker/smoke.sh IMAGE      takes an image that is there
# Prints a line for every check; the exit status is 1 when one fails. DOCKER names another client.
set -eu
docker=${DOCKER:-docker}
here=$(cd "$(dirname "$0")/.." && pwd)
"$docker" version >/dev/null 2>&1 || { echo "smoke.sh: no Docker engine answers" >&2; exit 2; }
if [ $# -gt 0 ]; then
  image=$1
else
  image=mosaicell:cpu
  "$docker" build --quiet --target cpu ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} \
    --build-arg "UPGRADED=$(date +%F)" --tag "$image" "$here" >/dev/null
fi

work=$(mktemp -d)
# what root wrote in a container, only a container's root can delete
trap '"$docker" run --rm -v "$work:/work" "$image" find /work -mindepth 1 -delete; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failures=0

check() { # check SENTENCE EXPECTED_STATUS COMMAND...
  sentence=$1 expected=$2
  shift 2
  status=0
  "$@" >"$work/log" 2>&1 || status=$?
  if [ "$status" -eq "$expected" ]; then
    echo "ok      $sentence"
  else
    echo "FAILED  $sentence: exit status $status, expected $expected"
    sed 's/^/        /' "$work/log"
    failures=$((failures + 1))
  fi
}

run() { # run FOLDER OPTION... -- COMMAND...: inputs of all runs, outputs in FOLDER, which anybody may write
  mkdir -p "$work/$1"
  chmod 777 "$work/$1"
  folder=$1
  shift
  options=''
  while [ "$1" != -- ]; do
    options="$options $1"
    shift
  done
  shift
  # shellcheck disable=SC2086
  "$docker" container run --rm -v "$work/inputs:/workspace/inputs/" -v "$work/$folder:/workspace/outputs/" $options \
    "$image" "$@"
}

verify() { # verify FOLDER: exactly the masks asked for, and every one as the contract says
  "$docker" run --rm -i -v "$work/$1:/outputs:ro" "$image" python - <<'END'
import pathlib, sys
import numpy as np, tifffile
found = {path.name for path in pathlib.Path("/outputs").iterdir()} - {"run.json"}
expected = {"a_label.tiff": (240, 320), "two words_label.tiff": (200, 200), "black_label.tiff": (64, 64)}
if found != set(expected):
    sys.exit(f"files {sorted(found)}, expected {sorted(expected)}")
for name, shape in expected.items():
    with tifffile.TiffFile(f"/outputs/{name}") as file:
        labels, pages, compression = file.asarray(), len(file.pages), file.pages[0].compression.name
    ids = np.unique(labels)
    what = (labels.shape, labels.dtype.name, pages, compression, ids.tolist() == list(range(len(ids))))
    if what != (shape, "uint16", 1, "ADOBE_DEFLATE", True):
        sys.exit(f"{name}: shape, type, pages, compression, contiguous ids are {what}")
    if (len(ids) > 1) != (name != "black_label.tiff"):
        sys.exit(f"{name}: {len(ids) - 1} cells")
END
}

mkdir "$work/inputs"
chmod 777 "$work/inputs"
"$docker" run --rm -i -v "$work/inputs:/inputs" "$image" python - <<'END'
import cv2, numpy as np, tifffile
def draw_discs(shape, depth):
    image = np.random.default_rng(1).normal(0.05, 0.01, shape).clip(0, 1).astype(np.float32)
    for y in range(30, shape[0] - 20, 50):
        for x in range(30, shape[1] - 20, 50):
            cv2.circle(image, (x, y), 14, 0.8, -1, cv2.LINE_AA)
    return (cv2.GaussianBlur(image, (0, 0), 1.5) * np.iinfo(depth).max).astype(depth)
cv2.imwrite("/inputs/a.b.png", cv2.merge([draw_discs((240, 320), np.uint8)] * 3))
tifffile.imwrite("/inputs/two words.TIF", draw_discs((200, 200), np.uint16), compression="lzw")
cv2.imwrite("/inputs/black.bmp", np.zeros((64, 64), np.uint8))
END

check "the challenge's command" 0 run challenge -m 28G --name "mosaicell-smoke-$$" -- /bin/bash -c "sh predict.sh"
check "its masks" 0 verify challenge
check "read-only, no network, foreign uid, no home, 2 GB, 64 MB of /dev/shm" 0 run locked --read-only --tmpfs /tmp \
  --network none --user 12345:54321 --env HOME=/nowhere --memory 2g --shm-size 64m --cap-drop ALL \
  --security-opt no-new-privileges -- sh predict.sh
check "its masks" 0 verify locked
check "the program by name, as the default command" 0 run direct --env MOSAICELL_OPTIONS=--skip-existing --
check "its masks" 0 verify direct
mkdir -m 777 "$work/gc"
check "grand-challenge's folders" 0 "$docker" run --rm --network none --user 1000:1000 --env MOSAICELL_INPUT=/input \
  --env MOSAICELL_OUTPUT=/output -v "$work/inputs:/input/images/microscopy:ro" -v "$work/gc:/output" "$image"
check "its masks" 0 verify gc
check "every model works" 0 "$docker" run --rm --network none "$image" python predict.py --check
check "the command works from any folder" 0 "$docker" run --rm --workdir /tmp "$image" mosaicell --version
check "an unknown option ends with 2" 2 "$docker" run --rm "$image" python predict.py --no-such-option
check "no input ends with 2" 2 "$docker" run --rm "$image" sh predict.sh
check "one folder as input and output ends with 2" 2 "$docker" run --rm -v "$work/inputs:/workspace/inputs/" \
  -v "$work/inputs:/workspace/outputs/" "$image"
# last, as it adds to the inputs
"$docker" run --rm -v "$work/inputs:/inputs" "$image" sh -c 'echo "no pixels" >/inputs/broken.png'
check "a broken image ends with 1, the others have their masks" 1 run broken -- sh predict.sh
check "its masks" 0 verify broken
check "no torch, pip, compiler or tests inside" 0 "$docker" run --rm "$image" sh -c \
  '! python -c "import torch" && ! python -m pip && ! command -v gcc && ! test -e tests && ! test -e /opt/venv/bin/pip'
[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
