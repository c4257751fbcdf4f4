//! Names and pictures: XEP-0054, 0084, 0153, 0172, 0292, 0398.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, Rgb, RgbImage};
use minidom::Element;
use sha1::{Digest, Sha1};

use crate::support::gateway::{BALCONY, Gateway, JULIET, NS, US, error};

const UPDATE: &str = "vcard-temp:x:update";
const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const EVENT: &str = "http://jabber.org/protocol/pubsub#event";
const METADATA: &str = "urn:xmpp:avatar:metadata";
const DATA: &str = "urn:xmpp:avatar:data";
const CARD: &str = "vcard-temp";
const CARD4: &str = "urn:ietf:params:xml:ns:vcard-4.0";

fn bob() -> String {
    format!("bob%loopback@{US}")
}

/// A picture of one colour, in base64: larger than what is shown.
fn picture(colour: [u8; 3]) -> String {
    let mut out = Cursor::new(Vec::new());
    RgbImage::from_pixel(400, 300, Rgb(colour)).write_to(&mut out, ImageFormat::Png).expect("a picture");
    STANDARD.encode(out.into_inner())
}

fn sha1(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a presence says of the picture: nothing (`None`), or the hash.
fn photo(presence: &Element) -> Option<String> {
    let update = presence.get_child("x", UPDATE).expect("it says something");
    update.get_child("photo", UPDATE).map(Element::text)
}

fn from_bob(stanza: &Element, name: &str) -> bool {
    stanza.name() == name && stanza.attr("from").is_some_and(|from| from.starts_with("bob%loopback@"))
}

/// The next presence of bob that names a picture, or says that there is none.
async fn next_photo(gateway: &mut Gateway) -> String {
    let wanted = |stanza: &Element| {
        from_bob(stanza, "presence") && stanza.get_child("x", UPDATE).is_some() && photo(stanza).is_some()
    };
    photo(&gateway.stanza(wanted).await).expect("it was wanted")
}

fn stanza_is_picture(stanza: &Element) -> bool {
    String::from(stanza).contains(METADATA)
}

async fn probe(gateway: &mut Gateway) {
    gateway.send(&format!("<presence type='probe' from='{BALCONY}' to='{}'/>", bob())).await;
}

/// The picture in a card: media type and bytes.
async fn card_photo(gateway: &mut Gateway, of: &str) -> Option<(String, Vec<u8>)> {
    let answer = gateway.iq("get", BALCONY, of, "<vCard xmlns='vcard-temp'/>").await;
    let photo = answer.get_child("vCard", CARD).expect("a card").get_child("PHOTO", CARD)?;
    let text = |name: &str| photo.get_child(name, CARD).expect("both").text();
    Some((text("TYPE"), STANDARD.decode(text("BINVAL")).expect("base64")))
}

/// The only item of a node.
async fn item(gateway: &mut Gateway, of: &str, node: &str) -> Option<Element> {
    let payload = format!("<pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub>");
    let answer = gateway.iq("get", BALCONY, of, &payload).await;
    assert_eq!(answer.attr("type"), Some("result"), "{}", String::from(&answer));
    let items = answer.get_child("pubsub", PUBSUB).and_then(|pubsub| pubsub.get_child("items", PUBSUB)).expect("items");
    assert_eq!(items.attr("node"), Some(node));
    items.children().next().cloned()
}

#[tokio::test]
async fn m24_a_contact_s_picture_has_one_hash_in_presence_cards_and_pep() {
    let mut gateway = Gateway::open().await;
    gateway.peer.face("bob@loopback", Some(&picture([200, 10, 10]))).await;
    probe(&mut gateway).await;
    let hash = next_photo(&mut gateway).await;
    let event = gateway.stanza(|stanza| from_bob(stanza, "message") && stanza.has_child("event", EVENT)).await;
    assert_eq!((event.attr("type"), event.attr("to")), (Some("headline"), Some(JULIET)));
    assert!(String::from(&event).contains(&hash));

    let (media_type, bytes) = card_photo(&mut gateway, &bob()).await.expect("a picture");
    assert_eq!((media_type.as_str(), sha1(&bytes)), ("image/png", hash.clone()));
    assert!(bytes.len() <= 48 * 1024);
    let shown = image::load_from_memory(&bytes).expect("a picture");
    assert_eq!((shown.width(), shown.height()), (256, 192));

    let metadata = item(&mut gateway, &bob(), METADATA).await.expect("metadata");
    assert_eq!(metadata.attr("id"), Some(hash.as_str()));
    let info =
        metadata.get_child("metadata", METADATA).and_then(|data| data.get_child("info", METADATA)).expect("info");
    assert_eq!(
        [info.attr("id"), info.attr("type"), info.attr("bytes"), info.attr("width"), info.attr("height")],
        [Some(hash.as_str()), Some("image/png"), Some(bytes.len().to_string().as_str()), Some("256"), Some("192")]
    );
    let data = item(&mut gateway, &bob(), DATA).await.expect("data");
    assert_eq!(STANDARD.decode(data.get_child("data", DATA).expect("data").text()).expect("base64"), bytes);
    let older = format!("<pubsub xmlns='{PUBSUB}'><items node='{DATA}'><item id='{}'/></items></pubsub>", sha1(b"x"));
    let answer = gateway.iq("get", BALCONY, &bob(), &older).await;
    assert_eq!(error(&answer).1, "item-not-found");

    let uri = format!("data:image/png;base64,{}", STANDARD.encode(&bytes));
    let answer = gateway.iq("get", BALCONY, &bob(), &format!("<vcard xmlns='{CARD4}'/>")).await;
    assert!(String::from(answer.get_child("vcard", CARD4).expect("a card")).contains(&uri));
    let newer = item(&mut gateway, &bob(), "urn:xmpp:vcard4").await.expect("a card");
    assert!(String::from(&newer).contains(&uri));

    // After a restart nothing needs to be found out again, and the hash is the same although the network is silent.
    gateway.restart().await;
    probe(&mut gateway).await;
    assert_eq!(next_photo(&mut gateway).await, hash);
}

#[tokio::test]
async fn m24_a_new_picture_is_told_and_one_that_goes_too() {
    let mut gateway = Gateway::open().await;
    probe(&mut gateway).await;
    assert_eq!(card_photo(&mut gateway, &bob()).await, None);
    // That there is none is no news; it is said with the next presence.
    assert!(!gateway.rest().await.iter().any(|stanza| stanza.has_child("event", EVENT) && stanza_is_picture(stanza)));
    // A device is shown a contact once, so another one asks.
    gateway.send(&format!("<presence type='probe' from='{JULIET}/orchard' to='{}'/>", bob())).await;
    assert_eq!(next_photo(&mut gateway).await, "", "there is none");
    gateway.peer.face("bob@loopback", Some(&picture([1, 200, 1]))).await;
    let first = next_photo(&mut gateway).await;
    gateway.peer.face("bob@loopback", Some(&picture([1, 1, 200]))).await;
    let second = next_photo(&mut gateway).await;
    assert!(first.len() == 40 && second.len() == 40 && first != second, "{first} {second}");
    gateway.peer.face("bob@loopback", None).await;
    assert_eq!(next_photo(&mut gateway).await, "");
    assert_eq!(card_photo(&mut gateway, &bob()).await, None);
    assert!(item(&mut gateway, &bob(), DATA).await.is_none());
    // Whoever has turned away is told nothing more.
    gateway.send(&format!("<presence type='unsubscribe' from='{JULIET}' to='{}'/>", bob())).await;
    gateway.stanza(|stanza| stanza.attr("type") == Some("unavailable")).await;
    gateway.rest().await;
    gateway.peer.face("bob@loopback", Some(&picture([3, 3, 3]))).await;
    assert!(card_photo(&mut gateway, &bob()).await.is_some());
    assert!(!gateway.rest().await.iter().any(|stanza| stanza.name() == "presence"));
    // Nobody sees carl, so nobody is told.
    gateway.rest().await;
    gateway.peer.face("carl@loopback", Some(&picture([9, 9, 9]))).await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| stanza.name() == "presence"), "{rest:#?}");
}

