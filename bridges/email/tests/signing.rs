//! DKIM: what we sign is verified by another library, against a table of names.

use super::peer::Script;
use super::{World, file, line};
use crate::email::auth::Author;
use crate::email::auth::check::{Arrived, Checker};

async fn signed_with(key: &str) -> (World, String) {
    let more = format!("dkim_selector = \"sel\"\ndkim_key_file = \"{}\"", file(key));
    let world = World::with("lmtp://127.0.0.1:0", Script::default(), &more, None).await;
    world.deliver(&[line(1, "Hello  Bob \n\nGrüße\n.\n")]).await.unwrap();
    let mail = world.peer.taken()[0].mail.clone();
    (world, mail)
}

/// What a receiver makes of a mail whose only proof is its signature.
async fn proven(record: &str, mail: &str) -> bool {
    let table = [("sel._domainkey.mail.x", record)];
    let arrived = Arrived { ip: "198.51.100.1".parse().unwrap(), helo: "h", sender: "b@mail.x", us: "us" };
    let found = Checker::table(&table).look(arrived, mail.as_bytes()).await;
    found.author == Author::Proven
}

#[tokio::test]
async fn signatures_hold_and_break() {
    for sort in ["dkim-rsa", "dkim-ed25519"] {
        let (world, mail) = signed_with(&format!("{sort}.key")).await;
        let record = std::fs::read_to_string(file(&format!("{sort}.txt"))).unwrap();
        assert!(mail.starts_with("DKIM-Signature: v=1;"), "{mail}");
        assert!(proven(&record, &mail).await, "{sort}\n{mail}");
        for (what, changed) in [
            ("the body", mail.replace("Hello", "Hallo")),
            ("a subject", mail.replace("Subject: ", "Subject: Re: ")),
            ("a second subject", format!("Subject: fire sale\r\n{mail}")),
            ("a carbon copy", mail.replace("\r\nTo: ", "\r\nCc: eve@evil.org\r\nTo: ")),
            ("a reference", format!("{}References: <x@y>\r\n{}", &mail[..0], mail)),
            ("a reply address", format!("Reply-To: eve@evil.org\r\n{mail}")),
        ] {
            assert_ne!(changed, mail);
            assert!(!proven(&record, &changed).await, "{sort}: {what} was changed unnoticed");
        }
        // What happens on the way: folding, white space, a line more at the end.
        let on_the_way = mail.replace("Subject: Hello Bob", "Subject:   Hello\r\n\tBob") + "\r\n\r\n";
        assert!(proven(&record, &on_the_way).await, "{sort}");
        world.end().await;
    }
}

#[tokio::test]
async fn without_a_key_there_is_no_signature() {
    let world = World::start(Script::default()).await;
    world.deliver(&[line(1, "x")]).await.unwrap();
    assert!(!world.peer.taken()[0].mail.contains("DKIM-Signature"));
    world.end().await;
}

#[test]
fn a_file_that_is_no_key_is_named() {
    for name in ["tls.pem", "tls.key", "dkim-rsa.txt", "missing"] {
        let path = file(name);
        let Err(error) = crate::email::dkim::Signer::read("mail.x", "sel", path.as_ref()) else { panic!("{name}") };
        assert!(error.contains(name), "{error}");
    }
}

/// The records were made by `openssl … -pubout`, not by us.
#[test]
fn the_record_for_dns_is_the_one_of_openssl() {
    let key = |record: &str| record.split("p=").nth(1).unwrap().trim().to_owned();
    for (sort, other) in [("dkim-rsa", "dkim-ed25519"), ("dkim-ed25519", "dkim-rsa")] {
        let path = file(&format!("{sort}.key"));
        let signer = crate::email::dkim::Signer::read("mail.x", "sel", path.as_ref()).unwrap();
        let [record, foreign] =
            [sort, other].map(|sort| std::fs::read_to_string(file(&format!("{sort}.txt"))).unwrap());
        assert_eq!(key(&signer.record()), key(&record), "{sort}");
        assert!(signer.is_own(&record) && signer.is_own(&signer.record()) && !signer.is_own(&foreign), "{sort}");
        assert!(!signer.is_own("v=DKIM1; p=") && !signer.is_own("nonsense"));
    }
}
