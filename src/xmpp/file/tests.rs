//! Golden: each row of the mapping of files and places, as clients see and send it.

use minidom::Element;
use portway_bridges::api::{
    Chat, EventId, File, FileForm, Kind, PersonId, Source, Target, Text, Thumbnail, Timestamp, UserId,
};
use proptest::prelude::*;

use super::write::tests::linking;
use crate::route::item::{Item, Meta, Speaker};
use crate::text::{Catalogue, en};
use crate::xmpp::from_stanza::{self, Parsed};
use crate::xmpp::rich::Features;
use crate::xmpp::stanza::{Domain, Stanza};
use crate::xmpp::stream::write;
use crate::xmpp::to_stanza::{self, Context};

const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn rendered(kind: Kind) -> Vec<String> {
    let person = PersonId::new("alice", "hs").unwrap();
    let item = Item {
        chat: Chat::Direct { user: UserId::parse("juliet@capulet.lit").unwrap(), person: person.clone() },
        speaker: Speaker::Person { id: person, name: None },
        at: Timestamp(1_000_000),
        kind,
        meta: Meta { remote_id: Some("$e".into()), ..Meta::default() },
    };
    let (domain, texts, linking) = (Domain::new("m.x").unwrap(), Catalogue::new(en::SENTENCES), linking());
    let context = Context {
        domain: &domain,
        texts: &texts,
        linking: &linking,
        now: Timestamp(1_000_000),
        features: Features::default(),
    };
    to_stanza::direct(&item, EventId(7), &context)
        .iter()
        .map(|stanza| {
            let mut out = Vec::new();
            write::stanza(&mut out, stanza.element());
            String::from_utf8(out).unwrap()
        })
        .collect()
}

/// With the token of each URL left out, which nobody reads.
fn without_tokens(stanza: &str) -> String {
    let mut parts = stanza.split("/media/");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("/media/…/");
        out.push_str(part.split_once('/').unwrap().1);
    }
    out
}

fn parsed(inside: &str) -> Vec<Kind> {
    let text = format!("<message xmlns='jabber:client' id='m1'>{inside}</message>");
    let element: Element = text.parse().unwrap();
    match from_stanza::message(&Stanza::from_element(element).unwrap()) {
        Parsed::Event { kind, more, .. } => std::iter::once(kind).chain(more).collect(),
        other => panic!("{inside}: {other:?}"),
    }
}

fn file(inside: &str) -> File {
    let kinds = parsed(inside);
    match kinds.as_slice() {
        [Kind::File(file)] => (**file).clone(),
        other => panic!("{inside}: {other:?}"),
    }
}

fn full() -> File {
    File {
        name: "summit.jpg".into(),
        form: FileForm::Image,
        media_type: Some("image/jpeg".into()),
        size: Some(3_032_449),
        extent: Some((4096, 2160)),
        millis: Some(7),
        blurhash: Some("LE%k".into()),
        source: Some(Source::new("far")),
        thumbnail: Some(Thumbnail {
            source: Source::new("small"),
            media_type: Some("image/png".into()),
            extent: Some((128, 96)),
        }),
        caption: Some(Text::plain("from the top")),
        reply: Some(Target::by_id("q1")),
        ..File::default()
    }
}

