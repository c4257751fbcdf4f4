"""Profanity, in tmux, in xterm for the pictures."""

import os
import subprocess

from screen import Screen
from world import until


class Profanity:
    """A user in Profanity."""

    name = "profanity"
    # It shows the name that the user has given to a contact, and ignores the one that contacts give to themselves.
    shows_names = False
    shows_history = True
    chats_with_services = True
    rich = False
    packages = ["profanity", "tmux", "xterm", "xvfb", "imagemagick", "pngquant"]

    def __init__(self, world, processes, folder, shots, user):
        self.world, self.shots = world, shots
        self.jid = f"{user}@{world.host}"
        self.socket = os.path.join(folder, "tmux")
        home = os.path.join(folder, "home")
        config = os.path.join(home, ".config", "profanity")
        os.makedirs(config)
        with open(os.path.join(config, "profrc"), "w", encoding="utf-8") as file:
            file.write("[ui]\nsplash=false\nwins.autotidy=false\n[chatstates]\nenabled=true\n[logging]\nchlog=true\n")
        self.screen = Screen(processes, "904x510")
        env = {**self.screen.env, "HOME": home, "TERM": "xterm-256color"}
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMUX"):
            env.pop(name, None)
        log = os.path.join(folder, "profanity-debug.log")
        inner = ["tmux", "-S", self.socket, "-f", "/dev/null", "new-session", "-x", "112", "-y", "32", "-s", "p"]
        inner += [f"profanity -l DEBUG -f {log}", ";", "set", "-g", "status", "off"]
        outer = ["xterm", "-fa", "DejaVu Sans Mono", "-fs", "10", "-geometry", "112x32+0+0", "-bw", "0", "-b", "2"]
        outer += ["-bg", "#1b1b1b", "-fg", "#e4e4e4", "+sb", "-e", *inner]
        processes.start(outer, "xterm", env=env)
        until("Profanity starts", lambda: "Profanity" in self.text())

    def login(self):
        self.command(f"/connect {self.jid} server 127.0.0.1 port {self.world.facts['c2s']} tls disable")
        until("Profanity asks for the password", lambda: "password" in self.text().lower())
        self.command(self.world.password)
        until("Profanity is online", lambda: "logged in successfully" in self.text())

    def tmux(self, *args):
        done = subprocess.run(["tmux", "-S", self.socket, *args], capture_output=True, text=True, check=False)
        return done.stdout

    def command(self, text):
        self.tmux("send-keys", "-t", "p", "-l", text)
        self.tmux("send-keys", "-t", "p", "Enter")

    def text(self):
        return self.tmux("capture-pane", "-t", "p", "-p")

    def add(self, jid):
        self.command(f"/roster add {jid}")
        self.command(f"/sub request {jid}")

    def open(self, jid):
        self.command(f"/msg {jid}")
        self.settle()

    def write(self, text):
        self.command(text)

    def join(self, jid):
        self.command(f"/join {jid}")
        until("Profanity is in the room", lambda: "You have joined the room" in self.text())

    def leave(self, _jid):
        self.command("/close")

    def shows_error(self, text):
        return text in " ".join(self.text().split())

    def shot(self, name):
        self.screen.settle(0.5)
        self.screen.shot(os.path.join(self.shots, f"{self.name}-{name}.png"))

    def settle(self):
        self.screen.settle(0.3)

    def console(self, command, *shown):
        """Gives a command in the console, and waits for what is to be shown."""
        self.command("/win 1")
        self.command("/clear")
        self.settle()
        self.command(command)
        for text in shown:
            until(f"Profanity shows “{text}” upon {command}", lambda: self.shows_error(text))

    def form(self, command, gateway, answers, shot):
        """Gives an ad-hoc command and answers its form, each field by its number; what comes of it is to be looked for."""
        # Outcomes go to the chat with whom they are from, where there is one; there is one as soon as they say anything.
        self.command(f"/msg {gateway}")
        self.command("/clear")
        self.console(f"/cmd exec {command} {gateway}", "/form submit")
        for field, answer in answers:
            self.command(f"/field{field} {answer}")
            until("Profanity takes the field", lambda: self.text().count(f"[field{field}]") == 2)
        self.shot(shot)
        self.command("/form submit")

    def outcome(self, gateway, text):
        self.settle()
        self.command(f"/msg {gateway}")
        until(f"Profanity shows “{text}”", lambda: self.shows_error(text))

    def discover(self, gateway):
        self.console("/disco items", gateway)
        self.console(f"/disco info {gateway}", "Matrix gateway matrix gateway")
        self.shot("discover")
        return "/disco"

    def register(self, gateway, name):
        self.console(f"/cmd list {gateway}", "register", "start-chat", "unregister")
        self.form("register", gateway, [(1, f'"{name}"')], "register")
        self.outcome(gateway, "You are registered with the Matrix gateway.")
        return "/cmd"

    def roster(self):
        """The lines of the roster."""
        # In a window that is wide enough for them: the console is not, beside its list of contacts.
        self.command("/roster hide")
        self.console("/roster", "Roster: jid")
        lines = self.text().partition("Roster: jid")[2].splitlines()
        self.command("/roster show")
        return lines

    def has_contact(self, jid):
        return any(jid in line.split() and "- none" not in line for line in self.roster())

    def lists(self, jid):
        return any(jid in line.split() for line in self.roster())

    def remove(self, jid):
        self.command(f"/roster remove {jid}")

    def accept(self, jid):
        self.command(f"/sub allow {jid}")
        self.command(f"/sub request {jid}")

    def find(self, gateway, typed, jid):
        # The second field: into the list of contacts, please.
        self.form("start-chat", gateway, [(1, typed), (2, "on")], "find")
        # The answer is a form too, with the address in its only field.
        until("Profanity shows the address", lambda: f"Write to: {jid}" in self.text())
        self.shot("found")
        self.command("/form cancel")
        return "/cmd"

    def sees_face(self, jid):
        """It has no pictures, and knows no name but that in the roster."""
        line = next(line for line in self.roster() if jid in line)
        self.command(f"/msg {jid}")
        return f"no pictures here; in the roster: {' '.join(line.split()[2:])}"

    def unregister(self, gateway):
        self.form("unregister", gateway, [(1, "on")], "unregister")
        self.outcome(gateway, "You are not registered any more")
        return "/cmd"

    def close(self):
        self.command("/quit")
        self.tmux("kill-server")
