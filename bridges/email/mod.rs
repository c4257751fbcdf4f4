//! Mail, in shared mode: the gateway takes mail for its domain by LMTP or SMTP and hands mail to a smarthost.
//!
//! Inwards: [`receive`] speaks the protocol and commits, [`auth`] finds out who a mail is from, [`from_mail`] (pure) turns
//! it into text with the help of [`html`], [`quote`] and [`calendar`], [`part`] (pure) finds its files, [`signal`] (pure) reactions
//! and notices, [`bounce`] reads delivery reports. Outwards: [`outgoing`] decides
//! what becomes of an item, [`compose`] puts lines together, [`attach`] fetches files, [`to_mail`] and [`report`] (pure) write a mail, [`subject`]
//! and [`thread`] say where it belongs, [`dkim`] signs it, [`send`] hands it over. [`check`] is for `portway doctor`. [`address`] maps users and people to
//! addresses.

mod adapter;
mod address;
mod attach;
mod auth;
mod bounce;
mod calendar;
mod check;
pub mod compose;
mod config;
mod dkim;
mod files;
pub mod from_mail;
mod html;
mod outgoing;
mod part;
mod quote;
mod reactions;
mod receive;
mod report;
mod send;
mod signal;
mod status;
mod subject;
#[cfg(test)]
mod tests;
mod thread;
mod tidy;
pub mod to_mail;

use std::time::Duration;

use super::api::{Adapter, ConfigErrors, Descriptor, Network, SentenceDef};

/// The network.
pub struct Email;

/// The one instance.
pub static NETWORK: Email = Email;

const MINUTE: u64 = 60;

/// Waits between tries.
const RETRY: &[Duration] = &[
    Duration::from_secs(MINUTE),
    Duration::from_secs(2 * MINUTE),
    Duration::from_secs(5 * MINUTE),
    Duration::from_secs(10 * MINUTE),
    Duration::from_secs(15 * MINUTE),
    Duration::from_secs(30 * MINUTE),
    Duration::from_secs(60 * MINUTE),
    Duration::from_secs(120 * MINUTE),
];

/// When the sender hears that we are still trying.
const NOTICES: &[Duration] = &[Duration::from_secs(15 * MINUTE), Duration::from_secs(360 * MINUTE)];

const fn en(key: &'static str, text: &'static str) -> SentenceDef {
    SentenceDef { key, lang: "en", text }
}

const fn de(key: &'static str, text: &'static str) -> SentenceDef {
    SentenceDef { key, lang: "de", text }
}

