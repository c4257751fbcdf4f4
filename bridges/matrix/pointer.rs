//! A pointer in a ghost's profile to the accounts of the same person: a field of its own where the homeserver has profiles
//! with fields (client-server API v1.16, section "Profiles"; MSC4133 before).

use http::Method;
use serde_json::{Value, json};
use tracing::{debug, warn};

use super::adapter::State;
use super::ghost::stored;
use super::id::{self, percent};
use crate::api::{Failure, PersonId, UserId};

/// The field: a list of user ids.
pub const FIELD: &str = "portway.same_person";

/// Where fields of profiles are set, as the homeserver says of itself; `None` where it has none.
pub fn fields(versions: &Value) -> Option<&'static str> {
    let feature = |name: &str| versions["unstable_features"][name] == true;
    let named = versions["versions"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let has_fields = |version: &str| {
        let minor = version.strip_prefix("v1.").and_then(|minor| minor.parse::<u32>().ok());
        minor.is_some_and(|minor| minor >= 16)
    };
    if named.into_iter().any(has_fields) || feature("uk.tcpip.msc4133.stable") {
        return Some("/_matrix/client/v3/profile");
    }
    feature("uk.tcpip.msc4133").then_some("/_matrix/client/unstable/uk.tcpip.msc4133/profile")
}

impl State {
    /// Lets a user's ghost point to these people, or to nobody. What the homeserver has already is not set again.
    pub async fn point(&self, user: &UserId, persons: &[PersonId]) -> Result<(), Failure> {
        let (core, key) = (self.core()?, format!("points/{user}"));
        let ids: Vec<String> = persons.iter().map(id::person).collect();
        let wanted = (!ids.is_empty()).then(|| ids.join(" ").into_bytes());
        if core.get(&key).await.map_err(|error| stored(&error))? == wanted {
            return Ok(());
        }
        let versions = self.client.get("/_matrix/client/versions", None).await.map_err(|error| error.failure())?;
        let Some(profiles) = fields(&versions) else {
            debug!("the homeserver has no fields in profiles, so no ghost points to anybody");
            return Ok(());
        };
        let ghost = self.ghost(user, None).await?;
        let path = format!("{profiles}/{}/{FIELD}", percent(&ghost));
        let set = match wanted {
            Some(_) => self.client.put(&path, Some(&ghost), &json!({ FIELD: ids })).await,
            None => self.client.request(Method::DELETE, &path, Some(&ghost), None).await,
        };
        match set {
            Ok(_) => {}
            Err(error) if error.client_side() => {
                // A homeserver that forbids it forbids it tomorrow too; nothing else depends on it.
                warn!(?error, "the homeserver does not let a ghost point to the account of its user");
            }
            Err(error) => return Err(error.failure()),
        }
        core.put(&key, wanted).await.map_err(|error| stored(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_fields_are() {
        const STABLE: Option<&str> = Some("/_matrix/client/v3/profile");
        const UNSTABLE: Option<&str> = Some("/_matrix/client/unstable/uk.tcpip.msc4133/profile");
        for (versions, expected) in [
            (json!({ "versions": ["r0.6.1", "v1.11"] }), None),
            (json!({ "versions": ["v1.11", "v1.16"] }), STABLE),
            (json!({ "versions": ["v1.18"] }), STABLE),
            (json!({ "versions": ["v1.1", "v1.xx"], "unstable_features": { "uk.tcpip.msc4133": false } }), None),
            (json!({ "versions": ["v1.11"], "unstable_features": { "uk.tcpip.msc4133": true } }), UNSTABLE),
            (
                json!({ "versions": [], "unstable_features": { "uk.tcpip.msc4133": true, "uk.tcpip.msc4133.stable": true } }),
                STABLE,
            ),
            (json!([]), None),
        ] {
            assert_eq!(fields(&versions), expected, "{versions}");
        }
    }
}
