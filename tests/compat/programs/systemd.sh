# title: systemd's tools: systemd-analyze, systemctl, journalctl, systemd-id128
# needs: systemctl systemd-analyze journalctl
# packages: systemd
# version: systemctl --version
# processes: systemd-analyze
# quick: yes
systemctl --version
journalctl --version | head -n 1
systemd-analyze timespan 1s 3min 1d
systemd-analyze calendar --base-time='2026-01-01 00:00:00 UTC' --iterations=5 'Mon..Fri *-*-1..7 03:00' | grep -v 'From now'
systemd-analyze syscall-filter @basic-io
systemd-analyze exit-status | head -n 20
systemd-analyze capability | tail -n 3
printf '[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\nPrivateTmp=yes\n' > compat.service
systemd-analyze verify --man=no ./compat.service 2>&1 | grep -c compat || true
systemd-analyze security --offline=yes ./compat.service 2>&1 | md5sum
systemd-escape --path /a/b-c/d
systemd-id128 show | md5sum
systemctl list-unit-files --root=/ --no-pager 2> /dev/null | tail -n 1 || echo "status $?"
systemctl --root=/ is-enabled systemd-journald.service || echo "status $?"
journalctl --no-pager -n 1 -D . 2>&1 | head -n 2
systemd-tmpfiles --cat-config 2> /dev/null | md5sum
systemd-delta --no-pager 2> /dev/null | tail -n 1 || true
systemd-detect-virt > /dev/null || true
