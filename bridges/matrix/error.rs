//! What the homeserver's refusals mean: one table.

use std::time::Duration;

use crate::api::{Condition, Failure, Sentence};

/// A request that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatrixError {
    /// No answer.
    Unreachable(String),
    /// An answer that is no success.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The `errcode`.
        code: String,
        /// The homeserver's own words.
        error: String,
        /// When to ask again.
        retry_after: Option<Duration>,
    },
}

impl MatrixError {
    /// Whether the homeserver said this `errcode`.
    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }

    /// Whether the homeserver does not allow it.
    pub fn forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: 403, .. })
    }

    /// Whether asking again would change nothing: what we asked for is not to be had.
    pub fn client_side(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 402..=428, .. })
    }

    /// Whether the homeserver does not deal with that server at all. Its words for it are Synapse's; the errcode is that
    /// of every other prohibition.
    fn federation_denied(&self) -> bool {
        matches!(self, Self::Refused { status: 403, error, .. } if error.to_lowercase().starts_with("federation denied"))
    }

    /// Whether this answer to a look at a profile leaves open if the person can be reached: many homeservers show
    /// profiles only to those who share a room (client-server API, section 10.2: 403).
    pub fn hides_profile(&self) -> bool {
        self.forbidden() && !self.federation_denied()
    }

    /// What this means for a delivery.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Unreachable(error) => Failure::temporary(format!("the homeserver cannot be reached: {error}")),
            Self::Refused { status, code, retry_after, .. } if *status == 429 || code == "M_LIMIT_EXCEEDED" => {
                Failure::Temporary {
                    retry_after: *retry_after,
                    condition: Condition::ResourceConstraint,
                    detail: "the homeserver limits our rate".to_owned(),
                }
            }
            // A wrong token is for the admin to mend; the messages wait for that.
            Self::Refused { status, code, retry_after, .. }
                if *status >= 500 || *status == 401 || code == "M_UNKNOWN_TOKEN" =>
            {
                Failure::Temporary {
                    retry_after: *retry_after,
                    condition: Condition::RemoteServerTimeout,
                    detail: format!("the homeserver answers {status} {code}"),
                }
            }
            Self::Refused { status: 403, code, error, .. } => Failure::permanent(
                Condition::Forbidden,
                Sentence::new("matrix.forbidden").with("why", error.clone()),
                format!("403 {code}"),
            ),
            Self::Refused { status: 413, code, error, .. } => Failure::permanent(
                Condition::PolicyViolation,
                Sentence::new("matrix.refused").with("why", error.clone()),
                format!("413 {code}"),
            ),
            Self::Refused { status: 404, code, error, .. } => Failure::permanent(
                Condition::ItemNotFound,
                Sentence::new("matrix.refused").with("why", error.clone()),
                format!("404 {code}"),
            ),
            Self::Refused { status, code, error, .. } => Failure::permanent(
                Condition::NotAcceptable,
                Sentence::new("matrix.refused").with("why", error.clone()),
                format!("{status} {code}"),
            ),
        }
    }

    /// What this means when we asked for a person: no such person, or no such server.
    pub fn of_person(&self, person: &str, server: &str, own_server: &str) -> Failure {
        let Self::Refused { status, code, .. } = self else { return self.failure() };
        let gone = || {
            Failure::permanent(
                Condition::RemoteServerNotFound,
                Sentence::new("matrix.no-such-server").with("server", server),
                format!("{status} {code}"),
            )
        };
        let remote = server != own_server;
        match status {
            403 if remote && self.federation_denied() => gone(),
            // What the homeserver says when it cannot reach another one.
            502 | 504 if remote => gone(),
            500 if remote && code == "M_UNKNOWN" => gone(),
            400 if remote && code != "M_INVALID_PARAM" => gone(),
            404 | 400 => Failure::permanent(
                Condition::ItemNotFound,
                Sentence::new("matrix.no-such-user").with("person", person),
                format!("{status} {code}"),
            ),
            _ => self.failure(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str, error: &str) -> MatrixError {
        MatrixError::Refused {
            status,
            code: code.into(),
            error: error.into(),
            retry_after: Some(Duration::from_secs(3)),
        }
    }

    #[test]
    fn the_table() {
        let permanent = |failure: Failure| match failure {
            Failure::Permanent { condition, .. } => Some(condition),
            Failure::Temporary { .. } => None,
        };
        for (error, expected) in [
            (refused(429, "M_LIMIT_EXCEEDED", ""), None),
            (refused(500, "M_UNKNOWN", ""), None),
            (refused(502, "", ""), None),
            (refused(401, "M_UNKNOWN_TOKEN", ""), None),
            (MatrixError::Unreachable("refused".into()), None),
            (refused(403, "M_FORBIDDEN", "no"), Some(Condition::Forbidden)),
            (refused(404, "M_NOT_FOUND", ""), Some(Condition::ItemNotFound)),
            (refused(413, "M_TOO_LARGE", ""), Some(Condition::PolicyViolation)),
            (refused(400, "M_BAD_JSON", ""), Some(Condition::NotAcceptable)),
        ] {
            assert_eq!(permanent(error.failure()), expected, "{error:?}");
        }
        for (error, server, expected) in [
            (refused(404, "M_NOT_FOUND", ""), "own", Some(Condition::ItemNotFound)),
            (refused(404, "M_NOT_FOUND", ""), "far", Some(Condition::ItemNotFound)),
            (refused(502, "M_UNKNOWN", ""), "far", Some(Condition::RemoteServerNotFound)),
            (refused(403, "M_FORBIDDEN", "Federation denied with far."), "far", Some(Condition::RemoteServerNotFound)),
            (refused(403, "M_FORBIDDEN", "no"), "own", Some(Condition::Forbidden)),
            (refused(500, "M_UNKNOWN", ""), "own", None),
        ] {
            assert_eq!(permanent(error.of_person("@a:b", server, "own")), expected, "{error:?} {server}");
        }
        assert!(matches!(
            refused(429, "M_LIMIT_EXCEEDED", "").failure(),
            Failure::Temporary { retry_after: Some(after), .. } if after == Duration::from_secs(3)
        ));
    }
}
