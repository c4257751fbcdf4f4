"""Converse.js in Chromium, over the XMPP server's websocket, driven by WebDriver."""

import base64
import functools
import http.server
import json
import os
import subprocess
import threading
import urllib.error
import urllib.request

from screen import optimise
from world import Failed, until

VERSION = "14.0.0"
"""The version of Converse.js that this is written against."""

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Converse.js</title><link rel="icon" href="/images/favicon.ico">
<link rel="stylesheet" href="/converse.min.css"></head><body class="converse-fullscreen">
<div id="conversejs-bg"></div><script type="module" src="/converse.min.js"></script><script type="module">
converse.plugins.add("portway-test", { initialize() { window.testApi = this._converse.api; } });
converse.initialize({ ...FACTS, view_mode: "fullscreen", auto_login: true, authentication: "login",
  discover_connection_methods: false, auto_reconnect: false, persistent_store: "sessionStorage",
  allow_non_roster_messaging: true, show_desktop_notifications: false, play_sounds: false, muc_history_max_stanzas: 50, assets_path: "/",
  auto_join_on_invite: true, whitelisted_plugins: ["portway-test"], i18n: "en", loglevel: "debug" });
</script></body></html>"""

# WebDriver's name of the Enter key.
ENTER = "\ue007"


class Converse:
    """A user in Converse.js."""

    name = "converse"
    shows_names = True
    shows_history = True
    packages = ["chromium", "chromium-driver", "npm", "pngquant", "imagemagick"]

    def __init__(self, world, processes, folder, shots, user):
        self.shots, self.nick = shots, user
        facts = {"jid": f"{user}@{world.host}", "password": world.password, "websocket_url": world.facts["websocket"]}
        self.server = serve(library(), PAGE.replace("FACTS", json.dumps(facts)).encode())
        log = os.path.join(folder, "chromedriver.log")
        said = os.path.join(folder, "chromedriver.out")
        with open(said, "wb") as out:
            processes.start(["chromedriver", "--port=0", f"--log-path={log}"], "chromedriver", stdout=out)
        self.base = f"http://127.0.0.1:{until('chromedriver says its port', lambda: port(said))}"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                 "--disable-background-networking", "--disable-component-update", "--window-size=1000,660",
                 f"--user-data-dir={folder}/profile"]
        wanted = {"alwaysMatch": {"goog:chromeOptions": {"args": flags}, "goog:loggingPrefs": {"browser": "ALL"}}}
        session = self.http("POST", "/session", {"capabilities": wanted})["sessionId"]
        self.base += f"/session/{session}"
        self.http("POST", "/url", {"url": f"http://127.0.0.1:{self.server.server_address[1]}/"})

    def login(self):
        until("Converse.js is online", lambda: self.js("return window.testApi?.connection?.connected?.() === true"))
        self.api("await api.waitUntil('rosterContactsFetched');")

    def http(self, method, path, body=None):
        """One command of WebDriver."""
        data = None if body is None else json.dumps(body).encode()
        ask = urllib.request.Request(self.base + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(ask, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Failed(f"Chromium: {error.read().decode(errors='replace')[:600]}") from error

    def js(self, script, *args):
        return self.http("POST", "/execute/sync", {"script": script, "args": list(args)})

    def api(self, script, *args):
        """Runs a script that may wait, with the interface for plugins as `api` and the arguments as `args`."""
        wrapped = f"""const args = [...arguments], done = args.pop(), api = window.testApi;
            (async () => {{ {script} }})().then(() => done(null), (error) => done(String(error)));"""
        error = self.http("POST", "/execute/async", {"script": wrapped, "args": list(args)})
        if error:
            raise Failed(f"Converse.js: {error}")

    def text(self):
        # One line of the page may be several elements; what is asked for is one.
        return self.js("return document.querySelector('converse-chats, #conversejs').innerText")

    def add(self, jid):
        self.api("await api.contacts.add({ jid: args[0] }, true, true);", jid)

    def open(self, jid):
        self.api("await api.chats.open(args[0], {}, true);", jid)

    def write(self, text):
        visible = "[...document.querySelectorAll('textarea.chat-textarea')].find((area) => area.offsetParent)"
        until("Converse.js shows a field to write in", lambda: self.js(f"return !!{visible}"))
        element = next(iter(self.js(f"return {visible}").values()))
        self.http("POST", f"/element/{element}/value", {"text": text + ENTER})

    def join(self, jid):
        self.api("await api.rooms.open(args[0], { nick: args[1] }, true);", jid, self.nick)

    def leave(self, jid):
        self.api("const room = await api.rooms.get(args[0]); await room.close();", jid)

    def shows_error(self, text):
        return text in " ".join(self.text().split())

    def shot(self, name):
        path = os.path.join(self.shots, f"{self.name}-{name}.png")
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.http("GET", "/screenshot")))
        optimise(path)
        with open(os.path.join(self.shots, "logs", "converse-browser.log"), "a", encoding="utf-8") as file:
            for entry in self.http("POST", "/se/log", {"type": "browser"}):
                file.write(f"{entry['level']} {entry['message']}\n")

    def close(self):
        try:
            self.http("DELETE", "")
        except Failed:
            pass
        self.server.shutdown()


def port(path):
    """The port that chromedriver has chosen."""
    with open(path, encoding="utf-8") as file:
        said = file.read()
    return said.rpartition("successfully on port ")[2].partition(".")[0]


def library():
    """The folder with Converse.js, which is fetched once."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(cache, "portway", f"converse-{VERSION}")
    dist = os.path.join(folder, "node_modules", "converse.js", "dist")
    if not os.path.exists(dist):
        os.makedirs(folder, exist_ok=True)
        install = ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run([*install, f"converse.js@{VERSION}"], check=True, stdout=subprocess.DEVNULL)
    return dist


def serve(folder, page):
    """A web server on loopback for the page and the library."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        """Silent, and with one page that is no file."""

        def do_GET(self):
            if self.path != "/":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_args):
            pass

    handler = functools.partial(Handler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
