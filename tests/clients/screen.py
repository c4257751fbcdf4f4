"""Processes of ours, and a screen in memory."""

import os
import signal
import subprocess
import time

from world import until


class Processes:
    """What was started, to be ended in the reverse order, by pid and nothing else."""

    def __init__(self, log):
        self.log = log
        self.running = []

    def start(self, args, name, **options):
        """Starts a program whose output goes to a log of its name."""
        with open(os.path.join(self.log, f"{name}.log"), "ab") as log:
            options = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL, **options}
            child = subprocess.Popen(args, start_new_session=True, **options)
        self.running.append(child)
        return child

    def end(self):
        for child in reversed(self.running):
            end(child)
        self.running.clear()


def end(child):
    """Ends a child and the group that it leads, which is ours alone; waits for all of it, at most 20 s."""
    for sign, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        deadline = time.monotonic() + patience
        try:
            os.killpg(child.pid, sign)
            while time.monotonic() < deadline:
                child.poll()
                os.killpg(child.pid, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            return


class Screen:
    """An X server without a screen."""

    def __init__(self, processes, size="1000x640"):
        number, write = os.pipe()
        args = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x24", "-nolisten", "tcp", "-noreset", "-dpi", "96"]
        processes.start(args, "xvfb", pass_fds=[write])
        os.close(write)
        with os.fdopen(number) as said:
            self.display = ":" + said.readline().strip()
        self.env = {**os.environ, "DISPLAY": self.display, "LC_ALL": "C.UTF-8", "TZ": "UTC", "NO_AT_BRIDGE": "1"}
        until("the screen answers", lambda: self.run("xdotool", "getdisplaygeometry"))

    def run(self, *args):
        """Runs a program on this screen to its end; returns what it printed."""
        done = subprocess.run(args, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout

    def shot(self, path):
        self.run("import", "-window", "root", path)
        optimise(path)

    def type(self, text):
        self.run("xdotool", "type", "--delay", "15", text)

    def keys(self, *keys):
        self.run("xdotool", "key", "--delay", "60", *keys)

    def click(self, x, y):
        self.run("xdotool", "mousemove", str(x), str(y), "click", "1")

    def window(self, title):
        """Waits for a window whose title holds this, and returns its id."""
        find = lambda: self.run("xdotool", "search", "--onlyvisible", "--name", title).split()
        return until(f"a window “{title}”", find)[-1]

    @staticmethod
    def settle(seconds=1.0):
        """Lets a picture become complete. What is asserted is waited for elsewhere."""
        time.sleep(seconds)


def optimise(path):
    """Makes a picture small enough for a repository."""
    subprocess.run(["convert", path, "-resize", "1000x>", "-strip", path], check=False)
    subprocess.run(["pngquant", "--force", "--ext", ".png", "--speed", "1", "64", path], check=False)
