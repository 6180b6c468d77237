# Both processes in one container, as one user: for a try, not for a shared deployment. From the root
# of the repository:
#
#   docker build -f deploy/all-in-one.Dockerfile -t loki .
#
# Run it with deploy/runtime-seccomp.json; see deploy/runtime.Dockerfile.
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG PROGRAMS=built

FROM ${BUILD_IMAGE} AS built
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --profile dist --locked --bins \
    && install -D -t /programs target/dist/loki-gateway target/dist/loki-runtime \
        target/dist/loki-jail target/dist/loki-hook target/dist/loki

FROM ${PROGRAMS} AS programs

FROM ${BASE_IMAGE}
# Empty if the base has git and certificates already.
ARG PACKAGES="git ca-certificates"
RUN if [ -n "${PACKAGES}" ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends ${PACKAGES} \
        && rm -rf /var/lib/apt/lists/*; \
    fi
ARG USER_ID=1000
RUN useradd --uid ${USER_ID} --create-home --shell /usr/sbin/nologin appuser \
    && install -d -o appuser -m 0700 /home/appuser/.loki \
    && install -d -o appuser -m 0750 /projects
COPY --from=programs /programs/loki-gateway /programs/loki-runtime /programs/loki-jail \
    /programs/loki-hook /programs/loki /usr/local/bin/
ENV HOME=/home/appuser LOKI_WORKSPACE_ROOTS=/projects
USER appuser
WORKDIR /home/appuser
VOLUME ["/home/appuser/.loki", "/projects"]
EXPOSE 57374
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["loki", "health"]
CMD ["loki", "dashboard", "start", "--foreground"]
