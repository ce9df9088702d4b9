# A Linux machine with systemd, on which make install has put what it installs.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends dbus systemd && useradd --create-home codex
COPY staging /
COPY faketelegram /usr/local/bin/
# As a kernel hands a machine to systemd: mounts that services' namespaces share, by
# which credentials come to them, and control groups of its own.
CMD ["sh", "-c", "mount --make-rshared / && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec /lib/systemd/systemd"]
