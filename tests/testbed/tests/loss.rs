//! The guarantee, against real servers: what was accepted is not lost, whatever ends or refuses meanwhile, and nothing is
//! doubled on Matrix or in mailboxes. `PORTWAY_KILLS` says how often the gateway is killed (5 unless told).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use minidom::Element;
use portway_testbed::mail::OUTSIDE;
use portway_testbed::matrix::Matrix;
use portway_testbed::world::{HOST, Kind, SERVER_NAME, World, alice, ghost, in_world};
use portway_testbed::xmpp::Xmpp;
use portway_testbed::{PATIENCE, Result, imap, mail, until};
use tokio::time::timeout;

/// How long a message whose carrier was killed may stay away before a person says it again.
const AGAIN: Duration = Duration::from_secs(3);

/// How long one question to a server that has just come back may take: ejabberd keeps what it cannot route for as long as
/// it looks for another server.
const ATTEMPT: Duration = Duration::from_secs(3);

/// What happens while messages are on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    KillGateway(Duration),
    RestartXmpp,
    RestartHomeserver,
    RestartMail,
    Homeserver(u16),
    MailPutOff,
}

impl Blow {
    /// Whether a message from XMPP may be gone: it was in a socket or in the XMPP server, and nobody had accepted it.
    fn may_cost_the_unaccepted(self) -> bool {
        matches!(self, Self::KillGateway(_) | Self::RestartXmpp)
    }
}

/// The people, and what they have said.
struct Chats {
    romeo: Xmpp,
    /// What came to romeo before he had to log in again, and what his server kept for him.
    before: Vec<Element>,
    /// What came to romeo himself before he had to log in again.
    live: BTreeSet<String>,
    alice: Matrix,
    dm: String,
    town: String,
    muc: String,
    bob: String,
}

