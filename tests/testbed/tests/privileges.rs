//! What servers let us do in the name of their users: Prosody with its community module, and ejabberd. Runs where
//! `PORTWAY_E2E` is set, as `e2e.rs` does.

use std::path::Path;
use std::time::Duration;

use portway_testbed::Result;
use portway_testbed::matrix::Matrix;
use portway_testbed::world::{HOST, Kind, World, alice, ghost, in_world};
use portway_testbed::xmpp::Xmpp;

fn expect(stanza: &minidom::Element, part: &str) -> Result<()> {
    expect_text(&String::from(stanza), part)
}

fn expect_text(text: &str, part: &str) -> Result<()> {
    if text.contains(part) { Ok(()) } else { Err(format!("{part} is missing in {text}")) }
}

/// What romeo says on Matrix with an account that is linked to him reaches each of his devices once, and his archive once,
/// and Matrix has nothing twice. Where the server lets us it is his own message, else the contact says whose words they are.
async fn own_words(world: &mut World, his: bool) -> Result<()> {
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    let mut second = Xmpp::login(world.ports.c2s, "romeo").await?;
    for device in [&mut romeo, &mut second] {
        let enable = "<iq xmlns='jabber:client' type='set' id='copies'><enable xmlns='urn:xmpp:carbons:2'/></iq>";
        device.send(enable).await?;
        let answer = device.wait("leave to be sent copies", |stanza| stanza.attr("id") == Some("copies")).await?;
        expect(&answer, "result")?;
    }
    let mut alice_client = Matrix::register(world.matrix, "alice").await?;
    let mut phone = Matrix::register(world.matrix, "romeos-phone").await?;
    let user = format!("romeo@{HOST}");
    world.gateway.admin(&["links", "--network", "matrix", "--add", &phone.id, "--user", &user]).await?;
    romeo.say(&alice(), "opening-their-chat", "hello").await?;
    let room = alice_client.accept_invite(&ghost("romeo")).await?;
    let path = format!("/rooms/{}/invite", portway_testbed::matrix::encode(&room));
    alice_client.ask("POST", &path, Some(&serde_json::json!({ "user_id": phone.id }))).await?;
    phone.accept_invite(&alice_client.id).await?;
    let own = "said on the phone";
    phone.say(&room, own).await?;
    // What comes behind it has everything of it before.
    alice_client.say(&room, "heard").await?;
    for device in [&mut romeo, &mut second] {
        device.hear(&alice(), "heard").await?;
        let copies: Vec<String> = device.log.iter().map(String::from).filter(|text| text.contains(own)).collect();
        let sent = |text: &String| match his {
            true => text.contains("<sent xmlns='urn:xmpp:carbons:2'>") && text.contains(&format!(" from='{user}' id=")),
            false => !text.contains("urn:xmpp:carbons:2") && text.contains(&format!(">(you) {own}</body>")),
        };
        if copies.len() != 1 || !copies.iter().all(sent) {
            return Err(format!("{} has it {} times: {copies:#?}", device.jid, copies.len()));
        }
    }
    let archived = second.archive().await?;
    let archived: Vec<String> = archived.iter().map(String::from).filter(|text| text.contains(own)).collect();
    let direction = if his { format!("to='{}'", alice()) } else { format!("from='{}/", alice()) };
    if archived.len() != 1 || !archived[0].contains(&direction) {
        return Err(format!("the archive has it {} times: {archived:#?}", archived.len()));
    }
    // An echo would be in front of what he says next.
    romeo.say(&alice(), "behind-the-echo", "and now from here").await?;
    alice_client.wait(&ghost("romeo"), "and now from here").await?;
    let said: Vec<&str> = alice_client
        .seen
        .iter()
        .filter(|(_, _, body, _)| body.contains(own))
        .map(|(_, by, _, _)| by.as_str())
        .collect();
    if said == [phone.id.as_str()] { Ok(()) } else { Err(format!("on Matrix it was said by {said:?}")) }
}

#[test]
fn p4_own_words_on_prosody() {
    let his = Path::new("/usr/lib/prosody/modules/mod_privilege").exists();
    in_world(Kind::Prosody, async |world| own_words(world, his).await);
}

