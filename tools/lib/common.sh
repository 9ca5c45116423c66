# shellcheck shell=bash
# Shared by the scripts in tools/: messages, a work directory, undoing on exit, child processes, bounded waiting.
# A script sources this, calls `start_work NAME`, and from then on everything it registers is undone on any exit.

# shellcheck disable=SC2034  # used by the scripts that source this
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
NACRE=$(realpath -m "${NACRE:-$top/.build/release/nacre}")

work=              # the work directory of this run
undo_stack=()      # commands, quoted, to run in reverse on exit
declare -A pid_of=()   # name of a started process -> pid
declare -A log_of=()   # name of a started process -> log of its present incarnation
taken_ports=' '

say() { printf '%s\n' "$*"; }

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# Prints the comment that heads a script: its --help.
usage() { awk 'NR > 1 { if (!/^#/ || /^# shellcheck/) exit; sub(/^# ?/, ""); print }' "$1"; }

# start_work NAME: makes the work directory and arranges for it to be cleaned up, whatever happens. On a file system
# with a disk below it where there is a choice: a store on tmpfs would not show what flushing costs or loses.
start_work() {
  work=$(mktemp -d -p "${TMPDIR:-/var/tmp}" --suffix="-nacre-$1")
  mkdir "$work/log" "$work/pid"
  set -E
  trap 'printf "FAILED: %s line %s: %s\n" "${BASH_SOURCE[0]##*/}" "$LINENO" "$BASH_COMMAND" >&2' ERR
  trap 'leave $?' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

on_exit() { undo_stack+=("$(printf '%q ' "$@")"); }

leave() {
  local status=$1 i name
  trap - EXIT ERR
  trap '' INT TERM HUP
  set +e
  if ((status != 0)); then show_logs >&2; fi
  adopt
  for name in "${!pid_of[@]}"; do kill -TERM "${pid_of[$name]}" 2>/dev/null; done
  for ((i = 0; i < 100; i++)); do
    any_running || break
    sleep 0.05
  done
  for name in "${!pid_of[@]}"; do kill -KILL "${pid_of[$name]}" 2>/dev/null; done
  for ((i = ${#undo_stack[@]} - 1; i >= 0; i--)); do eval "${undo_stack[i]}" >>"$work/log/undo.txt" 2>&1; done
  if ((status == 0)) && [[ -z ${KEEP:-} ]]; then
    rm -rf --one-file-system "$work"
  else
    [[ -n ${KEEP:-} ]] || find "$work" -xdev -mindepth 1 -maxdepth 1 ! -name log -exec rm -rf --one-file-system {} +
    printf 'logs are in %s\n' "$work/log" >&2
  fi
  exit "$status"
}

show_logs() {
  local file
  for file in "$work"/log/*.log; do
    [[ -s $file ]] || continue
    printf -- '---- the end of %s\n' "${file##*/}"
    tail -n 15 "$file" | cut -c1-400
  done
}

# bounded SECONDS COMMAND...: in our process group, so that stopping us stops it.
bounded() { timeout --foreground --kill-after=5 "$@"; }

# wait_until SECONDS WHAT COMMAND...: polls a condition that can be observed.
wait_until() {
  local limit=$1 what=$2 deadline
  shift 2
  deadline=$(($(now_ms) + limit * 1000))
  until "$@" >/dev/null 2>&1; do
    (($(now_ms) < deadline)) || fail "waited $limit s for $what"
    sleep 0.05
  done
}

now_ms() { printf '%s' "$((${EPOCHREALTIME/./} / 1000))"; }

# spawn NAME COMMAND...: starts a process with a log of its own for every incarnation.
spawn() {
  local name=$1 n=1
  shift
  while [[ -e $work/log/$name.$n.log ]]; do n=$((n + 1)); done
  log_of[$name]=$work/log/$name.$n.log
  "$@" >"${log_of[$name]}" 2>&1 </dev/null &
  pid_of[$name]=$!
  echo "$!" >"$work/pid/$name"
}

# Takes over what a subshell has started, so that it does not outlive us.
adopt() {
  local file
  for file in "$work"/pid/*; do
    [[ -e $file ]] || continue
    pid_of[${file##*/}]=$(<"$file")
    log_of[${file##*/}]=${log_of[${file##*/}]:-/dev/null}
  done
}

running() { [[ -n ${pid_of[$1]:-} ]] && kill -0 "${pid_of[$1]}" 2>/dev/null; }

any_running() {
  local name
  for name in "${!pid_of[@]}"; do running "$name" && return 0; done
  return 1
}

stopped() { ! running "$1"; }

# Ready, or dead: the caller tells which.
# `nacre up` says ready for each daemon, and at the end for all of them in a line of that one word.
ready_line() { if [[ $1 == up ]]; then echo '^ready$'; else echo '^ready'; fi; }
ready_or_dead() { stopped "$1" || grep -q "$(ready_line "$1")" "${log_of[$1]}"; }

await_ready() {
  wait_until "${2:-30}" "$1 to print its ready line" ready_or_dead "$1"
  grep -q "$(ready_line "$1")" "${log_of[$1]}" || fail "$1 ended before it was ready: $(tail -n 1 "${log_of[$1]}")"
}

# halt NAME [SECONDS]: SIGTERM, and exit status 0 within the bound.
halt() {
  local name=$1 status=0
  running "$name" || fail "$name had already ended: $(tail -n 1 "${log_of[$name]}")"
  kill -TERM "${pid_of[$name]}"
  wait_until "${2:-20}" "$name to stop after SIGTERM" stopped "$name"
  wait "${pid_of[$name]}" || status=$?
  forget "$name"
  ((status == 0)) || fail "$name exited with $status after SIGTERM"
}

# slay NAME...: kill -9 of all of them at once, then wait until they are gone.
slay() {
  local name pids=()
  for name in "$@"; do if running "$name"; then pids+=("${pid_of[$name]}"); fi; done
  ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" || true
  # All are waited for before anything else runs, or bash reports each as "Killed".
  for name in "$@"; do [[ -z ${pid_of[$name]:-} ]] || wait "${pid_of[$name]}" || true; done 2>/dev/null
  for name in "$@"; do forget "$name"; done
}

forget() {
  unset "pid_of[$1]"
  rm -f "$work/pid/$1"
}

# A free port on loopback, below the range that the kernel hands out by itself; the answer is in $port.
pick_port() {
  while :; do
    port=$((RANDOM % 12000 + 20000))
    [[ $taken_ports == *" $port "* ]] && continue
    [[ -z $(ss -Hltn "sport = :$port") ]] || continue
    taken_ports+="$port "
    return
  done
}

need_nacre() { [[ -x $NACRE ]] || fail "$NACRE is not there: build it with \`swift build -c release\`, or set NACRE"; }
