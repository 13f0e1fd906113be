# title: Node.js: JSON, buffers, zlib, crypto, workers, a child, a server on a Unix socket
# needs: node
# packages: nodejs
# version: node --version
# processes: node
# note: V8's heap is mapped by itself, partly with MAP_NORESERVE; buffers and the rest come from malloc.
cat > job.js <<'END'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto'), zlib = require('zlib'), http = require('http'), { execFileSync } = require('child_process');
if (!isMainThread) {
  const map = new Map();
  for (let i = 0; i < 60000; i++) map.set('k' + (i * 7919 % 5003), Buffer.alloc(64, workerData));
  parentPort.postMessage([...map.values()].reduce((sum, b) => sum + b[3], 0));
} else (async () => {
  const rows = Array.from({ length: 30000 }, (_, i) => ({ i, s: 'x'.repeat(i % 97), l: [i, i + 1] }));
  const text = JSON.stringify(rows);
  console.log(text.length, crypto.createHash('sha256').update(JSON.stringify(JSON.parse(text))).digest('hex'));
  const packed = await new Promise((done, bad) => zlib.gzip(text, (error, out) => error ? bad(error) : done(out)));
  console.log(zlib.gunzipSync(packed).length === text.length, zlib.brotliCompressSync(text.slice(0, 200000)).length);
  const parts = await Promise.all([1, 2, 3, 4].map(n => new Promise((done, bad) => new Worker(__filename, { workerData: n }).on('message', done).on('error', bad))));
  console.log(parts);
  console.log(crypto.pbkdf2Sync('a', 'b', 20000, 32, 'sha512').toString('hex'), execFileSync('sh', ['-c', 'seq 500 | md5sum']).toString().trim());
  const server = http.createServer((request, response) => response.end(Buffer.alloc(100000, 'y'))).listen('./http.sock', async () => {
    let bytes = 0;
    for (let i = 0; i < 200; i++) await new Promise(done => http.get({ socketPath: './http.sock' }, r => { r.on('data', d => bytes += d.length); r.on('end', done); }));
    console.log(bytes);
    server.close();
  });
})();
END
node job.js
node --max-old-space-size=40 -e 'let a = []; for (let i = 0; i < 3e5; i++) { a.push({ i }); if (a.length > 1e4) a = []; } console.log(a.length)'