#[tokio::test]
async fn m24_what_is_no_picture_is_none_and_costs_nothing_else() {
    let mut gateway = Gateway::open().await;
    for bad in ["<svg xmlns='http://www.w3.org/2000/svg'/>", "", "\u{89}PNG"] {
        gateway.peer.face("bob@loopback", Some(&STANDARD.encode(bad))).await;
        assert_eq!(card_photo(&mut gateway, &bob()).await, None, "{bad}");
    }
    probe(&mut gateway).await;
    assert_eq!(next_photo(&mut gateway).await, "");
}

#[tokio::test]
async fn d4_a_contact_s_card_says_how_else_to_reach_them_in_either_form() {
    let mut gateway = Gateway::open().await;
    let answer = gateway.iq("get", BALCONY, &bob(), "<vCard xmlns='vcard-temp'/>").await;
    let card = answer.get_child("vCard", CARD).expect("a card");
    let text = |name: &str| card.get_child(name, CARD).map(Element::text);
    assert_eq!(text("NICKNAME").as_deref(), Some("bob@loopback"));
    assert_eq!(text("JABBERID"), Some(bob()));
    assert_eq!(text("URL").as_deref(), Some("loopback:bob@loopback"));
    assert_eq!(card.get_child("EMAIL", CARD).unwrap().get_child("USERID", CARD).unwrap().text(), "bob@loopback");
    let newer = item(&mut gateway, &bob(), "urn:xmpp:vcard4").await.expect("a card");
    let newer = newer.get_child("vcard", CARD4).expect("a card");
    assert_eq!(newer.get_child("fn", CARD4).unwrap().get_child("text", CARD4).unwrap().text(), "bob@loopback");
    let nick = item(&mut gateway, &bob(), "http://jabber.org/protocol/nick").await.expect("a name");
    assert_eq!(nick.children().next().unwrap().text(), "bob@loopback");
}

