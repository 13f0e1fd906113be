# title: nginx: master and workers, files, gzip, reload, log reopening, an orderly end
# needs: nginx curl
# packages: nginx-light curl
# version: nginx -v
# processes: nginx
# quick: yes
seq 1 60000 > file.txt
cat > nginx.conf <<END
daemon off; master_process on; worker_processes 3; pid $PWD/nginx.pid; error_log $PWD/error.log warn;
$([[ $EUID != 0 ]] || echo 'user root;')
events { worker_connections 256; }
http {
  access_log off; gzip on; gzip_types text/plain; gzip_comp_level 6; default_type text/plain;
  client_body_temp_path $PWD/body; proxy_temp_path $PWD/proxy; fastcgi_temp_path $PWD/fcgi; uwsgi_temp_path $PWD/uwsgi; scgi_temp_path $PWD/scgi;
  server { listen unix:$PWD/back.sock; location / { root $PWD; } location /redirect { return 302 /file.txt; } }
  server { listen unix:$PWD/front.sock; location / { proxy_pass http://unix:$PWD/back.sock; proxy_buffering on; } }
}
END
nginx -e error.log -t -c "$PWD/nginx.conf" > /dev/null 2>&1 && echo "the configuration is good"
nginx -e error.log -c "$PWD/nginx.conf" &
ask() { curl -s --retry 100 --retry-all-errors --retry-delay 0 --retry-max-time 60 --compressed --unix-socket front.sock "http://x$1"; }
for _ in $(seq 400); do [[ -S front.sock && -f nginx.pid ]] && break; sleep 0.05; done
ask /file.txt | md5sum
for i in 1 2 3; do
  for _ in $(seq 15); do ask /file.txt; done | md5sum
  ask /missing | grep -c '404 Not Found'
  ask /redirect | grep -c '302 Found'
  [[ $i != 2 ]] || { kill -HUP "$(cat nginx.pid)"; sleep 0.3; kill -USR1 "$(cat nginx.pid)"; }
done
kill -QUIT "$(cat nginx.pid)"
wait $!; echo "ended with $?"
grep -cE 'alert|emerg|crit|signal' error.log || true
