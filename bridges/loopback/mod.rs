//! A network in memory: the template for new adapters and the peer of the gateway's own tests.
//!
//! Whoever connects to its control socket is the other side: they see what the gateway delivers and say things there, as
//! JSON lines ([`wire`]). Without anybody connected, the person `echo@loopback` answers every text with the same text,
//! and everything else is accepted and forgotten.

mod control;
mod from_loopback;
mod state;
mod to_loopback;
pub mod wire;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;

use self::state::State;
use super::api::{
    Adapter, Address, BoxFuture, Capabilities, Chat, ChatInfo, Condition, ConfigErrors, Core, Descriptor, Failure,
    Fatal, Inbound, ItemId, Kind, Listener, Network, Outbound, PersonId, Picture, Reach, Receipt, Refusal, RoomId,
    Sentence, SentenceDef, Signal, Stop, Submission, Text, UserId,
};

/// The network.
pub struct Loopback;

/// The one instance.
pub static NETWORK: Loopback = Loopback;

/// The waits between tries: short, because tests wait for them.
const RETRY: &[Duration] =
    &[Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];

/// When the sender hears that we are still trying.
const NOTICES: &[Duration] = &[Duration::from_secs(30)];

const SENTENCES: &[SentenceDef] = &[
    SentenceDef {
        key: "loopback.bad-address",
        lang: "en",
        text: "“{typed}” is not an address here. Write name@server for a person or #name@server for a room.",
    },
    SentenceDef { key: "loopback.refused", lang: "en", text: "The other side of the loopback network refused this." },
    SentenceDef {
        key: "loopback.bad-address",
        lang: "de",
        text: "„{typed}“ ist hier keine Adresse. Eine Person ist name@server, ein Raum #name@server.",
    },
    SentenceDef {
        key: "loopback.refused",
        lang: "de",
        text: "Die andere Seite des Loopback-Netzes hat das abgelehnt.",
    },
];

impl Network for Loopback {
    fn describe(&self) -> Descriptor {
        Descriptor {
            id: "loopback",
            name: "Loopback",
            disco_type: "loopback",
            config_example: concat!(
                "# Where programs that play the other side connect (JSON lines). Without it, only echo@loopback answers.\n",
                "# listen = \"127.0.0.1:5399\"\n",
                "# How many seconds after a failure to try again for the first time; later tries wait longer.\n",
                "# retry_first = 1\n",
            ),
            config_keys: &["listen", "retry_first"],
            secret_keys: &[],
            sentences: SENTENCES,
            rooms: true,
            retry: RETRY,
            give_up: Duration::from_secs(3600),
            notices: NOTICES,
        }
    }

    fn configure(&self, raw: toml::Table) -> Result<Box<dyn Adapter>, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let listen = match raw.get("listen") {
            None => None,
            Some(toml::Value::String(text)) => match text.parse() {
                Ok(address) => Some(address),
                Err(_) => {
                    errors.add("listen", "not an address; write it as \"127.0.0.1:5399\"");
                    None
                }
            },
            Some(_) => {
                errors.add("listen", "must be text in quotes, such as \"127.0.0.1:5399\"");
                None
            }
        };
        let first =
            raw.get("retry_first").map(|value| value.as_integer().and_then(|seconds| u64::try_from(seconds).ok()));
        if first == Some(None) {
            errors.add("retry_first", "must be a number of seconds, such as 1");
        }
        let first_retry = first.flatten().map(Duration::from_secs);
        if errors.0.is_empty() {
            Ok(Box::new(LoopbackAdapter {
                listen,
                first_retry,
                core: OnceLock::new(),
                state: Arc::new(State::default()),
            }))
        } else {
            Err(errors)
        }
    }
}

struct LoopbackAdapter {
    listen: Option<std::net::SocketAddr>,
    first_retry: Option<Duration>,
    core: OnceLock<Core>,
    state: Arc<State>,
}