#[test]
fn f4_a_file_is_its_link_in_every_form_that_clients_read() {
    let out: Vec<String> = rendered(Kind::File(Box::new(full()))).iter().map(|stanza| without_tokens(stanza)).collect();
    let about = |ns: &str| {
        format!(
            "<file xmlns='{ns}'><media-type>image/jpeg</media-type><name>summit.jpg</name><size>3032449</size>\
             <width>4096</width><height>2160</height><length>7</length>\
             <thumbnail xmlns='urn:xmpp:thumbs:1' height='96' media-type='image/png' uri='https://files.example/media/…/thumbnail.png' width='128'/>\
             <thumbnail xmlns='urn:xmpp:thumbs:1' height='2160' media-type='image/blurhash' uri='data:image/blurhash,LE%25k' width='4096'/></file>"
        )
    };
    let url = "https://files.example/media/…/summit.jpg";
    assert_eq!(
        out[0],
        format!(
            "<message from='alice%hs@m.x/portway' id='$e' to='juliet@capulet.lit' type='chat'>\
             <body>{url}</body><reply xmlns='urn:xmpp:reply:0' id='q1' to='juliet@capulet.lit'/>\
             <file-sharing xmlns='urn:xmpp:sfs:0' disposition='inline'>{}\
             <sources><url-data xmlns='http://jabber.org/protocol/url-data' target='{url}'/></sources></file-sharing>\
             <reference xmlns='urn:xmpp:reference:0' type='data'><media-sharing xmlns='urn:xmpp:sims:1'>{}\
             <sources><reference xmlns='urn:xmpp:reference:0' type='data' uri='{url}'/></sources></media-sharing></reference>\
             <fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:sfs:0'><body/></fallback>\
             <x xmlns='jabber:x:oob'><url>{url}</url></x>\
             <origin-id xmlns='urn:xmpp:sid:0' id='$e'/><markable xmlns='urn:xmpp:chat-markers:0'/>\
             <active xmlns='http://jabber.org/protocol/chatstates'/></message>",
            about("urn:xmpp:file:metadata:0"),
            about("urn:xmpp:jingle:apps:file-transfer:5"),
        )
    );
    assert_eq!(
        out[1],
        "<message from='alice%hs@m.x/portway' id='$e-caption' to='juliet@capulet.lit' type='chat'>\
         <body>from the top</body><attach-to xmlns='urn:xmpp:message-attaching:1' id='$e'/>\
         <origin-id xmlns='urn:xmpp:sid:0' id='$e-caption'/><markable xmlns='urn:xmpp:chat-markers:0'/>\
         <active xmlns='http://jabber.org/protocol/chatstates'/></message>"
    );
    assert_eq!(out.len(), 2);
    // What is to be kept is no picture, and a sticker is one.
    let form = |form| rendered(Kind::File(Box::new(File { form, caption: None, ..full() }))).concat();
    assert!(form(FileForm::Plain).contains("disposition='attachment'"));
    assert!(form(FileForm::Sticker).contains("<sticker xmlns='urn:xmpp:stickers:0'/>"));
}

#[test]
fn f4_what_nobody_can_fetch_is_named() {
    let named = |file: File| rendered(Kind::File(Box::new(file))).concat();
    let nowhere = named(File { source: None, ..full() });
    assert!(nowhere.contains("<body>[file: summit.jpg, image/jpeg, 2.8 MiB]\nfrom the top</body>"), "{nowhere}");
    let large = named(File { size: Some(101 << 20), ..full() });
    assert!(large.contains("[file: summit.jpg") && !large.contains("/media/"), "{large}");
}

/// What clients get from us they could send us: nothing of it is lost but how it is meant to be heard, and where it is.
#[test]
fn f5_what_we_write_is_what_we_read() {
    for form in [FileForm::Plain, FileForm::Image, FileForm::Sticker] {
        let before = File { form, reply: None, ..full() };
        let out = rendered(Kind::File(Box::new(File { caption: None, ..before.clone() })));
        let stanza = out[0].replace("<message ", "<message xmlns='jabber:client' ");
        let stanza = Stanza::from_element(stanza.parse().unwrap()).unwrap();
        let Parsed::Event { kind: Kind::File(after), .. } = from_stanza::message(&stanza) else { panic!("{out:?}") };
        let url = after.url.clone();
        assert!(url.as_deref().is_some_and(|url| url.starts_with("https://files.example/media/")), "{url:?}");
        assert_eq!(*after, File { source: None, thumbnail: None, caption: None, url, ..before });
    }
}

