# A syslog receiver that keeps the audit trail on another disk: for a try, or until a SIEM takes over. From
# the root of the repository:
#
#   docker build -f deploy/syslog.Dockerfile -t loki-syslog .
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BASE_IMAGE}
# Empty if the base has it already.
ARG PACKAGES="rsyslog"
RUN if [ -n "${PACKAGES}" ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends ${PACKAGES} \
        && rm -rf /var/lib/apt/lists/*; \
    fi
ARG USER_ID=1002
RUN useradd --uid ${USER_ID} --create-home --shell /usr/sbin/nologin appuser \
    && install -d -o appuser -m 0700 /var/log/loki
COPY deploy/syslog/rsyslog.conf /etc/rsyslog.conf
USER appuser
VOLUME /var/log/loki
EXPOSE 5514
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 \
    CMD ["grep", "-qi", ":158a 00000000:0000 0a", "/proc/net/tcp"]
CMD ["rsyslogd", "-n", "-i", "/tmp/rsyslogd.pid", "-f", "/etc/rsyslog.conf"]
