//! `portway admin`: what waits, what could not be delivered, and who is who. Works on the store; the gateway may be running.
//! What only the running gateway can do is given to it.

use clap::Subcommand;
use portway_bridges::api::EventId;

use super::{Cli, CliError, Exit, load, print, runtime};
use crate::clock::Clock;
use crate::store::{Direction, Store};

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// How much waits, by network and direction; with the running gateway, try or drop what waits in a chat
    Queue {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// The network
        #[arg(long)]
        network: Option<String>,
        /// Try this chat now: its key, or the number of its first event, as `do NETWORK queue` lists it
        #[arg(long, value_name = "CHAT", requires = "network")]
        retry: Option<String>,
        /// Take what waits in this chat out of the queue: its senders are told, and it becomes dead letters
        #[arg(long, value_name = "CHAT", requires = "network", conflicts_with = "retry")]
        drop: Option<String>,
    },
    /// Give the running gateway a command of admins, such as `do matrix announce text=Hello`; without fields it lists, or says
    /// which fields there are
    Do {
        /// The network
        network: String,
        /// The command
        command: String,
        /// What its form is answered with
        #[arg(value_name = "FIELD=VALUE")]
        fields: Vec<String>,
    },
    /// What could not be delivered, oldest first
    DeadLetters {
        /// One network only
        #[arg(long)]
        network: Option<String>,
        /// Print what was to be delivered, too
        #[arg(long)]
        bodies: bool,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Only those behind this number
        #[arg(long)]
        after: Option<i64>,
    },
    /// Queue a dead letter to the network again, or drop it; a running gateway takes it up with the next message
    Letter {
        /// The network
        #[arg(long)]
        network: String,
        /// The number
        number: i64,
        /// Drop it instead
        #[arg(long)]
        drop: bool,
    },
    /// Users who have registered
    Users {
        /// The network
        #[arg(long)]
        network: String,
        /// Remove this one, with all that is theirs
        #[arg(long, value_name = "JID")]
        remove: Option<String>,
    },
    /// Accounts on a network that are users' own
    Links {
        /// The network
        #[arg(long)]
        network: String,
        /// Link this account, as the network writes it, to the user named by --user
        #[arg(long, value_name = "ID", requires = "user")]
        add: Option<String>,
        /// Remove the link of this account
        #[arg(long, value_name = "ID", conflicts_with = "add")]
        remove: Option<String>,
        /// The user's bare JID
        #[arg(long, value_name = "JID")]
        user: Option<String>,
    },
    /// Who is kept out or let through; a running gateway heeds changes within half a minute
    Rules {
        /// The network
        #[arg(long)]
        network: String,
        /// Keep out whoever goes by this pattern
        #[arg(long, value_name = "PATTERN")]
        deny: Option<String>,
        /// Let through whoever goes by this pattern
        #[arg(long, value_name = "PATTERN", conflicts_with = "deny")]
        allow: Option<String>,
        /// Remove the rule with this pattern
        #[arg(long, value_name = "PATTERN", conflicts_with_all = ["deny", "allow"])]
        remove: Option<String>,
        /// Rules of this user instead of those for everybody
        #[arg(long, value_name = "JID")]
        user: Option<String>,
    },
    /// The mail or event as it came, by the number of its event
    Original {
        /// The number
        event: i64,
    },
}

/// Looks at it.
pub fn run(admin: &Admin, cli: &Cli) -> Result<Exit, CliError> {
    match admin {
        Admin::Do { network, command, fields } => return super::admin_order::run(network, command, fields, cli),
        Admin::Queue { network: Some(network), retry: Some(chat), .. } => {
            return queue(network, "retry", chat, cli);
        }
        Admin::Queue { network: Some(network), drop: Some(chat), .. } => return queue(network, "drop", chat, cli),
        _ => {}
    }
    let config = load(cli)?;
    if let Admin::Queue { network: Some(network), .. }
    | Admin::Letter { network, .. }
    | Admin::Users { network, .. }
    | Admin::Links { network, .. }
    | Admin::Rules { network, .. } = admin
        && !config.networks.iter().any(|known| known.id == *network)
    {
        let known: Vec<&str> = config.networks.iter().map(|known| known.id.as_str()).collect();
        return Err(CliError::Runtime(format!("network {network} is not configured; there is {}", known.join(", "))));
    }
    runtime()?.block_on(async {
        let store = Store::open(&config.store_url, &config.data_dir, Clock::system())
            .await
            .map_err(|error| CliError::Runtime(error.to_string()))?;
        let result = look(admin, &store).await;
        store.close().await;
        result.map(|()| Exit::Ok)
    })
}

fn queue(network: &str, action: &str, chat: &str, cli: &Cli) -> Result<Exit, CliError> {
    let fields = [format!("action={action}"), format!("chat={chat}")];
    super::admin_order::run(network, "queue", &fields, cli)
}

async fn look(admin: &Admin, store: &Store) -> Result<(), CliError> {
    let failed = |error: crate::store::StoreError| CliError::Runtime(error.to_string());
    match admin {
        Admin::Queue { json, network, .. } => {
            let now = Clock::system().now();
            let mut text = String::new();
            let wanted = |of: &str| network.as_deref().is_none_or(|wanted| wanted == of);
            for depth in store.depth().await.map_err(failed)?.into_iter().filter(|depth| wanted(&depth.network)) {
                let direction = if depth.to_network { "to the network" } else { "to XMPP" };
                let age = depth.oldest.map_or(0, |oldest| now.since(oldest).as_secs());
                if *json {
                    let line = serde_json::json!({
                        "network": depth.network, "to_network": depth.to_network, "waiting": depth.count,
                        "oldest_seconds": age, "dead": depth.dead,
                    });
                    text.push_str(&format!("{line}\n"));
                } else {
                    text.push_str(&format!(
                        "{:<10} {direction:<15} {:>8} waiting, oldest {age} s, {} dead letters\n",
                        depth.network, depth.count, depth.dead
                    ));
                }
            }
            print(&text)
        }
        Admin::DeadLetters { network, bodies, limit, after } => {
            let mut text = String::new();
            for letter in store.dead_letters(network.as_deref(), *after, *limit).await.map_err(failed)? {
                let direction = match letter.direction {
                    Some(Direction::ToNetwork) => "to the network",
                    Some(Direction::ToXmpp) => "to XMPP",
                    None => "not understood",
                };
                text.push_str(&format!(
                    "{} {} {direction} {} {} {}\n",
                    letter.id, letter.network, letter.chat, letter.condition, letter.error
                ));
                if *bodies {
                    text.push_str(&format!("    {}\n", String::from_utf8_lossy(&letter.body)));
                }
            }
            print(&text)
        }
        Admin::Letter { .. } | Admin::Users { .. } | Admin::Links { .. } | Admin::Rules { .. } => {
            print(&super::admin_people::run(admin, store).await?)
        }
        // Given to the gateway before anything is opened.
        Admin::Do { .. } => Ok(()),
        Admin::Original { event } => {
            let original = store.original(EventId(*event)).await.map_err(failed)?;
            let original = original.ok_or_else(|| {
                CliError::Runtime(format!("event {event} has no original, or its retention time is over"))
            })?;
            print(&String::from_utf8_lossy(&original))
        }
    }
}
