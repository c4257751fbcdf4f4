//! What a server lets us do in the name of its users, beside their rosters (P8, P9).

use minidom::Element;
use portway_bridges::loopback::wire::Item;

use crate::support::gateway::{BALCONY, Gateway, JULIET, US, error};

const PRIVILEGE: &str = "urn:xmpp:privilege:2";
const FORWARD: &str = "urn:xmpp:forward:0";
const CLIENT: &str = "jabber:client";
const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";

/// What is nested is granted as well: so does Prosody's module of Debian 12.
const GRANT: &str = "<perm access='iq'><namespace ns='urn:x' type='get'>\
                     <namespace ns='http://jabber.org/protocol/pubsub' type='both'/></namespace></perm>";

async fn grant(gateway: &mut Gateway, perms: &str) {
    let text =
        format!("<message from='bench.example' to='{US}'><privilege xmlns='{PRIVILEGE}'>{perms}</privilege></message>");
    gateway.send(&text).await;
}

/// The next request in juliet's name: the outer one, and the inner one.
async fn request(gateway: &mut Gateway) -> (Element, Element) {
    let outer = gateway.stanza(|stanza| stanza.has_child("privileged_iq", PRIVILEGE)).await;
    assert_eq!((outer.attr("from"), outer.attr("to")), (Some(US), Some(JULIET)));
    let inner = outer.get_child("privileged_iq", PRIVILEGE).unwrap().get_child("iq", CLIENT).unwrap().clone();
    assert_eq!((inner.attr("to"), inner.attr("type")), (Some(JULIET), outer.attr("type")));
    assert!(inner.attr("id").is_some() && inner.attr("from").is_none());
    (outer, inner)
}

/// What is asked of the account: the payload of the inner request.
fn asked(inner: &Element) -> Element {
    inner.get_child("pubsub", PUBSUB).unwrap().clone()
}

/// The server's answer to the outer request, with the account's answer inside.
fn answer(outer: &Element, inner: &Element, type_: &str, payload: &str) -> String {
    format!(
        "<iq type='result' from='{JULIET}' to='{US}' id='{}'><privilege xmlns='{PRIVILEGE}'><forwarded xmlns='{FORWARD}'>\
         <iq xmlns='{CLIENT}' type='{type_}' from='{JULIET}' to='{JULIET}' id='{}'>{payload}</iq></forwarded></privilege></iq>",
        outer.attr("id").unwrap(),
        inner.attr("id").unwrap()
    )
}

fn bookmarks(items: &str) -> String {
    format!("<pubsub xmlns='{PUBSUB}'><items node='{BOOKMARKS}'>{items}</items></pubsub>")
}