#[test]
fn f5_each_form_of_one_file_is_read_and_it_is_one_file() {
    let url = "https://up.example/a/summit.jpg";
    let expected = File {
        name: "summit.jpg".into(),
        form: FileForm::Image,
        media_type: Some("image/jpeg".into()),
        url: Some(url.into()),
        ..File::default()
    };
    let oob = format!("<x xmlns='jabber:x:oob'><url>{url}</url></x>");
    let body = format!("<body>{url}</body>");
    let all = "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:sfs:0'><body/></fallback>";
    let sims = format!(
        "<reference xmlns='urn:xmpp:reference:0' type='data'><media-sharing xmlns='urn:xmpp:sims:1'><file xmlns='urn:xmpp:jingle:apps:file-transfer:5'><size>9</size></file>\
         <sources><reference xmlns='urn:xmpp:reference:0' type='data' uri='{url}'/></sources></media-sharing></reference>"
    );
    let sfs = format!(
        "<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'><dimensions>5x6</dimensions><length>70</length></file>\
         <sources><url-data xmlns='http://jabber.org/protocol/url-data' target='{url}'/></sources></file-sharing>"
    );
    assert_eq!(file(&format!("{body}{oob}")), expected);
    assert_eq!(file(&oob), expected);
    assert_eq!(file(&format!("{body}{sims}")), File { size: Some(9), ..expected.clone() });
    let described = File { extent: Some((5, 6)), millis: Some(70), ..expected.clone() };
    assert_eq!(file(&sfs), described);
    assert_eq!(file(&format!("{sfs}{sims}{all}{body}{oob}")), File { size: Some(9), ..described });
    let captioned = File { caption: Some(Text::plain("look at\nthis")), ..expected.clone() };
    assert_eq!(file(&format!("<body>look at\nthis</body>{oob}")), captioned);
    assert_eq!(file(&format!("<body>look at\nthis\n{url}</body>{oob}")), captioned);
    let reply = "<reply xmlns='urn:xmpp:reply:0' id='q1'/><thread>t1</thread>";
    let answer = file(&format!("{body}{oob}{reply}"));
    assert_eq!((answer.reply, answer.thread.unwrap().as_str()), (Some(Target::by_id("q1")), "t1"));
}

#[test]
fn f5_a_link_in_a_sentence_is_no_file() {
    let oob = "<x xmlns='jabber:x:oob'><url>https://x/a.png</url></x>";
    for text in ["see https://x/a.png there", "https://x/a.png!"] {
        assert_eq!(parsed(&format!("<body>{text}</body>{oob}")), [Kind::Text(Text::plain(text))]);
    }
    assert_eq!(parsed("<body>https://x/a.png</body>"), [Kind::Text(Text::plain("https://x/a.png"))]);
    // A file that replaces another is sent anew: on Matrix no event changes its type.
    let anew =
        parsed(&format!("<body>https://x/a.png</body>{oob}<replace xmlns='urn:xmpp:message-correct:0' id='x'/>"));
    assert!(matches!(anew.as_slice(), [Kind::File(_)]));
    for bad in ["ftp://x/a", "file:///etc/passwd", "javascript:alert(1)", ""] {
        let kinds = parsed(&format!("<body>hm</body><x xmlns='jabber:x:oob'><url>{bad}</url></x>"));
        assert_eq!(kinds, [Kind::Text(Text::plain("hm"))], "{bad}");
    }
}

