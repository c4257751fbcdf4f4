//! What strangers say: held, released, turned away, and told.

use std::time::Duration;

use portway::store::{Consent, Direction, Holding, NewEvent, Queued, Reason, Retention, Store};
use portway_bridges::api::{EventId, Timestamp};

use crate::rig::{NET, Rig, START, batch, event, numbers, put};

const CHAT: &str = "d/juliet@x/paris%y";
const JULIET: &str = "d/juliet@x/";

fn holding() -> Holding {
    let question = NewEvent { direction: Direction::ToXmpp, ..event("g/juliet@x/", "") };
    Holding {
        of_user: JULIET.to_owned(),
        most_of_chat: 3,
        most_of_user: 5,
        refuse: false,
        question: Some(Box::new(NewEvent { ids: Vec::new(), body: b"who is it?".to_vec(), ..question })),
    }
}

/// Something that a stranger says in a chat.
fn stranger(chat: &str, id: &str) -> NewEvent {
    let consent = Consent::Needed(Box::new(holding()));
    let dedupe = Some(id.to_owned());
    NewEvent { direction: Direction::ToXmpp, sender: "paris".to_owned(), dedupe, consent, ..event(chat, id) }
}

/// Something that the user says in a chat.
fn user(chat: &str, id: &str) -> NewEvent {
    NewEvent { consent: Consent::Given, ..event(chat, id) }
}

async fn to_xmpp(store: &Store, after: Option<EventId>) -> Vec<Queued> {
    store.pending(NET, Direction::ToXmpp, None, after, 1000).await.expect("what waits")
}

fn bodies(queued: &[Queued]) -> Vec<String> {
    queued.iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()).collect()
}

async fn turned(store: &Store) -> Vec<(Reason, String)> {
    let turned = store.turned_away(NET, 100).await.expect("what was turned away");
    turned.into_iter().map(|one| (one.reason, String::from_utf8_lossy(&one.body).into_owned())).collect()
}

pub async fn what_a_stranger_says_is_held_and_its_user_asked_once(rig: Rig) {
    let store = rig.open().await;
    let first = store.commit(batch(vec![stranger(CHAT, "1"), stranger(CHAT, "2")])).await.expect("a commit");
    assert!(first.more_to_xmpp && !first.turned_away);
    let again = store.commit(batch(vec![stranger(CHAT, "1"), stranger(CHAT, "3")])).await.expect("a commit");
    assert!(again.events[0].duplicate && !again.more_to_xmpp, "what is held is known to the guard");
    assert_eq!(bodies(&to_xmpp(&store, None).await), ["who is it?"]);
    let held = store.held(NET, JULIET, None, 10).await.expect("what is held");
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].chat.as_str(), held[0].count, held[0].since), (CHAT, 3, START));
    assert_eq!(held[0].body, b"body of 1");
    // Of others nothing.
    assert!(store.held(NET, "d/romeo@x/", None, 10).await.expect("what is held").is_empty());
    assert!(store.held("matrix", JULIET, None, 10).await.expect("what is held").is_empty());
    assert!(store.held(NET, JULIET, Some(CHAT), 10).await.expect("what is held").is_empty());
}

