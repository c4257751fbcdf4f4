//! What `portway doctor` finds out about the homeserver: each way on its own, so that the fault has a name.

use super::adapter::State;
use super::error::MatrixError;
use crate::api::{Finding, Level};

impl State {
    /// Looks whether the homeserver answers, takes our token, and reaches us. Stops at the first that fails, because
    /// what follows could only fail for the same reason.
    pub async fn check(&self) -> Vec<Finding> {
        let (homeserver, own) = (&self.config.homeserver, &self.config.server_name);
        let mut findings = Vec::new();
        let mut add = |level, what: &str, text: String| findings.push(Finding { level, what: what.to_owned(), text });
        if let Err(error) = self.client.get("/_matrix/client/versions", None).await {
            let what = reason(&error);
            add(
                Level::Fail,
                "homeserver",
                format!("{homeserver} does not answer as a homeserver ({what}): see network.matrix.homeserver"),
            );
            return findings;
        }
        add(Level::Ok, "homeserver", format!("{homeserver} answers"));
        match self.client.get("/_matrix/client/v3/account/whoami", None).await {
            Ok(answer) => {
                let bot = format!("@{}:{own}", self.config.bot);
                let found = answer["user_id"].as_str().unwrap_or_default();
                if found != bot {
                    add(
                        Level::Fail,
                        "as_token",
                        format!(
                            "the homeserver takes us for {found}, not {bot}: see network.matrix.server_name and bot, and install the registration again"
                        ),
                    );
                    return findings;
                }
                add(Level::Ok, "as_token", format!("the homeserver knows us as {bot}"));
            }
            Err(error) => {
                let what = reason(&error);
                add(
                    Level::Fail,
                    "as_token",
                    format!(
                        "the homeserver does not take our token ({what}): install what `portway generate registration` prints, and restart the homeserver"
                    ),
                );
                return findings;
            }
        }
        match self.ping().await {
            Ok(()) => add(Level::Ok, "ping", "the homeserver reaches us".to_owned()),
            Err(error) if error.is("M_UNRECOGNIZED") => {
                add(Level::Warn, "ping", "the homeserver is too old to be asked whether it reaches us".to_owned());
            }
            Err(error) => {
                let (what, url) = (reason(&error), &self.config.url);
                add(
                    Level::Fail,
                    "ping",
                    format!(
                        "the homeserver does not reach us at {url} ({what}): is Portway running, and are url and hs_token the same in the registration?"
                    ),
                );
            }
        }
        findings
    }
}

/// What happened, for the admin.
fn reason(error: &MatrixError) -> String {
    match error {
        MatrixError::Unreachable(error) => error.clone(),
        MatrixError::Refused { status, code, error, .. } => format!("{status} {code} {error}").trim().to_owned(),
    }
}
