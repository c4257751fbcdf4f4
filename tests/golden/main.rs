//! Golden files: what goes in on one side, what it is in between, and what comes out on the other, through the translators
//! that the gateway itself uses. Each file under `tests/golden/` holds cases:
//!
//! ```text
//! ==== what this shows
//! <message>…</message>        or a Matrix event, or a mail
//! ---- event
//! …                           and what follows is made by the test
//! ```
//!
//! `PORTWAY_GOLDEN=write cargo test --test golden` writes what is made; whoever does so reads the difference.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portway::media::links::Links;
use portway::route::item::{Item, Meta, Speaker};
use portway::text::{Catalogue, en};
use portway::xmpp::file::Linking;
use portway::xmpp::from_stanza::{self, Parsed};
use portway::xmpp::rich::Features;
use portway::xmpp::stanza::{Domain, Stanza};
use portway::xmpp::stream::write;
use portway::xmpp::to_stanza::{self, Context};
use portway_bridges::api::{Chat, EventId, Kind, Outbound, PersonId, Style, Text, Timestamp, UserId};
use portway_bridges::email::{compose, from_mail, to_mail};
use portway_bridges::matrix::from_matrix;
use portway_bridges::matrix::id::Ghosts;
use portway_bridges::matrix::to_matrix::{self, Wire};

/// The 28th of May 2026.
const NOW: Timestamp = Timestamp(1_780_000_000_000);

