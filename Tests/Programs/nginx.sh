#!/bin/bash
# nginx with two workers and a client that keeps its connection, over a Unix socket.
cat > nginx.conf << END
worker_processes 2; daemon off; master_process on; pid nginx.pid; error_log error.log; $([ "$(id -u)" = 0 ] && echo "user root;")
events { worker_connections 64; }
http {
    access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    server { listen unix:$PWD/nginx.sock; location / { return 200 "hello\n"; } }
}
END
/usr/sbin/nginx -p "$PWD" -c "$PWD/nginx.conf" 2> nginx.log &
server=$!
for ((i = 0; i < 200; i++)); do
    [ -S nginx.sock ] && break
    sleep 0.05
done
echo START
/usr/bin/python3 - << 'END'
import os, socket
rounds = int(30000 * float(os.environ.get("SCALE", "1")))
client = socket.socket(socket.AF_UNIX)
client.connect("nginx.sock")
answers = client.makefile("rb")
good = 0
for number in range(rounds):
    if number and number % 900 == 0:  # keepalive_requests is 1000
        client.close()
        client = socket.socket(socket.AF_UNIX)
        client.connect("nginx.sock")
        answers = client.makefile("rb")
    client.sendall(b"GET /%d HTTP/1.1\r\nHost: here\r\n\r\n" % number)
    length = 0
    while (line := answers.readline().strip().lower()):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    good += answers.read(length) == b"hello\n"
print("RESULT", rounds, good, flush=True)
END
kill -QUIT $server
wait $server
