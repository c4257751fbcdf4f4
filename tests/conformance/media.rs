//! Files: XEP-0066, 0385, 0446, 0447, 0454, and the server that users get them from. The network is Matrix, against a homeserver
//! in this process.

use std::time::Duration;

use minidom::Element;
use portway_testbed::stub_homeserver::{Membership, Options, Sent, StubHomeserver};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::support::binary::{Dir, port_of};
use crate::support::fake_server::{Connection, FakeServer};
use crate::support::gateway::{BALCONY, body, error, launch};
use crate::support::web::{self, Web};

const MATRIX: &str = "matrix.bench.example";
const ALICE: &str = "@alice:hs.test";
const CONTACT: &str = "alice%hs.test";
const OOB: &str = "jabber:x:oob";
const REQUEST: &str = "<request xmlns='urn:xmpp:receipts'/>";
const PATIENCE: Duration = Duration::from_secs(60);

struct House {
    dir: Dir,
    server: FakeServer,
    stub: StubHomeserver,
    child: Child,
    connection: Connection,
    http: u16,
    config: String,
    room: String,
    seen: Vec<Element>,
    pushed: u32,
}

impl House {
    /// juliet has a chat with alice; files of at most 100 MiB.
    async fn open() -> Self {
        Self::with("fetch_allow = [\"127.0.0.1\"]").await
    }

    async fn with(media: &str) -> Self {
        let (dir, server) = (Dir::new(), FakeServer::start(&[(MATRIX, "s")]).await);
        let stub = StubHomeserver::start(Options::default()).await.expect("a free port");
        stub.add_user(ALICE, "Alice");
        let config = format!(
            "[gateway]\ndata_dir = {:?}\nallow = [\"bench.example\"]\n[xmpp]\nport = {}\n\
             [http]\nlisten = \"127.0.0.1:0\"\npublic_url = \"https://files.example/\"\n[media]\n{media}\n\
             [network.matrix]\ncomponent = \"{MATRIX}\"\nsecret = \"s\"\nhomeserver = {:?}\n\
             server_name = \"hs.test\"\nlisten = \"127.0.0.1:0\"\nas_token = \"as-token\"\nhs_token = \"hs-token\"\n",
            dir.0,
            server.port(),
            stub.url(),
        );
        let (child, connection, printed) = launch(&dir, &server, &config).await;
        stub.push_to(&format!("http://127.0.0.1:{}", port_of(&printed, "application service")));
        let http = port_of(&printed, "http");
        let (room, seen) = (String::new(), Vec::new());
        let mut house = Self { dir, server, stub, child, connection, http, config, room, seen, pushed: 0 };
        house.say("opening", "<body>hello</body>").await;
        house.until(|stub| !stub.all_sent().is_empty()).await;
        house.room = house.stub.rooms()[0].clone();
        let joined = house.stub.change_member(&house.room, ALICE, ALICE, Membership::Join, json!({}));
        house.push(&joined).await;
        house
    }

    async fn restart(&mut self) {
        self.child.kill().await.expect("it ran");
        let (child, connection, printed) = launch(&self.dir, &self.server, &self.config).await;
        self.stub.push_to(&format!("http://127.0.0.1:{}", port_of(&printed, "application service")));
        self.http = port_of(&printed, "http");
        (self.child, self.connection) = (child, connection);
    }

    async fn say(&mut self, id: &str, payload: &str) {
        let text =
            format!("<message from='{BALCONY}' to='{CONTACT}@{MATRIX}' type='chat' id='{id}'>{payload}</message>");
        self.connection.send(&text).await;
    }

    async fn push(&mut self, event: &Value) {
        self.pushed += 1;
        let answer = self.stub.push(&format!("t{}", self.pushed), &json!({ "events": [event] })).await;
        assert_eq!(answer.expect("it listens").0, 200);
    }

    /// alice sends a file of this content.
    async fn show(&mut self, content: Value) {
        let event = self.stub.event(&self.room, ALICE, "m.room.message", content);
        self.push(&event).await;
    }

