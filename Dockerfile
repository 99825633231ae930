# docker build -t mosaicell .                       NVIDIA GPUs, and the CPU where there is none
# docker build --target cpu -t mosaicell:cpu .      CPU only, a fifth of the size
# BASE_IMAGE may be any Debian 12 with or without Python 3.11; docker/base-image.sh makes one where no registry is reached.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS python
RUN python3 --version || { \
      apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*; }

FROM python AS builder
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && \
    { python3 -m ensurepip --version || apt-get install -y --no-install-recommends python3-venv; }
# pip trusts the certificates that the base image brings, a private package index's among them
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/venv
WORKDIR /workspace

# Packages without pip, tests and sources of compiled code; modules compiled once, as the program may run without
# a writable disk. Unchecked: nothing changes in an image, and looking for changes costs time at every start.
FROM builder AS packages-cpu
COPY docker/requirements-cpu.lock docker/
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: --no-compile -r docker/requirements-cpu.lock
COPY docker/slim.sh docker/
RUN sh docker/slim.sh /opt/venv

FROM builder AS program
COPY . .
RUN mv docker/predict.sh . && rm -r docker && chmod -R a+rX . && \
    python3 -m compileall -q --invalidation-mode unchecked-hash .

FROM python AS final
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Mosaicell" \
      org.opencontainers.image.description="Segments every cell in microscopy images of any modality" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
COPY --from=program /workspace /workspace
WORKDIR /workspace
CMD ["sh", "/workspace/predict.sh"]
HEALTHCHECK --interval=5m --timeout=1m CMD ["python", "predict.py", "--check"]

FROM final AS cpu
COPY --from=packages-cpu /opt/venv /opt/venv

FROM builder AS packages-gpu
COPY docker/requirements-gpu.lock docker/
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: --no-compile -r docker/requirements-gpu.lock
COPY docker/slim.sh docker/
RUN sh docker/slim.sh /opt/venv

FROM final AS gpu
# what NVIDIA's container runtime looks for
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages-gpu /opt/venv /opt/venv
