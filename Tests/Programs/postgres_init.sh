#!/bin/bash
# Makes a small PostgreSQL cluster with pgbench's tables in the folder that is named, as an ordinary user.
set -e
export PATH=/usr/lib/postgresql/15/bin:$PATH
initdb -D "$1" -U bench -A trust --locale=C --no-sync --wal-segsize=1
pg_ctl -D "$1" -w -o "-c listen_addresses= -k '$1' -c fsync=off" start
pgbench -h "$1" -U bench -i -q postgres
pg_ctl -D "$1" -w -m fast stop
