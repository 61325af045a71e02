#!/usr/bin/env bash
# What somebody sees who clones the repository and types `make run`: without a terminal an invite, alone, on stdout,
# that lets another person in; Ctrl-C ends it; and a second `make run` finds the same relay key and room.
# Usage: tests/e2e/first_run.sh REPOSITORY
set -euo pipefail

repository=$(cd "${1:?usage: $0 REPOSITORY}" && pwd)
scene=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null; wait; rm -rf "$scene"' EXIT
unset BACKCHANNEL_HOME PYTHONPATH VIRTUAL_ENV MAKEFLAGS MAKELEVEL
export XDG_DATA_HOME="$scene/data"
fail() { echo "first run: $*" >&2; exit 1; }

# It may be somebody else's checkout, which git takes only from who says so.
printf '[safe]\n\tdirectory = *\n' > "$scene/gitconfig"
GIT_CONFIG_GLOBAL="$scene/gitconfig" git clone --quiet "$repository" "$scene/backchannel"
cd "$scene/backchannel"

# make_run N: start it, wait for the invite, let a guest in, note the room, press Ctrl-C.
make_run() {
  mkfifo "$scene/stdout$1"
  set -m  # a process group of its own, so that it can be sent what Ctrl-C sends
  make run > "$scene/stdout$1" < /dev/null &
  local make=$!
  set +m
  exec 3< "$scene/stdout$1"
  read -r -t 300 invite <&3 || fail "run $1 printed no invite"
  [[ $invite =~ ^[!-~]+$ ]] || fail "run $1 printed '$invite', which is not one word"
  BACKCHANNEL_HOME="$scene/guest$1" timeout 60 .venv/bin/backchannel join "$invite" --nick "guest$1" > /dev/null
  .venv/bin/backchannel rooms --json | .venv/bin/python -c 'import json, sys
for line in sys.stdin:
    room = json.loads(line)
    print(room["room"], room["role"], room["relay"].split("/")[-1])' > "$scene/rooms$1"
  kill -INT -- "-$make"
  wait "$make" && fail "run $1 ended with 0 after Ctrl-C"
  read -r rest <&3 && fail "run $1 printed more than the invite: $rest"
  exec 3<&-
}

make_run 1
make_run 2
grep -q '^lobby ' "$scene/rooms1" || fail "no lobby among: $(cat "$scene/rooms1")"
diff "$scene/rooms1" "$scene/rooms2" >&2 || fail 'the second run has other rooms or another relay key'
echo 'first run: and second, as told' >&2
