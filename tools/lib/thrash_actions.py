"""What is done to a cluster at random. For thrash.py."""

import heapq
import itertools
import time

from thrash_cluster import Trouble, wait_for

# Seconds without an answer to any request before that counts as a stall: the grace of 6 and the lease of 5, and what a
# loaded machine takes for peering.
STALL = 40
SETTLE = 180  # seconds until everything is clean after the last disturbance


class Thrasher:
    """Chooses what to do to whom, asks the cluster first where data could be lost, and undoes it later."""

    def __init__(self, cluster, clients, dice, note):
        self.cluster = cluster
        self.clients = clients
        self.dice = dice
        self.note = note
        self.later = []  # (when, number, what): what has been begun and is to be undone
        self.numbers = itertools.count()
        self.unserved = time.monotonic()  # when service was last not to be expected
        self.looked = time.monotonic()
        self.storming = set()
        self.counts = {}
        self.actions = {
            "kill": (26, self.kill), "twice": (10, self.kill_twice), "storm": (8, self.storm), "stop": (16, self.stop),
            "out": (9, self.mark_out), "down": (8, self.mark_down), "wipe": (16, self.wipe), "destroy": (5, self.destroy),
            "monitor": (6, self.restart_monitor), "weights": (6, self.change_weights), "rest": (4, self.rest),
        }

    # Who

    @property
    def osds(self):
        return self.cluster.osds

    def disturbed(self):
        return [osd for osd in self.osds if not osd.running or osd.stopped]

    def well(self):
        return [osd for osd in self.osds if osd.running and not osd.stopped and osd.is_ready()]

    def may_stop(self, *osds):
        """The cluster's word that all of these, and those that are away already, can be missed."""
        names = sorted({osd.number for osd in [*osds, *self.disturbed()] if osd.number is not None})
        known = self.cluster.report("osd", "ls")
        status, text = self.cluster.ask("osd", "ok-to-stop", *[name for name in names if name in known])
        if status:
            self.note(f"  not {', '.join(map(str, osds))}: {text}")
        return status == 0

    def pick(self):
        """An OSD that is well and can be missed, or nothing."""
        well = self.well()
        if not well or not self.cluster.monitor.running:
            return None
        osd = self.dice.choice(well)
        return osd if self.may_stop(osd) else None

    def may_be_missed(self, osd):
        """Three that are in with their whole weight are left, or there are groups that CRUSH finds no three OSDs for."""
        return sum(1 for other in self.osds if other is not osd and not other.out and other.weight == 1) >= 3

    # When

    def after(self, seconds, what):
        heapq.heappush(self.later, (time.monotonic() + seconds, next(self.numbers), what))

    def look(self):
        """Everybody is as we left them, and the work goes on."""
        for daemon in self.cluster.daemons:
            if daemon.process is not None and daemon.process.poll() is not None:
                raise Trouble(f"{daemon.name} ended by itself with {daemon.process.returncode}: {daemon.last_line()}")
        self.clients.check()
        now = time.monotonic()
        self.storming = {osd for osd in self.storming if not (osd.running and not osd.stopped and osd.is_ready())}
        # When this process was held up, the others may have been, too.
        if self.storming or not self.cluster.monitor.running or now - self.looked > 5:
            self.unserved = now
        self.looked = now
        stalled = self.clients.state()["stalled"]
        if stalled > STALL and now - self.unserved > STALL:
            raise Trouble(f"no request was answered for {stalled} s, and the cluster should serve")

    def spend(self, seconds):
        """Lets time pass, and does what is due."""
        end = time.monotonic() + seconds
        while True:
            self.look()
            while self.later and self.later[0][0] <= time.monotonic():
                heapq.heappop(self.later)[2]()
            if time.monotonic() >= end:
                return
            time.sleep(0.05)

    def step(self):
        names = list(self.actions)
        name = self.dice.choices(names, [self.actions[name][0] for name in names])[0]
        if self.actions[name][1]():
            self.counts[name] = self.counts.get(name, 0) + 1

    # What

    def revive(self, osd):
        if osd.running:
            return
        self.note(f"start {osd} ({osd.name})")
        osd.start()

    def kill(self):
        osd = self.pick()
        if osd is None:
            return False
        away = self.dice.choice((0, 0.3, 1, 3, 8, 12, 26))
        self.note(f"kill -9 {osd}, away for {away} s")
        osd.kill()
        self.after(away, lambda: self.revive(osd))
        return True

    def kill_twice(self):
        """Killed again while it starts, or while its groups peer, or have begun to recover."""
        osd = self.pick()
        if osd is None:
            return False
        times = self.dice.choice((2, 2, 3))
        self.note(f"kill -9 {osd}, {times} times")

        def again(left):
            if not osd.running or osd.stopped:
                return
            if osd.number is None or not self.cluster.monitor.running or not self.may_stop(osd):
                self.after(1, lambda: again(left)) if left < 3 else None
                return
            self.note(f"kill -9 {osd} again")
            osd.kill()
            back(left - 1)

        def back(left):
            self.after(self.dice.uniform(0, 2), lambda: (
                self.revive(osd), left and self.after(self.dice.choice((0.2, 0.5, 1, 2, 4)), lambda: again(left))))

        osd.kill()
        back(times - 1)
        return True

    def storm(self):
        """Several at once, without asking: nothing is lost with a process, and service need not go on."""
        well = self.well()
        if len(well) < 2:
            return False
        chosen = self.dice.sample(well, self.dice.randint(2, len(well)))
        self.note(f"kill -9 {', '.join(map(str, chosen))} at once")
        for osd in chosen:
            osd.kill()
            self.storming.add(osd)
        for osd in chosen:
            self.after(self.dice.uniform(0, 5), lambda osd=osd: self.revive(osd))
        return True

    def stop(self):
        osd = self.pick()
        if osd is None:
            return False
        away = self.dice.choice((0.5, 2, 5, 7, 9, 13, 18))
        self.note(f"SIGSTOP {osd} for {away} s")
        osd.stop()

        def go_on():
            if osd.running and osd.stopped:
                self.note(f"SIGCONT {osd}")
                osd.go_on()

        self.after(away, go_on)
        return True

    def mark_out(self):
        chosen = [osd for osd in self.osds if not osd.out and osd.number is not None]
        if len(chosen) < 5 or not self.cluster.monitor.running:
            return False
        osd = self.dice.choice(chosen)
        if not self.may_be_missed(osd):
            return False
        number = osd.number
        self.note(f"out {osd}")
        self.cluster.must("osd", "out", number)
        osd.out = True

        def back():
            if osd.number != number:
                return
            if not self.cluster.monitor.running:
                return self.after(1, back)
            self.note(f"in {osd}")
            self.cluster.must("osd", "in", number)
            osd.out = False

        self.after(self.dice.choice((0.5, 3, 10, 20)), back)
        return True

    def mark_down(self):
        """They live, and come up again by themselves."""
        well = self.well()
        if not well or not self.cluster.monitor.running:
            return False
        chosen = self.dice.sample(well, self.dice.randint(1, min(3, len(well))))
        self.note(f"down {', '.join(map(str, chosen))}")
        self.cluster.must("osd", "down", *[osd.number for osd in chosen])
        self.unserved = time.monotonic()
        return True

    def wipe(self):
        """Its disk breaks: the others have everything, and have to make it whole without it."""
        if not self.cluster.monitor.running:
            return False
        # A group that is not active, or still looks for objects, may need what this disk alone has, though it be no member.
        states = [group["state"].split("+") for group in self.cluster.groups()]
        if any("active" not in state or "recovering" in state for state in states):
            return False
        osd = self.pick()
        if osd is None:
            return False
        self.note(f"kill -9 {osd}, and its disk is gone")
        self.replace(osd, self.dice.choice((0, 1, 4)))
        return True

    def destroy(self):
        """The way of an administrator: out, wait until it is safe, and away with it."""
        if self.disturbed() or any(osd.out for osd in self.osds) or not self.cluster.monitor.running:
            return False
        osd = self.dice.choice(self.osds)
        if not self.may_be_missed(osd):
            return False
        self.note(f"out {osd}, to be destroyed when that is safe")
        self.cluster.must("osd", "out", osd.number)
        osd.out = True
        deadline = time.monotonic() + 60

        def look():
            if not osd.running or osd.stopped or not self.cluster.monitor.running:
                return self.after(1, look)
            if self.cluster.ask("osd", "safe-to-destroy", osd.number)[0] == 0:
                self.note(f"safe to destroy: kill -9 {osd}, and its disk is gone")
                self.replace(osd, 0)
            elif time.monotonic() > deadline:
                self.note(f"in {osd}: not safe to destroy after 60 s")
                self.cluster.must("osd", "in", osd.number)
                osd.out = False
            else:
                self.after(0.5, look)

        self.after(1, look)
        return True

    def replace(self, osd, away):
        number = osd.number
        osd.kill()
        self.cluster.wipe(osd)
        osd.number = None
        osd.out = False
        osd.weight = 1

        def purge():
            if not self.cluster.monitor.running:
                return self.after(0.5, purge)
            status, text = self.cluster.ask("osd", "purge", number, "--yes-i-really-mean-it")
            if status:
                self.note(f"  purge osd.{number}: {text}")
                return self.after(0.5, purge)
            self.note(f"purged osd.{number}")
            self.after(away, begin)

        def begin():
            osd.start()
            learn()

        def learn():
            if osd.is_ready():
                osd.learn_number()
                self.note(f"{osd} is new, on {osd.name}")
            else:
                self.after(0.2, learn)

        self.after(0, purge)

    def restart_monitor(self):
        if not self.cluster.monitor.running:
            return False
        away = self.dice.choice((0, 0, 1, 4, 9))
        monitor = self.cluster.monitor
        if self.dice.random() < 0.7:
            self.note(f"kill -9 mon, away for {away} s")
            monitor.kill()
        else:
            self.note(f"SIGTERM mon, away for {away} s")
            monitor.halt()

        def back():
            self.note("start mon")
            monitor.start()
            monitor.await_ready()
            self.unserved = time.monotonic()

        self.after(away, back)
        return True

    def change_weights(self):
        """Leaders change, or copies move, with everybody there."""
        well = self.well()
        if not well or not self.cluster.monitor.running:
            return False
        osd = self.dice.choice(well)
        if osd.out:
            return False
        if self.dice.random() < 0.5:
            weight = self.dice.choice((0, 0.5, 1, 1))
            self.note(f"primary-affinity {osd} {weight}")
            self.cluster.must("osd", "primary-affinity", osd.number, weight)
        else:
            weight = self.dice.choice((0.4, 0.7, 1, 1))
            if weight < 1 and not self.may_be_missed(osd):
                return False
            osd.weight = weight
            self.note(f"reweight {osd} {weight}")
            self.cluster.must("osd", "reweight", osd.number, weight)
        return True

    def rest(self):
        """Nothing new until everything is clean."""
        while self.later:
            self.spend(0.2)
        self.await_clean(SETTLE, "rest")
        return True

    # The end

    def undo_all(self):
        self.note("everybody back")
        deadline = time.monotonic() + 120
        while self.later:
            self.spend(0.2)
            if time.monotonic() > deadline:
                raise Trouble("what was begun does not end in 120 s")
        for osd in self.osds:
            self.cluster.must("osd", "in", osd.number)
            osd.out = False
            self.cluster.must("osd", "reweight", osd.number, 1)
            osd.weight = 1
            self.cluster.must("osd", "primary-affinity", osd.number, 1)

    def await_clean(self, seconds, when):
        began = time.monotonic()

        def clean():
            self.look()
            return not self.cluster.unclean()

        try:
            wait_for(seconds, f"all groups to be active+clean ({when})", clean)
        except Trouble as trouble:
            raise Trouble(f"{trouble}: {[(g['pgid'], g['state'], g['acting']) for g in self.cluster.unclean()][:6]}")
        self.note(f"all groups are active+clean after {time.monotonic() - began:.1f} s")
