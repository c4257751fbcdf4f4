//! Ghosts that point to the account of the same person.

use portway_testbed::stub_homeserver::Fault;

use super::*;
use crate::matrix::pointer::FIELD;

const NEW: &str = "PUT /_matrix/client/v3/profile/%40xmpp_romeo%3D40h.test%3Ahs.test/portway.same_person";

async fn point(world: &World, persons: &[PersonId]) -> Result<(), Failure> {
    soon(world.adapter.point(&romeo(), persons)).await
}

#[tokio::test]
async fn a_ghost_points_to_the_account_of_its_user_until_it_is_not_theirs_any_more() {
    let world = World::start().await;
    world.stub.set_versions(json!({ "versions": ["v1.11", "v1.16"] }));
    let other = PersonId::new("romeo", "far.test").unwrap();
    point(&world, &[alice()]).await.unwrap();
    assert_eq!(world.stub.field(ROMEO, FIELD), Some(json!([ALICE])));
    point(&world, &[alice(), other.clone()]).await.unwrap();
    assert_eq!(world.stub.field(ROMEO, FIELD), Some(json!([ALICE, "@romeo:far.test"])));
    // What is there is not set again, after a restart neither.
    let world = world.restart().await;
    world.stub.set_versions(json!({ "versions": ["v1.11", "v1.16"] }));
    point(&world, &[alice(), other]).await.unwrap();
    assert_eq!(world.stub.times_asked(NEW), 2);
    // The homeserver is away, and back.
    world.stub.fail(Fault::once("DELETE /_matrix/client/v3/profile", 502, "M_UNKNOWN", "away"));
    assert_eq!(condition(&point(&world, &[]).await.unwrap_err()), None);
    point(&world, &[]).await.unwrap();
    assert_eq!(world.stub.field(ROMEO, FIELD), None);
}

#[tokio::test]
async fn a_homeserver_without_such_fields_or_that_forbids_them_costs_nothing() {
    let world = World::start().await;
    point(&world, &[alice()]).await.unwrap();
    point(&world, &[]).await.unwrap();
    assert_eq!((world.stub.times_asked(NEW), world.stub.times_asked("/register")), (0, 0));
    // Before it was in the specification.
    world.stub.set_versions(json!({ "versions": ["v1.11"], "unstable_features": { "uk.tcpip.msc4133": true } }));
    point(&world, &[alice()]).await.unwrap();
    assert_eq!(world.stub.field(ROMEO, FIELD), Some(json!([ALICE])));
    assert_eq!(world.stub.times_asked(NEW), 0);
    world.stub.fail(Fault::once("DELETE /_matrix/client/unstable", 403, "M_FORBIDDEN", "no"));
    point(&world, &[]).await.unwrap();
}
