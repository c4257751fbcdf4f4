//! Users and what belongs to them.

use std::time::Duration;

use portway::store::{AvatarRow, Forgotten, LinkRow, Linked, Proof, Rule, Store, Subscription, UserRow};

use crate::rig::{NET, Rig, START};

const JULIET: &str = "juliet@capulet.lit";
const ROMEO: &str = "romeo@montague.lit";

fn user(user: &str) -> UserRow {
    UserRow { user: user.to_owned(), since: START, choices: "{}".to_owned() }
}

fn both() -> Subscription {
    Subscription { to: true, from: true, ..Subscription::default() }
}

async fn subscribe(store: &Store, user: &str, contact: &str, state: Subscription) {
    store.change_subscription(NET, user, contact, move |_| state).await.expect("a change");
}

pub async fn users_register_once_and_choose_again(rig: Rig) {
    let store = rig.open().await;
    assert_eq!(store.user(NET, JULIET).await.expect("a read"), None);
    assert!(store.register(NET, user(JULIET)).await.expect("a write"));
    let later = UserRow { since: START.after(Duration::from_secs(9)), choices: "{\"a\":1}".to_owned(), ..user(JULIET) };
    assert!(!store.register(NET, later.clone()).await.expect("a write"));
    let expected = UserRow { since: START, ..later };
    assert_eq!(store.user(NET, JULIET).await.expect("a read"), Some(expected.clone()));
    assert_eq!(store.user("other", JULIET).await.expect("a read"), None);
    store.register(NET, user(ROMEO)).await.expect("a write");
    assert_eq!(store.users(NET, None, 1).await.expect("a read"), [expected]);
    assert_eq!(store.users(NET, Some(JULIET), 5).await.expect("a read"), [user(ROMEO)]);
}

pub async fn subscriptions_change_in_one_step_and_are_found_from_either_side(rig: Rig) {
    let store = rig.open().await;
    let none = Subscription::default();
    let (before, after) =
        store.change_subscription(NET, JULIET, "a%b", |state| Subscription { from: true, ..state }).await.expect("one");
    assert_eq!((before, after), (none, Subscription { from: true, ..none }));
    let (before, after) =
        store.change_subscription(NET, JULIET, "a%b", |state| Subscription { to: true, ..state }).await.expect("two");
    assert_eq!((before.from, after), (true, both()));
    subscribe(&store, JULIET, "c%d", both()).await;
    subscribe(&store, ROMEO, "a%b", Subscription { pending_in: true, ..none }).await;
    assert_eq!(store.subscription(NET, ROMEO, "a%b").await.expect("a read"), Subscription { pending_in: true, ..none });
    let of_juliet = store.subscriptions(NET, JULIET, None, 5).await.expect("a read");
    assert_eq!(of_juliet, [("a%b".to_owned(), both()), ("c%d".to_owned(), both())]);
    assert_eq!(store.subscriptions(NET, JULIET, Some("a%b"), 5).await.expect("a read").len(), 1);
    let of_contact: Vec<String> =
        store.subscribers(NET, "a%b", None, 5).await.expect("a read").into_iter().map(|(user, _)| user).collect();
    assert_eq!(of_contact, [JULIET, ROMEO]);
    assert_eq!(store.subscribed_users(NET, None, 5).await.expect("a read"), [JULIET, ROMEO]);
    assert_eq!(store.subscribed_users(NET, Some(JULIET), 5).await.expect("a read"), [ROMEO]);
    assert_eq!(store.subscribed_users("other", None, 5).await.expect("a read"), Vec::<String>::new());
    subscribe(&store, JULIET, "a%b", none).await;
    assert_eq!(store.subscribers(NET, "a%b", None, 5).await.expect("a read").len(), 1);
}

pub async fn a_person_has_one_user(rig: Rig) {
    let store = rig.open().await;
    let link = |user: &str, remote: &str| LinkRow { remote: remote.to_owned(), user: user.to_owned(), since: START };
    assert_eq!(store.link(NET, link(JULIET, "@j:hs")).await.expect("a write"), Linked::New);
    assert_eq!(store.link(NET, link(JULIET, "@j:hs")).await.expect("a write"), Linked::Known);
    assert_eq!(store.link(NET, link(ROMEO, "@j:hs")).await.expect("a write"), Linked::Taken(JULIET.to_owned()));
    assert_eq!(store.link(NET, link(JULIET, "@k:hs")).await.expect("a write"), Linked::New);
    assert_eq!(store.link_of(NET, "@j:hs").await.expect("a read"), Some(link(JULIET, "@j:hs")));
    assert_eq!(store.links(NET, Some(JULIET), Some("@j:hs"), 5).await.expect("a read"), [link(JULIET, "@k:hs")]);
    assert_eq!(store.links(NET, None, None, 5).await.expect("a read").len(), 2);
    assert!(store.unlink(NET, "@j:hs").await.expect("a write"));
    assert!(!store.unlink(NET, "@j:hs").await.expect("a write"));
    assert_eq!(store.link(NET, link(ROMEO, "@j:hs")).await.expect("a write"), Linked::New);
}

