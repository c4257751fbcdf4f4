//! Users and what belongs to them.

use portway_bridges::api::Timestamp;
use rusqlite::{Row, params};

use super::{Sqlite, limit, optional};
use crate::store::accounts::{Accounts, AvatarRow, Forgotten, LinkRow, Linked, Proof, Rule, Subscription, UserRow};
use crate::store::backend::Outcome;

impl Accounts for Sqlite {
    fn register(&mut self, network: &str, user: &UserRow) -> Outcome<bool> {
        let new = self
            .db
            .prepare_cached(
                "INSERT INTO users (network, user, since, choices) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )?
            .execute(params![network, user.user, user.since.0, user.choices])?;
        if new == 0 {
            self.db.prepare_cached("UPDATE users SET choices = ?3 WHERE network = ?1 AND user = ?2")?.execute((
                network,
                &user.user,
                &user.choices,
            ))?;
        }
        Ok(new > 0)
    }

    fn forget_user(&mut self, network: &str, user: &str) -> Outcome<Forgotten> {
        let remove = |statement: &str| -> Outcome<u64> {
            let rows = self.db.prepare_cached(statement)?.execute((network, user))?;
            Ok(u64::try_from(rows).unwrap_or(0))
        };
        let forgotten = Forgotten {
            registered: remove("DELETE FROM users WHERE network = ?1 AND user = ?2")? > 0,
            subscriptions: remove("DELETE FROM subscriptions WHERE network = ?1 AND user = ?2")?,
            rules: remove("DELETE FROM rules WHERE network = ?1 AND user = ?2 AND user != ''")?,
            links: remove("DELETE FROM links WHERE network = ?1 AND user = ?2")?,
        };
        remove("DELETE FROM proofs WHERE network = ?1 AND user = ?2")?;
        remove("DELETE FROM avatars WHERE network = ?1 AND who = ?2 AND who != ''")?;
        Ok(forgotten)
    }

    fn user(&mut self, network: &str, user: &str) -> Outcome<Option<UserRow>> {
        optional(
            self.db
                .prepare_cached("SELECT user, since, choices FROM users WHERE network = ?1 AND user = ?2")?
                .query_row((network, user), user_row),
        )
    }

    fn users(&mut self, network: &str, after: Option<&str>, most: usize) -> Outcome<Vec<UserRow>> {
        let rows = self
            .db
            .prepare_cached(
                "SELECT user, since, choices FROM users WHERE network = ?1 AND user > ?2 ORDER BY user LIMIT ?3",
            )?
            .query_map(params![network, after.unwrap_or_default(), limit(most)], user_row)?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    fn subscription(&mut self, network: &str, user: &str, contact: &str) -> Outcome<Subscription> {
        let found = optional(
            self.db
                .prepare_cached("SELECT state FROM subscriptions WHERE network = ?1 AND user = ?2 AND contact = ?3")?
                .query_row((network, user, contact), |row| row.get(0)),
        )?;
        Ok(Subscription::from_bits(found.unwrap_or_default()))
    }

    fn put_subscription(&mut self, network: &str, user: &str, contact: &str, state: Subscription) -> Outcome<()> {
        if state == Subscription::default() {
            self.db
                .prepare_cached("DELETE FROM subscriptions WHERE network = ?1 AND user = ?2 AND contact = ?3")?
                .execute((network, user, contact))?;
            return Ok(());
        }
        self.db
            .prepare_cached(
                "INSERT INTO subscriptions (network, user, contact, state) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (network, user, contact) DO UPDATE SET state = excluded.state",
            )?
            .execute(params![network, user, contact, state.bits()])?;
        Ok(())
    }

    fn subscriptions(
        &mut self,
        network: &str,
        user: &str,
        after: Option<&str>,
        most: usize,
    ) -> Outcome<Vec<(String, Subscription)>> {
        let rows = self
            .db
            .prepare_cached(
                "SELECT contact, state FROM subscriptions
                 WHERE network = ?1 AND user = ?2 AND (?3 IS NULL OR contact > ?3) ORDER BY contact LIMIT ?4",
            )?
            .query_map(params![network, user, after, limit(most)], subscription_row)?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    fn subscribers(
        &mut self,
        network: &str,
        contact: &str,
        after: Option<&str>,
        most: usize,
    ) -> Outcome<Vec<(String, Subscription)>> {
        let rows = self
            .db
            .prepare_cached(
                "SELECT user, state FROM subscriptions
                 WHERE network = ?1 AND contact = ?2 AND (?3 IS NULL OR user > ?3) ORDER BY user LIMIT ?4",
            )?
            .query_map(params![network, contact, after, limit(most)], subscription_row)?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    fn subscribed_users(&mut self, network: &str, after: Option<&str>, most: usize) -> Outcome<Vec<String>> {
        let rows = self
            .db
            .prepare_cached(
                "SELECT DISTINCT user FROM subscriptions
                 WHERE network = ?1 AND (?2 IS NULL OR user > ?2) ORDER BY user LIMIT ?3",
            )?
            .query_map(params![network, after, limit(most)], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    fn put_rule(&mut self, network: &str, rule: &Rule) -> Outcome<()> {
        self.db
            .prepare_cached(
                "INSERT INTO rules (network, user, pattern, allow, at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (network, user, pattern) DO UPDATE SET allow = excluded.allow, at = excluded.at",
            )?
            .execute(params![network, rule.user, rule.pattern, rule.allow, rule.at.0])?;
        Ok(())
    }

    fn remove_rule(&mut self, network: &str, user: &str, pattern: &str) -> Outcome<bool> {
        let rows = self
            .db
            .prepare_cached("DELETE FROM rules WHERE network = ?1 AND user = ?2 AND pattern = ?3")?
            .execute((network, user, pattern))?;
        Ok(rows > 0)
    }

    fn rules(&mut self, network: &str, user: &str) -> Outcome<Vec<Rule>> {
        let rows = self
            .db
            .prepare_cached(
                "SELECT user, pattern, allow, at FROM rules WHERE network = ?1 AND user = ?2 ORDER BY pattern",
            )?
            .query_map((network, user), |row| {
                Ok(Rule { user: row.get(0)?, pattern: row.get(1)?, allow: row.get(2)?, at: Timestamp(row.get(3)?) })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    fn link(&mut self, network: &str, link: &LinkRow) -> Outcome<Linked> {
        let new = self
            .db
            .prepare_cached(
                "INSERT INTO links (network, remote, user, since) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )?
            .execute(params![network, link.remote, link.user, link.since.0])?;
        if new > 0 {
            return Ok(Linked::New);
        }
        Ok(match self.link_of(network, &link.remote)? {
            Some(other) if other.user != link.user => Linked::Taken(other.user),
            _ => Linked::Known,
        })
    }

    fn unlink(&mut self, network: &str, remote: &str) -> Outcome<bool> {
        let rows = self
            .db
            .prepare_cached("DELETE FROM links WHERE network = ?1 AND remote = ?2")?
            .execute((network, remote))?;
        Ok(rows > 0)
    }

    fn link_of(&mut self, network: &str, remote: &str) -> Outcome<Option<LinkRow>> {
        optional(
            self.db
                .prepare_cached("SELECT remote, user, since FROM links WHERE network = ?1 AND remote = ?2")?
                .query_row((network, remote), link_row),
        )
    }

    fn links(&mut self, network: &str, user: Option<&str>, after: Option<&str>, most: usize) -> Outcome<Vec<LinkRow>> {
        let rows = self
            .db
            .prepare_cached(
                "SELECT remote, user, since FROM links
                 WHERE network = ?1 AND (?2 IS NULL OR user = ?2) AND remote > ?3 ORDER BY remote LIMIT ?4",
            )?
            .query_map(params![network, user, after.unwrap_or_default(), limit(most)], link_row)?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    fn put_proof(&mut self, network: &str, user: &str, proof: Option<&Proof>) -> Outcome<()> {
        match proof {
            Some(proof) => self
                .db
                .prepare_cached(
                    "INSERT OR REPLACE INTO proofs (network, user, remote, code, expires, tries)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![network, user, proof.remote, proof.code, proof.expires.0, proof.tries])?,
            None => self
                .db
                .prepare_cached("DELETE FROM proofs WHERE network = ?1 AND user = ?2")?
                .execute((network, user))?,
        };
        Ok(())
    }

    fn proof(&mut self, network: &str, user: &str) -> Outcome<Option<Proof>> {
        optional(
            self.db
                .prepare_cached("SELECT remote, code, expires, tries FROM proofs WHERE network = ?1 AND user = ?2")?
                .query_row((network, user), |row| {
                    Ok(Proof {
                        remote: row.get(0)?,
                        code: row.get(1)?,
                        expires: Timestamp(row.get(2)?),
                        tries: row.get(3)?,
                    })
                }),
        )
    }

    fn put_avatar(&mut self, network: &str, who: &str, avatar: Option<&AvatarRow>) -> Outcome<()> {
        match avatar {
            Some(avatar) => self
                .db
                .prepare_cached(
                    "INSERT INTO avatars (network, who, source, hash, media_type, bytes, at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (network, who) DO UPDATE SET source = excluded.source, hash = excluded.hash,
                         media_type = excluded.media_type, bytes = excluded.bytes, at = excluded.at",
                )?
                .execute(params![
                    network,
                    who,
                    avatar.source,
                    avatar.hash,
                    avatar.media_type,
                    avatar.bytes,
                    avatar.at.0
                ])?,
            None => self
                .db
                .prepare_cached("DELETE FROM avatars WHERE network = ?1 AND who = ?2")?
                .execute((network, who))?,
        };
        Ok(())
    }

    fn avatar(&mut self, network: &str, who: &str) -> Outcome<Option<AvatarRow>> {
        optional(
            self.db
                .prepare_cached(
                    "SELECT source, hash, media_type, bytes, at FROM avatars WHERE network = ?1 AND who = ?2",
                )?
                .query_row((network, who), |row| {
                    Ok(AvatarRow {
                        source: row.get(0)?,
                        hash: row.get(1)?,
                        media_type: row.get(2)?,
                        bytes: row.get(3)?,
                        at: Timestamp(row.get(4)?),
                    })
                }),
        )
    }
}

fn user_row(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    Ok(UserRow { user: row.get(0)?, since: Timestamp(row.get(1)?), choices: row.get(2)? })
}

fn subscription_row(row: &Row<'_>) -> rusqlite::Result<(String, Subscription)> {
    Ok((row.get(0)?, Subscription::from_bits(row.get(1)?)))
}

fn link_row(row: &Row<'_>) -> rusqlite::Result<LinkRow> {
    Ok(LinkRow { remote: row.get(0)?, user: row.get(1)?, since: Timestamp(row.get(2)?) })
}
