//! Files against real servers: a picture from Synapse seen by a user of Prosody, and one that Prosody's upload service has seen by a
//! user of Synapse; and again after a restart of the gateway. Runs where `PORTWAY_E2E` is set.

use portway_testbed::Result;
use portway_testbed::matrix::{Matrix, encode, transfer};
use portway_testbed::world::{HOST, Kind, SERVER_NAME, World, alice, ghost, in_world};
use portway_testbed::xmpp::Xmpp;
use serde_json::json;

const OOB: &str = "jabber:x:oob";
const UPLOAD: &str = "urn:xmpp:http:upload:0";

/// A small picture, another one for each number.
fn picture(n: u8) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(64, 48, image::Rgb([n, 100, 200]));
    picture.write_to(&mut out, image::ImageFormat::Png).expect("a picture");
    out.into_inner()
}

/// alice sends a picture, and romeo fetches it; its URL.
async fn from_matrix(romeo: &mut Xmpp, alice_client: &Matrix, room: &str, n: u8) -> Result<String> {
    let uri = alice_client.upload("image/png", picture(n)).await?;
    let name = format!("from-matrix-{n}.png");
    let content = json!({
        "msgtype": "m.image", "body": format!("look {n}"), "filename": name, "url": uri,
        "info": { "mimetype": "image/png", "size": picture(n).len(), "w": 64, "h": 48 },
    });
    let path = format!("/rooms/{}/send/m.room.message/picture-{n}", encode(room));
    let sent = alice_client.ask("PUT", &path, Some(&content)).await?;
    let shown = romeo.wait("the picture", |stanza| String::from(stanza).contains(&name)).await?;
    let url = shown.get_child("x", OOB).and_then(|oob| oob.get_child("url", OOB)).map(minidom::Element::text);
    let url = url.ok_or_else(|| format!("no link in {}", String::from(&shown)))?;
    let body = shown.get_child("body", "jabber:client").map(minidom::Element::text);
    if body.as_deref() != Some(url.as_str()) || shown.attr("id") != sent["event_id"].as_str() {
        return Err(format!("the body is not the link, or the id not the event's: {}", String::from(&shown)));
    }
    romeo.hear(&alice(), &format!("look {n}")).await?;
    fetched(&url, n).await?;
    Ok(url)
}

async fn fetched(url: &str, n: u8) -> Result<()> {
    let (status, bytes) = transfer("GET", url, &[], Vec::new()).await?;
    if status != 200 || bytes != picture(n) {
        return Err(format!("{url}: {status}, {} bytes", bytes.len()));
    }
    Ok(())
}

/// romeo uploads a picture to his server; its URL.
async fn upload(romeo: &mut Xmpp, n: u8, name: &str) -> Result<String> {
    let (bytes, id) = (picture(n), format!("slot-{n}"));
    let size = bytes.len();
    romeo
        .send(&format!(
            "<iq xmlns='jabber:client' type='get' id='{id}' to='upload.{HOST}'><request xmlns='{UPLOAD}' filename='{name}' size='{size}' content-type='image/png'/></iq>"
        ))
        .await?;
    let slot = romeo.wait("the slot", |stanza| stanza.attr("id") == Some(&id)).await?;
    let urls = slot.get_child("slot", UPLOAD).ok_or_else(|| format!("no slot: {}", String::from(&slot)))?;
    let url = |way: &str| urls.get_child(way, UPLOAD).and_then(|way| way.attr("url")).unwrap_or_default().to_owned();
    let (put, get) = (url("put"), url("get"));
    let fields = urls.get_child("put", UPLOAD).into_iter().flat_map(minidom::Element::children);
    let mut headers: Vec<(String, String)> =
        fields.map(|field| (field.attr("name").unwrap_or_default().to_owned(), field.text())).collect();
    headers.push(("content-type".to_owned(), "image/png".to_owned()));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (status, answer) = transfer("PUT", &put, &headers, bytes).await?;
    if status == 201 { Ok(get) } else { Err(format!("{put}: {status} {}", String::from_utf8_lossy(&answer))) }
}

