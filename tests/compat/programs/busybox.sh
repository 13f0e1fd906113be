# title: busybox, statically linked: not preloaded, and what it starts is
# needs: busybox
# packages: busybox-static
# version: busybox | head -n 1
# uncounted: busybox
# processes: seq
# note: A static program loads no library: it runs uncounted, its dynamic children are counted.
# quick: yes
busybox sh -c 'i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); echo "line $i"; done | busybox sort -r | busybox md5sum'
busybox seq 1 50000 | busybox awk '{ s[$1 % 977] += $1 } END { for (k in s) n++; print n, s[5] }'
busybox sh -c '/usr/bin/seq 1 300000 | /usr/bin/sort -rn | busybox tail -n 1'
mkdir tree && busybox seq 1 2000 > tree/a && busybox tar -cf - tree | busybox gzip | busybox gunzip | busybox tar -tf -
busybox sh -c 'exec /usr/bin/env seq 3'
