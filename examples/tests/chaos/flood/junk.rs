//! Keys of etcd that change thousands of times a second, and values that are of no use to anyone.

use std::{net::SocketAddr, time::Duration};

use lb_examples::traffic::now;
use serde_json::{Value, json};
use tokio::{runtime::Handle, task::JoinHandle};

use super::Going;
use crate::etcd_support::{
    api::{Api, encode},
    server::{Member, Options, binaries},
};

/// The number of keys that change each second.
const CHANGES_PER_SECOND: f64 = 5000.0;
/// The number of keys that change at one revision.
const TOGETHER: usize = 100;
/// The number of keys that change.
const KEYS: usize = 10_000;
/// The number of services they belong to.
const SERVICES: usize = 200;
/// The number of bytes of values that cannot be read.
const JUNK_BYTES: usize = 50_000_000;
/// The bytes of each of them.
const JUNK_VALUE: usize = 1_250_000;

/// An etcd of the tenants. It ends with its value.
pub(super) struct Junk {
    member: Member,
    tenant: SocketAddr,
}

/// The write that was made.
pub(super) struct Written {
    pub(super) changes: u64,
    pub(super) revisions: u64,
    /// The number of bytes of junk.
    pub(super) junk: usize,
}

impl Junk {
    pub(super) fn start(tenant: SocketAddr) -> Self {
        let options = Options {
            extra: vec![
                "--max-request-bytes=20000000".to_owned(),
                "--quota-backend-bytes=8000000000".to_owned(),
                "--auto-compaction-mode=periodic".to_owned(),
                "--auto-compaction-retention=1m".to_owned(),
            ],
            ..Options::default()
        };
        Self {
            member: Member::single_with(binaries().last().unwrap(), options),
            tenant,
        }
    }

    pub(super) fn endpoint(&self) -> String {
        self.member.endpoint()
    }

    /// Writes the junk once, and then changes keys until that ends.
    pub(super) fn flood(&self, on: &Handle, going: Going) -> JoinHandle<Written> {
        let (api, tenant) = (self.member.api(), self.tenant);
        let values = {
            let going = going.clone();
            on.spawn_blocking(move || put_junk(api, &going))
        };
        let changed = on.spawn_blocking(move || change(api, tenant, &going));
        tokio::spawn(async move {
            let mut written = changed.await.unwrap();
            written.junk = values.await.unwrap();
            written
        })
    }
}

/// Puts values that cannot be read; returns how many bytes they have.
fn put_junk(api: Api, going: &Going) -> usize {
    let value = "x".repeat(JUNK_VALUE);
    let mut bytes = 0;
    for at in 0..JUNK_BYTES / JUNK_VALUE {
        let key = encode(&format!("/lb/endpoints/junk/{at}"));
        let body = json!({ "key": key, "value": encode(&value) });
        while going.on() {
            match api.call("/v3/kv/put", &body) {
                Ok(_) => {
                    bytes += JUNK_VALUE;
                    break;
                }
                Err(error) => println!("  etcd refuses junk: {error}"),
            }
        }
    }
    bytes
}

fn change(api: Api, tenant: SocketAddr, going: &Going) -> Written {
    let mut written = Written {
        changes: 0,
        revisions: 0,
        junk: 0,
    };
    let began = now();
    while going.on() {
        let operations: Vec<Value> = (0..TOGETHER)
            .map(|at| operation(written.changes as usize + at, tenant))
            .collect();
        let body = json!({ "success": operations });
        if let Err(error) = api.call("/v3/kv/txn", &body) {
            println!("  etcd refuses: {error}");
            std::thread::sleep(Duration::from_secs(1));
            continue;
        }
        written.changes += TOGETHER as u64;
        written.revisions += 1;
        let due = Duration::from_secs_f64(written.changes as f64 / CHANGES_PER_SECOND);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    written
}

/// The change of a number: each key gets another address each time, some are deleted, and some claim an honest service.
fn operation(number: usize, tenant: SocketAddr) -> Value {
    let (at, turn) = (number % KEYS, number / KEYS);
    let service = match at % SERVICES {
        0 => "a".to_owned(),
        own => format!("tenant-{own}"),
    };
    let key = encode(&format!("/lb/endpoints/{service}/{at}"));
    if (at + turn).is_multiple_of(10) {
        return json!({ "requestDeleteRange": { "key": key } });
    }
    let address = match service.as_str() {
        "a" => tenant.to_string(),
        _ => format!("192.0.2.{}:{}", 1 + at % 250, 1024 + (number * 7) % 60_000),
    };
    json!({ "requestPut": { "key": key, "value": encode(&address) } })
}