#[test]
fn golden_files_are_what_the_translators_say() {
    let writes = std::env::var("PORTWAY_GOLDEN").is_ok_and(|value| value == "write");
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"));
    assert!(files.len() >= 8);
    let mut wrong = Vec::new();
    for path in files {
        let old = std::fs::read_to_string(&path).unwrap();
        let new = made(&old);
        if old == new {
            continue;
        }
        if writes {
            std::fs::write(&path, new).unwrap();
        } else {
            let line = old.lines().zip(new.lines()).find(|(old, new)| old != new);
            let (was, is) = line.unwrap_or(("the end", "more"));
            wrong.push(format!("{}:\n    was {was}\n    is  {is}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A file with everything made anew.
fn made(file: &str) -> String {
    let (head, cases) = file.split_once("==== ").expect("a case");
    let mut out = head.to_owned();
    for case in cases.split("\n==== ") {
        let (title, rest) = case.split_once('\n').expect("a case has an input");
        let input = rest.split("\n---- ").next().unwrap_or_default().trim();
        let _ = write!(out, "==== {title}\n{input}\n");
        let outputs = match input.chars().next() {
            Some('<') => from_xmpp(input),
            Some('{') => from_matrix(input),
            _ => from_mail(input),
        };
        for (name, text) in outputs {
            let _ = write!(out, "---- {name}\n{text}\n");
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn ghosts() -> Ghosts {
    Ghosts { prefix: "xmpp_".into(), server: "example.org".into(), bot: "xmppbot".into() }
}

fn juliet() -> UserId {
    UserId::new("juliet", "capulet.lit").unwrap()
}

fn alice() -> PersonId {
    PersonId::new("alice", "hs").unwrap()
}

fn from_xmpp(input: &str) -> Vec<(&'static str, String)> {
    let with_header = input.replacen(
        "<message",
        "<message xmlns='jabber:client' from='juliet@capulet.lit/balcony' to='alice%hs@m.example.org'",
        1,
    );
    let stanza = Stanza::from_element(with_header.parse().unwrap_or_else(|error| panic!("{error}: {input}"))).unwrap();
    let kind = match from_stanza::message(&stanza) {
        Parsed::Event { kind, .. } => kind,
        other => return vec![("event", format!("{other:?}"))],
    };
    let matrix: Vec<String> = to_matrix::events(&kind, &ghosts())
        .iter()
        .map(|wire| match wire {
            Wire::Message(content) => serde_json::to_string_pretty(content).unwrap(),
            other => format!("{other:?}"),
        })
        .collect();
    let mut outputs = vec![("event", format!("{kind:?}")), ("Matrix", matrix.join("\n"))];
    if let Kind::Text(_) = &kind {
        outputs.push(("mail", mail(kind)));
    }
    outputs
}

/// The body of the mail that a text becomes.
fn mail(kind: Kind) -> String {
    let chat = Chat::Direct { user: juliet(), person: alice() };
    let out = Outbound { id: EventId(1), chat, user: juliet(), name: None, at: NOW, kind, attempt: 0 };
    let letter = compose::compose(&[out], "Juliet");
    let parts = to_mail::Parts {
        from: "juliet@mail.example.org",
        name: "Juliet",
        to: "alice@hs",
        subject: letter.subject.as_deref().unwrap_or("hi"),
        text: &letter.text,
        rich: letter.rich.as_ref(),
        message_id: "pw.i.1@mail.example.org",
        references: &[],
        at: NOW,
        trace: "i",
        jabber_id: None,
        reaction: false,
        files: &[],
    };
    let mail = String::from_utf8(to_mail::mail(&parts).unwrap()).unwrap().replace("\r\n", "\n");
    let from = mail.find("Content-T").unwrap_or(0);
    mail[from..].trim_end().to_owned()
}

fn from_matrix(input: &str) -> Vec<(&'static str, String)> {
    let content: serde_json::Value = serde_json::from_str(input).unwrap_or_else(|error| panic!("{error}: {input}"));
    let event = serde_json::json!({
        "event_id": "$e", "type": "m.room.message", "room_id": "!r", "sender": "@alice:hs", "content": content
    });
    let event: from_matrix::Event = serde_json::from_value(event).unwrap();
    let Some(kind) = from_matrix::message(&event, &ghosts()) else { return vec![("event", "none".to_owned())] };
    let mut outputs = vec![("event", format!("{kind:?}"))];
    outputs.extend(to_xmpp(&kind));
    outputs
}

fn from_mail(input: &str) -> Vec<(&'static str, String)> {
    let letter = from_mail::read(input.replace('\n', "\r\n").as_bytes(), NOW);
    let kind = Kind::Text(Text {
        body: letter.text,
        rich: letter.rich,
        style: Style::Normal,
        subject: letter.subject,
        ..Text::default()
    });
    let mut outputs = vec![("event", format!("{kind:?}"))];
    outputs.extend(to_xmpp(&kind));
    outputs
}

/// What an event is to a client that knows signs only, and to one that knows everything.
fn to_xmpp(kind: &Kind) -> Vec<(&'static str, String)> {
    let domain = Domain::new("m.example.org").unwrap();
    let texts = Catalogue::new(en::SENTENCES);
    let item = Item {
        chat: Chat::Direct { user: juliet(), person: alice() },
        speaker: Speaker::Person { id: alice(), name: None },
        at: NOW,
        kind: kind.clone(),
        meta: Meta { remote_id: Some("$e".into()), ..Meta::default() },
    };
    let links = Links::new("https://files.example", &[7; 32], Duration::from_secs(86_400), 100 << 20);
    let linking = Linking { network: "matrix".into(), links };
    let with = |features| {
        let context = Context { domain: &domain, texts: &texts, linking: &linking, now: NOW, features };
        let stanzas = to_stanza::direct(&item, EventId(1), &context);
        let stanza = stanzas.iter().map(|stanza| {
            let mut out = Vec::new();
            write::stanza(&mut out, stanza.element());
            // One line for each payload.
            String::from_utf8(out).unwrap().replace("><", ">\n<")
        });
        stanza.collect::<Vec<_>>().join("\n")
    };
    let (plain, all) = (with(Features::default()), with(Features { xhtml: true, markup: true, ..Features::default() }));
    let mut outputs = vec![("XMPP", plain.clone())];
    // They stand side by side, in the place where the plain one goes on.
    let same = all.char_indices().zip(plain.chars()).find(|((_, a), b)| a != b).map_or(plain.len(), |((at, _), _)| at);
    let from = all[..same].rfind('\n').map_or(0, |line| line + 1);
    let more = all.get(from..from + all.len() - plain.len()).unwrap_or_default().trim();
    if !more.is_empty() {
        outputs.push(("XMPP, further elements for clients that know XEP-0394 and XEP-0071", more.to_owned()));
    }
    outputs
}
