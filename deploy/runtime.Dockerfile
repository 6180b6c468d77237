# The runtime: what agents do, inside loki-jail. From the root of the repository:
#
#   docker build -f deploy/runtime.Dockerfile -t loki-runtime .
#
# Agents' programs are not in it: put them on top in an image of your own, or mount them. Run it with
# deploy/runtime-seccomp.json: the engine's default profile forbids the namespaces of the sandbox.
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG PROGRAMS=built

FROM ${BUILD_IMAGE} AS built
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --profile dist --locked --bin loki-runtime --bin loki-jail --bin loki-hook --bin loki \
    && install -D -t /programs target/dist/loki-runtime target/dist/loki-jail target/dist/loki-hook \
        target/dist/loki

FROM ${PROGRAMS} AS programs

FROM ${BASE_IMAGE}
# Empty if the base has git and certificates already.
ARG PACKAGES="git ca-certificates"
RUN if [ -n "${PACKAGES}" ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends ${PACKAGES} \
        && rm -rf /var/lib/apt/lists/*; \
    fi
# Its own user, and the group that it shares with the gateway for socket and statement key.
ARG USER_ID=1000
ARG GROUP_ID=1999
ARG GATEWAY_USER_ID=1001
RUN groupadd --gid ${GROUP_ID} loki \
    && useradd --uid ${USER_ID} --gid loki --create-home --shell /usr/sbin/nologin appuser \
    && install -d -o appuser -g loki -m 0700 /home/appuser/.loki \
    && install -d -o appuser -g loki -m 0750 /run/loki /projects
COPY --from=programs /programs/loki-runtime /programs/loki-jail /programs/loki-hook /programs/loki \
    /usr/local/bin/
ENV HOME=/home/appuser \
    LOKI_RUNTIME_SOCKET=/run/loki/runtime.sock \
    LOKI_STATEMENT_KEY=/run/loki/statement.key \
    LOKI_GATEWAY_USER=${GATEWAY_USER_ID} \
    LOKI_WORKSPACE_ROOTS=/projects
USER appuser
WORKDIR /home/appuser
VOLUME ["/home/appuser/.loki", "/run/loki", "/projects"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["loki", "health", "--runtime"]
CMD ["loki-runtime"]
