"""Runs a scenario in a laboratory: its steps one after the other, with what is expected of each.

What happens is recorded in a timeline, of which a report is made (report/).
"""
import concurrent.futures
import datetime
import fnmatch
import shlex
import threading
import time

from cluster import Refused, seconds_of
from laboratory import LOOK_SECONDS, seconds
from machines import last_words
from report.timeline import Timeline

SAMPLE_SECONDS = 1.0
# What an agent says whose configuration server does not answer.
AGENT_IS_ALONE = "control.disconnected"


class Failed(Exception):
    """A step did not hold; the text says what was expected and what was seen."""


class Sampler:
    """Notes the age of recovery points and what links carry, until it is stopped."""

    def __init__(self, lab, timeline):
        self.lab, self.timeline = lab, timeline
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        before = {}
        while not self.over.wait(SAMPLE_SECONDS):
            for machine in self.lab.seen_since(0).values():
                known = self.lab.machines.get(machine["name"])
                if known is not None:
                    known.note_registration(machine)
                if "rpo_seconds" in machine:
                    self.timeline.sample("rpo", machine["name"], float(machine["rpo_seconds"]), "seconds")
            for link in self.lab.links.values():
                at = time.monotonic()
                for direction, carried in link.carried().items():
                    if direction in before:
                        then, there = before[direction]
                        self.timeline.sample("throughput", direction, (carried - there) / (at - then), "bytes_per_second")
                    before[direction] = (at, carried)

    def stop(self):
        self.over.set()
        self.thread.join()


