//! Against real servers: Prosody and ejabberd, Synapse, Postfix and Dovecot. Runs where `PORTWAY_E2E` is set
//! (`cargo xtask test` does so); elsewhere each test says that it was skipped.

use std::time::Duration;

use portway_testbed::imap;
use portway_testbed::mail::{self as outside, OUTSIDE};
use portway_testbed::matrix::Matrix;
use portway_testbed::world::{HOST, Kind, SERVER_NAME, World, alice, ghost, in_world};
use portway_testbed::xmpp::Xmpp;
use portway_testbed::{PATIENCE, Result, conversation};

/// What users see when something cannot be delivered, and that a restart changes nothing.
async fn errors_and_restart(world: &mut World) -> Result<()> {
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    romeo.say(&format!("nobody-here%{SERVER_NAME}@matrix.{HOST}"), "to-nobody-on-matrix", "hi").await?;
    expect(&romeo.error("to-nobody-on-matrix").await?, "item-not-found")?;
    romeo.say(&format!("x%far.example@matrix.{HOST}"), "to-no-such-server", "hi").await?;
    expect(&romeo.error("to-no-such-server").await?, "remote-server-not-found")?;
    romeo.say(&format!("nobody%{OUTSIDE}@mail.{HOST}"), "to-nobody-by-mail", "hi").await?;
    expect(&romeo.error("to-nobody-by-mail").await?, "item-not-found")?;
    // Taken by the mail server, and refused behind it: the bounce lands on that message.
    romeo.say(&format!("x%nowhere.example@mail.{HOST}"), "bounces-later", "hi").await?;
    expect(&romeo.error("bounces-later").await?, "error")?;
    // Taken by the gateway, and refused by the XMPP server: whoever wrote the mail hears of it.
    let (bob, ghost_town) = (format!("bob@{OUTSIDE}"), format!("no-such-user@mail.{HOST}"));
    outside::send(world.mail.smtp, &format!("Bob <{bob}>"), &ghost_town, "Hello?", "Is anybody there?", None).await?;
    let report = imap::wait(world.mail.imap, &bob, |mail| mail.contains("delivery-status")).await?;
    for part in
        [format!("Final-Recipient: rfc822; {ghost_town}"), "Action: failed".to_owned(), "auto-replied".to_owned()]
    {
        if !report.contains(&part) {
            return Err(format!("{part} is missing in the report:\n{report}"));
        }
    }
    // It is cut, and the rest is there for the asking.
    let contact = format!("bob%{OUTSIDE}@mail.{HOST}");
    let quoting = "Yes.\r\n\r\nOn Tue, 3 Mar 2026, Romeo wrote:\r\n> Coming to the ball?\r\n";
    outside::send(world.mail.smtp, &format!("Bob <{bob}>"), &format!("romeo@mail.{HOST}"), "Ball", quoting, None)
        .await?;
    romeo.hear(&contact, "Yes.\n[...]").await?;
    romeo.say(&contact, "show-all-of-it", "/full").await?;
    romeo.hear(&contact, "Yes.\n\nOn Tue, 3 Mar 2026, Romeo wrote:\n> Coming to the ball?").await?;
    romeo.say(&format!("=zz%{SERVER_NAME}@matrix.{HOST}"), "bad-address", "hi").await?;
    expect(&romeo.error("bad-address").await?, "jid-malformed")?;

    let mut alice_client = Matrix::register(world.matrix, "alice").await?;
    romeo.say(&alice(), "before-restart", "before").await?;
    let room = alice_client.accept_invite(&ghost("romeo")).await?;
    alice_client.wait(&ghost("romeo"), "before").await?;
    let town = alice_client.make_room("town").await?;
    let muc = format!("#town%{SERVER_NAME}@matrix.{HOST}");
    romeo.join(&muc, "Romeo").await?;
    world.gateway.kill().await;
    world.gateway.start().await?;
    romeo.say(&alice(), "after-restart", "after").await?;
    let (same, _) = alice_client.wait(&ghost("romeo"), "after").await?;
    if same != room {
        return Err("the chat of two has another room after the restart".to_owned());
    }
    alice_client.say(&town, "still in the room?").await?;
    romeo.hear(&muc, "still in the room?").await?;
    // Left by the other side: made anew.
    alice_client
        .ask("POST", &format!("/rooms/{}/leave", portway_testbed::matrix::encode(&room)), Some(&serde_json::json!({})))
        .await?;
    let mut other = None;
    for n in 0..50 {
        romeo.say(&alice(), &format!("after-leave-{n}"), &format!("are you back {n}?")).await?;
        let _ = alice_client.sync().await;
        other = alice_client.invites.iter().find(|(invited, _)| *invited != room).cloned();
        if other.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (other, _) = other.ok_or("no new room after the old one was left")?;
    alice_client.join(&other).await
}

fn expect(error: &minidom::Element, condition: &str) -> Result<()> {
    let text = String::from(error);
    if text.contains(condition) { Ok(()) } else { Err(format!("{condition} is missing in {text}")) }
}

/// A burst each way arrives whole and in order.
async fn bursts(world: &mut World) -> Result<()> {
    let count: usize = std::env::var("PORTWAY_BURST").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    let mut alice_client = Matrix::register(world.matrix, "alice").await?;
    romeo.say(&alice(), "burst-opening", "hello").await?;
    let room = alice_client.accept_invite(&ghost("romeo")).await?;
    let begun = std::time::Instant::now();
    for n in 0..count {
        romeo.say(&alice(), &format!("burst-message-{n:06}"), &format!("burst {n}")).await?;
    }
    // A burst may take long on a slow machine; what must not be is that nothing more comes.
    let (mut arrived, mut since) = (0, std::time::Instant::now());
    while arrived < count {
        alice_client.sync().await?;
        let now = alice_client.seen.iter().filter(|(_, _, body, _)| body.starts_with("burst ")).count();
        if now > arrived {
            (arrived, since) = (now, std::time::Instant::now());
        } else if since.elapsed() > PATIENCE {
            return Err(format!("to Matrix: {arrived} of {count} arrived, and no more"));
        }
    }
    let seen: Vec<&str> = alice_client
        .seen
        .iter()
        .map(|(_, _, body, _)| body.as_str())
        .filter(|body| body.starts_with("burst "))
        .collect();
    let expected: Vec<String> = (0..count).map(|n| format!("burst {n}")).collect();
    if seen != expected {
        return Err(format!("to Matrix: {} of {count} arrived, out of order", seen.len()));
    }
    println!("burst to Matrix: {count} in {:.1} s, in order", begun.elapsed().as_secs_f32());
    let begun = std::time::Instant::now();
    for n in 0..count {
        alice_client.say(&room, &format!("back {n}")).await?;
    }
    for n in 0..count {
        let message = romeo
            .wait("the next of the burst", |stanza| {
                stanza.get_child("body", "jabber:client").is_some_and(|body| body.text().starts_with("back "))
            })
            .await?;
        let body = message.get_child("body", "jabber:client").map(minidom::Element::text);
        if body != Some(format!("back {n}")) {
            return Err(format!("to XMPP: {body:?} came where back {n} was expected"));
        }
    }
    println!("burst to XMPP: {count} in {:.1} s, in order", begun.elapsed().as_secs_f32());
    Ok(())
}

/// What changes in a room while one is in it: names, topic, rights, and who may stay.
async fn rooms(world: &mut World) -> Result<()> {
    use portway_testbed::matrix::encode;
    use serde_json::json;
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    let mut carol = Matrix::register(world.matrix, "carol").await?;
    let room = carol.make_room("square").await?;
    let muc = format!("#square%{SERVER_NAME}@matrix.{HOST}");
    romeo.join(&muc, "Masked").await?;
    // The nick is the room's, and not the profile's.
    let (in_room, user) = (encode(&room), ghost("romeo"));
    let member = carol.ask("GET", &format!("/rooms/{in_room}/state/m.room.member/{}", encode(&user)), None).await?;
    let profile = carol.ask("GET", &format!("/profile/{}", encode(&user)), None).await?;
    if member["displayname"] != "Masked" || profile["displayname"] == "Masked" {
        return Err(format!("the nick went to the wrong place: {member} {profile}"));
    }
    // Two devices, one occupant: the second one sees and is seen as the first.
    let mut second = Xmpp::login(world.ports.c2s, "romeo").await?;
    second.join(&muc, "Other").await?;
    second.say_in(&muc, "from-the-second", "from both").await?;
    romeo.hear(&format!("{muc}/Masked"), "from both").await?;
    carol.wait(&user, "from both").await?;
    second.send(&format!("<presence xmlns='jabber:client' to='{muc}/Masked' type='unavailable'/>")).await?;
    // A new name on Matrix is a new nick.
    carol.say(&room, "it is me").await?;
    let before = romeo.hear(&muc, "it is me").await?.attr("from").unwrap_or_default().to_owned();
    let path = format!("/profile/{}/displayname", encode(&carol.id));
    carol.ask("PUT", &path, Some(&json!({ "displayname": "Carolina" }))).await?;
    let renamed = romeo.wait("the old nick's end", |stanza| String::from(stanza).contains("code='303'")).await;
    let renamed = renamed.map_err(|error| format!("{error} ({before})"))?;
    expect(&renamed, "Carolina")?;
    let state = |type_: &str| format!("/rooms/{in_room}/state/{type_}");
    carol.ask("PUT", &state("m.room.topic"), Some(&json!({ "topic": "masks" }))).await?;
    romeo
        .wait("the new topic", |stanza| {
            stanza.get_child("subject", "jabber:client").is_some_and(|subject| subject.text() == "masks")
        })
        .await?;
    // Rights: somebody who joins and is made a moderator.
    let dan = Matrix::register(world.matrix, "dan").await?;
    dan.join(&room).await?;
    dan.say(&room, "may I?").await?;
    romeo.hear(&muc, "may I?").await?;
    let mut levels = carol.ask("GET", &state("m.room.power_levels"), None).await?;
    levels["users"][&dan.id] = json!(50);
    carol.ask("PUT", &state("m.room.power_levels"), Some(&levels)).await?;
    romeo
        .wait("dan's new role", |stanza| {
            let text = String::from(stanza);
            stanza.name() == "presence" && text.contains("moderator") && text.contains("admin")
        })
        .await?;
    // Sent out: told so, and a self-ping says so too.
    let kick = json!({ "user_id": user, "reason": "no masks" });
    carol.ask("POST", &format!("/rooms/{in_room}/kick"), Some(&kick)).await?;
    let kicked = romeo.wait("the kick", |stanza| String::from(stanza).contains("307")).await?;
    expect(&kicked, "no masks")?;
    let ping = format!(
        "<iq xmlns='jabber:client' type='get' id='self-ping' to='{muc}/Masked'><ping xmlns='urn:xmpp:ping'/></iq>"
    );
    romeo.send(&ping).await?;
    expect(&romeo.wait("the ping's answer", |stanza| stanza.attr("id") == Some("self-ping")).await?, "not-acceptable")
}

/// A picture, as PNG.
fn picture(colour: [u8; 3]) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(500, 400, image::Rgb(colour));
    picture.write_to(&mut out, image::ImageFormat::Png).expect("into memory");
    out.into_inner()
}

