# title: Redis: redis-benchmark with RDB and AOF, both rewritten by children, restarts
# needs: redis-server redis-cli redis-benchmark
# packages: redis-server redis-tools
# version: redis-server --version
# processes: redis-server
start() {
  redis-server --port 0 --unixsocket "$PWD/redis.sock" --dir "$PWD" --appendonly yes --save 3600 1 --appendfsync everysec \
    --enable-debug-command yes --logfile redis.log "$@" &
  for _ in $(seq 400); do [[ $(ask ping 2> /dev/null) == PONG ]] && return; sleep 0.05; done
}
ask() { redis-cli -s redis.sock "$@" 2>&1; }
stop() { ask shutdown > /dev/null; wait %1; echo "ended with $?"; }
settle() { for _ in $(seq 400); do ask info persistence | grep -qE '(bgsave|rewrite)_in_progress:1' || return 0; sleep 0.05; done; }
start
redis-benchmark -s redis.sock -q -n 15000 -c 20 -d 200 -P 8 -t set,get,incr,lpush,rpop,sadd,hset,zadd,mset > /dev/null && echo benchmark
ask eval 'for i = 1, 20000 do redis.call("hset", "h" .. i % 500, "f" .. i, string.rep("v", i % 300)) end return redis.call("dbsize")' 0
ask bgsave > /dev/null; settle
ask eval 'for i = 1, 20000 do redis.call("append", "s" .. i % 900, "text") end return redis.call("dbsize")' 0
ask bgrewriteaof > /dev/null; settle
ask info persistence | grep -E 'last_(bgsave|bgrewrite)_status' | tr -d '\r'
digest=$(ask debug digest)
stop
start
[[ $(ask debug digest) == "$digest" ]] && echo "the same after a restart"
ask eval 'for i = 1, 500 do redis.call("del", "h" .. i) end return redis.call("dbsize")' 0
ask memory doctor > /dev/null
ask flushall async
stop
redis-check-aof appendonlydir/*.manifest 2>&1 | tail -n 1
