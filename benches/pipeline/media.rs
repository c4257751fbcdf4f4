//! Large files through the real binary, both ways, and what it takes of memory meanwhile: against a homeserver and a web server in
//! this process that hold nothing of them either.

use std::time::Instant;

use portway_testbed::stub_homeserver::{Membership, Options, StubHomeserver};
use serde_json::json;

use super::proc;
use super::support::binary::{Dir, port_of, start};
use super::support::server::Server;
use super::support::web::{self, Web};

const ALICE: &str = "@alice:hs.test";
const JULIET: &str = "juliet@bench.example";

/// A file of so many MiB from Matrix to a user, by two readers at once, and one from a user to Matrix.
pub async fn through(mib: u64) {
    let (server, dir, web) = (Server::start().await, Dir::new(), Web::start().await);
    let stub = StubHomeserver::start(Options::default()).await.expect("a free port");
    stub.add_user(ALICE, "Alice");
    let config = format!(
        "[gateway]\ndata_dir = {:?}\nallow = [\"bench.example\"]\n[xmpp]\nhost = \"127.0.0.1\"\nport = {}\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[media]\nmax_size = \"{}MiB\"\nfetch_allow = [\"127.0.0.1\"]\n\
         [network.matrix]\ncomponent = \"matrix.bench.example\"\nsecret = \"s\"\nhomeserver = {:?}\n\
         server_name = \"hs.test\"\nlisten = \"127.0.0.1:0\"\nas_token = \"as-token\"\nhs_token = \"hs-token\"\n",
        dir.0,
        server.port(),
        mib + 1,
        stub.url(),
    );
    let (mut child, mut component, printed) = start(&dir, &config, &server).await;
    stub.push_to(&format!("http://127.0.0.1:{}", port_of(&printed, "application service")));
    let (pid, http) = (child.id().expect("running"), port_of(&printed, "http"));
    let say = |id: &str, payload: &str| {
        format!(
            "<message xmlns='jabber:component:accept' type='chat' id='{id}' from='{JULIET}/balcony' \
             to='alice%hs.test@matrix.bench.example'>{payload}</message>"
        )
    };
    component.send(&say("hello", "<body>hello</body>")).await;
    until(&stub, &mut component, 1).await;
    let room = stub.rooms()[0].clone();
    let content = json!({
        "msgtype": "m.video", "body": "film.mp4", "url": stub.add_zeros(mib << 20),
        "info": { "mimetype": "video/mp4", "size": mib << 20 },
    });
    let joined = stub.change_member(&room, ALICE, ALICE, Membership::Join, json!({}));
    let events = [joined, stub.event(&room, ALICE, "m.room.message", content)];
    let mut path = None;
    let body = json!({ "events": events });
    let push = stub.push("1", &body);
    tokio::pin!(push);
    let mut pushed = false;
    while path.is_none() || !pushed {
        tokio::select! {
            answer = &mut push, if !pushed => {
                assert_eq!(answer.expect("it listens").0, 200);
                pushed = true;
            }
            () = component.serve(|stanza| {
                let found = stanza.split_once("<body>http://127.0.0.1:8090").and_then(|(_, rest)| rest.split_once('<'));
                path = path.take().or(found.map(|(path, _)| path.to_owned()));
            }) => {}
        }
    }
    let path = path.expect("a link");
    let idle = proc::rss_mib(pid);
    let (begin, cpu) = (Instant::now(), proc::cpu(pid));
    let (one, two) = tokio::join!(web::count(http, &path), web::count(http, &path));
    assert!(one > mib << 20 && two > mib << 20, "{one} {two}");
    let (wall, used) = (begin.elapsed(), proc::cpu(pid).saturating_sub(cpu));
    assert_eq!(stub.times_asked("GET /_matrix/client/v1/media/download"), 1, "one fetch for both");
    let peak = proc::peak_mib(pid);
    println!(
        "file of {mib} MiB from Matrix, two readers   {:>9.0} MiB/s   {:.1} s CPU   {idle:.1} MiB idle, {peak:.1} MiB at most",
        2.0 * mib as f64 / wall.as_secs_f64(),
        used.as_secs_f64(),
    );
    let (begin, cpu) = (Instant::now(), proc::cpu(pid));
    let url = web.zeros(mib);
    component.send(&say("file", &format!("<body>{url}</body><x xmlns='jabber:x:oob'><url>{url}</url></x>"))).await;
    until(&stub, &mut component, 2).await;
    let sent = stub.all_sent();
    assert_eq!(sent[1].content["info"]["size"], json!(mib << 20), "{}", sent[1].content);
    println!(
        "file of {mib} MiB to Matrix                  {:>9.0} MiB/s   {:.1} s CPU   {:.1} MiB at most",
        mib as f64 / begin.elapsed().as_secs_f64(),
        proc::cpu(pid).saturating_sub(cpu).as_secs_f64(),
        proc::peak_mib(pid),
    );
    child.kill().await.expect("running");
}

/// Serves the component until so many events have been sent to the homeserver.
async fn until(stub: &StubHomeserver, component: &mut super::support::server::Component, count: usize) {
    let done = stub.until(|stub| stub.all_sent().len() >= count);
    tokio::pin!(done);
    loop {
        tokio::select! {
            () = &mut done => return,
            () = component.serve(|_| {}) => {}
        }
    }
}
