//! What can go wrong, in the two kinds that the core knows: it may pass, or it will not.

use std::fmt;
use std::time::Duration;

use super::sentence::Sentence;

/// Why a delivery did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may pass: the core tries again, in order, and tells the sender after a deadline.
    Temporary {
        /// When the other side wants to be asked again.
        retry_after: Option<Duration>,
        /// What to tell the sender when the deadline has passed.
        condition: Condition,
        /// What happened, for the log: no bodies, no tokens.
        detail: String,
    },
    /// It will not pass: the sender gets an error on that very message.
    Permanent {
        /// What sort of failure.
        condition: Condition,
        /// What the sender reads: what happened and what to do.
        sentence: Sentence,
        /// What happened, for the log: no bodies, no tokens.
        detail: String,
    },
}

impl Failure {
    /// A failure that may pass.
    #[must_use]
    pub fn temporary(detail: impl Into<String>) -> Self {
        Self::Temporary { retry_after: None, condition: Condition::RemoteServerTimeout, detail: detail.into() }
    }

    /// A failure that will not pass.
    #[must_use]
    pub fn permanent(condition: Condition, sentence: Sentence, detail: impl Into<String>) -> Self {
        Self::Permanent { condition, sentence, detail: detail.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Temporary { detail, .. } => write!(f, "temporary: {detail}"),
            Self::Permanent { condition, detail, .. } => write!(f, "permanent ({condition}): {detail}"),
        }
    }
}

impl std::error::Error for Failure {}

/// A request by a user that cannot be met, with what to tell them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What sort of refusal.
    pub condition: Condition,
    /// What the user reads.
    pub sentence: Sentence,
}

/// The defined conditions of RFC 6120, section 8.3.3, that a gateway has a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The request makes no sense.
    BadRequest,
    /// Two of the same cannot be.
    Conflict,
    /// Nobody has built this.
    FeatureNotImplemented,
    /// The other side says no.
    Forbidden,
    /// It has moved for good.
    Gone,
    /// Our own trouble.
    InternalServerError,
    /// There is no such person or room.
    ItemNotFound,
    /// The address means nothing.
    JidMalformed,
    /// It cannot be taken in this form.
    NotAcceptable,
    /// Nobody may do this.
    NotAllowed,
    /// A local rule says no.
    PolicyViolation,
    /// The person is not there now.
    RecipientUnavailable,
    /// Only registered users may.
    RegistrationRequired,
    /// There is no such server.
    RemoteServerNotFound,
    /// The server does not answer.
    RemoteServerTimeout,
    /// Too much.
    ResourceConstraint,
    /// Not offered here.
    ServiceUnavailable,
}

impl Condition {
    /// All conditions, for tests of completeness.
    pub const ALL: [Self; 17] = [
        Self::BadRequest,
        Self::Conflict,
        Self::FeatureNotImplemented,
        Self::Forbidden,
        Self::Gone,
        Self::InternalServerError,
        Self::ItemNotFound,
        Self::JidMalformed,
        Self::NotAcceptable,
        Self::NotAllowed,
        Self::PolicyViolation,
        Self::RecipientUnavailable,
        Self::RegistrationRequired,
        Self::RemoteServerNotFound,
        Self::RemoteServerTimeout,
        Self::ResourceConstraint,
        Self::ServiceUnavailable,
    ];

    /// The element name of RFC 6120, such as `item-not-found`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::Conflict => "conflict",
            Self::FeatureNotImplemented => "feature-not-implemented",
            Self::Forbidden => "forbidden",
            Self::Gone => "gone",
            Self::InternalServerError => "internal-server-error",
            Self::ItemNotFound => "item-not-found",
            Self::JidMalformed => "jid-malformed",
            Self::NotAcceptable => "not-acceptable",
            Self::NotAllowed => "not-allowed",
            Self::PolicyViolation => "policy-violation",
            Self::RecipientUnavailable => "recipient-unavailable",
            Self::RegistrationRequired => "registration-required",
            Self::RemoteServerNotFound => "remote-server-not-found",
            Self::RemoteServerTimeout => "remote-server-timeout",
            Self::ResourceConstraint => "resource-constraint",
            Self::ServiceUnavailable => "service-unavailable",
        }
    }

    /// The condition of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| condition.name() == name)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
