//! Keys and values of etcd, as hostile as they can be. Each function panics where what it states does not hold.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Record, RecordKey};
use lb_etcd::{
    fuzzing::{Heard, V2Reader},
    layout::{Change, Layout, LayoutConfig, RuleConfig, Step, ValueKind, View},
    registration::{SerfEvent, SerfHandler},
};

/// The first byte chooses a layout; then each line is a key and, after a tab, its value; without a tab it is gone.
///
/// Whatever comes, the steps add up to the view, every address can be served at, diagnostics are bounded, and when
/// all keys are gone nothing is left.
pub fn layout(data: &[u8]) {
    let Some((choice, lines)) = data.split_first() else {
        return;
    };
    let Ok(layout) = Layout::new(&[chosen(*choice)]) else {
        panic!("well-known layouts can be used");
    };
    let mut view = View::new(layout);
    let mut told = BTreeMap::new();
    let mut keys = BTreeSet::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b'\t');
        let key = parts.next().unwrap_or_default();
        keys.insert(key);
        let step = view.apply([Change {
            key: key.to_vec(),
            value: parts.next().map(<[u8]>::to_vec),
        }]);
        add_up(&mut told, step);
        assert_eq!(told.len(), view.record_count(), "records");
    }
    let listed: BTreeSet<RecordKey> = view
        .records()
        .into_iter()
        .map(|record| record.key)
        .collect();
    assert_eq!(listed, told.keys().cloned().collect(), "listing");

    let step = view.apply(keys.into_iter().map(Change::delete));
    add_up(&mut told, step);
    assert!(told.is_empty() && view.key_count() == 0, "nothing is left");
}

/// The first line is a pattern, the second a template, the third a key. What is no pattern is refused; what matches
/// has the pattern's prefix, and gives names that are names.
pub fn pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.splitn(3, '\n');
    let (Some(pattern), Some(template), Some(key)) = (lines.next(), lines.next(), lines.next())
    else {
        return;
    };
    let rule = RuleConfig::new(pattern, ValueKind::Address)
        .with_service(template)
        .with_endpoint(template);
    let Ok(layout) = Layout::new(&[LayoutConfig::Rules(vec![rule])]) else {
        return;
    };
    let prefix = layout.prefix().to_owned();
    let mut view = View::new(layout);
    let step = view.apply([Change::put(key, "192.0.2.7:80")]);
    match step.set.as_slice() {
        [] => assert!(!step.diagnostics.is_empty(), "what does not match is told"),
        [record] => {
            assert!(
                key.starts_with(&prefix),
                "{key:?} has the prefix {prefix:?}"
            );
            assert!(!record.key.service.as_str().is_empty(), "a name");
        }
        _ => panic!("one key is one endpoint"),
    }
}

/// The first line is an event, the rest its members. What a member that joins is written under is what is deleted when
/// it leaves, and no name of a member leads out of its folder.
pub fn serf(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (event, members) = text.split_once('\n').unwrap_or((&text, ""));
    let entries = [
        ("/p/web/{name}", "{address}:{tag.port}"),
        ("/p/all/{name}", "{address}"),
    ];
    let entries = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let handler = SerfHandler::new(entries);
    let event = SerfEvent::from_name(event);
    let Ok((puts, deletes)) = handler.plan(event, members) else {
        return;
    };
    assert!(puts.is_empty() || deletes.is_empty());
    for key in puts.iter().map(|(key, _)| key).chain(&deletes) {
        assert_eq!(key.matches('/').count(), 3, "{key:?}");
    }
    if event == SerfEvent::Join {
        let written: Vec<String> = puts.into_iter().map(|(key, _)| key).collect();
        let left = handler.plan(SerfEvent::Leave, members);
        assert_eq!(left, Ok((Vec::new(), written)));
    }
}

/// The first byte chooses a layout; then each line is the body of an answer of etcd 2.
///
/// Whatever it says, what is told of each change adds up to what is known; a directory that is gone leaves none of its
/// keys; a second listing like the first changes nothing.
pub fn v2(data: &[u8]) {
    let Some((choice, lines)) = data.split_first() else {
        return;
    };
    let Ok(layout) = Layout::new(&[chosen(*choice)]) else {
        panic!("well-known layouts can be used");
    };
    let mut reader = V2Reader::new(layout);
    let mut told = BTreeMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        match reader.hear(line) {
            Heard::Nothing => {}
            Heard::Changed(step, gone) => {
                add_up(&mut told, step);
                if let Some(gone) = gone {
                    assert_eq!(reader.keys_below(&gone), 0, "{gone} is gone");
                }
            }
            Heard::Listing(records) => {
                let Heard::Listing(again) = reader.hear(line) else {
                    panic!("it was a listing");
                };
                assert_eq!(again, records, "a second look");
                told = by_key(records);
            }
        }
        assert_eq!(by_key(reader.view().records()), told, "listing");
    }
}

/// Records by their keys, of which none is there twice.
pub fn by_key(records: Vec<Record>) -> BTreeMap<RecordKey, Record> {
    let count = records.len();
    let records: BTreeMap<_, _> = records
        .into_iter()
        .map(|record| (record.key.clone(), record))
        .collect();
    assert_eq!(records.len(), count, "a record is there twice");
    records
}

/// One of the well-known layouts.
pub fn chosen(choice: u8) -> LayoutConfig {
    let (prefix, root) = ("/p".to_owned(), "t".to_owned());
    match choice % 7 {
        0 => LayoutConfig::Lb { prefix },
        1 => LayoutConfig::Confd {
            prefix,
            service: None,
        },
        2 => LayoutConfig::Registrator { prefix },
        3 => LayoutConfig::Skydns { prefix, port: None },
        4 => LayoutConfig::Traefik {
            root,
            entrypoints: Default::default(),
            allow_unprotected: Default::default(),
        },
        5 => LayoutConfig::Patroni { prefix },
        _ => LayoutConfig::Vulcand {
            prefix,
            allow_unprotected: Vec::new(),
        },
    }
}

/// Takes in what a step tells, which must be new and possible.
pub fn add_up(told: &mut BTreeMap<RecordKey, Record>, step: Step) {
    assert!(
        step.diagnostics.len() <= 1024 * 17 + 2,
        "diagnostics are bounded"
    );
    for key in step.remove {
        assert!(told.remove(&key).is_some(), "{key} was there");
    }
    for record in step.set {
        if let Some(endpoint) = &record.endpoint {
            assert!(
                endpoint.address.port() != 0,
                "{endpoint:?} can be served at"
            );
            assert!(!endpoint.address.ip().is_unspecified(), "{endpoint:?}");
        }
        let before = told.insert(record.key.clone(), record.clone());
        assert_ne!(before, Some(record), "what did not change is not told");
    }
}
