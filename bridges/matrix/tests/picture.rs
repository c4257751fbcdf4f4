//! Pictures of people, and those of ghosts.

use portway_testbed::stub_homeserver::{Fault, Membership};
use serde_json::json;

use super::{ALICE, ROMEO, World, alice, hello, romeo, soon};
use crate::api::{Failure, Picture};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nthe rest";

fn picture(bytes: &'static [u8]) -> Picture {
    Picture { source: "x".into(), media_type: "image/png".into(), bytes: bytes.into() }
}

#[tokio::test]
async fn m24_a_picture_comes_by_authenticated_media_in_a_small_form() {
    let world = World::start().await;
    assert_eq!(soon(world.adapter.avatar_source(&alice())).await, Ok(None));
    let uri = world.stub.add_media("text/plain", PNG.to_vec());
    world.stub.set_picture(ALICE, &uri);
    assert_eq!(soon(world.adapter.avatar_source(&alice())).await, Ok(Some(uri.clone())));
    // The type is what the bytes say.
    let expected = Picture { source: uri.clone(), media_type: "image/png".into(), bytes: PNG.into() };
    assert_eq!(soon(world.adapter.avatar(&alice(), &uri)).await, Ok(Some(expected)));
    assert_eq!(world.stub.times_asked("GET /_matrix/client/v1/media/thumbnail/hs.test/"), 1);
    assert_eq!(world.stub.times_asked("/media/"), 1);
    assert!(world.stub.queries("/media/thumbnail")[0].contains("width=256&height=256"));
}

#[tokio::test]
async fn older_homeservers_are_asked_in_the_old_place_and_only_they() {
    let world = World::start().await;
    let uri = world.stub.add_media("image/png", PNG.to_vec());
    world.stub.fail(Fault::once("/client/v1/media/thumbnail", 404, "M_UNRECOGNIZED", "Unrecognized request"));
    assert!(soon(world.adapter.avatar(&alice(), &uri)).await.unwrap().is_some());
    assert_eq!(world.stub.times_asked("GET /_matrix/media/v3/thumbnail/"), 1);
    // No thumbnail of this one: the picture itself.
    world.stub.fail(Fault::once("/client/v1/media/thumbnail", 400, "M_UNKNOWN", "Cannot generate thumbnails"));
    assert!(soon(world.adapter.avatar(&alice(), &uri)).await.unwrap().is_some());
    assert_eq!(world.stub.times_asked("GET /_matrix/client/v1/media/download/"), 1);
    // Gone is gone, and is not looked for elsewhere without a token.
    assert_eq!(soon(world.adapter.avatar(&alice(), "mxc://hs.test/gone")).await, Ok(None));
    assert_eq!(world.stub.times_asked("GET /_matrix/media/v3/"), 1);
    world.stub.fail(Fault::once("/client/v1/media/thumbnail", 502, "M_UNKNOWN", "far away"));
    assert!(matches!(soon(world.adapter.avatar(&alice(), &uri)).await, Err(Failure::Temporary { .. })));
}

#[tokio::test]
async fn a_picture_that_is_too_large_is_no_picture() {
    let world = World::start().await;
    let uri = world.stub.add_media("image/png", vec![0; (4 << 20) + 1]);
    assert_eq!(soon(world.adapter.avatar(&alice(), &uri)).await, Ok(None));
    let exact = world.stub.add_media("image/png", vec![0; 4 << 20]);
    assert_eq!(soon(world.adapter.avatar(&alice(), &exact)).await.unwrap().unwrap().bytes.len(), 4 << 20);
}

#[tokio::test]
async fn uris_that_lead_elsewhere_are_not_followed() {
    let world = World::start().await;
    for bad in ["http://127.0.0.1:1/x", "mxc://hs.test/../../client/v3/account/whoami", "mxc://hs.test/a?b"] {
        world.stub.set_picture(ALICE, bad);
        assert_eq!(soon(world.adapter.avatar_source(&alice())).await, Ok(None), "{bad}");
        assert_eq!(soon(world.adapter.avatar(&alice(), bad)).await, Ok(None), "{bad}");
    }
    assert_eq!(world.stub.times_asked("/media/"), 0);
}

#[tokio::test]
async fn a_membership_with_another_picture_is_told_once() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    let member =
        |uri: &str| world.stub.change_member(&room, ALICE, ALICE, Membership::Join, json!({ "avatar_url": uri }));
    world.push("1", &[member("mxc://hs.test/one")]).await;
    world.push("2", &[member("mxc://hs.test/one")]).await;
    assert_eq!(world.memory.pictured(), [alice()]);
    world.push("3", &[member("mxc://hs.test/two")]).await;
    assert_eq!(world.memory.pictured(), [alice(), alice()]);
    // Where the profile is not shown, the membership counts.
    world.stub.fail(Fault::once("GET /_matrix/client/v3/profile", 403, "M_FORBIDDEN", "Profile is hidden"));
    assert_eq!(soon(world.adapter.avatar_source(&alice())).await, Ok(Some("mxc://hs.test/two".to_owned())));
}

#[tokio::test]
async fn a_ghost_wears_the_user_s_name_and_picture_and_it_is_uploaded_once() {
    let world = World::start().await;
    let (user, face) = (romeo(), picture(PNG));
    soon(world.adapter.dress(&user, Some("Romeo M."), Some(&face))).await.unwrap();
    let uri = world.stub.picture(ROMEO).unwrap();
    assert_eq!(world.stub.media(&uri), Some(("image/png".to_owned(), PNG.to_vec())));
    assert_eq!(world.stub.name(ROMEO).as_deref(), Some("Romeo M."));
    // Also after a restart.
    let world = world.restart().await;
    soon(world.adapter.dress(&user, None, Some(&face))).await.unwrap();
    assert_eq!(world.stub.times_asked("POST /_matrix/media/v3/upload"), 1);
    assert_eq!(world.stub.times_asked("/avatar_url"), 1);
    // Uploaded, but not put on: the next time it is only put on.
    world.stub.fail(Fault::once("/avatar_url", 502, "M_UNKNOWN", "away"));
    let other = picture(b"\xff\xd8\xffother");
    assert!(soon(world.adapter.dress(&user, None, Some(&other))).await.is_err());
    assert_eq!(world.stub.picture(ROMEO).as_deref(), Some(uri.as_str()));
    soon(world.adapter.dress(&user, None, Some(&other))).await.unwrap();
    assert_eq!(world.stub.times_asked("POST /_matrix/media/v3/upload"), 2);
    assert_eq!(world.stub.media(&world.stub.picture(ROMEO).unwrap()).unwrap().0, "image/jpeg");
    // And taken off.
    soon(world.adapter.dress(&user, None, Some(&Picture::none()))).await.unwrap();
    assert_eq!(world.stub.picture(ROMEO).as_deref(), Some(""));
    assert_eq!(world.stub.name(ROMEO).as_deref(), Some("Romeo M."));
}

#[tokio::test]
async fn what_is_no_picture_is_not_uploaded() {
    let world = World::start().await;
    let failed = soon(world.adapter.dress(&romeo(), None, Some(&picture(b"<svg/>")))).await;
    assert!(matches!(failed, Err(Failure::Permanent { .. })));
    assert_eq!(world.stub.times_asked("/upload"), 0);
}
