//! Pictures of people (their profile, authenticated media), and those of ghosts.

use bytes::Bytes;
use hmac::digest::Digest;
use serde_json::json;
use sha2::Sha256;

use super::adapter::State;
use super::error::MatrixError;
use super::ghost::stored;
use super::id::{self, percent};
use crate::api::picture::{LARGEST, sniff};
use crate::api::{Condition, Failure, PersonId, Picture, Sentence, UserId};

/// The edge of the thumbnails that are asked for, in pixels.
const EDGE: u32 = 256;

/// The server and the id of an `mxc:` URI (client-server API, section "Matrix Content URIs").
pub fn read_mxc(uri: &str) -> Option<(&str, &str)> {
    let (server, media) = uri.strip_prefix("mxc://")?.split_once('/')?;
    <&ruma::ServerName>::try_from(server).ok()?;
    let proper = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (uri.len() <= id::MAX && !media.is_empty() && media.bytes().all(proper)).then_some((server, media))
}

impl State {
    /// The `mxc:` URI of a person's picture: of their profile or, where the homeserver does not show it, of the latest
    /// membership that was seen.
    pub async fn avatar_source(&self, person: &PersonId) -> Result<Option<String>, Failure> {
        let mxid = id::person(person);
        let path = format!("/_matrix/client/v3/profile/{}", percent(&mxid));
        let found = match self.client.get(&path, None).await {
            Ok(profile) => profile["avatar_url"].as_str().map(str::to_owned),
            Err(error) if error.hides_profile() || error.is("M_NOT_FOUND") => self.avatars.get(&mxid),
            Err(error) => return Err(error.failure()),
        };
        Ok(found.filter(|uri| read_mxc(uri).is_some()))
    }

    /// A small form of the picture, or else the picture.
    pub async fn avatar(&self, source: &str) -> Result<Option<Picture>, Failure> {
        let Some((server, media)) = read_mxc(source) else { return Ok(None) };
        let name = format!("{}/{media}", percent(server));
        let small = format!("thumbnail/{name}?width={EDGE}&height={EDGE}&method=scale&timeout_ms=20000");
        let found = match self.media(&small).await {
            // Not every homeserver makes thumbnails of everything.
            Err(error) if error.client_side() => self.media(&format!("download/{name}?timeout_ms=20000")).await,
            found => found,
        };
        let bytes = match found {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error) if error.is("M_NOT_FOUND") || error.is("M_TOO_LARGE") => return Ok(None),
            Err(error) => return Err(error.failure()),
        };
        let media_type = sniff(&bytes).unwrap_or("application/octet-stream").to_owned();
        Ok(Some(Picture { source: source.to_owned(), media_type, bytes }))
    }

    /// Fetches media with our token, from where homeservers older than Matrix 1.11 have it if there is no other place.
    /// `None` where it is larger than pictures may be.
    async fn media(&self, path: &str) -> Result<Option<Bytes>, MatrixError> {
        match self.client.fetch(&format!("/_matrix/client/v1/media/{path}"), LARGEST).await {
            Err(MatrixError::Refused { status: 404, code, .. }) if code == "M_UNRECOGNIZED" => {
                self.client.fetch(&format!("/_matrix/media/v3/{path}"), LARGEST).await
            }
            found => found,
        }
    }

    /// Puts name and picture on a user's ghost. A picture is uploaded once.
    pub async fn dress(&self, user: &UserId, name: Option<&str>, picture: Option<&Picture>) -> Result<(), Failure> {
        let ghost = self.ghost(user, name).await?;
        let Some(picture) = picture else { return Ok(()) };
        let (core, key) = (self.core()?, face_key(user));
        let hash = match picture.bytes.is_empty() {
            true => "none".to_owned(),
            false => Sha256::digest(&picture.bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let known = core.get(&key).await.map_err(|error| stored(&error))?;
        let known = known.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        // "<hash> <uri> <whether the profile has it>"
        let mut known = known.split(' ');
        let (of, uri, set) = (known.next(), known.next().unwrap_or_default(), known.next() == Some("set"));
        let same = of == Some(hash.as_str());
        if same && set {
            return Ok(());
        }
        let uri = match picture.bytes.is_empty() {
            true => String::new(),
            false if same => uri.to_owned(),
            false => self.upload(&ghost, picture).await?,
        };
        let note = |set: &str| Some(format!("{hash} {uri} {set}").into_bytes());
        core.put(&key, note("uploaded")).await.map_err(|error| stored(&error))?;
        let path = format!("/_matrix/client/v3/profile/{}/avatar_url", percent(&ghost));
        match self.client.put(&path, Some(&ghost), &json!({ "avatar_url": uri })).await {
            Ok(_) => {}
            // A picture that the homeserver does not take is not offered again.
            Err(error) if error.client_side() => {}
            Err(error) => return Err(error.failure()),
        }
        core.put(&key, note("set")).await.map_err(|error| stored(&error))?;
        // A homeserver writes the profile into every membership, and its name over the nick.
        self.keep_nicks(&ghost).await;
        Ok(())
    }

    /// The `mxc:` URI of the picture that a ghost has, for its memberships.
    pub async fn picture_of(&self, ghost: &str) -> Option<String> {
        let user = self.ghosts.user(ghost)?;
        let known = self.core().ok()?.get(&face_key(&user)).await.ok()??;
        let known = String::from_utf8(known).ok()?;
        let uri = known.split(' ').nth(1)?;
        read_mxc(uri).map(|_| uri.to_owned())
    }

    async fn upload(&self, ghost: &str, picture: &Picture) -> Result<String, Failure> {
        let Some(media_type) = sniff(&picture.bytes) else {
            return Err(Failure::permanent(
                Condition::NotAcceptable,
                Sentence::new("matrix.refused").with("why", "not a picture"),
                "not a picture",
            ));
        };
        let path = "/_matrix/media/v3/upload?filename=avatar";
        let answer = self.client.upload(path, ghost, media_type, picture.bytes.clone()).await;
        let answer = answer.map_err(|error| error.failure())?;
        let uri = answer["content_uri"].as_str().filter(|uri| read_mxc(uri).is_some());
        uri.map(str::to_owned).ok_or_else(|| Failure::temporary("the homeserver names no URI for an upload"))
    }
}

/// The key of what is known about the picture of a user's ghost.
fn face_key(user: &UserId) -> String {
    format!("face/{user}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proper_uris_are_asked_for() {
        assert_eq!(read_mxc("mxc://hs.test:8448/Ab_c-1"), Some(("hs.test:8448", "Ab_c-1")));
        for bad in [
            "https://hs.test/a",
            "mxc://hs.test",
            "mxc://hs.test/",
            "mxc:///a",
            "mxc://hs.test/a/b",
            "mxc://hs.test/a?b=c",
            "mxc://hs.test/../x",
            "mxc://h s/a",
            "",
        ] {
            assert_eq!(read_mxc(bad), None, "{bad}");
        }
        assert_eq!(read_mxc(&format!("mxc://hs.test/{}", "a".repeat(300))), None);
    }
}
