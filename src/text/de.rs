//! German.

use portway_bridges::api::SentenceDef;

const fn de(key: &'static str, text: &'static str) -> SentenceDef {
    SentenceDef { key, lang: "de", text }
}

/// The core's own sentences.
pub const SENTENCES: &[SentenceDef] = &[
    de("core.bad-address", "Diese Adresse bedeutet hier nichts: {why}. Richtig ist name%server@{component}."),
    de("core.bounced", "Diese Nachricht konnte der Person auf XMPP nicht zugestellt werden ({condition}). {text}"),
    de("core.edited", "* {text}"),
    de("core.encrypted", "Diese Nachricht ist verschlüsselt ({scheme}) und kann hier nicht gelesen werden."),
    de(
        "core.encrypted-in",
        "Diese Nachricht ist verschlüsselt ({scheme}). Die Verschlüsselung endet an diesem Gateway, auf der anderen Seite könnte sie also niemand lesen. Bitte die Verschlüsselung für diesen Kontakt ausschalten und noch einmal senden.",
    ),
    de("core.failed-late", "Ihre Nachricht konnte doch nicht zugestellt werden: {why}"),
    de("core.failed-room", "Ihre Nachricht an den Raum {room} konnte nicht zugestellt werden: {why}"),
    de("core.file", "[Datei: {name}]"),
    de("core.file-about", "[Datei: {name}, {about}]"),
    de("core.gateway-name", "{network}-Gateway"),
    de("core.given-up", "{network} war zu lange nicht erreichbar. Die Nachricht wurde nicht zugestellt."),
    de("core.invited", "{who} lädt Sie in den Raum {name} ein: {room}"),
    de("core.no-nick", "Zum Betreten fehlt der Nickname: raum@server/nickname."),
    de("core.no-pm", "Private Nachrichten in Räumen werden nicht übertragen. Bitte direkt an die Person schreiben."),
    de("core.no-rooms", "Dieses Netz hat keine Räume."),
    de("core.no-subject", "Das Thema dieses Raumes lässt sich von hier aus noch nicht ändern."),
    de(
        "core.nick-stays",
        "Der Nickname bleibt, solange Sie im Raum sind. Zum Ändern den Raum verlassen und mit dem anderen Nickname betreten.",
    ),
    de("core.nick-taken", "Jemand anderes in diesem Raum hat diesen Nickname."),
    de("core.not-a-room", "Das ist eine Person und kein Raum. Bitte in einem Chat zu zweit schreiben."),
    de(
        "core.not-allowed",
        "Sie dürfen dieses Gateway nicht benutzen. Sein Admin kann sagen, ob Ihr Server zugelassen werden kann.",
    ),
    de("core.not-in-room", "Sie sind nicht in diesem Raum. Bitte erst betreten."),
    de("core.prompt", "Eine Adresse auf {network} eingeben"),
    de("core.reacted", "hat mit {keys} reagiert"),
    de("core.retracted", "(hat eine frühere Nachricht zurückgezogen)"),
    de("core.store-failed", "Das Gateway kann im Moment keine Nachrichten speichern. Bitte später noch einmal senden."),
    de(
        "core.room-away",
        "Die andere Seite dieses Raumes ist im Moment nicht erreichbar. Bitte später noch einmal versuchen.",
    ),
    de(
        "core.still-trying",
        "{network} nimmt Ihre Nachricht im Moment nicht an. Es wird weiter versucht; nichts geht verloren.",
    ),
    de("core.rooms-full", "Die Räume dieses Gateways sind im Moment voll. Bitte später noch einmal versuchen."),
    de("core.too-big", "Das ist zu groß für das Gateway."),
    de(
        "core.too-fast",
        "Sie senden schneller, als dieses Gateway überträgt. Bitte kurz warten und dann noch einmal senden.",
    ),
    de("core.welcome", "Das ist das {network}-Gateway. Wer an {example} schreibt, erreicht jemanden dort."),
];
