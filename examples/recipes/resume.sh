#!/bin/sh
# Ask, lose the connection after 600 bytes, and go on where it was lost.
server=${1:-http://localhost:8000}

curl -sN "$server/__aibind__/stream" -D head.txt -H 'Accept: text/event-stream' \
  -H 'Content-Type: application/json' -d '{"prompt": "/short Hello", "sessionId": "my-curl-chat"}' |
  head -c 600 > first.txt

stream=$(sed -n 's/^x-stream-id: \([^ ]*\).*/\1/ip' head.txt | tr -d '\r')
# The last message that came whole: those that are cut have no blank line after them.
last=$(awk -v RS= '{ kept = now; now = $0 } END { print kept }' first.txt | sed -n 's/^id: //p')

curl -sN "$server/__aibind__/stream/resume?id=$stream" -H "Last-Event-ID: $last" > rest.txt
cat rest.txt
