"""fio and the model client on a disturbed cluster. For thrash.py."""

import json
import os
import signal
import subprocess

from thrash_cluster import Trouble, run, wait_for

FIO_JOBS = 3
FIO_SIZE = 24 << 20


class Clients:
    """fio and the model client, and what they report."""

    def __init__(self, cluster, seed, note):
        self.cluster = cluster
        self.seed = seed
        self.note = note
        self.passes = 0
        self.fio = None
        self.fio_log = None
        self.wanted = True
        self.status = os.path.join(cluster.directory, "model.json")
        self.model = None
        self.said = None

    def start(self):
        here = os.path.dirname(os.path.abspath(__file__))
        self.said = open(os.path.join(self.cluster.logs, "model.log"), "w+", encoding="utf-8")
        self.model = subprocess.Popen(
            ["/usr/bin/python3", os.path.join(here, "model_client.py"), self.cluster.uri("model"), "--seed",
             str(self.seed), "--status", self.status],
            stdin=subprocess.PIPE, stdout=self.said, stderr=subprocess.STDOUT, text=True)
        wait_for(30, "the model client to begin", lambda: os.path.exists(self.status))
        self.next_fio()

    def fio_command(self, *options):
        # Threads: jobs that are processes outlive a fio that is killed.
        return ["fio", "--name=checked", "--thread", "--ioengine=nbd", f"--uri={self.cluster.uri('fio')}",
                "--rw=randwrite", "--bssplit=4k/50:12k/20:64k/20:256k/10", f"--size={FIO_SIZE}",
                f"--offset_increment={FIO_SIZE}", f"--numjobs={FIO_JOBS}", "--iodepth=8", "--verify=crc32c",
                "--verify_fatal=1", "--group_reporting", "--randrepeat=1", *options]

    def next_fio(self):
        """A pass writes its whole area in a new order, and then verifies it."""
        self.passes += 1
        self.fio_log = os.path.join(self.cluster.logs, f"fio.{self.passes}.log")
        options = [f"--randseed={self.seed + self.passes}", "--do_verify=1", "--rate_iops=150"]
        with open(self.fio_log, "wb") as log:
            self.fio = subprocess.Popen(self.fio_command(*options), stdin=subprocess.DEVNULL, stdout=log,
                                        stderr=subprocess.STDOUT, cwd=self.cluster.directory, start_new_session=True)

    def check(self):
        """Takes note of how they are; Trouble when one has found something."""
        if self.model.poll() is not None:
            raise Trouble(f"the model client: {self.last_word()}")
        status = self.fio.poll()
        if status is not None:
            if status:
                with open(self.fio_log, encoding="utf-8", errors="replace") as log:
                    raise Trouble(f"fio ended with {status}: {log.read().strip()[:400]}")
            if self.wanted:
                self.next_fio()

    def last_word(self):
        self.said.flush()
        with open(self.said.name, encoding="utf-8", errors="replace") as log:
            lines = log.read().splitlines()
        return lines[-1] if lines else "said nothing"

    def state(self):
        with open(self.status, encoding="ascii") as file:
            return json.load(file)

    def order(self, word, seconds=120):
        """Gives the model client an order and waits until it is done."""
        before = self.answers(word)
        self.model.stdin.write(word + "\n")
        self.model.stdin.flush()

        def answered():
            if self.answers(word) > before:
                return True
            if self.model.poll() is not None:
                raise Trouble(f"the model client: {self.last_word()}")
            return False

        wait_for(seconds, f"the model client to {word}", answered)

    def answers(self, word):
        with open(self.said.name, encoding="utf-8", errors="replace") as log:
            return sum(line.startswith(word + ":") for line in log)

    def end_fio(self, seconds=120):
        """Lets the pass under way end, and verify."""
        self.wanted = False

        def ended():
            self.check()
            return self.fio.poll() is not None

        wait_for(seconds, "fio to end its pass", ended)

    def verify_fio(self):
        """Everything that the last pass wrote, once more."""
        status, text = run(self.fio_command("--verify_only", f"--randseed={self.seed + self.passes}"), 120,
                           cwd=self.cluster.directory)
        if status:
            raise Trouble(f"fio --verify_only ended with {status}: {text[:400]}")

    def end(self):
        if self.fio is not None and self.fio.poll() is None:
            os.killpg(self.fio.pid, signal.SIGKILL)
            self.fio.wait()
        if self.model is not None and self.model.poll() is None:
            self.model.kill()
            self.model.wait()
