//! The section of the configuration, and addresses.

use super::*;

#[tokio::test]
async fn what_is_typed_and_printed_means_the_same_again() {
    use crate::api::Address;
    let stub = StubHomeserver::start(Options::default()).await.unwrap();
    let adapter = NETWORK.configure(section(&stub)).unwrap();
    for typed in ["@alice:hs", "Alice:hs:8448", "#town:hs", "!KLw", "!old:hs", "https://matrix.to/#/%23a%2Fb:hs"] {
        let address = adapter.resolve(typed).unwrap();
        let printed = match &address {
            Address::Person(person) => adapter.print_person(person),
            Address::Room(room) => adapter.print_room(room),
        };
        assert_eq!(adapter.resolve(&printed).unwrap(), address, "{typed} {printed}");
    }
}

#[test]
fn every_fault_of_the_section_is_named_at_once() {
    let raw = toml::from_str("homeserver = \"nowhere at all\"\nlisten = \"x\"\nbot = \"Bot!\"\nas_token = 5").unwrap();
    let Err(errors) = NETWORK.configure(raw) else { panic!("it was taken") };
    let mut keys: Vec<&str> = errors.0.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["as_token", "bot", "homeserver", "hs_token", "listen", "server_name"]);
}
