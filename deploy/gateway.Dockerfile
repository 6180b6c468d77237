# The gateway: who may come in. From the root of the repository:
#
#   docker build -f deploy/gateway.Dockerfile -t loki-gateway .
#
# BASE_IMAGE and BUILD_IMAGE are any Debian of the same release. With PROGRAMS=IMAGE the programs are
# taken from /programs of an image and nothing is compiled.
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG PROGRAMS=built

FROM ${BUILD_IMAGE} AS built
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --profile dist --locked --bin loki-gateway --bin loki \
    && install -D -t /programs target/dist/loki-gateway target/dist/loki

FROM ${PROGRAMS} AS programs

FROM ${BASE_IMAGE}
# Its own user, and the group that it shares with the runtime for socket and statement key.
ARG USER_ID=1001
ARG GROUP_ID=1999
RUN groupadd --gid ${GROUP_ID} loki \
    && useradd --uid ${USER_ID} --gid loki --create-home --shell /usr/sbin/nologin appuser \
    && install -d -o appuser -g loki -m 0700 /home/appuser/.loki
COPY --from=programs /programs/loki-gateway /programs/loki /usr/local/bin/
ENV HOME=/home/appuser \
    LOKI_RUNTIME_SOCKET=/run/loki/runtime.sock \
    LOKI_STATEMENT_KEY=/run/loki/statement.key
USER appuser
WORKDIR /home/appuser
VOLUME /home/appuser/.loki
EXPOSE 57374
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["loki", "health"]
CMD ["loki-gateway"]
