//! Formatted text against real servers, one-to-one and in a room, both ways, by mail, and once again after a restart. Runs
//! where `PORTWAY_E2E` is set, like `e2e.rs`.

use portway_testbed::mail::{self as outside, OUTSIDE};
use portway_testbed::matrix::{Matrix, encode};
use portway_testbed::world::{HOST, Kind, SERVER_NAME, World, alice, ghost, in_world};
use portway_testbed::xmpp::Xmpp;
use portway_testbed::{Result, imap};
use serde_json::{Value, json};

/// Sends a message with formatted text in it; returns its id.
async fn say(alice: &Matrix, room: &str, html: &str, more: Value) -> Result<String> {
    let mut content =
        json!({ "msgtype": "m.text", "body": "old", "format": "org.matrix.custom.html", "formatted_body": html });
    for (name, value) in more.as_object().into_iter().flatten() {
        content[name] = value.clone();
    }
    let path = format!("/rooms/{}/send/m.room.message/{:x}", encode(room), rand::random::<u64>());
    let answer = alice.ask("PUT", &path, Some(&content)).await?;
    answer["event_id"].as_str().map(str::to_owned).ok_or_else(|| "no event id".to_owned())
}

/// Waits for what somebody says on Matrix, and returns the whole content.
async fn content(alice: &mut Matrix, from: &str, body: &str) -> Result<Value> {
    let (room, event) = alice.wait(from, body).await?;
    let path = format!("/rooms/{}/event/{}", encode(&room), encode(&event));
    Ok(alice.ask("GET", &path, None).await?["content"].clone())
}

fn expect(text: &str, part: &str) -> Result<()> {
    if text.contains(part) { Ok(()) } else { Err(format!("{part} is missing in {text}")) }
}

/// The nick of whoever said this in a room.
fn heard_nick(stanza: &minidom::Element) -> Result<String> {
    let from = stanza.attr("from").and_then(|from| from.split_once('/'));
    from.map(|(_, nick)| nick.to_owned()).ok_or_else(|| String::from(stanza))
}

async fn formats(world: &mut World) -> Result<()> {
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    let mut alice_client = Matrix::register(world.matrix, "alice").await?;
    let (us, them) = (ghost("romeo"), alice());
    romeo.say(&them, "opening", "hello").await?;
    let room = alice_client.accept_invite(&us).await?;
    let muc_room = alice_client.make_room("town").await?;
    let muc = format!("#town%{SERVER_NAME}@matrix.{HOST}");
    romeo.join(&muc, "Romeo").await?;
    let unstyled = "urn:xmpp:styling:0";
    for round in ["before", "after"] {
        // Signs become elements, and emoji before them move nothing; literal ones stay.
        romeo.say(&them, &format!("signs-{round}"), &format!("\u{1f600} *{round}* &lt;b&gt; 2*3*4")).await?;
        let seen = content(&mut alice_client, &us, &format!("\u{1f600} *{round}* <b> 2*3*4")).await?;
        expect(&seen.to_string(), &format!("\u{1f600} <strong>{round}</strong> &lt;b&gt; 2*3*4"))?;
        romeo.say_in(&muc, &format!("room-signs-{round}"), &format!("_{round}_ in a room")).await?;
        let seen = content(&mut alice_client, &us, &format!("_{round}_ in a room")).await?;
        expect(&seen.to_string(), &format!("<em>{round}</em> in a room"))?;
        // Whoever is called by their nick there is mentioned.
        alice_client.say(&muc_room, &format!("speaking {round}")).await?;
        let nick = heard_nick(&romeo.hear(&muc, &format!("speaking {round}")).await?)?;
        romeo.say_in(&muc, &format!("nick-{round}"), &format!("{nick}: {round}")).await?;
        let seen = content(&mut alice_client, &us, &format!("{nick}: {round}")).await?;
        if seen["m.mentions"]["user_ids"] != json!([alice_client.id]) {
            return Err(seen.to_string());
        }
        romeo
            .send(&format!(
                "<message xmlns='jabber:client' to='{them}' type='chat' id='spoiler-{round}'><body>*{round}*</body>\
                 <unstyled xmlns='{unstyled}'/><spoiler xmlns='urn:xmpp:spoiler:0'>end</spoiler></message>"
            ))
            .await?;
        let seen = content(&mut alice_client, &us, &format!("(end) ||*{round}*||")).await?;
        if seen["formatted_body"] != format!("<span data-mx-spoiler=\"end\">*{round}*</span>") {
            return Err(seen.to_string());
        }
        // The other way round: a pill, a link, a list, a spoiler; the event's id is the stanza's.
        let html = format!(
            "<a href=\"https://matrix.to/#/{us}\">Romeo</a> <b>{round}</b> \
             <a href=\"https://x.example/\">here</a><ul><li>a</li></ul>"
        );
        let event = say(&alice_client, &room, &html, json!({ "m.mentions": { "user_ids": [us] } })).await?;
        let heard = romeo.hear(&them, &format!("Romeo *{round}* here (https://x.example/)\n- a")).await?;
        if heard.attr("id") != Some(event.as_str()) {
            return Err(format!("{event} is {:?}", heard.attr("id")));
        }
        expect(&String::from(&heard), &format!("xmpp:romeo@{HOST}"))?;
        let fresh = say(&alice_client, &muc_room, &format!("<blockquote>{round}</blockquote>so"), json!({})).await?;
        let heard = romeo.hear(&muc, &format!("> {round}\nso")).await?;
        expect(&String::from(&heard), &fresh)?;
        alice_client.say(&room, &format!("*literal {round}*")).await?;
        let heard = romeo.hear(&them, &format!("*literal {round}*")).await?;
        expect(&String::from(&heard), unstyled)?;
        // By mail: two parts out, HTML alone in.
        let bob = format!("bob%{OUTSIDE}@mail.{HOST}");
        romeo.say(&bob, &format!("mail-{round}"), &format!("*{round}* by mail")).await?;
        romeo.say(&bob, &format!("send-{round}"), "/send").await?;
        let address = format!("bob@{OUTSIDE}");
        let part = format!("<strong>{round}</strong> by mail");
        let mail = imap::wait(world.mail.imap, &address, |mail| mail.contains(&part)).await?;
        expect(&mail, "multipart/alternative")?;
        if round == "before" {
            world.gateway.kill().await;
            world.gateway.start().await?;
        }
    }
    let html = "<p>Dear <b>Romeo</b>,</p><p>see <a href=\"https://x.example/\">this</a>.</p>";
    let (bob, romeo_address) = (format!("Bob <bob@{OUTSIDE}>"), format!("romeo@mail.{HOST}"));
    outside::send_html(world.mail.smtp, &bob, &romeo_address, "Plans", html).await?;
    let contact = format!("bob%{OUTSIDE}@mail.{HOST}");
    romeo.hear(&contact, "Dear *Romeo*,\n\nsee this (https://x.example/).").await.map(|_| ())
}

#[test]
fn formats_on_prosody() {
    in_world(Kind::Prosody, formats);
}

#[test]
fn formats_on_ejabberd() {
    in_world(Kind::Ejabberd, formats);
}
