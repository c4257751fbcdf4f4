"""The running demo, and the people on its other networks: Matrix over the client-server API, mail over SMTP and IMAP."""

import email.message
import email.policy
import email.utils
import imaplib
import json
import secrets
import smtplib
import time
import urllib.error
import urllib.parse
import urllib.request

PATIENCE = 30.0
"""How long anything may take before it counts as failed, in seconds."""


class Failed(Exception):
    """Something did not happen; the text says what."""


def until(what, ask, patience=PATIENCE):
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + patience
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {patience:.0f} s")
        time.sleep(0.2)


def request(method, url, body=None, token=None):
    """One HTTP request with JSON both ways."""
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    ask = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(ask, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise Failed(f"{method} {url}: {error.code} {error.read().decode(errors='replace')[:300]}") from error


class World:
    """What the demo has written down about itself."""

    def __init__(self, facts):
        self.facts = facts
        self.host = facts["host"]
        self.password = facts["password"]
        self.gateway = f"matrix.{self.host}"

    def contact(self, person):
        """The JID of a Matrix person."""
        return f"{person}%{self.facts['server_name']}@matrix.{self.host}"

    def mailbox(self, name):
        """The JID of a mail person."""
        return f"{name}%{self.facts['outside']}@mail.{self.host}"

    def room(self, alias):
        """The JID of a Matrix room."""
        return f"#{alias}%{self.facts['server_name']}@matrix.{self.host}"

    def ghost(self, user):
        """The Matrix id of an XMPP user."""
        return f"@xmpp_{user}=40{self.host}:{self.facts['server_name']}"

    def is_free(self, local):
        """Whether nobody on the homeserver has this name yet."""
        base = f"{self.facts['homeserver']}/_matrix/client/v3"
        try:
            return request("GET", f"{base}/register/available?username={quote(local)}").get("available", False)
        except Failed:
            return False


class MatrixPerson:
    """A person on Matrix, newly registered."""

    def __init__(self, world, local, name):
        self.base = f"{world.facts['homeserver']}/_matrix/client/v3"
        body = {"username": local, "password": "secret", "auth": {"type": "m.login.dummy"}}
        answer = request("POST", f"{self.base}/register", body)
        self.local, self.name = local, name
        self.id, self.token = answer["user_id"], answer["access_token"]
        self.since = None
        self.invites = {}
        self.seen = []
        self.events = []
        self.ask("PUT", f"/profile/{quote(self.id)}/displayname", {"displayname": name})

    def upload(self, png, name):
        """Gives a picture to the homeserver, and returns its address there."""
        base = self.base.partition("/_matrix/")[0]
        headers = {"content-type": "image/png", "authorization": f"Bearer {self.token}"}
        url = f"{base}/_matrix/media/v3/upload?filename={quote(name)}"
        with urllib.request.urlopen(urllib.request.Request(url, png, headers, method="POST"), timeout=30) as answer:
            return json.load(answer)["content_uri"]

    def download(self, uri):
        """What is at an address of the homeserver's store."""
        base = self.base.partition("/_matrix/")[0]
        url = f"{base}/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}"
        ask = urllib.request.Request(url, headers={"authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(ask, timeout=30) as answer:
            return answer.read()

    def wear(self, png):
        """Puts on a picture."""
        self.ask("PUT", f"/profile/{quote(self.id)}/avatar_url", {"avatar_url": self.upload(png, "face.png")})

    def name_of(self, person):
        """What somebody is called."""
        return self.ask("GET", f"/profile/{quote(person)}/displayname").get("displayname")

    def ask(self, method, path, body=None):
        return request(method, self.base + path, body, self.token)

    def sync(self):
        """Takes in what is new."""
        query = {"timeout": "200"}
        if self.since:
            query["since"] = self.since
        answer = self.ask("GET", "/sync?" + urllib.parse.urlencode(query))
        rooms = answer.get("rooms", {})
        for room, state in rooms.get("invite", {}).items():
            for event in state["invite_state"]["events"]:
                if event["type"] == "m.room.member" and event["state_key"] == self.id:
                    self.invites[event["sender"]] = room
        for room, joined in rooms.get("join", {}).items():
            for event in joined["timeline"]["events"]:
                self.events.append({"room_id": room, **event})
                if event["type"] == "m.room.message":
                    self.seen.append((room, event["sender"], event["content"].get("body", "")))
        self.since = answer["next_batch"]

    def accept_invite(self, sender):
        """Waits for an invitation by somebody, and joins; returns the room."""

        def asked():
            self.sync()
            return self.invites.get(sender)

        room = until(f"an invitation of {self.id} by {sender}", asked)
        self.ask("POST", f"/join/{quote(room)}", {})
        return room

    def make_room(self, alias, name, topic):
        """Makes a public room, and returns its id."""
        body = {"preset": "public_chat", "room_alias_name": alias, "name": name, "topic": topic}
        return self.ask("POST", "/createRoom", body)["room_id"]

    def say(self, room, text, **more):
        """Says a line, with whatever else belongs to it; returns its id."""
        return self.send(room, "m.room.message", {"msgtype": "m.text", "body": text, **more})

    def send(self, room, kind, content):
        """Sends an event of any kind, and returns its id."""
        path = f"/rooms/{quote(room)}/send/{kind}/{secrets.token_hex(8)}"
        return self.ask("PUT", path, content)["event_id"]

    def takes_back(self, room, event):
        """Redacts an event."""
        self.ask("PUT", f"/rooms/{quote(room)}/redact/{quote(event)}/{secrets.token_hex(8)}", {})

    def gets(self, what, sender, is_it):
        """Waits for an event by somebody of which this is true, and returns it as the homeserver gave it."""

        def there():
            self.sync()
            return next((event for event in self.events if event["sender"] == sender and is_it(event)), None)

        return until(f"{what} by {sender} on Matrix", there)

    def hears(self, sender, text):
        """Waits for a message."""

        def there():
            self.sync()
            return any(who == sender and said == text for _, who, said in self.seen)

        until(f"“{text}” by {sender} on Matrix", there)

    def members(self, room):
        """Who is in a room: their ids."""
        return set(self.ask("GET", f"/rooms/{quote(room)}/joined_members")["joined"])


class MailPerson:
    """A person with a mailbox in the outside world."""

    def __init__(self, world, local, name):
        self.world, self.local, self.name = world, local, name
        self.address = f"{local}@{world.facts['outside']}"

    def receives(self, text):
        """Waits for a mail that holds this text, and returns it."""

        def look():
            box = imaplib.IMAP4("127.0.0.1", self.world.facts["imap"])
            try:
                box.login(self.address, "any")
                box.select()
                _, found = box.search(None, "ALL")
                for number in reversed(found[0].split()):
                    _, parts = box.fetch(number, "(RFC822)")
                    mail = email.message_from_bytes(parts[0][1], policy=email.policy.default)
                    body = mail.get_body(("plain",))
                    if body and text in body.get_content():
                        return mail
            finally:
                box.logout()
            return None

        return until(f"a mail to {self.address} with “{text}”", look)

    def answers(self, mail, text):
        """Answers a mail as a mail program does: with a quote below."""
        answer = email.message.EmailMessage()
        answer["From"] = email.utils.formataddr((self.name, self.address))
        answer["To"] = str(mail["From"])
        subject = str(mail["Subject"] or "")
        answer["Subject"] = subject if subject.lower().startswith("re:") else f"Re: {subject}"
        answer["In-Reply-To"] = answer["References"] = str(mail["Message-ID"])
        answer["Message-ID"] = email.utils.make_msgid(domain=self.world.facts["outside"])
        answer["Date"] = email.utils.formatdate()
        quoted = "".join(f"> {line}\n" for line in mail.get_body(("plain",)).get_content().splitlines())
        answer.set_content(f"{text}\n\nOn Tuesday, somebody wrote:\n{quoted}")
        with smtplib.SMTP("127.0.0.1", self.world.facts["smtp"]) as smtp:
            smtp.send_message(answer)


def quote(text):
    """A segment of a path."""
    return urllib.parse.quote(text, safe="")
