//! The verbs of `portway admin` that are commands of admins as well: letters, users, links and rules.

use portway_bridges::api::UserId;

use super::CliError;
use super::admin::Admin;
use crate::clock::Clock;
use crate::command::letters::{Order, end_letter};
use crate::command::pointers;
use crate::identity::rules::{LONGEST, MOST};
use crate::route::key;
use crate::store::{LinkRow, Linked, Reason, Rule, Store, StoreError};
use crate::xmpp::jid::Jid;

/// How many rows are read at a time.
const PAGE: usize = 500;

fn failed(error: StoreError) -> CliError {
    CliError::Runtime(error.to_string())
}

/// A bare JID as the store writes it.
fn bare(text: &str) -> Result<String, CliError> {
    match Jid::parse(text) {
        Ok(jid) if jid.node().is_some() && jid.is_bare() => Ok(jid.to_string()),
        _ => Err(CliError::Runtime(format!("“{text}” is not the bare JID of a user; write it as name@example.org"))),
    }
}

/// Does it, and returns what to print.
pub(super) async fn run(admin: &Admin, store: &Store) -> Result<String, CliError> {
    match admin {
        Admin::Letter { network, number, drop } => {
            let order = if *drop { Order::Drop } else { Order::Retry };
            match end_letter(store, network, *number, order).await.map_err(failed)? {
                true if *drop => Ok(format!("letter {number} is dropped\n")),
                true => Ok(format!("letter {number} is queued again\n")),
                false => Err(CliError::Runtime(format!(
                    "there is no letter {number} of {network} that could be {}; see portway admin dead-letters",
                    if *drop { "dropped" } else { "queued again" }
                ))),
            }
        }
        Admin::Users { network, remove: Some(user) } => {
            let user = bare(user)?;
            if let Ok(id) = UserId::parse(&user) {
                // A gateway that runs tells the senders when it looks the next time, one that does not when it starts.
                store.turn_away(network, &key::of_user(&id), None, Reason::Refused).await.map_err(failed)?;
            }
            pointers::mark(store, network, &user).await.map_err(failed)?;
            let gone = store.forget_user(network, &user).await.map_err(failed)?;
            if !gone.registered {
                return Err(CliError::Runtime(format!("{user} was not registered with {network}")));
            }
            Ok(format!(
                "{user} is removed, with {} subscriptions, {} rules and {} links\n",
                gone.subscriptions, gone.rules, gone.links
            ))
        }
        Admin::Users { network, remove: None } => {
            let mut text = String::new();
            let mut after: Option<String> = None;
            loop {
                let page = store.users(network, after.as_deref(), PAGE).await.map_err(failed)?;
                text.extend(page.iter().map(|row| format!("{}\n", row.user)));
                match page.last() {
                    Some(last) if page.len() == PAGE => after = Some(last.user.clone()),
                    _ => return Ok(text),
                }
            }
        }
        Admin::Links { network, add: Some(remote), user: Some(user), .. } => {
            let link = LinkRow { remote: remote.clone(), user: bare(user)?, since: Clock::system().now() };
            pointers::mark(store, network, &link.user).await.map_err(failed)?;
            match store.link(network, link).await.map_err(failed)? {
                Linked::New | Linked::Known => Ok(format!("{remote} is linked to {user}\n")),
                Linked::Taken(other) => Err(CliError::Runtime(format!(
                    "{remote} is linked to {other}; remove that link first: portway admin links --network {network} --remove {remote}"
                ))),
            }
        }
        Admin::Links { network, remove: Some(remote), .. } => {
            match pointers::unlink(store, network, remote).await.map_err(failed)? {
                true => Ok(format!("{remote} is not linked any more\n")),
                false => Err(CliError::Runtime(format!("{remote} is not linked"))),
            }
        }
        Admin::Links { network, user, .. } => {
            let mut text = String::new();
            let mut after: Option<String> = None;
            loop {
                let page = store.links(network, user.as_deref(), after.as_deref(), PAGE).await.map_err(failed)?;
                text.extend(page.iter().map(|link| format!("{} {}\n", link.user, link.remote)));
                match page.last() {
                    Some(last) if page.len() == PAGE => after = Some(last.remote.clone()),
                    _ => return Ok(text),
                }
            }
        }
        Admin::Rules { network, deny, allow, remove, user } => {
            let owner = user.as_deref().map(bare).transpose()?.unwrap_or_default();
            if let Some(pattern) = remove {
                return match store.remove_rule(network, &owner, pattern).await.map_err(failed)? {
                    true => Ok(format!("the rule {pattern} is removed\n")),
                    false => Err(CliError::Runtime(format!("there is no rule {pattern}"))),
                };
            }
            if let Some(pattern) = deny.as_ref().or(allow.as_ref()) {
                if pattern.is_empty() || pattern.len() > LONGEST {
                    return Err(CliError::Runtime(format!("a pattern has from 1 to {LONGEST} bytes")));
                }
                if store.rules(network, &owner).await.map_err(failed)?.len() >= MOST {
                    return Err(CliError::Runtime(format!("there are {MOST} rules already; remove some first")));
                }
                let rule = Rule {
                    user: owner.clone(),
                    pattern: pattern.clone(),
                    allow: allow.is_some(),
                    at: Clock::system().now(),
                };
                store.put_rule(network, rule).await.map_err(failed)?;
            }
            let rules = store.rules(network, &owner).await.map_err(failed)?;
            let line = |rule: &Rule| format!("{} {}\n", if rule.allow { "allow" } else { "deny" }, rule.pattern);
            Ok(rules.iter().map(line).collect())
        }
        Admin::Queue { .. } | Admin::Do { .. } | Admin::DeadLetters { .. } | Admin::Original { .. } => {
            Ok(String::new())
        }
    }
}