/// juliet joins a room; her bookmark of it, with what her client keeps there.
async fn join(gateway: &mut Gateway, room: &str) -> String {
    let join =
        format!("<presence from='{BALCONY}' to='{room}@{US}/J'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    gateway.send(&join).await;
    gateway.stanza(|stanza| stanza.has_child("subject", "jabber:component:accept")).await;
    format!(
        "<item id='{room}@{US}'><conference xmlns='{BOOKMARKS}' autojoin='true' name='My town'><nick>J</nick>\
         <extensions><pin xmlns='urn:client'/></extensions></conference></item>"
    )
}

/// Bob's room moves.
async fn tombstone(gateway: &mut Gateway, from: &str, to: &str) {
    let gone = Item {
        id: format!("gone-{from}"),
        room: Some(from.into()),
        person: Some("bob@loopback".into()),
        kind: "gone".into(),
        body: Some(to.into()),
        ..Item::default()
    };
    gateway.peer.say(std::iter::once(gone)).await;
}

#[tokio::test]
async fn p8_p9_a_bookmark_follows_the_room_with_all_that_is_the_user_s() {
    let mut gateway = Gateway::open().await;
    grant(&mut gateway, GRANT).await;
    let old = join(&mut gateway, "!town").await;
    tombstone(&mut gateway, "!town", "!city").await;
    let told = gateway.stanza(|stanza| String::from(stanza).contains("<destroy")).await;
    assert!(String::from(&told).contains(&format!("jid='!city@{US}'")), "{}", String::from(&told));
    let (outer, inner) = request(&mut gateway).await;
    assert_eq!(inner.attr("type"), Some("get"));
    assert_eq!(asked(&inner).get_child("items", PUBSUB).and_then(|items| items.attr("node")), Some(BOOKMARKS));
    // Forged answers: of a device, of somebody else, with another id. And the request itself, sent back.
    let forged = answer(&outer, &inner, "result", &bookmarks(""));
    for from in [BALCONY, "eve@bench.example", "bench.example"] {
        gateway.send(&forged.replacen(&format!("from='{JULIET}'"), &format!("from='{from}'"), 1)).await;
    }
    gateway.send(&forged.replacen("id='", "id='x", 1)).await;
    gateway.send(&forged.replacen("type='result'", "type='set'", 1)).await;
    let other = "<item id='tea@chat.example'><conference xmlns='urn:xmpp:bookmarks:1'/></item>";
    gateway.send(&answer(&outer, &inner, "result", &bookmarks(&format!("{other}{old}")))).await;
    // First the new one, whole.
    let (outer, inner) = request(&mut gateway).await;
    assert_eq!(inner.attr("type"), Some("set"));
    let written = String::from(&asked(&inner));
    assert!(written.contains(&old.replace("!town", "!city")), "{written}");
    for option in ["persist_items'><value>true", "access_model'><value>whitelist", "max_items'><value>max"] {
        assert!(written.contains(option), "{written}");
    }
    assert!(written.contains("send_last_published_item'><value>never"), "{written}");
    gateway.send(&answer(&outer, &inner, "result", "")).await;
    // And then the old one goes.
    let (outer, inner) = request(&mut gateway).await;
    let retract = asked(&inner);
    let retract = retract.get_child("retract", PUBSUB).unwrap();
    assert_eq!((retract.attr("node"), retract.attr("notify")), (Some(BOOKMARKS), Some("true")));
    assert_eq!(
        retract.get_child("item", PUBSUB).and_then(|item| item.attr("id")),
        Some(format!("!town@{US}").as_str())
    );
    gateway.send(&answer(&outer, &inner, "result", "")).await;
    // Whoever comes to the old room is told where it is, by the alias as well, and the bookmark by the alias follows.
    for (n, room) in ["!town", "#town%loopback"].into_iter().enumerate() {
        let join = format!(
            "<presence from='{BALCONY}' to='{room}@{US}/J' id='late-{n}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        );
        gateway.send(&join).await;
        let refused = gateway.answer(&format!("late-{n}")).await;
        assert_eq!(error(&refused).1, "gone");
        assert!(
            String::from(&refused).contains(&format!(">xmpp:!city@{US}?join</gone>")),
            "{}",
            String::from(&refused)
        );
        let (outer, inner) = request(&mut gateway).await;
        let mine = bookmarks(&old.replace("!town", "#town%loopback"));
        gateway.send(&answer(&outer, &inner, "result", &mine)).await;
    }
    let (_, inner) = request(&mut gateway).await;
    assert!(String::from(&asked(&inner)).contains(&format!("<item id='!city@{US}'>")), "{}", String::from(&inner));
}

#[tokio::test]
async fn p8_p9_what_is_not_granted_or_refused_changes_nothing() {
    let mut gateway = Gateway::open().await;
    // Reading is granted, writing is not.
    grant(&mut gateway, "<perm access='iq'><namespace ns='http://jabber.org/protocol/pubsub' type='get'/></perm>")
        .await;
    let old = join(&mut gateway, "!town").await;
    tombstone(&mut gateway, "!town", "!city").await;
    let (outer, inner) = request(&mut gateway).await;
    gateway.send(&answer(&outer, &inner, "result", &bookmarks(&old))).await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| stanza.has_child("privileged_iq", PRIVILEGE)), "{rest:?}");
    // Refused inside, although the answer around it is a result: the old one is not taken away.
    grant(&mut gateway, GRANT).await;
    let old = join(&mut gateway, "!square").await;
    tombstone(&mut gateway, "!square", "!city").await;
    let (outer, inner) = request(&mut gateway).await;
    gateway.send(&answer(&outer, &inner, "result", &bookmarks(&old))).await;
    let (outer, inner) = request(&mut gateway).await;
    assert!(asked(&inner).has_child("publish", PUBSUB));
    let conflict = "<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    gateway.send(&answer(&outer, &inner, "error", conflict)).await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| stanza.has_child("privileged_iq", PRIVILEGE)), "{rest:?}");
    // The same where we may mend the node: it is made what it must be, and then it works.
    let more = "<perm access='iq'><namespace ns='http://jabber.org/protocol/pubsub#owner' type='set'/></perm>";
    grant(&mut gateway, &format!("{GRANT}{more}")).await;
    let old = join(&mut gateway, "!market").await;
    tombstone(&mut gateway, "!market", "!city").await;
    let (outer, inner) = request(&mut gateway).await;
    gateway.send(&answer(&outer, &inner, "result", &bookmarks(&old))).await;
    let (outer, inner) = request(&mut gateway).await;
    gateway.send(&answer(&outer, &inner, "error", conflict)).await;
    let (outer, inner) = request(&mut gateway).await;
    let owner = format!("{PUBSUB}#owner");
    let configure =
        inner.get_child("pubsub", owner.as_str()).and_then(|query| query.get_child("configure", owner.as_str()));
    assert_eq!(configure.and_then(|configure| configure.attr("node")), Some(BOOKMARKS));
    gateway.send(&answer(&outer, &inner, "result", "")).await;
    for step in ["publish", "retract"] {
        let (outer, inner) = request(&mut gateway).await;
        assert!(asked(&inner).has_child(step, PUBSUB), "{step}");
        gateway.send(&answer(&outer, &inner, "result", "")).await;
    }
    // Nothing granted: nothing asked.
    grant(&mut gateway, "").await;
    join(&mut gateway, "!garden").await;
    tombstone(&mut gateway, "!garden", "!city").await;
    gateway.stanza(|stanza| String::from(stanza).contains("<destroy")).await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| stanza.has_child("privileged_iq", PRIVILEGE)), "{rest:?}");
}

#[tokio::test]
async fn p9_p10_an_invitation_makes_no_bookmark() {
    let mut gateway = Gateway::open().await;
    grant(&mut gateway, GRANT).await;
    let invitation = Item {
        id: "i1".into(),
        user: Some(JULIET.into()),
        person: Some("bob@loopback".into()),
        name: Some("Town".into()),
        kind: "invite".into(),
        body: Some("!town".into()),
        ..Item::default()
    };
    gateway.peer.say(std::iter::once(invitation)).await;
    let invited = gateway.stanza(|stanza| stanza.has_child("x", "jabber:x:conference")).await;
    let bob = format!("bob%loopback@{US}");
    assert_eq!((invited.attr("from"), invited.attr("to")), (Some(bob.as_str()), Some(JULIET)));
    assert!(!String::from(&invited).contains("muc#user"), "{}", String::from(&invited));
    join(&mut gateway, "!town").await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| stanza.has_child("privileged_iq", PRIVILEGE)), "{rest:?}");
}
