#!/usr/bin/python3
"""Disturbs a cluster of real processes under clients that verify what they read; the work of tools/thrash."""

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

from thrash_actions import SETTLE, Thrasher
from thrash_clients import FIO_JOBS, FIO_SIZE, Clients
from thrash_cluster import Cluster, Trouble, run, wait_for

OSDS = 5


class Run:
    """One run: a cluster, clients, disturbances, and the checks at the end."""

    def __init__(self, args):
        self.args = args
        self.began = time.monotonic()
        self.lines = []
        base = os.environ.get("TMPDIR", "/var/tmp")
        self.directory = tempfile.mkdtemp(prefix="nacre-thrash.", dir=base)
        self.cluster = Cluster(self.directory, args.nacre, OSDS)
        self.clients = Clients(self.cluster, args.seed, self.note)
        self.thrasher = Thrasher(self.cluster, self.clients, random.Random(args.seed), self.note)

    def note(self, text):
        line = f"{time.monotonic() - self.began:7.1f} s  {text}"
        self.lines.append(line)
        if self.args.verbose:
            print(line, flush=True)

    def start(self):
        self.cluster.start()
        self.cluster.must("rbd", "create", "--size", "96M", "rbd/model")
        self.cluster.must("rbd", "create", "--size", f"{FIO_JOBS * FIO_SIZE >> 20}M", "rbd/fio")
        self.clients.start()
        self.note(f"{OSDS} OSDs, fio with {FIO_JOBS} jobs, and the model client")

    def thrash(self):
        end = time.monotonic() + self.args.seconds
        while time.monotonic() < end:
            self.thrasher.spend(self.thrasher.dice.choice((0, 0.2, 1, 2, 4)))
            if time.monotonic() < end:
                self.thrasher.step()
        self.thrasher.undo_all()
        self.thrasher.await_clean(SETTLE, "the end")

    def check(self):
        self.clients.end_fio()
        self.clients.order("check")
        self.note("every block of the model is there, and all that fio wrote in its last pass")
        self.read_every_copy()
        self.scrub()
        wait_for(30, "HEALTH_OK", self.is_healthy)
        self.note("HEALTH_OK")
        self.clients.order("quit")
        self.model_said = self.clients.last_word()
        self.stop_and_fsck()

    def is_healthy(self):
        return self.cluster.report("health")["status"] == "HEALTH_OK"

    def read_every_copy(self):
        """Each OSD leads every group that it has a copy of for a while: so each copy is read by the clients that know."""
        numbers = sorted(osd.number for osd in self.cluster.osds)
        for number in numbers:
            for other in numbers:
                self.cluster.must("osd", "primary-affinity", other, 1 if other == number else 0)

            def leads():
                self.thrasher.look()
                groups = self.cluster.groups()
                return all(group["state"] == "active+clean" and
                           (number not in group["acting"] or group["acting_primary"] == number) for group in groups)

            wait_for(60, f"osd.{number} to lead all groups it has", leads)
            self.clients.order("check")
            self.clients.verify_fio()
        for number in numbers:
            self.cluster.must("osd", "primary-affinity", number, 1)
        self.thrasher.await_clean(60, "after reading every copy")
        self.note("every copy was read through its OSD as leader, and is the same")

    def scrub(self):
        """Deep scrub of every group finds nothing."""
        groups = [group["pgid"] for group in self.cluster.groups()]

        def stamp(group):
            return self.cluster.report("pg", "query", group)["scrub"]["last_deep_scrub_stamp"]

        before = {group: stamp(group) for group in groups}
        for group in groups:
            self.cluster.must("pg", "deep-scrub", group)

        def scrubbed():
            self.thrasher.look()
            for group in [group for group in before if stamp(group) > before[group]]:
                del before[group]
            return not before

        wait_for(180, "the deep scrub of every group", scrubbed)
        for group in groups:
            found = self.cluster.report("pg", "list-inconsistent", group)["inconsistents"]
            if found:
                raise Trouble(f"deep scrub of {group} found {json.dumps(found)[:400]}")
        self.note(f"deep scrub of {len(groups)} groups found nothing")

    def stop_and_fsck(self):
        self.cluster.gateway.halt()
        for osd in self.cluster.osds:
            osd.halt()
        self.cluster.monitor.halt()
        for osd in self.cluster.osds:
            status, text = run([self.args.nacre, "osd", "store", "fsck", osd.directory], 120)
            if status:
                raise Trouble(f"fsck of {osd}: exit status {status}: {text[:400]}")
        self.note("fsck of every store found nothing")

    def negative(self):
        """All disks go back to what they were before acknowledged writes: the model client must say so."""
        wait_for(60, "a clean cluster", lambda: not self.cluster.unclean())
        self.thrasher.spend(3)
        self.clients.end_fio()
        self.clients.order("pause")
        copies = {}

        def all_stopped(what):
            for osd in self.cluster.osds:
                osd.halt()
            what()
            for osd in self.cluster.osds:
                osd.start()
            for osd in self.cluster.osds:
                osd.await_ready()
            wait_for(60, "a clean cluster", lambda: not self.cluster.unclean())

        def keep():
            for osd in self.cluster.osds:
                copies[osd] = osd.directory + ".before"
                subprocess.run(["cp", "-a", "--sparse=always", "--reflink=auto", osd.directory, copies[osd]], check=True)

        def restore():
            for osd, copy in copies.items():
                shutil.rmtree(osd.directory)
                os.rename(copy, osd.directory)

        all_stopped(keep)
        self.clients.order("check")
        self.clients.order("go")
        self.thrasher.spend(3)
        self.clients.order("pause")
        all_stopped(restore)
        try:
            self.clients.order("check")
        except Trouble as trouble:
            self.note(f"as it must: {trouble}")
            return
        raise Trouble("acknowledged writes were taken back on all disks, and the model client noticed nothing")

    def explain(self, trouble):
        """Everything that helps to see why."""
        print(f"FAILED: seed {self.args.seed}: {trouble}\n\nwhat was done:", file=sys.stderr)
        for line in self.lines:
            print(line, file=sys.stderr)
        if self.cluster.monitor.running:
            for question in (("status",), ("health", "detail"), ("pg", "dump"), ("osd", "dump")):
                text = self.cluster.ask(*question, timeout=10)[1]
                if question == ("pg", "dump"):
                    text = "\n".join(line for line in text.splitlines() if " active+clean " not in line)
                print(f"\n---- nacre {' '.join(question)}\n{text}", file=sys.stderr)
        for daemon in self.cluster.daemons:
            if daemon.log:
                with open(daemon.log, encoding="utf-8", errors="replace") as log:
                    end = log.read().splitlines()[-12:]
                print(f"\n---- the end of {os.path.basename(daemon.log)}", *[l[:300] for l in end], sep="\n",
                      file=sys.stderr)

    def end(self, failed):
        self.clients.end()
        self.cluster.end()
        if not failed and not self.args.keep:
            shutil.rmtree(self.directory)
            return
        with open(os.path.join(self.cluster.logs, "timeline.txt"), "w", encoding="utf-8") as file:
            file.write("\n".join([f"seed {self.args.seed}", *self.lines, ""]))
        if not self.args.keep:
            for name in os.listdir(self.directory):
                path = os.path.join(self.directory, name)
                if name != "log":
                    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        print(f"logs are in {self.cluster.logs}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nacre", required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--negative", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {args.seed}", flush=True)

    def interrupted(number, _):
        # Once: what was begun is ended, whoever repeats himself.
        for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, interrupted)
    run = Run(args)
    failed = True
    try:
        run.start()
        if args.negative:
            run.negative()
        else:
            run.thrash()
            run.check()
        failed = False
    except Trouble as trouble:
        run.explain(trouble)
    except KeyboardInterrupt as interruption:
        print(f"interrupted by {interruption}", file=sys.stderr)
    except BaseException as error:
        run.explain(f"{type(error).__name__}: {error}")
        raise
    finally:
        run.end(failed)
    if failed:
        sys.exit(1)
    if args.negative:
        print(f"ok     {run.lines[-1].split('  ', 1)[1].strip()}")
        return
    done = ", ".join(f"{count} {name}" for name, count in sorted(run.thrasher.counts.items()))
    print(f"ok     {args.seconds:.0f} s of disturbance ({done}); {run.clients.passes} passes of fio; the model client's {run.model_said}")


main()
