//! Rich mail against real servers: files both ways, corrections and retractions before and after a mail has left, and all
//! of it again after the gateway was killed. Runs where `PORTWAY_E2E` is set; elsewhere each test says that it was skipped.

use portway_testbed::mail::{self as outside, OUTSIDE};
use portway_testbed::matrix::transfer;
use portway_testbed::world::{HOST, Kind, World, in_world};
use portway_testbed::xmpp::Xmpp;
use portway_testbed::{Result, imap};

const OOB: &str = "jabber:x:oob";
const UPLOAD: &str = "urn:xmpp:http:upload:0";

/// As much of a picture as is needed here.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A mail with a text, a picture and a calendar; `id` is part of all its names.
fn picture(id: &str, answers: Option<&str>) -> String {
    let answers = answers.map_or(String::new(), |id| format!("In-Reply-To: {id}\r\nReferences: {id}\r\n"));
    format!(
        "From: Bob <bob@{OUTSIDE}>\r\nTo: romeo@mail.{HOST}\r\nSubject: Pictures\r\nMessage-ID: <{id}@{OUTSIDE}>\r\n{answers}\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nlook at {id}\r\n\
         --x\r\nContent-Type: image/png; name=\"../cat-{id}.png\"\r\nContent-Disposition: attachment\r\n\
         Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--x--\r\n"
    )
}

/// What is said of a message.
fn correction(of: &str, id: &str, text: &str) -> String {
    let contact = contact();
    format!(
        "<message xmlns='jabber:client' to='{contact}' type='chat' id='{id}'><body>{text}</body>\
         <replace xmlns='urn:xmpp:message-correct:0' id='{of}'/><request xmlns='urn:xmpp:receipts'/></message>"
    )
}

fn retraction(of: &str, id: &str) -> String {
    let contact = contact();
    format!(
        "<message xmlns='jabber:client' to='{contact}' type='chat' id='{id}'><body>taken back</body>\
         <retract xmlns='urn:xmpp:message-retract:1' id='{of}'/><request xmlns='urn:xmpp:receipts'/></message>"
    )
}

fn contact() -> String {
    format!("bob%{OUTSIDE}@mail.{HOST}")
}

/// One round; `round` is part of all ids and texts.
async fn round(world: &World, romeo: &mut Xmpp, round: &str) -> Result<()> {
    let (contact, bob) = (contact(), format!("bob@{OUTSIDE}"));
    // Before it leaves: the user is still writing until the order to send.
    let (one, two) = (format!("{round}-one"), format!("{round}-two"));
    romeo.say(&contact, &one, &format!("{round}: see you at fvie")).await?;
    romeo.say(&contact, &two, &format!("{round}: a secret")).await?;
    romeo
        .send(&format!(
            "<message xmlns='jabber:client' to='{contact}' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
        ))
        .await?;
    romeo.send(&correction(&one, &format!("{round}-right"), &format!("{round}: see you at five"))).await?;
    romeo.send(&retraction(&two, &format!("{round}-gone"))).await?;
    romeo.say(&contact, &format!("{round}-send"), "/send").await?;
    let mail = imap::wait(world.mail.imap, &bob, |mail| mail.contains(&format!("{round}: see you at five"))).await?;
    if mail.contains("fvie") || mail.contains("secret") {
        return Err(format!("it left as it was:\n{mail}"));
    }
    for id in [one.clone(), format!("{round}-right"), format!("{round}-gone")] {
        romeo.receipt(&id).await?;
    }
    // After it has left.
    romeo.send(&correction(&one, &format!("{round}-late"), &format!("{round}: or at six"))).await?;
    let id = imap::header(&mail, "Message-ID").ok_or("no Message-ID")?;
    let late =
        imap::wait(world.mail.imap, &bob, |mail| mail.contains(&format!("Correction: {round}: or at six"))).await?;
    if imap::header(&late, "In-Reply-To").as_ref() != Some(&id) {
        return Err(format!("it does not answer {id}:\n{late}"));
    }
    romeo.send(&retraction(&one, &format!("{round}-too-late"))).await?;
    let error = String::from(&romeo.error(&format!("{round}-too-late")).await?);
    if !error.contains("policy-violation") {
        return Err(error);
    }
    // A file from XMPP: attached.
    let url = upload(romeo, &format!("{round}-cat.png")).await?;
    romeo
        .send(&format!(
            "<message xmlns='jabber:client' to='{contact}' type='chat' id='{round}-file'><body>{url}</body>\
             <x xmlns='jabber:x:oob'><url>{url}</url></x></message>"
        ))
        .await?;
    let mail = imap::wait(world.mail.imap, &bob, |mail| mail.contains(&format!("{round}-cat.png"))).await?;
    for part in ["multipart/mixed", "Content-Type: image/png", "iVBORw0KGgo="] {
        if !mail.contains(part) {
            return Err(format!("{part} is missing in\n{mail}"));
        }
    }
    // A file from mail is a message of its own behind the text.
    outside::send_raw(world.mail.smtp, &bob, &format!("romeo@mail.{HOST}"), &picture(round, Some(&id))).await?;
    romeo.hear(&contact, &format!("look at {round}")).await?;
    let name = format!("cat-{round}.png");
    let shown = romeo.wait("the picture", |stanza| link(stanza).is_some_and(|url| url.ends_with(&name))).await?;
    let (status, bytes) = transfer("GET", &link(&shown).unwrap_or_default(), &[], Vec::new()).await?;
    if status == 200 && bytes == PNG { Ok(()) } else { Err(format!("{status}, {} bytes", bytes.len())) }
}

