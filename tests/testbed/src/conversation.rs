//! The conversation of the demo, which is also the first end-to-end test: every direction, real messages.

use crate::imap::{self, header};
use crate::mail::{self, OUTSIDE};
use crate::matrix::Matrix;
use crate::world::{HOST, SERVER_NAME, World};
use crate::xmpp::Xmpp;
use crate::{Result, mail as outside};

/// Carries the conversation; `say` is told each message as it arrives.
///
/// # Errors
/// The step that failed.
pub async fn carry(world: &World, say: impl Fn(&str)) -> Result<()> {
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    let mut juliet = Xmpp::login(world.ports.c2s, "juliet").await?;
    let mut alice = Matrix::register(world.matrix, "alice").await?;
    people(&mut romeo, &mut juliet, &mut alice, &say).await?;
    rooms(&mut romeo, &mut alice, &say).await?;
    letters(world, &mut romeo, &say).await?;
    // As clients do: ejabberd tells a privileged component of nobody whose connection just breaks off.
    for user in [&mut romeo, &mut juliet] {
        user.send("<presence xmlns='jabber:client' type='unavailable'/>").await?;
    }
    Ok(())
}

/// One person to another, first from XMPP, then from Matrix.
async fn people(romeo: &mut Xmpp, juliet: &mut Xmpp, alice: &mut Matrix, say: &impl Fn(&str)) -> Result<()> {
    let contact = format!("alice%{SERVER_NAME}@matrix.{HOST}");
    romeo.say(&contact, "demo-dm-1-from-romeo", "Hello Alice, can you read me?").await?;
    let ghost = format!("@xmpp_romeo=40{HOST}:{SERVER_NAME}");
    let room = alice.accept_invite(&ghost).await?;
    alice.wait(&ghost, "Hello Alice, can you read me?").await?;
    say("XMPP → Matrix   romeo to alice: Hello Alice, can you read me?");
    romeo.receipt("demo-dm-1-from-romeo").await?;
    say("Matrix → XMPP   the receipt: the homeserver has it");
    alice.say(&room, "Loud and clear!").await?;
    romeo.hear(&contact, "Loud and clear!").await?;
    say("Matrix → XMPP   alice to romeo: Loud and clear!");

    let ghost = format!("@xmpp_juliet=40{HOST}:{SERVER_NAME}");
    let room = alice.start_chat(&ghost).await?;
    alice.say(&room, "Juliet, are you there?").await?;
    juliet.hear(&contact, "Juliet, are you there?").await?;
    say("Matrix → XMPP   alice to juliet, who never wrote to her: Juliet, are you there?");
    juliet.say(&contact, "demo-dm-2-from-juliet", "Here I am.").await?;
    alice.wait(&ghost, "Here I am.").await?;
    say("XMPP → Matrix   juliet to alice: Here I am.");
    Ok(())
}

/// A room of Matrix, joined like any chat room.
async fn rooms(romeo: &mut Xmpp, alice: &mut Matrix, say: &impl Fn(&str)) -> Result<()> {
    let room_id = alice.make_room("town").await?;
    alice.say(&room_id, "Welcome to town.").await?;
    let room = format!("#town%{SERVER_NAME}@matrix.{HOST}");
    romeo.join(&room, "Romeo").await?;
    romeo.hear(&room, "Welcome to town.").await?;
    say("room → room     romeo joins #town and reads what was said before: Welcome to town.");
    romeo.say_in(&room, "demo-room-1-from-romeo", "Good morning, town!").await?;
    alice.wait(&format!("@xmpp_romeo=40{HOST}:{SERVER_NAME}"), "Good morning, town!").await?;
    say("room → room     romeo in #town: Good morning, town!");
    let own = romeo.hear(&format!("{room}/Romeo"), "Good morning, town!").await?;
    if own.attr("id") != Some("demo-room-1-from-romeo") {
        return Err("the room changed the id of romeo's message".to_owned());
    }
    alice.say(&room_id, "Good morning, Romeo.").await?;
    romeo.hear(&room, "Good morning, Romeo.").await?;
    say("room → room     alice in #town: Good morning, Romeo.");
    Ok(())
}

/// A letter and its answer.
async fn letters(world: &World, romeo: &mut Xmpp, say: &impl Fn(&str)) -> Result<()> {
    let bob = format!("bob@{OUTSIDE}");
    let contact = format!("bob%{OUTSIDE}@mail.{HOST}");
    romeo.say(&contact, "demo-mail-1-from-romeo", "Dear Bob, how is Mantua?").await?;
    romeo.receipt("demo-mail-1-from-romeo").await?;
    let mail = imap::wait(world.mail.imap, &bob, |mail| mail.contains("how is Mantua?")).await?;
    say("XMPP → mail     romeo to bob: Dear Bob, how is Mantua?");
    let id = header(&mail, "Message-ID").ok_or("the mail has no Message-ID")?;
    let subject = header(&mail, "Subject").unwrap_or_default();
    let from = header(&mail, "From").ok_or("the mail has no sender")?;
    let answer = "Hot and dusty.\r\n\r\nOn Tuesday, Romeo wrote:\r\n> Dear Bob, how is Mantua?\r\n";
    mail::send(world.mail.smtp, &format!("Bob <{bob}>"), &from, &format!("Re: {subject}"), answer, Some(&id)).await?;
    romeo
        .wait("bob's answer", |stanza| {
            stanza.attr("from").is_some_and(|from| from.starts_with(&contact))
                && stanza.get_child("body", "jabber:client").is_some_and(|body| body.text().contains("Hot and dusty."))
        })
        .await?;
    say("mail → XMPP     bob to romeo: Hot and dusty.");
    outside::send(
        world.mail.smtp,
        &format!("Nurse <nurse@{OUTSIDE}>"),
        &format!("romeo@mail.{HOST}"),
        "News",
        "Where are you?",
        None,
    )
    .await?;
    romeo
        .wait("the nurse's mail", |stanza| {
            stanza.get_child("body", "jabber:client").is_some_and(|body| body.text().contains("Where are you?"))
        })
        .await?;
    say("mail → XMPP     somebody whom romeo never wrote to: Where are you?");
    Ok(())
}
