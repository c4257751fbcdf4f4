//! The state machine behind the front doors (D9, D13) with a clock that the test moves.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use portway::clock::Clock;
use portway::command::{Action, Answers, Commander, House, Registration, Reply};
use portway::identity::{Access, Directory, Quota, Rules};
use portway::observe::Metrics;
use portway::route::{Router, RouterParts, Unattached};
use portway::store::Store;
use portway::text::Catalogue;
use portway::xmpp::jid::Jid;
use portway::xmpp::stanza::Domain;
use portway_bridges::api::{Adapter, Condition, Stop, Timestamp, UserId};

struct Rig {
    commander: Commander,
    store: Store,
    now: Arc<AtomicI64>,
    _rest: Unattached,
}

const NET: &str = "loopback";

async fn rig() -> Rig {
    let now = Arc::new(AtomicI64::new(1_000_000_000));
    let clock = Clock::new({
        let now = now.clone();
        move || Timestamp(now.load(Ordering::SeqCst))
    });
    let store = Store::open("sqlite::memory:", &std::env::temp_dir(), clock.clone()).await.expect("a store");
    let definition = portway_bridges::find(NET).expect("the loopback network");
    let adapter: Arc<dyn Adapter> = Arc::from(definition.configure(toml::Table::new()).expect("no faults"));
    let domain = Domain::new("loopback.bench.example").expect("a domain");
    let texts = Arc::new(Catalogue::complete());
    let network: Arc<str> = NET.into();
    let (router, rest) = Router::new(RouterParts {
        network: network.clone(),
        descriptor: definition.describe(),
        adapter: adapter.clone(),
        store: store.clone(),
        texts: texts.clone(),
        metrics: Metrics::default(),
        clock: clock.clone(),
        stop: Stop::new(),
        drained: Stop::new(),
    });
    let hour = Duration::from_secs(3600);
    let house = House {
        network: network.clone(),
        descriptor: definition.describe(),
        adapter: adapter.clone(),
        component: domain.as_str().to_owned(),
        store: store.clone(),
        directory: Directory::new(NET, domain.as_str(), store.clone(), adapter.clone(), clock.clone()),
        router,
        access: Arc::new(Access::new(&[], &domain)),
        rules: Rules::new(network, store.clone(), adapter, clock.clone()),
        texts,
        clock,
        admins: vec![Jid::parse("nurse@bench.example").expect("a JID")],
        registration: Registration::Optional,
        strangers: portway::command::Policy::Deliver,
        proofs: Quota::new(3, hour),
        registrations: Quota::new(10, hour),
        relinked: tokio::sync::Notify::new(),
        outside: OnceLock::new(),
        known: Mutex::default(),
        doctor: OnceLock::new(),
    };
    Rig { commander: Commander::new(Arc::new(house)), store, now, _rest: rest }
}

impl Rig {
    fn pass(&self, time: Duration) {
        self.now.fetch_add(i64::try_from(time.as_millis()).expect("a short time"), Ordering::SeqCst);
    }

    async fn start(&self, name: &str) -> Reply {
        self.commander.start(&juliet(), name, Vec::new(), None).await
    }

    async fn begin(&self, name: &str) -> String {
        session(&self.start(name).await)
    }

    async fn next(&self, session: &str, answers: &[(&str, &str)]) -> Reply {
        self.commander.act(&juliet(), session, Action::Next, &given(answers), None).await
    }
}

fn juliet() -> UserId {
    UserId::parse("juliet@bench.example").expect("a user")
}

