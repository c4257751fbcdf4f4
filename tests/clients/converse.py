"""Converse.js in Chromium, over the XMPP server's websocket, driven by WebDriver."""

import base64
import http.server
import json
import os
import subprocess
import threading
import urllib.request

from screen import optimise
from world import Failed, until

VERSION = "14.0.0"
"""The version of Converse.js that this is written against."""

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Converse.js</title>
<link rel="stylesheet" href="/dist/converse.min.css"></head><body class="converse-fullscreen">
<script src="/dist/converse.min.js"></script><script>
const facts = JSON.parse(atob("FACTS"));
converse.initialize({...facts, view_mode: "fullscreen", auto_login: true, authentication: "login",
  discover_connection_methods: false, auto_reconnect: false, persistent_store: "sessionStorage", muc_domain: null,
  allow_non_roster_messaging: true, show_desktop_notifications: false, play_sounds: false, theme: "classic",
  muc_mention_autocomplete_min_chars: 3, assets_path: "/dist/", i18n: "en"});
</script></body></html>"""

# WebDriver's name of the Enter key.
ENTER = "\ue007"


class Converse:
    """A user in Converse.js."""

    name = "converse"
    shows_names = True
    packages = ["chromium", "chromium-driver", "npm", "pngquant", "imagemagick"]

    def __init__(self, world, processes, folder, shots, user):
        self.shots, self.chat = shots, None
        dist = os.path.join(library(), "node_modules", "converse.js", "dist")
        facts = {"jid": f"{user}@{world.host}", "password": world.password, "websocket_url": world.facts["websocket"]}
        self.server = serve(dist, json.dumps(facts))
        page = f"http://127.0.0.1:{self.server.server_address[1]}/"
        log = os.path.join(folder, "chromedriver.log")
        processes.start(["chromedriver", "--port=0", f"--log-path={log}"], "chromedriver",
                        stdout=open(os.path.join(folder, "port"), "wb"))
        self.base = "http://127.0.0.1:" + until("chromedriver says its port", lambda: port(folder))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--window-size=1000,660", f"--user-data-dir={folder}/profile"]
        wanted = {"alwaysMatch": {"goog:chromeOptions": {"args": flags}, "goog:loggingPrefs": {"browser": "ALL"}}}
        answer = self.http("POST", "/session", {"capabilities": wanted})
        self.base += f"/session/{answer['sessionId']}"
        self.http("POST", "/url", {"url": page})
        until("Converse.js is online", lambda: self.js(
            "return !!(window.converse?.env && document.querySelector('converse-controlbox, #converse-roster'))"
            " && /Contacts|Chat ?rooms|Groupchats/i.test(document.body.innerText)"))

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
        """Runs a script that may wait, with Converse.js's plugin interface as `_converse`."""
        wrapped = f"""const done = arguments[arguments.length - 1], args = [...arguments].slice(0, -1);
            (async () => {{ const _converse = window.testConverse; {script} }})()
            .then(() => done(null), (e) => done(String(e)));"""
        error = self.http("POST", "/execute/async", {"script": wrapped, "args": list(args)})
        if error:
            raise Failed(f"Converse.js: {error}")

    def element(self, css):
        found = self.http("POST", "/element", {"using": "css selector", "value": css})
        return next(iter(found.values()))

    def text(self):
        return self.js("return document.body.innerText")
