//! Files, both ways: [`links`] makes the URLs under which users find files of a network and reads them again, [`serve`]
//! answers them out of the [`cache`]; [`fetch`] gets what users have put on the web, under the eyes of the [`guard`], and
//! [`gcm`] takes the encryption off. [`spool`] is where they keep bytes on disk.

pub mod cache;
pub mod fetch;
pub mod gcm;
pub mod guard;
pub mod links;
pub mod range;
pub mod serve;
pub mod spool;

pub use self::cache::Cache;
pub use self::fetch::Fetcher;
pub use self::links::Links;
pub use self::serve::Media;
