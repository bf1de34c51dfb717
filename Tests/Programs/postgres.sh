#!/bin/bash
# A PostgreSQL server and pgbench: two clients whose random numbers are the same in every run. No transaction is lost or
# doubled if the history has all of them and the three tables have its sum. The database is made by initdb beforehand. It is saved
# with the contents of its files (programs.py), which are changed in place: when it says START each is open somewhere.
export PATH=/usr/lib/postgresql/15/bin:$PATH PGHOST=$PWD PGUSER=bench PGDATABASE=postgres
rounds=$(echo "${SCALE:-1}" | awk '{ print int(800 * $1) }')
postgres -D data -k "$PWD" -c listen_addresses= -c fsync=off -c shared_buffers=32MB \
    -c autovacuum=off -c max_logical_replication_workers=0 > postgres.log 2>&1 &
server=$!
for ((i = 0; i < 600; i++)); do
    pg_isready -q && break
    sleep 0.05
done
pgbench -n -c 2 -t "$rounds" --random-seed=7 > pgbench.log 2>&1 &
bench=$!
for ((i = 0; i < 600; i++)); do
    [ "$(psql -At -c 'select count(*) > 8 from pgbench_history')" = t ] && break
    sleep 0.01
done
echo START
wait $bench || {
    echo "FAIL pgbench: $(grep -hE 'ERROR|FATAL|PANIC|DETAIL|error' pgbench.log postgres.log | tail -n 8)"
    exit 1
}
result=$(psql -At -F ' ' -c "select count(*), sum(delta), (select sum(abalance) from pgbench_accounts),
    (select sum(tbalance) from pgbench_tellers), (select sum(bbalance) from pgbench_branches) from pgbench_history")
kill -INT $server
wait $server
echo "RESULT $rounds ended with $?: $result"