#[test]
fn f5_several_files_are_several_events() {
    let one = |n: u32| {
        format!(
            "<file-sharing xmlns='urn:xmpp:sfs:0' id='{n}'><file xmlns='urn:xmpp:file:metadata:0'><name>{n}.png</name></file>\
             <sources><url-data xmlns='http://jabber.org/protocol/url-data' target='https://x/{n}'/></sources></file-sharing>"
        )
    };
    let kinds = parsed(&format!("{}{}{}<body>three</body>", one(1), one(2), one(3)));
    let files: Vec<_> = kinds
        .iter()
        .map(|kind| match kind {
            Kind::File(file) => (file.name.as_str(), file.caption.as_ref().map(|text| text.body.as_str())),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(files, [("1.png", None), ("2.png", None), ("3.png", Some("three"))]);
    // A source that comes later is a file then.
    let pending = "<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'><name>a</name></file></file-sharing>";
    assert_eq!(parsed(&format!("{pending}<body>soon</body>")), [Kind::Text(Text::plain("soon"))]);
    let many: String = (0..100).map(one).collect();
    assert_eq!(parsed(&many).len(), 20);
}

#[test]
fn f5_encrypted_files_are_read_in_both_forms() {
    let url = format!("aesgcm://up.example/a/b.jpg#{}{SHA}", "ab".repeat(12));
    let plain = file(&format!("<body>{url}</body>"));
    assert_eq!((plain.url.as_deref(), plain.name.as_str(), plain.form), (Some(url.as_str()), "b.jpg", FileForm::Image));
    let small = file(&format!("<body>{url}\ndata:image/jpeg,/9j/4AAQ</body>"));
    assert_eq!((small.url, small.caption), (plain.url, None));
    assert_eq!(parsed("<body>aesgcm://x/y</body>"), [Kind::Text(Text::plain("aesgcm://x/y"))]);
    let newer = "<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'><name>b.jpg</name></file><sources>\
                 <encrypted xmlns='urn:xmpp:esfs:0' cipher='urn:xmpp:ciphers:aes-256-gcm-nopadding:0'>\
                 <key>ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8=</key><iv>q6urq6urq6urq6ur</iv>\
                 <sources xmlns='urn:xmpp:sfs:0'><url-data xmlns='http://jabber.org/protocol/url-data' target='https://up.example/a/b.jpg'/></sources>\
                 </encrypted></sources></file-sharing>";
    assert_eq!(file(newer).url, Some(url));
}

#[test]
fn f5_stickers_have_the_name_that_stands_for_them() {
    let found = file(
        "<body>😘</body><sticker xmlns='urn:xmpp:stickers:0' pack='x'/><file-sharing xmlns='urn:xmpp:sfs:0'>\
         <file xmlns='urn:xmpp:file:metadata:0'><media-type>image/png</media-type><dimensions>512x512</dimensions></file>\
         <sources><url-data xmlns='http://jabber.org/protocol/url-data' target='https://x/kiss.png'/></sources></file-sharing>",
    );
    assert_eq!((found.form, found.name.as_str(), found.caption), (FileForm::Sticker, "😘", None));
}

#[test]
fn places_are_a_uri_and_nothing_else_both_ways() {
    let place = |uri: &str, text: Option<&str>| Kind::Location { uri: uri.into(), text: text.map(str::to_owned) };
    let out = rendered(place("geo:52.5,-13.4;u=10", Some("Location: geo:52.5,-13.4 as of noon")));
    assert_eq!(out.len(), 1);
    assert!(out[0].contains("<body>geo:52.5,-13.4;u=10</body>"), "{out:?}");
    let geoloc = "<geoloc xmlns='http://jabber.org/protocol/geoloc'><lat>52.5</lat><lon>-13.4</lon></geoloc>";
    assert!(out[0].contains(geoloc), "{out:?}");
    let out = rendered(place("geo:52.5,-13.4", Some("At home")));
    assert!(out[1].contains("<body>At home</body>") && out[1].contains("<attach-to"), "{out:?}");
    for (stanza, expected) in [
        ("<body>geo:52.5,-13.4</body>", Some(place("geo:52.5,-13.4", None))),
        ("<body> geo:52.5,13.4,100;u=5?q=x </body>", Some(place("geo:52.5,13.4,100;u=5?q=x", None))),
        (geoloc, Some(place("geo:52.5,-13.4", None))),
        ("<body>geo:91,0</body>", None),
        ("<body>geo:1,181</body>", None),
        ("<body>geo:1</body>", None),
        ("<body>geo:1,NaN</body>", None),
        ("<body>geo:1,2 is where I am</body>", None),
        ("<body>x</body><geoloc xmlns='http://jabber.org/protocol/geoloc'><lat>x</lat><lon>1</lon></geoloc>", None),
    ] {
        let kinds = parsed(stanza);
        match expected {
            Some(expected) => assert_eq!(kinds, [expected], "{stanza}"),
            None => assert!(matches!(kinds.as_slice(), [Kind::Text(_)]), "{stanza}: {kinds:?}"),
        }
    }
    let said = parsed(&format!("<body>we are here</body>{geoloc}"));
    assert_eq!(said, [place("geo:52.5,-13.4", Some("we are here"))]);
}

/// How a file is meant, and media types that go with it.
fn meant() -> impl Strategy<Value = (FileForm, Option<String>)> {
    prop_oneof![
        Just((FileForm::Plain, None)),
        "(image|video|audio|text|application)/[a-z]{1,9}".prop_map(|media_type| (FileForm::Plain, Some(media_type))),
        "image/[a-z]{1,9}".prop_map(|media_type| (FileForm::Image, Some(media_type))),
        "video/[a-z]{1,9}".prop_map(|media_type| (FileForm::Video, Some(media_type))),
        "audio/[a-z]{1,9}".prop_map(|media_type| (FileForm::Audio, Some(media_type))),
        "image/[a-z]{1,9}".prop_map(|media_type| (FileForm::Sticker, Some(media_type))),
    ]
}

proptest! {
    /// `from(to(x)) == x`, for what is known of a file; that it was spoken is not (there is no form for it).
    #[test]
    fn f5_whatever_is_known_of_a_file_survives(
        (form, media_type) in meant(),
        name in "[a-zA-Z0-9äß😘&<>'\"%#?]([ -.0-~äß😘]{0,20}[a-z<&])?",
        size in proptest::option::of(any::<u64>()),
        extent in proptest::option::of(any::<(u32, u32)>()),
        millis in proptest::option::of(any::<u64>()),
        blurhash in proptest::option::of("[0-9A-Za-z#$%*+,.:;=?@^_{|}~-]{6,30}"),
        url in "https://[a-z]{1,9}\\.example/[a-zA-Z0-9%~&?=._/-]{0,40}",
    ) {
        let name = name.replace(['/', '\\'], "_");
        let before = File { name, form, media_type, size, extent, millis, blurhash, url: Some(url), ..File::default() };
        let out = rendered(Kind::File(Box::new(before.clone())));
        let stanza = out[0].replacen("<message ", "<message xmlns='jabber:client' ", 1);
        let stanza = Stanza::from_element(stanza.parse().unwrap()).unwrap();
        let Parsed::Event { kind: Kind::File(after), more, .. } = from_stanza::message(&stanza) else { panic!("{out:?}") };
        prop_assert!(more.is_empty());
        // A name that says what it is gives a type where there was none.
        let known = after.media_type.clone().filter(|_| before.media_type.is_some());
        prop_assert_eq!(File { media_type: known, ..*after }, before);
    }

    /// Whatever somebody writes into a message, there is something that it says.
    #[test]
    fn f5_no_body_is_lost(body in "\\PC{1,60}", url in "(https://x/a\\.png|aesgcm://x|geo:1,2|x)") {
        let text = body.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let kinds = parsed(&format!("<body>{text}</body><x xmlns='jabber:x:oob'><url>{url}</url></x>"));
        let said: String = kinds.iter().map(|kind| format!("{kind:?}")).collect();
        prop_assert!(!kinds.is_empty());
        let whole = match &kinds[0] {
            Kind::Text(text) => text.body.clone(),
            Kind::File(file) => file.caption.as_ref().map(|text| text.body.clone()).unwrap_or_default(),
            Kind::Location { uri, .. } => uri.clone(),
            other => panic!("{other:?}"),
        };
        let clean = from_stanza::clean(&body);
        prop_assert_eq!(whole.trim(), clean.trim_start_matches("/me ").trim(), "{}", said);
    }
}
