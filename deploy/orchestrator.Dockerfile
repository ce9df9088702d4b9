# A worker, in two kinds: `demo` with the scripted Codex, and the one of the last
# stage with the real one. `make stage` (`make stage-codex`) puts the programs in
# place first. BASE is what Codex's commands run in; what it lacks of ca-certificates
# and git is installed with apt-get. Codex brings bubblewrap and ripgrep itself.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS worker
RUN { test -s /etc/ssl/certs/ca-certificates.crt && command -v git; } >/dev/null || \
    { apt-get update && apt-get install -y --no-install-recommends ca-certificates git && rm -rf /var/lib/apt/lists/*; }
# Empty: replicas that begin at once on a new volume each copy what is here to it, and
# stumble over one another's directories. The worker makes its own, CODEX_HOME too.
RUN install -d -m 700 -o 10002 -g 10002 /var/lib/telecodex
COPY bin/image/orchestrator bin/image/telecodex-contain /usr/local/bin/
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    HOME=/var/lib/telecodex CODEX_HOME=/var/lib/telecodex/codex ORCHESTRATOR_STATE_SLOTS_DIR=/var/lib/telecodex/workers
USER 10002:10002
WORKDIR /var/lib/telecodex
VOLUME /var/lib/telecodex
EXPOSE 7450 9450
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["orchestrator", "healthcheck"]
ENTRYPOINT ["orchestrator"]

FROM worker AS demo
COPY bin/image/fakecodex /usr/local/bin/codex

FROM worker
COPY bin/image/codex /opt/codex
ENV PATH=/opt/codex/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