const SENTENCES: &[SentenceDef] = &[
    en("email.also-to", "[also to: {others}. Your answer goes to the sender only.]"),
    en("email.also-to-more", "[also to: {others} and {more} more. Your answer goes to the sender only.]"),
    en("email.answered", "[Answer to an invitation: {what}]"),
    en("email.bad-address", "“{typed}” is no mail address. Write it as name@example.com."),
    en("email.cancelled", "[Cancelled: {what}]"),
    en("email.doubtful", "[Careful: nothing proves that this mail is from {person}.]"),
    en("email.full", "The mailbox of {person} is full."),
    en("email.invitation", "[Invitation: {what}]"),
    en("email.kept", "[this mail goes on: write /full to read all of it]"),
    en(
        "email.late",
        "The mail server of {person} does not take your mail for now ({why}). It is being tried again; you will hear if it fails.",
    ),
    en("email.more-files", "[further files in this mail that are not shown: {count}]"),
    en(
        "email.needs-encryption",
        "The mail server of {person} takes encrypted mail only, which cannot be sent from here.",
    ),
    en("email.no-full", "[there is no mail here of which more is kept]"),
    en("email.no-such-domain", "There is no mail server for {person}."),
    en("email.no-such-user", "There is no mailbox {person}."),
    en("email.no-text", "[a mail without text]"),
    en("email.no-utf8", "The mail server of {person} does not take addresses with such letters."),
    en("email.ours", "{person} is somebody on XMPP. Write to their XMPP address directly."),
    en("email.refused", "The mail server refused this: {why}"),
    en(
        "email.report",
        "Your mail to {person} arrived at this gateway, but could not be brought to its reader on XMPP.\n\n{why}\n\nYou may try another way to reach them.",
    ),
    en("email.organiser", "Organiser: {who}"),
    en(
        "email.too-big-encrypted",
        "The encrypted file {name} is too big for a mail, and its link would give its key away. Please send it without encryption.",
    ),
    en("email.when", "When: {when}"),
    en("email.where", "Where: {where}"),
    en("email.too-big", "This is too big for the mail server of {person}."),
    de("email.also-to", "[auch an: {others}. Ihre Antwort geht nur an den Absender.]"),
    de("email.also-to-more", "[auch an: {others} und {more} weitere. Ihre Antwort geht nur an den Absender.]"),
    de("email.answered", "[Antwort auf eine Einladung: {what}]"),
    de("email.bad-address", "„{typed}“ ist keine Mailadresse. Richtig ist name@example.com."),
    de("email.cancelled", "[Abgesagt: {what}]"),
    de("email.doubtful", "[Vorsicht: nichts beweist, dass diese Mail von {person} ist.]"),
    de("email.full", "Das Postfach von {person} ist voll."),
    de("email.invitation", "[Einladung: {what}]"),
    de("email.kept", "[diese Mail geht weiter: mit /full kommt sie ganz]"),
    de(
        "email.late",
        "Der Mailserver von {person} nimmt Ihre Mail im Moment nicht an ({why}). Es wird weiter versucht; wenn es nicht gelingt, hören Sie davon.",
    ),
    de("email.more-files", "[weitere Dateien dieser Mail, die nicht gezeigt werden: {count}]"),
    de(
        "email.needs-encryption",
        "Der Mailserver von {person} nimmt nur verschlüsselte Mail an, und die kann von hier aus nicht gesendet werden.",
    ),
    de("email.no-full", "[es gibt hier keine Mail, von der noch mehr aufgehoben ist]"),
    de("email.no-such-domain", "Für {person} gibt es keinen Mailserver."),
    de("email.no-such-user", "Das Postfach {person} gibt es nicht."),
    de("email.no-text", "[eine Mail ohne Text]"),
    de("email.no-utf8", "Der Mailserver von {person} nimmt keine Adressen mit solchen Buchstaben an."),
    de("email.ours", "{person} ist jemand auf XMPP. Bitte direkt an die XMPP-Adresse schreiben."),
    de("email.refused", "Der Mailserver hat das abgelehnt: {why}"),
    de(
        "email.report",
        "Ihre Mail an {person} ist an diesem Gateway angekommen, konnte aber auf XMPP nicht zugestellt werden.\n\n{why}\n\nVielleicht ist die Person auf einem anderen Weg zu erreichen.",
    ),
    de("email.organiser", "Es lädt ein: {who}"),
    de(
        "email.too-big-encrypted",
        "Die verschlüsselte Datei {name} ist zu groß für eine Mail, und der Link verriete den Schlüssel. Bitte ohne Verschlüsselung senden.",
    ),
    de("email.when", "Wann: {when}"),
    de("email.where", "Wo: {where}"),
    de("email.too-big", "Das ist zu groß für den Mailserver von {person}."),
];

impl Network for Email {
    fn describe(&self) -> Descriptor {
        Descriptor {
            id: "email",
            name: "Email",
            disco_type: "smtp",
            config_example: config::EXAMPLE,
            config_keys: config::KEYS,
            secret_keys: &["smarthost"],
            sentences: SENTENCES,
            rooms: false,
            retry: RETRY,
            give_up: Duration::from_secs(2 * 24 * 60 * MINUTE),
            notices: NOTICES,
        }
    }

    fn configure(&self, raw: toml::Table) -> Result<Box<dyn Adapter>, ConfigErrors> {
        Ok(Box::new(adapter::EmailAdapter::new(config::read(&raw)?)))
    }
}
