//! Placeholder until the branch of this network lands.
use super::api::{Adapter, ConfigErrors, Descriptor, Network};
/// The network.
pub struct Net;
/// The one instance.
pub static NETWORK: Net = Net;
impl Network for Net {
    fn describe(&self) -> Descriptor {
        Descriptor {
            id: "loopback",
            name: "loopback",
            disco_type: "loopback",
            config_example: "",
            config_keys: &[],
            secret_keys: &[],
            sentences: &[],
            rooms: false,
            retry: &[],
            give_up: std::time::Duration::ZERO,
            notices: &[],
        }
    }
    fn configure(&self, _raw: toml::Table) -> Result<Box<dyn Adapter>, ConfigErrors> {
        Err(ConfigErrors::default())
    }
}
