"""Daemons of one cluster on loopback, as processes: started, killed, stopped, continued, replaced. For thrash.py."""

import ctypes
import errno
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


class Trouble(Exception):
    """What a run must not show."""


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_for(seconds, what, condition):
    """The condition's first true answer; Trouble when there is none in time. Time in which this process was held up itself
    hardly counts."""
    waited = 0.0
    last = time.monotonic()
    while True:
        answer = condition()
        if answer:
            return answer
        if waited > seconds:
            raise Trouble(f"waited {seconds} s for {what}")
        time.sleep(0.05)
        now = time.monotonic()
        waited += min(now - last, 2)
        last = now


def run(command, seconds, **options):
    """Exit status and output of a command; 124 when it does not end in time."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, preexec_fn=_die_with_parent, **options)
    output = []
    reader = threading.Thread(target=lambda: output.append(process.stdout.read()))
    reader.start()
    try:
        wait_for(seconds, "a command", lambda: process.poll() is not None)
    except Trouble:
        return 124, f"no answer in {seconds} s"
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
    return process.returncode, output[0].strip()


class Daemon:
    """A process with a log of its own for every run."""

    def __init__(self, cluster, name, command):
        self.cluster = cluster
        self.name = name
        self.command = command
        self.process = None
        self.runs = 0
        self.log = None
        self.stopped = False

    def start(self):
        if self.process is not None:
            raise Trouble(f"{self.name} runs already")
        self.runs += 1
        self.log = os.path.join(self.cluster.logs, f"{self.name}.{self.runs}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_parent,
                env=self.cluster.environment)

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def says(self, pattern):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return re.search(pattern, log.read(), re.MULTILINE)

    def last_line(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            lines = log.read().splitlines()
        return lines[-1] if lines else ""

    def is_ready(self):
        if not self.running:
            raise Trouble(f"{self.name} ended by itself: {self.last_line()}")
        return self.says("^ready")

    def await_ready(self, seconds=60):
        return wait_for(seconds, f"{self.name} to say that it is ready", self.is_ready)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None
        self.stopped = False

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)
        self.stopped = True

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)
        self.stopped = False

    def halt(self, seconds=30):
        """SIGTERM, and exit status 0."""
        self.process.terminate()
        wait_for(seconds, f"{self.name} to stop after SIGTERM", lambda: self.process.poll() is not None)
        status = self.process.returncode
        self.process = None
        if status:
            raise Trouble(f"{self.name} exited with {status} after SIGTERM: {self.last_line()}")


class OSD(Daemon):
    """An OSD in its directory; its number in the map changes when it is replaced."""

    def __init__(self, cluster, index):
        super().__init__(cluster, f"disk{index}", self.arguments)
        self.index = index
        self.directory = os.path.join(cluster.directory, f"osd.{index}")
        self.number = None
        self.out = False
        self.weight = 1

    def arguments(self):
        os.makedirs(self.directory, exist_ok=True)
        return [self.cluster.nacre, "osd", "--data", self.directory, "--mon", self.cluster.monitor_address,
                "--capacity", self.cluster.capacity]

    def learn_number(self):
        found = self.await_ready()
        self.number = int(self.says(r"^ready osd\.(\d+)").group(1)) if found else None

    def __str__(self):
        return f"osd.{self.number}"


class Cluster:
    """A monitor, OSDs, a gateway, and the commands that ask about them."""

    def __init__(self, directory, nacre, osds, capacity="6G", down_out=20):
        self.directory = directory
        self.logs = os.path.join(directory, "log")
        os.makedirs(self.logs, exist_ok=True)
        self.nacre = nacre
        self.capacity = capacity
        self.environment = dict(os.environ)
        self.ports = set()
        self.monitor_address = f"127.0.0.1:{self.pick_port()}"
        self.gateway_address = f"127.0.0.1:{self.pick_port()}"
        self.monitor = Daemon(self, "mon", lambda: [
            nacre, "mon", "--data", os.path.join(directory, "mon"), "--listen", self.monitor_address,
            "--down-out-interval", str(down_out)])
        self.gateway = Daemon(self, "nbd", lambda: [
            nacre, "nbd", "--mon", self.monitor_address, "--listen", self.gateway_address])
        self.osds = [OSD(self, index) for index in range(osds)]

    def pick_port(self):
        """A free port below the range that the kernel hands out by itself."""
        while True:
            port = random.SystemRandom().randrange(20000, 32000)
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            if port not in self.ports:
                self.ports.add(port)
                return port

    @property
    def daemons(self):
        return [self.gateway, *self.osds, self.monitor]

    def start(self):
        self.monitor.start()
        self.monitor.await_ready()
        for osd in self.osds:
            osd.start()
        for osd in self.osds:
            osd.learn_number()
        self.gateway.start()
        self.gateway.await_ready()

    def uri(self, image):
        return f"nbd://{self.gateway_address}/rbd/{image}"

    def end(self):
        """Ends everything that was started, at once."""
        for daemon in self.daemons:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.process.kill()
        for daemon in self.daemons:
            if daemon.process is not None:
                daemon.process.wait()
                daemon.process = None

    # Commands

    def ask(self, *arguments, timeout=30):
        """Exit status and output of a command."""
        # One that was held up itself may have given up for that alone.
        for _ in range(3):
            began = time.monotonic()
            answer = run([self.nacre, *map(str, arguments), "--mon", self.monitor_address], timeout)
            if answer[0] not in (errno.ETIMEDOUT, 124) or time.monotonic() - began < 20:
                break
        return answer

    def must(self, *arguments, timeout=30):
        status, text = self.ask(*arguments, timeout=timeout)
        if status:
            raise Trouble(f"nacre {' '.join(map(str, arguments))}: exit status {status}: {text}")
        return text

    def report(self, *arguments):
        return json.loads(self.must(*arguments, "--format", "json"))

    def groups(self):
        return self.report("pg", "dump")["pg_stats"]

    def unclean(self):
        return [group for group in self.groups() if group["state"] != "active+clean"]

    def wipe(self, osd):
        shutil.rmtree(osd.directory)