/// romeo uploads a picture and sends it; alice downloads it from her own server.
async fn from_xmpp(romeo: &mut Xmpp, alice_client: &mut Matrix, n: u8) -> Result<()> {
    let (bytes, name) = (picture(n), format!("from-xmpp-{n}.png"));
    let size = bytes.len();
    let get = upload(romeo, n, &name).await?;
    let message = format!("uploaded-{n}");
    romeo
        .send(&format!(
            "<message xmlns='jabber:client' to='{}' type='chat' id='{message}'><body>{get}</body><x xmlns='{OOB}'><url>{get}</url></x><request xmlns='urn:xmpp:receipts'/></message>",
            alice()
        ))
        .await?;
    let (room, event) = alice_client.wait(&ghost("romeo"), &name).await?;
    romeo.receipt(&message).await?;
    let event = alice_client.ask("GET", &format!("/rooms/{}/event/{}", encode(&room), encode(&event)), None).await?;
    let content = &event["content"];
    if content["msgtype"] != "m.image" || content["info"]["size"] != size || content["info"]["mimetype"] != "image/png"
    {
        return Err(format!("it is no picture: {event}"));
    }
    let found = alice_client.download(content["url"].as_str().unwrap_or_default()).await?;
    if found == bytes { Ok(()) } else { Err("it is another picture".to_owned()) }
}

/// The same in a room: everybody in it sees both, the sender too.
async fn in_a_room(romeo: &mut Xmpp, alice_client: &mut Matrix, n: u8) -> Result<()> {
    let room = alice_client.make_room("gallery").await?;
    let muc = format!("#gallery%{SERVER_NAME}@matrix.{HOST}");
    romeo.join(&muc, "Romeo").await?;
    let uri = alice_client.upload("image/png", picture(n)).await?;
    let content = json!({ "msgtype": "m.image", "body": "in-the-room.png", "url": uri });
    let path = format!("/rooms/{}/send/m.room.message/picture-{n}", encode(&room));
    alice_client.ask("PUT", &path, Some(&content)).await?;
    let link = |stanza: &minidom::Element| {
        let oob = stanza.get_child("x", OOB)?;
        oob.get_child("url", OOB).map(minidom::Element::text)
    };
    let from_room = |stanza: &minidom::Element| stanza.attr("from").is_some_and(|from| from.starts_with(&muc));
    let shown = romeo.wait("the picture in the room", |stanza| from_room(stanza) && link(stanza).is_some()).await?;
    fetched(&link(&shown).unwrap_or_default(), n).await?;
    let get = upload(romeo, n + 1, "my-own.png").await?;
    romeo
        .send(&format!(
            "<message xmlns='jabber:client' to='{muc}' type='groupchat' id='in-room'><body>{get}</body><x xmlns='{OOB}'><url>{get}</url></x></message>"
        ))
        .await?;
    alice_client.wait(&ghost("romeo"), "my-own.png").await?;
    let own =
        romeo.wait("their own picture", |stanza| from_room(stanza) && stanza.attr("id") == Some("in-room")).await?;
    if link(&own).as_deref() == Some(&get) { Ok(()) } else { Err(format!("another link: {}", String::from(&own))) }
}

async fn pictures(world: &mut World) -> Result<()> {
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    let mut alice_client = Matrix::register(world.matrix, "alice").await?;
    romeo.say(&alice(), "opening", "hello").await?;
    let room = alice_client.accept_invite(&ghost("romeo")).await?;
    let url = from_matrix(&mut romeo, &alice_client, &room, 1).await?;
    from_xmpp(&mut romeo, &mut alice_client, 2).await?;
    in_a_room(&mut romeo, &mut alice_client, 10).await?;
    world.gateway.kill().await;
    world.gateway.start().await?;
    // The earlier link leads there still.
    fetched(&url, 1).await?;
    from_matrix(&mut romeo, &alice_client, &room, 3).await?;
    from_xmpp(&mut romeo, &mut alice_client, 4).await
}

#[test]
fn pictures_on_prosody() {
    in_world(Kind::Prosody, pictures);
}

#[test]
fn pictures_on_ejabberd() {
    in_world(Kind::Ejabberd, pictures);
}