    async fn stanza(&mut self, wanted: impl Fn(&Element) -> bool) -> Element {
        let wait = async {
            loop {
                let stanza = self.connection.stanza().await;
                self.seen.push(stanza.clone());
                if wanted(&stanza) {
                    return stanza;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the stanza comes")
    }

    /// The next file that juliet is shown: the stanza, and the path of its URL.
    async fn file(&mut self) -> (Element, String) {
        let stanza = self.stanza(|stanza| stanza.has_child("x", OOB)).await;
        let url = stanza.get_child("x", OOB).and_then(|oob| oob.get_child("url", OOB)).expect("a URL").text();
        assert_eq!(body(&stanza), url, "the body is exactly the URL");
        let path = url.strip_prefix("https://files.example").expect("it is ours").to_owned();
        (stanza, path)
    }

    /// Waits for the homeserver, and answers the server's pings meanwhile.
    async fn until(&mut self, holds: impl Fn(&StubHomeserver) -> bool) {
        let wait = async {
            tokio::select! {
                () = self.stub.until(holds) => {}
                () = async { loop { let stanza = self.connection.stanza().await; self.seen.push(stanza); } } => {}
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it happens");
    }

    /// What juliet's ghost said since the opening, when there is as much of it.
    async fn sent(&mut self, count: usize) -> Vec<Sent> {
        self.until(|stub| stub.all_sent().len() > count).await;
        let sent = self.stub.all_sent();
        assert_eq!(sent.len(), count + 1, "{sent:?}");
        sent[1..].to_vec()
    }

    async fn get(&self, path: &str, lines: &str) -> web::Answer {
        web::ask(self.http, "GET", path, lines).await
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.0.join("log")).expect("a log")
    }

    /// Resident memory of the gateway in MiB.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().expect("it runs")));
        let status = status.expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }
}

fn picture(uri: &str, media_type: &str, name: &str) -> Value {
    json!({ "msgtype": "m.image", "body": name, "url": uri, "info": { "mimetype": media_type, "size": 10, "w": 4, "h": 3 } })
}

/// Nothing is uploaded anywhere, so neither quotas nor permissions of an upload service matter.
#[tokio::test]
async fn f1_f2_f3_f4_a_picture_comes_by_a_url_of_ours_and_no_upload_service_is_asked() {
    let mut house = House::open().await;
    let uri = house.stub.add_media("image/png", b"0123456789".to_vec());
    house.show(picture(&uri, "image/png", "cat.png")).await;
    let (stanza, path) = house.file().await;
    let text = String::from(&stanza);
    for part in ["urn:xmpp:sfs:0", "urn:xmpp:sims:1", "<width>4</width>", "cat.png", "disposition=\"inline\""] {
        assert!(text.contains(part) || text.contains(&part.replace('"', "'")), "{part} is missing in {text}");
    }
    assert!(!text.contains("mxc") && !text.contains("as-token") && !text.contains(&uri[6..]), "{text}");
    let answer = house.get(&path, "").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"0123456789"[..]));
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", "10"),
        ("accept-ranges", "bytes"),
        ("content-disposition", "inline"),
        ("x-content-type-options", "nosniff"),
        (
            "content-security-policy",
            "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'",
        ),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(answer.field(name), Some(value), "{name}: {}", answer.head);
    }
    assert!(answer.field("cache-control").is_some_and(|value| value.starts_with("private, max-age=")));
    let tag = answer.field("etag").expect("a tag").to_owned();
    let head = web::ask(house.http, "HEAD", &path, "").await;
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, Some("10"), 0));
    for (lines, status, range, body) in [
        ("range: bytes=2-4\r\n", 206, Some("bytes 2-4/10"), "234"),
        ("range: bytes=8-\r\n", 206, Some("bytes 8-9/10"), "89"),
        ("range: bytes=-3\r\n", 206, Some("bytes 7-9/10"), "789"),
        ("range: bytes=10-\r\n", 416, Some("bytes */10"), ""),
        ("range: bytes=1-2,4-5\r\n", 200, None, "0123456789"),
        ("range: bytes=2-4\r\nif-range: \"other\"\r\n", 200, None, "0123456789"),
        (&format!("range: bytes=2-4\r\nif-range: {tag}\r\n"), 206, Some("bytes 2-4/10"), "234"),
        (&format!("if-none-match: {tag}\r\n"), 304, None, ""),
    ] {
        let answer = house.get(&path, lines).await;
        assert_eq!((answer.status, answer.field("content-range")), (status, range), "{lines}");
        assert_eq!(String::from_utf8_lossy(&answer.body), body, "{lines}");
    }
    assert_eq!(web::ask(house.http, "POST", &path, "content-length: 0\r\n").await.status, 405);
    // After a restart the URL leads there still, and the network is not asked again.
    house.restart().await;
    assert_eq!(house.get(&path, "").await.body, b"0123456789");
    assert_eq!(house.stub.times_asked("GET /_matrix/client/v1/media/download/"), 1);
    assert!(!house.seen.iter().any(|stanza| String::from(stanza).contains("urn:xmpp:http:upload")));
    // Nor is anything of it in the log.
    let (log, token) = (house.log(), path.split('/').nth(2).expect("a token"));
    assert!(!log.contains(token) && !log.contains("as-token") && !log.contains(&uri), "{log}");
    let page = house.get("/metrics", "").await;
    assert!(String::from_utf8_lossy(&page.body).contains("portway_media_cache_bytes 10"));
}

