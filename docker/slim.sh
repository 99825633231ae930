#!/bin/sh
# Makes a virtual environment ready for an image: takes out what no run needs, compiles every module.
# Usage: slim.sh VENV
set -eu
"$1/bin/pip" uninstall -q -y setuptools pip
packages=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# tests of the packages, and what only serves to compile against them; CUDA's libraries stay as they are, since
# they compile kernels at run time
find "$packages" -name nvidia -prune -o -type d \( -name tests -o -name include \) -prune -exec rm -rf {} +
find "$packages" -name nvidia -prune -o \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.a' -o -name '*.lib' \) -exec rm {} +
"$1/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$packages"
