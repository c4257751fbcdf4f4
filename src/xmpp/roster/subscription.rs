//! Pure: what becomes of the subscriptions between a user and a contact (RFC 6121, section 3 and appendix A).
//!
//! The gateway is the contact's server, so the states are seen from the contact: `to` is the contact's subscription to the
//! user's presence, `from` the user's to the contact's.
//!
//! Pre-approval (section 3.4) is left out: contacts approve nothing that was not asked for.

use crate::store::Subscription;

/// The four kinds of presence that change subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Asks to see the other's presence.
    Subscribe,
    /// Lets the other see one's presence.
    Subscribed,
    /// Does not want to see the other's presence any more.
    Unsubscribe,
    /// Does not let the other see one's presence any more.
    Unsubscribed,
}

impl Change {
    /// The kind of a presence type; none for types that are not about subscriptions.
    #[must_use]
    pub fn from_type(type_: &str) -> Option<Self> {
        Some(match type_ {
            "subscribe" => Self::Subscribe,
            "subscribed" => Self::Subscribed,
            "unsubscribe" => Self::Unsubscribe,
            "unsubscribed" => Self::Unsubscribed,
            _ => return None,
        })
    }

    /// The presence type.
    #[must_use]
    pub fn as_type(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Subscribed => "subscribed",
            Self::Unsubscribe => "unsubscribe",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// What a stanza does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The state behind it.
    pub state: Subscription,
    /// Whether it goes on: to the contact (inbound) or to the user (outbound).
    pub passes: bool,
}

/// A stanza of the user that reaches the contact (appendix A.3).
#[must_use]
pub fn inbound(state: Subscription, change: Change) -> Step {
    let after = match change {
        Change::Subscribe if !state.from => Subscription { pending_in: true, ..state },
        Change::Unsubscribe => Subscription { from: false, pending_in: false, ..state },
        Change::Subscribed if state.pending_out => Subscription { to: true, pending_out: false, ..state },
        Change::Unsubscribed => Subscription { to: false, pending_out: false, ..state },
        Change::Subscribe | Change::Subscribed => state,
    };
    Step { state: after, passes: after != state }
}

/// A stanza that the contact wants to send to the user (appendix A.2).
#[must_use]
pub fn outbound(state: Subscription, change: Change) -> Step {
    match change {
        Change::Subscribe => Step { state: Subscription { pending_out: !state.to, ..state }, passes: true },
        Change::Unsubscribe => Step { state: Subscription { to: false, pending_out: false, ..state }, passes: true },
        Change::Subscribed => {
            let after = match state.pending_in {
                true => Subscription { from: true, pending_in: false, ..state },
                false => state,
            };
            Step { state: after, passes: after != state }
        }
        Change::Unsubscribed => {
            let after = Subscription { from: false, pending_in: false, ..state };
            Step { state: after, passes: after != state }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str) -> Subscription {
        let (primary, pending) = name.split_once('+').unwrap_or((name, ""));
        Subscription {
            to: matches!(primary, "to" | "both"),
            from: matches!(primary, "from" | "both"),
            pending_out: pending.contains('o'),
            pending_in: pending.contains('i'),
        }
    }

    /// The nine states of appendix A.1, in its order; `o`: pending out, `i`: pending in.
    const STATES: [&str; 9] = ["none", "none+o", "none+i", "none+oi", "to", "to+i", "from", "from+o", "both"];

    /// A row for each table of the appendix: what becomes of each state. `-`: it does not pass, and changes nothing; `=`: it
    /// passes, and changes nothing.
    ///
    /// Compared cell by cell with the tables of RFC 3921, section 9, which has six of the eight (all but outbound
    /// `subscribe` and `unsubscribe`), and all 72 new states with those of another implementation of this appendix.
    /// That outbound `subscribe` and `unsubscribe` always pass is RFC 6121, sections 3.1.2 and 3.3.2.
    type Row = (Change, [&'static str; 9]);

    /// Tables 1 to 4 (A.2.1 to A.2.4).
    const OUTBOUND: [Row; 4] = [
        (Change::Subscribe, ["none+o", "=", "none+oi", "=", "=", "=", "from+o", "=", "="]),
        (Change::Unsubscribe, ["=", "none", "=", "none+i", "none", "none+i", "=", "from", "from"]),
        (Change::Subscribed, ["-", "-", "from", "from+o", "-", "both", "-", "-", "-"]),
        (Change::Unsubscribed, ["-", "-", "none", "none+o", "-", "to", "none", "none+o", "to"]),
    ];

    /// Tables 5 to 8 (A.3.1 to A.3.4).
    const INBOUND: [Row; 4] = [
        (Change::Subscribe, ["none+i", "none+oi", "-", "-", "to+i", "-", "-", "-", "-"]),
        (Change::Unsubscribe, ["-", "-", "none", "none+o", "-", "to", "none", "none+o", "to"]),
        (Change::Subscribed, ["-", "to", "-", "to+i", "-", "-", "-", "both", "-"]),
        (Change::Unsubscribed, ["-", "none", "-", "none+i", "none", "none+i", "-", "from", "from"]),
    ];

    fn check(rows: [Row; 4], step: fn(Subscription, Change) -> Step) {
        for (change, cells) in rows {
            for (before, cell) in STATES.into_iter().zip(cells) {
                let expected = match cell {
                    "-" => Step { state: state(before), passes: false },
                    "=" => Step { state: state(before), passes: true },
                    after => Step { state: state(after), passes: true },
                };
                assert_eq!(step(state(before), change), expected, "{change:?} in {before}");
            }
        }
    }

    #[test]
    fn rfc_6121_a2_every_outbound_stanza_in_every_state() {
        check(OUTBOUND, outbound);
    }

    #[test]
    fn rfc_6121_a3_every_inbound_stanza_in_every_state() {
        check(INBOUND, inbound);
    }

    #[test]
    fn types_are_read_and_written() {
        for change in [Change::Subscribe, Change::Subscribed, Change::Unsubscribe, Change::Unsubscribed] {
            assert_eq!(Change::from_type(change.as_type()), Some(change));
        }
        assert_eq!(Change::from_type("probe"), None);
    }
}
