//! The homeserver.

use portway_testbed::stub_homeserver::{Options, StubHomeserver};

use crate::rig::{Rig, value};

/// The section as it should be.
struct Section {
    homeserver: String,
    server_name: String,
    as_token: String,
    hs_token: String,
    bot: String,
    user_prefix: String,
    listen: u16,
}

impl Section {
    fn write(&self, rig: &mut Rig) {
        rig.network = format!(
            "[network.matrix]\nhomeserver = {:?}\nserver_name = {:?}\nas_token = {:?}\nhs_token = {:?}\nbot = {:?}\n\
             user_prefix = {:?}\nlisten = \"127.0.0.1:{}\"\n",
            self.homeserver, self.server_name, self.as_token, self.hs_token, self.bot, self.user_prefix, self.listen
        );
    }
}

async fn free_port() -> u16 {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

async fn rig() -> (Rig, StubHomeserver, Section) {
    let stub = StubHomeserver::start(Options::default()).await.unwrap();
    let listen = free_port().await;
    stub.push_to(&format!("http://127.0.0.1:{listen}"));
    let section = Section {
        homeserver: stub.url(),
        server_name: "hs.test".to_owned(),
        as_token: "as-token".to_owned(),
        hs_token: "hs-token".to_owned(),
        bot: "xmppbot".to_owned(),
        user_prefix: "xmpp_".to_owned(),
        listen,
    };
    let mut rig = Rig::new().await;
    section.write(&mut rig);
    (rig, stub, section)
}

#[tokio::test]
async fn each_way_to_and_from_the_homeserver_has_its_own_fault() {
    let (mut rig, stub, mut section) = rig().await;
    // The doctor answers the homeserver's ping in the place of the gateway, which does not run.
    rig.well().await;
    let right = std::mem::replace(&mut section.homeserver, format!("http://127.0.0.1:{}", free_port().await));
    section.write(&mut rig);
    rig.ill("matrix.homeserver", "fail", "does not answer").await;
    section.homeserver = right;
    section.as_token = "another".to_owned();
    section.write(&mut rig);
    let fix = rig.ill("matrix.as_token", "fail", "M_UNKNOWN_TOKEN").await;
    assert!(fix.contains("portway generate registration"), "{fix}");
    section.as_token = "as-token".to_owned();
    section.hs_token = "another".to_owned();
    section.write(&mut rig);
    rig.ill("matrix.hs_token", "fail", "another hs_token").await;
    section.hs_token = "hs-token".to_owned();
    section.user_prefix = "jabber_".to_owned();
    section.write(&mut rig);
    rig.ill("matrix.namespace", "fail", "@jabber_portway-doctor:hs.test").await;
    section.user_prefix = "xmpp_".to_owned();
    section.write(&mut rig);
    stub.push_to(&format!("http://127.0.0.1:{}", free_port().await));
    rig.ill("matrix.ping", "fail", "does not reach us").await;
    stub.push_to(&format!("http://127.0.0.1:{}", section.listen));
    rig.well().await;
}

#[tokio::test]
async fn names_that_differ_are_mended_by_the_advice() {
    let (mut rig, _stub, mut section) = rig().await;
    section.server_name = "other.test".to_owned();
    section.write(&mut rig);
    let fix = rig.ill("matrix.server_name", "fail", "its name is hs.test").await;
    section.server_name = value(&fix, "server_name").trim_matches('"').to_owned();
    section.bot = "otherbot".to_owned();
    section.write(&mut rig);
    let fix = rig.ill("matrix.bot", "fail", "@xmppbot:hs.test").await;
    section.bot = value(&fix, "bot").trim_matches('"').to_owned();
    section.write(&mut rig);
    rig.well().await;
}

#[tokio::test]
async fn a_registration_on_file_is_compared_with_ours() {
    let (mut rig, _stub, _section) = rig().await;
    let file = rig.dir.0.join("registration.yaml");
    rig.args = vec!["--registration".to_owned(), file.display().to_string()];
    rig.ill("matrix.registration", "fail", "cannot be read").await;
    let generate = || async {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_portway"));
        command.args(["generate", "registration", "--config"]).arg(rig.path());
        String::from_utf8(command.output().await.unwrap().stdout).unwrap()
    };
    let ours = generate().await;
    std::fs::write(&file, ours.replace("hs-token", "an-older-token")).unwrap();
    rig.ill("matrix.registration", "fail", "see hs_token").await;
    std::fs::write(&file, ours).unwrap();
    rig.well().await;
}
