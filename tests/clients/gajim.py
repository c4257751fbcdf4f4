"""Gajim, as an ordinary user (it refuses root) on a screen of its own, driven by its links and the keyboard."""

import json
import os
import pwd
import sqlite3
import subprocess

from picture import coloured
from screen import Screen
from world import until

# As Gajim makes it at its first start.
SETTINGS = """CREATE TABLE settings (name TEXT UNIQUE, settings TEXT);
CREATE TABLE account_settings (account TEXT UNIQUE, settings TEXT);
INSERT INTO settings VALUES ('soundevents', '{}'), ('status_presets', '{}'), ('proxies', '{}'), ('plugins', '{}'),
  ('workspaces', '{"6ac24b4e-3f3f-4f39-a0a8-0a4e2a3f7f66": {}}');
PRAGMA user_version=5;"""

# Buttons below the list of services, and the box that says yes to leaving.
REGISTER, COMMAND, SURE = (480, 580), (380, 580), (401, 249)


class Gajim:
    """A user in Gajim."""

    name = "gajim"
    shows_names = True
    # It asks rooms for no history of their own and wants an archive (MAM), which Portway has not yet.
    shows_history = False
    chats_with_services = True
    rich = True
    # Gajim 1.7 knows no answers, no reactions and no retractions.
    answers = reacts = takes_back = False
    sends = False
    packages = ["gajim", "dbus-daemon", "xvfb", "xdotool", "openbox", "imagemagick", "pngquant", "util-linux"]

    def __init__(self, world, processes, folder, shots, user):
        self.world, self.shots, self.user, self.folder = world, shots, user, folder
        self.chat, self.opened = None, set()
        self.config = os.path.join(folder, "gajim")
        os.makedirs(self.config)
        self.configure()
        self.screen = Screen(processes)
        # The bus is ours too, so that a second start of Gajim finds the first.
        self.env = {**self.screen.env, "HOME": folder, "XDG_RUNTIME_DIR": folder, "GDK_BACKEND": "x11",
                    "XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder, "XDG_CACHE_HOME": folder,
                    "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/bus"}
        nobody = pwd.getpwnam("nobody")
        for path, folders, files in os.walk(folder):
            for name in [path, *(os.path.join(path, name) for name in folders + files)]:
                os.chown(name, nobody.pw_uid, nobody.pw_gid)
        processes.start(["openbox"], "openbox", env=self.screen.env)
        bus = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={folder}/bus"]
        processes.start(as_nobody(*bus), "dbus", env=self.env, cwd=folder)
        until("the bus runs", lambda: os.path.exists(f"{folder}/bus"))
        processes.start(as_nobody("gajim", "-c", self.config, "-v"), "gajim", env=self.env, cwd=folder)

    def configure(self):
        """Writes the account down, as Gajim itself does after its first dialogue."""
        app = {"plugins_update_check": False, "check_for_update": False, "show_trayicon": False, "remote_control": True,
               "mainwin_width": 1000, "mainwin_height": 640, "show_notifications": False, "sounds_on": False, "use_keyring": False}
        account = {"name": self.user, "hostname": self.world.host, "account_label": self.user, "active": True,
                   "password": self.world.password, "savepass": True, "use_custom_host": True, "enable_gssapi": False,
                   "custom_host": "127.0.0.1", "custom_port": self.world.facts["c2s"], "custom_type": "PLAIN",
                   "use_plain_connection": True, "confirm_unencrypted_connection": False, "autoconnect": True}
        base = sqlite3.connect(os.path.join(self.config, "settings.sqlite"))
        base.executescript(SETTINGS)
        base.execute("INSERT INTO settings VALUES ('app', ?)", [json.dumps(app)])
        base.execute("INSERT INTO account_settings VALUES ('home', ?)", [json.dumps({"account": account})])
        base.commit()
        base.close()

    def login(self):
        self.screen.window("Gajim")
        until("Gajim is online", lambda: "online" in self.remote("get_status", "home"))

    def remote(self, method, *args):
        """A call of Gajim's remote control."""
        call = ["gdbus", "call", "--session", "--dest", "org.gajim.Gajim", "--object-path", "/org/gajim/dbus/RemoteObject"]
        call += ["--method", f"org.gajim.dbus.RemoteInterface.{method}", *args]
        done = subprocess.run(as_nobody(*call), env=self.env, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout

    def link(self, jid, what):
        """Opens a link. Gajim 1.7 takes those of the command line literally, without any percent-encoding."""
        args = as_nobody("gajim", "-c", self.config, f"xmpp:{jid}?{what}")
        subprocess.run(args, env=self.env, cwd=self.folder, capture_output=True, timeout=60, check=False)

    def text(self):
        """What Gajim has in its archive of this chat, and in its roster; how it looks, pictures show."""
        rows = self.archive("contact_name, message, error")
        lines = [str(part) for row in rows for part in row if part]
        return "\n".join([*lines, self.remote("list_contacts", "home")])

    def archive(self, columns):
        """What Gajim keeps of this chat, line by line."""
        path = os.path.join(self.config, "logs.db")
        if not os.path.exists(path):
            return []
        base = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        query = f"SELECT {columns} FROM logs JOIN jids USING (jid_id) WHERE jid = ? ORDER BY log_line_id"
        rows = base.execute(query, [self.chat]).fetchall()
        base.close()
        return rows

    def add(self, jid):
        self.link(jid, "roster")
        self.screen.window("Add Contact")
        self.screen.settle()
        # The address, and then what Gajim has found out about it.
        for _ in range(2):
            self.screen.keys("Return")
            self.screen.settle()

    def open(self, jid):
        self.chat = jid
        if "@" not in jid:
            # The dialogue would offer its users too, and takes a service for a room.
            facts = f"'account': <'home'>, 'jid': <'{jid}'>, 'type': <'contact'>, 'select': <true>"
            self.activate("add-chat", f"{{{facts}, '__types': <{{'jid': 'JID'}}>}}", "/window/1")
            self.screen.settle()
            return
        self.link(jid, "message")
        if jid not in self.opened:
            self.screen.window("Start / Join Chat")
            self.screen.settle()
            self.screen.keys("Return")
        self.opened.add(jid)
        self.screen.settle()

    def write(self, text):
        # The field to write in, at the foot of the window, has not always the focus.
        self.screen.click(620, 611)
        self.screen.type(text)
        self.screen.keys("Return")

    def join(self, jid):
        self.open(jid)
        # What Gajim has found out about the room, with a button to join.
        self.screen.settle()
        self.screen.shot(os.path.join(self.shots, f"{self.name}-join.png"))
        self.screen.keys("Return")
        self.screen.settle()

    def leave(self, _jid):
        self.screen.keys("ctrl+w")
        self.screen.settle()
        self.screen.keys("Return")

    def shows_error(self, text):
        return text in self.text()

    def shot(self, name):
        self.screen.settle()
        self.screen.shot(os.path.join(self.shots, f"{self.name}-{name}.png"))

    def settle(self):
        self.screen.settle()

    def activate(self, action, parameter, window=""):
        """What an entry of Gajim's menus does."""
        call = ["gdbus", "call", "--session", "--dest", "org.gajim.Gajim", "--object-path", f"/org/gajim/Gajim{window}"]
        call += ["--method", "org.gtk.Actions.Activate", action, f"[<{parameter}>]", "{}"]
        subprocess.run(as_nobody(*call), env=self.env, capture_output=True, timeout=30, check=False)

    def services(self, gateway):
        """Opens the list of services, with the gateway chosen: the list jumps to what is typed."""
        self.activate("home-services", "'home'")
        self.screen.window("Browsing")
        self.screen.settle(2)
        self.screen.click(500, 510)
        self.screen.type(gateway)
        self.screen.settle(0.5)
        self.screen.keys("Escape")
        self.screen.settle(0.5)

    def leave_services(self):
        for _ in range(2):
            self.screen.keys("Escape")
            self.screen.settle(0.5)

    def discover(self, gateway):
        self.services(gateway)
        self.shot("discover")
        # Only where a row is chosen that offers it, the button opens this window.
        self.screen.click(*REGISTER)
        self.screen.window("^Register$")
        self.leave_services()
        return "Discover Services"

    def register(self, gateway, name):
        self.services(gateway)
        self.screen.click(*REGISTER)
        self.screen.window("^Register$")
        self.screen.settle()
        self.screen.click(570, 291)
        self.screen.type(name)
        self.shot("register")
        self.screen.click(733, 499)
        self.screen.window("Registration successful")
        self.shot("registered")
        self.leave_services()
        return "Register"

    def run(self, gateway, command, shot, fill):
        """Runs an ad-hoc command of the gateway by the window of its own."""
        self.services(gateway)
        self.screen.click(*COMMAND)
        self.screen.window("Command List")
        self.screen.settle()
        self.screen.click(500, 240)
        self.screen.type(command)
        self.screen.settle(0.5)
        self.screen.keys("Return")
        self.screen.window("Stage")
        self.screen.settle()
        fill()
        self.shot(shot)
        self.screen.click(728, 549)
        self.screen.window("Completed")
        self.shot(f"{shot}-done")
        self.leave_services()
        return "Command"

    def find(self, gateway, typed, jid):
        def fill():
            self.screen.click(588, 231)
            self.screen.type(typed)
            # Into the list of contacts, please.
            self.screen.click(471, 287)

        return self.run(gateway, "Start", "find", fill)

    def unregister(self, gateway):
        return self.run(gateway, "Unregister", "unregister", lambda: self.screen.click(*SURE))

    def has_contact(self, jid):
        return f"'jid': <'{jid}'>" in self.remote("list_contacts", "home")

    lists = has_contact

    def remove(self, jid):
        self.activate("home-remove-contact", f"'{jid}'")
        self.screen.window("^Remove (Contact|Transport)$")
        self.screen.settle()
        self.shot("remove")
        self.screen.click(636, 412)
        self.screen.settle()

    def accept(self, jid):
        """The page of the account has who asks; then Gajim wants to add them."""
        self.screen.click(34, 602)
        self.screen.settle()
        self.shot("asks")
        self.screen.click(830, 450)
        self.screen.settle(2)
        if self.lists(jid) and not self.screen.run("xdotool", "search", "--onlyvisible", "--name", "Add Contact"):
            return
        self.screen.window("Add Contact")
        # Gajim 1.7 takes the gateway for a room, and says so in place of the next page.
        if "@" in jid:
            for _ in range(2):
                self.screen.keys("Return")
                self.screen.settle()
        else:
            self.screen.keys("Escape")
        self.screen.settle()

    def sees_face(self, jid):
        """The picture in the list of chats and above the chat."""
        until("Gajim shows her picture in the list and above the chat", lambda: self.dots() > 1500)
        return f"{self.dots()} dots of its colour"

    def dots(self):
        """How many dots of the screen have the picture's colour."""
        path = os.path.join(self.folder, "face.png")
        self.screen.run("import", "-window", "root", path)
        return coloured(path)

    # What is more than text.

    def formats(self, strong, quoted):
        lines = [line for (text,) in self.archive("message") for line in (text or "").splitlines()]
        # How it looks, the pictures show.
        return any(f"*{strong}*" in line for line in lines) and f"> {quoted}" in lines and "as signs in its archive"

    def corrected(self, old, new):
        """One line, which has the new text and remembers the first."""
        lines = [(text, json.loads(more or "{}")) for text, more in self.archive("message, additional_data")]
        kept = [more.get("corrected", {}).get("original_text") for text, more in lines if text == new]
        return kept == [old] and old not in [text for text, _ in lines]

    def answered(self, text, quoted):
        lines = [line for (line,) in self.archive("message")]
        return f"> {quoted}\n{text}" in lines and "a quote in the text: it knows no answers"

    def reacted(self, text, key):
        lines = [line for (line,) in self.archive("message") if line]
        return any(key in line for line in lines) and "a line in words: it knows no reactions"

    def retracted(self, text):
        lines = [line for (line,) in self.archive("message")]
        return text in lines and lines[-1] != text and f"the line stays, and “{lines[-1]}”"

    def sees_picture(self):
        dots = self.dots()
        return dots > 10_000 and f"{dots} dots of its colour in the chat"

    def correct(self, old, new):
        self.screen.click(620, 611)
        self.screen.keys("ctrl+Up")
        self.screen.settle()
        self.screen.keys("ctrl+a")
        self.screen.type(new)
        self.screen.keys("Return")

    def close(self):
        """Nothing that [`Processes`] does not do."""


def as_nobody(*args):
    """The same, without the rights of root."""
    if os.getuid() != 0:
        return list(args)
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--", *args]