fn sha1(bytes: &[u8]) -> String {
    use sha1::Digest as _;
    sha1::Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pictures both ways: alice's in presence and card, also a new one; romeo's on his ghost.
async fn faces(world: &mut World) -> Result<()> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use portway_testbed::matrix::encode;
    const CARD: &str = "vcard-temp";
    const UPDATE: &str = "vcard-temp:x:update";
    let alice_client = Matrix::register(world.matrix, "alice").await?;
    alice_client.show_face("image/png", picture([200, 0, 0])).await?;
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    romeo.send(&format!("<presence xmlns='jabber:client' type='subscribe' to='{}'/>", alice())).await?;
    // Presence may say the same picture twice: what is waited for is another one than this.
    let hash = async |romeo: &mut Xmpp, but: &str| {
        let presence = romeo
            .wait("a presence with the hash of a new picture", |stanza| {
                let photo = stanza.get_child("x", UPDATE).and_then(|update| update.get_child("photo", UPDATE));
                let hers = stanza.attr("from").is_some_and(|from| from.starts_with(&alice()));
                stanza.name() == "presence"
                    && hers
                    && photo.is_some_and(|photo| photo.text().len() == 40 && photo.text() != but)
            })
            .await?;
        let photo = presence.get_child("x", UPDATE).and_then(|update| update.get_child("photo", UPDATE));
        Ok::<_, String>(photo.map(minidom::Element::text).unwrap_or_default())
    };
    let shown = hash(&mut romeo, "").await?;
    romeo
        .send(&format!("<iq xmlns='jabber:client' type='get' id='card' to='{}'><vCard xmlns='{CARD}'/></iq>", alice()))
        .await?;
    let answer = romeo.wait("alice's card", |stanza| stanza.attr("id") == Some("card")).await?;
    let photo = answer.get_child("vCard", CARD).and_then(|card| card.get_child("PHOTO", CARD));
    let value = photo.and_then(|photo| photo.get_child("BINVAL", CARD)).ok_or_else(|| String::from(&answer))?;
    let bytes = STANDARD.decode(value.text()).map_err(|error| error.to_string())?;
    if sha1(&bytes) != shown || image::load_from_memory(&bytes).is_err() {
        return Err(format!("the card has another picture than presence says: {shown}"));
    }
    // A new picture is told where they share a room.
    romeo.say(&alice(), "hello-face", "hello").await?;
    let mut alice_client = alice_client;
    alice_client.accept_invite(&ghost("romeo")).await?;
    alice_client.show_face("image/png", picture([0, 200, 0])).await?;
    hash(&mut romeo, &shown).await?;
    // And romeo's own.
    let own = picture([0, 0, 200]);
    let card = format!(
        "<iq xmlns='jabber:client' type='set' id='own-card'><vCard xmlns='{CARD}'><FN>Romeo Montague</FN><PHOTO>\
         <TYPE>image/png</TYPE><BINVAL>{}</BINVAL></PHOTO></vCard></iq>",
        STANDARD.encode(&own)
    );
    romeo.send(&card).await?;
    expect(&romeo.wait("the card's answer", |stanza| stanza.attr("id") == Some("own-card")).await?, "result")?;
    romeo
        .send(&format!(
            "<presence xmlns='jabber:client' to='{}'><x xmlns='{UPDATE}'><photo>{}</photo></x></presence>",
            alice(),
            sha1(&own)
        ))
        .await?;
    let path = format!("/profile/{}", encode(&ghost("romeo")));
    let profile = portway_testbed::until("romeo's picture on Matrix", async || {
        let profile = alice_client.ask("GET", &path, None).await.ok()?;
        (profile["avatar_url"].is_string() && profile["displayname"] == "Romeo Montague").then_some(profile)
    })
    .await?;
    println!("romeo on Matrix: {profile}");
    Ok(())
}