pub async fn agreeing_releases_it_in_order_with_its_time_ids_and_original_behind_what_waits(rig: Rig) {
    let store = rig.open().await;
    let kept = NewEvent {
        ids: vec!["1".to_owned(), "one".to_owned()],
        original: Some(b"raw".to_vec()),
        ..stranger(CHAT, "1")
    };
    put(&store, vec![kept, stranger(CHAT, "2")]).await;
    rig.pass(Duration::from_secs(3600));
    let other = put(&store, vec![NewEvent { direction: Direction::ToXmpp, ..event("b", "other") }]).await[0];
    assert_eq!(store.welcome(NET, CHAT).await, Ok(2));
    assert_eq!(store.is_known(NET, CHAT).await, Ok(true));
    // A reader that has gone past the old numbers meets them.
    let released = to_xmpp(&store, Some(other)).await;
    assert_eq!(bodies(&released), ["body of 1", "body of 2"]);
    assert_eq!((released[0].at, released[0].committed), (START, START.after(Duration::from_secs(3600))));
    let found = store.find_message(NET, CHAT, "one").await.expect("a read").expect("it is known");
    assert_eq!((found.id, found.source_ids), (released[0].id, vec!["1".to_owned(), "one".to_owned()]));
    assert_eq!(store.original(released[0].id).await, Ok(Some(b"raw".to_vec())));
    assert!(store.commit(batch(vec![stranger(CHAT, "1")])).await.expect("a commit").events[0].duplicate);
    // From now on nothing is held.
    assert_eq!(store.welcome(NET, CHAT).await, Ok(0));
    let next = store.commit(batch(vec![stranger(CHAT, "3")])).await.expect("a commit");
    assert!(!next.more_to_xmpp);
    assert_eq!(to_xmpp(&store, Some(released[1].id)).await[0].id, numbers(&next)[0]);
    assert!(store.held(NET, JULIET, None, 10).await.expect("what is held").is_empty());
}

pub async fn whoever_is_written_to_is_no_stranger(rig: Rig) {
    let store = rig.open().await;
    put(&store, vec![stranger(CHAT, "1")]).await;
    let said = store.commit(batch(vec![user(CHAT, "hello")])).await.expect("a commit");
    assert!(said.more_to_xmpp);
    assert_eq!(bodies(&to_xmpp(&store, None).await), ["who is it?", "body of 1"]);
    // Written to before they say anything: never held. What the user's other account says there goes behind what was held.
    put(&store, vec![user("d/juliet@x/bob%y", "hi"), stranger("d/juliet@x/bob%y", "2")]).await;
    put(&store, vec![stranger("d/juliet@x/carl%y", "3")]).await;
    let own = NewEvent { direction: Direction::ToXmpp, ..user("d/juliet@x/carl%y", "own") };
    put(&store, vec![own]).await;
    let all = bodies(&to_xmpp(&store, None).await);
    assert_eq!(all[2..], ["body of 2", "who is it?", "body of 3", "body of own"]);
    // A commit that fails agrees to nothing.
    assert_eq!(store.is_known(NET, "d/juliet@x/dora%y").await, Ok(false));
}

pub async fn only_so_much_is_held_and_the_rest_is_turned_away(rig: Rig) {
    let store = rig.open().await;
    let ids = ["1", "2", "3", "4"];
    let result = store.commit(batch(ids.iter().map(|id| stranger(CHAT, id)).collect())).await.expect("a commit");
    assert!(result.turned_away);
    assert_eq!(turned(&store).await, [(Reason::Full, "body of 4".to_owned())]);
    let bob = "d/juliet@x/bob%y";
    put(&store, ["5", "6", "7"].iter().map(|id| stranger(bob, id)).collect()).await;
    assert_eq!(turned(&store).await.len(), 2, "five of all");
    // Another user's are not counted.
    let of_user = "d/romeo@x/".to_owned();
    let consent = Consent::Needed(Box::new(Holding { of_user: of_user.clone(), ..holding() }));
    put(&store, vec![NewEvent { consent, ..stranger("d/romeo@x/bob%y", "8") }]).await;
    assert_eq!(store.held(NET, &of_user, None, 10).await.expect("what is held").len(), 1);
    // What is refused from the start asks nobody.
    let consent = Consent::Needed(Box::new(Holding { refuse: true, ..holding() }));
    let before = to_xmpp(&store, None).await.len();
    put(&store, vec![NewEvent { consent, ..stranger("d/juliet@x/eve%y", "9") }]).await;
    assert_eq!(turned(&store).await.last(), Some(&(Reason::Refused, "body of 9".to_owned())));
    assert_eq!(to_xmpp(&store, None).await.len(), before);
}

pub async fn what_says_nothing_by_itself_is_held_only_behind_something(rig: Rig) {
    let store = rig.open().await;
    let silent = |id: &str| {
        let consent = Consent::Needed(Box::new(Holding { question: None, ..holding() }));
        NewEvent { consent, ..stranger(CHAT, id) }
    };
    put(&store, vec![silent("0"), stranger(CHAT, "1"), silent("2")]).await;
    assert_eq!(store.held(NET, JULIET, None, 10).await.expect("what is held")[0].count, 2);
    assert_eq!(store.welcome(NET, CHAT).await, Ok(2));
    assert_eq!(bodies(&to_xmpp(&store, None).await), ["who is it?", "body of 1", "body of 2"]);
}

