"""What a person does in a client, the same in each: five scenes, and what must be visible in each of them."""

import secrets

from world import Failed, MailPerson, MatrixPerson, until


class Story:
    """One client, one user of the XMPP server, one person on Matrix and one with a mailbox."""

    def __init__(self, world, client, user, report):
        self.world, self.client, self.user, self.report = world, client, user, report
        # So that a demo that stays can be played in again.
        self.serial = serial = "" if world.is_free(f"alice_{client.name}") else secrets.token_hex(2)
        self.alice = MatrixPerson(world, f"alice_{client.name}{serial}", "Alice Liddell")
        self.bob = MailPerson(world, f"bob.{client.name}{serial}", "Bob Cratchit")

    def play(self):
        """Plays all scenes; a scene that fails does not end the others."""
        scenes = [self.person, self.mail, self.room, self.nobody]
        for scene in scenes:
            try:
                scene()
                self.report(scene.__name__, None)
            except Failed as error:
                self.client.shot(f"{scene.__name__}-failed")
                self.report(scene.__name__, str(error))

    def sees(self, text):
        """The client shows this text."""
        until(f"{self.client.name} shows “{text}”", lambda: text in self.client.text())

    def person(self):
        """A person on Matrix: added as a contact, written to, answers."""
        contact, ghost = self.world.contact(self.alice.local), self.world.ghost(self.user)
        self.client.add(contact)
        self.client.open(contact)
        self.client.write("Hello Alice, can you read me?")
        room = self.alice.accept_invite(ghost)
        self.alice.hears(ghost, "Hello Alice, can you read me?")
        self.alice.say(room, "Loud and clear!")
        self.sees("Loud and clear!")
        self.client.write("Then let us have tea.")
        self.alice.hears(ghost, "Then let us have tea.")
        self.alice.say(room, "With 🍰, please.")
        self.sees("With 🍰, please.")
        self.once("Hello Alice, can you read me?", "Loud and clear!", "Then let us have tea.")
        if self.client.shows_names:
            self.sees("Alice Liddell")
        self.client.shot("person")

    def mail(self):
        """A person with a mail address: written to, answers."""
        contact = self.world.mailbox(self.bob.local)
        self.client.open(contact)
        self.client.write("Dear Bob, how is Mantua?")
        mail = self.bob.receives("how is Mantua?")
        self.bob.answers(mail, "Hot and dusty. When do you come?")
        self.sees("Hot and dusty. When do you come?")
        self.once("Dear Bob, how is Mantua?", "Hot and dusty. When do you come?")
        self.client.shot("mail")

    def room(self):
        """A room: joined, what was said before, both ways, left."""
        alias, ghost = f"town-{self.client.name}{self.serial}", self.world.ghost(self.user)
        room = self.alice.make_room(alias, "The town square", "What happens in town")
        self.alice.say(room, "Welcome to town.")
        jid = self.world.room(alias)
        self.client.join(jid)
        if self.client.shows_history:
            self.sees("Welcome to town.")
        self.client.write("Good morning, town!")
        self.alice.hears(ghost, "Good morning, town!")
        self.alice.say(room, "Good morning. Did you sleep well?")
        self.sees("Good morning. Did you sleep well?")
        self.sees("Good morning, town!")
        self.once("Good morning, town!", "Good morning. Did you sleep well?")
        self.sees("Alice Liddell")
        self.client.shot("room")
        self.client.leave(jid)
        until("the ghost leaves the room", lambda: ghost not in self.alice.members(room))

    def nobody(self):
        """Somebody who does not exist: the client says so."""
        contact = self.world.contact("nobody_here")
        self.client.open(contact)
        self.client.write("Is anybody there?")
        until(f"{self.client.name} shows an error", lambda: self.client.shows_error("There is no Matrix user"))
        self.client.shot("nobody")

    def once(self, *texts):
        """Nothing is shown twice."""
        lines = self.client.text().splitlines()
        for text in texts:
            # A mail's subject may repeat its first line.
            count = sum(text in line and f"Re: {text}" not in line for line in lines)
            if count != 1:
                raise Failed(f"{self.client.name} shows “{text}” {count} times")
