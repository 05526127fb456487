//! Configurations written by hand, and what HAProxy keeps beside them, as hostile as they can be. Each function panics
//! where what it states does not hold.

use std::collections::BTreeMap;

use lb_core::Name;
use lb_haproxy::{
    config::lint::{Code, ConfigFile, LintOptions, lint as look, map_files},
    growth::{BackendNeed, GrowthConfig, Need, NewSlots, carry, grow},
    policy::Policy,
    proto::{Command, InvalidPem, Pem, SslCommand, encode},
};

/// The first byte chooses a version; files are parted by a byte 1. Every finding is at a line that is there, says what
/// is wrong and what to write instead, and a second look finds the same. Every map file that is named can be missed.
pub fn config(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    let files: Vec<ConfigFile<'_>> = ["a.cfg", "b.cfg", "c.cfg"]
        .into_iter()
        .zip(text.split('\u{1}'))
        .map(|(name, text)| ConfigFile { name, text })
        .collect();
    let versions = ["2.2.0", "2.4.0", "2.6.0", "3.0.0", "3.3.0"];
    let mut options = LintOptions::default();
    options.version = versions
        .get(usize::from(*choice % 8))
        .map(|version| constant(version));
    options.open_files = Some(1024);
    options.memory = Some(1 << 20);
    options.missing = map_files(&files).into_iter().collect();
    let findings = look(&files, &options);
    for finding in &findings {
        let Some(file) = files.iter().find(|file| file.name == finding.file) else {
            panic!("{finding} is in no file");
        };
        let lines = 1..=file.text.lines().count().max(1);
        assert!(lines.contains(&finding.line), "{finding}");
        assert!(
            !finding.message.is_empty() && !finding.instead.is_empty(),
            "{finding}"
        );
    }
    assert_eq!(look(&files, &options), findings, "a second look");
    let missed = findings
        .iter()
        .filter(|finding| finding.code == Code::MapMissing)
        .count();
    assert!(missed <= options.missing.len());
    assert_eq!(missed == 0, options.missing.is_empty(), "{findings:?}");
}

/// A configuration and, after a byte 1, the text of a server-state file. Growth changes lines of slots only, and what
/// has grown need not grow again; carrying servers over changes lines of such servers only.
pub fn growth(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (config, state) = text.split_once('\u{1}').unwrap_or((&text, ""));
    let policy = Policy::default();
    let mut need = Need::default();
    need.slots
        .insert(constant("web"), BackendNeed { slots: 2, short: 1 });
    let bounds = GrowthConfig::new("/haproxy.cfg");
    let mut slots: BTreeMap<Name, NewSlots> = BTreeMap::new();
    if let Ok(grown) = grow(config, &need, &bounds, &policy) {
        // By hand: for a line without an end, `lines` takes its carriage return for a part of it.
        let lines = |text: &str| -> Vec<String> {
            text.split_terminator('\n').map(str::to_owned).collect()
        };
        let (old, new) = (lines(config), lines(&grown.text));
        assert_eq!(old.len(), new.len());
        for (before, after) in old.iter().zip(&new) {
            let slots = before.contains("server-template");
            assert!(before == after || slots, "{before:?} became {after:?}");
        }
        let Ok(again) = grow(&grown.text, &need, &bounds, &policy) else {
            panic!("{:?} cannot grow again", grown.text);
        };
        assert_eq!(again.text, grown.text, "the same need again");
        let last = |slots: &BTreeMap<Name, NewSlots>| -> Vec<u32> {
            slots.values().map(|new| new.last).collect()
        };
        assert_eq!(last(&again.slots), last(&grown.slots));
        slots = grown.slots;
    }
    slots.entry(constant("web")).or_insert_with(|| NewSlots {
        prefix: "slot".to_owned(),
        first: 3,
        last: 4,
    });
    let carried = carry(state, &slots, &policy);
    assert_eq!(state.lines().count(), carried.lines().count());
    let mut moved = 0;
    for (before, after) in state.lines().zip(carried.lines()) {
        let (before, after) = (before.trim_end_matches('\r'), after.trim_end_matches('\r'));
        if before != after {
            let fields = before.split(' ').count();
            assert_eq!(fields, after.split(' ').count(), "{before:?} and {after:?}");
            moved += 1;
        }
    }
    let room: u64 = slots
        .values()
        .map(|new| u64::from(new.last - new.first) + 1)
        .sum();
    assert!(moved <= room, "{moved} servers in {room} slots");
}

/// A certificate with its key is nothing but blocks, reads back as the same, and is written as one
/// command; what is refused is refused without showing it.
pub fn pem(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let pem = match text.parse::<Pem>() {
        Ok(pem) => pem,
        Err(InvalidPem::Line { line } | InvalidPem::Unended { line, .. }) => {
            assert!((1..=text.lines().count() + 1).contains(&line), "{line}");
            return;
        }
        Err(_) => return,
    };
    assert!(pem.as_str().ends_with("-----\n"));
    for line in pem.as_str().lines() {
        let fits = |c: char| c.is_ascii_alphanumeric() || "+/=- ".contains(c);
        assert!(!line.is_empty() && line.chars().all(fits), "{line:?}");
        assert_eq!(line.trim(), line);
    }
    let hex = |c: char| c.is_ascii_digit() || ('A'..='F').contains(&c);
    assert!(!pem.serial().is_empty() && pem.serial().chars().all(hex));
    assert_eq!(pem.as_str().parse().as_ref(), Ok(&pem), "read again");
    let mut bytes = Vec::new();
    let command = Command::Ssl(SslCommand::Set(constant("/site.pem"), pem.clone()));
    if encode(&command, &mut bytes).is_ok() {
        let written = format!("set ssl cert /site.pem <<\n{}\n", pem.as_str());
        assert_eq!(String::from_utf8_lossy(&bytes), written);
    }
}

/// A text of this file that is known to be valid.
fn constant<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    match text.parse() {
        Ok(value) => value,
        Err(error) => panic!("{text:?} in the target itself: {error:?}"),
    }
}