#[tokio::test]
async fn d4_the_gateway_has_a_card_and_a_picture_and_its_presence_says_so() {
    let mut gateway = Gateway::open().await;
    gateway.send(&format!("<presence type='probe' from='{BALCONY}' to='{US}'/>")).await;
    let presence = gateway.stanza(|stanza| stanza.name() == "presence" && stanza.attr("from") == Some(US)).await;
    let (media_type, bytes) = card_photo(&mut gateway, US).await.expect("a picture");
    assert_eq!((photo(&presence), media_type.as_str()), (Some(sha1(&bytes)), "image/png"));
    assert!(image::load_from_memory(&bytes).is_ok());
    let metadata = item(&mut gateway, US, METADATA).await.expect("metadata");
    assert_eq!(metadata.attr("id"), Some(sha1(&bytes).as_str()));
    // Strangers are not told.
    let answer = gateway.iq("get", "romeo@elsewhere.example/x", US, "<vCard xmlns='vcard-temp'/>").await;
    assert_eq!(answer.attr("type"), Some("error"));
}

/// juliet is there, and shows a picture of this hash.
fn there(hash: &str, more: &str) -> String {
    format!("<presence from='{BALCONY}' to='{}'><x xmlns='{UPDATE}'><photo>{hash}</photo></x>{more}</presence>", bob())
}

/// The gateway's question for juliet's card.
async fn asked(gateway: &mut Gateway) -> String {
    let question = gateway.stanza(|stanza| stanza.name() == "iq" && stanza.has_child("vCard", CARD)).await;
    assert_eq!((question.attr("type"), question.attr("to")), (Some("get"), Some(JULIET)));
    question.attr("id").expect("an id").to_owned()
}

#[tokio::test]
async fn m24_a_user_s_own_picture_and_name_go_to_their_stand_in() {
    let mut gateway = Gateway::open().await;
    let own = picture([7, 7, 7]);
    let hash = sha1(&STANDARD.decode(&own).unwrap());
    // What presence carries besides the hash is not taken for the picture.
    gateway.send(&there(&hash, "<vCard xmlns='vcard-temp'><PHOTO><BINVAL>AAAA</BINVAL></PHOTO></vCard>")).await;
    let id = asked(&mut gateway).await;
    let card = format!("<FN>Juliet C.</FN><NICKNAME>Juliet</NICKNAME><PHOTO><BINVAL>{own}</BINVAL></PHOTO>");
    // Somebody else's answer counts for nothing.
    let forged = format!(
        "<iq type='result' id='{id}' from='mallory@bench.example' to='{US}'><vCard xmlns='vcard-temp'><FN>Mallory</FN></vCard></iq>"
    );
    gateway.send(&forged).await;
    let true_one = |id: &str| {
        format!("<iq type='result' id='{id}' from='{JULIET}' to='{US}'><vCard xmlns='vcard-temp'>{card}</vCard></iq>")
    };
    gateway.send(&true_one(&id)).await;
    let dress = gateway.item("dress").await;
    assert_eq!((dress.user.as_deref(), dress.name.as_deref()), (Some(JULIET), Some("Juliet")));
    let worn = STANDARD.decode(dress.body.expect("a picture")).expect("base64");
    let worn = image::load_from_memory(&worn).expect("a picture").to_rgb8();
    assert_eq!((worn.dimensions(), worn.get_pixel(0, 0).0), ((256, 192), [7, 7, 7]));
    // Known after a restart too. Killed between putting it on and noting that, it asks once more, which is harmless.
    let mut asked_again = 0;
    loop {
        gateway.restart().await;
        gateway.send(&there(&hash, "")).await;
        // A question comes when the store has been read: some round trips go by until then.
        let mut rest = Vec::new();
        for _ in 0..50 {
            rest.extend(gateway.rest().await);
        }
        let Some(again) = rest.iter().find(|stanza| stanza.has_child("vCard", CARD)) else { break };
        asked_again += 1;
        assert!(asked_again < 5, "it forgets each time");
        let id = again.attr("id").expect("an id");
        gateway.send(&true_one(id)).await;
        gateway.item("dress").await;
    }
    // No picture any more: nothing needs to be asked for that.
    gateway.restart().await;
    gateway.send(&there("", "<nick xmlns='http://jabber.org/protocol/nick'>Jule</nick>")).await;
    let dress = gateway.item("dress").await;
    assert_eq!((dress.name.as_deref(), dress.body.as_deref()), (Some("Jule"), Some("")));
    assert!(!gateway.take(|stanza| stanza.has_child("vCard", CARD)));
}

#[tokio::test]
async fn m24_a_user_s_card_is_asked_for_once_a_minute_at_most() {
    let mut gateway = Gateway::open().await;
    gateway.send(&there(&sha1(b"1"), "")).await;
    let id = asked(&mut gateway).await;
    for n in 2..50 {
        gateway.send(&there(&sha1(n.to_string().as_bytes()), "")).await;
    }
    let answer =
        format!("<iq type='error' id='{id}' from='{JULIET}' to='{US}'><error type='cancel' xmlns='{NS}'/></iq>");
    gateway.send(&answer).await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| stanza.has_child("vCard", CARD)), "{rest:#?}");
}
