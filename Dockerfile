# docker build -t mosaicell .                       NVIDIA GPUs, and the CPU where there is none
# docker build --target cpu -t mosaicell:cpu .      CPU only, a fifth of the size
# BASE_IMAGE may be any Debian 12 with or without Python 3.11; docker/base-image.sh makes one where no registry is reached.
# SECURITY_MIRROR names an archive of Debian's security suite, where Debian's own is not reached.
# UPGRADED: another value, as today's date, has the engine take the security updates anew, not from its cache.
ARG BASE_IMAGE=debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171
ARG VERSION=0.1.0

FROM ${BASE_IMAGE} AS python
ARG SECURITY_MIRROR
ARG UPGRADED
COPY docker/upgrade.sh /root/
# engines of workflows measure with ps what a task takes
RUN sh /root/upgrade.sh ${SECURITY_MIRROR} && \
    apt-get install -y --no-install-recommends procps && \
    { python3 --version || apt-get install -y --no-install-recommends python3; } && \
    rm -rf /root/upgrade.sh /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log

FROM python AS builder
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && \
    { python3 -m ensurepip --version || apt-get install -y --no-install-recommends python3-venv; }
# pip trusts the certificates that the base image brings, a private package index's among them
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/venv
WORKDIR /workspace

FROM builder AS program
COPY . .
RUN mv docker/predict.sh . && mv docker/mosaicell /usr/local/bin/ && rm -r docker && chmod -R a+rX . && \
    python3 -m compileall -q --invalidation-mode unchecked-hash .

# Packages without pip, tests and sources of compiled code; modules compiled once, as the program may run without
# a writable disk. Unchecked: nothing changes in an image, and looking for changes costs time at every start.
# The list of contents is of what the final image holds: Debian's packages of `python`, not of `builder`.
FROM builder AS packages-cpu
ARG VERSION
COPY docker/requirements-cpu.lock docker/
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: --no-compile -r docker/requirements-cpu.lock
COPY docker/slim.sh docker/bill.py docker/
RUN sh docker/slim.sh /opt/venv
COPY --from=python /var/lib/dpkg/status status
COPY --from=program /workspace/weights weights
RUN python3 docker/bill.py --version ${VERSION} --dpkg status --venv /opt/venv --weights weights >/bill.cdx.json

FROM python AS final
ARG VERSION
ARG REVISION=unknown
# LicenseRef-...: the terms in weights/README.md
LABEL org.opencontainers.image.title="Mosaicell" \
      org.opencontainers.image.description="Segments every cell in microscopy images of any modality. The code is under Apache-2.0, the weights are for research use only: /workspace/weights/README.md" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-weights-for-research-use-only"
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
COPY --from=program /workspace /workspace
COPY --from=program /usr/local/bin/mosaicell /usr/local/bin/mosaicell
WORKDIR /workspace
CMD ["sh", "/workspace/predict.sh"]

FROM final AS cpu
COPY --from=packages-cpu /bill.cdx.json /workspace/
COPY --from=packages-cpu /opt/venv /opt/venv

FROM builder AS packages-gpu
ARG VERSION
COPY docker/requirements-gpu.lock docker/
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: --no-compile -r docker/requirements-gpu.lock
COPY docker/slim.sh docker/bill.py docker/
RUN sh docker/slim.sh /opt/venv
COPY --from=python /var/lib/dpkg/status status
COPY --from=program /workspace/weights weights
RUN python3 docker/bill.py --version ${VERSION} --dpkg status --venv /opt/venv --weights weights >/bill.cdx.json

FROM final AS gpu
# what NVIDIA's container runtime looks for
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages-gpu /bill.cdx.json /workspace/
COPY --from=packages-gpu /opt/venv /opt/venv
