"""How somebody comes to the gateway and leaves it again, the same in each client, each through a door of its own."""

import secrets

from picture import face
from world import Failed, MatrixPerson, until

# How long a gateway that may write into rosters has to do so, before its question is looked for.
AT_ONCE = 5.0


class Manners:
    """One client, one user of the XMPP server, and somebody on Matrix who has a picture."""

    def __init__(self, world, client, user, report):
        self.world, self.client, self.user, self.report = world, client, user, report
        self.gateway = world.gateway
        self.name = f"{user.capitalize()} of Verona"
        serial = "" if world.is_free(f"alice.{client.name}") else secrets.token_hex(2)
        self.alice = MatrixPerson(world, f"alice.{client.name}{serial}", "Alice of Wonderland")
        self.alice.wear(face())
        self.contact = world.contact(self.alice.local)

    def play(self):
        """Plays all scenes; a scene that fails does not end the others."""
        for scene in [self.discover, self.register, self.words, self.find, self.face, self.talk, self.unregister]:
            try:
                seen = scene()
                self.report(scene.__name__, None, seen)
            except Failed as error:
                self.client.shot(f"{scene.__name__}-failed")
                self.report(scene.__name__, str(error))
            self.client.settle()

    def discover(self):
        """The gateway is among the services of the server, by its name."""
        return self.client.discover(self.gateway)

    def register(self):
        """Registered in a form; then the gateway is a contact."""
        door = self.client.register(self.gateway, self.name)
        return f"{door}, {self.befriended(self.gateway)}"

    def words(self):
        """The same in a chat with the gateway: out and in again, question by question."""
        if not self.client.chats_with_services:
            return "left out: this client has no chats with services"
        self.client.open(self.gateway)
        for said, answered in [
            ("help", "1. register: Register"),
            (self.alice.id, f"Write to {self.contact}"),
        ]:
            self.says(said, answered)
        self.client.shot("help")
        for said, answered in [
            ("unregister", "This deletes your registration and your choices"),
            ("yes", "You are not registered any more"),
        ]:
            self.says(said, answered)
        gone = self.gone()
        self.client.open(self.gateway)
        for said, answered in [
            ("register", "Name by which I go on the other side"),
            (self.name, "1. as my program says"),
            ("1", "Announcements of the admin are for me"),
            ("no", "You are registered with the Matrix gateway."),
        ]:
            self.says(said, answered)
        self.client.shot("words")
        if gone:
            return f"chat: gone from the list, {self.befriended(self.gateway)}"
        # It asks again, and the entry that has stayed hides whether that was answered.
        self.client.accept(self.gateway)
        return "chat: an entry stays in the list, which is of use again after a yes"

    def gone(self):
        """Whether the gateway leaves the list by itself."""
        try:
            until("the gateway has left the list", lambda: not self.client.lists(self.gateway), AT_ONCE)
            return True
        except Failed:
            return False

    def says(self, said, answered):
        self.client.write(said)
        until(f"the answer “{answered}” to “{said}”", lambda: self.client.shows_error(answered))

    def find(self):
        """A Matrix id as people write it becomes a contact."""
        door = self.client.find(self.gateway, self.alice.id, self.contact)
        return f"{door}, {self.befriended(self.contact)}"

    def befriended(self, jid):
        """Waits until somebody is a contact, and says yes where they ask for it; returns how it came."""
        try:
            until("at once", lambda: self.client.has_contact(jid), AT_ONCE)
            return "in the list at once"
        except Failed:
            self.client.accept(jid)
        until(f"{jid} is a contact", lambda: self.client.has_contact(jid))
        return "in the list after a yes"

    def face(self):
        """Her name and her picture."""
        self.client.open(self.contact)
        if self.client.shows_names:
            until(f"{self.client.name} shows her name", lambda: self.alice.name in self.client.text())
        how = self.client.sees_face(self.contact)
        self.client.shot("face")
        return how

    def talk(self):
        """Both ways; and on Matrix the user has the name that they have registered."""
        ghost = self.world.ghost(self.user)
        self.client.open(self.contact)
        self.client.write("Curiouser and curiouser!")
        room = self.alice.accept_invite(ghost)
        self.alice.hears(ghost, "Curiouser and curiouser!")
        self.alice.say(room, "Which way ought I to go?")
        until("the answer", lambda: "Which way ought I to go?" in self.client.text())
        until(f"the name “{self.name}” on Matrix", lambda: self.alice.name_of(ghost) == self.name)
        self.client.shot("talk")

    def unregister(self):
        """Asked whether to delete everything, and gone from the list after a yes."""
        door = self.client.unregister(self.gateway)
        if self.client.chats_with_services:
            self.client.open(self.gateway)
            self.says("status", "You are not registered with the Matrix gateway.")
        if self.gone():
            return f"{door}, gone from the list"
        self.client.remove(self.gateway)
        until("the gateway has left the list", lambda: not self.client.lists(self.gateway))
        return f"{door}, removed from the list by hand"
