#!/usr/bin/python3
"""How long clients wait when OSDs go, and how fast copies are brought back; the work of tools/bench recovery."""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import nbd

from thrash_cluster import Cluster, Trouble, wait_for

MIB = 1 << 20
OBJECT = 4 * MIB
GROUPS = 256


def note(text):
    print(text, file=sys.stderr, flush=True)


class Writer:
    """Durable 4 KiB writes with one in flight at a time, and when each was answered."""

    def __init__(self, uri, size):
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.size = size
        self.dice = random.Random(1)
        self.data = nbd.Buffer.from_bytearray(bytearray(os.urandom(4096)))
        self.answers = []

    def until(self, condition, seconds):
        """Writes until something is so; Trouble when it is not in time."""
        began = time.monotonic()
        while True:
            self.handle.pwrite(self.data.to_bytearray(), self.dice.randrange(self.size // 4096) * 4096)
            now = time.monotonic()
            self.answers.append(now)
            if condition():
                return
            if now - began > seconds:
                raise Trouble(f"waited {seconds} s under writes")

    def during(self, seconds):
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, seconds + 60)

    def longest_gap(self, since):
        recent = [since] + [answer for answer in self.answers if answer > since]
        return max(later - earlier for earlier, later in zip(recent, recent[1:]))


class Bench:
    def __init__(self, args):
        self.args = args
        self.figures = {}
        self.directory = tempfile.mkdtemp(prefix="nacre-recovery.", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.cluster = None

    def record(self, name, value):
        self.figures.setdefault(name, []).append(value)
        note(f"  {name}: {value:.2f}")

    def begin(self, name, osds=3):
        self.cluster = Cluster(os.path.join(self.directory, name), self.args.nacre, osds, capacity="12G", down_out=0)
        self.cluster.start()
        self.await_clean()

    def finish(self):
        self.cluster.end()
        shutil.rmtree(self.cluster.directory)
        self.cluster = None

    def await_clean(self, seconds=300):
        wait_for(seconds, "all groups to be active+clean", lambda: not self.cluster.unclean())

    def fio(self, name, *options):
        result = subprocess.run(
            ["fio", f"--name={name}", "--randrepeat=0", "--norandommap", "--group_reporting", "--output-format=json",
             *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
            cwd=self.directory, timeout=600)
        if result.returncode:
            raise Trouble(f"fio {name}: {result.stderr.strip()[:300]}")
        return json.loads(result.stdout[result.stdout.index("{"):])["jobs"][0]

    def over(self, image):
        return ["--ioengine=nbd", f"--uri={self.cluster.uri(image)}"]

    # Gaps

    def gaps(self):
        """One client that writes all the time, while OSDs are killed, and stopped, one after the other."""
        self.begin("gaps")
        self.cluster.must("rbd", "create", "--size", "1G", "rbd/gap")
        self.fio("fill", *self.over("gap"), "--rw=write", "--bs=1m", "--iodepth=8", "--size=1g")
        writer = Writer(self.cluster.uri("gap"), 1 << 30)
        for osd in self.cluster.osds:
            writer.during(1)
            began = time.monotonic()
            osd.kill()
            writer.during(5)
            self.record("gap after kill -9, s", writer.longest_gap(began))
            began = time.monotonic()
            osd.start()
            writer.until(lambda: osd.is_ready(), 60)
            writer.during(3)
            self.record("gap when it comes back, s", writer.longest_gap(began))
            writer.until(lambda: not self.cluster.unclean(), 60)
        for osd in self.cluster.osds[:self.args.stops]:
            writer.during(1)
            began = time.monotonic()
            osd.stop()
            writer.during(20)
            self.record("gap after SIGSTOP, s", writer.longest_gap(began))
            osd.go_on()
            writer.during(5)
            writer.until(lambda: not self.cluster.unclean(), 60)
        self.finish()

    # Peering

    def peering(self):
        """An OSD is killed, and every group of a pool of 256 is written to: its death seen, peering, and the write."""
        self.begin("peering")
        self.cluster.must("osd", "pool", "create", "many", GROUPS)
        self.await_clean()
        objects = 4 * GROUPS
        self.cluster.must("rbd", "create", "--size", f"{objects * OBJECT // MIB}M", "many/all")
        handle = nbd.NBD()
        handle.connect_uri(f"nbd://{self.cluster.gateway_address}/many/all")

        def write_all():
            """A write to every object; when the last was answered."""
            left = objects
            failed = []

            def completed(error):
                nonlocal left
                left -= 1
                if error.value:
                    failed.append(error.value)
                return 1

            for number in range(objects):
                buffer = nbd.Buffer.from_bytearray(bytearray(4096))
                handle.aio_pwrite(buffer, number * OBJECT, completion=completed)
            while left:
                handle.poll(1000)
            if failed:
                raise Trouble(f"a write failed with {failed[0]}")
            return time.monotonic()

        write_all()
        began = time.monotonic()
        usual = write_all() - began
        self.record("a write to each of 1024 objects in 256 groups, s", usual)
        for osd in self.cluster.osds:
            began = time.monotonic()
            osd.kill()
            self.record("the same from kill -9 of an OSD on, s", write_all() - began)
            osd.start()
            osd.await_ready()
            began = time.monotonic()
            self.record("the same when it has come back, s", write_all() - began)
            self.await_clean()
        # Everything that lives peers anew.
        for osd in self.cluster.osds:
            self.cluster.must("osd", "primary-affinity", osd.number, 0)
            began = time.monotonic()
            self.record("the same when leaders have changed, s", write_all() - began)
            self.await_clean()
            self.cluster.must("osd", "primary-affinity", osd.number, 1)
            self.await_clean()
        self.finish()

    # Recovery

    def disk(self):
        """What the disk gives one writer, three at once, and one that copies: reads and writes at a time, as recovery does."""
        size = self.args.mib
        for jobs in (1, 3):
            job = self.fio("disk", "--rw=write", "--bs=1m", "--direct=1", "--ioengine=io_uring", "--iodepth=8",
                           f"--numjobs={jobs}", f"--size={size}m", f"--directory={self.directory}", "--end_fsync=1",
                           "--fallocate=none")
            self.record(f"disk, sequential, {jobs} writer{'s' * (jobs > 1)}, MiB/s", job["write"]["bw_bytes"] / MIB)
        began = time.monotonic()
        subprocess.run(["dd", "if=disk.0.0", "of=disk.copy", "bs=4M", "iflag=direct", "oflag=direct", "conv=fsync"],
                       cwd=self.directory, check=True, stderr=subprocess.DEVNULL)
        self.copy = size / (time.monotonic() - began)
        self.record("disk, a copy by dd, MiB/s", self.copy)
        for name in os.listdir(self.directory):
            if name.startswith("disk."):
                os.remove(os.path.join(self.directory, name))

    def recovery(self):
        """2 GiB are brought back to a new disk, and to one that was away while they were written: idle, and under a client."""
        size = self.args.mib
        self.disk()
        self.begin("recovery")
        self.cluster.must("rbd", "create", "--size", f"{size}M", "rbd/data")
        self.fio("fill", *self.over("data"), "--rw=write", "--bs=1m", "--iodepth=8", f"--size={size}m")
        self.await_clean()
        for what, rate in (("a new disk", size / self.replace(0)), ("one that was away", size / self.come_back(2))):
            self.record(f"recovery of {what}, MiB/s", rate)
            self.record(f"recovery of {what} / what the disk allows, a copy by dd", rate / self.copy)
        self.under_load("new disk", lambda: self.replace(1))
        self.under_load("away", lambda: self.come_back(2))
        self.finish()

    def under_load(self, what, bring_back):
        """What a client keeps of its rate while a disk is brought back, and how fast that is then."""
        size = self.args.mib
        load = [*self.over("data"), "--rw=randwrite", "--bs=4k", "--iodepth=32", f"--size={size}m", "--time_based"]
        before = self.fio("before", *load, "--runtime=8", "--ramp_time=2")["write"]["iops"]
        log = f"{self.directory}/during_iops.1.log"
        client = subprocess.Popen(
            ["fio", "--name=during", "--randrepeat=0", "--norandommap", *load, "--runtime=900",
             f"--write_iops_log={self.directory}/during", "--log_avg_msec=500"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.directory)
        began = time.monotonic()
        try:
            took = bring_back()
        finally:
            client.terminate()
            client.wait()
        end = time.monotonic() - began
        with open(log, encoding="ascii") as samples:
            rates = [(float(line.split(",")[0]) / 1000, float(line.split(",")[1])) for line in samples]
        during = [rate for when, rate in rates if end - took <= when <= end - 0.5]
        rate = sum(during) / max(1, len(during))
        self.record(f"client before ({what}), 4 KiB writes/s", before)
        self.record(f"client during recovery ({what}), writes/s", rate)
        self.record(f"client during recovery / before ({what})", rate / before)
        self.record(f"recovery under the client ({what}), MiB/s", size / took)

    def come_back(self, index):
        """Seconds that an OSD takes to get everything that was written while it was away."""
        osd = self.cluster.osds[index]
        osd.kill()
        self.fio("away", *self.over("data"), "--rw=write", "--bs=1m", "--iodepth=8", f"--size={self.args.mib}m")
        osd.start()
        osd.await_ready()
        return self.until_clean()

    def replace(self, index):
        """Seconds that a new, empty disk takes to get everything."""
        osd = self.cluster.osds[index]
        number = osd.number
        osd.kill()
        self.cluster.wipe(osd)
        wait_for(60, "the purge", lambda: self.cluster.ask("osd", "purge", number, "--yes-i-really-mean-it")[0] == 0)
        osd.start()
        osd.learn_number()
        return self.until_clean()

    def until_clean(self):
        """Seconds from now until all groups are clean, which they must not be yet."""
        began = time.monotonic()
        before = self.processor_times()
        wait_for(30, "recovery to begin", lambda: self.cluster.unclean())
        self.await_clean(1200)
        took = time.monotonic() - began
        for name, seconds in self.processor_times().items():
            note(f"    {name}: {seconds - before[name]:.2f} s of processor in {took:.2f} s")
        return took

    def processor_times(self):
        """Seconds of processor that each daemon has used, user and system."""
        times = {}
        for daemon in self.cluster.daemons:
            with open(f"/proc/{daemon.process.pid}/stat", encoding="ascii") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            times[daemon.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return times

    def end(self):
        if self.cluster is not None:
            self.cluster.end()
        shutil.rmtree(self.directory)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nacre", required=True)
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--stops", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=("gaps", "peering", "recovery"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    bench = Bench(args)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        for _ in range(args.rounds):
            for part in (bench.gaps, bench.peering, bench.recovery):
                if args.only in (None, part.__name__):
                    part()
    except Trouble as trouble:
        print(f"FAILED: {trouble}", file=sys.stderr)
        sys.exit(1)
    finally:
        bench.end()
    if args.json:
        print(json.dumps(bench.figures, indent=2))
        return
    print("| what | median | least | most |\n|---|---|---|---|")
    for name, values in bench.figures.items():
        values = sorted(values)
        middle = values[len(values) // 2] if len(values) % 2 else (
            values[len(values) // 2 - 1] + values[len(values) // 2]) / 2
        print(f"| {name} | {middle:.2f} | {values[0]:.2f} | {values[-1]:.2f} |")


main()
