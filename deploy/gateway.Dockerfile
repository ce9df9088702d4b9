# The gateway: one static program and the certificates it trusts. `make stage`
# builds the program first. BASE is where the certificates come from; it needs
# them, or apt-get and a network.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS base
RUN test -s /etc/ssl/certs/ca-certificates.crt || \
    { apt-get update && apt-get install -y --no-install-recommends ca-certificates; }
RUN install -d -m 700 -o 10001 -g 10001 /image/var/lib/telecodex && mkdir -p /image/etc/ssl/certs && \
    cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM scratch
COPY --from=base /image/etc /etc
# What is copied by itself gets mode 755; what is in it keeps its own.
COPY --from=base /image/var/lib /var/lib
COPY bin/image/gateway /usr/local/bin/gateway
ENV PATH=/usr/local/bin
USER 10001:10001
WORKDIR /var/lib/telecodex
VOLUME /var/lib/telecodex
EXPOSE 7451 9451
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["gateway", "healthcheck"]
ENTRYPOINT ["gateway"]
