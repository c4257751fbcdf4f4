"""What is more than a line of text, both ways: formats, corrections, answers, reactions, retractions, a picture."""

import json
import os
import secrets

from picture import SIZE, face
from world import Failed, MatrixPerson, until

# How many times as large as a face in a list her picture is.
SCALE = 2


class Rich:
    """One client, one user of the XMPP server, and somebody on Matrix whose client can do everything."""

    def __init__(self, world, client, user, report):
        self.world, self.client, self.user, self.report = world, client, user, report
        serial = "" if world.is_free(f"alice-rich-{client.name}") else secrets.token_hex(2)
        self.alice = MatrixPerson(world, f"alice-rich-{client.name}{serial}", "Alice Pleasance")
        self.contact, self.ghost = world.contact(self.alice.local), world.ghost(user)
        self.room = self.asked = self.said = None
        self.way_back = []

    def play(self):
        """Plays all scenes; a scene that fails does not end the others. Without rich messages there is nothing to see."""
        if not self.client.rich:
            self.report("rich", None, "left out: this client shows text only")
            return
        there = [self.begin, self.formatted, self.correction, self.answer, self.reaction, self.retraction]
        back = [self.formats, self.corrects, self.replies, self.reacts, self.sends, self.takes_back]
        for scene in [*there, self.picture, *back]:
            try:
                seen = scene()
                self.report(scene.__name__, None, seen)
            except Failed as error:
                self.client.shot(f"{scene.__name__}-failed")
                self.report(scene.__name__, str(error))
                if self.asked is None:
                    return
            if shot := {"retraction": "rich", "picture": "picture", "takes_back": "back"}.get(scene.__name__):
                self.client.shot(shot)
        self.write_down()

    def until(self, what, ask):
        return until(f"{self.client.name} shows {what}", ask)

    # What comes from Matrix.

    def begin(self):
        """The line that she speaks of."""
        self.client.add(self.contact)
        self.client.open(self.contact)
        self.client.write("When shall we have tea?")
        self.room = self.alice.accept_invite(self.ghost)
        self.asked = self.line("When shall we have tea?")["event_id"]

    def line(self, text):
        """A message of the user's that is no correction."""
        whole = lambda event: event["content"].get("body") == text and event["type"] == "m.room.message"
        return self.alice.gets(f"“{text}”", self.ghost, whole)

    def formatted(self):
        """Strong words and a quote."""
        html = "<strong>Always</strong> at six, for <blockquote>it is always tea-time</blockquote>as the Hatter says."
        body = "**Always** at six, for\n\n> it is always tea-time\n\nas the Hatter says."
        self.alice.say(self.room, body, format="org.matrix.custom.html", formatted_body=html)
        return self.until("strong words and a quote", lambda: self.client.formats("Always", "it is always tea-time"))

    def correction(self):
        """A line that she corrects twice, each time the first of them, as Matrix wants it."""
        first = self.alice.say(self.room, "Bring the trats.")
        self.until("“trats”", lambda: "Bring the trats." in self.client.text())
        for text in ("Bring the tarts.", "Bring the *tarts* and the Queen."):
            new = {"msgtype": "m.text", "body": text}
            about = {"rel_type": "m.replace", "event_id": first}
            self.alice.say(self.room, f"* {text}", **{"m.new_content": new, "m.relates_to": about})
            self.until(f"the correction “{text}”", lambda: self.client.corrected("Bring the trats.", text))
        return "the new text in place of the old, and that it was corrected"

    def answer(self):
        """Her answer to the user's line."""
        about = {"m.in_reply_to": {"event_id": self.asked}}
        self.alice.say(self.room, "At six, and do not be late!", **{"m.relates_to": about})
        see = lambda: self.client.answered("At six, and do not be late!", "When shall we have tea?")
        return self.until("her answer and what it answers", see)

    def reaction(self):
        """Her reaction to the user's line."""
        about = {"rel_type": "m.annotation", "event_id": self.asked, "key": "👍"}
        self.alice.send(self.room, "m.reaction", {"m.relates_to": about})
        return self.until("her reaction", lambda: self.client.reacted("When shall we have tea?", "👍"))

    def retraction(self):
        """A line that she takes back."""
        said = self.alice.say(self.room, "Off with his head!")
        self.until("what she takes back", lambda: "Off with his head!" in self.client.text())
        self.alice.takes_back(self.room, said)
        return self.until("that she took it back", lambda: self.client.retracted("Off with his head!"))

    def picture(self):
        """A picture with words."""
        png = face(SCALE)
        side = SIZE * SCALE
        info = {"mimetype": "image/png", "w": side, "h": side, "size": len(png)}
        content = {"msgtype": "m.image", "body": "This is the Hatter.", "filename": "hatter.png", "info": info}
        content["url"] = self.alice.upload(png, "hatter.png")
        self.alice.send(self.room, "m.room.message", content)
        self.until("the words with the picture", lambda: "This is the Hatter." in self.client.text())
        return self.until("the picture", self.client.sees_picture)

    # What goes to Matrix. What arrives there is written down, as the homeserver gives it.

    def arrives(self, event):
        self.way_back.append(event)
        return event["event_id"]

    def formats(self):
        """The user's signs are formats there."""
        text = "I bring *all* my _friends_."
        self.client.write(text)
        event = self.alice.gets("a formatted line", self.ghost, lambda event: "friends" in event["content"].get("body", ""))
        self.said = self.arrives(event)
        html = event["content"].get("formatted_body", "")
        if "<strong>all</strong>" not in html or "<em>friends</em>" not in html:
            raise Failed(f"formatted_body is {html!r}")
        return html

    def corrects(self):
        """The user corrects their last line: on Matrix it replaces the first event."""
        self.client.correct("I bring *all* my _friends_.", "I bring *both* my _friends_.")
        event = self.alice.gets("a correction", self.ghost, lambda event: self.relation(event) == "m.replace")
        self.arrives(event)
        content = event["content"]
        if content["m.relates_to"]["event_id"] != self.said:
            raise Failed(f"it replaces {content['m.relates_to']['event_id']} and not {self.said}")
        if "<strong>both</strong>" not in content["m.new_content"].get("formatted_body", ""):
            raise Failed(f"the new content is {content['m.new_content']}")
        return "m.replace of the line"

    @staticmethod
    def relation(event):
        return event["content"].get("m.relates_to", {}).get("rel_type")

    def replies(self):
        """The user answers a line of hers."""
        if not self.client.answers:
            return "left out: this client has no answers"
        hers = self.alice.say(self.room, "Who are they?")
        self.until("her question", lambda: "Who are they?" in self.client.text())
        self.client.answer("Who are they?", "A hare and a dormouse.")
        event = self.line("A hare and a dormouse.")
        self.arrives(event)
        about = event["content"].get("m.relates_to", {}).get("m.in_reply_to", {})
        if about.get("event_id") != hers:
            raise Failed(f"it answers {about} and not {hers}")
        return "m.in_reply_to her line, and no quote in its text"

    def reacts(self):
        """The user reacts to a line of hers."""
        if not self.client.reacts:
            return "left out: this client has no reactions"
        hers = self.alice.say(self.room, "They are welcome.")
        self.until("her line", lambda: "They are welcome." in self.client.text())
        key = self.client.react("They are welcome.")
        event = self.alice.gets("a reaction", self.ghost, lambda event: event["type"] == "m.reaction")
        self.arrives(event)
        about = event["content"]["m.relates_to"]
        if about != {"rel_type": "m.annotation", "event_id": hers, "key": key}:
            raise Failed(f"it is {about}, not {key} of {hers}")
        return f"m.annotation {key} of her line"

    def sends(self):
        """The user sends a picture: on Matrix it is one, in the homeserver's own store."""
        if not self.client.sends:
            return "left out: its file dialogue is not driven"
        png = face(SCALE)
        path = os.path.join(self.client.folder, "cat.png")
        with open(path, "wb") as file:
            file.write(png)
        self.client.send_file(path)
        event = self.alice.gets("a picture", self.ghost, lambda event: event["content"].get("msgtype") == "m.image")
        self.arrives(event)
        content = event["content"]
        if self.alice.download(content["url"]) != png:
            raise Failed(f"what {content} leads to is not what was sent")
        return f"m.image {content['body']}, {content['info']['mimetype']}, the same bytes"

    def takes_back(self):
        """The user takes a line back."""
        if not self.client.takes_back:
            return "left out: this client takes nothing back"
        self.client.write("The dormouse snores.")
        mine = self.arrives(self.line("The dormouse snores."))
        self.client.retract("The dormouse snores.")
        event = self.alice.gets("a redaction", self.ghost, lambda event: event["type"] == "m.room.redaction")
        self.arrives(event)
        target = event["content"].get("redacts") or event.get("redacts")
        if target != mine:
            raise Failed(f"it redacts {target} and not {mine}")
        return "m.room.redaction of the line"

    def write_down(self):
        """What arrived on Matrix, as JSON."""
        path = os.path.join(self.client.shots, "logs", f"{self.client.name}-on-matrix.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.way_back, file, ensure_ascii=False, indent=1)
            file.write("\n")
