//! English.

use portway_bridges::api::SentenceDef;

const fn en(key: &'static str, text: &'static str) -> SentenceDef {
    SentenceDef { key, lang: "en", text }
}

/// The core's own sentences.
pub const SENTENCES: &[SentenceDef] = &[
    en("core.bad-address", "This address means nothing here: {why}. Write name%server@{component}."),
    en("core.bounced", "This message could not be delivered to the XMPP user ({condition}). {text}"),
    en("core.edited", "* {text}"),
    en("core.encrypted", "This message is encrypted ({scheme}) and cannot be read here."),
    en(
        "core.encrypted-in",
        "This message is encrypted ({scheme}). Encryption ends at this gateway, so nobody on the other side could read it. Switch encryption off for this contact and send it again.",
    ),
    en("core.failed-late", "Your message could not be delivered after all: {why}"),
    en("core.failed-room", "Your message to the room {room} could not be delivered: {why}"),
    en("core.file", "[file: {name}]"),
    en("core.file-about", "[file: {name}, {about}]"),
    en("core.gateway-name", "{network} gateway"),
    en("core.given-up", "{network} could not be reached for too long. The message was not delivered."),
    en("core.invited", "{who} invites you to the room {name}: {room}"),
    en("core.no-nick", "Say under which nick you want to join, as in room@server/nick."),
    en("core.no-pm", "Private messages in rooms are not carried. Write to the person directly."),
    en("core.no-rooms", "This network has no rooms."),
    en("core.no-subject", "The topic of this room cannot be changed from here yet."),
    en(
        "core.nick-stays",
        "Your nick stays as it is while you are in the room. Leave it, and join with the other nick.",
    ),
    en("core.nick-taken", "Somebody else in this room has this nick."),
    en("core.not-a-room", "This is a person, not a room. Write to them in a chat of two."),
    en("core.not-allowed", "You may not use this gateway. Ask its admin whether your server can be allowed."),
    en("core.not-in-room", "You are not in this room. Join it first."),
    en("core.prompt", "Enter an address on {network}"),
    en("core.reacted", "reacted with {keys}"),
    en("core.retracted", "(took an earlier message back)"),
    en("core.store-failed", "The gateway cannot store messages at the moment. Please send it again later."),
    en("core.room-away", "The other side of this room cannot be reached at the moment. Please try again later."),
    en("core.still-trying", "{network} does not take your message for now. We keep trying; nothing is lost."),
    en("core.rooms-full", "The rooms of this gateway are full at the moment. Please try again later."),
    en("core.too-big", "This is too big for the gateway."),
    en("core.too-fast", "You are sending faster than this gateway carries. Wait a moment and send it again."),
    en("core.welcome", "This is the {network} gateway. Write to {example} to reach somebody there."),
    // Contacts.
    en("roster.full", "You have as many contacts here as this gateway keeps for one user. Remove some first."),
    en("roster.you", "(you) {text}"),
];
