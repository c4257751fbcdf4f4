//! The neutral model of Portway and the networks that speak it.
//!
//! This package cannot name a stanza, the database or the command line: the root package depends on it and not the
//! other way round. A new network is one folder beside this file and one word in [`networks!`] below.

pub mod api;

macro_rules! networks {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        $($(#[$attribute])* pub mod $name;)*

        /// Every network that is compiled in, in alphabetical order.
        pub static NETWORKS: &[&dyn api::Network] = &[$($(#[$attribute])* &$name::NETWORK),*];
    };
}

networks! {
    #[cfg(feature = "email")] email,
    loopback,
    #[cfg(feature = "matrix")] matrix,
}

/// Looks a network up by the name of its configuration section (`[network.<name>]`).
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn api::Network> {
    NETWORKS.iter().copied().find(|network| network.describe().id == name)
}
