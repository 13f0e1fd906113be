# title: SQLite: indexes, triggers, full text, JSON, WAL, recovery, integrity
# needs: sqlite3
# packages: sqlite3
# version: sqlite3 --version
# processes: sqlite3
cat > job.sql <<'END'
.bail on
pragma journal_mode = wal;
pragma cache_size = -4000;
create table events (id integer primary key, name text, amount real, payload blob);
create table log (n integer); insert into log values (0);
create trigger counts after insert on events when new.id % 10 = 0 begin update log set n = n + 1; end;
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
insert into events select i, 'name ' || (i * 7919 % 1000), i / 7.0, zeroblob(i % 300) from n;
commit;
create index by_name on events (name, amount);
select count(*), count(distinct name), round(sum(amount), 3), sum(length(payload)), n from events, log;
select name, count(*), max(amount), group_concat(id % 7) over w from events where id < 200 group by name window w as (order by name) limit 5;
create virtual table texts using fts5(body);
insert into texts select name || ' and ' || id from events where id % 5 = 0;
select count(*) from texts where texts match '"name 7" or "995"';
select json_extract(json_group_array(json_object('id', id, 'name', name)), '$[50000].name') from events;
with recursive fib(a, b) as (select 1, 1 union all select b, a + b from fib limit 60) select max(b) from fib;
delete from events where id % 3 = 0;
vacuum;
pragma integrity_check;
END
sqlite3 base.db < job.sql
sqlite3 base.db .dump | md5sum
sqlite3 base.db .recover | sqlite3 again.db && sqlite3 again.db 'select count(*) from events'
sqlite3 base.db '.backup copy.db' && sqlite3 copy.db 'pragma quick_check'
sqlite3 :memory: '.selftest' 2>&1 | tail -n 1 | sed 's/[0-9.]* *seconds//'
