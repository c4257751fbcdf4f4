//! Corrections and retractions of what has not left yet, and of what has.

use super::*;

fn correction(of: &str, text: &str) -> String {
    format!(
        "<body>{text}</body><replace xmlns='urn:xmpp:message-correct:0' id='{of}'/><request xmlns='urn:xmpp:receipts'/>"
    )
}

fn retraction(of: &str) -> String {
    format!(
        "<retract xmlns='urn:xmpp:message-retract:1' id='{of}'/><body>fallback</body><request xmlns='urn:xmpp:receipts'/>"
    )
}

fn is_receipt_of(stanza: &str, id: &str) -> bool {
    stanza.contains("<received") && stanza.contains(&format!("id='{id}'"))
}

impl House {
    async fn say_with_receipt(&mut self, id: &str, text: &str) {
        let inner = format!("<body>{text}</body><request xmlns='urn:xmpp:receipts'/>");
        self.send("bob", &format!("id='{id}'"), &inner).await;
    }

    /// Waits until so many events wait in the only chat, and takes them out as an admin.
    async fn drop_when(&mut self, count: usize) {
        let wanted = format!(": {count} wait, the first is ");
        let mut list = String::new();
        let chat = loop {
            if let Some((before, _)) = list.split_once(&wanted) {
                break before.lines().next_back().expect("a chat").to_owned();
            }
            list = self.ask("queue list").await;
        };
        let said = self.ask(&format!("queue drop {chat}")).await;
        assert!(said.starts_with(&format!("{count} messages")), "{list}: {said}");
    }

    /// Waits until everything that was sent before is committed: what is said to somebody else has left.
    async fn committed(&mut self, id: &str) {
        self.say("carl", id, "here").await;
        self.say("carl", &format!("{id}-send"), "/send").await;
        assert!(self.mail().await.contains("RCPT TO:<carl@outside.test>"));
    }
}

#[tokio::test]
async fn e28_what_waits_is_changed_before_it_leaves() {
    let mut house = House::open("1h").await;
    house.say_with_receipt("m1", "tow").await;
    house.say_with_receipt("m2", "a secret").await;
    house.say_with_receipt("m3", "tree").await;
    house.send("bob", "id='m4'", &correction("m1", "two")).await;
    house.send("bob", "id='m5'", &retraction("m2")).await;
    house.send("bob", "id='m6'", &correction("m3", "thre")).await;
    // Of a correction, and of what was corrected.
    house.send("bob", "id='m7'", &correction("m6", "three")).await;
    house.say_with_receipt("m8", "four").await;
    house.say("bob", "m9", "/send").await;
    assert_eq!(said(&house.mail().await), "two\r\nthree\r\nfour");
    for id in ["m1", "m3", "m4", "m5", "m6", "m7", "m8"] {
        house.until(|stanza| is_receipt_of(stanza, id)).await;
    }
    assert!(!house.seen.iter().any(|stanza| is_receipt_of(stanza, "m2") || stanza.contains("type='error'")));
}

#[tokio::test]
async fn e28_a_line_that_is_taken_back_alone_makes_no_mail() {
    let mut house = House::open("500ms").await;
    house.say_with_receipt("m1", "a secret").await;
    house.send("bob", "id='m2'", &retraction("m1")).await;
    house.until(|stanza| is_receipt_of(stanza, "m2")).await;
    house.say("bob", "m3", "after").await;
    assert_eq!(said(&house.mail().await), "after");
    assert!(!house.seen.iter().any(|stanza| is_receipt_of(stanza, "m1")));
}

#[tokio::test]
async fn e28_a_line_that_is_corrected_into_an_order_is_one() {
    let mut house = House::open("1h").await;
    house.say("bob", "m1", "one").await;
    house.say("bob", "m2", "/sned").await;
    house.send("bob", "id='m3'", &correction("m2", "/send")).await;
    assert_eq!(said(&house.mail().await), "one");
    house.say("bob", "m4", "two").await;
    house.say("bob", "m5", "/send").await;
    assert_eq!(said(&house.mail().await), "two");
}

/// Whatever a kill leaves in memory only: what is on disk decides, even where the time to wait is long over when the gateway
/// comes back and its lanes are not yet filled.
#[tokio::test]
async fn e28_a_kill_loses_no_correction_and_sends_nothing_that_was_taken_back() {
    let mut house = House::open("1h").await;
    house.say_with_receipt("m1", "a secret").await;
    house.say_with_receipt("m2", "tow").await;
    house.send("bob", "id='m3'", &retraction("m1")).await;
    house.send("bob", "id='m4'", &correction("m2", "two")).await;
    for n in 0..80 {
        // More than a lane holds in memory, so that what changes the first lines is far behind them.
        house.say("bob", &format!("x{n}"), &format!("line {n}")).await;
    }
    house.say_with_receipt("m5", "another secret").await;
    house.send("bob", "id='m6'", &retraction("m5")).await;
    house.committed("c1").await;
    house.kill_and_open("1ms").await;
    let mut text = String::new();
    while !text.contains("line 79") {
        let mail = house.mail().await;
        if mail.contains("RCPT TO:<bob@outside.test>") {
            text.push_str(said(&mail));
            text.push_str("\r\n");
        }
    }
    assert!(text.starts_with("two\r\nline 0"), "{text}");
    for id in ["m2", "m3", "m4", "m6"] {
        house.until(|stanza| is_receipt_of(stanza, id)).await;
    }
    assert!(!text.contains("secret") && !text.contains("tow"), "{text}");
    assert!(!house.seen.iter().any(|stanza| is_receipt_of(stanza, "m1") || is_receipt_of(stanza, "m5")));
}

