//! What the server knows: one zone, from a zone file (RFC 1035 section 5).

use std::collections::HashMap;
use std::io::Read;

use bytes::Bytes;
use domain::base::iana::{Class, OptRcode, Rtype};
use domain::base::name::FlattenInto;
use domain::base::{Name, Ttl};
use domain::rdata::ZoneRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};
use postbox::BoxError;

use super::wire::{Query, RecordSet, Reply, ZoneRecord};

pub struct Zone {
    apex: Name<Bytes>,
    /// Its names, in any case, and those that only have names below them.
    names: HashMap<Name<Bytes>, Vec<RecordSet>>,
    /// The SOA record, as it stands beside an answer that something is not there.
    nothing: RecordSet,
}

impl Zone {
    /// Reads a zone file.
    ///
    /// # Errors
    ///
    /// If it is not valid, has no SOA record, or what this server cannot serve: other classes than
    /// IN, wildcards, delegations, and files that it includes.
    pub fn load(file: &mut impl Read) -> Result<Self, BoxError> {
        let mut file = Zonefile::load(file)?;
        let mut records: HashMap<Name<Bytes>, Vec<ZoneRecord>> = HashMap::new();
        while let Some(entry) = file.next_entry()? {
            let Entry::Record(record) = entry else {
                return Err("$INCLUDE is not supported".into());
            };
            let record: ZoneRecord = record.flatten_into();
            if record.owner().first().is_wildcard() || record.class() != Class::IN {
                return Err(format!("{} is not supported: {record}", record.owner()).into());
            }
            records
                .entry(record.owner().clone())
                .or_default()
                .push(record);
        }

        let mut soas = records
            .values()
            .flatten()
            .filter_map(|record| match record.data() {
                ZoneRecordData::Soa(soa) => Some((record, soa.minimum())),
                _ => None,
            });
        let (Some((soa, minimum)), None) = (soas.next(), soas.next()) else {
            return Err("a zone has one SOA record".into());
        };
        let apex = soa.owner().clone();
        // RFC 2308 section 3.
        let mut nothing = soa.clone();
        nothing.set_ttl(Ttl::min(soa.ttl(), minimum));

        let mut names = HashMap::new();
        for (name, records) in records {
            if !name.ends_with(&apex) {
                return Err(format!("{name} is not of the zone {apex}").into());
            }
            let delegates = records.iter().any(|record| record.rtype() == Rtype::NS);
            if delegates && name != apex {
                return Err(format!("the delegation of {name} is not supported").into());
            }
            for above in name
                .iter_suffixes()
                .skip(1)
                .take_while(|above| above.ends_with(&apex))
            {
                names.entry(above).or_default();
            }
            let sets = record_sets(&name, records)?;
            names.insert(name, sets);
        }
        Ok(Self {
            apex,
            names,
            nothing: [nothing].into(),
        })
    }

    /// Answers a question: the records, or that there are none.
    pub fn reply(&self, query: Query) -> Reply {
        let question = match &query.question {
            Ok(question) => question,
            Err(rcode) => {
                let rcode = *rcode;
                return Reply::error(query, rcode);
            }
        };
        let transfers = matches!(question.qtype(), Rtype::AXFR | Rtype::IXFR);
        if question.qclass() != Class::IN || transfers || !question.qname().ends_with(&self.apex) {
            return Reply::error(query, OptRcode::REFUSED);
        }
        let mut answer = Vec::new();
        let (rcode, authority) = self.find(question.qname(), question.qtype(), &mut answer);
        Reply {
            query,
            rcode,
            authoritative: true,
            answer,
            authority,
        }
    }

    /// Finds the records of a name of the zone, over its aliases.
    fn find(
        &self,
        name: &Name<Bytes>,
        rtype: Rtype,
        answer: &mut Vec<RecordSet>,
    ) -> (OptRcode, Option<RecordSet>) {
        let mut name = name;
        loop {
            let Some(sets) = self.names.get(name) else {
                return (OptRcode::NXDOMAIN, Some(RecordSet::clone(&self.nothing)));
            };
            // To ANY a server may answer with any (RFC 8482 section 4.1), so that nobody makes it
            // send much with little.
            let mut found = sets.iter();
            if let Some(set) = found.find(|set| rtype == Rtype::ANY || set[0].rtype() == rtype) {
                answer.push(RecordSet::clone(set));
                return (OptRcode::NOERROR, None);
            }
            let Some((set, target)) = alias(sets) else {
                return (OptRcode::NOERROR, Some(RecordSet::clone(&self.nothing)));
            };
            if answer.iter().any(|seen| RecordSet::ptr_eq(seen, set)) {
                return (OptRcode::NOERROR, None); // aliases in a circle
            }
            answer.push(RecordSet::clone(set));
            if !target.ends_with(&self.apex) {
                return (OptRcode::NOERROR, None); // the client asks on, elsewhere
            }
            name = target;
        }
    }
}

/// The records of a name by their types, in the order of the file.
fn record_sets(name: &Name<Bytes>, records: Vec<ZoneRecord>) -> Result<Vec<RecordSet>, BoxError> {
    let mut types: Vec<Vec<ZoneRecord>> = Vec::new();
    for record in records {
        match types
            .iter_mut()
            .find(|set| set[0].rtype() == record.rtype())
        {
            Some(set) => set.push(record),
            None => types.push(vec![record]),
        }
    }
    let sets: Vec<RecordSet> = types.into_iter().map(RecordSet::from).collect();
    match alias(&sets) {
        Some((set, _)) if sets.len() > 1 || set.len() > 1 => {
            Err(format!("{name} is an alias, and has other records").into())
        }
        _ => Ok(sets),
    }
}

/// The CNAME record of a name, and where it points.
fn alias(sets: &[RecordSet]) -> Option<(&RecordSet, &Name<Bytes>)> {
    sets.iter().find_map(|set| match set[0].data() {
        ZoneRecordData::Cname(cname) => Some((set, cname.cname())),
        _ => None,
    })
}