impl Adapter for LoopbackAdapter {
    fn run<'a>(&'a self, core: Core, stop: Stop) -> BoxFuture<'a, Result<(), Fatal>> {
        async move {
            let _ = self.core.set(core.clone());
            match self.listen {
                Some(address) => control::serve(address, core, self.state.clone(), stop).await,
                None => {
                    stop.cancelled().await;
                    Ok(())
                }
            }
        }
        .boxed()
    }

    fn first_retry(&self) -> Option<Duration> {
        self.first_retry
    }

    fn listening(&self) -> bool {
        self.listen.is_none() || self.state.address().is_some()
    }

    fn capabilities(&self, _chat: Option<&Chat>) -> Capabilities {
        Capabilities {
            edit: true,
            reply: true,
            reaction: true,
            retract: true,
            displayed: true,
            emote: true,
            typing: true,
            ..Capabilities::default()
        }
    }

    fn resolve(&self, typed: &str) -> Result<Address, Refusal> {
        let typed = typed.trim();
        let parsed = match typed.strip_prefix('#') {
            Some(room) => {
                room.split_once('@').and_then(|(name, server)| RoomId::alias(name, server).ok()).map(Address::Room)
            }
            None => {
                typed.split_once('@').and_then(|(name, server)| PersonId::new(name, server).ok()).map(Address::Person)
            }
        };
        parsed.ok_or_else(|| Refusal {
            condition: Condition::JidMalformed,
            sentence: Sentence::new("loopback.bad-address").with("typed", typed),
        })
    }

    fn print_person(&self, person: &PersonId) -> String {
        wire::print_person(person)
    }

    fn print_room(&self, room: &RoomId) -> String {
        wire::print_room(room)
    }

    fn deliver<'a>(&'a self, out: &'a [Outbound]) -> BoxFuture<'a, Result<Receipt, Failure>> {
        async move {
            let mut ids = Vec::with_capacity(out.len());
            for outbound in out {
                let id = format!("lo-{}", outbound.id);
                if let Some(failure) = self.state.failure(&outbound.chat) {
                    return Err(failure);
                }
                if self.state.first_time(outbound.id) {
                    self.state.show(to_loopback::item(&id, outbound)).await;
                    self.echo(&id, outbound).await?;
                }
                ids.push(ItemId::new(&id));
            }
            Ok(Receipt { ids })
        }
        .boxed()
    }

    fn signal<'a>(&'a self, signal: Signal) -> BoxFuture<'a, ()> {
        async move { self.state.show(to_loopback::signal(&signal)).await }.boxed()
    }

    fn enter<'a>(
        &'a self,
        _user: &'a UserId,
        _nick: &'a str,
        room: &'a RoomId,
    ) -> BoxFuture<'a, Result<ChatInfo, Failure>> {
        async move {
            let chat = Chat::Room(room.clone());
            if let Some(failure) = self.state.failure(&chat) {
                return Err(failure);
            }
            // An alias is the id of the room here, so both lead to the same one.
            let name = match room {
                RoomId::Alias { local, .. } => local,
                RoomId::Id { opaque, .. } => opaque,
            };
            let id = RoomId::id(name, None).map_err(|error| Failure::temporary(error.to_string()))?;
            Ok(ChatInfo {
                members: self.state.members(&id),
                member_count: self.state.members(&id).len(),
                next: self.state.next(&id),
                room: id,
                name: Some(name.to_string()),
                topic: None,
            })
        }
        .boxed()
    }

    fn name<'a>(&'a self, person: &'a PersonId) -> BoxFuture<'a, Option<String>> {
        async move { self.state.name(person) }.boxed()
    }

    fn avatar_source<'a>(&'a self, person: &'a PersonId) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        async move { Ok(self.state.face(person).map(|(source, _)| source)) }.boxed()
    }

    fn avatar<'a>(&'a self, person: &'a PersonId, source: &'a str) -> BoxFuture<'a, Result<Option<Picture>, Failure>> {
        async move {
            let found = self.state.face(person).filter(|(now, _)| now == source);
            Ok(found.map(|(source, bytes)| Picture { source, media_type: String::new(), bytes: bytes.into() }))
        }
        .boxed()
    }

    fn reach(&self, person: &PersonId) -> Vec<Reach> {
        vec![Reach::Mail(wire::print_person(person)), Reach::Link(format!("loopback:{}", wire::print_person(person)))]
    }

    fn dress<'a>(
        &'a self,
        user: &'a UserId,
        name: Option<&'a str>,
        picture: Option<&'a Picture>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            self.state.show(to_loopback::dress(user, name, picture)).await;
            Ok(())
        }
        .boxed()
    }

    fn point<'a>(&'a self, user: &'a UserId, persons: &'a [PersonId]) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            self.state.show(to_loopback::point(user, persons)).await;
            Ok(())
        }
        .boxed()
    }

    fn listeners(&self) -> Vec<Listener> {
        let address = self.state.address().or(self.listen);
        address.map(|address| Listener { what: "loopback control", address: address.to_string() }).into_iter().collect()
    }
}

impl LoopbackAdapter {
    /// The person `echo` says again what was said to them.
    async fn echo(&self, id: &str, outbound: &Outbound) -> Result<(), Failure> {
        let (Chat::Direct { person, .. }, Kind::Text(text)) = (&outbound.chat, &outbound.kind) else { return Ok(()) };
        let Some(core) = self.core.get().filter(|_| person.local() == "echo") else { return Ok(()) };
        let event = Inbound {
            id: Some(ItemId::new(&format!("echo-{id}"))),
            other_ids: Vec::new(),
            chat: outbound.chat.clone(),
            sender: person.clone(),
            sender_name: Some("Echo".to_owned()),
            at: core.now(),
            kind: Kind::Text(Text::plain(text.body.clone())),
        };
        core.submit(Submission { events: vec![event], ..Submission::default() })
            .await
            .map(|_| ())
            .map_err(|error| Failure::temporary(error.to_string()))
    }
}