#[tokio::test]
async fn e28_what_has_left_is_corrected_by_another_mail_and_cannot_be_taken_back() {
    let mut house = House::open("1h").await;
    house.say_with_receipt("m1", "see you at fvie").await;
    house.say("bob", "m2", "/send").await;
    let first = house.mail().await;
    // It is known to have left.
    house.until(|stanza| is_receipt_of(stanza, "m1")).await;
    house.kill_and_open("1h").await;
    house.send("bob", "id='m3'", &correction("m1", "see you at five")).await;
    let second = house.mail().await;
    assert!(said(&second).ends_with("see you at five") && said(&second).starts_with("Correction"), "{second}");
    let id = first.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap();
    assert!(second.contains(&format!("In-Reply-To: {id}")), "{second}");
    house.send("bob", "id='m4'", &retraction("m1")).await;
    let error = house.until(|stanza| stanza.contains("type='error'")).await;
    assert!(error.contains("id='m4'") && error.contains("policy-violation"), "{error}");
    house.until(|stanza| stanza.contains("type='chat'") && body(stanza).contains("cannot be taken back")).await;
    // Nothing else of it reaches Bob.
    house.say("bob", "m5", "bye").await;
    house.say("bob", "m6", "/send").await;
    assert_eq!(said(&house.mail().await), "bye");
}

/// More lines than a lane holds in memory: the window stays open.
#[tokio::test]
async fn e28_many_lines_at_once_still_wait() {
    let mut house = House::open("1h").await;
    house.say("bob", "m1", "a secret").await;
    let lines: String = (0..150)
        .map(|n| {
            format!(
                "<message from='juliet@bench.example/balcony' to='bob%outside.test@loopback.bench.example' type='chat' id='x{n}'><body>line {n}</body></message>"
            )
        })
        .collect();
    house.component.send(&lines).await;
    house.committed("c1").await;
    house.send("bob", "id='m2'", &retraction("m1")).await;
    house.say("bob", "m3", "/send").await;
    let mail = house.mail().await;
    assert_eq!(said(&mail).lines().count(), 150, "{mail}");
    assert!(said(&mail).starts_with("line 0\r\n") && said(&mail).ends_with("line 149"), "{mail}");
}

#[tokio::test]
async fn e29_reactions_wait_like_lines_and_the_last_one_counts() {
    let mut house = House::open("1h").await;
    let reaction = |of: &str, keys: &[&str]| {
        let keys: String = keys.iter().map(|key| format!("<reaction>{key}</reaction>")).collect();
        format!("<reactions xmlns='urn:xmpp:reactions:0' id='{of}'>{keys}</reactions>")
    };
    house.send("bob", "id='r1'", &reaction("x", &["\u{2764}"])).await;
    house.say("bob", "m1", "one").await;
    house.send("bob", "id='r2'", &reaction("x", &["\u{2764}", "\u{1f44d}"])).await;
    house.send("bob", "id='r3'", &reaction("y", &["\u{1f44d}"])).await;
    house.send("bob", "id='r4'", &reaction("y", &[])).await;
    house.say("bob", "m2", "/send").await;
    assert_eq!(said(&house.mail().await), "one\r\nreacted with =E2=9D=A4 =F0=9F=91=8D");
}

#[tokio::test]
async fn e27_a_file_that_waits_can_be_taken_back() {
    let mut house = House::open("1h").await;
    let url = "https://files.example/cat.png";
    house.say("bob", "m1", "look").await;
    house.send("bob", "id='m2'", &format!("<body>{url}</body><x xmlns='jabber:x:oob'><url>{url}</url></x>")).await;
    house.send("bob", "id='m3'", &retraction("m2")).await;
    assert_eq!(said(&house.mail().await), "look");
    house.until(|stanza| is_receipt_of(stanza, "m3")).await;
}

/// What an admin takes out of the queue is told to whoever sent it, corrections too; what was taken back before is not.
#[tokio::test]
async fn e28_what_waits_is_taken_out_of_the_queue_as_it_was_changed() {
    let mut house = House::open("1h").await;
    // Nobody takes mail there.
    house.smarthost = 1;
    house.kill_and_open("1h").await;
    house.say("bob", "m1", "stuck").await;
    house.say("bob", "m2", "/send").await;
    house.say("bob", "m3", "tow").await;
    house.say("bob", "m4", "/send").await;
    house.send("bob", "id='m5'", &correction("m3", "two")).await;
    house.say("bob", "m6", "a secret").await;
    house.send("bob", "id='m7'", &retraction("m6")).await;
    house.drop_when(7).await;
    let failed = |seen: &[String], id: &str| {
        let about = |seen: &&String| seen.contains("type='error'") && attribute(seen, "id") == id;
        seen.iter().filter(about).count()
    };
    house.until(|stanza| is_receipt_of(stanza, "m7")).await;
    // This is behind all of it.
    house.say("bob", "m8", "bye").await;
    house.drop_when(1).await;
    house.until(|stanza| stanza.contains("type='error'") && attribute(stanza, "id") == "m8").await;
    let times = ["m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"].map(|id| failed(&house.seen, id));
    assert_eq!(times, [1, 1, 1, 1, 1, 0, 0, 1], "{:?}", house.seen);
    let letters = house.ask("dead-letters list").await;
    assert_eq!(letters.matches("taken out of the queue by juliet@bench.example").count(), 5, "{letters}");
}
