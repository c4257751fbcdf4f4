#!/usr/bin/env python3
"""Plays stories in real XMPP clients against the running demo. See README.md."""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from converse import Converse  # noqa: E402
from gajim import Gajim  # noqa: E402
from manners import Manners  # noqa: E402
from profanity import Profanity  # noqa: E402
from rich import Rich  # noqa: E402
from screen import Processes  # noqa: E402
from story import Story  # noqa: E402
from world import Failed, World, until  # noqa: E402

CLIENTS = {"profanity": (Profanity, "romeo"), "converse": (Converse, "juliet"), "gajim": (Gajim, "nurse")}
STORIES = {"manners": Manners, "story": Story, "rich": Rich}


def demo(processes, logs, server):
    """Starts the demo; returns what it says about itself."""
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    child = processes.start(["cargo", "xtask", "demo", "--stay", "--server", server], "demo", cwd=root)
    log = os.path.join(logs, "demo.log")
    begun = os.path.getsize(log)

    def ready():
        with open(log, encoding="utf-8") as file:
            file.seek(begun)
            text = file.read()
        if child.poll() is not None:
            raise Failed(f"the demo ended:\n{text[-3000:]}")
        return re.search(r"^The same for programs: (.*)$", text, re.MULTILINE)

    # The first time it may have to install and build everything.
    path = until("the demo runs", ready, patience=1800)[1]
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def start(processes, logs, server, tries=3):
    """Starts the demo, again if its own conversation misses a message (docs/src/developer/tests.md); says so."""
    for left in reversed(range(tries)):
        try:
            return demo(processes, logs, server)
        except Failed as error:
            processes.end()
            if not left:
                raise
            print(f"once more: {str(error)[:200]}", file=sys.stderr)
    raise AssertionError("no try")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--server", choices=["prosody", "ejabberd"], default="prosody")
    options.add_argument("--clients", default=",".join(CLIENTS), help="names, separated by commas")
    options.add_argument("--stories", default=",".join(STORIES), help="names, separated by commas")
    options.add_argument("--out", default="clients-out", help="where screenshots and logs go")
    options.add_argument("--demo", metavar="FILE", help="the demo.json of a demo that already runs")
    options = options.parse_args()
    names, stories = options.clients.split(","), options.stories.split(",")
    for asked, known, what in [(names, CLIENTS, "client"), (stories, STORIES, "story")]:
        if unknown := [name for name in asked if name not in known]:
            print(f"there is no {what} {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
            return 64
    shots = os.path.abspath(options.out)
    logs = os.path.join(shots, "logs")
    os.makedirs(logs, exist_ok=True)
    failures = []
    # As an exception, so that what was started is ended then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    servers = Processes(logs)
    try:
        if options.demo:
            with open(options.demo, encoding="utf-8") as file:
                world = World(json.load(file))
        else:
            world = World(start(servers, logs, options.server))
        for name in names:
            for story in stories:
                failures += play(name, STORIES[story], world, shots, logs)
    except Failed as error:
        failures.append(str(error))
        print(f"FAILED: {error}", file=sys.stderr)
    finally:
        servers.end()
    print(f"{len(failures)} failed" if failures else "everything was seen")
    return 1 if failures else 0


def play(name, story, world, shots, logs):
    """One story in one client, which is started for it; returns what failed."""
    kind, user = CLIENTS[name]
    failures = []

    def report(scene, error, seen=None):
        good = f"ok ({seen})" if seen else "ok"
        print(f"{name:10} {scene:10} {good if error is None else 'FAILED: ' + error}", flush=True)
        if error is not None:
            failures.append(f"{name} {scene}: {error}")

    processes = Processes(logs)
    folder = tempfile.mkdtemp(prefix="pwc-")
    os.chmod(folder, 0o755)
    client = None
    try:
        client = kind(world, processes, folder, shots, user)
        try:
            client.login()
        except Failed as error:
            client.shot("login-failed")
            report("login", str(error))
        else:
            report("login", None)
            story(world, client, user, report).play()
    except (Failed, OSError, subprocess.SubprocessError) as error:
        report("start", str(error))
    except Exception:  # A fault of this script: say where, and go on to the next client.
        report("script", traceback.format_exc())
    finally:
        if client is not None:
            client.close()
        processes.end()
        shutil.rmtree(folder, ignore_errors=True)
    return failures


if __name__ == "__main__":
    sys.exit(main())
