"""Converse.js in Chromium, over the XMPP server's websocket, driven by WebDriver."""

import base64
import functools
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

from picture import is_face
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
    # What a bare domain says it takes for news of the server (headlines), and shows no chat.
    chats_with_services = False
    rich = answers = reacts = sends = takes_back = True
    packages = ["chromium", "chromium-driver", "npm", "pngquant", "imagemagick"]

    def __init__(self, world, processes, folder, shots, user):
        self.shots, self.nick, self.folder = shots, user, folder
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

    def settle(self):
        time.sleep(0.5)

    # From here on as a person does it, with the mouse.

    def element(self, css):
        """An element of the page, when it is there."""
        script = "return [...document.querySelectorAll(arguments[0])].find((one) => one.getClientRects().length) || null"
        return next(iter(until(f"Converse.js shows {css}", lambda: self.js(script, css)).values()))

    def click(self, css):
        element = self.element(css)
        self.js("document.querySelector(arguments[0])?.scrollIntoView({ block: 'center' })", css)
        self.http("POST", f"/element/{element}/click", {})

    def fill(self, css, text):
        element = self.element(css)
        self.http("POST", f"/element/{element}/clear", {})
        self.http("POST", f"/element/{element}/value", {"text": text})

    def shows(self, *texts):
        """What stands in the open window, in its fields too."""
        script = """const box = document.querySelector('converse-user-settings-modal');
            return [box.innerText, ...[...box.querySelectorAll('input')].map((one) => one.value)].join('\\n')"""
        for text in texts:
            until(f"Converse.js shows “{text}”", lambda: text in self.js(script))

    def settings(self, tab):
        if self.js("return !!document.querySelector('converse-user-settings-modal.show')"):
            self.leave_settings()
        self.http("POST", "/window/rect", {"width": 1000, "height": 900})
        self.click("a.show-client-info")
        self.click(tab)

    def leave_settings(self):
        self.click("converse-user-settings-modal .modal-footer button")
        self.http("POST", "/window/rect", {"width": 1000, "height": 660})
        self.settle()

    def discover(self, gateway):
        self.settings("#server-tab")
        self.shows(gateway)
        self.js("[...document.querySelectorAll('.disco-items a')].find((a) => a.innerText === arguments[0]).click()", gateway)
        self.shows("Matrix gateway", "Category: gateway")
        self.shot("discover")
        self.leave_settings()
        return "Services"

    def run(self, gateway, command, answers, shot, *shown):
        """Runs an ad-hoc command: answers its form, each field by its name, and waits for what is to be shown."""
        self.settings("#commands-tab")
        self.fill("converse-adhoc-commands input[name=jid]", gateway)
        self.click("converse-adhoc-commands input[type=submit]")
        self.click(f"a[data-command-node={command}]")
        for field, answer in answers:
            css = f"converse-adhoc-commands li [name={field}]"
            if answer is True:
                self.click(css)
            else:
                self.fill(css, answer)
        self.element("input[data-action=complete]")
        self.js(f"document.querySelector('a[data-command-node={command}]').scrollIntoView()")
        self.shot(shot)
        self.click("input[data-action=complete]")
        self.shows("Completed", *shown)
        return "Commands"

    def register(self, gateway, name):
        said = "You are registered with the Matrix gateway."
        door = self.run(gateway, "register", [("name", name)], "register", said)
        self.leave_settings()
        return door

    def find(self, gateway, typed, jid):
        door = self.run(gateway, "start-chat", [("address", typed)], "find", jid)
        self.shot("found")
        self.leave_settings()
        self.add(jid)
        return door

    def unregister(self, gateway):
        said = "You are not registered any more"
        door = self.run(gateway, "unregister", [("sure", True)], "unregister", said)
        self.leave_settings()
        return door

    def has_contact(self, jid):
        script = """const row = document.querySelector(`converse-roster [data-jid="${arguments[0]}"]`);
            return !!row && !row.closest('.requesting-xmpp-contact')"""
        return self.js(script, jid)

    def lists(self, jid):
        return self.js("return !!document.querySelector(`converse-roster [data-jid=\"${arguments[0]}\"]`)", jid)

    def remove(self, jid):
        self.api("await api.contacts.remove(args[0], true);", jid)

    def accept(self, jid):
        row = f'.requesting-xmpp-contact [data-jid="{jid}"]'
        self.element(row)
        self.shot("asks")
        self.js("document.querySelector('.requesting-xmpp-contact .accept-xmpp-request').click()")
        self.click("converse-accept-contact-request-modal button[type=submit]")

    def sees_face(self, jid):
        """The picture in the list and above the chat."""
        script = """return [...document.querySelectorAll('converse-roster, converse-chat-heading')].flatMap((part) =>
            [...part.querySelectorAll('svg.avatar image')].map((one) => one.getAttribute('href')))"""

        def pictures():
            uris = [uri for uri in self.js(script) if uri.startswith("data:image/")]
            return [uri for uri in uris if is_face(base64.b64decode(uri.partition("base64,")[2]))]

        until("Converse.js shows her picture in the list and above the chat", lambda: len(pictures()) >= 2)
        return "picture in the page"

    # What is more than text. A message is found by what stands in it.

    def message(self, text, script, *args):
        """Runs a script with the last message that holds this text as `one`, if there is such a message."""
        find = """const [text, ...args] = arguments, all = [...document.querySelectorAll('.chat-msg')];
            const one = all.filter((msg) => msg.querySelector('.chat-msg__body')?.innerText.includes(text)).pop();
            if (!one) return null; """
        return self.js(find + script, text, *args)

    def formats(self, strong, quoted):
        script = """return [...one.querySelectorAll('b')].some((b) => b.innerText === text)
            && [...one.querySelectorAll('blockquote')].some((quote) => quote.innerText.trim() === args[0])"""
        return self.message(strong, script, quoted) and "bold and as a quote in the page"

    def corrected(self, old, new):
        """The new text stands where the old one was, once, with the sign of a correction."""
        # The signs of formats stand in the page too.
        seen = self.message(new, "return !!one.querySelector('.chat-msg__edit-modal')")
        return seen and old not in self.text() and self.text().count(new) == 1

    def answered(self, text, quoted):
        script = "return one.querySelector('converse-reply-context')?.innerText.includes(args[0])"
        plain = "return !one.querySelector('.chat-msg__body').innerText.includes(args[0])"
        seen = self.message(text, script, quoted) and self.message(text, plain, quoted)
        return seen and "above it the message that it answers; no quote in the text"

    def reacted(self, text, key):
        script = "return one.querySelector('.chat-msg__reaction')?.innerText.includes(args[0])"
        return self.message(text, script, key) and "below the line"

    def retracted(self, text):
        gone = text not in self.text() and "has removed a message" in self.text()
        return gone and "the line is gone, and that it is gone is said"

    def sees_picture(self):
        """The picture as it stands on the screen, which is not what it was fetched from."""
        image = self.js("""const all = [...document.querySelectorAll('img.chat-image')];
            return all.find((one) => one.complete && one.naturalWidth) || null""")
        if not image:
            return None
        shot = self.http("GET", f"/element/{next(iter(image.values()))}/screenshot")
        return is_face(base64.b64decode(shot)) and "in the chat"

    def action(self, text, button):
        """Chooses in the menu of a message."""
        script = "const button = one.querySelector(`button.chat-msg__action-${args[0]}`); button?.click(); return !!button"
        until(f"Converse.js offers “{button}” for “{text}”", lambda: self.message(text, script, button))

    def correct(self, old, new):
        self.action(old, "edit")
        script = "return [...document.querySelectorAll('textarea.chat-textarea')].some((one) => one.value === arguments[0])"
        until("Converse.js has the line in its field again", lambda: self.js(script, old))
        self.fill("textarea.chat-textarea", "")
        self.write(new)

    def answer(self, text, answer):
        self.action(text, "reply")
        self.write(answer)

    def react(self, text):
        self.action(text, "reaction")
        # The picker opens beside the message, which need not be where a mouse reaches.
        pick = "const one = document.querySelector('.reaction-picker > button.reaction-item'); one?.click(); return !!one"
        until("Converse.js offers reactions", lambda: self.js(pick))
        script = "return one.querySelector('.chat-msg__reaction')?.innerText"
        key = until("Converse.js shows the reaction", lambda: self.message(text, script))
        return key.split()[0]

    def send_file(self, path):
        """By the field behind the paper clip."""
        find = "return document.querySelector('converse-chat-toolbar input.fileupload, input[type=file].fileupload')"
        element = next(iter(until("Converse.js takes files", lambda: self.js(find)).values()))
        self.http("POST", f"/element/{element}/value", {"text": path})

    def retract(self, text):
        self.action(text, "retract")
        self.click("converse-confirm-modal button[type=submit]")

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
