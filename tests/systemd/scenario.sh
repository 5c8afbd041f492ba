#!/bin/bash
# Runs inside the container of test_manager.py, as root under its own systemd. Says `name: value` lines on stdout.
exec 2>/out/trace </dev/null
set -x
say() { echo "$1: $2" >> /out/said; }
track() { curl -s -o /dev/null -w '%{http_code}' --max-time 30 -u wk_manager_web: "$@" -d '{"event":"A","userId":"u"}'; }
web=http://127.0.0.1:8080/v1/track
drop_in() { mkdir -p /etc/systemd/system/cdpd.service.d; printf '[Service]\n%s\n' "$2" > "/etc/systemd/system/cdpd.service.d/$1.conf"; systemctl daemon-reload; }
main_pid() { systemctl show -P MainPID cdpd; }

ip link set lo up
cp /units/*.service /units/*.socket /etc/systemd/system/
mkdir -p /etc/cdpd /etc/sysusers.d
cp /units/cdpd.sysusers /etc/sysusers.d/cdpd.conf
systemd-sysusers
install -m 640 -g cdpd-config /out/cdpd.toml /out/web.pem /etc/cdpd/
chmod 750 /etc/cdpd; chgrp cdpd-config /etc/cdpd
install -m 600 /out/web.key /etc/cdpd/web.key
drop_in key 'LoadCredential=web.key:/etc/cdpd/web.key'

# Started, under its hardening, with its three kinds of listeners.
systemctl start cdpd; say start $?
[ "$(systemctl is-active cdpd)" = active ] || exit 1
say status "$(systemctl show -P StatusText cdpd)"
say http "$(track $web)"
say https "$(track --cacert /etc/cdpd/web.pem https://localhost:8443/v1/track)"
say unix "$(track --unix-socket /run/cdpd/http.sock http://x/v1/track)"
say seccomp "$(sed -n 's/^Seccomp:\t//p' "/proc/$(main_pid)/status")"
say capabilities "$(sed -n 's/^CapEff:\t//p' "/proc/$(main_pid)/status")"
say user "$(stat -c %U "/proc/$(main_pid)")"
say data "$(stat -c '%a %U' /var/lib/private/cdpd)"
say command "$(/opt/cdpd/current/bin/cdpd status --config /etc/cdpd/cdpd.toml --json | tr -d ' "' | grep -o 'state:running' | head -1)"

# Reloads: a good one, and one that is refused and fails the job.
systemctl reload cdpd; say reload $?
echo '[wrong]' >> /etc/cdpd/cdpd.toml
systemctl reload cdpd; say refused $?
say reason "$(journalctl -u cdpd -o cat --no-pager | grep -c 'cdpd.toml:.*wrong: unknown key')"
say after "$(track $web)"
systemctl restart cdpd; sleep 1
say wrong "$(systemctl show -P NRestarts cdpd) $(systemctl show -P ExecMainStatus cdpd)"
sed -i '$d' /etc/cdpd/cdpd.toml
systemctl reset-failed cdpd; systemctl start cdpd; say mended $?

# Stopped, and ended by the watchdog once its loop stands still.
systemctl stop cdpd; say stop "$(systemctl show -P Result cdpd) $(systemctl show -P ExecMainStatus cdpd)"
drop_in watchdog $'WatchdogSec=2\nLimitCORE=0\nRestartSec=100ms'
systemctl start cdpd
kill -STOP "$(main_pid)"
for _ in $(seq 200); do [ "$(systemctl show -P NRestarts cdpd)" = 1 ] && break; sleep 0.1; done
say watchdog "$(systemctl show -P NRestarts cdpd)"
for _ in $(seq 100); do [ "$(systemctl is-active cdpd)" = active ] && break; sleep 0.1; done
say again "$(systemctl is-active cdpd)"
rm /etc/systemd/system/cdpd.service.d/watchdog.conf; systemctl daemon-reload; systemctl stop cdpd

# Socket activation: started by the first connection; while it restarts, requests wait.
systemctl start cdpd.socket
say before "$(systemctl is-active cdpd)"
say first "$(track $web)"
(for _ in $(seq 40); do track $web; echo; done | sort | uniq -c | sed 's/^ *//' > /tmp/codes) &
systemctl restart cdpd; systemctl restart cdpd; wait $!
say codes "$(cat /tmp/codes)"

# Port 443, by a unit of its own, for the same service.
systemctl stop cdpd.socket cdpd
systemctl start cdpd.socket cdpd-https.socket
say https_socket "$(track --cacert /etc/cdpd/web.pem https://localhost/v1/track)"
say both "$(track $web)"

# A workspace of its own, in several processes.
mkdir -p /etc/cdpd/shop
sed -e '/^listen/d;/^\[http.tls\]/,/^key/d;s#/var/lib/cdpd#/var/lib/cdpd-shop#' /etc/cdpd/cdpd.toml > /etc/cdpd/shop/cdpd.toml
printf '[process]\nroles = [["ingest"], ["process"], ["deliver"]]\n' >> /etc/cdpd/shop/cdpd.toml
chgrp -R cdpd-config /etc/cdpd/shop
systemctl start cdpd@shop.socket
say shop "$(track --unix-socket /run/cdpd-shop.sock http://x/v1/track)"
systemctl reload cdpd@shop; say shop_reload $?
say shop_processes "$(grep -l cdpd@shop.service /proc/[0-9]*/cgroup | wc -l)"
systemctl stop cdpd@shop; say shop_stop "$(systemctl show -P Result cdpd@shop)"
say shop_data "$(ls -d /var/lib/private/cdpd-shop)"
