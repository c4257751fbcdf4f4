use super::*;

const SIMPLE: &str = "<query xmlns='http://jabber.org/protocol/disco#info'>\
    <identity category='client' type='pc' name='Exodus 0.9.1'/><feature var='http://jabber.org/protocol/muc'/>\
    <feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>\
    <feature var='http://jabber.org/protocol/disco#items'/></query>";

/// With its fields and values in another order than in the specification: they are sorted.
const COMPLEX: &str = "<query xmlns='http://jabber.org/protocol/disco#info'>\
    <identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
    <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>\
    <feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>\
    <feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>\
    <x xmlns='jabber:x:data' type='result'><field var='software'><value>Psi</value></field>\
    <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
    <field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>\
    <field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>\
    <field var='software_version'><value>0.11</value></field></x></query>";

fn proven(info: &str) -> Option<String> {
    verification(&info.parse().unwrap())
}

/// XEP-0115, sections 5.2 and 5.3.
#[test]
fn p12_the_examples_of_the_specification_are_proven() {
    assert_eq!(proven(SIMPLE).as_deref(), Some("QgayPKawpkPSDYmwT/WM94uAlu0="));
    assert_eq!(proven(COMPLEX).as_deref(), Some("q07IKJEyjvHSyhy//CH0CxmKi8w="));
    // A form that does not say what it is does not count.
    let more = "<x xmlns='jabber:x:data'><field var='a'><value>b</value></field></x></query>";
    assert_eq!(proven(&COMPLEX.replace("</query>", more)).as_deref(), Some("q07IKJEyjvHSyhy//CH0CxmKi8w="));
}

#[test]
fn p12_what_is_ill_formed_proves_nothing() {
    for more in [
        "<feature var='http://jabber.org/protocol/muc'/>",
        "<identity category='client' type='pc' name='Exodus 0.9.1'/>",
        "<feature var='a&lt;b'/>",
        "<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value><value>b</value></field></x>",
        "<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value></field></x>\
         <x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value></field></x>",
    ] {
        assert_eq!(proven(&SIMPLE.replace("</query>", &format!("{more}</query>"))), None, "{more}");
    }
}

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn named(ver: &str, hash: Option<&str>) -> Named {
    Named { node: "urn:client".into(), ver: ver.into(), hash: hash.map(str::to_owned) }
}

/// Something that wants names, and its hash.
fn wants_names() -> (String, String) {
    let info = SIMPLE.replace("</query>", "<feature var='http://jabber.org/protocol/nick+notify'/></query>");
    let ver = proven(&info).unwrap();
    (info, ver)
}

fn answer(info: &str) -> Stanza {
    let text = format!("<iq xmlns='jabber:client' type='result' id='a'>{info}</iq>");
    Stanza::from_element(text.parse().unwrap()).unwrap()
}

fn receivers(caps: &Caps, user: &str) -> Vec<String> {
    caps.receivers(&jid(user), |features| features.names).iter().map(ToString::to_string).collect()
}

