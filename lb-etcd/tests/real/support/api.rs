//! etcd's JSON interface over plain HTTP: an oracle that shares no code with the client under test.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};

/// Talks to one member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
}

impl Api {
    pub(crate) fn put(&self, key: &str, value: &str) -> u64 {
        let body = json!({ "key": encode(key), "value": encode(value) });
        revision(&self.call("/v3/kv/put", &body).unwrap())
    }

    pub(crate) fn put_leased(&self, key: &str, value: &str, lease: i64) -> u64 {
        let body =
            json!({ "key": encode(key), "value": encode(value), "lease": lease.to_string() });
        revision(&self.call("/v3/kv/put", &body).unwrap())
    }

    pub(crate) fn delete(&self, key: &str) -> u64 {
        let answer = self.call("/v3/kv/deleterange", &json!({ "key": encode(key) }));
        revision(&answer.unwrap())
    }

    /// Deletes all keys from the first to before the second, at one revision.
    pub(crate) fn delete_range(&self, from: &str, to: &str) {
        let range = json!({ "key": encode(from), "range_end": encode(to) });
        self.call("/v3/kv/deleterange", &range).unwrap();
    }

    /// Sets (or deletes) several keys at one revision.
    pub(crate) fn txn(&self, changes: &[(String, Option<String>)]) -> u64 {
        let operations: Vec<Value> = changes
            .iter()
            .map(|(key, value)| match value {
                Some(value) => {
                    json!({ "requestPut": { "key": encode(key), "value": encode(value) } })
                }
                None => json!({ "requestDeleteRange": { "key": encode(key) } }),
            })
            .collect();
        revision(
            &self
                .call("/v3/kv/txn", &json!({ "success": operations }))
                .unwrap(),
        )
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        let answer = self
            .call("/v3/kv/range", &json!({ "key": encode(key) }))
            .unwrap();
        let value = answer["kvs"][0]["value"].as_str()?;
        Some(decode(value))
    }

    /// The keys below a prefix.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().unwrap() += 1;
        let body =
            json!({ "key": encode(prefix), "range_end": encode_bytes(&end), "keys_only": true });
        let answer = self.call("/v3/kv/range", &body).unwrap();
        let kvs = answer["kvs"].as_array().cloned().unwrap_or_default();
        kvs.iter()
            .map(|kv| decode(kv["key"].as_str().unwrap()))
            .collect()
    }

    pub(crate) fn compact(&self, revision: u64) {
        self.call(
            "/v3/kv/compaction",
            &json!({ "revision": revision.to_string(), "physical": true }),
        )
        .unwrap();
    }

    pub(crate) fn grant(&self, ttl: u64) -> i64 {
        let answer = self
            .call("/v3/lease/grant", &json!({ "TTL": ttl.to_string() }))
            .unwrap();
        answer["ID"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn revoke(&self, lease: i64) {
        self.call("/v3/lease/revoke", &json!({ "ID": lease.to_string() }))
            .unwrap();
    }

    /// All leases there are.
    pub(crate) fn leases(&self) -> Vec<i64> {
        let answer = self.call("/v3/lease/leases", &json!({})).unwrap();
        let leases = answer["leases"].as_array().cloned().unwrap_or_default();
        leases
            .iter()
            .map(|lease| lease["ID"].as_str().unwrap().parse().unwrap())
            .collect()
    }

    /// This member's number and the leader's.
    pub(crate) fn leader(&self) -> Option<(u64, u64)> {
        let answer = self.call("/v3/maintenance/status", &json!({})).ok()?;
        let number = |value: &Value| value.as_str()?.parse::<u64>().ok();
        Some((
            number(&answer["header"]["member_id"])?,
            number(&answer["leader"])?,
        ))
    }

    /// Turns on authentication, with a user `root` of password `root` and a user `reader` of password `secret` that
    /// may read everything.
    pub(crate) fn enable_auth(&self) {
        for (path, body) in [
            (
                "/v3/auth/user/add",
                json!({ "name": "root", "password": "root" }),
            ),
            ("/v3/auth/role/add", json!({ "name": "root" })),
            (
                "/v3/auth/user/grant",
                json!({ "user": "root", "role": "root" }),
            ),
            (
                "/v3/auth/user/add",
                json!({ "name": "reader", "password": "secret" }),
            ),
            ("/v3/auth/role/add", json!({ "name": "read" })),
            (
                "/v3/auth/role/grant",
                json!({ "name": "read", "perm": { "permType": "READ", "key": encode("/lb/"), "range_end": encode("/lb0") } }),
            ),
            (
                "/v3/auth/user/grant",
                json!({ "user": "reader", "role": "read" }),
            ),
            ("/v3/auth/enable", json!({})),
        ] {
            self.call(path, &body)
                .unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }

    /// A token of `root`, for calls while authentication is on.
    pub(crate) fn authenticate(&self) -> String {
        let body = json!({ "name": "root", "password": "root" });
        let answer = self.call("/v3/auth/authenticate", &body).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn put_as(&self, token: &str, key: &str, value: &str) {
        let body = json!({ "key": encode(key), "value": encode(value) });
        self.call_as(Some(token), "/v3/kv/put", &body).unwrap();
    }

    pub(crate) fn call(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.call_as(None, path, body)
    }

    pub(crate) fn call_as(
        &self,
        token: Option<&str>,
        path: &str,
        body: &Value,
    ) -> Result<Value, String> {
        let body = body.to_string();
        let token = token
            .map(|token| format!("Authorization: {token}\r\n"))
            .unwrap_or_default();
        let head = format!(
            "POST {path} HTTP/1.0\r\nHost: etcd\r\nContent-Type: application/json\r\n{token}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = self.http(&format!("{head}{body}"))?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
        let value: Value =
            serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
        match value.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(value),
        }
    }

    pub(crate) fn http(&self, request: &str) -> Result<String, String> {
        let patience = Duration::from_secs(20);
        let text = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect_timeout(&self.address, patience).map_err(text)?;
        stream.set_read_timeout(Some(patience)).map_err(text)?;
        stream.set_write_timeout(Some(patience)).map_err(text)?;
        stream.write_all(request.as_bytes()).map_err(text)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(text)?;
        Ok(answer)
    }
}

fn revision(answer: &Value) -> u64 {
    answer["header"]["revision"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn encode(text: &str) -> String {
    encode_bytes(text.as_bytes())
}

pub(crate) fn encode_bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            if digit <= chunk.len() {
                let index = usize::try_from(bits >> (18 - 6 * digit) & 63).unwrap();
                out.push(char::from(ALPHABET[index]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET.iter().position(|known| *known == digit).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 255).unwrap());
        }
    }
    String::from_utf8(bytes).unwrap()
}
