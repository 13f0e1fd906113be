# title: uWSGI and gunicorn: prefork, requests, a worker killed, an orderly end
# needs: uwsgi gunicorn curl
# packages: uwsgi-core uwsgi-plugin-python3 gunicorn curl
# version: uwsgi --version
# processes: uwsgi /usr/bin/gunicorn
cat > app.py <<'END'
import json, zlib
DATA = {str(i): "x" * (i % 300) for i in range(40000)}
def application(environ, start):
    path = environ["PATH_INFO"].strip("/")
    text = json.dumps({key: value for key, value in DATA.items() if key.startswith(path)}).encode()
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"%d %d\n" % (len(text), zlib.crc32(text))]
END
ask() { curl -s --retry 100 --retry-all-errors --retry-delay 0 --retry-max-time 60 --unix-socket "$1" "http://x/$2"; }
load() {
  for _ in $(seq 600); do [[ -S $1 ]] && break; sleep 0.05; done
  for i in 1 12 123 7 77; do ask "$1" "$i"; done
  pkill -9 -P "$2" -n; sleep 0.2
  for i in 3 31 314; do ask "$1" "$i"; done
}
uwsgi --plugin python3 --http-socket "$PWD/uwsgi.sock" --master --processes 3 --die-on-term --wsgi-file app.py > uwsgi.log 2>&1 &
load uwsgi.sock $!; kill -TERM $!; wait $! || echo "uwsgi ended with $?"
gunicorn --workers 3 --preload --worker-tmp-dir "$PWD" --bind "unix:$PWD/gunicorn.sock" app:application > gunicorn.log 2>&1 &
load gunicorn.sock $!; kill -TERM $!; wait $! && echo "gunicorn ended"
grep -cE 'SIGSEGV|segmentation|double free' uwsgi.log gunicorn.log || true
