#!/bin/bash
# A PostgreSQL server and pgbench: two clients whose random numbers are the same in every run. No transaction is lost or
# doubled if the history has all of them and the three tables have its sum. The database is made by initdb beforehand.
export PATH=/usr/lib/postgresql/15/bin:$PATH PGHOST=$PWD PGUSER=bench PGDATABASE=postgres
rounds=$(echo "${SCALE:-1}" | awk '{ print int(800 * $1) }')
postgres -D data -k "$PWD" -c listen_addresses= -c fsync=off -c shared_buffers=32MB \
    -c autovacuum=off -c max_logical_replication_workers=0 > postgres.log 2>&1 &
server=$!
for ((i = 0; i < 600; i++)); do
    pg_isready -q && break
    sleep 0.05
done
echo START
pgbench -n -c 2 -t "$rounds" --random-seed=7 > pgbench.log 2>&1 || { echo "FAIL pgbench: $(tail -n 3 pgbench.log)"; exit 1; }
result=$(psql -At -F ' ' -c "select count(*), sum(delta), (select sum(abalance) from pgbench_accounts),
    (select sum(tbalance) from pgbench_tellers), (select sum(bbalance) from pgbench_branches) from pgbench_history")
kill -INT $server
wait $server
echo "RESULT $rounds ended with $?: $result"
