# title: Chromium, headless: renders a page with scripts, canvas, workers, fetches
# needs: chromium
# packages: chromium
# version: chromium --version
# allow: .
# uncounted: /usr/lib/chromium/chromium
# note: Its own malloc (PartitionAlloc) takes the place of ours and of glibc's in the program itself: each of its processes says so in a line, and is not counted. Its errors, which vary, are not compared.
cat > page.html <<'END'
<!doctype html><meta charset=utf-8><title>x</title><canvas id=c width=300 height=200></canvas><div id=out>not done</div>
<script>
const rows = Array.from({ length: 20000 }, (_, i) => ({ i, s: 'x'.repeat(i % 50) }));
const canvas = document.getElementById('c').getContext('2d');
for (let i = 0; i < 500; i++) { canvas.fillStyle = `hsl(${i},50%,50%)`; canvas.fillRect(i % 300, i % 200, 20, 20); }
const worker = new Worker(URL.createObjectURL(new Blob(['onmessage = e => postMessage(e.data.map(r => r.s.length).reduce((a, b) => a + b))'])));
const list = document.createElement('ul');
for (let i = 0; i < 2000; i++) list.appendChild(document.createElement('li')).textContent = 'item ' + i;
document.body.appendChild(list);
worker.onmessage = async e => {
  const hash = new Uint8Array(await new Response(JSON.stringify(rows)).arrayBuffer()).reduce((a, b) => (a * 31 + b) | 0, 7);
  const pixel = canvas.getImageData(150, 100, 1, 1).data.join();
  document.getElementById('out').textContent = [e.data, hash, pixel, list.children.length, list.offsetHeight > 1000].join(' ');
  list.remove(); document.title = 'done';
};
worker.postMessage(rows);
</script>
END
render() {
  timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --disable-dev-shm-usage --user-data-dir="$PWD/profile" \
    --virtual-time-budget=20000 "$@" "file://$PWD/page.html"
}
render --dump-dom 2> errors | grep -oE '<title>[a-z]*</title>|<div id="out">[^<]*'
render --screenshot=page.png --window-size=400,300 > /dev/null 2> errors2 && head -c 4 page.png | tail -c 3 && echo
if grep -hE 'ERROR:.*(crash|SIG(SEGV|ABRT|ILL|TRAP))|Received signal' errors errors2; then echo crashed; fi
