//! Texts that people write, as hostile as they can be. Each function panics where what it states does not hold.

use std::{fmt::Display, net::SocketAddr, str::FromStr, time::Duration};

use lb_core::{Name, PathMatch, Record, Route, RouteHost, Weight, duration, fuzzing};

/// Lines are taken for each kind of text. What is read prints and reads again as the same; a route's host and path
/// match themselves; two routes that order as equal are equal; every text can be made a name.
pub fn model(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut routes: Vec<Route> = Vec::new();
    for line in text.lines().take(8) {
        let name = Name::from_text(line);
        assert_eq!(again(&name), name);
        if let Ok(read) = line.parse::<Name>() {
            assert_eq!(read.as_str(), line);
            assert_eq!(read, name);
        }
        let host = line.parse::<RouteHost>();
        if let Ok(host) = &host {
            assert_eq!(again(host), *host);
            assert!(!matches!(host, RouteHost::Exact(own) if !host.matches(own)));
            let below = matches!(host, RouteHost::Wildcard(_)) || *host == RouteHost::Any;
            let child = host.to_string().replacen('*', "a", 1);
            assert!(!below || host.matches(&child), "{host} and {child}");
        }
        let path = line.parse::<PathMatch>();
        if let Ok(path) = &path {
            assert_eq!(again(path), *path);
            assert!(path.matches(path.text()) && path.contains(path), "{path}");
        }
        if let Ok(number) = line.parse::<u16>()
            && let Ok(weight) = Weight::new(number)
        {
            assert_eq!(weight.to_string().parse(), Ok(number));
        }
        if let Ok(address) = line.parse::<SocketAddr>() {
            assert_eq!(again(&address), address);
        }
        if let Some(time) = duration::parse(line) {
            let printed = format!("{}ms", time.as_millis());
            assert_eq!(duration::parse(&printed), Some(time), "{line}");
            // Whoever adds it to a time of his own gets one.
            let century = Duration::from_secs(100 * 366 * 86_400);
            assert!(century.checked_add(time).is_some(), "{line}");
        }
        routes.push(Route::new(
            host.unwrap_or_default(),
            path.unwrap_or_default(),
            name,
        ));
    }
    for one in &routes {
        for other in &routes {
            assert_eq!(one.cmp(other).is_eq(), one == other, "{one:?}, {other:?}");
            assert_eq!(one.cmp(other), other.cmp(one).reverse());
        }
    }
}

/// The first byte chooses the format. A file gives records that are all different, each with routes of its own service,
/// or one fault at a place that is in it; a second look gives the same.
pub fn source_file(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let files = ["f.toml", "f.yaml", "f.json"];
    let Some(file) = files.get(usize::from(*choice % 3)) else {
        return;
    };
    let read = fuzzing::file(file, bytes);
    assert_eq!(fuzzing::file(file, bytes), read, "a second look");
    let records = match read {
        Ok(records) => records,
        Err(fault) => {
            assert!(!fault.message.is_empty(), "{fault}");
            let place = fault.object.strip_prefix(file);
            let place = place.and_then(|place| place.strip_prefix(':'));
            if let Some((line, column)) = place.and_then(|place| place.split_once(':')) {
                // For YAML a carriage return ends a line, too.
                let text = String::from_utf8_lossy(bytes);
                let lines = text.split(['\n', '\r']).count();
                let line: usize = line.parse().unwrap_or(usize::MAX);
                assert!(line <= lines, "{fault} is beyond line {lines}");
                assert!(column.parse::<usize>().is_ok(), "{fault}");
            }
            return;
        }
    };
    let keys: std::collections::BTreeSet<_> = records.iter().map(|record| &record.key).collect();
    assert_eq!(keys.len(), records.len(), "a record is there twice");
    for Record { key, routes, .. } in &records {
        assert_eq!(again(&key.service), key.service);
        assert_eq!(again(&key.id), key.id);
        for route in routes.iter() {
            assert_eq!(route.service, key.service);
            assert_eq!(again(&route.host), route.host);
            assert_eq!(again(&route.path), route.path);
        }
    }
}

/// The value that its printed form is read as.
fn again<T: Display + FromStr<Err: Display>>(value: &T) -> T {
    match value.to_string().parse() {
        Ok(read) => read,
        Err(error) => panic!("{value} does not read again: {error}"),
    }
}
