#!/usr/bin/env bash
# The README's example as three people would type it, with the commands of one installation and nothing of the
# checkout: a relay, an invite, three homes, a message to the room, and an aside that leaves no trace for the third.
# Usage: tests/e2e/story.sh DIRECTORY_WITH_THE_COMMANDS
set -euo pipefail

bin=$(cd "${1:?usage: $0 DIRECTORY_WITH_THE_COMMANDS}" && pwd)
scene=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null; wait; rm -rf "$scene"' EXIT
cd "$scene"
unset BACKCHANNEL_HOME PYTHONPATH

person() { local home=$1; shift; BACKCHANNEL_HOME="$scene/$home" timeout 60 "$bin/backchannel" "$@"; }
alice() { person alice "$@"; }
bob() { person bob "$@"; }
chuck() { person chuck "$@"; }
fail() { echo "story: $*" >&2; exit 1; }
expect() { [ "$1" = "$2" ] || fail "$3: expected '$2', got '$1'"; }
# One line for each message on stdin: the values of the given Python expressions about it.
fields() { "$bin/python" -c 'import json, sys
for line in sys.stdin:
    m = json.loads(line)
    assert m["v"] == 1, m
    if m["type"] == "message":
        print('"$1"')'; }

echo 'story: a relay' >&2
mkfifo address
"$bin/backchannel-relay" run --bind 127.0.0.1:0 --home "$scene/relay" > address &
relay=$!
exec 3< address
read -r -t 30 ADDRESS <&3 || fail 'the relay printed no address'

echo 'story: three people' >&2
INVITE=$(alice create team --relay "$ADDRESS" --nick alice)
expect "$(bob join "$INVITE" --nick bob)" team "bob's room"
expect "$(chuck join - --nick chuck <<< "$INVITE")" team "chuck's room"

echo 'story: a message and an aside' >&2
expect "$(alice send team 'morning, all')" '' 'send prints nothing'
alice send team --to bob 'careful with chuck' --wait delivered --timeout 30 &
aside=$!
for _ in $(seq 30); do
  bob poll team --json >> bob.json
  if grep -q careful bob.json; then break; fi
done
wait "$aside" || fail "alice never learned that bob got it (exit $?)"
fields 'm["from"]["nick"], m["direct"], m["text"]' < bob.json > bob.txt
expect "$(cat bob.txt)" $'alice False morning, all\nalice True careful with chuck' "bob's messages"

chuck poll team --json > chuck.json
fields 'm["from"]["nick"], m["direct"], m["text"]' < chuck.json > chuck.txt
expect "$(cat chuck.txt)" 'alice False morning, all' "chuck's messages"
grep -q careful chuck.json && fail 'chuck sees the aside'
expect "$(bob poll team --json)" '' 'nothing is shown twice'

echo 'story: a host' >&2
mkfifo invite
set -m  # a process group of its own, so that it can be sent what Ctrl-C sends
BACKCHANNEL_HOME="$scene/host" "$bin/backchannel" host lobby --nick host --bind 127.0.0.1:0 > invite < /dev/null &
host=$!
set +m
exec 4< invite
read -r -t 30 INVITE <&4 || fail 'the host printed no invite'
expect "$(bob join "$INVITE" --nick bob)" lobby "bob's second room"
kill -INT -- "-$host"
code=0; wait "$host" || code=$?
expect "$code" 130 "the host's exit code after Ctrl-C"

kill -TERM "$relay"
code=0; wait "$relay" || code=$?
expect "$code" 0 "the relay's exit code after SIGTERM"
grep -rqsa -e careful -e 'morning, all' alice bob chuck relay && fail 'a message lies on a disk'
echo 'story: told to its end' >&2
