//! What `portway doctor` finds out about the homeserver: each way on its own, so that the fault has a name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use http::Method;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::adapter::State;
use super::error::MatrixError;
use crate::api::{Finding, Level};

/// What an administrator installs anew where the two sides do not agree.
const INSTALL: &str = "portway generate registration > /etc/matrix-synapse/portway.yaml\n\
                       # app_service_config_files in homeserver.yaml names that file; then restart the homeserver";

impl State {
    /// Looks whether the homeserver answers, takes our token, gives us our names, and reaches us. Stops at the first that
    /// fails, because what follows could only fail for the same reason.
    pub async fn check(&self, running: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.push(self.homeserver().await);
        if findings[0].level == Level::Fail {
            return findings;
        }
        findings.push(self.token().await);
        if findings[1].level == Level::Fail {
            return findings;
        }
        findings.extend(self.namespace().await);
        findings.extend(self.reached(running).await);
        findings
    }

    async fn homeserver(&self) -> Finding {
        let homeserver = &self.config.homeserver;
        match self.client.get("/_matrix/client/versions", None).await {
            Ok(answer) => match answer["versions"].as_array().and_then(|all| all.last()?.as_str()) {
                Some(newest) => {
                    Finding::ok("homeserver", format!("{homeserver} answers, and speaks Matrix up to {newest}"))
                }
                None => Finding::fail("homeserver", format!("{homeserver} answers, but not as a homeserver does")).fix(
                    "[network.matrix]\nhomeserver = \"http://127.0.0.1:8008\"  # the client API of your homeserver",
                ),
            },
            // Synapse looks at the token even where none is needed. That it does not take ours is said next.
            Err(error) if error.is("M_UNKNOWN_TOKEN") => {
                Finding::ok("homeserver", format!("{homeserver} answers as a homeserver does"))
            }
            Err(error) => {
                let what = reason(&error);
                Finding::fail("homeserver", format!("{homeserver} does not answer as a homeserver: {what}")).fix(
                    "# start the homeserver, or name where it listens:\n[network.matrix]\n\
                         homeserver = \"http://127.0.0.1:8008\"",
                )
            }
        }
    }

    async fn token(&self) -> Finding {
        let own = &self.config.server_name;
        match self.client.get("/_matrix/client/v3/account/whoami", None).await {
            Ok(answer) => {
                let bot = format!("@{}:{own}", self.config.bot);
                let found = answer["user_id"].as_str().unwrap_or_default();
                if found == bot {
                    return Finding::ok("as_token", format!("the homeserver knows us as {bot}"));
                }
                let (local, server) = found.trim_start_matches('@').split_once(':').unwrap_or(("", ""));
                if server == own {
                    Finding::fail("bot", format!("the homeserver takes us for {found}, not {bot}"))
                        .fix(format!("[network.matrix]\nbot = \"{local}\"  # or install the registration again"))
                } else {
                    Finding::fail(
                        "server_name",
                        format!("the homeserver takes us for {found}: its name is {server}, not {own}"),
                    )
                    .fix(format!("[network.matrix]\nserver_name = \"{server}\""))
                }
            }
            Err(error) => {
                let what = reason(&error);
                Finding::fail("as_token", format!("the homeserver does not take our token: {what}")).fix(INSTALL)
            }
        }
    }

    /// Whether the names of our users are ours. Asked in a name that nobody has: it is refused either way, and the words
    /// say which way.
    async fn namespace(&self) -> Option<Finding> {
        let name = format!("@{}portway-doctor:{}", self.config.user_prefix, self.config.server_name);
        let path = "/_matrix/client/v3/account/whoami";
        match self.client.request(Method::GET, path, Some(&name), None).await {
            Err(MatrixError::Refused { error, .. }) if error.contains("masquerade") => {
                let text = format!("the registration that the homeserver has does not give us names such as {name}");
                Some(Finding::fail("namespace", text).fix(INSTALL))
            }
            _ => None,
        }
    }

    /// Whether the homeserver reaches us. Where no gateway runs, its place is taken for as long as that needs.
    async fn reached(&self, running: bool) -> Option<Finding> {
        let stand_in = match running {
            true => None,
            // Somebody else listens there: that is said of the listener already.
            false => match StandIn::start(self).await {
                Ok(stand_in) => Some(stand_in),
                Err(_) => return None,
            },
        };
        let url = &self.config.url;
        Some(match self.ping().await {
            Ok(()) => Finding::ok("ping", format!("the homeserver reaches us at {url}")),
            Err(error) if error.is("M_UNRECOGNIZED") => {
                Finding::warn("ping", "the homeserver is too old to be asked whether it reaches us")
            }
            Err(error) if error.is("M_FORBIDDEN") || error.is("M_NOT_FOUND") => {
                let text = format!("the id in the homeserver's registration is not ours: {}", reason(&error));
                Finding::fail("ping", text).fix(INSTALL)
            }
            Err(error) if stand_in.as_ref().is_some_and(StandIn::was_refused) => {
                let text =
                    format!("the homeserver reaches us, but with another hs_token than ours: {}", reason(&error));
                Finding::fail("hs_token", text).fix(INSTALL)
            }
            Err(error) => {
                let text = format!("the homeserver does not reach us at {url}: {}", reason(&error));
                Finding::fail("ping", text).fix(format!(
                    "{INSTALL}\n# url in it must be where the homeserver finds us: network.matrix.url, now {url}"
                ))
            }
        })
    }
}

/// Answers pings in the gateway's place. Transactions it refuses for now: the homeserver keeps them and comes again.
struct StandIn {
    task: JoinHandle<()>,
    refused: Arc<AtomicBool>,
}

impl StandIn {
    async fn start(state: &State) -> std::io::Result<Self> {
        let listener = TcpListener::bind(state.config.listen).await?;
        let refused = Arc::new(AtomicBool::new(false));
        let (token, note) = (format!("Bearer {}", state.config.hs_token), refused.clone());
        let ping = move |headers: HeaderMap| async move {
            let given = headers.get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes).unwrap_or_default();
            if bool::from(given.ct_eq(token.as_bytes())) {
                return (StatusCode::OK, axum::Json(json!({})));
            }
            note.store(true, Ordering::Relaxed);
            (StatusCode::FORBIDDEN, axum::Json(json!({ "errcode": "M_FORBIDDEN", "error": "wrong token" })))
        };
        let later = || async {
            let error = json!({ "errcode": "M_UNKNOWN", "error": "the gateway does not run" });
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(error))
        };
        let app = Router::new().route("/_matrix/app/v1/ping", post(ping)).fallback(later);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { task, refused })
    }

    /// Whether somebody came with another token.
    fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What happened, for the admin.
fn reason(error: &MatrixError) -> String {
    match error {
        MatrixError::Unreachable(error) => error.clone(),
        MatrixError::Refused { status, code, error, .. } => format!("{status} {code} {error}").trim().to_owned(),
    }
}
