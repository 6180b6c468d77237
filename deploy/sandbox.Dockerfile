# The world of agents where the sandbox is made of containers (sandbox.backend = "docker"): what agents
# find there, and loki-jail, which narrows them in it. From the root of the repository:
#
#   docker build -f deploy/sandbox.Dockerfile -t loki-sandbox .
#
# The runtime starts it: without network, powers or a root that can be written, as its own user. Put
# agents' programs on top in an image of your own, and name that in sandbox.image.
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG PROGRAMS=built

FROM ${BUILD_IMAGE} AS built
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --profile dist --locked --bin loki-jail \
    && install -D -t /programs target/dist/loki-jail

FROM ${PROGRAMS} AS programs

FROM ${BASE_IMAGE}
# Empty if the base has what agents need already.
ARG PACKAGES="git ca-certificates"
RUN if [ -n "${PACKAGES}" ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends ${PACKAGES} \
        && rm -rf /var/lib/apt/lists/*; \
    fi
ARG USER_ID=1000
RUN groupadd --gid ${USER_ID} appuser \
    && useradd --uid ${USER_ID} --gid ${USER_ID} --create-home --shell /bin/bash appuser \
    && install -d -m 0755 /run/loki
COPY --from=programs /programs/loki-jail /usr/local/bin/
ENV HOME=/home/appuser
USER appuser
WORKDIR /home/appuser
# Nothing runs in it but what the runtime starts; a jail that cannot start is a broken image.
HEALTHCHECK --interval=30s --timeout=10s --retries=3 CMD ["loki-jail", "probe"]
CMD ["loki-jail", "probe"]