#[tokio::test]
async fn f4_wrong_urls_tell_nothing() {
    let mut house = House::open().await;
    let uri = house.stub.add_media("image/png", b"0123456789".to_vec());
    house.show(picture(&uri, "image/png", "cat.png")).await;
    let (_, path) = house.file().await;
    let token = path.split('/').nth(2).expect("a token").to_owned();
    let changed = format!("{}{}", if token.starts_with('A') { 'B' } else { 'A' }, &token[1..]);
    // That of another gateway, whose secret is another one.
    let mut other = House::open().await;
    let there = other.stub.add_media("image/png", b"theirs".to_vec());
    other.show(picture(&there, "image/png", "cat.png")).await;
    let (_, foreign) = other.file().await;
    for path in [
        foreign,
        format!("/media/{changed}/cat.png"),
        format!("/media/{token}x/cat.png"),
        format!("/media/{token}/%ff"),
        format!("/media/{token}"),
        "/media/x/y".to_owned(),
        "/media/".to_owned(),
        "/media/%00/%00".to_owned(),
        format!("/media/{}/x", "A".repeat(6000)),
    ] {
        let answer = house.get(&path, "").await;
        assert_eq!((answer.status, answer.body.len()), (404, 0), "{path}");
    }
    assert_eq!(house.stub.times_asked("/media/"), 0, "the network was not asked for any of them");
    // The name is only for people.
    assert_eq!(house.get(&format!("/media/{token}/dog.jpg"), "").await.status, 200);
    // Gone on the network is gone here.
    house.show(picture("mxc://hs.test/gone", "image/png", "gone.png")).await;
    let (_, gone) = house.file().await;
    assert_eq!(house.get(&gone, "").await.status, 404);
}

#[tokio::test]
async fn f4_what_could_be_a_page_is_only_something_to_save() {
    let mut house = House::open().await;
    for (media_type, shown, disposition) in [
        ("text/html", "text/html", "attachment"),
        ("image/svg+xml", "image/svg+xml", "attachment"),
        ("application/xhtml+xml", "application/xhtml+xml", "attachment"),
        ("text/plain; charset=utf-8", "text/plain", "attachment"),
        ("application/pdf", "application/pdf", "attachment"),
        ("no type at all", "application/octet-stream", "attachment"),
        ("video/mp4; codecs=\"x\"", "video/mp4", "inline"),
        ("audio/ogg", "audio/ogg", "inline"),
    ] {
        let uri = house.stub.add_media(media_type, b"<script>alert(1)</script>".to_vec());
        house.show(picture(&uri, media_type, "x")).await;
        let (_, path) = house.file().await;
        let answer = house.get(&path, "").await;
        assert_eq!(answer.status, 200, "{media_type}");
        assert_eq!(answer.field("content-type"), Some(shown));
        assert_eq!(answer.field("content-disposition"), Some(disposition), "{media_type}");
        assert!(answer.field("content-security-policy").is_some_and(|policy| policy.contains("sandbox")));
    }
}