#[test]
fn p12_a_hash_is_asked_once_and_holds_for_everybody() {
    let caps = Caps::default();
    let (info, ver) = wants_names();
    let name = || Some(Some(named(&ver, Some("sha-1"))));
    let question = caps.came(&jid("u@h/a"), name()).unwrap();
    assert_eq!(caps.came(&jid("u@h/a"), name()), None, "asked already");
    assert_eq!(caps.came(&jid("v@h/x"), name()), None, "somebody else is asked");
    assert_eq!(receivers(&caps, "u@h"), ["u@h"], "not known yet");
    caps.answered(&question, Some(&answer(&info)));
    assert_eq!(receivers(&caps, "u@h"), ["u@h/a"]);
    assert_eq!(receivers(&caps, "v@h"), ["v@h/x"]);
    // Another device that wants nothing is left out; one that is not known makes it go to all.
    let simple = || Some(Some(named("QgayPKawpkPSDYmwT/WM94uAlu0=", Some("sha-1"))));
    let question = caps.came(&jid("u@h/b"), simple()).unwrap();
    caps.answered(&question, Some(&answer(SIMPLE)));
    assert_eq!(receivers(&caps, "u@h"), ["u@h/a"]);
    assert_eq!(caps.came(&jid("u@h/c"), Some(None)), None);
    assert_eq!(receivers(&caps, "u@h"), ["u@h"]);
    caps.went(&jid("u@h/c"));
    assert_eq!(receivers(&caps, "u@h"), ["u@h/a"]);
    assert_eq!(caps.came(&jid("u@h/d"), None), None, "it probed");
    assert_eq!(receivers(&caps, "u@h"), ["u@h"]);
    // After a new connection hashes are known still.
    caps.forget();
    assert_eq!(receivers(&caps, "u@h"), ["u@h"]);
    assert_eq!(caps.came(&jid("u@h/a"), name()), None);
    assert_eq!(receivers(&caps, "u@h"), ["u@h/a"]);
    assert_eq!(caps.able(&jid("u@h"), |features| features.names), Some(jid("u@h/a")));
    assert_eq!(caps.able(&jid("u@h"), |features| features.offers), None);
}

#[test]
fn p12_what_is_not_proven_holds_for_that_device_only() {
    let caps = Caps::default();
    let (info, ver) = wants_names();
    // A liar: its answer has another hash than it names.
    let forged = || Some(Some(named("QgayPKawpkPSDYmwT/WM94uAlu0=", Some("sha-1"))));
    let question = caps.came(&jid("eve@h/a"), forged()).unwrap();
    caps.answered(&question, Some(&answer(&info)));
    assert_eq!(receivers(&caps, "eve@h"), ["eve@h/a"]);
    let question = caps.came(&jid("u@h/a"), forged()).expect("still to be asked");
    caps.answered(&question, Some(&answer(SIMPLE)));
    assert!(receivers(&caps, "u@h").is_empty());
    // Nor do hashes that we do not know, and none: each device is asked for itself.
    for hash in [Some("sha-512"), None] {
        let name = || Some(Some(named(&ver, hash)));
        for device in ["w@h/a", "x@h/a"] {
            let question = caps.came(&jid(device), name()).unwrap();
            caps.answered(&question, Some(&answer(&info)));
            assert_eq!(receivers(&caps, device), [device]);
        }
    }
    // No answer: nothing is known, and it is not asked again and again.
    let question = caps.came(&jid("y@h/a"), Some(Some(named("else", Some("sha-1"))))).unwrap();
    caps.answered(&question, None);
    assert_eq!(receivers(&caps, "y@h"), ["y@h"]);
    assert_eq!(caps.came(&jid("y@h/a"), Some(Some(named("else", Some("sha-1"))))), None);
    assert!(caps.came(&jid("z@h/a"), Some(Some(named("else", Some("sha-1"))))).is_some(), "but others are");
}

#[test]
fn s4_memory_is_bounded() {
    let caps = Caps::default();
    for n in 0..100 {
        caps.came(&jid(&format!("u@h/{n}")), Some(Some(named(&n.to_string(), Some("sha-1")))));
    }
    assert_eq!(receivers(&caps, "u@h"), ["u@h"]);
    for n in 0..DEVICES {
        caps.came(&jid(&format!("v{n}@h/x")), Some(Some(named(&format!("v{n}"), Some("sha-1")))));
    }
    let table = caps.table();
    assert_eq!((table.devices, table.asking.len()), (DEVICES, ASKING));
    drop(table);
    caps.went(&jid("u@h"));
    assert_eq!(caps.table().devices, DEVICES - DEVICES_OF_ONE);
    let long = "x".repeat(NAME + 1);
    let presence = format!(
        "<presence xmlns='jabber:client'><c xmlns='http://jabber.org/protocol/caps' node='{long}' ver='v' hash='sha-1'/></presence>"
    );
    assert_eq!(Named::read(&presence.parse().unwrap()), None);
}