pub async fn a_proof_counts_its_tries_and_is_replaced(rig: Rig) {
    let store = rig.open().await;
    let proof = Proof { remote: "@j:hs".to_owned(), code: vec![1, 2], expires: START, tries: 0 };
    assert_eq!(store.try_proof(NET, JULIET).await.expect("a read"), None);
    store.put_proof(NET, JULIET, Some(proof.clone())).await.expect("a write");
    for tries in 1..=3 {
        let tried = store.try_proof(NET, JULIET).await.expect("a read");
        assert_eq!(tried, Some(Proof { tries, ..proof.clone() }));
    }
    store.put_proof(NET, JULIET, Some(Proof { code: vec![3], ..proof.clone() })).await.expect("a write");
    assert_eq!(store.try_proof(NET, JULIET).await.expect("a read").map(|proof| proof.tries), Some(1));
    store.put_proof(NET, JULIET, None).await.expect("a write");
    assert_eq!(store.try_proof(NET, JULIET).await.expect("a read"), None);
}

pub async fn rules_belong_to_their_owner(rig: Rig) {
    let store = rig.open().await;
    let rule = |user: &str, pattern: &str, allow| Rule {
        user: user.to_owned(),
        pattern: pattern.to_owned(),
        allow,
        at: START,
    };
    store.put_rule(NET, rule("", "*@spam.example", false)).await.expect("a write");
    store.put_rule(NET, rule(JULIET, "@tybalt:*", false)).await.expect("a write");
    store.put_rule(NET, rule(JULIET, "@tybalt:*", true)).await.expect("a write");
    assert_eq!(store.rules(NET, JULIET).await.expect("a read"), [rule(JULIET, "@tybalt:*", true)]);
    assert_eq!(store.rules(NET, "").await.expect("a read").len(), 1);
    assert!(store.remove_rule(NET, JULIET, "@tybalt:*").await.expect("a write"));
    assert!(!store.remove_rule(NET, JULIET, "@tybalt:*").await.expect("a write"));
    assert_eq!(store.rules(NET, "").await.expect("a read").len(), 1);
}

pub async fn a_picture_is_kept_until_the_next(rig: Rig) {
    let store = rig.open().await;
    let picture = AvatarRow {
        source: "mxc://a/b".to_owned(),
        hash: "00ff".to_owned(),
        media_type: "image/png".to_owned(),
        bytes: vec![7; 300],
        at: START,
    };
    store.put_avatar(NET, "a%b", Some(picture.clone())).await.expect("a write");
    assert_eq!(store.avatar(NET, "a%b").await.expect("a read"), Some(picture.clone()));
    assert_eq!(store.avatar(NET, "c%d").await.expect("a read"), None);
    let next = AvatarRow { source: "mxc://a/c".to_owned(), bytes: Vec::new(), ..picture };
    store.put_avatar(NET, "a%b", Some(next.clone())).await.expect("a write");
    assert_eq!(store.avatar(NET, "a%b").await.expect("a read"), Some(next));
    store.put_avatar(NET, "a%b", None).await.expect("a write");
    assert_eq!(store.avatar(NET, "a%b").await.expect("a read"), None);
}

pub async fn a_user_who_goes_takes_everything_along_and_nothing_else(rig: Rig) {
    let store = rig.open().await;
    let face = AvatarRow {
        source: "x".to_owned(),
        hash: String::new(),
        media_type: String::new(),
        bytes: Vec::new(),
        at: START,
    };
    for who in [JULIET, ROMEO] {
        store.register(NET, user(who)).await.expect("a write");
        store.put_avatar(NET, who, Some(face.clone())).await.expect("a write");
        subscribe(&store, who, "a%b", both()).await;
        let rule = Rule { user: who.to_owned(), pattern: "*".to_owned(), allow: false, at: START };
        store.put_rule(NET, rule).await.expect("a write");
        let link = LinkRow { remote: format!("@{who}"), user: who.to_owned(), since: START };
        store.link(NET, link).await.expect("a write");
    }
    store
        .put_rule(NET, Rule { user: String::new(), pattern: "x".to_owned(), allow: false, at: START })
        .await
        .expect("one");
    let gone = store.forget_user(NET, JULIET).await.expect("a write");
    assert_eq!(gone, Forgotten { registered: true, subscriptions: 1, rules: 1, links: 1 });
    assert_eq!(store.forget_user(NET, JULIET).await.expect("a write"), Forgotten::default());
    assert_eq!(store.forget_user(NET, "").await.expect("a write"), Forgotten::default());
    assert_eq!(store.users(NET, None, 5).await.expect("a read"), [user(ROMEO)]);
    assert_eq!(store.avatar(NET, JULIET).await, Ok(None));
    assert_eq!(store.avatar(NET, ROMEO).await, Ok(Some(face)));
    assert_eq!(store.subscribers(NET, "a%b", None, 5).await.expect("a read").len(), 1);
    assert_eq!(store.rules(NET, "").await.expect("a read").len(), 1);
    assert_eq!(store.links(NET, None, None, 5).await.expect("a read").len(), 1);
}
