//! Links: a user proves that somebody on the network is them. A code is sent to that person as an ordinary message; whoever
//! can type it here is them.

use std::time::Duration;

use hmac::{Hmac, Mac};
use portway_bridges::api::{Address, Chat, Condition, Kind, PersonId, Sentence, Text, UserId};
use rand::Rng as _;
use sha2::Sha256;

use super::contact::resolve;
use super::form::{Field, Form};
use super::house::House;
use super::pointers;
use super::table::{Call, Step};
use super::user::links_of;
use crate::route::item::{Item, Meta, Speaker};
use crate::store::{LinkRow, Linked, Proof, StoreError};

/// How long a code holds.
const HOLDS: Duration = Duration::from_secs(15 * 60);

/// How often a code may be typed.
const TRIES: u32 = 5;

/// Letters and digits that nobody takes for one another.
const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKLMNPQRSTUVWXY";

/// How many of them a code has: some 49 bits, against five tries.
const LENGTH: usize = 10;

type Outcome = Result<Step, StoreError>;

fn new_code() -> String {
    let mut rng = rand::rng();
    (0..LENGTH).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

/// The code in a text, if it looks like one: case and separators do not matter.
#[must_use]
pub fn code_in(text: &str) -> Option<String> {
    let code: String =
        text.trim().chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
    (code.len() == LENGTH && code.bytes().all(|byte| ALPHABET.contains(&byte))).then_some(code)
}

/// What is stored of a code: nothing that leads back to it without the store's own secret.
fn keyed(house: &House, user: &UserId, remote: &str, code: &str) -> Hmac<Sha256> {
    let key = house.store.key("link-proof");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    for part in [&user.to_string(), remote, code] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac
}

/// Asks for a person, sends them a code, and links them to whoever types it.
pub async fn link(call: Call) -> Outcome {
    let step = call.answered.len();
    if step == 0 {
        let who = Field::text("who", Sentence::new("link.field-who"));
        let note = Sentence::new("link.about").with("network", call.house.descriptor.name);
        return Ok(Step::Ask(Form::new("command.title-link").note(note).field(who).more()));
    }
    if step == 1 {
        let typed = call.answer("who");
        if let Some(code) = code_in(typed) {
            return confirm(&call, &code).await;
        }
        return match resolve(&call.house, typed) {
            Ok(Address::Person(person)) => send_code(&call, person).await,
            Ok(Address::Room(_)) => Step::again(Sentence::new("link.a-room")),
            Err(refusal) => Step::again(refusal.sentence),
        };
    }
    match code_in(call.answer("code")) {
        Some(code) => confirm(&call, &code).await,
        None => Step::again(Sentence::new("link.no-code")),
    }
}

async fn send_code(call: &Call, person: PersonId) -> Outcome {
    let (house, remote) = (&call.house, call.house.adapter.print_person(&person));
    match house.store.link_of(&house.network, &remote).await? {
        Some(link) if link.user == call.user.to_string() => {
            return Step::done(Sentence::new("link.known").with("who", remote));
        }
        Some(_) => return Ok(Step::Refuse(Condition::Conflict, Sentence::new("link.taken").with("who", remote))),
        None => {}
    }
    let now = house.clock.now();
    if !house.proofs.allows(&call.user, now) {
        return Ok(Step::Refuse(Condition::ResourceConstraint, Sentence::new("link.too-often")));
    }
    let code = new_code();
    let hash = keyed(house, &call.user, &remote, &code).finalize().into_bytes().to_vec();
    let proof = Proof { remote: remote.clone(), code: hash, expires: now.after(HOLDS), tries: 0 };
    house.store.put_proof(&house.network, &call.user.to_string(), Some(proof)).await?;
    let shown = format!("{}-{}", &code[..LENGTH / 2], &code[LENGTH / 2..]);
    let sentence = Sentence::new("link.message").with("user", call.user.to_string()).with("code", shown);
    let item = Item {
        chat: Chat::Direct { user: call.user.clone(), person },
        speaker: Speaker::User { id: call.user.clone(), name: None },
        at: now,
        kind: Kind::Text(Text::plain(house.texts.text(&sentence, None))),
        meta: Meta { lang: call.lang.clone(), ..Meta::default() },
    };
    house.router.accept(item).await;
    let code = Field::text("code", Sentence::new("link.field-code"));
    let note = Sentence::new("link.sent").with("who", remote);
    Ok(Step::Ask(Form::new("command.title-link").note(note).field(code)))
}

async fn confirm(call: &Call, code: &str) -> Outcome {
    let (house, user) = (&call.house, call.user.to_string());
    let over = |key: &str| Ok(Step::Refuse(Condition::NotAcceptable, Sentence::new(key)));
    // Counted before it is looked at: two tries at once are two.
    let Some(proof) = house.store.try_proof(&house.network, &user).await? else { return over("link.none") };
    if house.clock.now() >= proof.expires {
        house.store.put_proof(&house.network, &user, None).await?;
        return over("link.expired");
    }
    if proof.tries > TRIES {
        house.store.put_proof(&house.network, &user, None).await?;
        return over("link.too-many-tries");
    }
    if keyed(house, &call.user, &proof.remote, code).verify_slice(&proof.code).is_err() {
        let left = TRIES - proof.tries;
        if left == 0 {
            house.store.put_proof(&house.network, &user, None).await?;
            return over("link.too-many-tries");
        }
        return Step::again(Sentence::new("link.wrong").with("left", left.to_string()));
    }
    house.store.put_proof(&house.network, &user, None).await?;
    pointers::mark(&house.store, &house.network, &user).await?;
    let link = LinkRow { remote: proof.remote.clone(), user, since: house.clock.now() };
    match house.store.link(&house.network, link).await? {
        Linked::New | Linked::Known => {
            house.relinked.notify_one();
            Step::done(Sentence::new("link.done").with("who", proof.remote))
        }
        Linked::Taken(_) => {
            Ok(Step::Refuse(Condition::Conflict, Sentence::new("link.taken").with("who", proof.remote)))
        }
    }
}

/// Removes a link of whoever asks.
pub async fn unlink(call: Call) -> Outcome {
    let links = links_of(&call).await?;
    if links.is_empty() {
        return Step::done(Sentence::new("link.no-links"));
    }
    if call.answered.is_empty() {
        let line =
            |link: &LinkRow| (link.remote.clone(), Sentence::new("command.line").with("text", link.remote.clone()));
        let who = Field::choice("who", Sentence::new("link.field-unlink"), links.iter().map(line).collect());
        return Ok(Step::Ask(Form::new("command.title-unlink").field(who)));
    }
    // The form's own check has seen that it is one of theirs; it may have changed hands since.
    let who = call.answer("who");
    if links.iter().any(|link| link.remote == who) {
        pointers::mark(&call.house.store, &call.house.network, &call.user.to_string()).await?;
        call.house.store.unlink(&call.house.network, who).await?;
        call.house.relinked.notify_one();
    }
    Step::done(Sentence::new("link.removed").with("who", who))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_long_random_and_readable() {
        let code = new_code();
        assert!(code.len() >= 8 && code != new_code());
        let typed = format!(" {}-{} ", code[..5].to_lowercase(), &code[5..]);
        assert_eq!(code_in(&typed).as_deref(), Some(code.as_str()));
        for text in ["", "hello", "@alice:matrix.example", "1234567890", "ABCDEFGHJ", "ABCDEFGHJKL"] {
            assert_eq!(code_in(text), None, "{text}");
        }
    }
}