/// The URL of a file.
fn link(stanza: &minidom::Element) -> Option<String> {
    stanza.get_child("x", OOB)?.get_child("url", OOB).map(minidom::Element::text)
}

/// Uploads a picture to the user's server; its URL.
async fn upload(romeo: &mut Xmpp, name: &str) -> Result<String> {
    let size = PNG.len();
    romeo
        .send(&format!(
            "<iq xmlns='jabber:client' type='get' id='slot-{name}' to='upload.{HOST}'>\
             <request xmlns='{UPLOAD}' filename='{name}' size='{size}' content-type='image/png'/></iq>"
        ))
        .await?;
    let slot = romeo.wait("the slot", |stanza| stanza.attr("id") == Some(&format!("slot-{name}"))).await?;
    let urls = slot.get_child("slot", UPLOAD).ok_or_else(|| format!("no slot: {}", String::from(&slot)))?;
    let url = |way: &str| urls.get_child(way, UPLOAD).and_then(|way| way.attr("url")).unwrap_or_default().to_owned();
    let fields = urls.get_child("put", UPLOAD).into_iter().flat_map(minidom::Element::children);
    let mut headers: Vec<(String, String)> =
        fields.map(|field| (field.attr("name").unwrap_or_default().to_owned(), field.text())).collect();
    headers.push(("content-type".to_owned(), "image/png".to_owned()));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (status, _) = transfer("PUT", &url("put"), &headers, PNG.to_vec()).await?;
    if status == 201 { Ok(url("get")) } else { Err(format!("the upload: {status}")) }
}

async fn rich(world: &mut World) -> Result<()> {
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    round(world, &mut romeo, "first").await?;
    world.gateway.kill().await;
    world.gateway.start().await?;
    round(world, &mut romeo, "second").await?;
    // What was said before the restart is known after it.
    let late = "second: of the first";
    romeo.send(&correction("first-one", "second-late-of-first", late)).await?;
    let bob = format!("bob@{OUTSIDE}");
    let first = imap::wait(world.mail.imap, &bob, |mail| mail.contains("first: see you at five")).await?;
    let late = imap::wait(world.mail.imap, &bob, |mail| mail.contains(late)).await?;
    if imap::header(&late, "In-Reply-To") != imap::header(&first, "Message-ID") {
        return Err(format!("it does not answer the first mail:\n{late}"));
    }
    Ok(())
}

#[test]
fn rich_mail_on_prosody() {
    in_world(Kind::Prosody, rich);
}

#[test]
fn rich_mail_on_ejabberd() {
    in_world(Kind::Ejabberd, rich);
}