/// Debian's ejabberd 23.01 brings what we say in his name to the contact only: not to his devices, and not to his archive.
#[test]
fn p5_own_words_on_ejabberd() {
    in_world(Kind::Ejabberd, async |world| own_words(world, false).await);
}

/// A room that is upgraded takes romeo's bookmark of it along, where the server lets us, with all that he has chosen.
async fn bookmarks(world: &mut World, follows: bool) -> Result<()> {
    const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
    const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
    use portway_testbed::matrix::encode;
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    let carol = Matrix::register(world.matrix, "carol").await?;
    let room = carol.make_room("market").await?;
    let face = |room: &str| {
        let enc = |byte: u8| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'+' | b'-' => char::from(byte).to_string(),
            byte => format!("={byte:02x}"),
        };
        let (opaque, server) =
            room.trim_start_matches('!').split_once(':').unwrap_or((room.trim_start_matches('!'), ""));
        let opaque: String = opaque.bytes().map(enc).collect();
        let server = if server.is_empty() { String::new() } else { format!("%{server}") };
        format!("!{opaque}{server}@matrix.{HOST}")
    };
    let old = face(&room);
    romeo.join(&old, "Romeo").await?;
    let kept = "<nick>Romeo</nick><extensions><pin xmlns='urn:client'/></extensions></conference>";
    let publish = format!(
        "<iq xmlns='jabber:client' type='set' id='mark'><pubsub xmlns='{PUBSUB}'><publish node='{BOOKMARKS}'>\
         <item id='{old}'><conference xmlns='{BOOKMARKS}' autojoin='true' name='My market'>{kept}</item></publish>\
         <publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
         <field var='pubsub#persist_items'><value>true</value></field>\
         <field var='pubsub#access_model'><value>whitelist</value></field></x></publish-options></pubsub></iq>"
    );
    romeo.send(&publish).await?;
    expect(&romeo.wait("the bookmark's answer", |stanza| stanza.attr("id") == Some("mark")).await?, "result")?;
    let upgrade = serde_json::json!({ "new_version": "10" });
    let answer = carol.ask("POST", &format!("/rooms/{}/upgrade", encode(&room)), Some(&upgrade)).await?;
    let new = face(answer["replacement_room"].as_str().ok_or("no new room")?);
    let told = romeo.wait("the end of the room", |stanza| String::from(stanza).contains("<destroy")).await?;
    expect(&told, &new)?;
    // Whoever comes to the old one is told as well. By then the bookmark has been looked at, and is looked at again.
    let join = format!(
        "<presence xmlns='jabber:client' to='{old}/Romeo' id='late'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    );
    romeo.send(&join).await?;
    let refused = romeo.wait("the old room's answer", |stanza| stanza.attr("id") == Some("late")).await?;
    expect(&refused, "gone")?;
    let mut marks = String::new();
    for n in 0..100 {
        let id = format!("marks-{n}");
        romeo
            .send(&format!(
                "<iq xmlns='jabber:client' type='get' id='{id}'><pubsub xmlns='{PUBSUB}'><items node='{BOOKMARKS}'/></pubsub></iq>"
            ))
            .await?;
        marks = String::from(&romeo.wait("the bookmarks", |stanza| stanza.attr("id") == Some(&id)).await?);
        if !follows || (marks.contains(&new) && !marks.contains(&old)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    expect_text(&marks, if follows { &new } else { &old })?;
    for part in ["name='My market'", "autojoin='true'", "<pin xmlns='urn:client'/>"] {
        expect_text(&marks, part)?;
    }
    if marks.contains(if follows { &old } else { &new }) { Err(format!("two bookmarks: {marks}")) } else { Ok(()) }
}

#[test]
fn p9_bookmarks_on_prosody() {
    let follows = Path::new("/usr/lib/prosody/modules/mod_privilege").exists();
    in_world(Kind::Prosody, async |world| bookmarks(world, follows).await);
}

/// Debian's ejabberd 23.01 has no privilege of requests.
#[test]
fn p9_bookmarks_on_ejabberd() {
    in_world(Kind::Ejabberd, async |world| bookmarks(world, false).await);
}