pub async fn what_is_turned_away_stays_until_its_sender_is_told_once(rig: Rig) {
    let store = rig.open().await;
    let ids = put(&store, vec![stranger(CHAT, "1"), stranger("d/juliet@x/bob%y", "2"), stranger(CHAT, "3")]).await;
    assert_eq!(store.turn_away(NET, JULIET, Some(CHAT), Reason::Refused).await, Ok(2));
    assert_eq!(store.turn_away(NET, JULIET, Some(CHAT), Reason::Refused).await, Ok(0));
    assert_eq!(turned(&store).await.len(), 2);
    assert_eq!(store.welcome(NET, CHAT).await, Ok(0), "it is too late");
    rig.pass(Duration::from_secs(400 * 86_400));
    store.prune(Retention::default()).await.expect("pruning");
    assert_eq!(turned(&store).await.len(), 2, "nobody was told yet");
    let word = |id: &str| Some(event(CHAT, id));
    assert_eq!(store.told(ids[0], word("told")).await, Ok(true));
    assert_eq!(store.told(ids[0], word("twice")).await, Ok(false));
    assert_eq!(store.told(ids[1], word("held")).await, Ok(false), "it is held and not turned away");
    assert_eq!(store.told(ids[2], None).await, Ok(true));
    let out = store.pending(NET, Direction::ToNetwork, None, None, 10).await.expect("what waits");
    assert_eq!(bodies(&out), ["body of told"]);
    assert_eq!(store.message(ids[0]).await.expect("a read").expect("it is known").body, None);
    assert_eq!(store.turn_away(NET, JULIET, None, Reason::Refused).await, Ok(1), "all that is held of a user");
}

pub async fn what_is_held_for_too_long_is_turned_away_and_never_pruned(rig: Rig) {
    let store = rig.open().await;
    put(&store, vec![stranger(CHAT, "1")]).await;
    rig.pass(Duration::from_secs(400 * 86_400));
    put(&store, vec![stranger(CHAT, "2")]).await;
    store.prune(Retention::default()).await.expect("pruning");
    assert_eq!(store.held(NET, JULIET, None, 10).await.expect("what is held")[0].count, 2);
    assert_eq!(store.expire("matrix", Timestamp(i64::MAX)).await, Ok(0));
    assert_eq!(store.expire(NET, START.after(Duration::from_secs(1))).await, Ok(1));
    assert_eq!(turned(&store).await, [(Reason::Expired, "body of 1".to_owned())]);
    assert_eq!(store.held(NET, JULIET, None, 10).await.expect("what is held")[0].body, b"body of 2");
}

pub async fn chats_that_a_user_opens_are_counted_and_those_of_others_are_not(rig: Rig) {
    let store = rig.open().await;
    // Agreeing to somebody says nothing to them.
    assert_eq!(store.welcome(NET, CHAT).await, Ok(0));
    assert_eq!(store.has_chat(NET, CHAT).await, Ok(false));
    put(&store, vec![user(CHAT, "1"), stranger("d/juliet@x/bob%y", "2"), user("d/juliet@x/bob%y", "3")]).await;
    rig.pass(Duration::from_secs(60));
    put(&store, vec![user("d/juliet@x/carl%y", "4"), user(CHAT, "5"), user("d/juliet@xy/carl%y", "6")]).await;
    let later = START.after(Duration::from_secs(60));
    let opened = |since: i64| store.opened(NET, JULIET, Timestamp(since));
    assert_eq!(opened(0).await, Ok(vec![START, later]));
    assert_eq!(opened(START.0).await, Ok(vec![later]));
    assert_eq!(store.has_chat(NET, CHAT).await, Ok(true));
    assert_eq!(store.has_chat("matrix", CHAT).await, Ok(false));
}
