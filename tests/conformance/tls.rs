//! TLS on the component link (L13): whom it trusts, and what the admin reads where it does not.

use std::sync::Arc;
use std::time::Duration;

use crate::support::fake_server::FakeServer;
use portway::config::Secret;
use portway::xmpp::jid::Jid;
use portway::xmpp::stanza::{Domain, NS_CLIENT, OutStanza, StanzaKind};
use portway::xmpp::stream::{DownReason, Limits, Link, LinkConfig, LinkEvent, Timers, Tls, TlsFault};
use portway::xmpp::xml;
use portway_bridges::api::Stop;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc::Receiver;
use tokio_rustls::TlsAcceptor;

const US: &str = "gw.example.org";

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn trusted(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// A server's side of TLS with a certificate for these names.
    fn server(&self, names: &[&str], until: i32) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        acceptor(certificate.der().clone(), &key)
    }
}

fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn start(server: &FakeServer, tls: Option<Tls>) -> (Link, Receiver<LinkEvent>, Stop) {
    let stop = Stop::new();
    let config = LinkConfig {
        domain: Domain::new(US).unwrap(),
        server: Domain::new("example.org").unwrap(),
        secret: Secret::new("secret"),
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        tls,
        limits: Limits::default(),
        timers: Timers { backoff_min: Duration::from_millis(1), ..Timers::default() },
    };
    let (link, events, _) = Link::start(config, stop.clone());
    (link, events, stop)
}

async fn event(events: &mut Receiver<LinkEvent>) -> LinkEvent {
    tokio::time::timeout(Duration::from_secs(20), events.recv()).await.expect("an event").expect("a link")
}

async fn down(events: &mut Receiver<LinkEvent>) -> DownReason {
    match event(events).await {
        LinkEvent::Down { reason } => reason,
        event => panic!("{event:?} instead of Down"),
    }
}

async fn plain() -> FakeServer {
    FakeServer::start(&[(US, "secret")]).await
}

#[tokio::test]
async fn l13_stanzas_go_both_ways_through_tls_and_a_broken_connection_is_opened_again() {
    let authority = Authority::new();
    let server = plain().await.with_tls(authority.server(&["xmpp.example.org", "127.0.0.1"], 2100));
    for name in ["xmpp.example.org", "127.0.0.1"] {
        let (link, mut events, stop) = start(&server, Some(Tls::new(name, authority.trusted()).unwrap()));
        for generation in 1..=2 {
            let mut connection = server.accept().await;
            assert!(matches!(event(&mut events).await, LinkEvent::Up { generation: now } if now == generation));
            connection.send(&format!("<message from='a@b' to='{US}' id='in'/>")).await;
            assert!(
                matches!(event(&mut events).await, LinkEvent::Stanza(stanza) if stanza.id.as_deref() == Some("in"))
            );
            // More than one record holds, and a ticket that is redeemed by the barrier behind it.
            let us = Domain::new(US).unwrap().jid();
            let body = "b".repeat(100_000);
            let big = OutStanza::new(StanzaKind::Message, &us, &Jid::parse("a@b").unwrap(), None, Some("out"))
                .with(xml::text("body", NS_CLIENT, &body));
            let ticket = link.write(vec![big]).await;
            let seen = connection.stanza().await;
            assert_eq!(seen.get_child("body", "jabber:component:accept").unwrap().text(), body);
            tokio::select! {
                result = ticket => assert_eq!(result, Ok(())),
                _ = connection.next() => panic!("nothing else was to be sent"),
            }
            drop(connection);
            down(&mut events).await;
        }
        stop.cancel();
    }
}

#[tokio::test]
async fn l13_each_fault_of_tls_is_named_with_a_hint_and_the_secret_is_never_said() {
    let (ours, other) = (Authority::new(), Authority::new());
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["xmpp.example.org".to_owned()]).unwrap().self_signed(&key).unwrap();
    for (acceptor, fault, hint) in [
        (other.server(&["xmpp.example.org"], 2100), TlsFault::Untrusted, "SSL_CERT_FILE"),
        (acceptor(own.der().clone(), &key), TlsFault::Untrusted, "SSL_CERT_FILE"),
        (ours.server(&["else.example.org"], 2100), TlsFault::Name, "xmpp.tls_name"),
        (ours.server(&["xmpp.example.org"], 2021), TlsFault::Expired, "renew"),
    ] {
        let server = plain().await.with_tls(acceptor);
        let tls = Tls::new("xmpp.example.org", ours.trusted()).unwrap();
        let (_link, mut events, stop) = start(&server, Some(tls));
        let (_, reason) = tokio::join!(server.refused_tls(), down(&mut events));
        assert!(matches!(&reason, DownReason::Tls { fault: found, .. } if *found == fault), "{fault:?}: {reason:?}");
        assert!(reason.hint().contains(hint), "{reason:?}: {}", reason.hint());
        stop.cancel();
    }
}

#[tokio::test]
async fn l13_tls_on_a_plain_port_and_plain_words_on_a_tls_port_are_explained() {
    let authority = Authority::new();
    let server = plain().await;
    let tls = Tls::new("127.0.0.1", authority.trusted()).unwrap();
    let (_link, mut events, stop) = start(&server, Some(tls));
    // A server that takes the greeting for broken XML answers in plain words, or hangs up.
    let script = async {
        let mut socket = server.accept_tcp().await;
        let text = "<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams'>";
        tokio::io::AsyncWriteExt::write_all(&mut socket, text.as_bytes()).await.unwrap();
        socket
    };
    let (_socket, reason) = tokio::join!(script, down(&mut events));
    assert!(matches!(reason, DownReason::Tls { fault: TlsFault::NoTls, .. }), "{reason:?}");
    assert!(reason.hint().contains("xmpp.tls = \"off\""), "{}", reason.hint());
    let (_, reason) = tokio::join!(async { drop(server.accept_tcp().await) }, down(&mut events));
    assert!(matches!(reason, DownReason::Tls { .. }), "{reason:?}");
    stop.cancel();

    let server = plain().await.with_tls(authority.server(&["127.0.0.1"], 2100));
    let (_link, mut events, stop) = start(&server, None);
    let (_, reason) = tokio::join!(server.refused_tls(), down(&mut events));
    assert!(matches!(reason, DownReason::NoStream(_)), "{reason:?}");
    assert!(reason.hint().contains("xmpp.tls = \"direct\""), "{}", reason.hint());
    stop.cancel();
}