async fn nothing_is_lost(world: &mut World) -> Result<()> {
    let kills: u64 = std::env::var("PORTWAY_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let seed: u64 = rand::random();
    println!("{kills} kills, moments drawn from {seed:#x}");
    let mut blows: Vec<Blow> = (0..kills).map(|n| Blow::KillGateway(moment(seed, n))).collect();
    blows.extend([
        Blow::RestartHomeserver,
        Blow::RestartMail,
        Blow::RestartXmpp,
        Blow::Homeserver(429),
        Blow::Homeserver(500),
        Blow::MailPutOff,
        Blow::KillGateway(Duration::ZERO),
    ]);
    let mut chats = open(world).await?;
    let begun = Instant::now();
    for (round, blow) in blows.iter().enumerate() {
        chats.speak(world, round).await?;
        chats.suffer(world, *blow).await.map_err(|error| format!("{blow:?} in round {round}: {error}"))?;
        chats.arrived(world, round, *blow).await.map_err(|error| format!("{blow:?} in round {round}: {error}"))?;
    }
    chats.all_heard(blows.len()).await?;
    chats.nothing_doubled(world, blows.len()).await?;
    println!("{} blows in {:.0} s: nothing lost, nothing doubled", blows.len(), begun.elapsed().as_secs_f32());
    Ok(())
}

/// A moment within 300 ms, drawn from a seed (splitmix64).
fn moment(seed: u64, n: u64) -> Duration {
    let mut z = seed.wrapping_add((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Duration::from_micros((z ^ (z >> 31)) % 300_000)
}

async fn open(world: &World) -> Result<Chats> {
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    let mut alice_client = Matrix::register(world.matrix, "alice").await?;
    romeo.say(&alice(), "loss-opening", "hello").await?;
    let dm = alice_client.accept_invite(&ghost("romeo")).await?;
    let town = alice_client.make_room("town").await?;
    let muc = format!("#town%{SERVER_NAME}@matrix.{HOST}");
    romeo.join(&muc, "Romeo").await?;
    Ok(Chats {
        romeo,
        before: Vec::new(),
        live: BTreeSet::new(),
        alice: alice_client,
        dm,
        town,
        muc,
        bob: format!("bob%{OUTSIDE}@mail.{HOST}"),
    })
}

fn id(what: &str, round: usize) -> String {
    format!("loss-{what}-{round:04}-unguessable")
}

impl Chats {
    /// A message in every direction.
    async fn speak(&mut self, world: &World, round: usize) -> Result<()> {
        for what in ["dm", "mail", "room"] {
            self.say(what, round).await?;
        }
        self.alice.say(&self.dm, &format!("mdm-{round}")).await?;
        self.alice.say(&self.town, &format!("mroom-{round}")).await?;
        let (from, to) = (format!("bob@{OUTSIDE}"), format!("romeo@mail.{HOST}"));
        mail::send(world.mail.smtp, &from, &to, &format!("s{round}"), &format!("letter-{round}"), None).await
    }

    async fn say(&mut self, what: &str, round: usize) -> Result<()> {
        let body = format!("{what}-{round}");
        match what {
            "dm" => self.romeo.say(&alice(), &id(what, round), &body).await,
            "mail" => self.romeo.say(&self.bob.clone(), &id(what, round), &body).await,
            _ => self.romeo.say_in(&self.muc.clone(), &id(what, round), &body).await,
        }
    }

    async fn suffer(&mut self, world: &mut World, blow: Blow) -> Result<()> {
        match blow {
            Blow::KillGateway(after) => {
                tokio::time::sleep(after).await;
                world.gateway.kill().await;
                world.gateway.start().await
            }
            Blow::RestartHomeserver => {
                world.homeserver.stop().await;
                world.homeserver.start().await
            }
            Blow::RestartMail => {
                world.mail.postfix.stop().await;
                world.mail.postfix.start().await
            }
            Blow::RestartXmpp => {
                world.xmpp.stop().await;
                // What the server had handed over before it ended.
                let _ = self.romeo.read(Duration::from_millis(300), |_| false).await;
                self.live.extend(self.romeo.log.iter().filter_map(body));
                self.before.append(&mut self.romeo.log);
                world.xmpp.start().await?;
                let (port, romeo) = (world.ports.c2s, &mut self.romeo);
                until("romeo logs in again", async || romeo.login_again(port, "romeo").await.ok()).await?;
                let muc = self.muc.clone();
                // The gateway comes back on its own, after a moment; until then the server refuses for it, visibly.
                let romeo = &mut self.romeo;
                let mail = format!("mail.{HOST}");
                until("mail is back", async || timeout(ATTEMPT, romeo.reach(&mail)).await.ok()?.ok()).await?;
                until("the room takes romeo again", async || {
                    timeout(ATTEMPT, romeo.join(&muc, "Romeo")).await.ok()?.ok()
                })
                .await
            }
            Blow::Homeserver(status) => {
                let weather = &world.weather;
                let before = weather.refused();
                weather.homeserver_answers(Some(status));
                self.say_more(5).await?;
                let result = until("it refuses", async || (weather.refused() >= before + 3).then_some(())).await;
                weather.homeserver_answers(None);
                result
            }
            Blow::MailPutOff => {
                let weather = &world.weather;
                let before = weather.refused();
                weather.mail_is_put_off(true);
                self.romeo.say(&self.bob.clone(), "loss-put-off-unguessable", "put off").await?;
                let result = until("it refuses", async || (weather.refused() >= before + 2).then_some(())).await;
                weather.mail_is_put_off(false);
                result
            }
        }
    }

    /// More for a homeserver that refuses.
    async fn say_more(&mut self, count: usize) -> Result<()> {
        for n in 0..count {
            let id = format!("loss-more-{n}-{:08x}", rand::random::<u32>());
            self.romeo.say(&alice(), &id, &format!("more {id}")).await?;
        }
        Ok(())
    }

    /// What romeo said this round is there. A message that nobody had accepted when its carrier was killed is said again
    /// under the same id, as a person would; any other must come by itself.
    async fn arrived(&mut self, world: &World, round: usize, blow: Blow) -> Result<()> {
        for what in ["dm", "mail", "room"] {
            let body = format!("{what}-{round}");
            let deadline = Instant::now() + PATIENCE;
            let mut said = Instant::now();
            loop {
                let there = if what == "mail" {
                    let mails = imap::mails(world.mail.imap, &format!("bob@{OUTSIDE}")).await.unwrap_or_default();
                    mails.iter().any(|mail| has_line(mail, &body))
                } else {
                    let _ = self.alice.sync().await;
                    self.alice.seen.iter().any(|(_, _, said, _)| *said == body)
                };
                if there {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(format!("{body} did not arrive"));
                }
                if blow.may_cost_the_unaccepted() && said.elapsed() > AGAIN {
                    self.say(what, round).await?;
                    said = Instant::now();
                }
                // Meanwhile what comes to romeo is read.
                let _ = self.romeo.read(Duration::from_millis(50), |_| false).await;
            }
        }
        let errors = |stanza: &&Element| stanza.attr("type") == Some("error");
        if !blow.may_cost_the_unaccepted()
            && let Some(error) = self
                .romeo
                .log
                .iter()
                .filter(errors)
                .find(|error| error.attr("id").is_some_and(|id| id.contains(&format!("-{round:04}-"))))
        {
            return Err(format!("romeo was told of a failure that was none: {}", String::from(error)));
        }
        Ok(())
    }

    /// Everything that was said to romeo came to him, now or to his archive.
    async fn all_heard(&mut self, rounds: usize) -> Result<()> {
        let wanted: BTreeSet<String> = (0..rounds)
            .flat_map(|round| ["mdm", "mroom", "letter"].map(|what| format!("{what}-{round}")))
            .chain((0..rounds).map(|round| format!("room-{round}")))
            .collect();
        let archived = self.romeo.archive().await?;
        self.before.extend(archived);
        let before = &self.before;
        let missing = |log: &[Element]| -> Vec<String> {
            let heard: BTreeSet<String> = before.iter().chain(log).filter_map(body).collect();
            wanted.iter().filter(|wanted| !heard.contains(*wanted)).cloned().collect()
        };
        let result = self.romeo.read(PATIENCE, |log| missing(log).is_empty()).await;
        // What came after the last look at the archive, and only there.
        let archived = self.romeo.archive().await?;
        self.before.extend(archived);
        let before = &self.before;
        let live: BTreeSet<String> = self.live.iter().cloned().chain(self.romeo.log.iter().filter_map(body)).collect();
        let only_archived: Vec<_> = wanted.difference(&live).collect();
        println!("{} of {} came by way of the archive only: {only_archived:?}", only_archived.len(), wanted.len());
        let heard: BTreeSet<String> = before.iter().chain(&self.romeo.log).filter_map(body).collect();
        let missing: Vec<_> = wanted.difference(&heard).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("romeo never got {missing:?} ({result:?})")) }
    }

    async fn nothing_doubled(&mut self, world: &World, rounds: usize) -> Result<()> {
        self.alice.sync().await?;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, sender, body, _) in &self.alice.seen {
            if *sender == ghost("romeo") {
                *counts.entry(body).or_default() += 1;
            }
        }
        let doubled: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        if !doubled.is_empty() {
            return Err(format!("doubled on Matrix: {doubled:?}"));
        }
        let mails = imap::mails(world.mail.imap, &format!("bob@{OUTSIDE}")).await?;
        for round in 0..rounds {
            let ids: BTreeSet<_> = mails
                .iter()
                .filter(|mail| has_line(mail, &format!("mail-{round}")))
                .map(|mail| imap::header(mail, "Message-ID"))
                .collect();
            if ids.len() != 1 {
                return Err(format!("mail-{round} is in mails with the ids {ids:?}"));
            }
        }
        let mut ids: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for message in self.before.iter().chain(&self.romeo.log) {
            let from_network = message.attr("from").is_some_and(|from| !from.starts_with("romeo@"));
            if let Some(body) = body(message).filter(|_| from_network) {
                ids.entry(body).or_default().insert(message.attr("id").unwrap_or_default());
            }
        }
        match ids.iter().find(|(_, ids)| ids.len() > 1) {
            Some((body, ids)) => Err(format!("{body} came to XMPP under several ids: {ids:?}")),
            None => Ok(()),
        }
    }
}

/// The body of a message that is no error.
fn body(message: &Element) -> Option<String> {
    let body = message.get_child("body", "jabber:client")?.text();
    (message.attr("type") != Some("error")).then_some(body)
}

/// Whether a mail has this line.
fn has_line(mail: &str, wanted: &str) -> bool {
    mail.lines().any(|line| line.trim_end() == wanted)
}

#[test]
fn nothing_is_lost_on_prosody() {
    in_world(Kind::Prosody, nothing_is_lost);
}

#[test]
fn nothing_is_lost_on_ejabberd() {
    in_world(Kind::Ejabberd, nothing_is_lost);
}