class Run:
    """One run of a scenario. `run()` returns whether all of it held."""

    def __init__(self, lab, name, described, folder, say=print, patience=1):
        """`patience`: how many times as long everything may take, on a machine that is slow or has other things to do."""
        self.lab, self.described, self.folder, self.say, self.patience = lab, described, folder, say, patience
        self.scale = lab.time_scale
        self.timeline = Timeline(folder, name, lab.topology.get("description", ""), time_scale=self.scale)
        self.began = time.time()
        self.deadline = time.monotonic() + seconds(described["time_limit"]) * patience

    def run(self):
        sampler = Sampler(self.lab, self.timeline)
        self.lab.watchers.append(self.watch)
        error = ""
        try:
            for step in self.described["steps"]:
                self.step(step)
        except Failed as why:
            error = str(why)
        finally:
            self.lab.watchers.remove(self.watch)
            sampler.stop()
            for machine in self.lab.machines.values():
                for boot in machine.boots:
                    at = boot.registered_at
                    self.timeline.delay(machine.name, boot.label, boot.powered_on - self.began, None if at is None else at - self.began)
            for failure in self.lab.events.failures:
                self.timeline.expectation("no guest fails to start or stop", False, failure)
            result = self.timeline.end(error)
        return result == "passed"

    def watch(self, machine, what):
        self.timeline.event(what, machine)

    # --- steps

    def step(self, step):
        began = time.monotonic()
        told = step["name"]
        within = seconds(step["within"]) * self.patience
        names = [name for name in self.lab.machines if fnmatch.fnmatchcase(name, step["for_machines"])] if "for_machines" in step else [""]
        if "for_machines" in step:
            told = told.replace("{machine}", names[0] if len(names) == 1 else f"each of {len(names)} machines")
        self.say(f"  {told}")
        try:
            with concurrent.futures.ThreadPoolExecutor(max_workers=len(names)) as pool:
                for done in [pool.submit(self.one, step, name, began + within) for name in names]:
                    done.result()
        except Exception as why:  # what nobody expected fails the step as well
            self.timeline.expectation(told, False, f"{why}")
            self.say(f"    FAILED: {why}")
            raise Failed(f"{told}: {why}") from why
        self.timeline.expectation(told, True, f"after {time.monotonic() - began:.1f} s")
        self.say(f"    held after {time.monotonic() - began:.1f} s")

    def one(self, step, machine, deadline):
        """For one machine, or for none."""
        deadline = min(deadline, self.deadline)
        for kind in ("command", "await", "ledger", "link", "host", "vm", "pass", "test_copy"):
            if kind in step:
                action = step[kind]
                if isinstance(action, dict):
                    action = {key: value.replace("{machine}", machine) if isinstance(value, str) else value for key, value in action.items()}
                subject = machine or self.subject_of(action)
                with self.timeline.phase(step["name"].replace("{machine}", machine), subject):
                    getattr(self, f"do_{kind}")(action, deadline)

    def subject_of(self, action):
        """Whose lane of the report it is in."""
        if not isinstance(action, dict):
            return ""
        named = [word for word in shlex.split(action.get("line", "")) if word in self.lab.machines]
        return action.get("machine") or action.get("host") or (named[0] if named else "")

    def until(self, what, holds, deadline):
        """Looks until it is so. Failed names what was awaited, and what was seen last."""
        while True:
            held, seen = holds()
            if held:
                return
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not in time; last seen: {seen}")
            time.sleep(LOOK_SECONDS)

    def do_command(self, command, deadline):
        words = shlex.split(command["line"])
        began, refusals = time.monotonic(), 0
        if words[:2] == ["machines", "test-failover"]:
            self.lab.machines[self.subject_of(command)].note_newest_point(self.lab.seen(self.subject_of(command)))
        while True:
            refusal = self.try_command(words, deadline, command.get("begun_is_enough", False), command.get("reported", False))
            if refusal is None:
                break
            if command.get("refused", "") not in refusal or "refused" not in command:
                raise Failed(f"homeward {command['line']}: {refusal}")
            refusals += 1
            self.timeline.refusal(self.subject_of(command), command["refused"], refusal.splitlines()[0])
            if "retry_every" not in command:
                return
            if time.monotonic() > deadline:
                raise Failed(f"homeward {command['line']}: still refused: {refusal.splitlines()[0]}")
            time.sleep(seconds(command["retry_every"]) / self.scale)
        if "retry_every" in command:
            if refusals < command.get("refusals_min", 0):
                raise Failed(f"homeward {command['line']}: refused {refusals} times before it was accepted, expected {command['refusals_min']}")
            self.timeline.acceptance(self.subject_of(command), command["refused"])
            took = time.monotonic() - began
            self.say(f"    {self.subject_of(command)}: refused {refusals} times, accepted after {took:.1f} s" +
                     (f", which stand for {took * self.scale / 60:.1f} min" if self.scale != 1 else ""))
        elif "refused" in command:
            raise Failed(f"homeward {command['line']}: accepted, expected {command['refused']}")

    def try_command(self, words, deadline, begun_is_enough, reported):
        """None, or what the command or its job was refused with."""
        try:
            if reported:
                self.timeline.answer("", f"homeward {shlex.join(words)}", self.lab.cli(*words).rstrip())
                return None
            said = self.lab.json(*words)
        except Refused as why:
            return why.text
        job = said.get("id") if isinstance(said, dict) else None
        if job is None or begun_is_enough:
            return None
        seen = {}
        def ended():
            seen.update(self.lab.try_json("jobs", "show", job))
            return seen.get("state", "Running") not in ("Running", "NotStarted"), self.progress(seen)
        self.until(f"homeward {' '.join(words)}", ended, deadline)
        if seen["state"] == "Succeeded":
            return None
        problem = seen.get("problem", {})
        return f"{problem.get('id', seen['state'])}: {problem.get('message', '')}"

    @staticmethod
    def progress(job):
        running = [task.get("name", "") for task in job.get("tasks", []) if task.get("state") == "Running"]
        return f"{job.get('state', 'no answer')}, {', '.join(running) or 'no task'} {job.get('progress', '')}".strip()

    def do_await(self, what, deadline):
        name = what["machine"]
        machine = self.lab.machines[name]
        began, look_from = time.time(), time.monotonic()
        records = machine.acknowledged_count()
        def holds():
            seen = self.lab.seen_since(look_from).get(name, {})
            problems = [issue["problem"]["id"] for issue in seen.get("health_errors", [])]
            if "registered" in what:
                return machine.has_registered(seen), f"{'connected' if seen.get('agent_connected') else 'not connected'}"
            if "protection_state" in what:
                return seen.get("protection_state") == what["protection_state"], seen.get("protection_state")
            if "problem" in what:
                return what["problem"] in problems, problems
            if "no_problem" in what:
                return bool(seen) and what["no_problem"] not in problems, problems
            if "no_job" in what:
                return bool(seen) and not seen.get("job_id"), seen.get("job_id", "no answer")
            if "new_point" in what:
                newest = seen.get("newest_point", {}).get("time")
                return bool(newest) and seconds_of(newest) > began, newest
            return machine.acknowledged_count() > records, f"{machine.acknowledged_count()} records"
        self.until(f"{name}: {' '.join(f'{key} {value}' for key, value in what.items() if key != 'machine')}", holds, deadline)

    def do_ledger(self, check, deadline):
        """A guest whose ledger is damaged adds nothing to it."""
        machine = self.lab.machines[check["machine"]]
        boot = machine.current
        self.until(f"{machine.name} goes on with its ledger", lambda: (boot.found() is not None, machine.last_words()), deadline)
        self.ledger_is_whole(machine, boot, int(check.get("lost_max", 0)))

    def ledger_is_whole(self, machine, boot, lost_max=0):
        """What its guest found, in a boot that has found something."""
        lost = max(0, boot.acknowledged_before - boot.found())
        self.timeline.event(f"{boot.found()} records of the ledger are intact, {lost} lost ({boot.label})", machine.name)
        if lost > lost_max:
            raise Failed(f"{machine.name} has {boot.found()} records of its ledger; {boot.acknowledged_before} were acknowledged before, so {lost} are lost")

    def do_test_copy(self, check, deadline):
        machine = self.lab.machines[check["machine"]]
        copy = machine.copies[-1] if machine.copies else None
        if copy is None:
            raise Failed(f"no test failover has started a copy of {machine.name}")
        if "boots" in check:
            self.until(f"the copy of {machine.name} goes on with its ledger", lambda: (copy.found() is not None, last_words(copy)), deadline)
            self.ledger_is_whole(machine, copy)
        elif "alone" in check:
            self.until(f"the agent in the copy of {machine.name} says that it is alone", lambda: (AGENT_IS_ALONE in copy.guest.console(), last_words(copy)),
                       deadline)
            self.is_unheard(machine)
        else:
            def left():
                there = [name for name in self.lab.in_azure() if machine.owns_copy(name)]
                return ["a running guest"] * ("test" in machine.running) + ["the record"] * ("test_vm" in self.lab.seen(machine.name)) + there
            self.until(f"nothing is left of the copy of {machine.name}", lambda: (not (seen := left()), ", ".join(seen)), deadline)

    def is_unheard(self, machine):
        """No way leads out of the copy's network, and nobody noticed it."""
        for site in self.lab.sites.values():
            if self.lab.isolated.reaches(site.gateway):
                raise Failed(f"the copy of {machine.name} reaches site {site.name}")
        seen = self.lab.seen(machine.name)
        if copies := seen.get("refused_copies"):
            raise Failed(f"the configuration server was reached by a copy of {machine.name}: {copies}")
        if not machine.has_registered(seen):
            raise Failed(f"the agent of {machine.name} itself is not connected any more")

    def do_link(self, change, _deadline):
        link = self.lab.link_between(change["site"], change["other_site"])
        if "cut" in change:
            link.cut()
        elif "mend" in change:
            link.mend()
        else:
            link.set(change["quality"], change["quality"])

    def do_host(self, change, _deadline):
        host = self.lab.hosts[change["host"]]
        if "kill" in change:
            host.kill()
        elif "destroy" in change:
            host.destroy()
        elif "unreachable" in change:
            self.lab.vcenters[host.name].go_away()
        else:
            self.lab.lasting(host.start)
            if host.name in self.lab.vcenters:
                self.lab.vcenters[host.name].come_back()

    def do_vm(self, change, _deadline):
        machine = self.lab.machines[change["machine"]]
        if "power_on" in change:
            machine.power_on_at_home()
        elif "power_off" in change:
            machine.power_off_at_home()
        else:
            machine.delete_at_home()

    def do_pass(self, duration, _deadline):
        """Time passes; there is nothing to wait for."""
        time.sleep(seconds(duration) / self.scale)


def folder_name(scenario):
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%d-%H%M%S}-{scenario}"
