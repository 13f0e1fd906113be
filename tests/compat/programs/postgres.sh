# title: PostgreSQL: initdb, pgbench, parallel queries, a crash and its recovery
# needs: /usr/lib/postgresql/15/bin/initdb /usr/lib/postgresql/15/bin/postgres pgbench psql
# packages: postgresql-15 postgresql-client-15 postgresql-contrib
# version: /usr/lib/postgresql/15/bin/postgres --version
# processes: /usr/lib/postgresql/15/bin/postgres
# user: ordinary
PATH=/usr/lib/postgresql/15/bin:$PATH
export PGHOST=$PWD PGUSER=compat PGDATABASE=postgres PGDATA=$PWD/data
initdb -U compat -A trust --no-sync > initdb.log && echo initdb
cat >> data/postgresql.conf <<END
listen_addresses = ''
unix_socket_directories = '$PWD'
shared_buffers = 16MB
fsync = off
max_parallel_workers_per_gather = 2
min_parallel_table_scan_size = 0
parallel_setup_cost = 0
END
pg_ctl -w -s -l server.log start && echo started
pgbench -i -q -s 2 > /dev/null 2>&1 && echo filled
pgbench -n -c 4 -j 2 -t 150 > bench 2>&1 && grep -E 'processed|failed' bench | sed 's/([0-9.%]*)//'
psql -qAt <<'END'
create table t as select i, md5(i::text) as m, repeat('x', i % 200) as r from generate_series(1, 60000) i;
create index on t (m); analyze t;
select count(*), sum(length(r)), max(m) from t;
select count(*) from t a join t b on a.m = b.m where a.i % 3 = 0;
select string_agg(m, ',' order by m) is not null from (select m from t limit 500) x;
select jsonb_agg(to_jsonb(t))->500->>'m' from t where i < 2000;
do $$ declare n bigint := 0; begin for k in 1..20000 loop n := n + length(format('%s-%s', k, k * k)); end loop; raise notice '%', n; end $$;
begin; delete from t where i % 2 = 0; rollback; vacuum full t; select pg_terminate_backend(pid) from pg_stat_activity where false;
END
psql -qAt -c 'select 1/0' 2>&1 || echo "an error is an error"
pg_dump -t t --no-comments | grep -vE '^(--|SET|SELECT pg_catalog|\\(un)?restrict)' | md5sum
pg_ctl -w -s -m immediate stop && echo crashed
pg_ctl -w -s -l server.log start && psql -qAt -c 'select count(*) from t'
pg_ctl -w -s -m fast stop && echo stopped
grep -cE 'PANIC|server process .* was terminated' server.log || true