/// What is said beside a picture follows it, and whoever answers to either answers to the picture.
#[tokio::test]
async fn f4_a_caption_follows_its_file_and_stands_for_it() {
    let mut house = House::open().await;
    let uri = house.stub.add_media("image/png", b"0123456789".to_vec());
    let mut content = picture(&uri, "image/png", "cat.png");
    content["filename"] = content["body"].clone();
    content["body"] = json!("my cat");
    house.show(content).await;
    let (stanza, _) = house.file().await;
    let id = stanza.attr("id").expect("an id").to_owned();
    let caption = house.stanza(|stanza| body(stanza) == "my cat").await;
    let caption_id = caption.attr("id").expect("an id").to_owned();
    assert!(caption_id != id && String::from(&caption).contains("urn:xmpp:message-attaching:1"));
    for (n, target) in [&id, &caption_id].into_iter().enumerate() {
        let reply = format!("<body>nice {n}</body><reply xmlns='urn:xmpp:reply:0' id='{target}'/>");
        house.say(&format!("r{n}"), &reply).await;
        let sent = house.sent(n + 1).await;
        assert_eq!(sent[n].content["m.relates_to"]["m.in_reply_to"]["event_id"], json!(id), "{target}");
    }
    // A changed caption changes the caption, and leaves the picture.
    let new = json!({ "msgtype": "m.image", "body": "our cat", "filename": "cat.png", "url": uri });
    let relation = json!({ "rel_type": "m.replace", "event_id": id });
    house
        .show(json!({ "msgtype": "m.image", "body": "* our cat", "m.new_content": new, "m.relates_to": relation }))
        .await;
    let edit = house.stanza(|stanza| body(stanza) == "our cat").await;
    let replace = edit.get_child("replace", "urn:xmpp:message-correct:0").expect("a correction");
    assert_eq!(replace.attr("id"), Some(caption_id.as_str()));
    // Taken back, both go.
    let event = house.stub.event(&house.room, ALICE, "m.room.redaction", json!({ "redacts": id }));
    house.push(&event).await;
    for gone in [&id, &caption_id] {
        let retraction = house.stanza(|stanza| stanza.has_child("retract", "urn:xmpp:message-retract:1")).await;
        let retract = retraction.get_child("retract", "urn:xmpp:message-retract:1").expect("one");
        assert_eq!(retract.attr("id"), Some(gone.as_str()));
    }
}

#[tokio::test]
async fn f4_a_file_over_the_limit_is_named_and_not_served() {
    let mut house = House::with("max_size = \"5B\"").await;
    let uri = house.stub.add_media("image/png", b"0123456789".to_vec());
    house.show(picture(&uri, "image/png", "cat.png")).await;
    let stanza = house.stanza(|stanza| body(stanza).contains("cat.png")).await;
    assert!(!stanza.has_child("x", OOB) && body(&stanza).starts_with("[file: cat.png"), "{}", body(&stanza));
    // Its sender says that it is smaller than it is.
    let mut small = picture(&uri, "image/png", "cat.png");
    small["info"]["size"] = json!(5);
    house.show(small).await;
    let (_, path) = house.file().await;
    assert_eq!(house.get(&path, "").await.status, 404);
}

#[tokio::test]
async fn f5_what_a_user_uploads_is_uploaded_to_the_network_once() {
    let (mut house, web) = (House::open().await, Web::start().await);
    let url = web.put("cat.png", "image/png", b"a cat");
    house.say("f1", &format!("<body>{url}</body><x xmlns='{OOB}'><url>{url}</url></x>{REQUEST}")).await;
    let sent = house.sent(1).await;
    let content = &sent[0].content;
    assert_eq!((&content["msgtype"], &content["filename"]), (&json!("m.image"), &json!("cat.png")), "{content}");
    let uri = content["url"].as_str().expect("a URI");
    assert_eq!(house.stub.media(uri), Some(("image/png".to_owned(), b"a cat".to_vec())));
    let receipt = house.stanza(|stanza| stanza.has_child("received", "urn:xmpp:receipts")).await;
    assert!(String::from(&receipt).contains("f1"));
    // Said twice, as a client does that lost its connection: shown once.
    house.say("f1", &format!("<body>{url}</body><x xmlns='{OOB}'><url>{url}</url></x>{REQUEST}")).await;
    house.say("after", "<body>after</body>").await;
    let sent = house.sent(2).await;
    assert_eq!(sent[1].content["body"], "after");
    assert_eq!(house.stub.times_asked("POST /_matrix/media/v3/upload"), 1);
}

