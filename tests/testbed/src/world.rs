//! Everything at once: an XMPP server, a homeserver, the outside world of mail, and the gateway between them.

use std::time::Instant;

use crate::gateway::Gateway;
use crate::mail::{self, MailWorld};
use crate::process::{Scratch, Server, free_port};
use crate::weather::Weather;
use crate::{Result, ejabberd, prosody, synapse, until};

/// The XMPP server's domain.
pub const HOST: &str = "xmpp.localhost";

/// The homeserver's name.
pub const SERVER_NAME: &str = "hs.localhost";

/// The users of the XMPP server, and their password.
pub const USERS: [&str; 3] = ["romeo", "juliet", "nurse"];

/// The password of all users.
pub const PASSWORD: &str = "secret";

/// The secret of all components. It protects nothing: the servers are on loopback and end with the test.
pub const SECRET: &str = "between-test-servers";

/// Which XMPP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Prosody
    Prosody,
    /// ejabberd
    Ejabberd,
}

/// The ports of the XMPP server.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// For clients.
    pub c2s: u16,
    /// For components.
    pub component: u16,
    /// For HTTP.
    pub http: u16,
}

/// All servers, running.
pub struct World {
    /// The gateway.
    pub gateway: Gateway,
    /// The XMPP server.
    pub xmpp: Server,
    /// The homeserver.
    pub homeserver: Server,
    /// The outside world of mail.
    pub mail: MailWorld,
    /// What the gateway meets on its way to the homeserver, and recipients outside.
    pub weather: Weather,
    /// The XMPP server's ports.
    pub ports: Ports,
    /// The homeserver's port.
    pub matrix: u16,
    /// The scratch directory, which goes last.
    pub scratch: Scratch,
}

impl World {
    /// Starts everything; `say` is told what is happening.
    ///
    /// # Errors
    /// What does not start, with the end of its log.
    pub async fn start(kind: Kind, say: impl Fn(&str)) -> Result<Self> {
        let scratch = Scratch::new()?;
        let ports = Ports { c2s: free_port()?, component: free_port()?, http: free_port()? };
        let matrix = free_port()?;
        let folder = scratch.folder("g")?;
        let weather = Weather::start(matrix).await?;
        let gateway = Gateway::new(&folder)?;
        let mail = mail::servers(&scratch.folder("m")?, &format!("mail.{HOST}"), gateway.lmtp, weather.policy)?;
        gateway.write(&folder, ports.component, weather.homeserver, mail.smtp)?;
        let registration = folder.join("registration.yaml");
        gateway.registration(&registration).await?;
        let xmpp = match kind {
            Kind::Prosody => prosody::server(&scratch.folder("x")?, ports)?,
            Kind::Ejabberd => ejabberd::server(&scratch.folder("x")?, ports)?,
        };
        let homeserver = synapse::server(&scratch.folder("s")?, matrix, &registration).await?;
        let mut world = Self { gateway, xmpp, homeserver, mail, weather, ports, matrix, scratch };
        for (name, server) in [
            (if kind == Kind::Prosody { "Prosody" } else { "ejabberd" }, &mut world.xmpp),
            ("Synapse", &mut world.homeserver),
            ("Postfix", &mut world.mail.postfix),
            ("Dovecot", &mut world.mail.dovecot),
        ] {
            let begun = Instant::now();
            server.start().await?;
            say(&format!("{name} runs after {:.1} s", begun.elapsed().as_secs_f32()));
        }
        if kind == Kind::Ejabberd {
            until("ejabberd takes users", async || ejabberd::users(ports).await.ok()).await?;
        }
        let begun = Instant::now();
        world.gateway.start().await?;
        say(&format!("Portway is ready after {:.1} s", begun.elapsed().as_secs_f32()));
        Ok(world)
    }

    /// Ends everything, in the order in which nothing complains.
    pub async fn stop(mut self) {
        self.gateway.kill().await;
        self.mail.postfix.stop().await;
        self.mail.dovecot.stop().await;
        self.homeserver.stop().await;
        self.xmpp.stop().await;
    }

    /// What all logs say at their ends.
    #[must_use]
    pub fn tails(&self) -> String {
        [
            self.gateway.tail(),
            self.xmpp.tail(),
            self.homeserver.tail(),
            self.mail.postfix.tail(),
            self.mail.dovecot.tail(),
        ]
        .join("\n\n")
    }
}

/// Runs a test in a world of its own; where it fails, panics with the ends of all logs. Without `PORTWAY_E2E` in the
/// environment it says that it was skipped.
///
/// # Panics
/// Something does not start, or the test fails.
pub fn in_world(kind: Kind, test: impl AsyncFnOnce(&mut World) -> Result<()>) {
    if std::env::var_os("PORTWAY_E2E").is_none() {
        println!("skipped: set PORTWAY_E2E=1, or run cargo xtask test");
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut world = World::start(kind, |_| {}).await.expect("everything starts");
        let result = test(&mut world).await;
        let (tails, path) = (world.tails(), world.scratch.path().to_owned());
        world.stop().await;
        if let Err(error) = result {
            panic!("{error}\n\n{}\n{tails}", path.display());
        }
    });
}

/// The address of the Matrix user alice, as XMPP users write to her.
#[must_use]
pub fn alice() -> String {
    format!("alice%{SERVER_NAME}@matrix.{HOST}")
}

/// The Matrix id of an XMPP user.
#[must_use]
pub fn ghost(user: &str) -> String {
    format!("@xmpp_{user}=40{HOST}:{SERVER_NAME}")
}
