#!/bin/bash
# A redis-server and its client, talking over a Unix socket.
rounds=$(echo "${SCALE:-1}" | awk '{ print int(1500 * $1) }')
redis-server --port 0 --unixsocket "$PWD/redis.sock" --save "" --appendonly no --daemonize no > redis.log 2>&1 &
server=$!
for ((i = 0; i < 200; i++)); do
    [ -S redis.sock ] && break
    sleep 0.05
done
coproc client { stdbuf -oL redis-cli -s redis.sock; }
echo START
for ((i = 1; i <= rounds; i++)); do
    echo "INCRBY sum $i" >&"${client[1]}"
    read -r answer <&"${client[0]}"
    [ "${answer##* }" = $((i * (i + 1) / 2)) ] || { echo "FAIL round $i: $answer"; exit 1; }
done
kill $server
wait $server
echo "RESULT $rounds ${answer##* }"
