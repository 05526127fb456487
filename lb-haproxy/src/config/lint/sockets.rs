//! The admin sockets.

use super::{
    address::Place,
    document::Line,
    finding::{Code, Guarantee},
    rules::Rules,
};

const WRITE: &str = "stats socket PATH level admin mode 600 expose-fd listeners";

pub(super) fn check(rules: &mut Rules<'_>) {
    let document = rules.document;
    let global: Vec<&Line> = document.global().collect();
    let sockets: Vec<&Line> = global
        .iter()
        .filter(|line| line.begins(&["stats", "socket"]))
        .copied()
        .collect();
    let Some(first) = sockets.first() else {
        rules.error(
            document.global_at(),
            Code::NoSocket,
            Guarantee::Changes,
            "there is no admin socket, so nothing can be changed at run time",
            WRITE,
        );
        return;
    };
    let admin = sockets.iter().find(|line| is_admin(line));
    if admin.is_none() {
        let level = first.after("level").unwrap_or("operator");
        rules.error(
            first.at,
            Code::SocketLevel,
            Guarantee::Changes,
            format!("the admin socket has level {level}, which may not change servers"),
            WRITE,
        );
    }
    for line in sockets.iter().filter(|line| is_admin(line)) {
        reachable(line, rules);
    }
    if !sockets
        .iter()
        .any(|line| line.has("expose-fd") || line.is_open())
    {
        rules.warning(
            admin.unwrap_or(first).at,
            Code::NoExposeFd,
            Guarantee::NoLoss,
            "no admin socket hands the listeners over, so a new process that is not the master's (`haproxy -x`) \
             does not start, or refuses connections",
            "expose-fd listeners",
        );
    }
    connections(&global, first, rules);
}

fn is_admin(line: &Line) -> bool {
    line.after("level") == Some("admin") || line.is_open()
}

/// Who can reach it may do everything.
fn reachable(line: &Line, rules: &mut Rules<'_>) {
    if line.words.get(2).is_none_or(|word| word.open) {
        return;
    }
    // Several addresses of one line share its settings.
    for address in line.word(2).split(',') {
        let place = Place::of(address);
        if let Place::Path(_) | Place::Variable = place {
            // Only the file of a socket has a mode.
            mode(line, rules);
        } else if place == Place::Abstract {
            rules.error(
                line.at,
                Code::SocketMode,
                Guarantee::Access,
                format!(
                    "every user of this machine may change everything: {address} has no file, so a mode means nothing"
                ),
                "a path with mode 600",
            );
        } else if !place.is_local() {
            rules.error(
                line.at,
                Code::SocketAddress,
                Guarantee::Access,
                format!(
                    "every program that can connect to {address} may change everything, without a password"
                ),
                "a path with mode 600, or an address of the loopback interface",
            );
        }
    }
}

fn mode(line: &Line, rules: &mut Rules<'_>) {
    let mode = line.after("mode").map(|mode| u32::from_str_radix(mode, 8));
    // Without a mode the process's umask decides, as a rule for no other user.
    if let Some(Ok(mode)) = mode
        && mode & 0o002 != 0
    {
        rules.error(
            line.at,
            Code::SocketMode,
            Guarantee::Access,
            format!("every user of this machine may change everything (mode {mode:o})"),
            "mode 600, or mode 660 with a group of its own",
        );
    }
}

/// One beyond these waits without a word.
fn connections(global: &[&Line], first: &Line, rules: &mut Rules<'_>) {
    const ENOUGH: u32 = 16;
    let line = global
        .iter()
        .rev()
        .find(|line| line.begins(&["stats", "maxconn"]));
    let most = line.map_or(Some(10), |line| line.word(2).parse().ok());
    if let Some(most) = most
        && most < ENOUGH
    {
        rules.warning(
            line.map_or(first.at, |line| line.at),
            Code::FewAdminConnections,
            Guarantee::Changes,
            format!(
                "there may be {most} admin connections; when other programs hold them, the next one waits without a \
                 word"
            ),
            "stats maxconn 32",
        );
    }
}