fn given(answers: &[(&str, &str)]) -> Answers {
    answers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn session(reply: &Reply) -> String {
    match reply {
        Reply::Ask { session, .. } => session.clone(),
        other => panic!("no form: {other:?}"),
    }
}

fn refused(reply: &Reply) -> (Condition, &str) {
    match reply {
        Reply::Refused(condition, sentence) => (*condition, sentence.key.as_str()),
        other => panic!("not refused: {other:?}"),
    }
}

fn done(reply: &Reply) -> Vec<&str> {
    match reply {
        Reply::Done { notes, .. } => notes.iter().map(|note| note.key.as_str()).collect(),
        other => panic!("not done: {other:?}"),
    }
}

#[tokio::test]
async fn d13_what_is_not_answered_in_time_is_given_up() {
    let rig = rig().await;
    let session = rig.begin("register").await;
    rig.pass(Duration::from_secs(601));
    assert_eq!(rig.next(&session, &[]).await, Reply::Expired);
    assert_eq!(rig.store.user(NET, "juliet@bench.example").await.expect("a read"), None);
    let session = rig.begin("register").await;
    rig.pass(Duration::from_secs(599));
    assert_eq!(done(&rig.next(&session, &[]).await), ["register.done", "register.next"]);
    // Done is done.
    assert_eq!(rig.next(&session, &[]).await, Reply::Expired);
}

#[tokio::test]
async fn d13_one_goes_back_and_what_was_answered_is_still_there() {
    let rig = rig().await;
    let session = rig.begin("link").await;
    let reply = rig.next(&session, &[("who", "bob@loopback")]).await;
    assert!(matches!(&reply, Reply::Ask { form, first: false, .. } if form.fields[0].name == "code"), "{reply:?}");
    let back = rig.commander.act(&juliet(), &session, Action::Prev, &Answers::new(), None).await;
    let Reply::Ask { form, first, .. } = back else { panic!("no form") };
    assert_eq!((first, form.fields[0].name, form.fields[0].value.as_str()), (true, "who", "bob@loopback"));
    let back = rig.commander.act(&juliet(), &session, Action::Prev, &Answers::new(), None).await;
    assert!(matches!(back, Reply::Ask { fault: Some(fault), .. } if fault.key == "command.no-prev"));
    let end = rig.commander.act(&juliet(), &session, Action::Cancel, &Answers::new(), None).await;
    assert!(matches!(end, Reply::Cancelled { .. }));
    assert_eq!(rig.next(&session, &[]).await, Reply::Expired);
}

#[tokio::test]
async fn d9_a_session_belongs_to_whoever_began_it_and_there_are_few() {
    let rig = rig().await;
    let first = rig.begin("register").await;
    let eve = UserId::parse("eve@bench.example").expect("a user");
    assert_eq!(rig.commander.act(&eve, &first, Action::Next, &Answers::new(), None).await, Reply::Expired);
    for _ in 0..4 {
        rig.begin("register").await;
    }
    assert_eq!(rig.next(&first, &[]).await, Reply::Expired, "the oldest makes room");
    assert_eq!(refused(&rig.start("users").await).0, Condition::Forbidden);
    assert_eq!(refused(&rig.start("nonsense").await).0, Condition::ItemNotFound);
}

#[tokio::test]
async fn s4_registering_again_and_again_is_slowed_down() {
    let rig = rig().await;
    for n in 0..10 {
        let session = rig.begin("register").await;
        assert_eq!(done(&rig.next(&session, &[]).await)[0], "register.done", "{n}");
        let session = rig.begin("unregister").await;
        assert_eq!(done(&rig.next(&session, &[("sure", "1")]).await), ["register.gone"]);
    }
    let session = rig.begin("register").await;
    assert_eq!(refused(&rig.next(&session, &[]).await), (Condition::ResourceConstraint, "register.too-often"));
    rig.pass(Duration::from_secs(3600));
    let session = rig.begin("register").await;
    assert_eq!(done(&rig.next(&session, &[]).await)[0], "register.done");
}

#[tokio::test]
async fn s1_a_code_that_is_guessed_expired_or_asked_for_too_often_links_nobody() {
    let rig = rig().await;
    // Guessed.
    let session = rig.begin("link").await;
    rig.next(&session, &[("who", "bob@loopback")]).await;
    for left in ["4", "3", "2", "1"] {
        let reply = rig.next(&session, &[("code", "AAAAA-AAAAA")]).await;
        let Reply::Ask { fault: Some(fault), .. } = reply else { panic!("not asked again: {reply:?}") };
        assert_eq!((fault.key.as_str(), fault.args[0].1.as_str()), ("link.wrong", left));
    }
    assert_eq!(refused(&rig.next(&session, &[("code", "AAAAA-AAAAA")]).await).1, "link.too-many-tries");
    assert_eq!(rig.store.try_proof(NET, "juliet@bench.example").await.expect("a read"), None);
    // Expired.
    let session = rig.begin("link").await;
    rig.next(&session, &[("who", "bob@loopback")]).await;
    rig.pass(Duration::from_secs(15 * 60));
    let late = rig.commander.start(&juliet(), "link", vec![given(&[("who", "AAAAA-AAAAA")])], None).await;
    assert_eq!(refused(&late).1, "link.expired");
    // A third code within the hour, and no fourth.
    let session = rig.begin("link").await;
    assert!(matches!(rig.next(&session, &[("who", "bob@loopback")]).await, Reply::Ask { .. }));
    let session = rig.begin("link").await;
    assert_eq!(refused(&rig.next(&session, &[("who", "bob@loopback")]).await).1, "link.too-often");
    assert_eq!(rig.store.link_of(NET, "bob@loopback").await.expect("a read"), None);
}

#[tokio::test]
async fn d11_anything_pasted_becomes_a_link() {
    let rig = rig().await;
    for typed in ["bob@loopback", "bob%loopback@loopback.bench.example", "xmpp:bob%loopback@loopback.bench.example"] {
        let session = rig.begin("start-chat").await;
        let reply = rig.next(&session, &[("address", typed)]).await;
        let Reply::Done { notes, .. } = &reply else { panic!("{typed}: {reply:?}") };
        let argument = |name: &str| notes[0].args.iter().find(|(arg, _)| arg == name).map(|(_, value)| value.as_str());
        assert_eq!(argument("jid"), Some("bob%loopback@loopback.bench.example"), "{typed}");
        assert_eq!(argument("link"), Some("xmpp:bob%25loopback@loopback.bench.example?message"));
    }
    let session = rig.begin("start-chat").await;
    let reply = rig.next(&session, &[("address", "nobody")]).await;
    assert!(matches!(reply, Reply::Ask { fault: Some(_), .. }), "{reply:?}");
}
