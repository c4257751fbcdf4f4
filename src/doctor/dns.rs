//! The resolvers of the system.

use futures::FutureExt;
use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use portway_bridges::api::{Dns, DnsError, Question, Record};

/// Asks the resolvers that the system names.
pub struct System(TokioResolver);

impl System {
    /// Reads which resolvers the system names; asks nobody yet.
    ///
    /// # Errors
    /// The system names none that can be used.
    pub fn new() -> Result<Self, DnsError> {
        let failed = |error: &dyn std::fmt::Display| DnsError(format!("the system names no resolver: {error}"));
        let builder = TokioResolver::builder_tokio().map_err(|error| failed(&error))?;
        builder.build().map(Self).map_err(|error| failed(&error))
    }
}

impl Dns for System {
    fn ask<'a>(&'a self, name: &'a str, what: Question) -> BoxFuture<'a, Result<Vec<Record>, DnsError>> {
        async move {
            // With a dot at the end: what the system appends to short names would be another name.
            let name = format!("{}.", name.trim_end_matches('.'));
            let types: &[RecordType] = match what {
                Question::Address => &[RecordType::A, RecordType::AAAA],
                Question::Mx => &[RecordType::MX],
                Question::Txt => &[RecordType::TXT],
                Question::Srv => &[RecordType::SRV],
            };
            let mut records = Vec::new();
            for type_ in types {
                match self.0.lookup(name.as_str(), *type_).await {
                    Ok(lookup) => records.extend(lookup.answers().iter().filter_map(|record| read(&record.data))),
                    Err(error) if error.is_no_records_found() || error.is_nx_domain() => {}
                    Err(error) => return Err(DnsError(error.to_string())),
                }
            }
            Ok(records)
        }
        .boxed()
    }
}

fn read(data: &RData) -> Option<Record> {
    let host = |name: &hickory_resolver::proto::rr::Name| name.to_string().trim_end_matches('.').to_owned();
    Some(match data {
        RData::A(address) => Record::Address(address.0.into()),
        RData::AAAA(address) => Record::Address(address.0.into()),
        RData::MX(mx) => Record::Mx { preference: mx.preference, host: host(&mx.exchange) },
        RData::TXT(txt) => Record::Txt(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        RData::SRV(service) => Record::Srv { host: host(&service.target), port: service.port },
        _ => return None,
    })
}
