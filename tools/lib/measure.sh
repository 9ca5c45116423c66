# shellcheck shell=bash disable=SC2154  # common.sh sets what is not set here
# Measuring one block device with fio, and the processes behind it. Each result is a line `system metric value` in
# $results; the tables are made from those.

results=

record() { printf '%s %s %s\n' "$1" "$2" "$3" >>"$results"; }

# fio_job SYSTEM NAME OPTION...: runs one job; its JSON is $work/fio.json. The options of the engine are in fio_target.
fio_job() {
  local system=$1 name=$2
  shift 2
  bounded 300 fio --name="$name" "${fio_target[@]}" --randrepeat=0 --norandommap --output-format=json \
    --output="$work/fio.json" "$@" >"$work/log/fio.$system.$name.log" 2>&1 || fail "fio $name on $system"
}

timed() { printf -- '--time_based --runtime=%s --ramp_time=1' "$runtime"; }

from_fio() { jq "$1" "$work/fio.json"; }

# CPU time of processes in microseconds, and the largest memory of them in MiB.
cpu_of() {
  local name ticks=0 stat
  for name in "$@"; do
    stat=$(<"/proc/${pid_of[$name]}/stat")
    # shellcheck disable=SC2086  # fields, counted from behind the command's name
    set -- ${stat##*) }
    ticks=$((ticks + ${12} + ${13}))
  done
  echo $((ticks * (1000000 / $(getconf CLK_TCK))))
}

memory_of() {
  local name
  for name in "$@"; do awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/${pid_of[$name]}/status"; done | sort -n | tail -n 1
}

# measure SYSTEM AREA DAEMON...: all jobs over the first AREA bytes of fio_target; DAEMON... are charged for the CPU.
measure() {
  local system=$1 area=$2 before after
  shift 2
  local daemons=("$@") random=(--bs=4k --size="$area")
  fio_job "$system" prefill --rw=write --bs=1m --iodepth=8 --size="$area"
  # shellcheck disable=SC2046  # several options
  {
    fio_job "$system" write-1 --rw=randwrite --iodepth=1 "${random[@]}" $(timed)
    record "$system" write_qd1_p50_us "$(from_fio '.jobs[0].write.clat_ns.percentile["50.000000"] / 1000')"
    # Without a ramp, as CPU is charged to all writes of the run.
    before=$(cpu_of "${daemons[@]}")
    fio_job "$system" write-32 --rw=randwrite --iodepth=32 "${random[@]}" --time_based --runtime="$runtime"
    after=$(cpu_of "${daemons[@]}")
    record "$system" write_qd32_iops "$(from_fio '.jobs[0].write.iops')"
    record "$system" cpu_per_write_us "$(from_fio "($after - $before) / .jobs[0].write.total_ios")"
    fio_job "$system" read-1 --rw=randread --iodepth=1 "${random[@]}" $(timed)
    record "$system" read_qd1_p50_us "$(from_fio '.jobs[0].read.clat_ns.percentile["50.000000"] / 1000')"
    fio_job "$system" read-32 --rw=randread --iodepth=32 "${random[@]}" $(timed)
    record "$system" read_qd32_iops "$(from_fio '.jobs[0].read.iops')"
    fio_job "$system" write-1m --rw=write --bs=1m --iodepth=8 --size="$area" $(timed)
    record "$system" write_1m_mibs "$(from_fio '.jobs[0].write.bw_bytes / 1048576')"
    fio_job "$system" read-1m --rw=read --bs=1m --iodepth=8 --size="$area" $(timed)
    record "$system" read_1m_mibs "$(from_fio '.jobs[0].read.bw_bytes / 1048576')"
  }
}

# All results as JSON: system -> metric -> median, lowest, highest, and the rounds.
summary() {
  jq -Rn '
    def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
    reduce (inputs | split(" ")) as [$system, $metric, $value] ({}; .[$system][$metric] += [$value | tonumber])
    | map_values(map_values({median: median, lowest: min, highest: max, rounds: .}))' "$results"
}