#[test]
fn faces_on_prosody() {
    in_world(Kind::Prosody, faces);
}

#[test]
fn faces_on_ejabberd() {
    in_world(Kind::Ejabberd, faces);
}

/// A contact that is added ends up seen from both sides, is seen by each device that comes, and again after a restart.
async fn contacts(world: &mut World, asks: bool) -> Result<()> {
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    let mut alice_client = Matrix::register(world.matrix, "alice").await?;
    let alice = alice();
    let shown = |stanza: &minidom::Element| {
        stanza.name() == "presence"
            && stanza.attr("type").is_none()
            && stanza.attr("from").is_some_and(|from| from.starts_with(&alice))
    };
    romeo.send(&format!("<presence xmlns='jabber:client' to='{alice}' type='subscribe'/>")).await?;
    romeo.wait("alice's presence", shown).await?;
    if asks {
        let ask = |stanza: &minidom::Element| stanza.attr("type") == Some("subscribe");
        romeo.wait("alice's question", ask).await?;
        romeo.send(&format!("<presence xmlns='jabber:client' to='{alice}' type='subscribed'/>")).await?;
    }
    let mut roster = String::new();
    for n in 0..100 {
        let id = format!("roster-{n}");
        romeo
            .send(&format!("<iq xmlns='jabber:client' type='get' id='{id}'><query xmlns='jabber:iq:roster'/></iq>"))
            .await?;
        let answer = romeo.wait("the roster", |stanza| stanza.attr("id") == Some(&id)).await?;
        roster = String::from(&answer);
        if roster.contains("both") && (asks || roster.contains("Matrix")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("roster: {roster}");
    expect_text(&roster, &alice)?;
    expect_text(&roster, "both")?;
    if !asks {
        // Her name, and not what stands for it while it is not known: clients show it for good.
        expect_text(&roster, "name='alice'")?;
    }
    let mut second = Xmpp::login(world.ports.c2s, "romeo").await?;
    second.wait("alice's presence to the second device", shown).await?;
    // Whoever shares a room with her sees how she is doing.
    romeo.say(&alice, "to-share-a-room", "hello").await?;
    alice_client.accept_invite(&ghost("romeo")).await?;
    alice_client.wait(&ghost("romeo"), "hello").await?;
    let path = format!("/presence/{}/status", portway_testbed::matrix::encode(&alice_client.id));
    let away = serde_json::json!({ "presence": "unavailable", "status_msg": "at tea" });
    alice_client.ask("PUT", &path, Some(&away)).await?;
    let is_away = |stanza: &minidom::Element| shown(stanza) && String::from(stanza).contains("at tea");
    expect_text(&String::from(&romeo.wait("alice's absence", is_away).await?), "away")?;
    world.gateway.kill().await;
    let mut third = Xmpp::login(world.ports.c2s, "romeo").await?;
    world.gateway.start().await?;
    third.wait("alice's presence after a restart", shown).await.map(|_| ())
}

/// What the gateway of a network says, with these words in it.
async fn told(client: &mut Xmpp, gateway: &str, words: &str) -> Result<String> {
    let body = |stanza: &minidom::Element| stanza.get_child("body", "jabber:client").map(minidom::Element::text);
    let found = client
        .wait(&format!("“{words}” from {gateway}"), |stanza| {
            stanza.attr("from") == Some(gateway) && body(stanza).is_some_and(|body| body.contains(words))
        })
        .await?;
    Ok(body(&found).unwrap_or_default())
}

/// Strangers are asked about, and told where they are sent back; and a ghost points to the account that was proved.
async fn consent(world: &mut World) -> Result<()> {
    world.gateway.kill().await;
    for network in ["MATRIX", "EMAIL"] {
        world.gateway.set(&format!("NETWORK__{network}__STRANGERS"), "ask");
    }
    world.gateway.start().await?;
    let (matrix, mail) = (format!("matrix.{HOST}"), format!("mail.{HOST}"));
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    let mut alice_client = Matrix::register(world.matrix, "alice").await?;
    let room = alice_client.start_chat(&ghost("romeo")).await?;
    alice_client.say(&room, "first words").await?;
    println!("asked: {}", told(&mut romeo, &matrix, "first words").await?);
    romeo.say(&matrix, "refuse", "refuse").await?;
    told(&mut romeo, &matrix, "go back").await?;
    let notice = format!("romeo@{HOST} does not take messages");
    let told_alice = portway_testbed::until("the notice on Matrix", async || {
        let _ = alice_client.sync().await;
        alice_client.seen.iter().find(|(_, _, body, _)| body.contains(&notice)).map(|(_, _, body, _)| body.clone())
    })
    .await?;
    println!("alice reads: {told_alice}");
    alice_client.say(&room, "second words").await?;
    told(&mut romeo, &matrix, "second words").await?;
    romeo.say(&matrix, "accept", &format!("accept {}", alice_client.id)).await?;
    romeo.hear(&alice(), "second words").await?;
    // By mail: sent back as a report, then let in by writing.
    let (bob, to) = (format!("bob@{OUTSIDE}"), format!("romeo@{mail}"));
    outside::send(world.mail.smtp, &format!("Bob <{bob}>"), &to, "Ball", "Coming tonight?\r\n", None).await?;
    println!("asked: {}", told(&mut romeo, &mail, "Ball").await?);
    romeo.say(&mail, "refuse-bob", "refuse").await?;
    let report = imap::wait(world.mail.imap, &bob, |mail| mail.contains("delivery-status")).await?;
    expect_text(&report, "x-xmpp; policy-violation")?;
    outside::send(world.mail.smtp, &format!("Bob <{bob}>"), &to, "Ball again", "Please?\r\n", None).await?;
    told(&mut romeo, &mail, "Ball again").await?;
    romeo.say(&format!("bob%{OUTSIDE}@{mail}"), "yes", "Yes.").await?;
    romeo.hear(&format!("bob%{OUTSIDE}@{mail}"), "Please?").await?;
    // Nobody is there to be asked: the report does not wait for an answer.
    let ghost_town = format!("no-such-user@{mail}");
    outside::send(world.mail.smtp, &format!("Bob <{bob}>"), &ghost_town, "Hello?", "Anybody?\r\n", None).await?;
    let final_recipient = format!("Final-Recipient: rfc822; {ghost_town}");
    imap::wait(world.mail.imap, &bob, |mail| mail.contains(&final_recipient)).await?;
    // The same person in two places.
    romeo.say(&matrix, "link", &format!("link {}", alice_client.id)).await?;
    let code = portway_testbed::until("a code", async || {
        let _ = alice_client.sync().await;
        let words = alice_client.seen.iter().flat_map(|(_, _, body, _)| body.split_whitespace());
        words.clone().find(|word| word.len() == 11 && word.as_bytes()[5] == b'-').map(str::to_owned)
    })
    .await?;
    romeo.say(&matrix, "code", &code).await?;
    told(&mut romeo, &matrix, "is linked").await?;
    let path = format!("/profile/{}", portway_testbed::matrix::encode(&ghost("romeo")));
    let own = serde_json::json!([alice_client.id]);
    let profile = portway_testbed::until("the pointer", async || {
        let profile = alice_client.ask("GET", &path, None).await.ok()?;
        (profile["portway.same_person"] == own).then_some(profile)
    })
    .await?;
    println!("the ghost: {profile}");
    romeo.say(&matrix, "unlink", "unlink 1").await?;
    told(&mut romeo, &matrix, "not linked any more").await?;
    portway_testbed::until("no pointer", async || {
        let profile = alice_client.ask("GET", &path, None).await.ok()?;
        profile.get("portway.same_person").is_none().then_some(())
    })
    .await
}

#[test]
fn consent_on_prosody() {
    in_world(Kind::Prosody, consent);
}

#[test]
fn consent_on_ejabberd() {
    in_world(Kind::Ejabberd, consent);
}

fn expect_text(text: &str, part: &str) -> Result<()> {
    if text.contains(part) { Ok(()) } else { Err(format!("{part} is missing in {text}")) }
}

#[test]
fn contacts_on_prosody() {
    let asks = !std::path::Path::new("/usr/lib/prosody/modules/mod_privilege").exists();
    in_world(Kind::Prosody, async |world| contacts(world, asks).await);
}

/// Debian's ejabberd 23.01 refuses to write into rosters.
#[test]
fn contacts_on_ejabberd() {
    in_world(Kind::Ejabberd, async |world| contacts(world, true).await);
}

#[test]
fn rooms_on_prosody() {
    in_world(Kind::Prosody, rooms);
}

#[test]
fn rooms_on_ejabberd() {
    in_world(Kind::Ejabberd, rooms);
}

#[test]
fn conversation_on_prosody() {
    in_world(Kind::Prosody, async |world| conversation::carry(world, |_| {}).await);
}

#[test]
fn conversation_on_ejabberd() {
    in_world(Kind::Ejabberd, async |world| conversation::carry(world, |_| {}).await);
}

#[test]
fn errors_and_restart_on_prosody() {
    in_world(Kind::Prosody, errors_and_restart);
}

#[test]
fn errors_and_restart_on_ejabberd() {
    in_world(Kind::Ejabberd, errors_and_restart);
}

#[test]
fn bursts_on_prosody() {
    in_world(Kind::Prosody, bursts);
}

#[test]
fn bursts_on_ejabberd() {
    in_world(Kind::Ejabberd, bursts);
}
