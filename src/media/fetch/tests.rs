use std::sync::Mutex;

use futures::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A web server that answers each path with what a test says, byte for byte, and then closes; where the answer does not end
/// by that, it stays silent.
struct Script {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn start(answers: Vec<(&'static str, Vec<u8>, bool)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        tokio::spawn(async move {
            loop {
                let Ok((mut socket, _)) = listener.accept().await else { return };
                let (answers, seen) = (answers.clone(), seen.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                        if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let head = String::from_utf8(head).unwrap();
                    let path = head.split(' ').nth(1).unwrap().to_owned();
                    seen.lock().unwrap().push(head);
                    let Some((_, answer, closes)) = answers.iter().find(|(known, ..)| *known == path) else { return };
                    let answer =
                        String::from_utf8_lossy(answer).into_owned().replace("{port}", &address.port().to_string());
                    let _ = socket.write_all(answer.as_bytes()).await;
                    if !closes {
                        let _ = socket.read(&mut [0]).await;
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn fetcher(allow: &[&str], names: &'static [(&'static str, &'static str)]) -> Fetcher {
    let (allow, _) = Allow::read(&allow.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    let resolve: Resolve = Arc::new(move |host: &str| {
        let found = names.iter().filter(|(name, _)| *name == host).map(|(_, address)| address.parse().unwrap());
        let found: Vec<IpAddr> = found.collect();
        async move { Ok(found) }.boxed()
    });
    let short = Duration::from_millis(300);
    let pace = Pace {
        connect: Duration::from_secs(5),
        answer: short,
        silence: short,
        whole: Duration::from_secs(5),
        rate: 1 << 20,
    };
    let parts = Parts::system(allow, 1000, &std::env::temp_dir(), Metrics::default());
    Fetcher::new(Parts { resolve, pace, ..parts })
}

/// The file, or how it failed: `P` for good and `T` for now, with the words of the log.
async fn fetched(fetcher: &Fetcher, url: &str) -> Result<(Option<String>, Vec<u8>), String> {
    let told = |failure: Failure| match failure {
        Failure::Permanent { detail, .. } => format!("P {detail}"),
        Failure::Temporary { detail, .. } => format!("T {detail}"),
    };
    let content = fetcher.fetch(url).await.map_err(told)?;
    let size = content.size.expect("the size is always known");
    let pieces: Vec<Bytes> = content.body.try_collect().await.map_err(|error| format!("B {error}"))?;
    let bytes = pieces.concat();
    assert_eq!(bytes.len() as u64, size);
    Ok((content.media_type, bytes))
}

fn ok(headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}").into_bytes()
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn f5_files_come_with_what_is_known_of_them() {
    let chunked = "4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n";
    let script = Script::start(vec![
        ("/a", ok("Content-Type: Image/PNG; x=y\r\nContent-Length: 5\r\n", "hello"), true),
        ("/chunked", ok("Transfer-Encoding: chunked\r\n", chunked), true),
        ("/until-the-end", ok("Connection: close\r\n", "no length"), true),
        ("/moved/there", redirect("../a"), true),
        ("/far", redirect("http://127.0.0.1:{port}/a"), true),
    ])
    .await;
    let fetcher = fetcher(&["127.0.0.1"], &[]);
    let png = Some("image/png".to_owned());
    assert_eq!(fetched(&fetcher, &script.url("/a#x")).await, Ok((png.clone(), b"hello".to_vec())));
    assert_eq!(fetched(&fetcher, &script.url("/chunked")).await, Ok((None, b"abcdef".to_vec())));
    assert_eq!(fetched(&fetcher, &script.url("/until-the-end")).await, Ok((None, b"no length".to_vec())));
    assert_eq!(fetched(&fetcher, &script.url("/far")).await, Ok((png, b"hello".to_vec())));
    let asked = script.asked.lock().unwrap().join("").to_lowercase();
    assert!(asked.contains("accept-encoding: identity") && !asked.contains("authorization"), "{asked}");
}

#[tokio::test]
async fn f5_nothing_of_ours_is_reached() {
    let script = Script::start(vec![
        ("/", ok("Content-Length: 6\r\n", "secret"), true),
        ("/to-loopback", redirect("http://127.0.0.1:{port}/"), true),
        ("/to-metadata", redirect("https://169.254.169.254/latest/meta-data/"), true),
        ("/to-file", redirect("file:///etc/passwd"), true),
        ("/to-credentials", redirect("https://a:b@example.org/"), true),
        ("/to-rebound", redirect("https://rebound.example/"), true),
    ])
    .await;
    let port = script.address.port();
    let names = &[
        ("ours.example", "127.0.0.1"),
        ("mixed.example", "8.8.8.8"),
        ("mixed.example", "10.0.0.1"),
        ("mapped.example", "::ffff:127.0.0.1"),
        ("rebound.example", "192.168.1.1"),
        ("upload.example", "127.0.0.1"),
    ];
    // Only this host is open; it is the one that redirects.
    let fetcher = fetcher(&["upload.example"], names);
    for url in [
        format!("https://127.0.0.1:{port}/"),
        format!("https://[::1]:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("http://127.0.0.1:{port}/"),
        format!("https://ours.example:{port}/"),
        format!("https://mixed.example:{port}/"),
        format!("https://mapped.example:{port}/"),
        format!("aesgcm://ours.example:{port}/#{}", "0".repeat(88)),
        "https://169.254.169.254/latest/meta-data/".to_owned(),
        format!("http://upload.example:{port}/to-loopback"),
        format!("http://upload.example:{port}/to-metadata"),
        format!("http://upload.example:{port}/to-file"),
        format!("http://upload.example:{port}/to-credentials"),
        format!("http://upload.example:{port}/to-rebound"),
    ] {
        let answer = fetched(&fetcher, &url).await;
        assert!(answer.as_ref().is_err_and(|why| why.starts_with("P ")), "{url}: {answer:?}");
    }
    // The five redirections were asked for, and nothing else.
    assert_eq!(script.asked(), 5);
    assert_eq!(
        fetched(&fetcher, "https://nobody.example/").await,
        Err("T it cannot be had now: its name has no address".into())
    );
}

#[tokio::test]
async fn f5_servers_that_lie_trickle_or_never_end() {
    let many = "x".repeat(2000);
    let script = Script::start(vec![
        ("/large", ok("Content-Length: 1001\r\n", &many[..1001]), true),
        ("/endless", ok("Connection: close\r\n", &many), true),
        ("/short", ok("Content-Length: 100\r\n", "too few"), true),
        ("/silent", Vec::new(), false),
        ("/half-a-head", b"HTTP/1.1 200 OK\r\nX: ".to_vec(), false),
        ("/half", ok("Content-Length: 100\r\n", "half of it"), false),
        ("/half-chunked", ok("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n"), false),
        ("/gzip", ok("Content-Encoding: gzip\r\nContent-Length: 3\r\n", "zip"), true),
        ("/loop", redirect("/loop"), true),
        ("/gone", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(), true),
        ("/later", b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n".to_vec(), true),
        ("/rubbish", b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), true),
    ])
    .await;
    let fetcher = fetcher(&["127.0.0.1"], &[]);
    for (path, expected) in [
        ("/large", "P it is larger"),
        ("/endless", "P it is larger"),
        ("/short", "B "),
        ("/silent", "T it cannot be had now"),
        ("/half-a-head", "T it cannot be had now"),
        ("/half", "B it comes too slowly"),
        ("/half-chunked", "T it cannot be had now: it comes too slowly"),
        ("/gzip", "P it comes compressed"),
        ("/loop", "P it redirects too often"),
        ("/gone", "P the server answers 404"),
        ("/later", "T the server answers 503"),
        ("/rubbish", "T it cannot be had now"),
    ] {
        let answer = fetched(&fetcher, &script.url(path)).await;
        assert!(answer.as_ref().is_err_and(|why| why.starts_with(expected)), "{path}: {answer:?}");
    }
    assert!(fetched(&fetcher, "http://127.0.0.1:1/").await.is_err_and(|why| why.starts_with("T ")), "nobody listens");
}

/// A server that sends a little now and then is not waited for, although it is never silent.
#[tokio::test]
async fn f5_a_trickle_is_too_slow() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n").await;
        while socket.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let fetcher = fetcher(&["127.0.0.1"], &[]);
    let pace = Pace { rate: 1000, silence: Duration::from_millis(1100), ..fetcher.0.pace };
    let parts = Parts::system(fetcher.0.allow.clone(), 1000, &std::env::temp_dir(), Metrics::default());
    let fetcher = Fetcher::new(Parts { pace, ..parts });
    assert_eq!(fetched(&fetcher, &format!("http://{address}/")).await, Err("B it comes too slowly".into()));
}

/// A server with TLS on loopback, and what trusts it.
async fn tls_server(answers: Vec<(&'static str, Vec<u8>)>) -> (u16, TlsConnector) {
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed(["upload.example".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![der.clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else { return };
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned();
            if let Some((_, bytes)) = answers.iter().find(|(known, _)| *known == path) {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
                let _ = socket.write_all(head.as_bytes()).await;
                let _ = socket.write_all(bytes).await;
            }
            let _ = socket.shutdown().await;
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    (port, TlsConnector::from(Arc::new(config)))
}

#[tokio::test]
async fn f5_encrypted_links_give_out_what_was_sealed_and_nothing_else() {
    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let sealer = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let mut good = b"a secret cat".to_vec();
    sealer.seal_in_place_append_tag(Nonce::assume_unique_for_key([9; 12]), Aad::empty(), &mut good).unwrap();
    let mut changed = good.clone();
    changed[3] ^= 1;
    let (port, tls) = tls_server(vec![("/good", good), ("/changed", changed), ("/short", b"tag".to_vec())]).await;
    let open = fetcher(&["upload.example"], &[("upload.example", "127.0.0.1"), ("other.example", "127.0.0.1")]);
    let parts = Parts::system(open.0.allow.clone(), 1000, &std::env::temp_dir(), Metrics::default());
    let fetcher = Fetcher::new(Parts { tls: Some(tls), resolve: open.0.resolve.clone(), pace: open.0.pace, ..parts });
    let fragment = |iv: &str, key: &str| format!("{}{}", iv.repeat(12), key.repeat(32));
    let url = |path: &str, fragment: &str| format!("aesgcm://upload.example:{port}{path}#{fragment}");
    let right = fragment("09", "07");
    assert_eq!(fetched(&fetcher, &url("/good", &right)).await, Ok((None, b"a secret cat".to_vec())));
    for bad in [
        url("/good", &fragment("09", "08")),
        url("/good", &fragment("08", "07")),
        url("/good", ""),
        url("/changed", &right),
        url("/short", &right),
    ] {
        assert_eq!(fetched(&fetcher, &bad).await, Err("P its key is none, or not its own".into()), "{bad}");
    }
    // The certificate is that of the host that was asked for, and of no other.
    let other = format!("https://other.example:{port}/good");
    let allow = Allow::read(&["other.example".to_owned()]).0;
    let parts = Parts::system(allow, 1000, &std::env::temp_dir(), Metrics::default());
    let tls = fetcher.0.tls.clone();
    let wrong = Fetcher::new(Parts { tls, resolve: open.0.resolve.clone(), pace: open.0.pace, ..parts });
    assert!(fetched(&wrong, &other).await.is_err_and(|why| why.starts_with("T ")));
}