#[tokio::test]
async fn f5_several_files_of_one_message_are_several_and_have_one_receipt() {
    let (mut house, web) = (House::open().await, Web::start().await);
    let mut payload = String::from("<body>both of us</body>");
    for name in ["one.png", "two.png"] {
        let url = web.put(name, "image/png", name.as_bytes());
        payload.push_str(&format!(
            "<file-sharing xmlns='urn:xmpp:sfs:0' id='{name}'><file xmlns='urn:xmpp:file:metadata:0'><media-type>image/png</media-type><name>{name}</name></file>\
             <sources><url-data xmlns='http://jabber.org/protocol/url-data' target='{url}'/></sources></file-sharing>"
        ));
    }
    house.say("f2", &format!("{payload}{REQUEST}")).await;
    let sent = house.sent(2).await;
    let names: Vec<_> = sent.iter().map(|sent| (&sent.content["filename"], &sent.content["body"])).collect();
    assert_eq!(
        names,
        [(&json!("one.png"), &json!("one.png")), (&json!("two.png"), &json!("both of us"))],
        "the text is said of the last one"
    );
    house.stanza(|stanza| stanza.has_child("received", "urn:xmpp:receipts")).await;
    house.say("after", &format!("<body>after</body>{REQUEST}")).await;
    let receipt = house.stanza(|stanza| stanza.has_child("received", "urn:xmpp:receipts")).await;
    assert!(String::from(&receipt).contains("after"), "the second one is that of the next message");
    // Taken back, all of it is.
    house.say("back", "<retract xmlns='urn:xmpp:message-retract:1' id='f2'/>").await;
    house.until(|stub| stub.times_asked("/redact/") == 2).await;
    // Whichever of them fails, the error is on the message that brought it.
    let url = web.put("three.png", "image/png", b"3").replace("three", "missing");
    let third = web.put("three.png", "image/png", b"3");
    let oob = |url: &str| format!("<x xmlns='{OOB}'><url>{url}</url></x>");
    house.say("f3", &format!("{}{}", oob(&third), oob(&url))).await;
    let failed = house.stanza(|stanza| stanza.attr("type") == Some("error")).await;
    assert_eq!((failed.attr("id"), error(&failed).1.as_str()), (Some("f3"), "item-not-found"));
}

#[tokio::test]
async fn f5_an_encrypted_link_without_a_key_is_refused_and_never_shown() {
    let mut house = House::open().await;
    house.say("s1", &format!("<body>aesgcm://files.invalid/x#{}</body>", "0".repeat(90))).await;
    let failed = house.stanza(|stanza| stanza.attr("type") == Some("error")).await;
    assert_eq!((failed.attr("id"), error(&failed).1.as_str()), (Some("s1"), "not-acceptable"));
    assert_eq!((house.stub.times_asked("/upload"), house.stub.all_sent().len()), (0, 1));
}

#[tokio::test]
async fn f5_nothing_private_is_fetched_and_the_link_goes_instead() {
    let (mut house, web) = (House::with("fetch_allow = []").await, Web::start().await);
    let open = web.put("cat.png", "image/png", b"a cat");
    let tls = open.replace("http://", "https://");
    for (n, url) in
        [&open, &tls, "https://169.254.169.254/latest/meta-data/", "https://[::1]/x"].into_iter().enumerate()
    {
        house.say(&format!("p{n}"), &format!("<body>{url}</body><x xmlns='{OOB}'><url>{url}</url></x>")).await;
        let sent = house.sent(n + 1).await;
        assert_eq!(sent[n].content, json!({ "msgtype": "m.text", "body": url }));
    }
    assert_eq!(house.stub.times_asked("/upload"), 0);
    assert!(house.log().contains("portway"), "it logs");
}

#[tokio::test]
async fn places_are_places_both_ways() {
    let mut house = House::open().await;
    house.say("g1", "<body>geo:52.5,13.4</body>").await;
    let sent = house.sent(1).await;
    assert_eq!(
        (&sent[0].content["msgtype"], &sent[0].content["geo_uri"]),
        (&json!("m.location"), &json!("geo:52.5,13.4"))
    );
    house.show(json!({ "msgtype": "m.location", "body": "At home", "geo_uri": "geo:1,2" })).await;
    house.stanza(|stanza| body(stanza) == "geo:1,2").await;
    house.stanza(|stanza| body(stanza) == "At home").await;
}

/// A file that is far larger than what the gateway may hold in memory goes through either way.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn f4_f5_large_files_cost_no_memory() {
    const MIB: u64 = 96;
    let (mut house, web) = (House::open().await, Web::start().await);
    let uri = house.stub.add_zeros(MIB << 20);
    let mut content = picture(&uri, "video/mp4", "film.mp4");
    content["info"]["size"] = json!(MIB << 20);
    let before = house.resident();
    house.show(content).await;
    let (_, path) = house.file().await;
    assert!(web::count(house.http, &path).await > MIB << 20);
    let url = web.zeros(MIB);
    house.say("big", &format!("<body>{url}</body><x xmlns='{OOB}'><url>{url}</url></x>")).await;
    let sent = house.sent(1).await;
    assert_eq!(sent[0].content["info"]["size"], json!(MIB << 20), "{}", sent[0].content);
    let grown = house.resident() - before;
    assert!(grown < 40, "{grown} MiB for a file of {MIB} MiB");
}
