//! What every adapter must be able to do.

use super::*;
use crate::api::testkit;

#[tokio::test]
async fn the_suite() {
    let stub = StubHomeserver::start(Options::default()).await.unwrap();
    let adapter = NETWORK.configure(section(&stub)).unwrap();
    testkit::capabilities_are_possible(&*adapter).unwrap();
    let typed = ["@alice:hs.test", "Alice:hs:8448", "#town:hs", "!KLw", "!old:hs", "https://matrix.to/#/%23a%2Fb:hs"];
    testkit::addresses_lead_back(&*adapter, &typed).unwrap();
    testkit::stops(&*adapter, MemoryCore::new(&["h.test"], &[]).core()).await.unwrap();
}

#[test]
fn every_fault_of_the_section_is_named_at_once() {
    let raw = toml::from_str("homeserver = \"nowhere at all\"\nlisten = \"x\"\nbot = \"Bot!\"\nas_token = 5").unwrap();
    let Err(errors) = NETWORK.configure(raw) else { panic!("it was taken") };
    let mut keys: Vec<&str> = errors.0.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["as_token", "bot", "homeserver", "hs_token", "listen", "server_name"]);
}
